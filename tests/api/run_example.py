#!/usr/bin/env python3
"""Runs the compiled example on two sample frames and one that does not exist: two lines out, one complaint, exit 1."""
import os
import pathlib
import subprocess
import sys

root = pathlib.Path(os.environ["ESCRIBA_SOURCE_ROOT"])
model = root / "models" / "escriba-tiny"
frames = sorted((root / "samples" / "frames").iterdir())[:2]
assert len(frames) == 2, "samples/frames holds no frames"
run = subprocess.run([sys.argv[1], model, *frames, "/no/such.png"], capture_output=True, text=True)
print(run.stdout, run.stderr)
assert run.returncode == 1, run.returncode
assert len(run.stdout.splitlines()) == 2
assert "/no/such.png" in run.stderr and len(run.stderr.splitlines()) == 1
good = subprocess.run([sys.argv[1], model, *frames], capture_output=True, text=True)
assert good.returncode == 0 and good.stderr == "", (good.returncode, good.stderr)
bad = subprocess.run([sys.argv[1], "/no/such/model", *frames], capture_output=True, text=True)
assert bad.returncode == 1 and "/no/such/model" in bad.stderr
