#!/usr/bin/env python3
"""Prints the folder that holds include/mlx and lib/libmlx.*, and MLX's version. Exit 1 where there is none.

    find_mlx.py [DIR]

DIR, when given, is the only place looked at. Else: pkg-config, Homebrew, the mlx package of the python3 on the PATH.
"""
import pathlib
import re
import subprocess
import sys


def said(*command):
    """What a command prints; nothing where there is no such command, or it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def version_in(folder):
    """MLX's version by its header, or None where MLX is not whole."""
    header = folder / "include/mlx/version.h"
    if not header.is_file() or not list(folder.glob("lib/libmlx.*")):
        return None
    text = header.read_text(encoding="utf-8", errors="replace")
    numbers = [re.search(rf"MLX_VERSION_{part} (\d+)", text) for part in ("MAJOR", "MINOR", "PATCH")]
    return ".".join(n.group(1) for n in numbers) if all(numbers) else None


def places(given):
    if given:
        yield given
        return
    yield said("pkg-config", "--variable=prefix", "mlx")
    yield said("brew", "--prefix", "mlx")
    cmake = said("python3", "-m", "mlx", "--cmake-dir")  # .../share/cmake/MLX, or the package itself
    yield cmake
    yield str(pathlib.Path(cmake).parents[2]) if cmake else ""


def main():
    for place in places(sys.argv[1] if len(sys.argv) > 1 else ""):
        version = version_in(pathlib.Path(place)) if place else None
        if version:
            print(pathlib.Path(place).resolve())
            print(version)
            return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
