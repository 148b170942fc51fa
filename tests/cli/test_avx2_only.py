#!/usr/bin/env python3
"""The command on a processor that seems to have AVX2 and nothing wider (bench/peers/avx2_only.c hides the rest).

    test_avx2_only.py ESCRIBA     Skips (77) where there is nothing to hide, or where it cannot be hidden.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
WIDER = ("avxvnni", "avx512")


def skip(why):
    print(f"SKIP: {why}")
    sys.exit(77)


def doctor(escriba, **more):
    done = subprocess.run([escriba, "doctor", "--json"], capture_output=True, text=True, env={**os.environ, **more})
    return done.returncode, done.stdout, done.stderr


def main():
    escriba = sys.argv[1]
    if sys.platform != "linux":
        skip("only Linux lets a program hide what the processor says")
    sets = json.loads(doctor(escriba)[1])["instruction_sets"]
    if not any(name in sets for name in WIDER):
        skip("this processor has nothing wider than AVX2")
    with tempfile.TemporaryDirectory() as folder:
        library = pathlib.Path(folder) / "avx2_only.so"
        subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared",
                        ROOT / "bench" / "peers" / "avx2_only.c", "-o", library], check=True)  # fmt: skip
        code, out, err = doctor(escriba, LD_PRELOAD=str(library))
    if "cannot fault on CPUID" in err:
        skip(err.strip())
    if "ASan runtime" in err:
        skip("nothing can be preloaded before the sanitizer")
    assert code == 0, err
    found = json.loads(out)
    assert found["instruction_sets"] == ["scalar", "avx2"], found["instruction_sets"]
    assert found["device"].startswith("avx2,"), found["device"]
    print("it takes AVX2, and knows of nothing wider")


if __name__ == "__main__":
    main()
