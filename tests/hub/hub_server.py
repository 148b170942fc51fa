#!/usr/bin/env python3
"""A small model hub on loopback that speaks the hub's HTTP interface, and misbehaves on request.

Prints "PORT CDN_PORT" and serves until its stdin closes. The second port plays the storage host that large files are
redirected to. Control:

    GET  /_set?KEY=VALUE&...  forgets all faults and counts, then sets these faults (see FAULTS)
    POST /_listing            the body becomes the answer to every tree listing (until the next /_set)
    GET  /_stats              counts since the last /_set, as JSON

Standard library only.
"""
import hashlib
import http.server
import json
import random
import re
import socket
import ssl
import sys
import threading
import time
import urllib.parse

FAULTS = {
    "file": "",          # the faults below concern files whose path contains this
    "cut": 0,            # close the connection after so many bytes of a body (-1: somewhere at random)
    "cut_times": 0,      # so many times
    "corrupt_times": 0,  # flip a byte in the middle of a body so many times
    "status": 0,         # answer with this status...
    "status_times": 0,   # ...so many times
    "status_api": 0,     # 1: the API answers with it, not the files
    "status_cdn": 0,     # 1: the storage host answers with it
    "retry_after": "",   # with this Retry-After
    "ignore_range": 0,   # 1: answer 200 and the whole to a range request
    "wrong_range": 0,    # 1: answer a range request with 206 from byte 0
    "extra": 0,          # so many bytes more than there are, chunked
    "short": 0,          # state and send so many bytes fewer
    "other_size": 0,     # 206 and 200 state a size that is so much larger
    "rate": 0,           # bytes a second
    "stall": 0,          # after so many bytes send one byte now and then
    "stall_times": 0,
    "loop": 0,           # 1: redirect to itself for ever
    "location": "",      # redirect large files there
    "page": 0,           # entries a page of the listing
    "size_delta": 0,     # the listing states sizes so much larger
    "gate_page": 0,      # 1: files come as a 200 HTML page, as from a hotel's network
}

COMMIT = "1111111111111111111111111111111111111111"
COMMIT_V1 = "2222222222222222222222222222222222222222"
GOOD_TOKEN = "hf_good"


def blob(seed, size):
    return random.Random(seed).randbytes(size)


def config(model_type="qwen3_vl", **more):
    return json.dumps({"model_type": model_type, "torch_dtype": "bfloat16", **more}).encode()


def small_files(model_type="qwen3_vl", **more):
    return {
        "config.json": config(model_type, **more),
        "generation_config.json": b'{"eos_token_id": 1}\n',
        "preprocessor_config.json": b"{}\n",
        "tokenizer_config.json": b'{"model_max_length": 4096}\n',
        "chat_template.jinja": b"{{ messages }}\n",
        "tokenizer.json": b'{"model": ' + blob("tok", 40000).hex().encode() + b"}",
        "README.md": b"# not wanted\n",
        "photo.png": blob("png", 500),
        "pytorch_model.bin": blob("bin", 700),
        "model-q4.gguf": blob("gguf", 700),
        "original/consolidated.safetensors": blob("orig", 900),
    }


def repositories():
    tiny = {**small_files(), "model.safetensors": blob("tiny", 3 * 1024 * 1024 + 12345)}
    index = {"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    shards = {
        **small_files(quantization={"bits": 4, "group_size": 64}),
        "model.safetensors.index.json": json.dumps(index).encode(),
        "model-00001-of-00002.safetensors": blob("s1", 300000),
        "model-00002-of-00002.safetensors": blob("s2", 200000),
        "extra.safetensors": blob("s3", 100000),
    }
    return {
        "test-org/Tiny-VL": {COMMIT: tiny, COMMIT_V1: {**tiny, "config.json": config(version=1)}},
        "test-org/Sharded-VL-4bit": {COMMIT: shards},
        "test-org/private": {COMMIT: tiny},
        "test-org/gated": {COMMIT: tiny},
        "test-org/llama": {COMMIT: {**small_files("llama"), "model.safetensors": blob("llama", 5000)}},
        "test-org/gguf": {COMMIT: {"config.json": config(), "model.gguf": blob("g", 5000)}},
        "test-org/lost-shard": {COMMIT: {k: v for k, v in shards.items() if not k.startswith("model-00002")}},
    }


REVISIONS = {"main": COMMIT, "v1": COMMIT_V1, "refs/pr/1": COMMIT_V1, COMMIT: COMMIT, COMMIT_V1: COMMIT_V1}


def is_large(path, data):
    return path.endswith((".safetensors", ".bin", ".gguf")) or len(data) > 50000


