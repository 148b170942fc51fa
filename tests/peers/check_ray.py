#!/usr/bin/env python3
"""deploy/ray/describe.py on a real Ray cluster of two one-core nodes on this machine: check_ray.py --escriba PATH --library PATH

One node, then two: how much faster. Two again, and a worker killed in mid-run. Every frame exactly once each time, with
the words that `escriba describe` has for it. Run by a Python that has ray[data]; check_ray.sh finds or makes one.
"""
import argparse
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
JOB = os.path.join(ROOT, "deploy", "ray", "describe.py")
FRAMES = int(os.environ.get("PEER_FRAMES", "200"))
LEAST_GAIN = 1.8


def read_png(path):
    """Width, height and the rows of an RGB picture of 8 bits; slow and plain."""
    with open(path, "rb") as file:
        png = file.read()
    width, height, depth, colour = struct.unpack(">IIBB", png[16:26])
    assert (depth, colour) == (8, 2), path
    at, packed = 8, b""
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at:at + 8])
        packed += png[at + 8:at + 8 + size] if kind == b"IDAT" else b""
        at += size + 12
    data, rows, above = zlib.decompress(packed), [], bytearray(3 * width)
    for y in range(height):
        kind, row = data[y * (3 * width + 1)], bytearray(data[y * (3 * width + 1) + 1:(y + 1) * (3 * width + 1)])
        for x in range(3 * width) if kind else ():
            a, b, c = (row[x - 3] if x > 2 else 0), above[x], (above[x - 3] if x > 2 else 0)
            p = a + b - c
            paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            row[x] = row[x] + (a, b, (a + b) // 2, paeth)[kind - 1] & 255
        rows.append(bytes(row))
        above = row
    return width, height, rows


def write_png(path, width, height, rows):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
                   chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows), 1)) + chunk(b"IEND", b""))


def make_frames(folder):
    """The sample's frames over and over, each with a dot of its own: pictures that are equal are looked at once only."""
    source = os.path.join(ROOT, "samples", "frames")
    pictures = [read_png(os.path.join(source, name)) for name in sorted(os.listdir(source))]
    names = []
    for i in range(2 * FRAMES):
        width, height, rows = pictures[i % len(pictures)]
        dotted = [bytes([i % 256, i // 256 * 40, 90]) * 8 + row[24:] for row in rows[:8]] + rows[8:]
        names.append(os.path.join(folder, "frame_%06ds.png" % i))
        write_png(names[-1], width, height, dotted)
    return names


def read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return [json.loads(line) for line in file if line.endswith("\n")]
    except FileNotFoundError:
        return []


def each_once(path, frames, words, what):
    """Every frame has one record, with the words that are known for it; those that are not known become so."""
    records = read(path)
    names = sorted(record["image"] for record in records)
    if names != frames:
        sys.exit(f"check-ray: {what}: {len(records)} records of {len(set(names))} frames, not of {len(frames)}")
    for record in records:
        if record.get("error") or record["description"] != words.setdefault(record["image"], record["description"]):
            sys.exit(f"check-ray: {what}: {record}, not {words[record['image']]}")


def workers():
    """Processes that hold a model, by their titles."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return [int(line.split()[0]) for line in listed.splitlines()
            if "ray::" in line and ("MapWorker" in line or "Describer" in line)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--escriba", required=True)
    parser.add_argument("--library", required=True)
    args = parser.parse_args()
    import ray
    from ray.cluster_utils import Cluster
    work = tempfile.mkdtemp(prefix="escriba-ray-")
    folder, model = os.path.join(work, "frames"), os.path.join(ROOT, "models", "escriba-tiny")
    os.mkdir(folder)
    frames = make_frames(folder)
    told = subprocess.run([args.escriba, "describe", "--model", model, *frames[:20]], stdout=subprocess.PIPE, text=True,
                          check=True).stdout
    words = {record["image"]: record["description"] for record in map(json.loads, told.splitlines())}
    os.environ.update(RAY_DEDUP_LOGS="0", RAY_TRAIN_V2_ENABLED="0", ESCRIBA_LIBRARY=os.path.abspath(args.library))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 10**8,
                                                            "include_dashboard": False})

    def job(name, some):
        out = os.path.join(work, name + ".jsonl")
        command = [sys.executable, JOB, "frames", *some, "--output", out, "--address", cluster.address, "--model", model,
                   "--batch", "4"]
        return out, subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def timed(name, nodes):
        out, process = job(name, [folder])
        said = process.communicate()[1]
        if process.returncode != 0:
            sys.exit(f"check-ray: {name}: ended with {process.returncode}: {said}")
        each_once(out, frames, words, name)
        numbers = re.search(r"frames in ([\d.]+) s on \d+ workers, ([\d.]+) a second", said)
        seconds, rate = float(numbers.group(1)), float(numbers.group(2))
        print(f"check-ray: {nodes}: {len(frames)} frames, each once, {seconds:.1f} s with the start of the workers, "
              f"{rate:.2f} a second after it", flush=True)
        return rate

    try:
        cluster.add_node(num_cpus=1, object_store_memory=10**8)
        cluster.wait_for_nodes()
        one = timed("one", "one node of one core")
        cluster.add_node(num_cpus=1, object_store_memory=10**8)
        cluster.wait_for_nodes()
        two = timed("two", "two nodes of one core")
        some = frames[:FRAMES]
        out, process = job("killed", some)
        while len(read(out)) < FRAMES // 4 and process.poll() is None:
            time.sleep(0.05)
        at, victims = len(read(out)), workers()
        if process.poll() is not None or not victims:
            sys.exit(f"check-ray: no worker to kill: {process.communicate()[1] if process.poll() is not None else victims}")
        os.kill(victims[0], signal.SIGKILL)
        said = process.communicate()[1]
        if process.returncode != 0:
            sys.exit(f"check-ray: killed: ended with {process.returncode}: {said}")
        each_once(out, some, words, "killed")
        print(f"check-ray: worker {victims[0]} of {len(victims)} killed at frame {at} of {FRAMES}: each frame once", flush=True)
    finally:
        cluster.shutdown()
        ray.shutdown()
    shutil.rmtree(work)
    gain = two / one
    print(f"check-ray: ray {ray.__version__}: two nodes are {gain:.2f} times one (at least {LEAST_GAIN})")
    return 0 if gain >= LEAST_GAIN else 1


if __name__ == "__main__":
    sys.exit(main())
