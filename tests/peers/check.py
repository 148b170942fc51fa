#!/usr/bin/env python3
"""escriba against a real server: described, killed in mid-run and brought back, several frames in one prompt.

check.py --escriba PATH --backend ollama|openai --url URL --probe URL [--model NAME] [--native DIRECTORY]
         [--labels] [--prepare COMMAND] -- SERVER...
Starts the server, waits until the probe answers, runs the command that prepares it, and looks that every frame is recorded
exactly once. With --native the same checkpoint answers on our own engine, too: the server's records must be of the same
frames, which shows in what they say. With --labels the model is good enough to tell the sample's frames apart: of several in a prompt
each must have its own record. Says what it measured. Python 3 standard library only.
"""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FRAMES = int(os.environ.get("PEER_FRAMES", "20"))
WIDTH = "640"  # of pictures: what the model in the box makes of larger ones anyway
PATIENCE = 600  # seconds for a server to come up


class Server:
    def __init__(self, command, probe, log):
        self.command, self.probe, self.log, self.process = command, probe, log, None

    def start(self):
        with open(self.log, "ab") as log:
            # A group of its own: such servers have runners, which die with them.
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)
        end = time.time() + PATIENCE
        while time.time() < end:
            try:
                urllib.request.urlopen(self.probe, timeout=5).read()
                return
            except OSError:
                if self.process.poll() is not None:
                    sys.exit(f"check: the server ended with {self.process.returncode}; its words: {self.log}")
                time.sleep(0.5)
        sys.exit(f"check: the server did not answer in {PATIENCE} s; its words: {self.log}")

    def kill(self):
        if self.process is not None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()
            self.process = None


def labels_of_sample():
    with open(os.path.join(ROOT, "samples", "labels.jsonl"), encoding="utf-8") as file:
        return sorted((json.loads(line) for line in file), key=lambda label: label["image"])


def make_frames(folder):
    source = os.path.join(ROOT, "samples", "frames")
    names = sorted(os.listdir(source))
    for i in range(FRAMES):
        shutil.copy(os.path.join(source, names[i % len(names)]), os.path.join(folder, "frame_%04ds.png" % (i * 10)))


def records_of(path):
    try:
        with open(path, encoding="utf-8") as file:
            return [json.loads(line) for line in file if line.endswith("\n")]
    except FileNotFoundError:
        return []


def good(records):
    return [r for r in records if "error" not in r]


def each_once(records, what):
    stamps = sorted(r["timestamp"] for r in good(records))
    if stamps != [10 * i for i in range(FRAMES)]:
        sys.exit(f"check: {what}: not every frame exactly once: {stamps}; {[r.get('error') for r in records]}")


LEAST_LIKE_OURS = 0.75  # of the activities: engines round differently, and quantise


def activities(records):
    return {r["timestamp"]: r["activity"] for r in good(records)}


def compare(records, ours, what):
    """In how many frames the server says what our own engine says of each alone; "" when ours was not asked."""
    same = sum(ours.get(stamp) == activity for stamp, activity in activities(records).items())
    if ours and same < LEAST_LIKE_OURS * FRAMES:
        sys.exit(f"check: {what}: only {same} of {FRAMES} activities are what our own engine says of the same weights")
    return f", {same} as our own engine" if ours else ""


def likeness(record, label):
    """How well a record fits a label: by activity, programs and topics."""
    said, true = set(record["topics"]), set(label["topics"])
    return (2 * (record["activity"] == label["activity"]) + (set(record["apps"]) == set(label["apps"])) +
            2 * len(said & true) / max(1, len(said | true)))


def each_its_own(records, labels, size, what):
    """Of the frames in a prompt each must have a record that fits no other frame better, and its activity."""
    for i, record in enumerate(sorted(good(records), key=lambda r: r["timestamp"]) if labels else []):
        first = i - i % size
        fits = [likeness(record, labels[k % len(labels)]) for k in range(first, min(first + size, FRAMES))]
        if fits[i - first] < max(fits) or record["activity"] != labels[i % len(labels)]["activity"]:
            sys.exit(f"check: {what}: frame {i} has the answer of frame {first + fits.index(max(fits))}, or a wrong one: {record}")
    return ", each its own" if labels else ""


def ask_ours(args, folder, work):
    if not args.native:
        return {}
    out = os.path.join(work, "native.jsonl")
    subprocess.run([args.escriba, "describe", folder, "--backend", "native", "--model", args.native, "--frame-width",
                    WIDTH, "--output", out], check=True)
    return activities(records_of(out))


def run_all(args, server, folder, work):
    ours = ask_ours(args, folder, work)
    base = [args.escriba, "describe", folder, "--backend", args.backend, "--endpoint", args.url, "--max-tokens", "100",
            "--frame-width", WIDTH] + (["--model", args.model] if args.model else [])
    out = os.path.join(work, "plain.jsonl")
    began = time.time()
    subprocess.run([*base, "--output", out], check=True)
    seconds = time.time() - began
    records = records_of(out)
    each_once(records, "plain")
    parsed = sum(r["parsed"] for r in records)
    print(f"check: {FRAMES} frames, each once, {parsed} of them records{compare(records, ours, 'plain')}, "
          f"{FRAMES / seconds:.2f} a second", flush=True)

    out = os.path.join(work, "killed.jsonl")
    process = subprocess.Popen([*base, "--output", out], stderr=subprocess.DEVNULL)
    while len(records_of(out)) < FRAMES // 4 and process.poll() is None:
        time.sleep(0.02)
    at = len(records_of(out))
    server.kill()
    time.sleep(1)
    server.start()
    code, resumed = process.wait(), 0
    while code != 0 and resumed < 5:  # it was away for longer than escriba waits: go on from the file
        resumed += 1
        code = subprocess.run([*base, "--resume", out]).returncode
    each_once(records_of(out), "killed")
    print(f"check: killed at frame {at} and brought back, resumed {resumed} times: each frame once", flush=True)

    labels = labels_of_sample() if args.labels else []
    for size in (4, 8):
        out = os.path.join(work, f"interleaved{size}.jsonl")
        subprocess.run([*base, "--batch-mode", "interleaved", "--batch-size", str(size), "--output", out], check=True)
        records = records_of(out)
        each_once(records, f"interleaved {size}")
        parsed = sum(r["parsed"] for r in records)
        print(f"check: {size} frames in a prompt: each frame once, {parsed} of {FRAMES} records"
              f"{compare(records, ours, f'interleaved {size}')}{each_its_own(records, labels, size, f'interleaved {size}')}",
              flush=True)


def main():
    parser = argparse.ArgumentParser()
    for flag in ("--escriba", "--backend", "--url", "--probe"):
        parser.add_argument(flag, required=True)
    parser.add_argument("--model")
    parser.add_argument("--native", help="the directory of the same checkpoint")
    parser.add_argument("--labels", action="store_true", help="the model knows the sample's frames")
    parser.add_argument("--prepare")
    parser.add_argument("server", nargs="+")
    args = parser.parse_args()
    work = tempfile.mkdtemp(prefix="escriba-peer-")
    folder = os.path.join(work, "frames")
    os.mkdir(folder)
    make_frames(folder)
    server = Server(args.server, args.probe, os.path.join(work, "server.log"))
    try:
        server.start()
        if args.prepare:
            subprocess.run(args.prepare, shell=True, check=True)
        run_all(args, server, folder, work)
    finally:
        server.kill()
    shutil.rmtree(work)
    print(f"check: {args.backend}: all well")


if __name__ == "__main__":
    main()
