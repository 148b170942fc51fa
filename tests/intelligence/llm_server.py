#!/usr/bin/env python3
"""A server that speaks Ollama's and OpenAI's dialects and misbehaves on demand (Python 3 standard library only).

Prints its port and serves until its standard input ends, over TLS when told a certificate and its key. With --nursery it does not
serve itself: for each line it reads it forks a server, and prints that one's process and port. The first part of a path names the behaviour and keeps its own
counts for each dialect: http://127.0.0.1:PORT/cut/api/chat. A frame is known by the red of its first pixel, which the answer repeats:
"description: frame 7 | activity: coding | ...". GET /BEHAVIOUR/_stats/ollama tells what was seen.
"""
import base64
import collections
import http.server
import json
import os
import re
import signal
import socket
import ssl
import struct
import sys
import threading
import time
import zlib

STATS = collections.defaultdict(lambda: {"chats": 0, "probes": 0, "busy": 0, "meant": 0, "now": 0, "peak": 0, "frames": collections.Counter(), "keys": set(),
                                         "agents": set(), "last": {}})
LOCK = threading.Lock()
TURN = threading.Lock()
TURNS = collections.defaultdict(threading.Lock)


def red_of(data):
    """The first byte of the first pixel of a PNG, and its size."""
    png = base64.b64decode(data, validate=True)
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    at, packed = 8, b""
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at:at + 8])
        if kind == b"IDAT":
            packed += png[at + 8:at + 8 + size]
        at += size + 12
    return zlib.decompress(packed)[1], width, height


# How a model of Ollama's takes pictures between words, as /api/show tells.
PLACING = {"whole": {"modelfile": "# Modelfile\nFROM x\nRENDERER qwen3-vl-instruct\nPARSER y\n", "template": "{{ .Prompt }}"},
           "named": {"renderer": "qwen3-vl-thinking", "template": "{{ .Prompt }}"},
           "marks": {"modelfile": "FROM x\nSYSTEM no RENDERER here\n", "template": "{{ .Prompt }}"},
           "other": {"modelfile": "RENDERER gemma9", "template": "{{ .Prompt }}"}}


def pictures_of(body, ollama):
    found = []
    for message in body.get("messages", [body]):
        if ollama:
            found += message.get("images", [])
        elif isinstance(message["content"], list):
            for part in message["content"]:
                if part["type"] == "image_url":
                    head, data = part["image_url"]["url"].split(",", 1)
                    assert head == "data:image/png;base64", head
                    found.append(data)
    return [red_of(data) for data in found]


def record(red):
    return f"description: frame {red} | activity: coding | apps: [vim] | topics: [c]"


