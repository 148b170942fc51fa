#!/usr/bin/env python3
"""`escriba pull` and `escriba models` against the small hub of tests/hub."""

import glob
import json
import os
import pty
import resource
import signal
import subprocess
import sys
import time
import unittest
import urllib.request

import common

COMMIT = "1" * 40
TINY_SIZE = 3 * 1024 * 1024 + 12345


class Hub(common.Case):
    frames = 0
    with_model = False

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        script = os.path.join(common.ROOT, "tests", "hub", "hub_server.py")
        cls.server = subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        cls.port = int(cls.server.stdout.readline().split()[0])
        cls.endpoint = "http://127.0.0.1:%d" % cls.port

    @classmethod
    def tearDownClass(cls):
        cls.server.stdin.close()
        cls.server.wait(timeout=common.TIMEOUT)
        cls.server.stdout.close()
        super().tearDownClass()

    def setUp(self):
        self.cache = self.path(self.id().rsplit(".", 1)[-1])
        self.faults("")

    def environment(self, extra=None):
        more = {"HF_HUB_CACHE": self.cache, "HF_ENDPOINT": self.endpoint, "NO_PROXY": "*", "no_proxy": "*"}
        return super().environment({**more, **(extra or {})})

    def ask(self, path):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.endpoint + path, timeout=common.TIMEOUT) as answer:
            return answer.read()

    def faults(self, settings):
        self.ask("/_set?" + settings)

    def stats(self):
        return json.loads(self.ask("/_stats"))

    def server_rests(self):
        """Until what the server still had in its hands for those who left is written off."""
        end, before = time.time() + common.TIMEOUT, -1
        while before != (before := self.stats()["body_bytes"]):
            self.assertLess(time.time(), end)
            time.sleep(0.3)

    def pull(self, *args, **how):
        return self.run_escriba("pull", *args, **how)

    def start_pull(self, *args, **how):
        return subprocess.Popen([common.ESCRIBA, "pull", *args], env=self.environment(), stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, **how)

    def growing(self):
        """The size of the weights' growing file; the small files' come and go."""
        sizes = [0]
        for name in glob.glob(os.path.join(self.cache, "*", "blobs", "*.incomplete")):
            try:
                sizes.append(os.path.getsize(name))
            except FileNotFoundError:
                pass
        return max(sizes)

    def wait_for_bytes(self, count):
        end = time.time() + common.TIMEOUT
        while self.growing() < count:
            self.assertLess(time.time(), end, "the download never began")
            time.sleep(0.005)

    def snapshot(self, repo="test-org/Tiny-VL"):
        return os.path.join(self.cache, "models--" + repo.replace("/", "--"), "snapshots", COMMIT)


