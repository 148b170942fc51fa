"""Many clients at once: the same answers as one by one, a bounded queue, clients that leave, an orderly end."""

import json
import os
import random
import signal
import socket
import subprocess
import threading

import common


class Crowd(common.Server):
    flags = ("--queue", "100000", "--batch", "8", "--context", "4096")

    def body(self, i, **more):
        content = [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + self.picture(i % 4)}},
                   {"type": "text", "text": "What is in picture %d?" % i}]
        return {"messages": [{"role": "user", "content": content}], "max_tokens": 8 + i % 5, "temperature": i % 2,
                "seed": i, **more}

    def said(self, i):
        return self.post("/v1/chat/completions", self.body(i))["choices"][0]

    def streamed(self, i):
        events = self.post("/v1/chat/completions", self.body(i, stream=True))
        return "".join(event["choices"][0]["delta"].get("content", "") for event in events[:-1])

    def test_thirty_two_clients_hear_what_each_would_hear_alone(self):
        alone = self.launch(*self.flags)
        try:
            one_by_one = [self.post("/v1/chat/completions", self.body(i), process=alone)["choices"][0] for i in range(32)]
        finally:
            alone.kill()
            alone.communicate()
        self.assertEqual(self.together(self.said, 32), one_by_one)
        self.assertEqual(self.together(self.streamed, 32), [choice["message"]["content"] for choice in one_by_one])

    def leave(self, body, after):
        """Asks, reads a little, and is gone."""
        data = json.dumps(body).encode()
        with socket.create_connection(("127.0.0.1", self.process.port), timeout=common.TIMEOUT) as s:
            s.sendall(b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
            s.settimeout(after)
            try:
                s.recv(200)
            except TimeoutError:
                pass

    def test_a_mixture_of_good_broken_and_leaving_requests_leaves_nothing_behind(self):
        chance = random.Random(1)
        kinds = [chance.randrange(3) for _ in range(90)]
        long = {"messages": [{"role": "user", "content": "tell"}], "options": {"num_predict": 1000}}
        broken = [b"{", b"{\"messages\":5}", b"{\"model\":\"none\",\"messages\":[]}", b"", b"[1]"]

        def ask(i):
            for k in range(i, len(kinds), 10):
                if kinds[k] == 0:
                    self.post("/v1/chat/completions", self.body(k))
                elif kinds[k] == 1:
                    code = self.send("POST", "/api/chat", broken[k % len(broken)])[0]
                    self.assertIn(code, (400, 404))
                else:
                    self.leave(long, 0.02 * (k % 4) + 0.001)

        self.together(ask, 10)
        self.wait_for(lambda: self.metric("running") == 0 and self.metric("queue_length") == 0)
        self.assertEqual(self.metric("failed_total"), 0)
        self.assertEqual(self.metric("kv_pages_used"), 0)
        self.wait_for(lambda: self.metric("http_in_flight") == 1)  # this one
        self.post("/v1/chat/completions", self.body(1))

    def test_a_client_that_leaves_frees_its_place(self):
        before = self.metric("cancelled_total")
        self.leave({"messages": [{"role": "user", "content": "tell"}], "options": {"num_predict": 100000}}, 0.3)
        self.wait_for(lambda: self.metric("running") == 0)
        self.assertGreaterEqual(self.metric("cancelled_total"), before)


class Order(common.Server):
    """Servers of their own for each test."""

    def with_server(self, *flags, env=None):
        process = self.launch(*flags, env=env)
        self.addCleanup(self.end, process)
        return process

    def long_request(self, process, tokens, results, stream=False, prompt="tell"):
        def ask():
            body = {"messages": [{"role": "user", "content": prompt}], "options": {"num_predict": tokens}, "stream": stream}
            results.append(self.send("POST", "/api/chat", body, process=process))

        thread = threading.Thread(target=ask)
        thread.start()
        return thread

    def test_a_full_queue_says_when_to_come_again(self):
        process = self.with_server("--queue", "1", "--batch", "1")
        results = []
        first = self.long_request(process, 3000, results, prompt="one")
        self.wait_for(lambda: self.metric("running", process) == 1)
        second = self.long_request(process, 3, results, prompt="two")
        self.wait_for(lambda: self.metric("queue_length", process) == 1 or results)
        status, headers, data = self.send("POST", "/v1/chat/completions", {
            "messages": [{"role": "user", "content": "three"}], "max_tokens": 2}, process=process)
        first.join()
        second.join()
        if len(results) == 2 and status == 200:
            self.skipTest("the machine was faster than the test")
        self.assertEqual(status, 503, data)
        self.assertGreaterEqual(int(headers["Retry-After"]), 1)
        self.assertEqual([code for code, _, _ in results], [200, 200])

    def test_a_question_passes_work_that_fills_the_batch(self):
        process = self.with_server("--batch", "1")
        asked = [("/v1/chat/completions", {"service_tier": "priority"}), ("/v1/responses", {"priority": -1}),
                 ("/v1/chat/completions", {"stream": True}), ("/api/chat", {"stream": True})]
        for path, how in asked:
            results = []
            bulk = [self.long_request(process, 3000, results, prompt="bulk %d %s" % (i, path + str(how))) for i in range(2)]
            self.wait_for(lambda: self.metric("running", process) == 1 and self.metric("queue_length", process) == 1 or results)
            began = len(results)
            words = {"input": "now"} if path == "/v1/responses" else {"messages": [{"role": "user", "content": "now"}]}
            short = {"options": {"num_predict": 2}} if path == "/api/chat" else {}
            most = {} if short else {"max_output_tokens" if path == "/v1/responses" else "max_tokens": 2}
            body = {"model": "model", **words, **short, **most, **how}
            self.assertEqual(self.send("POST", path, body, process=process, headers={"User-Agent": "a person"})[0], 200)
            waiting = len(results)
            for thread in bulk:
                thread.join()
            self.assertEqual([code for code, _, _ in results], [200, 200])
            if began > 0:
                self.skipTest("the machine was faster than the test")
            self.assertEqual(waiting, 0, (path, how))  # neither of the two was done

    def test_what_all_requests_may_come_to_is_bounded(self):
        process = self.with_server("--token-budget", "500")
        results = []
        first = self.long_request(process, 800, results)  # the only one is always taken
        self.wait_for(lambda: self.metric("tokens_promised", process) >= 800 or results)
        status, headers, data = self.send("POST", "/v1/chat/completions", {
            "messages": [{"role": "user", "content": "x"}], "max_tokens": 2}, process=process)
        first.join()
        self.assertEqual(results[0][0], 200)
        self.wait_for(lambda: self.metric("tokens_promised", process) == 0)
        if status == 200:
            self.skipTest("the machine was faster than the test")
        self.assertEqual(status, 503, data)
        self.assertGreaterEqual(int(headers["Retry-After"]), 1)

    def test_pictures_are_prepared_while_others_are_answered(self):
        process = self.with_server("--batch", "8")
        results = []
        first = self.long_request(process, 1500, results, stream=True)
        content = [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + self.picture(i % 4)}} for i in range(8)]
        answers = self.together(lambda i: self.post("/v1/chat/completions", {
            "messages": [{"role": "user", "content": content[i:]}], "max_tokens": 3}, process=process), 8)
        first.join()
        self.assertEqual(results[0][0], 200)
        self.assertEqual(len({answer["usage"]["prompt_tokens"] for answer in answers}), 8)
        # Asked and left while their pictures are cut up, or before, or after: no place is kept.
        for i in range(12):
            body = json.dumps({"messages": [{"role": "user", "content": content}], "seed": i}).encode()
            with socket.create_connection(("127.0.0.1", process.port), timeout=common.TIMEOUT) as s:
                s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
                          + body)
        self.wait_for(lambda: self.metric("running", process) == 0 and self.metric("queue_length", process) == 0
                      and self.metric("http_in_flight", process) == 1)
        self.assertEqual(self.metric("kv_pages_used", process), 0)

    def test_sigterm_finishes_what_is_under_way(self):
        process = self.with_server("--drain", "110")
        results = []
        thread = self.long_request(process, 800, results, stream=True)
        self.wait_for(lambda: self.metric("running", process) == 1 or results)
        process.send_signal(signal.SIGTERM)
        thread.join()
        code, _, data = results[0]
        self.assertEqual(code, 200)
        last = json.loads(data.decode().splitlines()[-1])
        self.assertTrue(last["done"], last)
        self.assertEqual(process.wait(common.TIMEOUT), 0)

    def test_sigterm_does_not_wait_longer_than_it_was_told(self):
        process = self.with_server("--drain", "0")
        results = []
        thread = self.long_request(process, 100000, results)
        self.wait_for(lambda: self.metric("running", process) == 1)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(common.TIMEOUT), 0)
        thread.join()
        self.assertIn([code for code, _, _ in results], ([503], []))  # or the connection was cut before that arrived

    def test_models_are_swapped_by_name(self):
        folder = os.path.join(self.dir, "models")
        os.mkdir(folder)
        common.make_model(os.path.join(folder, "one"))
        common.make_model(os.path.join(folder, "two"), "--seed", "5")
        process = self.with_server("--context", "4096", env={"ESCRIBA_MODELS": folder})
        said = {}

        def ask(name):
            body = {"model": name, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8}
            answer = self.post("/v1/chat/completions", body, process=process)
            self.assertEqual(answer["model"], name)
            said.setdefault(name, set()).add(answer["choices"][0]["message"]["content"])

        threads = [threading.Thread(target=ask, args=(("one", "two", "model")[i % 3],)) for i in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([len(texts) for texts in said.values()], [1, 1, 1])
        self.assertEqual(len(said), 3)
        self.assertEqual(said["one"], said["model"])
        self.assertNotEqual(said["one"], said["two"])
        self.assertGreaterEqual(self.metric("model_loads_total", process), 3)

    def test_a_unix_socket_is_its_owners_only(self):
        path = os.path.join(self.dir, "serve.sock")
        process = subprocess.Popen([common.ESCRIBA, "serve", "--model", self.model, "--socket", path], text=True,
                                   env=common.environment(self.dir), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(self.end, process)
        self.assertEqual(process.stdout.readline(), "listening at %s\n" % path)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(path)
            s.sendall(b"GET /health HTTP/1.1\r\nHost: anything\r\nConnection: close\r\n\r\n")
            self.assertIn(b" 200 ", s.recv(100))
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(common.TIMEOUT), 0)
        self.assertFalse(os.path.exists(path))

    def test_a_socket_that_was_opened_for_it_is_taken(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            script = 'exec 3<&%d; LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" serve --model "$1"' % listener.fileno()
            process = subprocess.Popen(["/bin/sh", "-c", script, common.ESCRIBA, self.model], text=True,
                                       pass_fds=[listener.fileno()], env=common.environment(self.dir),
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.addCleanup(self.end, process)
            process.port = listener.getsockname()[1]
            self.assertIn("given", process.stdout.readline())
            self.get("/health", process=process)
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(common.TIMEOUT), 0)


if __name__ == "__main__":
    common.main()
