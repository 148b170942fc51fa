"""Who and what is refused: names, pages, keys, files, sizes, slowness, bombs."""

import base64
import hashlib
import os
import socket
import struct
import subprocess
import time
import urllib.parse
import zlib

import common


class Guard(common.Server):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.allowed = os.path.join(cls.dir, "allowed")
        os.mkdir(cls.allowed)
        for name, target in (("in.png", None), ("link.png", cls.frames[0])):
            path = os.path.join(cls.allowed, name)
            if target:
                os.symlink(target, path)
            else:
                with open(path, "wb") as file:
                    file.write(common.png(64, 64))
        cls.open = cls.launch("--allow-path", cls.allowed, "--allow-host", "screens.example",
                              "--allow-origin", "https://good.example", "--max-body", "1", "--queue", "2")

    @classmethod
    def tearDownClass(cls):
        cls.open.kill()
        cls.open.communicate()
        super().tearDownClass()

    def raw(self, data, process=None, seconds=common.TIMEOUT):
        """All that comes back until the server closes."""
        with socket.create_connection(("127.0.0.1", (process or self.process).port), timeout=seconds) as s:
            try:
                s.sendall(data)
                answer = b""
                while True:
                    block = s.recv(65536)
                    if not block:
                        return answer
                    answer += block
            except (ConnectionError, BrokenPipeError):
                return b""

    def refused(self, reason, process=None):
        for line in self.get("/metrics", process=process).decode().splitlines():
            if line.startswith('escriba_refused_total{reason="%s"}' % reason):
                return int(line.split()[-1])
        self.fail(reason)

    def chat(self, image, code, process=None):
        body = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": image}}]}],
                "max_tokens": 2}
        return self.post("/v1/chat/completions", body, code, process=process)

    def test_foreign_hosts_are_refused_and_counted(self):
        before = self.refused("host")
        for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", "[::1",
                     "localhost:80:80", "a" * 300):
            self.assertEqual(self.send("GET", "/health", headers={"Host": host})[0], 421, host)
        self.assertEqual(self.refused("host"), before + 7)
        for host in ("localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:99", "192.168.1.7:11435", "x.localhost"):
            self.assertEqual(self.send("GET", "/health", headers={"Host": host})[0], 200, host)
        self.assertEqual(self.send("GET", "/health", headers={"Host": "screens.example"}, process=self.open)[0], 200)
        self.assertIn(b" 4", self.raw(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n")[:20])

    def test_pages_of_other_sites_are_refused_and_counted(self):
        before = self.refused("origin")
        own = "http://127.0.0.1:%d" % self.process.port
        for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
                        {"Origin": own + "0"}, {"Origin": "file://"}):
            self.assertEqual(self.send("POST", "/api/chat", {}, headers)[0], 403, headers)
            self.assertEqual(self.send("OPTIONS", "/api/chat", None, headers)[0], 403, headers)
        self.assertEqual(self.refused("origin"), before + 10)
        status, headers, _ = self.send("GET", "/health", headers={"Origin": own})
        self.assertEqual(status, 200)
        self.assertIsNone(headers["Access-Control-Allow-Origin"])
        status, headers, _ = self.send("OPTIONS", "/api/chat", None, {"Origin": "https://good.example"}, self.open)
        self.assertEqual((status, headers["Access-Control-Allow-Origin"]), (204, "https://good.example"))

    def test_files_only_below_an_allowed_path(self):
        inside = os.path.join(self.allowed, "in.png")
        self.assertIn("data URI", self.chat("file://" + inside, 400)["error"]["message"])
        for good in ("file://" + inside, "file://localhost" + inside, "file:" + inside, inside,
                     "file://" + urllib.parse.quote(inside).replace("in.png", "%69n.png")):
            self.chat(good, 200, self.open)
        before = self.refused("file", self.open)
        for bad in (self.frames[0], self.allowed + "/../" + os.path.basename(self.frames[0]),
                    self.allowed + "/%2e%2e/" + os.path.basename(self.frames[0]), self.allowed + "/link.png",
                    self.allowed, self.allowed + "/none.png", "/etc/passwd", "/dev/zero", self.allowed + "x/in.png"):
            error = self.chat("file://" + bad, 400, self.open)["error"]["message"]
            self.assertNotIn("root:", error)
        self.assertEqual(self.refused("file", self.open), before + 9)

    def test_keys(self):
        key = "correct horse battery staple"
        line = subprocess.run([common.ESCRIBA, "serve", "--hash-key"], input=key + "\n", text=True, check=True,
                              stdout=subprocess.PIPE, env=common.environment(self.dir)).stdout
        self.assertEqual(line, "sha256:" + hashlib.sha256(key.encode()).hexdigest() + "\n")
        path = os.path.join(self.dir, "keys")
        with open(path, "w") as file:
            file.write("# keys\n\n" + line.strip() + " me\nsha256:" + "0" * 64 + " nobody\n")
        os.chmod(path, 0o600)
        process = self.launch("--keys", path)
        try:
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": key}, {"Authorization": "Bearer "}):
                status, answer, _ = self.send("GET", "/api/tags", headers=headers, process=process)
                self.assertEqual((status, answer["WWW-Authenticate"]), (401, "Bearer"))
            good = {"Authorization": "Bearer " + key}
            self.assertEqual(self.send("GET", "/api/tags", headers=good, process=process)[0], 200)
            self.assertIn('{reason="key"} 4', self.send("GET", "/metrics", headers=good, process=process)[2].decode())
            for path_ in ("/", "/health", "/ready"):
                self.get(path_, process=process)
        finally:
            process.kill()
            process.communicate()
        os.chmod(path, 0o666)
        for flags, says in ((["--keys", path], "chmod"), (["--keys", "/none"], "none"),
                            (["--listen", "0.0.0.0"], "--no-keys"), (["--listen", "nowhere.example"], "address")):
            result = subprocess.run([common.ESCRIBA, "serve", "--model", self.model, "--port", "0", *flags], text=True,
                                    capture_output=True, env=common.environment(self.dir), timeout=common.TIMEOUT)
            self.assertNotEqual(result.returncode, 0)
            self.assertIn(says, result.stderr)
            self.assertEqual(len(result.stderr.splitlines()), 1)

    def test_oversized_bodies_and_headers(self):
        before = self.refused("body", self.open)
        head = b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\n"
        self.assertIn(b" 413 ", self.raw(head + b"Content-Length: 9999999999\r\n\r\n{", self.open))
        chunks = b"Transfer-Encoding: chunked\r\n\r\n" + b"100000\r\n" + b" " * 0x100000 + b"\r\n100000\r\n"
        self.raw(head + chunks + b" " * 0x100000, self.open)
        self.assertEqual(self.refused("body", self.open), before + 2)
        before = self.refused("headers", self.open)
        for bad in (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 100000 + b"\r\n\r\n",
                    b"GET /" + b"z" * 100000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"):
            answer = self.raw(bad, self.open)
            self.assertTrue(answer == b"" or b" 4" in answer[:20], answer[:80])
        self.get("/health", process=self.open)
        self.wait_for(lambda: self.refused("headers", self.open) == before + 2)

    def test_all_bodies_together_are_bounded(self):
        process = self.launch("--max-body", "3", "--max-bodies", "3")
        self.addCleanup(self.end, process)
        head = b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        holders = []
        for _ in range(2):
            s = socket.create_connection(("127.0.0.1", process.port), timeout=common.TIMEOUT)
            s.sendall(head % 1500000 + b" " * 1400000)
            holders.append(s)
        self.wait_for(lambda: self.metric("http_body_bytes", process) == 2800000)
        body = b'{"messages": []}' + b" " * 1000000
        status, headers, _ = self.send("POST", "/api/chat", body, process=process)
        self.assertEqual((status, headers["Retry-After"]), (503, "1"))
        for s in holders:
            s.close()
        self.wait_for(lambda: self.metric("http_body_bytes", process) == 0)
        self.assertEqual(self.send("POST", "/api/chat", body, process=process)[0], 200)
        # What is read and waits for its answer is not counted any more.
        self.assertEqual(self.metric("http_body_bytes", process), 0)

    def test_nonsense_is_survived(self):
        for data in (b"\r\n\r\n", b"\0" * 100 + b"\r\n\r\n", b"GET\r\n\r\n", b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\n"
                     b"Content-Length: -5\r\nConnection: close\r\n\r\n", b"PUT / HTTP/9.9\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", self.process.port), timeout=30) as s:
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
        for body in (b"", b"\xff", b"{\"a\":" * 50000, b"[" * 100000, b"{\"messages\":[{\"role\":\"\\ud800\"}]}",
                     b"{\"model\":\"a\\u0000b\"}"):
            self.assertEqual(self.send("POST", "/v1/chat/completions", body)[0], 400, body[:20])
        self.get("/health")

    def test_slow_clients_are_cut_off_and_counted(self):
        before = self.refused("slow")
        slow = [socket.create_connection(("127.0.0.1", self.process.port), timeout=common.TIMEOUT) for _ in range(20)]
        for i, s in enumerate(slow):
            if i % 2:
                s.sendall(b"GET /health HTTP/1.1\r\n")
        end = time.time() + common.TIMEOUT
        while slow and time.time() < end:
            for s in list(slow):
                try:
                    s.sendall(b"X-A: b\r\n" if slow.index(s) % 2 else b"G")
                    s.setblocking(False)
                    if s.recv(1) == b"":
                        raise ConnectionError
                except BlockingIOError:
                    s.setblocking(True)
                except OSError:
                    s.close()
                    slow.remove(s)
            self.get("/health")  # nobody else is kept waiting
            time.sleep(0.2)
        self.assertEqual(slow, [])
        self.assertGreaterEqual(self.refused("slow"), before + 10)

    def test_decompression_bombs(self):
        def bomb(width, height, rows):
            def chunk(kind, data):
                return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            packer = zlib.compressobj(9)
            data = b"".join(packer.compress(b"\0" * (width // 8 + 1)) for _ in range(rows)) + packer.flush()
            return base64.b64encode(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
                                    + chunk(b"IDAT", data) + chunk(b"IEND", b"")).decode()
        before = self.refused("picture")
        for picture in (bomb(50000, 50000, 2000), bomb(2**31 - 1, 2**31 - 1, 0), bomb(8000, 5000, 5000)):
            self.chat("data:image/png;base64," + picture, 400)
        self.assertEqual(self.refused("picture"), before + 3)
        many = [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + self.picture()}}] * 65
        self.post("/v1/chat/completions", {"messages": [{"role": "user", "content": many}]}, 400)


if __name__ == "__main__":
    common.main()
