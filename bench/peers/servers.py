"""What the peers that are servers share: starting one and asking it. Python 3 standard library only."""

import base64
import concurrent.futures
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

PATIENCE = 300  # seconds for a server to come up
ANSWER = 3600  # seconds for an answer


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=ANSWER) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        sys.exit(f"{url}: {error.code}: {error.read()[:500]!r}")


def base64_of(path):
    return base64.b64encode(pathlib.Path(path).read_bytes()).decode()


class Server:
    """A server in a process group of its own, with all that it starts."""

    def __init__(self, command, url, log, environment=()):
        self.log = log
        with open(log, "wb") as file:
            self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                                            start_new_session=True, env={**os.environ, **dict(environment)})
        end = time.monotonic() + PATIENCE
        while True:
            try:
                urllib.request.urlopen(url, timeout=5).read()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    self.stop()
                    sys.exit(f"{command[0]} did not answer; its words are in {log}")
                time.sleep(0.2)

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.stop()

    def stop(self):
        try:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(20)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def peak_memory(self):
        """Of the server and what it started, the largest resident sizes, summed; 0 where /proc does not tell."""
        total = 0
        for status in pathlib.Path("/proc").glob("[0-9]*/status"):
            try:
                if os.getpgid(int(status.parent.name)) == self.process.pid:
                    fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
                    total += 1024 * int(fields["VmHWM"].split()[0])
            except (OSError, KeyError):
                continue
        return total


def measure(args, ask):
    """Asks for every frame, `--batch` at once, after a short answer to another frame. Returns the seconds and the answers."""
    ask(args.warm, 4, 0)
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(args.batch) as pool:
        answers = list(pool.map(ask, args.frames, [args.tokens] * len(args.frames), range(1, len(args.frames) + 1)))
    return time.monotonic() - start, answers
