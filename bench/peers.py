#!/usr/bin/env python3
"""Runs escriba and other engines alternately on the same checkpoint, frames, prompt, token count and thread count.

    bench/peers.py BUILD_DIR RESULTS_DIR [--size 1024x576] [--frames 8] [--tokens 64] [--threads 2] [--short]
                   [--run NAME,NAME,...] [--avx2] [--model DIR] [--prepare] [--at ENGINE=DIR]

Each engine is installed once below BUILD_DIR/bench/peers, from the package registries, and the checkpoint (without --model the
random 2B one of bench/bench.py) is converted for it once; --prepare does only that. --at names a place where an engine is
already: a virtual environment, or a directory with its programs in bin.

--run is a list of runs in their order; without it each of RUNS stands between two of escriba. A run is one line appended to
RESULTS_DIR/peers-SIZE.csv, so that a long comparison can be made in parts; a peer is compared with the mean of the escriba runs
next to it, one before and one after. RESULTS_DIR/peers-SIZE.md is the table of the whole file.

--avx2 holds every engine to AVX2, as on a processor that has no more, and writes peers-avx2-SIZE: escriba by --isa avx2, llama.cpp
compiled for it, Ollama with that variant alone, and what asks the processor at run time by a library that hides the rest from it
(peers/avx2_only.c; needs a C compiler). Python 3 standard library only.
"""

import argparse
import csv
import datetime
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import venv

import bench

ROOT = pathlib.Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "bench" / "peers"
PROMPT = "Describe what the user is doing in this screenshot, which application is used, and on what."
OWN = "escriba"
FIELDS = ["time", "run", "engine", "version", "way", "frames", "size", "tokens", "threads", "at_once", "prompt_tokens", "seconds",
          "seconds_a_frame", "peak_memory", "processor", "phases"]  # fmt: skip

# What each engine is installed from: packages of the Python registry, or a script of ours. The environment of OpenVINO also
# runs llama.cpp's converter, which wants the same transformers.
PACKAGES = {
    "transformers": ["torch", "torchvision", "transformers", "pillow"],
    "openvino": ["openvino", "openvino-genai", "optimum-intel", "nncf", "transformers==4.57.6", "torch", "torchvision", "pillow",
                 "sentencepiece", "protobuf"],
    "mlx": ["mlx-vlm", "mlx-cpu"] if sys.platform != "darwin" else ["mlx-vlm"],
}  # fmt: skip

# run: engine, form of the checkpoint, frames at once, what is written of it, flags of the peer's script
RUNS = {
    "openvino-4bit": ("openvino", "openvino-4bit", 4, "4-bit text, 8-bit tower, batches of 4", []),
    "openvino-8bit": ("openvino", "openvino-8bit", 4, "8 bit, batches of 4", []),
    "llama.cpp": ("llama.cpp", "llama.cpp", 4, "Q4_K_M, projector f16, 4 slots, 4 requests at once",
                  ["--projector", "f16"]),
    "llama.cpp-bf16": ("llama.cpp", "llama.cpp", 4, "Q4_K_M, projector bf16, 4 slots, 4 requests at once",
                       ["--projector", "bf16"]),
    "ollama": ("ollama", "ollama", 4, "q4_K_M, 4 requests at once (it serves them one by one), sampled", []),
    "transformers": ("transformers", "dressed", 1, "bf16, one at a time", []),
    "transformers-batched": ("transformers", "dressed", 4, "bf16, batches of 4", []),
    "mlx_vlm": ("mlx", "dressed", 1, "float32, MLX's CPU device with OpenBLAS, 1 frame; all but 8 tokens extrapolated",
                ["--float32", "--measured-tokens", "8"]),
}  # fmt: skip
COMPILED = ("llama.cpp", "ollama")  # for one processor or for several: what they use is not asked for at run time alone
# With --short, of engines that answer frames one after another, or whose batch is full with fewer
SHORT = {"llama.cpp": 4, "llama.cpp-bf16": 4, "ollama": 2, "transformers": 2, "transformers-batched": 4}


def run(command, **more):
    return subprocess.run([str(part) for part in command], check=True, **more)


def hides_the_rest(args):
    """A library to preload, so that a program that asks finds AVX2 and nothing wider; none where there is nothing wider."""
    info = pathlib.Path("/proc/cpuinfo").read_text()
    if "avx512f" not in info and "avx_vnni" not in info:
        return []

    def compiled(where):
        where.mkdir()
        run(["cc", "-O2", "-fPIC", "-shared", SCRIPTS / "avx2_only.c", "-o", where / "avx2_only.so"])

    return [str(Once(args.build.resolve() / "bench" / "peers" / "avx2_only")(compiled) / "avx2_only.so")]


class Once:
    """A folder that counts only once it was filled to the end."""

    def __init__(self, path):
        self.path, self.mark = path, path.with_name(path.name + ".whole")

    def __call__(self, fill):
        if not self.mark.exists():
            if self.path.is_dir():
                shutil.rmtree(self.path)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            print(f"making {self.path}", flush=True)
            fill(self.path)
            self.mark.touch()
        return self.path


