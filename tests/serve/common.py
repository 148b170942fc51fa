"""What the tests of the serving verbs share: a small random model, drawn frames, running servers.

A test file is run with the program's path as its first argument. Python 3 standard library only.
"""

import base64
import concurrent.futures
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.environ.get("ESCRIBA_SOURCE_ROOT") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def load_cli_common():
    """tests/cli/common.py under a name of its own: this file is called common too."""
    import importlib.util
    spec = importlib.util.spec_from_file_location("cli_common", os.path.join(ROOT, "tests", "cli", "common.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_model, png = load_cli_common().make_model, load_cli_common().png

ESCRIBA = None
TIMEOUT = 120


def environment(home, extra=None):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ESCRIBA", "HF_", "XDG_"))}
    clean["HOME"] = home
    clean["ESCRIBANO_VLM_THREADS"] = "1"  # the model is tiny, and the machine may be busy
    clean.update(extra or {})
    return clean


class Case(unittest.TestCase):
    """A folder for each class, with a random model in it and some frames."""

    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="escriba-serve-")
        cls.model = make_model(os.path.join(cls.dir, "model"))
        cls.frames = []
        for i in range(4):
            path = os.path.join(cls.dir, "frame_%04ds.png" % (i * 10))
            with open(path, "wb") as file:
                file.write(png(96, 64, i))
            cls.frames.append(path)

    @classmethod
    def tearDownClass(cls):
        import shutil
        shutil.rmtree(cls.dir, ignore_errors=True)

    def start(self, *args, env=None):
        process = subprocess.Popen([ESCRIBA, *args], env=environment(self.dir, env), cwd=self.dir,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.end, process)
        return process

    def end(self, process):
        if process.poll() is None:
            process.kill()
        process.communicate()

    def wait_for(self, what, seconds=TIMEOUT):
        """Until what() is true."""
        end = time.time() + seconds
        while time.time() < end:
            value = what()
            if value:
                return value
            time.sleep(0.02)
        self.fail("waited %d s for %s" % (seconds, what))


class Server(Case):
    """A server for the whole class, on a free port."""

    flags = ()
    keys = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.process = cls.launch(*cls.flags)

    @classmethod
    def launch(cls, *flags, env=None):
        process = subprocess.Popen([ESCRIBA, "serve", "--model", cls.model, "--port", "0", *flags],
                                   env=environment(cls.dir, env), cwd=cls.dir, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        line = process.stdout.readline()
        if not line.startswith("listening at http://127.0.0.1:"):
            raise AssertionError(line + process.stderr.read())
        process.port = int(line.strip().rsplit(":", 1)[1])
        return process

    @classmethod
    def tearDownClass(cls):
        cls.process.send_signal(signal.SIGTERM)
        try:
            code = cls.process.wait(TIMEOUT)
        finally:
            cls.process.kill()
            errors = cls.process.stderr.read()
            cls.process.stdout.close()
            cls.process.stderr.close()
        super().tearDownClass()
        if code != 0 or errors:
            raise AssertionError("the server ended with %s: %s" % (code, errors))

    def connect(self, process=None):
        return http.client.HTTPConnection("127.0.0.1", (process or self.process).port, timeout=TIMEOUT)

    def send(self, method, path, body=None, headers=None, process=None):
        """(code, headers, bytes)"""
        connection = self.connect(process)
        try:
            data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, data, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def get(self, path, code=200, **how):
        status, _, data = self.send("GET", path, **how)
        self.assertEqual(status, code, data)
        return data

    def post(self, path, body, code=200, **how):
        """The answer as JSON; a list of them when it came as lines."""
        status, headers, data = self.send("POST", path, body, **how)
        self.assertEqual(status, code, data[:500])
        if headers["Content-Type"] == "application/x-ndjson":
            return [json.loads(line) for line in data.decode().splitlines()]
        if headers["Content-Type"] == "text/event-stream":
            return self.events(data)
        return json.loads(data)

    def events(self, data):
        """The data of server-sent events."""
        found = [block.split("data: ", 1)[1] for block in data.decode().split("\n\n") if block]
        return [one if one == "[DONE]" else json.loads(one) for one in found]

    def picture(self, i=0):
        with open(self.frames[i], "rb") as file:
            return base64.b64encode(file.read()).decode()

    def together(self, work, count):
        """work(i) in a thread each; the results, or the first failure."""
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            return list(pool.map(work, range(count)))

    def metric(self, name, process=None):
        for line in self.get("/metrics", process=process).decode().splitlines():
            if line.startswith("escriba_" + name + " "):
                return float(line.rsplit(" ", 1)[1])
        self.fail("no metric " + name)


def main():
    global ESCRIBA
    ESCRIBA = os.path.abspath(sys.argv.pop(1))
    unittest.main(argv=[sys.argv[0], *sys.argv[1:]])
