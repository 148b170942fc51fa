#!/usr/bin/env python3
"""What `escriba serve` holds under load.

    bench/serve_load.py ESCRIBA throughput [CLIENTS] [ROUNDS]   beside the engine's own batch benchmark, in turns
    bench/serve_load.py ESCRIBA mixture [REQUESTS]              good, broken and leaving requests; memory before and after

`throughput` takes the model in the box; both sides see the same pictures and write 64 tokens to each. Ends with 1 when
the server's best round is more than 5 % slower than the benchmark's best, or when a mixture leaves something behind.
Python 3 standard library only; Linux.
"""

import base64
import concurrent.futures
import csv
import http.client
import json
import os
import pathlib
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
BOX = ROOT / "models" / "escriba-tiny"
TOKENS = 64
# A text so long that the answer is cut at TOKENS, as the benchmark's are.
ENDLESS = {"type": "string", "minLength": 5000}


def png(width, height, seed):
    """Blocks of colour, other ones for each seed."""
    chance = random.Random(seed)
    rows = b""
    for y in range(0, height, 16):
        row = b"\0" + b"".join(chance.randbytes(3) * 16 for _ in range(width // 16))
        rows += row * min(16, height - y)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b""))


class Server:
    def __init__(self, escriba, model, folder, *flags):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("ESCRIBA", "HF_", "XDG_"))} | {"HOME": folder}
        self.process = subprocess.Popen([escriba, "serve", "--model", str(model), "--port", "0", "--queue", "100000", *flags],
                                        env=env, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().strip().rsplit(":", 1)[1])

    def post(self, path, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        try:
            connection.request("POST", path, data)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def metrics(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
        connection.close()
        return {line.split()[0][8:]: float(line.split()[1]) for line in lines if not line.startswith("#")}

    def resident(self):
        with open("/proc/%d/statm" % self.process.pid) as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6

    def handles(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid)), len(os.listdir("/proc/%d/task" % self.process.pid))

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.process.stdout.close()
        return code


def together(count, work):
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        list(pool.map(work, range(count)))  # the first failure is raised here


def throughput(escriba, folder, clients, rounds):
    frames = []
    for i in range(clients):
        frames.append(os.path.join(folder, "frame_%03d.png" % i))
        with open(frames[-1], "wb") as file:
            file.write(png(384, 224, i))
    ours, theirs = [], []
    server = Server(escriba, BOX, folder, "--batch", "8")
    for round_ in range(rounds):
        table = os.path.join(folder, "bench.csv")
        subprocess.run([escriba, "bench", "--model", str(BOX), "--at-once", "8", "--tokens", str(TOKENS), "--csv", table, *frames],
                       check=True, stdout=subprocess.DEVNULL)
        with open(table, newline="", encoding="utf-8") as file:
            row = next(csv.DictReader(file))
        theirs.append(float(row["frames_per_s"]))
        bodies = []
        for i in range(clients):  # other words each round, and nothing is known from the round before
            with open(frames[i], "rb") as file:
                picture = png(384, 224, 1000 * (round_ + 1) + i) if round_ else file.read()
            bodies.append(json.dumps({"messages": [{"role": "user", "content": "What is the user doing?",
                                                    "images": [base64.b64encode(picture).decode()]}],
                                      "format": ENDLESS, "stream": False, "options": {"num_predict": TOKENS}}).encode())
        if round_ == 0:
            server.post("/api/generate", {})  # loads the model

        def ask(i):
            code, data = server.post("/api/chat", bodies[i])
            assert code == 200 and json.loads(data)["eval_count"] == TOKENS, data[:200]

        began = time.monotonic()
        together(clients, ask)
        ours.append(clients / (time.monotonic() - began))
    server.end()
    ratio = max(ours) / max(theirs)
    print("%d clients with a picture each, %d tokens: %s frames/s; the batch benchmark: %s; best to best %.3f" %
          (clients, TOKENS, ", ".join("%.2f" % x for x in ours), ", ".join("%.2f" % x for x in theirs), ratio))
    return 0 if ratio >= 0.95 else 1


def mixture(escriba, folder, count):
    model = os.path.join(folder, "model")
    subprocess.run([sys.executable, str(ROOT / "tools" / "make_random_checkpoint.py"), model, "--size", "tiny"], check=True,
                   stdout=subprocess.DEVNULL)
    server = Server(escriba, model, folder, "--context", "4096")
    at_first = server.resident()
    pictures = [base64.b64encode(png(96, 64, i)).decode() for i in range(16)]
    long = json.dumps({"messages": [{"role": "user", "content": "tell"}], "options": {"num_predict": 3000, "temperature": 1}}).encode()
    broken = [b"{", b'{"messages":5}', b'{"model":"none","messages":[]}', b"", b"[1]", b'{"messages":[{"role":"user","content":1}]}',
              b'{"messages":[{"role":"user","images":["!"]}]}', b'{"format":{"type":"x"},"messages":[]}', b"\xff" * 1000]
    seen, lock, done = [], threading.Lock(), [0]

    def good(k):
        body = {"messages": [{"role": "user", "content": "What is in picture %d?" % k, "images": [pictures[k % 16]]}],
                "options": {"num_predict": 4 + k % 12, "temperature": k % 2, "seed": k}, "stream": k % 4 < 2}
        if k % 8 == 7:
            body["format"] = {"type": "object", "properties": {"n": {"type": "integer", "maximum": k % 50}}, "required": ["n"]}
        code, data = server.post("/api/chat", body)
        assert code == 200 and b'"done":true' in data, data[:300]

    def leave(k):
        with socket.create_connection(("127.0.0.1", server.port), timeout=600) as s:
            s.sendall(b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(long) + long)
            s.recv(1)  # the answer has begun
            if k % 2:
                s.recv(300)

    def work(i):
        for k in range(i, count, 16):
            if k % 3 == 0:
                good(k)
            elif k % 3 == 1:
                code, data = server.post("/api/chat", broken[k // 3 % len(broken)])
                assert code in (400, 404), data[:300]
            else:
                leave(k)
            with lock:
                done[0] += 1
                if done[0] % max(1, count // 10) == 0:
                    seen.append(server.resident())

    began = time.monotonic()
    together(16, work)
    took = time.monotonic() - began
    for _ in range(600):
        m = server.metrics()
        if m["running"] + m["queue_length"] == 0 and m["http_in_flight"] == 1 and m["connections_open"] <= 1:
            break
        time.sleep(0.1)
    left = {k: m[k] for k in ("running", "queue_length", "kv_pages_used", "failed_total", "tokens_promised", "http_body_bytes")}
    fds, threads = server.handles()
    server.post("/api/generate", {"keep_alive": 0})
    time.sleep(0.5)
    unloaded = server.resident()
    code = server.end()
    half = len(seen) // 2
    drift = max(seen[half:]) / max(seen[:half])
    print("%d requests in %.0f s; left: %s; %d file handles, %d threads; end code %d" % (count, took, left, fds, threads, code))
    print("memory by tenths, MB: %s; later half to first half %.3f" % (", ".join("%.0f" % x for x in seen), drift))
    print("before the model was loaded %.0f MB, after it was unloaded %.0f MB" % (at_first, unloaded))
    return 0 if not any(left.values()) and code == 0 and drift < 1.1 else 1


def main():
    escriba, what = os.path.abspath(sys.argv[1]), sys.argv[2]
    numbers = [int(x) for x in sys.argv[3:]]
    with tempfile.TemporaryDirectory(prefix="escriba-load-") as folder:
        if what == "throughput":
            return throughput(escriba, folder, *(numbers + [32, 3][len(numbers):]))
        return mixture(escriba, folder, *(numbers or [10000]))


if __name__ == "__main__":
    sys.exit(main())
