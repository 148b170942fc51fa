#!/usr/bin/env python3
"""Answers frames with Ollama, and prints one line of JSON with what it took.

    ollama_peer.py MODEL --engine OLLAMA --tokens N --threads N --batch N --prompt TEXT --warm FRAME --log FILE FRAME...
    ollama_peer.py --create DIRECTORY MODEL --engine OLLAMA --log FILE

MODEL is the folder in which Ollama keeps what it has; --create fills it from a directory of dress.py, 4-bit (Q4_K_M). `--batch`
requests at once (Ollama serves this architecture one by one). Sampled: it breaks off greedy answers that repeat a token 30
times, as random weights do, and it cannot be told to ignore an end of text. Python 3 standard library only.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

import peer
import servers

NAME = "peer"


def serve(args, at_once):
    port = servers.free_port()
    host = f"127.0.0.1:{port}"
    environment = {"OLLAMA_HOST": host, "OLLAMA_MODELS": str(pathlib.Path(args.model).resolve()),
                   "OLLAMA_NUM_PARALLEL": str(at_once),
                   "OLLAMA_KEEP_ALIVE": "60m", "OLLAMA_FLASH_ATTENTION": "1", "OLLAMA_NOPRUNE": "1"}  # fmt: skip
    server = servers.Server([args.engine, "serve"], f"http://{host}/api/version", args.log, environment)
    return server, f"http://{host}", environment


def create():
    parser = argparse.ArgumentParser()
    parser.add_argument("--create", required=True)
    parser.add_argument("model")
    parser.add_argument("--engine", required=True)
    parser.add_argument("--log", required=True)
    args = parser.parse_args()
    pathlib.Path(args.model).mkdir(parents=True, exist_ok=True)
    server, _, environment = serve(args, 1)
    with server, tempfile.NamedTemporaryFile("w", suffix=".Modelfile") as file:
        file.write(f"FROM {pathlib.Path(args.create).resolve()}\nRENDERER qwen3-vl-instruct\n")
        file.flush()
        subprocess.run([args.engine, "create", "-q", "q4_K_M", "-f", file.name, NAME], check=True,
                       env={**os.environ, **environment})


def main():
    if "--create" in sys.argv:
        create()
        return
    args = peer.parser(__doc__, "--engine", "--log").parse_args()
    server, url, _ = serve(args, args.batch)
    version = (pathlib.Path(args.engine).parent.parent / "version").read_text(encoding="utf-8").strip()

    def ask(frame, tokens, seed):
        return servers.post(f"{url}/api/chat", {
            "model": NAME, "stream": False, "think": False,
            "messages": [{"role": "user", "content": args.prompt, "images": [servers.base64_of(frame)]}],
            "options": {"num_predict": tokens, "num_thread": args.threads, "num_ctx": 2048, "temperature": 1.0, "top_k": 1000,
                        "top_p": 1.0, "repeat_penalty": 1.0, "seed": seed}})  # fmt: skip

    with server:
        seconds, answers = servers.measure(args, ask)
        peak = server.peak_memory()
    peer.tell(args, "Ollama", version, "q4_K_M, sampled", seconds, sum(answer["eval_count"] for answer in answers),
              answers[0]["prompt_eval_count"], peak_memory=peak,
              phases={"prompt_ms": [answer["prompt_eval_duration"] // 1000000 for answer in answers],
                      "decode_ms": [answer["eval_duration"] // 1000000 for answer in answers]})  # fmt: skip


if __name__ == "__main__":
    main()