def git_id(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class State:
    def __init__(self):
        self.lock = threading.Lock()
        self.repos = repositories()
        self.by_sha = {hashlib.sha256(d).hexdigest(): d for r in self.repos.values() for c in r.values() for d in c.values()}
        self.reset({})

    def reset(self, settings):
        with self.lock:
            self.faults = dict(FAULTS)
            for key, value in settings.items():
                self.faults[key] = type(FAULTS[key])(value)
            self.listing = None
            self.stats = {"requests": 0, "body_bytes": 0, "hub_auth": 0, "cdn_auth": 0, "ranges": 0, "fetches": {}}

    def count(self, **more):
        with self.lock:
            for key, n in more.items():
                self.stats[key] += n

    def take(self, key, path):
        """True while the fault `key` concerns this path and has times left."""
        with self.lock:
            if self.faults["file"] not in path or self.faults[key] <= 0:
                return False
            self.faults[key] -= 1
            return True


STATE = State()


class Cut(Exception):
    pass


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    # --- plumbing ---

    def fault(self, key, path=""):
        with STATE.lock:
            return STATE.faults[key] if STATE.faults["file"] in path else FAULTS[key]

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code, message):
        self.answer(status, json.dumps({"error": message}).encode(), X_Error_Code=code, X_Error_Message=message)

    def hang_up(self):
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        raise Cut

    def handle(self):
        try:
            super().handle()
        except (Cut, ConnectionError, ssl.SSLError, ValueError):
            pass

    def do_HEAD(self):
        self.route()

    def do_GET(self):
        self.route()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with STATE.lock:
            STATE.listing = body
        self.answer(200)

    def is_cdn(self):
        return self.server.role == "cdn"

    def route(self):
        url = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(url.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if path == "/_set":
            STATE.reset(query)
            return self.answer(200)
        if path == "/_stats":
            with STATE.lock:
                return self.answer(200, json.dumps(STATE.stats).encode())
        has_token = int("Authorization" in self.headers)
        STATE.count(requests=1, **{"cdn_auth" if self.is_cdn() else "hub_auth": has_token})
        if self.is_cdn():
            return self.storage(path, query)
        match = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(revision|tree)/(.+)", path)
        if match:
            return self.api(match[1], match[2], match[3], query)
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if match:
            return self.resolve(match[1], match[2], match[3], "direct" in query)
        return self.refuse(404, "EntryNotFound", "no such page")

    # --- the hub ---

    def may_not(self, repo):
        token = self.headers.get("Authorization", "")
        if repo not in STATE.repos or (repo == "test-org/private" and token != "Bearer " + GOOD_TOKEN):
            self.refuse(401, "RepoNotFound", "Repository not found")
            return True
        return False

    def injected_status(self, path, wanted):
        """Answers with the status asked for, if the present request is of the kind `wanted`."""
        kind = "status_api" if self.fault("status_api") else "status_cdn" if self.fault("status_cdn") else "file"
        if kind != wanted or not self.fault("status", path) or not STATE.take("status_times", path):
            return False
        wait = self.fault("retry_after", path)
        self.answer(self.fault("status", path), b"injected", **({"Retry_After": wait} if wait else {}))
        return True

    def api(self, repo, what, revision, query):
        if self.injected_status("", "status_api"):
            return None
        if self.may_not(repo):
            return None
        # list_repo_tree of the real client asks /tree/REVISION, perhaps with a folder after it
        revision = revision.rstrip("/")
        commit = REVISIONS.get(revision)
        if commit is None or commit not in STATE.repos[repo]:
            return self.refuse(404, "RevisionNotFound", "Invalid rev id: " + revision)
        files = STATE.repos[repo][commit]
        if what == "revision":
            siblings = [{"rfilename": name} for name in files]
            info = {"id": repo, "modelId": repo, "sha": commit, "private": False, "tags": [], "siblings": siblings}
            return self.answer(200, json.dumps(info).encode(), Content_Type="application/json")
        return self.tree(repo, commit, files, query)

    def tree(self, repo, commit, files, query):
        if STATE.listing is not None:
            return self.answer(200, STATE.listing, Content_Type="application/json")
        recursive = query.get("recursive", "").lower() in ("1", "true")
        entries = []
        for name, data in files.items():
            if "/" in name and not recursive:
                continue
            size = len(data) + self.fault("size_delta", name)
            entry = {"type": "file", "oid": git_id(data), "size": size, "path": name}
            if is_large(name, data):
                entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": size, "pointerSize": 130}
                entry["oid"] = hashlib.sha1(name.encode()).hexdigest()  # the pointer's, of no use to anybody
            entries.append(entry)
        entries.append({"type": "directory", "oid": git_id(b""), "size": 0, "path": "original"})
        page, start = self.fault("page"), int(query.get("cursor", "0"))
        headers = {}
        if page and start + page < len(entries):
            again = urllib.parse.urlencode({**query, "cursor": start + page})
            host = self.headers["Host"]
            headers["Link"] = f'<http://{host}/api/models/{repo}/tree/{commit}?{again}>; rel="next"'
        if page:
            entries = entries[start : start + page]
        return self.answer(200, json.dumps(entries).encode(), Content_Type="application/json", **headers)

    def resolve(self, repo, revision, name, direct):
        if self.may_not(repo):
            return None
        if repo == "test-org/gated":
            return self.refuse(403, "GatedRepo", "Access to model test-org/gated is restricted")
        commit = REVISIONS.get(revision)
        if commit is None:
            return self.refuse(404, "RevisionNotFound", "Invalid rev id: " + revision)
        data = STATE.repos[repo].get(commit, {}).get(name)
        if data is None:
            return self.refuse(404, "EntryNotFound", "Entry not found")
        if self.command == "GET" and self.injected_status(name, "file"):
            return None
        if self.fault("loop", name):
            return self.answer(302, Location=self.path)
        headers = {"X_Repo_Commit": commit, "Accept_Ranges": "bytes"}
        if is_large(name, data):
            sha = hashlib.sha256(data).hexdigest()
            headers |= {"X_Linked_Etag": f'"{sha}"', "X_Linked_Size": str(len(data)), "ETag": f'"{git_id(data)}"'}
            to = self.fault("location", name) or f"http://127.0.0.1:{self.server.cdn_port}/{sha}?name={name}&Signature=x"
            return self.answer(302, Location=to, **headers)
        headers["ETag"] = f'"{git_id(data)}"'
        if name == "tokenizer_config.json" and not direct:  # small files come from a cache on the same host
            return self.answer(307, Location=self.path + "?direct=1", **headers)
        return self.send_file(name, data, headers)

    # --- the storage host ---

    def storage(self, path, query):
        data = STATE.by_sha.get(path.lstrip("/"))
        if data is None or query.get("Signature") != "x":
            return self.answer(403, b"<Error>bad signature</Error>")
        name = query.get("name", "")
        if self.injected_status(name, "status_cdn"):
            return None
        return self.send_file(name, data, {"ETag": '"storage-tag"', "Accept_Ranges": "bytes"})

    def send_file(self, name, data, headers):
        if self.fault("gate_page", name):
            return self.answer(200, b"<html>Please accept our terms</html>", Content_Type="text/html")
        if STATE.take("corrupt_times", name):
            middle = len(data) // 2
            data = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        start, status = 0, 200
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if match:
            STATE.count(ranges=1)
        if match and not self.fault("ignore_range", name):
            status, start = 206, 0 if self.fault("wrong_range", name) else int(match[1])
            if start >= len(data):
                return self.answer(416, Content_Range=f"bytes */{len(data)}")
        body, stated = data[start:], len(data) + self.fault("other_size", name)
        if status == 206:
            headers["Content_Range"] = f"bytes {start}-{stated - 1}/{stated}"
        if self.command == "HEAD":
            self.send_response(200)
            for key, value in headers.items():
                self.send_header(key.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(data)))
            return self.end_headers()
        with STATE.lock:
            STATE.stats["fetches"][name] = STATE.stats["fetches"].get(name, 0) + 1
        return self.send_body(name, status, body, headers, stated - start)

    def send_body(self, name, status, body, headers, stated):
        extra, short = self.fault("extra", name), self.fault("short", name)
        body = body + b"x" * extra if extra else body[: len(body) - short]
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        if extra:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(stated - short))
        self.end_headers()
        if extra:
            self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
            return
        self.send_bytes(name, body)

    def send_bytes(self, name, body):
        stop = len(body) + 1
        if self.fault("cut_times", name) and STATE.take("cut_times", name):
            cut = self.fault("cut", name)
            stop = random.randrange(len(body)) if cut < 0 else cut
        stalls = STATE.take("stall_times", name)
        rate, sent, began = self.fault("rate", name), 0, time.monotonic()
        while sent < len(body):
            if sent >= stop:
                self.hang_up()
            if stalls and sent >= self.fault("stall", name):
                piece = 1
                time.sleep(0.3)
            else:
                piece = min(16384, len(body) - sent, stop - sent)
            self.wfile.write(body[sent : sent + piece])
            STATE.count(body_bytes=piece)
            sent += piece
            if rate:
                time.sleep(max(0.0, began + sent / rate - time.monotonic()))
        if sent >= stop:
            self.hang_up()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, role):
        super().__init__(("127.0.0.1", 0), Handler)
        self.role, self.cdn_port = role, 0

    def handle_error(self, request, client_address):
        pass


def main():
    hub, cdn = Server("hub"), Server("cdn")
    hub.cdn_port = cdn.server_address[1]
    if len(sys.argv) == 3:  # CERTIFICATE KEY: the hub speaks TLS
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1], sys.argv[2])
        hub.socket = context.wrap_socket(hub.socket, server_side=True)
    for server in (hub, cdn):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print(hub.server_address[1], hub.cdn_port, flush=True)
    sys.stdin.read()  # until the test that started us is gone


if __name__ == "__main__":
    main()
