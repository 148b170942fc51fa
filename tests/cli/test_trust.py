#!/usr/bin/env python3
"""Whom escriba believes and tells: certificates, proxies, and where a key goes (openssl makes the certificates)."""

import json
import os
import select
import shutil
import socket
import subprocess
import sys
import threading
import unittest
import urllib.request

import common
from test_backends import KEY, flat

NAME = "model.localhost"  # this machine, as libcurl knows; but no loopback address to escriba, which would not use a proxy


class Proxy(threading.Thread):
    """An HTTP proxy that leads every name to one port of this machine, and keeps what it was asked, headers and all."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.target, self.heads = port, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            piece = client.recv(65536)
            if not piece:
                return client.close()
            head += piece
        head, rest = head.split(b"\r\n\r\n", 1)
        self.heads.append(head.decode())
        with client, socket.create_connection(("127.0.0.1", self.target)) as server:
            if head.startswith(b"CONNECT "):
                client.sendall(b"HTTP/1.1 200 well\r\n\r\n")
                server.sendall(rest)
            else:  # "POST http://model.example/ok/v1/..." goes on as "POST /ok/v1/..."; one request a connection
                first, others = head.split(b"\r\n", 1)
                verb, url, version = first.split(b" ")
                others = b"\r\n".join(line for line in others.split(b"\r\n") if not line.lower().startswith(b"proxy-"))
                server.sendall(b"%s /%s %s\r\nConnection: close\r\n%s\r\n\r\n%s" % (verb, url.split(b"/", 3)[3], version, others, rest))
            ends = {client: server, server: client}
            while True:
                for end in select.select(list(ends), [], [])[0]:
                    try:
                        data = end.recv(65536)
                        ends[end].sendall(data)
                    except OSError:
                        data = b""
                    if not data:
                        return None

    def stop(self):
        self.listener.close()


@unittest.skipUnless(shutil.which("openssl"), "there is no openssl command to make certificates with")
class Case(common.Case):
    with_model = False
    frames = 0

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for i in range(8):
            cls.write("frames/frame_%04ds.png" % (i * 10), flat(i))
        cls.processes = []
        cls.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                    "/CN=A test's authority", "-keyout", "ca.key", "-out", "ca.pem")

    @classmethod
    def tearDownClass(cls):
        for process in cls.processes:
            process.stdin.close()
            process.wait()
            process.stdout.close()
        super().tearDownClass()

    @classmethod
    def openssl(cls, *args):
        subprocess.run(["openssl", *args], cwd=cls.dir, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    @classmethod
    def certificate(cls, name, who, *dates):
        """NAME.pem and NAME.key, signed by the authority, made out to `who`."""
        cls.openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=server",
                    "-addext", "subjectAltName=" + who, "-keyout", name + ".key", "-out", name + ".csr")
        cls.write("ca.cnf", "[ca]\ndefault_ca=x\n[x]\ndatabase=%s\nnew_certs_dir=.\nserial=%s\ndefault_md=sha256\npolicy=p\n"
                  "copy_extensions=copy\nunique_subject=no\n[p]\ncommonName=supplied\n" % (name + ".index", name + ".serial"))
        cls.write(name + ".index", "")
        cls.write(name + ".serial", "01")
        cls.openssl("ca", "-batch", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key", "-in", name + ".csr", "-out",
                    name + ".pem", "-notext", *(dates or ("-days", "2")))
        return name

    @classmethod
    def serve(cls, name=None):
        """The port of a server, over TLS with a certificate's name."""
        script = os.path.join(common.ROOT, "tests", "intelligence", "llm_server.py")
        files = [cls.path(name + ".pem"), cls.path(name + ".key")] if name else []
        process = subprocess.Popen([sys.executable, script, *files], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        cls.processes.append(process)
        return int(process.stdout.readline())

    def environment(self, extra=None):
        theirs = ("SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
        clean = super().environment(extra)
        return {k: v for k, v in clean.items() if k in (extra or {}) or not (k in theirs or k.lower().endswith("_proxy"))}

    def ask(self, url, **env):
        return self.run_escriba("describe", self.folder, "--backend", "openai", "--model", "m", "--endpoint", url, env=env)

    def check(self, result):
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(sorted(json.loads(line)["description"] for line in result.stdout.splitlines()),
                         ["frame %d" % i for i in range(8)])


class Certificates(Case):
    def test_only_a_certificate_whose_signer_is_trusted_will_do(self):
        url = "https://127.0.0.1:%d/ok/v1" % self.serve(self.certificate("good", "IP:127.0.0.1"))
        refused = self.ask(url)
        self.one_line(refused, 1, "openai at https://127.0.0.1", "certificate", "name the certificate that signed its own in SSL_CERT_FILE")
        self.assertEqual(refused.stdout, "")
        for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE"):
            self.check(self.ask(url, **{name: self.path("ca.pem")}))
        told = self.run_escriba("doctor", "--json", env={"OPENAI_BASE_URL": url}).stdout
        self.assertIn("SSL_CERT_FILE", json.loads(told)["backends"]["openai"])
        told = self.run_escriba("doctor", "--json", env={"OPENAI_BASE_URL": url, "SSL_CERT_FILE": self.path("ca.pem")}).stdout
        self.assertIn("answers", json.loads(told)["backends"]["openai"])
        ollama = url[:-3]
        self.one_line(self.run_escriba("describe", self.folder, "--backend", "ollama", env={"OLLAMA_HOST": ollama}), 1, "SSL_CERT_FILE")
        self.check(self.run_escriba("describe", self.folder, "--backend", "ollama",
                                    env={"OLLAMA_HOST": ollama, "SSL_CERT_FILE": self.path("ca.pem")}))
        self.one_line(self.ask(url, SSL_CERT_FILE="/no/such.pem"), 1, "/no/such.pem", "check CURL_CA_BUNDLE or SSL_CERT_FILE")

    def test_one_that_signed_itself_is_refused_until_it_is_named(self):
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                     "/CN=self", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "self.key", "-out", "self.pem")
        url = "https://127.0.0.1:%d/ok/v1" % self.serve("self")
        self.one_line(self.ask(url), 1, "self-signed certificate", "SSL_CERT_FILE")
        self.check(self.ask(url, SSL_CERT_FILE=self.path("self.pem")))

    def test_one_for_somebody_else_is_refused(self):
        port = self.serve(self.certificate("other", "DNS:" + NAME))
        self.one_line(self.ask("https://127.0.0.1:%d/ok/v1" % port, SSL_CERT_FILE=self.path("ca.pem")), 1,
                      "use the name that its certificate is made out to")

    def test_one_that_has_expired_is_refused(self):
        port = self.serve(self.certificate("old", "IP:127.0.0.1", "-startdate", "20200101000000Z", "-enddate", "20200201000000Z"))
        self.one_line(self.ask("https://127.0.0.1:%d/ok/v1" % port, SSL_CERT_FILE=self.path("ca.pem")), 1,
                      "certificate has expired", "renew the server's certificate")

    def test_of_several_servers_one_that_is_not_trusted_gets_no_frame(self):
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                     "/CN=self", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "lone.key", "-out", "lone.pem")
        lone, plain = self.serve("lone"), self.serve()
        result = self.ask("https://127.0.0.1:%d/ok/v1 http://127.0.0.1:%d/ok/v1" % (lone, plain))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(len(result.stdout.splitlines()), 8)
        self.assertRegex(result.stderr, r"https://127.0.0.1:\d+/ok/v1 +0 frames .* last: .*SSL_CERT_FILE")


