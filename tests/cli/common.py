"""What the tests of the command share: a small random model, drawn frames, and ways to run escriba.

A test file is run with the program's path as its first argument. Python 3 standard library only.
"""

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import zlib

ESCRIBA = None
ROOT = os.environ.get("ESCRIBA_SOURCE_ROOT") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TIMEOUT = 60


def png(width=64, height=64, seed=0):
    rows = b"".join(
        b"\0" + bytes((x * 3 + y * 5 + c * 60 + seed * 37) % 256 for x in range(width) for c in range(3))
        for y in range(height))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def make_model(where, *flags):
    subprocess.run([sys.executable, os.path.join(ROOT, "tools", "make_random_checkpoint.py"), where, "--size", "tiny",
                    *flags], check=True, stdout=subprocess.DEVNULL)
    return where


def read_lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


class Case(unittest.TestCase):
    """A folder of its own for each class, with a model and some frames; and a clean environment."""

    frames = 6
    with_model = True

    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="escriba-cli-")
        cls.model = os.path.join(cls.dir, "model")
        if cls.with_model:
            make_model(cls.model)
        cls.folder = cls.path("frames")
        os.mkdir(cls.folder)
        for i in range(cls.frames):
            cls.write("frames/frame_%04ds.png" % (i * 10), png(seed=i))

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.dir, ignore_errors=True)

    @classmethod
    def path(cls, *parts):
        return os.path.join(cls.dir, *parts)

    @classmethod
    def write(cls, name, data):
        with open(cls.path(name), "wb") as file:
            file.write(data if isinstance(data, bytes) else data.encode())
        return cls.path(name)

    def environment(self, extra=None):
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("ESCRIBA", "HF_", "XDG_", "OLLAMA_", "OPENAI_"))}
        clean["HOME"] = self.path("home")
        clean["ESCRIBA_MLX_PLUGIN"] = "/no/plug-in"  # whatever is installed here
        clean["ESCRIBANO_VLM_THREADS"] = "1"  # the model is tiny, and the machine may be busy
        clean.update(extra or {})
        return clean

    def run_escriba(self, *args, env=None, stdin=None, stdout=subprocess.PIPE):
        return subprocess.run([ESCRIBA, *args], env=self.environment(env), cwd=self.dir, input=stdin, stdout=stdout,
                              stderr=subprocess.PIPE, text=True, timeout=TIMEOUT)

    def start_describe(self, *args, stdout=subprocess.PIPE):
        return subprocess.Popen(self.command(*args), env=self.environment(), cwd=self.dir, stdout=stdout,
                                stderr=subprocess.PIPE, text=True)

    def command(self, *args):
        return [ESCRIBA, "describe", "--model", self.model, "--max-tokens", "8", *args]

    def describe(self, *args, **how):
        return self.run_escriba(*self.command(*args)[1:], **how)

    def one_line(self, result, code, *words):
        """The program ended with this code and exactly one line on stderr, which holds the words."""
        self.assertEqual(result.returncode, code, result.stderr)
        lines = result.stderr.splitlines()
        self.assertEqual(len(lines), 1, result.stderr)
        self.assertTrue(lines[0].startswith("escriba: "), lines[0])
        for word in words:
            self.assertIn(word, lines[0])

    def wait_for_lines(self, path, count):
        """Until the file holds so many whole lines."""
        end = time.time() + TIMEOUT
        while time.time() < end:
            try:
                with open(path, "rb") as file:
                    if file.read().count(b"\n") >= count:
                        return
            except FileNotFoundError:
                pass
            time.sleep(0.002)
        self.fail("%s never held %d lines" % (path, count))

    def stop(self, process, number=signal.SIGINT):
        process.send_signal(number)
        _, err = process.communicate(timeout=TIMEOUT)
        return process.returncode, err

    def each_once(self, path, folder=None):
        names = [record["image"] for record in read_lines(path)]
        folder = folder or self.folder
        wanted = [os.path.join(folder, name) for name in os.listdir(folder)]
        self.assertEqual(sorted(names), sorted(wanted))


def main():
    global ESCRIBA
    ESCRIBA = os.path.abspath(sys.argv.pop(1))
    unittest.main(argv=[sys.argv[0], *sys.argv[1:]])