class Pull(Hub):
    def test_stdout_is_the_directory_and_stderr_is_quiet_in_a_pipe(self):
        result = self.pull("test-org/Tiny-VL")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, self.snapshot() + "\n", ""))
        self.assertEqual(os.path.getsize(os.path.join(self.snapshot(), "model.safetensors")), TINY_SIZE)

    def test_verbose_is_one_line_a_file(self):
        result = self.pull("--verbose", "test-org/Tiny-VL")
        lines = result.stderr.splitlines()
        self.assertEqual(len(lines), 7, lines)
        self.assertIn("[7/7] model.safetensors  3.16 MB", lines[-1])
        again = self.pull("--verbose", "test-org/Tiny-VL")
        self.assertIn("(was here)", again.stderr.splitlines()[-1])

    def test_a_terminal_gets_one_line_that_changes(self):
        self.faults("file=model.safetensors&rate=3000000")
        main, side = pty.openpty()
        process = subprocess.Popen([common.ESCRIBA, "pull", "test-org/Tiny-VL"], env=self.environment(),
                                   stdout=subprocess.PIPE, stderr=side, text=True)
        os.close(side)
        seen = b""
        while True:
            try:
                piece = os.read(main, 65536)
            except OSError:
                break
            if not piece:
                break
            seen += piece
        os.close(main)
        out = process.communicate(timeout=common.TIMEOUT)[0]
        self.assertEqual((process.returncode, out), (0, self.snapshot() + "\n"))
        self.assertNotIn(b"\n", seen)
        self.assertIn(b"model.safetensors", seen)
        self.assertIn(b"%)", seen)
        self.assertIn(b"/s", seen)
        self.assertTrue(seen.endswith(b"\r\x1b[K"), seen[-40:])  # wiped at the end
        for line in seen.split(b"\r"):
            self.assertLessEqual(len(line), 79 + 3)

    def test_endpoint_flag_goes_over_the_variable(self):
        result = self.pull("--endpoint", self.endpoint + "/", "test-org/Tiny-VL", env={"HF_ENDPOINT": "http://127.0.0.1:1"})
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_the_token_of_the_environment_opens_private_models(self):
        self.one_line(self.pull("test-org/private"), 1, "set HF_TOKEN")
        self.assertEqual(self.pull("test-org/private", env={"HF_TOKEN": "hf_good"}).returncode, 0)
        self.assertEqual(self.stats()["cdn_auth"], 0)

    def test_errors_are_one_line(self):
        self.one_line(self.pull("test-org/nope"), 1, "check the name")
        self.one_line(self.pull("test-org/llama"), 1, "escriba runs qwen3_vl")
        self.one_line(self.pull("tiny"), 2, "ORG/NAME")
        self.one_line(self.pull("../../x"), 2, "ORG/NAME")
        self.one_line(self.pull(), 2, "which model?")
        self.one_line(self.pull("--endpont", "x", "a/b"), 2, "--endpoint")
        self.one_line(self.pull("--endpoint", "ftp://x", "a/b"), 2, "http")
        self.one_line(self.pull("test-org/Tiny-VL", env={"HF_HUB_OFFLINE": "1"}), 1, "HF_HUB_OFFLINE")
        self.one_line(self.pull("test-org/Tiny-VL", env={"HF_HUB_CACHE": "/dev/null/x"}), 1, "cannot make directory")
        self.faults("file=model.safetensors&corrupt_times=9")
        self.one_line(self.pull("test-org/Tiny-VL"), 1, "checksum")

    def test_several_models_and_one_that_is_not_there(self):
        result = self.pull("test-org/Tiny-VL", "test-org/nope", "test-org/Sharded-VL-4bit")
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stdout.splitlines(), [self.snapshot(), self.snapshot("test-org/Sharded-VL-4bit")])

    def test_ctrl_c_keeps_what_arrived(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            self.faults("file=model.safetensors&rate=1500000")
            process = self.start_pull("test-org/Tiny-VL")
            self.wait_for_bytes(self.growing() + 200000)
            code, err = self.stop(process, number)
            self.assertEqual(code, 130, err)
            self.assertIn("goes on from there", err)
            self.assertEqual(len(err.splitlines()), 1, err)
        kept = self.growing()
        self.assertGreater(kept, 400000)
        self.server_rests()
        self.faults("")
        self.assertEqual(self.pull("test-org/Tiny-VL").returncode, 0)
        self.assertEqual(self.stats()["body_bytes"], TINY_SIZE - kept)  # every byte once

    def test_a_limit_on_file_sizes_reads_as_a_full_disk(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000000, 1000000))

        process = self.start_pull("test-org/Tiny-VL", preexec_fn=limit)
        _, err = process.communicate(timeout=common.TIMEOUT)
        self.assertEqual((process.returncode, len(err.splitlines())), (1, 1), err)
        self.assertIn("disk full", err)
        self.assertEqual(self.growing(), 1000000)
        self.faults("")
        self.assertEqual(self.pull("test-org/Tiny-VL").returncode, 0)
        self.assertEqual(self.stats()["body_bytes"], TINY_SIZE - 1000000)

    def test_a_disk_that_fills_up_meanwhile(self):
        os.mkdir(self.cache)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", self.cache], stderr=subprocess.DEVNULL)
        if mounted.returncode != 0:
            self.skipTest("needs the right to mount a small tmpfs")
        try:
            self.faults("file=model.safetensors&rate=2000000")
            process = self.start_pull("test-org/Tiny-VL")
            self.wait_for_bytes(200000)
            filler = os.path.join(self.cache, "filler")
            with open(filler, "wb", buffering=0) as file:
                try:
                    while file.write(b"x" * 4096):
                        pass
                except OSError:
                    pass
            _, err = process.communicate(timeout=common.TIMEOUT)
            self.assertEqual((process.returncode, len(err.splitlines())), (1, 1), err)
            self.assertIn("disk full while writing model.safetensors", err)
            kept = self.growing()
            self.one_line(self.pull("test-org/Tiny-VL"), 1, "make room, or set HF_HUB_CACHE")  # known beforehand
            os.remove(filler)
            self.faults("")
            self.assertEqual(self.pull("test-org/Tiny-VL").returncode, 0)
            self.assertEqual(self.stats()["body_bytes"], TINY_SIZE - kept)
        finally:
            subprocess.run(["umount", self.cache], check=True)

    def test_help_has_examples(self):
        for verb in ("pull", "models"):
            result = self.run_escriba(verb, "--help")
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            self.assertIn("examples:", result.stdout)