def answer_to(how, reds, schema, tries):
    """The text of an answer, and whether the token budget cut it."""
    if not reds:
        return "Paris is the capital, of course.", False
    if how == "void":
        return "", False
    if how == "loop" and not schema:  # what small models fall into
        return f"description: frame {reds[0]}" + f" and frame {reds[0]}" * 100, True
    if how == "looptopics":
        return record(reds[0]).rstrip("]") + ", c" * 200, True
    if how == "think":
        return f"<think>hm, description: no</think>```\n{record(reds[0])}\n```", False
    if how in ("prose", "stubborn", "noschema", "sickschema") and not (schema and how == "prose"):
        return f"I see an editor, picture {reds[0]}.", False
    if schema:
        return json.dumps({"description": f"frame {reds[0]}", "activity": "coding", "apps": ["vim"], "topics": []}), False
    if len(reds) == 1:
        return record(reds[0]), False
    lines = [f"Frame {i + 1}: {record(red)}" for i, red in enumerate(reds)]
    if how == "swap":
        lines.reverse()
    elif how == "drop":
        del lines[1]
    elif how == "short":
        return "\n".join(lines)[:-60], True
    elif how == "mute":
        return "There are several frames.", False
    return "\n".join(lines), False


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def send_whole(self, status, body, kind="application/json", **headers):
        data = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def piece(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def begin(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson" if self.ollama else "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def event(self, value):
        text = json.dumps(value)
        return (text + "\n" if self.ollama else f"data: {text}\n\n").encode()

    def said(self, text):
        return {"response": text} if self.generate else {"message": {"role": "assistant", "content": text}}

    def events(self, text, cut):
        """The answer in the dialect's pieces."""
        words = re.findall(r"\S+\s*|\s+", text)
        reason = "length" if cut else "stop"
        if self.ollama:
            out = [self.event({"model": "m", **self.said(w), "done": False}) for w in words]
            return out + [self.event({"model": "m", **self.said(""), "done": True,
                                      "done_reason": reason, "prompt_eval_count": 700, "eval_count": len(words),
                                      "prompt_eval_duration": 2000000, "eval_duration": 3000000})]
        out = [b": hello\r\n\r\n"]
        out += [self.event({"choices": [{"index": 0, "delta": {"content": w}, "finish_reason": None}]}) for w in words]
        out.append(self.event({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}))
        out.append(self.event({"choices": [], "usage": {"prompt_tokens": 700, "completion_tokens": len(words)}}))
        return out + [b"data: [DONE]\n\n"]

    def whole(self, text, cut):
        reason = "length" if cut else "stop"
        if self.ollama:
            return {**self.said(text), "done": True, "done_reason": reason,
                    "prompt_eval_count": 700, "eval_count": 9}
        return {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": reason}],
                "usage": {"prompt_tokens": 700, "completion_tokens": 9}}

    def hang_up(self, reset=False):
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.wfile.flush()
        self.connection.close() if reset else self.connection.shutdown(socket.SHUT_RDWR)

    def do_GET(self):
        how, _, path = self.path[1:].partition("/")
        if path.startswith("_stats/"):
            stats = STATS[how, path[7:]]
            with LOCK:
                self.send_whole(200, {k: sorted(v) if isinstance(v, set) else v for k, v in stats.items()})
        elif path == "api/tags":
            self.send_whole(200, {"models": [{"name": "blind:1b"}, {"name": "llava:7b"}, {"name": "qwen3-vl:2b"}]})
        elif path == "api/version":
            self.send_whole(200, {"version": "9.8.7"})
        elif path == "api/ps":
            self.send_whole(200, {"models": [{"name": "qwen3-vl:2b", "size": 2000000000, "size_vram": 500000000,
                                              "expires_at": "2026-01-31T12:00:00.123+01:00"}]})
        elif how.startswith("coma"):  # it took the connection, and that is all
            with LOCK:
                STATS[how, "openai"]["probes"] += 1
            time.sleep(60)
        elif path in ("models", "v1/models"):
            names = ["a", "b"] if how == "two" else ["only"]
            self.send_whole(200, {"object": "list", "data": [{"id": name} for name in names]})
        else:
            self.send_whole(404, "404 page not found", "text/plain")

    def show(self, how, body):
        model = body["model"]
        if model == "missing":
            return self.send_whole(404, {"error": f"model '{model}' not found"})
        can = ["completion"] if model == "blind:1b" else ["completion", "vision", "thinking"]
        return self.send_whole(200, {"details": {"family": "qwen3vl", "parameter_size": "2.1B", "quantization_level": "Q4_K_M"},
                                     "model_info": {"qwen3vl.context_length": 262144}, "capabilities": can,
                                     **PLACING.get(how, {})})

    def pull(self, how, body):
        """A model in two layers. cut: the connection breaks after the first; gone: there is none; stall: silence."""
        with LOCK:
            STATS[how, "ollama"]["chats"] += 1
            first = STATS[how, "ollama"]["chats"] == 1
            STATS[how, "ollama"]["last"] = {"body": body}
        self.begin()
        self.piece(self.event({"status": "pulling manifest"}))
        if how == "gone":
            self.piece(self.event({"error": "pull model manifest: file does not exist"}))
        for layer in ("1ff5b64b61b9", "a2f8") if how != "gone" else ():
            for done in range(0, 101, 25):
                self.piece(self.event({"status": "pulling " + layer, "digest": "sha256:" + layer, "total": 4000000000,
                                       "completed": done * 40000000}))
            if how == "cut" and first or how == "always":
                return self.hang_up()
            if how == "stall":
                time.sleep(60)
        if how != "gone":
            for words in ("verifying sha256 digest", "writing manifest", "success"):
                self.piece(self.event({"status": words}))
        self.wfile.write(b"0\r\n\r\n")

    def do_POST(self):
        how, _, path = self.path[1:].partition("/")
        self.ollama, self.generate = path.startswith("api/"), path == "api/generate"
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            body = json.loads(raw)
            if path == "api/show":
                return self.show(how, body)
            if path == "api/pull":
                return self.pull(how, body)
            seen = pictures_of(body, self.ollama)
        except Exception as fault:  # the client's fault: tell the test
            return self.send_whole(400, {"error": f"bad request: {fault!r}"})
        if path not in ("api/chat", "api/generate", "v1/chat/completions"):
            return self.send_whole(404, {"error": {"message": "no such path"}})
        reds = [red for red, _, _ in seen]
        stats = STATS[how, "ollama" if self.ollama else "openai"]
        with LOCK:
            stats["chats"] += 1
            stats["now"] += 1
            stats["peak"] = max(stats["peak"], stats["now"])
            stats["frames"].update(str(red) for red in reds)
            tries = max([stats["frames"][str(red)] for red in reds] or [stats["chats"]])
            if self.headers.get("Authorization"):
                stats["keys"].add(self.headers["Authorization"])
            stats["last"] = {"sizes": [list(s[1:]) for s in seen],
                             "body": {k: v for k, v in body.items() if k not in ("messages", "images", "prompt")},
                             "texts": [body["prompt"]] if self.generate else ["IMAGE" * len(m.get("images", [])) + m["content"] if isinstance(m["content"], str) else
                                       [p.get("text", "IMAGE") for p in m["content"]] for m in body["messages"]]}
            chats = stats["chats"]
        self.stats = stats
        try:
            self.chat(how, body, reds, tries, chats)
        except (BrokenPipeError, ConnectionResetError, OSError):
            self.close_connection = True
        finally:
            with LOCK:
                stats["now"] -= 1

    def chat(self, how, body, reds, tries, chats):
        schema = "format" in body or "response_format" in body
        text, cut = answer_to(how, reds, schema, tries)
        one = reds[0] if reds else -1
        fault = getattr(self, "on_" + how, None)
        if fault is not None and fault(one, tries, chats, schema):
            return
        if how.startswith("coma"):
            time.sleep(60)
            return self.hang_up()
        if how.startswith("away"):  # away4711: to another server of this machine
            return self.send_whole(307, "", Location=f"http://127.0.0.1:{how[4:]}/ok{self.path[1 + len(how):]}")
        if how == "serial":
            with TURN:
                time.sleep(0.03)
        elif how.startswith("batch"):
            time.sleep(0.06)
        elif how.startswith("pace"):  # pace40b: one after the other, 40 ms each
            pace = int(re.match(r"pace(\d+)", how).group(1)) / 1000
            with TURNS[how]:
                began = time.monotonic()
                time.sleep(pace)
                with LOCK:  # a busy machine wakes it late
                    self.stats["busy"] += time.monotonic() - began
                    self.stats["meant"] += pace
        pieces = self.events(text, cut)
        if how == "looped" and not schema:  # as Ollama does when one token comes again and again: an orderly end, and no word
            pieces = self.events(f"description: frame {one}" + " and" * 31, True)[:-1 if self.ollama else None]
        if how == "whole" or not body.get("stream"):
            return self.send_whole(200, self.whole(text, cut))
        self.begin()
        for i, data in enumerate(pieces):
            if how == "trickle" and i < 3:
                for byte in data:
                    self.piece(bytes([byte]))
            elif how.startswith(("cut", "reset", "stall")) and tries == 1 and i == len(pieces) // 2 and (one == 2 or how != "stall"):
                if how == "stall":
                    time.sleep(60)
                return self.hang_up(how == "reset")
            elif how == "noend" and tries == 1 and i >= len(pieces) - (1 if self.ollama else 3):
                break
            else:
                self.piece(data)
        self.wfile.write(b"0\r\n\r\n")
        if how == "close":
            self.hang_up()

    # Each gives True when it answered itself. `one` is the first frame, `tries` how often it was asked, from 1.
    def on_429(self, one, tries, chats, schema):
        if chats == 1:
            self.send_whole(429, {"error": {"message": "slow down"}}, Retry_After="1")
        return chats == 1

    def on_forever(self, one, tries, chats, schema):
        if one == 2:
            self.send_whole(429, {"error": "come back tomorrow"}, Retry_After="86400")
        return one == 2

    def on_500(self, one, tries, chats, schema):
        if tries == 1:
            self.send_whole(500, {"error": "the runner died"})
        return tries == 1

    def on_503(self, one, tries, chats, schema):
        if chats <= 3:
            self.send_whole(503, {"error": {"message": "Loading model"}})
        return chats <= 3

    def on_sick2(self, one, tries, chats, schema):
        if one == 2:
            self.send_whole(500, "<html>Internal Server Error</html>", "text/html")
        return one == 2

    def on_refuse2(self, one, tries, chats, schema):
        if one == 2:
            self.send_whole(400, {"error": {"message": "image\n\x1b[31mtoo large"}})
        return one == 2

    def on_dead(self, one, tries, chats, schema):
        self.send_whole(502, "bad gateway", "text/plain")
        return True

    def on_dozes(self, one, tries, chats, schema):
        if chats <= 4:
            self.send_whole(502, "bad gateway", "text/plain")
        return chats <= 4

    def on_dies(self, one, tries, chats, schema):
        if chats > 3:
            self.send_whole(502, "bad gateway", "text/plain")
        return chats > 3

    def on_html(self, one, tries, chats, schema):
        if one == 2:
            self.send_whole(200, "<!DOCTYPE html><html>hello</html>", "text/html")
        return one == 2

    def on_badjson(self, one, tries, chats, schema):
        if one == 2:
            self.send_whole(200, '{"message": {"content": "x"' if self.ollama else 'data: {"choices": [{\n\n')
        return one == 2

    def on_types(self, one, tries, chats, schema):
        values = [{"message": {"content": 7}, "done": False}, {"message": [], "done": False}, {"done": "yes"}, [], "x", 5]
        if not self.ollama:
            values = [{"choices": [{"delta": {"content": 7}}]}, {"choices": 5}, {"choices": [[]]}, {"object": "list"}, [],
                      {"choices": [{"delta": 5}]}]
        if one == 2:
            self.send_whole(200, self.event(values[tries % len(values)]))
        return one == 2

    def on_utf8(self, one, tries, chats, schema):
        if one == 2:
            self.send_whole(200, self.event(self.whole("@", False)).replace(b"@", b"\xff\xfe\x80"))
        return one == 2

    def on_inband(self, one, tries, chats, schema):
        if tries == 1:
            self.begin()
            self.piece(self.events("description: x", False)[1])
            self.piece(self.event({"error": "out of memory" if self.ollama else {"message": "out of memory"}}))
            self.wfile.write(b"0\r\n\r\n")
        return tries == 1

    def on_line(self, one, tries, chats, schema):
        """A line without end."""
        if one == 2:
            self.begin()
            self.piece(b"{" if self.ollama else b"data: {")
            for _ in range(64):
                self.piece(b" " * 65536)
            self.hang_up()
        return one == 2

    def on_endless(self, one, tries, chats, schema):
        """Good pieces without end."""
        if one == 2:
            self.begin()
            piece = self.events("x" * 60000, False)[0 if self.ollama else 1]
            while True:
                self.piece(piece)
        return False

    def on_silent(self, one, tries, chats, schema):
        if one == 2:
            time.sleep(60)
            self.hang_up()
        return one == 2

    def on_mum(self, one, tries, chats, schema):
        time.sleep(60)
        self.hang_up()
        return True

    def on_drip(self, one, tries, chats, schema):
        if one == 2:
            self.begin()
            for _ in range(100):
                self.piece(b"\n")
                time.sleep(0.1)
        return one == 2

    def on_noschema(self, one, tries, chats, schema):
        if schema:
            self.send_whole(400, {"error": {"message": "response_format is not supported"}})
        return schema

    def on_sickschema(self, one, tries, chats, schema):
        """What mlx_vlm.server does where there is no Metal: an answer in a given form breaks off with an error."""
        if schema:
            self.begin()
            self.piece(self.event({"error": "no back-end" if self.ollama else {"message": "no back-end"}}))
            self.wfile.write(b"0\r\n\r\n")
        return schema

    def on_redirect(self, one, tries, chats, schema):
        self.send_whole(302, "", Location=self.path)
        return True

    def on_key(self, one, tries, chats, schema):
        self.send_whole(401, {"error": {"message": "bad key: " + self.headers.get("Authorization", "none")}})
        return True

    def on_gone(self, one, tries, chats, schema):
        self.send_whole(404, {"error": {"message": "model not found"}})
        return True


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass


def serve(before, certificate=None):
    server = Server(("127.0.0.1", 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        # Each connection shakes hands in its own thread.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(before + str(server.server_address[1]), flush=True)


def nurse():
    """Forking takes a hundredth of what starting Python does."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    alive, _ours = os.pipe()  # ends when we do
    while sys.stdin.readline():
        if os.fork() == 0:
            os.close(_ours)
            serve("%d " % os.getpid())
            os.read(alive, 1)
            os._exit(0)


if __name__ == "__main__":
    if sys.argv[1:] == ["--nursery"]:
        nurse()
    else:
        serve("", sys.argv[1:3])
        sys.stdin.read()
    os._exit(0)
