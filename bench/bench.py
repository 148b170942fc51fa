#!/usr/bin/env python3
"""The standard set of measurements of `make bench`.

    bench/bench.py BUILD_DIR RESULTS_DIR [PART...]

Parts: kernels, 2b, box, sequence, session; none named: all. The 2b part writes a random checkpoint of the published 2B size
(4.3 GB) into BUILD_DIR/bench, once. What is printed is also kept in RESULTS_DIR, as text, CSV and SVG. Python 3
standard library only.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BOX = ROOT / "models" / "escriba-tiny"
SIZES = ("1024x576", "1280x720")


def run(results, name, command):
    """Prints a command's output as it comes, and keeps it."""
    print(f"\n== {name}: {' '.join(str(c) for c in command)}\n", flush=True)
    with open(results / f"{name}.txt", "w", encoding="utf-8") as kept:
        process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, text=True)
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            kept.write(line)
    if process.wait() != 0:
        sys.exit(f"{name} ended with {process.returncode}")


def model_2b(build):
    """Written once; a half-written one does not count."""
    where, whole = build / "bench" / "model-2b", build / "bench" / "model-2b.whole"
    if not whole.exists():
        shutil.rmtree(where, ignore_errors=True)
        where.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, ROOT / "tools" / "make_random_checkpoint.py", where, "--size", "2b"], check=True)
        whole.touch()
    return where


def sequence(build):
    where = build / "bench" / "sequence"
    subprocess.run([sys.executable, ROOT / "bench" / "make_sequence.py", where], check=True)
    return sorted(where.glob("*.png"))


def session(build, results):
    """What finding the frames of a recording costs, and that a model need not wait for them."""
    recording, store = build / "bench" / "day.mkv", results / "day.db"
    recording.parent.mkdir(parents=True, exist_ok=True)
    run(results, "session", [build / "bench" / "bench_session", "6", recording])
    model = build / "bench" / "model-2b" if (build / "bench" / "model-2b.whole").exists() else BOX
    for left in results.glob("day.db*"):
        left.unlink()
    command = [build / "src" / "cli" / "escriba", "run", recording, "--model", model, "--store", store, "--skip-summary",
               "--precision", "fast", "--json-progress", "--gap-fill", "0"]
    print(f"\n== {' '.join(str(c) for c in command)}\n", flush=True)
    began = time.time()
    told = subprocess.run([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
    took, last = time.time() - began, json.loads(told.stderr.splitlines()[-1])
    line = (f"{model.name}: {last['described']} frames described, {last['reused']} reused, in {took:.1f} s; the model waited "
            f"for a frame {last['waited']:.2f} s, {100 * last['waited'] / took:.1f} %")
    print(line)
    with open(results / "session.txt", "a", encoding="utf-8") as kept:
        kept.write(line + "\n")


def main():
    build, results = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    parts = sys.argv[3:] or ["kernels", "2b", "box", "sequence", "session"]
    bench = [build / "src" / "cli" / "escriba", "bench"]
    results.mkdir(parents=True, exist_ok=True)
    if "kernels" in parts:
        run(results, "kernels", [build / "bench" / "bench_kernels"])
    if "2b" in parts:
        for size in SIZES:
            run(results, f"2b-{size}", bench + ["--model", model_2b(build), "--precision", "fast", "--size", size,
                                                "--at-once", "1,8", "--csv", results / f"2b-{size}.csv"])
    if "box" in parts and BOX.is_dir():
        run(results, "box", bench + ["--model", BOX, "--precision", "fast", "--at-once", "1,2,4,8,16,32", "--csv",
                                     results / "box.csv", "--svg", results / "box.svg"])
    if "sequence" in parts and BOX.is_dir():
        run(results, "sequence", bench + ["--model", BOX, "--precision", "fast", "--caches", "--at-once", "8", "--tokens",
                                          "120", "--csv", results / "sequence.csv"] + sequence(build))
    if "session" in parts and BOX.is_dir():
        session(build, results)


if __name__ == "__main__":
    main()
