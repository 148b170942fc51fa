#!/usr/bin/env python3
"""Runs escriba on MLX and mlx_vlm (Python) alternately: the same libmlx, checkpoint, frames, prompt and token count.

    bench/mlx.py BUILD_DIR RESULTS_DIR --python PYTHON [--device mlx-cpu|mlx-gpu] [--model DIR] [--precision exact]
                 [--size WxH] [--frames 8] [--tokens 32] [--rounds 2] [--preload LIBRARY] [--name NAME]

PYTHON has mlx_vlm. Without --model a reduced random checkpoint in float32 is made (the 2B one needs minutes a token on
MLX's processor device). --preload names a BLAS that both get before MLX's own, the wheel's being the slow reference
one. Compared: frames a second one at a time and eight at a time, the time from a process's start to its first token,
and the largest memory. Printed, and written to RESULTS_DIR/NAME.csv and NAME.md. Python 3 standard library only.
"""

import argparse
import csv
import json
import os
import pathlib
import platform
import shutil
import struct
import subprocess
import sys
import threading
import time
import zlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEER = ROOT / "bench" / "peers" / "mlx_vlm_peer.py"
PROMPT = "Describe what the user is doing in this screenshot, which application is used, and on what."


def draw(path, width, height, number):
    """Windows with lines of something like text; each number another."""
    state = number * 2654435761 % 2**32
    row = bytearray(bytes((20 + number * 3 % 40, 24, 32)) * width)
    rows = bytearray()
    for y in range(height):
        if y % 14 == 0:
            row = bytearray(bytes((20 + number * 3 % 40, 24, 32)) * width)
            x = width // 6
            while x < width - 40 and y > 20:
                state = (state * 1664525 + 1013904223) % 2**32
                length = 6 + (state >> 24) % 50
                if state >> 8 & 3:
                    row[3 * x:3 * (x + length)] = bytes((150, 160, 170 + number % 40)) * min(length, width - x)
                x += length + 7
        rows += b"\0" + (row[:3 * width] if y % 14 < 7 else bytes((20 + number * 3 % 40, 24, 32)) * width)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(rows), 1)) +
                     chunk(b"IEND", b""))


def dressed(model, scratch):
    """mlx_vlm wants to be told what our random checkpoints leave out: a tokenizer's settings and a chat template."""
    if (model / "tokenizer_config.json").exists():
        return model
    where = scratch / (model.name + "-dressed")
    shutil.rmtree(where, ignore_errors=True)
    subprocess.run([sys.executable, ROOT / "bench" / "peers" / "dress.py", model, where], check=True)
    return where


class Memory(threading.Thread):
    """The most a CUDA GPU had in use while this ran; 0 where there is none."""

    def __init__(self):
        super().__init__(daemon=True)
        self.most, self.least, self.over = 0, None, threading.Event()

    @staticmethod
    def used():
        try:
            said = subprocess.run(["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"],
                                  capture_output=True, text=True, timeout=10).stdout
            return int(said.split()[0]) * 2**20
        except (OSError, ValueError, IndexError, subprocess.SubprocessError):
            return None

    def run(self):
        self.least = self.used()
        while self.least is not None and not self.over.wait(0.2):
            self.most = max(self.most, self.used() or 0)