def engine_at(args, engine):
    """Where an engine is; installed the first time."""
    if args.avx2 and engine in COMPILED:
        engine += "-avx2"
    if engine in args.at:
        return args.at[engine]

    def environment(where):
        venv.create(where, with_pip=True)
        run([where / "bin" / "python", "-m", "pip", "install", "--quiet", *PACKAGES[engine]])

    def built(where):
        if engine.startswith("llama.cpp"):
            run([SCRIPTS / "build_llama.sh", where, sys.executable, *(["avx2"] if args.avx2 else [])])
            return
        run([SCRIPTS / "build_ollama.sh", where, engine_at(args, "llama.cpp") / "source" / "vendor"])
        for variant in where.glob("lib/ollama/libggml-cpu-*") if args.avx2 else ():
            if "haswell" not in variant.name:
                variant.unlink()

    return Once(args.build / "bench" / "peers" / engine)(environment if engine in PACKAGES else built)


def model_for(args, form):
    """The checkpoint in the form that a run takes; converted the first time."""
    folder = args.build / "bench" / "peers" / "models" / args.model.name

    def fill(where):
        if form == "dressed":
            run([sys.executable, SCRIPTS / "dress.py", args.model, where])
            return
        whole = model_for(args, "dressed")
        if form == "ollama":
            run([sys.executable, SCRIPTS / "ollama_peer.py", "--create", whole, where, "--engine",
                 engine_at(args, "ollama") / "bin" / "ollama", "--log", folder / "ollama.log"])  # fmt: skip
            return
        python = engine_at(args, "openvino") / "bin" / "python"
        if form == "llama.cpp":
            engine = engine_at(args, "llama.cpp")
            run([python, SCRIPTS / "llama_convert.py", engine / "source", engine / "bin", whole, where])
        else:
            run([python, SCRIPTS / "openvino_convert.py", whole, where, "--text-bits", form.split("-")[1][0]])

    return Once(folder / form)(fill)


def run_own(args, frames):
    table = args.results / "peers-own.csv"
    run([args.build / "src" / "cli" / "escriba", "bench", "--model", args.model, "--precision", "fast", "--at-once", len(frames),
         "--tokens", args.tokens, "--threads", args.threads, "--prompt", PROMPT, "--csv", table, *(["--isa", "avx2"] if args.avx2 else []), *frames],
        stdout=subprocess.DEVNULL)  # fmt: skip
    with open(table, encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))
    table.unlink()
    phases = {name: float(row[name]) for name in ("preprocess_s", "vision_s", "prefill_s", "decode_s")}
    return {"engine": OWN, "version": row["device"], "way": f"fast (4-bit text, 8-bit tower), {len(frames)} frames at once",
            "at_once": len(frames), "prompt_tokens": "", "seconds": float(row["seconds"]),
            "peak_memory": int(row["peak_memory"]), "phases": phases}  # fmt: skip


def run_peer(args, name, frames, warm):
    engine, form, at_once, way, flags = RUNS[name]
    place, model, environment = engine_at(args, engine), model_for(args, form), dict(os.environ, HF_HUB_OFFLINE="1")
    script = SCRIPTS / f"{'mlx_vlm' if engine == 'mlx' else engine.split('.')[0]}_peer.py"
    if engine in PACKAGES:
        command = [place / "bin" / "python", script, model]
    else:
        program = "llama-server" if engine == "llama.cpp" else "ollama"
        command = [sys.executable, script, model, "--engine", place / "bin" / program, "--log",
                   model.parent / f"{engine}.log"]  # fmt: skip
    if engine == "mlx":
        environment.update(OPENBLAS_NUM_THREADS=str(args.threads), LD_PRELOAD=open_blas())
    if args.avx2 and engine not in COMPILED:
        environment["LD_PRELOAD"] = ":".join([*hides_the_rest(args), environment.get("LD_PRELOAD", "")]).strip(":")
    command += ["--tokens", args.tokens, "--threads", args.threads, "--batch", min(at_once, len(frames)), "--prompt", PROMPT,
                "--warm", warm, *flags, *frames]  # fmt: skip
    told = json.loads(run(command, stdout=subprocess.PIPE, text=True, env=environment).stdout.splitlines()[-1])
    if told["generated"] != args.tokens * len(frames) and "--measured-tokens" not in flags:
        sys.exit(f"{name} made {told['generated']} tokens, not {args.tokens * len(frames)}")
    if args.avx2 and engine == "ollama" and "libggml-cpu-haswell" not in (model.parent / "ollama.log").read_text(errors="replace"):
        sys.exit("Ollama's log does not name the AVX2 variant: what it ran on is not known")
    return {"engine": told["peer"], "version": f"{told['version']} ({told['beside']})", "way": way, "at_once": told["batch"],
            "prompt_tokens": told["prompt_tokens"], "seconds": told["seconds"], "peak_memory": told["peak_memory"],
            "phases": told.get("phases", {})}  # fmt: skip