class Proxies(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.plain, cls.tls = cls.serve(), cls.serve(cls.certificate("named", "DNS:" + NAME))

    def through(self, port):
        proxy = Proxy(port)
        self.addCleanup(proxy.stop)
        return proxy, "http://127.0.0.1:%d" % proxy.port

    def test_frames_go_through_the_proxy_that_the_variables_name(self):
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            proxy, address = self.through(self.plain)
            self.check(self.ask("http://%s/ok/v1" % NAME, **{name: address}))
            self.assertEqual(len(proxy.heads), 8, name)
            self.assertTrue(proxy.heads[0].startswith("POST http://%s/ok/v1/chat/completions " % NAME), proxy.heads[0])
        for name in ("https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            proxy, address = self.through(self.tls)
            self.check(self.ask("https://%s/ok/v1" % NAME, SSL_CERT_FILE=self.path("ca.pem"), OPENAI_API_KEY=KEY, **{name: address}))
            self.assertTrue(proxy.heads and all(head.startswith("CONNECT %s:443 " % NAME) for head in proxy.heads), proxy.heads)
            self.assertNotIn(KEY, "".join(proxy.heads))  # for the server's eyes only

    def test_certificates_are_checked_through_a_proxy_too(self):
        _, address = self.through(self.tls)
        self.one_line(self.ask("https://%s/ok/v1" % NAME, HTTPS_PROXY=address), 1, "SSL_CERT_FILE")
        self.one_line(self.ask("https://other.localhost/ok/v1", HTTPS_PROXY=address, SSL_CERT_FILE=self.path("ca.pem")), 1,
                      "use the name that its certificate is made out to")

    def test_no_proxy_and_this_machine_are_asked_directly(self):
        proxy, address = self.through(self.plain)
        self.check(self.ask("http://127.0.0.1:%d/ok/v1" % self.plain, http_proxy=address, ALL_PROXY=address))
        for how in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            for no in ("NO_PROXY", "no_proxy"):
                self.check(self.ask("http://%s:%d/ok/v1" % (NAME, self.plain), **{how: address, no: "x.test,.localhost"}))
        self.assertEqual(proxy.heads, [])

    def test_a_proxy_that_is_not_there_is_one_clear_line(self):
        result = self.ask("https://%s/ok/v1" % NAME, HTTPS_PROXY="http://me:%s@127.0.0.1:9" % KEY)
        self.one_line(result, 1, "127.0.0.1 port 9")
        self.assertNotIn(KEY, result.stderr)


class Keys(Case):
    def test_a_key_goes_to_its_server_and_nowhere_else(self):
        other = self.serve()
        server = self.serve()
        for how, word in (("away%d" % other, "sends us elsewhere"), ("key", "HTTP status 401")):
            result = self.run_escriba("describe", self.folder, "--backend", "openai", "--model", "m", "--verbose", "--endpoint",
                                      "http://127.0.0.1:%d/%s/v1" % (server, how), env={"OPENAI_API_KEY": KEY})
            self.assertEqual(result.returncode, 1)
            self.assertIn(word, result.stderr)
            self.assertNotIn(KEY, result.stdout + result.stderr)
            seen = json.load(urllib.request.urlopen("http://127.0.0.1:%d/%s/_stats/openai" % (server, how)))
            self.assertEqual(seen["keys"], ["Bearer " + KEY])
        seen = json.load(urllib.request.urlopen("http://127.0.0.1:%d/ok/_stats/openai" % other))
        self.assertEqual((seen["chats"], seen["keys"]), (0, []))


if __name__ == "__main__":
    common.main()
