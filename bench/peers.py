#!/usr/bin/env python3
"""Runs escriba and other engines alternately on the same checkpoint, frames, prompt, token count and thread count.

    bench/peers.py BUILD_DIR RESULTS_DIR [--model DIR] [--frames 8] [--size 1024x576] [--tokens 64] [--threads 2]
                   [--peer NAME=PYTHON]

Each peer gets a virtual environment of its own below BUILD_DIR/bench/peers, filled from the package registry once;
--peer transformers=/path/to/python uses one that is there already. Without --model the random 2B checkpoint of
bench/bench.py is taken. Each run of a peer stands between two of escriba, and is compared with their mean. Written:
RESULTS_DIR/peers-SIZE.csv and peers-SIZE.md. Python 3 standard library only.
"""

import argparse
import csv
import json
import pathlib
import platform
import subprocess
import sys
import venv

import bench

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROMPT = "Describe what the user is doing in this screenshot, which application is used, and on what."

# Packages, the script that runs it, and the ways in which it runs: name and frames at a time.
PEERS = {
    "transformers": dict(packages=["torch", "torchvision", "transformers", "pillow"],
                         script=ROOT / "bench" / "peers" / "transformers_peer.py",
                         ways=[("one at a time", 1), ("batched", 4)]),
}


def python_of(name, build, given):
    """The peer's own interpreter; its packages are installed the first time."""
    if name in given:
        return given[name]
    where = build / "bench" / "peers" / name
    python = where / "bin" / "python"
    if not (where / "whole").exists():
        venv.create(where, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PEERS[name]["packages"]], check=True)
        (where / "whole").touch()
    return python


def run_escriba(args, frames):
    table = args.results / "peers-own.csv"
    subprocess.run([args.build / "src" / "cli" / "escriba", "bench", "--model", args.model, "--precision", "fast",
                    "--at-once", str(len(frames)), "--tokens", str(args.tokens), "--threads", str(args.threads), "--prompt",
                    PROMPT, "--csv", table, *frames], check=True, stdout=subprocess.DEVNULL)
    with open(table, encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))
    table.unlink()
    return {"engine": "escriba", "way": f"{len(frames)} at once", "version": row["device"],
            "seconds_a_frame": float(row["seconds"]) / len(frames), "peak_memory": int(row["peak_memory"])}


def run_peer(args, name, way, batch, frames):
    command = [python_of(name, args.build, args.given), PEERS[name]["script"], args.model, "--tokens", args.tokens,
               "--threads", args.threads, "--batch", batch, "--prompt", PROMPT, *frames]
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    if told["generated"] != args.tokens * len(frames):
        sys.exit(f"{name} made {told['generated']} tokens, not {args.tokens * len(frames)}")
    return {"engine": name, "way": way, "version": f"{told['version']} ({told['beside']})",
            "seconds_a_frame": told["seconds"] / len(frames), "peak_memory": told["peak_memory"]}


def processor_name():
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def report(args, rows):
    name = f"peers-{args.size}"
    with open(args.results / f"{name}.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=["engine", "way", "version", "seconds_a_frame", "peak_memory", "ratio"])
        writer.writeheader()
        writer.writerows(rows)
    lines = [f"{args.frames} frames of {args.size}, {args.tokens} new tokens each, {args.threads} threads, "
             f"{processor_name()}; runs in this order, ratios against escriba just before and after", "",
             "| engine | way | s / frame | peak memory | escriba is faster |", "|---|---|---|---|---|"]
    for row in rows:
        ratio = f"x{row['ratio']:.2f}" if row.get("ratio") else ""
        lines.append(f"| {row['engine']} {row['version']} | {row['way']} | {row['seconds_a_frame']:.2f} | "
                     f"{row['peak_memory'] / 1e9:.2f} GB | {ratio} |")
    text = "\n".join(lines) + "\n"
    (args.results / f"{name}.md").write_text(text, encoding="utf-8")
    print(text)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("--model")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", default="1024x576")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    args = parser.parse_args()
    args.given = dict(peer.split("=", 1) for peer in args.peer)
    args.model = args.model or str(bench.model_2b(args.build))
    args.results.mkdir(parents=True, exist_ok=True)
    drawn = args.build / "bench" / "peers" / f"frames-{args.size}"
    subprocess.run([sys.executable, ROOT / "bench" / "make_sequence.py", drawn, "--size", args.size, "--count",
                    str(3 * args.frames)], check=True, stdout=subprocess.DEVNULL)
    different = {path.read_bytes(): str(path) for path in sorted(drawn.glob("*.png"))}
    frames = sorted(different.values())[:args.frames]
    rows = [run_escriba(args, frames)]
    for name, peer in PEERS.items():
        for way, batch in peer["ways"]:
            rows.append(run_peer(args, name, way, min(batch, len(frames)), frames))
            rows.append(run_escriba(args, frames))
            own = (rows[-1]["seconds_a_frame"] + rows[-3]["seconds_a_frame"]) / 2
            rows[-2]["ratio"] = rows[-2]["seconds_a_frame"] / own
    report(args, rows)


if __name__ == "__main__":
    main()
