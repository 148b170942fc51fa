#!/usr/bin/env python3
"""The shared library shows escriba_* and nothing else."""
import subprocess
import sys

lines = subprocess.run(["nm", "-D", "--defined-only", sys.argv[1]], capture_output=True, text=True, check=True).stdout
names = [line.split()[-1] for line in lines.splitlines() if line.strip()]
stray = [name for name in names if not name.startswith("escriba_") and name not in ("_init", "_fini")]
print(f"{len(names)} symbols")
if stray or not names:
    sys.exit("exported by mistake: " + " ".join(stray[:20]))