def run(args, command, out=None):
    """Runs it to its end: what it printed, seconds, and the most memory (bytes) of process and GPU."""
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    if args.preload:
        env["LD_PRELOAD"] = args.preload
    gpu = Memory()
    if args.device == "mlx-gpu":
        gpu.start()
    begin = time.perf_counter()
    process = subprocess.Popen([str(c) for c in command], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    noise = []
    reader = threading.Thread(target=lambda: noise.append(process.stderr.read()), daemon=True)
    reader.start()
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    gpu.over.set()
    reader.join(5)
    if status != 0:
        sys.exit(f"{' '.join(str(c) for c in command)}: status {status}\n{said}\n{''.join(noise)}")
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return said, seconds, peak, max(0, gpu.most - (gpu.least or 0))


def escriba(args, frames, at_once, first):
    own = [args.escriba, "describe" if first else "bench", "--model", args.model, "--device", args.device,
           "--precision", args.precision, "--prompt", PROMPT]
    table = args.results / "mlx-own.csv"
    if first:
        _, seconds, peak, gpu = run(args, [*own, "--free-form", "--max-tokens", "1", frames[0]])
        return {"seconds": seconds, "frames": 1, "peak": peak, "gpu": gpu}
    _, _, peak, gpu = run(args, [*own, "--at-once", f"{at_once},{at_once}", "--tokens", args.tokens, "--csv", table, *frames])
    with open(table, encoding="utf-8", newline="") as file:
        row = list(csv.DictReader(file))[-1]  # the first warms up
    table.unlink()
    args.version = row["device"]
    return {"seconds": float(row["seconds"]), "frames": int(row["frames"]), "peak": peak, "gpu": gpu}


def mlx_vlm(args, frames, at_once, first):
    command = [args.python, PEER, args.model, "--device", args.device[4:], "--tokens", args.tokens, "--batch", at_once,
               "--threads", os.cpu_count(), "--prompt", PROMPT, "--warm", frames[0], *(["--first"] if first else []), *frames]
    said, seconds, peak, gpu = run(args, command)
    told = json.loads(said.strip().splitlines()[-1])
    args.peer_version = f"mlx_vlm {told['version']}, {told['beside']}"
    if not first and told["generated"] != args.tokens * len(frames):
        print(f"mlx_vlm gave {told['generated']} tokens, not {args.tokens} for each of {len(frames)} frames", file=sys.stderr)
    return {"seconds": seconds if first else told["seconds"], "frames": 1 if first else len(frames), "peak": peak,
            "gpu": gpu or (told["device_memory"] if args.device == "mlx-gpu" else 0)}


def measure(args, frames):
    """Each measure of each engine, by turns, `rounds` times."""
    runs = {}
    if args.device == "mlx-gpu":  # CUDA's kernels are compiled once, for minutes, and then kept
        for engine in (escriba, mlx_vlm):
            for at_once, first in ((1, True), (8, False)):
                engine(args, frames, at_once, first)
    for _ in range(args.rounds):
        for way, at_once, first in (("first token", 1, True), ("1 at a time", 1, False), ("8 at a time", 8, False)):
            for engine in (escriba, mlx_vlm):
                one = engine(args, frames, at_once, first)
                runs.setdefault((way, engine.__name__), []).append(one)
                print(f"  {way:12} {engine.__name__:8} {one['seconds']:8.2f} s, {one['frames']} frames, "
                      f"{one['peak'] / 1e6:.0f} MB" + (f", GPU {one['gpu'] / 1e6:.0f} MB" if one["gpu"] else ""), flush=True)
    return runs


def mean(runs, key):
    return sum(run[key] for run in runs) / len(runs)


def report(args, runs):
    rows = []
    for way in ("first token", "1 at a time", "8 at a time"):
        own, peer = runs[(way, "escriba")], runs[(way, "mlx_vlm")]
        a, b = mean(own, "seconds") / own[0]["frames"], mean(peer, "seconds") / peer[0]["frames"]
        rows.append({"measure": way, "escriba_seconds_a_frame": f"{a:.3f}", "mlx_vlm_seconds_a_frame": f"{b:.3f}",
                     "times_faster": f"{b / a:.2f}", "escriba_peak_MB": f"{max(r['peak'] for r in own) / 1e6:.0f}",
                     "mlx_vlm_peak_MB": f"{max(r['peak'] for r in peer) / 1e6:.0f}",
                     "escriba_gpu_MB": f"{max(r['gpu'] for r in own) / 1e6:.0f}",
                     "mlx_vlm_gpu_MB": f"{max(r['gpu'] for r in peer) / 1e6:.0f}"})
    lines = [f"escriba ({args.version}, {args.precision}) and {args.peer_version}: {args.model.name}, {len(args.paths)} frames of "
             f"{args.size}, {args.tokens} tokens each, {args.rounds} rounds by turns, on {platform.machine()} "
             f"({os.cpu_count()} cores){', BLAS preloaded in both' if args.preload else ''}", "",
             "| " + " | ".join(k.replace("_", " ") for k in rows[0]) + " |", "|" + " --- |" * len(rows[0])]
    lines += ["| " + " | ".join(row.values()) + " |" for row in rows]
    print("\n".join(lines), flush=True)
    args.results.mkdir(parents=True, exist_ok=True)
    (args.results / f"{args.name}.md").write_text("\n".join(lines) + "\n")
    with open(args.results / f"{args.name}.csv", "w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("--python", required=True)
    parser.add_argument("--escriba", type=pathlib.Path)
    parser.add_argument("--device", choices=("mlx-cpu", "mlx-gpu"), default="mlx-cpu")
    parser.add_argument("--precision", default="exact")
    parser.add_argument("--model", type=pathlib.Path)
    parser.add_argument("--size", default="384x224")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--preload")
    parser.add_argument("--name", default="mlx")
    args = parser.parse_args()
    args.escriba = args.escriba or args.build / "src" / "cli" / "escriba"
    scratch = args.build / "bench" / "mlx"
    scratch.mkdir(parents=True, exist_ok=True)
    args.results.mkdir(parents=True, exist_ok=True)
    if args.model is None:
        args.model = scratch / "reduced-float32"
        if not (args.model / "model.safetensors").exists():
            subprocess.run([sys.executable, ROOT / "tools" / "make_random_checkpoint.py", args.model, "--size", "reduced",
                            "--float32"], check=True, stdout=subprocess.DEVNULL)
    args.model = dressed(args.model, scratch)
    width, height = map(int, args.size.split("x"))
    args.paths = [scratch / f"frame-{args.size}-{i}.png" for i in range(args.frames)]
    for i, path in enumerate(args.paths):
        draw(path, width, height, i + 1)
    report(args, measure(args, args.paths))


if __name__ == "__main__":
    main()
