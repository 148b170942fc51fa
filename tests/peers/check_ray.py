#!/usr/bin/env python3
"""deploy/ray/describe.py on a real Ray cluster of two one-core nodes on this machine: check_ray.py --escriba PATH --library PATH

One node, then two: how much faster. Two again, and a worker killed in mid-run. Every frame exactly once each time, with
the words that `escriba describe` has for it. Then recordings, videos and folders of screenshots, a worker killed again: each
once, with what `escriba run` tells of it. Run by a Python that has ray[data]; check_ray.sh finds or makes one.
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
RECORDINGS = 6  # half of them videos, half folders of screenshots
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


def make_recordings(folder):
    """Copies of the sample's video, and the sample's frames in folders; of each, what it is a copy of."""
    made = {}
    for i in range(RECORDINGS):
        video = i % 2 == 0
        source = os.path.join(ROOT, "samples", "recording.mp4" if video else "frames")
        path = os.path.join(folder, "recording%d.mp4" % i if video else "shots%d" % i)
        (shutil.copyfile if video else shutil.copytree)(source, path)
        made[path] = source
    return made


def words_of_recording(escriba, model, path, work):
    """What `escriba run` tells of a recording here, without a cluster."""
    store = os.path.join(work, os.path.basename(path) + ".db")
    subprocess.run([escriba, "run", path, "--store", store, "--model", model, "--quiet"], check=True, stdout=subprocess.DEVNULL)
    told = subprocess.run([escriba, "export", "--store", store, "--format", "jsonl"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return [json.loads(line)["description"] for line in told.splitlines()]


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
            if "ray::" in line and any(word in line for word in ("MapWorker", "Describer", "Runner"))]


def children_of(process):
    listed = subprocess.run(["ps", "-eo", "pid,ppid,comm"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return [int(line.split()[0]) for line in listed.splitlines()[1:] if int(line.split()[1]) == process and "escriba" in line]


def all_gone(processes, seconds):
    end = time.time() + seconds
    while any(os.path.exists("/proc/%d" % process) for process in processes):
        if time.time() > end:
            return False
        time.sleep(0.1)
    return True


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

    def job(name, some, what="frames"):
        out = os.path.join(work, name + ".jsonl")
        command = [sys.executable, JOB, what, *some, "--output", out, "--address", cluster.address, "--model", model,
                   "--batch", "4", "--escriba", os.path.abspath(args.escriba)]
        return out, subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def job_with_a_death(name, some, what, at):
        """The job's file; a worker is killed when it has so many lines."""
        out, process = job(name, some, what)
        while len(read(out)) < at and process.poll() is None:
            time.sleep(0.05)
        done, victims = len(read(out)), workers()
        if process.poll() is not None or not victims:
            sys.exit(f"check-ray: no worker to kill: {process.communicate()[1] if process.poll() is not None else victims}")
        children = children_of(victims[0])
        os.kill(victims[0], signal.SIGKILL)
        if not all_gone(children, 10):
            sys.exit(f"check-ray: {name}: worker {victims[0]} is dead, and escriba {children} works on for nobody")
        said = process.communicate()[1]
        if process.returncode != 0:
            sys.exit(f"check-ray: {name}: ended with {process.returncode}: {said}")
        print(f"check-ray: worker {victims[0]} of {len(victims)} killed{' with its escriba' * bool(children)} when {done} of {len(some)} {what} were done", flush=True)
        return out

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
        each_once(job_with_a_death("killed", some, "frames", FRAMES // 4), some, words, "killed")
        print("check-ray: each frame once", flush=True)
        videos = os.path.join(work, "videos")
        os.mkdir(videos)
        made = make_recordings(videos)
        wanted = {path: words_of_recording(args.escriba, model, path, work) for path in set(made.values())}
        told = read(job_with_a_death("recordings", list(made), "recordings", 2))
        if sorted(line["recording"] for line in told) != sorted(made):
            sys.exit(f"check-ray: recordings: told of {sorted(line['recording'] for line in told)}")
        for line in told:
            if line.get("error") or not line["card"]["blocks"] or \
                    [seen["description"] for seen in line["observations"]] != wanted[made[line["recording"]]]:
                sys.exit(f"check-ray: recordings: {line}")
        print(f"check-ray: {len(told)} recordings, each once, with what escriba run tells of them", flush=True)
    finally:
        cluster.shutdown()
        ray.shutdown()
    shutil.rmtree(work)
    gain = two / one
    print(f"check-ray: ray {ray.__version__}: two nodes are {gain:.2f} times one (at least {LEAST_GAIN})")
    return 0 if gain >= LEAST_GAIN else 1


if __name__ == "__main__":
    sys.exit(main())