def open_blas():
    """MLX's wheel has the reference BLAS, some forty times slower."""
    found = sorted(pathlib.Path("/usr/lib").glob("*/openblas-pthread/libopenblas.so.0"))
    if not found and sys.platform != "darwin":
        sys.exit("mlx_vlm is to be measured with OpenBLAS: apt-get install libopenblas0-pthread")
    return str(found[0]) if found else ""


def processor_name():
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def table_of(args, kind):
    return args.results / f"peers-{'avx2-' if args.avx2 else ''}{args.size}.{kind}"


def rows_of(table):
    if not table.exists():
        return []
    with open(table, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def ratio_of(rows, at):
    """A peer's seconds a frame over the mean of the next runs of escriba before and after it, or None without both."""
    before = next((row for row in reversed(rows[:at]) if row["run"] == OWN), None)
    after = next((row for row in rows[at:] if row["run"] == OWN), None)
    if not before or not after or rows[at]["run"] == OWN:
        return None
    own = (float(before["seconds_a_frame"]) + float(after["seconds_a_frame"])) / 2
    return float(rows[at]["seconds_a_frame"]) / own


def report(args, rows):
    last = rows[-1]
    lines = [f"Frames of {args.size}, {last['tokens']} new tokens each, {last['threads']} threads, {last['processor']}"
             f"{', every engine held to AVX2' if args.avx2 else ''}; runs in "
             "the order in which they were made. A ratio is a peer's time a frame over the mean of the escriba runs just before "
             "and after it.", "",
             "| engine | way | frames | prompt tokens | s / frame | peak memory | escriba is faster |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for at, row in enumerate(rows):
        ratio = ratio_of(rows, at)
        lines.append(f"| {row['engine']} {row['version']} | {row['way']} | {row['frames']} | {row['prompt_tokens']} | "
                     f"{float(row['seconds_a_frame']):.2f} | {int(row['peak_memory']) / 1e9:.2f} GB | "
                     f"{f'x{ratio:.2f}' if ratio else ''} |")  # fmt: skip
    text = "\n".join(lines) + "\n"
    table_of(args, "md").write_text(text, encoding="utf-8")
    return text


def frames_of(args):
    """Different frames of the drawn recording, and one more to warm up with."""
    drawn = args.build / "bench" / "peers" / f"frames-{args.size}"
    count = 3 * args.frames + 8
    run([sys.executable, ROOT / "bench" / "make_sequence.py", drawn, "--size", args.size, "--count", count],
        stdout=subprocess.DEVNULL)  # fmt: skip
    different = {path.read_bytes(): path for path in sorted(drawn.glob("*.png"))[:count]}
    frames = sorted(different.values())[:args.frames + 1]
    return frames[:args.frames], frames[-1]


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("--model", type=pathlib.Path)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", default="1024x576")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--run", help=f"{OWN} and any of {', '.join(RUNS)}")
    parser.add_argument("--avx2", action="store_true", help="every engine as on a processor with AVX2 and nothing wider")
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--short", action="store_true", help="fewer frames where that leaves the time a frame as it is")
    parser.add_argument("--at", action="append", default=[], metavar="ENGINE=DIR")
    args = parser.parse_args()
    args.at = {name: pathlib.Path(place) for name, place in (given.split("=", 1) for given in args.at)}
    args.model = args.model or bench.model_2b(args.build)
    args.run = args.run.split(",") if args.run else [OWN] + [name for peer in RUNS for name in (peer, OWN)]
    for name in args.run:
        if name != OWN and name not in RUNS:
            parser.error(f"--run: there is no {name}")
    return args


def main():
    args = arguments()
    for name in args.run:
        if name != OWN:
            engine_at(args, RUNS[name][0])
            model_for(args, RUNS[name][1])
    if args.prepare:
        return
    args.results.mkdir(parents=True, exist_ok=True)
    table, text = table_of(args, "csv"), ""
    frames, warm = frames_of(args)
    for name in args.run:
        taken = frames[:1 if name == "mlx_vlm" else SHORT.get(name, len(frames)) if args.short else len(frames)]
        told = run_own(args, taken) if name == OWN else run_peer(args, name, taken, warm)
        told.update(run=name, time=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), size=args.size,
                    frames=len(taken), tokens=args.tokens, threads=args.threads, processor=processor_name(),
                    seconds_a_frame=round(told["seconds"] / len(taken), 3), phases=json.dumps(told["phases"]))  # fmt: skip
        new = not table.exists()
        with open(table, "a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=FIELDS)
            if new:
                writer.writeheader()
            writer.writerow(told)
        text = report(args, rows_of(table))
        print(f"{name}: {told['seconds_a_frame']} s a frame", flush=True)
    print(text)


if __name__ == "__main__":
    main()
