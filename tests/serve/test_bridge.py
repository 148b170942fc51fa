"""`escriba bridge` as Escribano sees it."""

import json
import os
import signal
import socket
import stat
import threading
import time

import common

PROMPT = ("Describe each frame. Answer with one line per frame:\n"
          "Frame N: description: ... | activity: ... | apps: [...] | topics: [...]")


class Client:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(common.TIMEOUT)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb")

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else json.dumps(data).encode() + b"\n")

    def read(self):
        line = self.file.readline()
        return json.loads(line) if line else None

    def ask(self, method, **params):
        self.send({"id": "q1", "method": method, "params": params})
        return self.read()

    def close(self):
        self.file.close()
        self.socket.close()


class Bridge(common.Case):
    mode = "vlm"

    def setUp(self):
        self.base = os.path.join(self.dir, "x%d.sock" % (time.monotonic_ns() % 10**9))
        self.path = self.base.replace(".sock", "-%s.sock" % self.mode)
        self.process, self.ready = self.start_bridge()
        self.client = self.connect()

    def start_bridge(self, *args, mode=None):
        process = self.start("bridge", "some/script.py", "--mode", mode or self.mode, "--model", self.model, *args,
                             env={"ESCRIBANO_MLX_SOCKET_PATH": self.base})
        line = process.stdout.readline()
        return process, json.loads(line)

    def connect(self):
        client = Client(self.path)
        self.addCleanup(client.close)
        return client

    def interleaved(self, count, prompt=PROMPT, tokens=2000):
        content = []
        for i in range(count):
            content.append({"type": "text", "text": "Frame %d (timestamp: %ds):" % (i + 1, i * 10)})
            content.append({"type": "image", "imagePath": self.frames[i]})
        content.append({"type": "text", "text": prompt})
        return {"messages": [{"role": "user", "content": content}], "maxTokens": tokens}


