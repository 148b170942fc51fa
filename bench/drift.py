#!/usr/bin/env python3
"""How far a precision is from exact: how often it gives the same record over a folder of frames, or how far the final
hidden state of one frame's prompt is off.

    bench/drift.py ESCRIBA MODEL FRAMES_DIR [--precision fast] [--max-tokens 200]
    bench/drift.py ESCRIBA MODEL FRAME --hidden [--precision fast]

Of the latter's drift it tells two parts: what the weights of that precision cost, computed with in float32, and what integer
products, bytes and halves cost beside those same weights.

Python 3 standard library only.
"""

import argparse
import array
import json
import math
import pathlib
import struct
import subprocess
import sys
import tempfile


def records(args, precision):
    frames = sorted(str(p) for p in pathlib.Path(args.frames).iterdir() if p.suffix in (".png", ".jpg", ".webp"))
    if not frames:
        sys.exit(f"no frames in {args.frames}")
    told = subprocess.run([args.escriba, "describe", "--model", args.model, "--precision", precision, "--ordered", "--raw",
                           "--max-tokens", str(args.max_tokens), *frames], stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in told.stdout.splitlines()]


def tensor(path, name):
    """A float32 tensor of a safetensors file: its rows as one array, and its shape."""
    with open(path, "rb") as file:
        head = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        start = file.tell()
        first, last = head[name]["data_offsets"]
        file.seek(start + first)
        numbers = array.array("f")
        numbers.frombytes(file.read(last - first))
    return numbers, head[name]["shape"]


def final_hidden(args, precision, folder, *more):
    question, dump = folder / "question.json", folder / f"{precision}.safetensors"
    question.write_text(json.dumps([{"role": "user", "content": [
        {"type": "image", "image": str(pathlib.Path(args.frames).resolve())},
        {"type": "text", "text": "What is the user doing?"}]}]))
    subprocess.run([args.escriba, "trace", args.model, "--messages", question, "--dump", dump, "--max-tokens", "0",
                    "--precision", precision, *more], stdout=subprocess.DEVNULL, check=True)
    return tensor(dump, "text.norm")


def apart(one, other):
    """Relative L2 of the second against the first."""
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(one, other)) / sum(a * a for a in one))


def hidden(args):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        exact, shape = final_hidden(args, "exact", folder)
        other, _ = final_hidden(args, args.precision, folder)
        weights, _ = final_hidden(args, args.precision, folder, "--floats")
    print(f"final hidden state {shape} of {pathlib.Path(args.frames).name}, relative L2: {args.precision} against exact "
          f"{100 * apart(exact, other):.2f} %; its weights alone, in float32, {100 * apart(exact, weights):.2f} %")
    off = apart(weights, other)
    print(f"{args.precision} against float32 with the same weights: {100 * off:.2f} %; 3 % is allowed: "
          f"{'holds' if off <= 0.03 else 'does not hold'}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("escriba")
    parser.add_argument("model")
    parser.add_argument("frames")
    parser.add_argument("--precision", default="fast")
    parser.add_argument("--max-tokens", type=int, default=200)
    parser.add_argument("--hidden", action="store_true")
    args = parser.parse_args()
    if args.hidden:
        hidden(args)
        return
    exact, other = records(args, "exact"), records(args, args.precision)
    n = len(exact)
    for what, keys in (("the whole record", ("description", "activity", "apps", "topics")),
                       ("activity, apps and topics", ("activity", "apps", "topics")), ("activity", ("activity",))):
        same = sum(all(a.get(k) == b.get(k) for k in keys) for a, b in zip(exact, other))
        print(f"{args.precision} gives {what} as exact does on {same} of {n} frames ({100 * same / n:.1f} %)")


if __name__ == "__main__":
    main()
