#!/usr/bin/env python3
"""Answers frames with llama.cpp's server, and prints one line of JSON with what it took.

    llama_peer.py MODEL --engine LLAMA_SERVER --projector f16|bf16 --tokens N --threads N --batch N --prompt TEXT --warm FRAME
                  --log FILE FRAME...

MODEL is a directory of llama_convert.py. Exactly N tokens for each frame, greedily, `--batch` slots and requests at once.
Python 3 standard library only.
"""

import pathlib
import subprocess

import peer
import servers

CONTEXT = 2048  # tokens of a slot


def main():
    args = peer.parser(__doc__, "--engine", "--projector", "--log").parse_args()
    model, port = pathlib.Path(args.model), servers.free_port()
    url = f"http://127.0.0.1:{port}"
    told = subprocess.run([args.engine, "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    version = next(line for line in told.splitlines() if line.startswith("version:")).split(":", 1)[1].strip()

    def ask(frame, tokens, seed):
        picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + servers.base64_of(frame)}}
        content = [picture, {"type": "text", "text": args.prompt}]
        return servers.post(f"{url}/v1/chat/completions", {
            "messages": [{"role": "user", "content": content}], "max_tokens": tokens, "ignore_eos": True, "temperature": 0,
            "cache_prompt": False, "seed": seed})  # fmt: skip

    command = [args.engine, "-m", model / "text.gguf", "--mmproj", model / f"mmproj-{args.projector}.gguf",
               "--host", "127.0.0.1", "--port", port, "-t", args.threads, "-tb", args.threads, "-np", args.batch,
               "-c", args.batch * CONTEXT, "-b", 2048, "-ub", 1024, "-fa", "on", "--cache-ram", 0, "--chat-template", "chatml", "--jinja"]  # fmt: skip
    with servers.Server(command, f"{url}/health", args.log) as server:
        seconds, answers = servers.measure(args, ask)
        peak = server.peak_memory()
    peer.tell(args, "llama.cpp", version, f"Q4_K_M, projector {args.projector}", seconds,
              sum(answer["usage"]["completion_tokens"] for answer in answers), answers[0]["usage"]["prompt_tokens"],
              peak_memory=peak, phases={"prompt_ms": [round(answer["timings"]["prompt_ms"]) for answer in answers],
                                        "decode_ms": [round(answer["timings"]["predicted_ms"]) for answer in answers]})  # fmt: skip


if __name__ == "__main__":
    main()