class Models(Hub):
    def models(self, **how):
        result = self.run_escriba("models", "--json", **how)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return {model["name"]: model for model in json.loads(result.stdout)}

    def test_pulled_models_are_listed(self):
        self.pull("test-org/Tiny-VL", "test-org/Sharded-VL-4bit")
        models = self.models()
        tiny = models["test-org/Tiny-VL"]
        self.assertEqual((tiny["path"], tiny["source"], tiny["precision"]), (self.snapshot(), "cache", "bf16"))
        self.assertEqual((tiny["complete"], tiny["missing"]), (True, None))
        self.assertEqual(models["test-org/Sharded-VL-4bit"]["precision"], "4-bit, group 64")
        table = self.run_escriba("models").stdout
        self.assertIn("3.24 MB", table)
        self.assertIn(self.snapshot(), table)

    def test_an_interrupted_pull_is_listed_as_partial(self):
        self.faults("file=model-00002&status=404&status_times=9")
        self.assertEqual(self.pull("test-org/Sharded-VL-4bit").returncode, 1)
        model = self.models()["test-org/Sharded-VL-4bit"]
        self.assertEqual((model["complete"], model["missing"]), (False, "model-00002-of-00002.safetensors"))
        self.assertIn("partial (no model-00002-of-00002.safetensors)", self.run_escriba("models").stdout)

    def test_a_newer_commit_serves_only_when_whole(self):
        self.pull("test-org/Tiny-VL@v1")
        refs = os.path.join(self.cache, "models--test-org--Tiny-VL", "refs")
        with open(os.path.join(refs, "main"), "w", encoding="ascii") as file:
            file.write("2" * 40)  # main was there yesterday
        self.faults("file=config.json&status=404&status_times=9")
        self.assertEqual(self.pull("test-org/Tiny-VL").returncode, 1)
        self.assertEqual(self.models()["test-org/Tiny-VL"]["path"][-40:], "2" * 40)
        self.faults("")
        self.assertEqual(self.pull("test-org/Tiny-VL").returncode, 0)
        self.assertEqual(self.models()["test-org/Tiny-VL"]["path"][-40:], "1" * 40)

    def test_usage(self):
        self.one_line(self.run_escriba("models", "x"), 2, "takes no argument")
        self.one_line(self.run_escriba("models", "--jsn"), 2, "--json")


if __name__ == "__main__":
    common.main()