class Vlm(Bridge):
    def test_the_ready_line_names_model_and_mode_and_the_socket_is_its_owners(self):
        self.assertEqual(self.ready, {"status": "ready", "model": "model", "mode": "vlm"})
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)

    def test_ping(self):
        self.assertEqual(self.client.ask("ping"), {"id": "q1", "pong": True, "text": "", "done": True})
        self.client.send({"id": 7, "method": "ping"})
        self.assertEqual(self.client.read()["id"], 7)

    def test_frames_of_one_request_get_a_whole_record_each(self):
        answer = self.client.ask("vlm_infer", **self.interleaved(4, tokens=200))
        self.assertTrue(answer["done"])
        lines = answer["text"].split("\n")
        self.assertEqual(len(lines), 4, answer)
        for i, line in enumerate(lines):
            self.assertRegex(line, r"^Frame %d: description: .+ \| activity: \w+ \| apps: \[.*\] \| topics: \[.*\]$" % (i + 1))
        stats = answer["stats"]
        for key in ("prompt_tokens", "generation_tokens", "total_tokens", "prompt_tps", "generation_tps",
                    "peak_memory_gb", "generate_time_s"):
            self.assertIn(key, stats)
        self.assertEqual(stats["total_tokens"], stats["prompt_tokens"] + stats["generation_tokens"])
        self.assertEqual(answer, self.client.ask("vlm_infer", **self.interleaved(4, tokens=200)) | {"stats": stats})

    def test_another_question_is_asked_as_it_is(self):
        answer = self.client.ask("vlm_infer", **self.interleaved(2, prompt="What is this?", tokens=8))
        lines = [line for line in answer["text"].split("\n") if line.startswith("Frame ")]
        self.assertGreaterEqual(len(lines), 1)
        single = {"role": "user", "content": [{"type": "image", "imagePath": self.frames[0]},
                                              {"type": "text", "text": "What?"}]}
        answer = self.client.ask("vlm_infer", messages=[{"role": "system", "content": "Be brief."}, single], maxTokens=6)
        self.assertNotIn("error", answer)
        self.assertLessEqual(answer["stats"]["generation_tokens"], 6)

    def test_text_and_its_fit(self):
        messages = [{"role": "user", "content": "hello there"}]
        self.assertIn("text", self.client.ask("text_infer", messages=messages, maxTokens=4))
        fit = self.client.ask("text_prompt_fit", messages=messages, maxTokens=4)
        self.assertTrue(fit["fits"], fit)
        self.assertEqual(fit["reserved_tokens"], 24000)
        self.assertEqual(fit["requested_output_tokens"], 4)
        self.assertGreater(fit["prompt_tokens"], 5)
        self.assertGreaterEqual(fit["context_limit"], fit["safe_input_budget"])
        long = [{"role": "user", "content": "word " * (2 * fit["context_limit"])}]
        self.assertFalse(self.client.ask("text_prompt_fit", messages=long, maxTokens=4)["fits"])

    def test_unload_comes_back_by_itself(self):
        self.assertEqual(self.client.ask("unload_vlm"), {"id": "q1", "status": "unloaded", "done": True})
        self.assertIn("text", self.client.ask("text_infer", messages=[{"role": "user", "content": "x"}], maxTokens=2))

    def test_what_cannot_be_answered_is_an_error_and_the_next_request_works(self):
        for method, params, says in [
                ("llm_infer", {"rawPrompt": "x"}, "mode vlm"), ("load_llm", {}, "mode vlm"), ("unload_llm", {}, "mode vlm"),
                ("fly", {}, "unknown method"), ("vlm_infer", {}, "messages"), ("vlm_infer", {"messages": []}, "messages"),
                ("vlm_infer", {"messages": [{"role": "x", "content": "y"}]}, "role"),
                ("vlm_infer", {"messages": [{"role": "user", "content": "y"}], "maxTokens": 0}, "maxTokens"),
                ("vlm_infer", {"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, "part"),
                ("vlm_infer", {"messages": [{"role": "user", "content": [
                    {"type": "image", "imagePath": "/nowhere.png"}, {"type": "text", "text": "?"}]}]}, "nowhere.png")]:
            answer = self.client.ask(method, **params)
            self.assertEqual(set(answer), {"id", "error", "done"}, answer)
            self.assertIn(says, answer["error"])
        for line in [b"{\n", b"nonsense\n", b"[]\n", b"\"x\"\n", b"\xff\xfe\n", b"{\"id\":1}\n",
                     b"{\"method\":\"ping\",\"method\":\"ping\"}\n", b"[" * 100000 + b"\n"]:
            self.client.send(line)
            answer = self.client.read()
            self.assertIn("error", answer)
            self.assertTrue(answer["done"])
        self.client.send(b"\n\r\n  \n")
        self.assertTrue(self.client.ask("ping")["pong"])

    def test_half_lines_wait_and_huge_ones_are_skipped(self):
        for piece in (b'{"id":1,"me', b'thod":"pi', b'ng"}\n{"id":2,"method":"ping"}\n{"id":3'):
            self.client.send(piece)
            time.sleep(0.05)
        self.assertEqual([self.client.read()["id"], self.client.read()["id"]], [1, 2])
        self.client.send(b',"method":"ping"}\n')
        self.assertEqual(self.client.read()["id"], 3)
        block = b"x" * (1 << 20)
        for _ in range(20):
            self.client.send(block)
        self.client.send(b"\n")
        self.assertIn("longer", self.client.read()["error"])
        self.assertTrue(self.client.ask("ping")["pong"])

    def test_two_clients_are_answered_together_and_alike(self):
        results = {}

        def ask(name):
            client = self.connect()
            results[name] = client.ask("vlm_infer", **self.interleaved(3, tokens=100))["text"]

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(len(set(results.values())), 1)

    def test_a_client_that_leaves_in_mid_answer_costs_the_others_nothing(self):
        gone = self.connect()
        gone.send({"id": 1, "method": "text_infer",
                   "params": {"messages": [{"role": "user", "content": "tell"}], "maxTokens": 100000}})
        gone.send(b'{"id":2,"method":"pi')
        time.sleep(0.2)
        gone.close()
        gone.file.close()
        self.assertTrue(self.client.ask("ping")["pong"])
        self.assertIn("text", self.client.ask("text_infer", messages=[{"role": "user", "content": "x"}], maxTokens=2))

    def test_shutdown_ends_it_and_removes_the_socket(self):
        self.assertEqual(self.client.ask("shutdown"), {"id": "q1", "status": "shutting_down", "done": True})
        self.assertEqual(self.process.wait(common.TIMEOUT), 0)
        self.assertFalse(os.path.exists(self.path))

    def test_sigterm_ends_it(self):
        self.client.send({"id": 1, "method": "text_infer",
                          "params": {"messages": [{"role": "user", "content": "tell"}], "maxTokens": 100000}})
        time.sleep(0.1)
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.process.wait(common.TIMEOUT), 0)
        self.assertFalse(os.path.exists(self.path))

    def test_a_second_bridge_is_told_no_and_a_stale_socket_is_replaced(self):
        process, line = self.start_bridge()
        self.assertEqual(line["status"], "fatal")
        self.assertIn("in use", line["error"])
        self.assertEqual(process.wait(common.TIMEOUT), 1)
        self.assertTrue(self.client.ask("ping")["pong"])
        self.process.kill()
        self.process.wait()
        self.assertTrue(os.path.exists(self.path))
        self.process, line = self.start_bridge()
        self.assertEqual(line["status"], "ready")
        self.assertTrue(self.connect().ask("ping")["pong"])

    def test_a_file_in_the_sockets_place_is_left_alone(self):
        self.base = os.path.join(self.dir, "file.sock")
        path = os.path.join(self.dir, "file-vlm.sock")
        with open(path, "w") as file:
            file.write("precious")
        _, line = self.start_bridge()
        self.assertEqual(line["status"], "fatal")
        with open(path) as file:
            self.assertEqual(file.read(), "precious")

    def test_a_model_that_is_not_there_is_fatal(self):
        self.base = os.path.join(self.dir, "none.sock")
        process = self.start("bridge", "--model", "no-such-model", env={"ESCRIBANO_MLX_SOCKET_PATH": self.base})
        line = json.loads(process.stdout.readline())
        self.assertEqual(line["status"], "fatal")
        self.assertIn("no-such-model", line["error"])
        self.assertNotEqual(process.wait(common.TIMEOUT), 0)
        self.assertFalse(os.path.exists(os.path.join(self.dir, "none-vlm.sock")))


class Llm(Bridge):
    mode = "llm"

    def test_words(self):
        self.assertEqual(self.ready["mode"], "llm")
        raw = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
        for params in ({"rawPrompt": "hello"}, {"rawPrompt": raw}, {"messages": [{"role": "user", "content": "hello"}]}):
            answer = self.client.ask("llm_infer", maxTokens=4, temperature=0.7, think=False, **params)
            self.assertEqual(set(answer), {"id", "text", "stats", "done"}, answer)
        fit = self.client.ask("llm_prompt_fit", rawPrompt="hello", maxTokens=8)
        self.assertTrue(fit["fits"])

    def test_load_and_unload(self):
        self.assertEqual(self.client.ask("load_llm", model="model"),
                         {"id": "q1", "status": "loaded", "model": "model", "done": True})
        self.assertIn("not found", self.client.ask("load_llm", model="gpt-nothing")["error"])
        self.assertEqual(self.client.ask("unload_llm")["status"], "unloaded")
        self.assertIn("mode llm", self.client.ask("vlm_infer", messages=[])["error"])
        self.assertIn("mode llm", self.client.ask("unload_vlm")["error"])


if __name__ == "__main__":
    common.main()
