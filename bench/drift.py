#!/usr/bin/env python3
"""How often a precision gives the same record as exact, over a folder of frames.

    bench/drift.py ESCRIBA MODEL FRAMES_DIR [--precision fast] [--max-tokens 200]

Prints the share of frames whose whole answer is the same, and of those whose activity, apps and topics are. Python 3
standard library only.
"""

import argparse
import json
import pathlib
import subprocess
import sys


def records(args, precision):
    frames = sorted(str(p) for p in pathlib.Path(args.frames).iterdir() if p.suffix in (".png", ".jpg", ".webp"))
    if not frames:
        sys.exit(f"no frames in {args.frames}")
    told = subprocess.run([args.escriba, "describe", "--model", args.model, "--precision", precision, "--ordered", "--raw",
                           "--max-tokens", str(args.max_tokens), *frames], stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in told.stdout.splitlines()]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("escriba")
    parser.add_argument("model")
    parser.add_argument("frames")
    parser.add_argument("--precision", default="fast")
    parser.add_argument("--max-tokens", type=int, default=200)
    args = parser.parse_args()
    exact, other = records(args, "exact"), records(args, args.precision)
    n = len(exact)
    for what, keys in (("the whole record", ("description", "activity", "apps", "topics")),
                       ("activity, apps and topics", ("activity", "apps", "topics")), ("activity", ("activity",))):
        same = sum(all(a.get(k) == b.get(k) for k in keys) for a, b in zip(exact, other))
        print(f"{args.precision} gives {what} as exact does on {same} of {n} frames ({100 * same / n:.1f} %)")


if __name__ == "__main__":
    main()
