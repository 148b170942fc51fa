#!/usr/bin/env python3
"""The house rules a machine can hold: floors, file and function lengths, no exits or prints in the library.

A floor may include itself and what lies below it. Run from anywhere: check_floors.py ROOT
"""
import pathlib
import re
import sys

# Each floor and the floors it may include.
BELOW = {
    "base": set(),
    "compute": {"base"},
    "model": {"base", "compute"},
    "engine": {"base", "compute", "model"},
    "hub": {"base"},
    "intelligence": {"base", "compute", "model", "engine", "hub"},
    "session": {"base", "compute", "model", "engine", "hub", "intelligence"},
    "serve": {"base", "compute", "model", "engine", "hub", "intelligence"},
    "api": {"base", "compute", "model", "engine", "hub", "intelligence"},
    "cli": {"base", "compute", "model", "engine", "hub", "intelligence", "session", "serve", "api"},
}
MAX_FILE, MAX_FUNCTION, MAX_COLUMN = 800, 80, 120
FORBIDDEN = re.compile(r"(?<![\w.>])(exit|_exit|abort|printf|puts|putchar|perror|fprintf\s*\(\s*std(?:out|err))\s*\(")


def strip_comments(text):
    """Comments and strings blanked, line breaks kept."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.S)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def functions(lines):
    """(first line, length) of each brace block that starts in column 0."""
    start = None
    for number, line in enumerate(lines, 1):
        if line.startswith("{"):
            start = number
        elif line.startswith("}") and start is not None:
            yield start, number - start + 1
            start = None


def check(root):
    faults = []
    for path in sorted(root.glob("src/**/*.[ch]")):
        name = path.relative_to(root)
        floor = name.parts[1]
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        if floor not in BELOW:
            faults.append(f"{name}: src/{floor} is not a floor of the house")
            continue
        for number, line in enumerate(lines, 1):
            if len(line) > MAX_COLUMN:
                faults.append(f"{name}:{number}: {len(line)} columns, at most {MAX_COLUMN}")
            include = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not include:
                continue
            target = include.group(1).split("/")[0] if "/" in include.group(1) else floor
            if include.group(1) == "escriba.h":
                if floor not in ("api", "cli"):
                    faults.append(f"{name}:{number}: only src/api and src/cli see the public header")
            elif target != floor and target not in BELOW[floor]:
                faults.append(f"{name}:{number}: src/{floor} may not include {include.group(1)}")
        if len(lines) > MAX_FILE:
            faults.append(f"{name}: {len(lines)} lines, at most {MAX_FILE}")
        for start, length in functions(lines):
            if length > MAX_FUNCTION:
                faults.append(f"{name}:{start}: a function of {length} lines, at most {MAX_FUNCTION}")
        if floor != "cli":
            for number, line in enumerate(strip_comments(text).splitlines(), 1):
                if FORBIDDEN.search(line):
                    faults.append(f"{name}:{number}: the library neither exits nor prints: {line.strip()}")
    return faults


if __name__ == "__main__":
    found = check(pathlib.Path(sys.argv[1]))
    for fault in found:
        print(fault)
    sys.exit(1 if found else 0)
