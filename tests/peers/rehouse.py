#!/usr/bin/env python3
"""Gives the model in the box Qwen3-VL's own token numbers, which Ollama has built in: rehouse.py MODEL OUT

The special tokens move to 151643 and up, the table of embeddings grows to 151,936 rows, of which those between are zero and
stand for fillers that no text has. Every text keeps its other tokens, and every answer its words. Python 3 standard library.
"""
import json
import pathlib
import struct
import sys

FIRST, ROWS = 151643, 151936
EMBEDDING = "model.language_model.embed_tokens.weight"


def shifted(value, first):
    """A configuration with its special tokens' numbers moved."""
    if isinstance(value, dict):
        return {key: item + FIRST - first if key.endswith("token_id") and isinstance(item, int) and item >= first else
                [n + FIRST - first if n >= first else n for n in item] if key.endswith("token_id") and isinstance(item, list) else
                ROWS if key == "vocab_size" else shifted(item, first) for key, item in value.items()}
    return value


def grown(data, first):
    """A safetensors file with the larger table: the rows from `first` on move, what is between is zero."""
    size, = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8:8 + size]), data[8 + size:]
    tensor = header[EMBEDDING]
    begin, end = tensor["data_offsets"]
    rows, width = tensor["shape"]
    line = (end - begin) // rows
    table = body[begin:end]
    more = table[:first * line] + bytes((FIRST - first) * line) + table[first * line:] + bytes((ROWS - rows - FIRST + first) * line)
    for name, other in header.items():
        if name != "__metadata__":
            other["data_offsets"] = [at + len(more) - len(table) if at >= end else at for at in other["data_offsets"]]
    tensor.update(shape=[ROWS, width], data_offsets=[begin, begin + len(more)])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body[:begin] + more + body[end:]


def main():
    model, out = map(pathlib.Path, sys.argv[1:3])
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
    first = min(token["id"] for token in tokenizer["added_tokens"])
    if first >= FIRST:
        sys.exit(f"rehouse.py: {model} has Qwen's numbers already")
    for token in tokenizer["added_tokens"]:
        token["id"] += FIRST - first
    tokenizer["model"]["vocab"].update((f"~{number}", number) for number in range(first, FIRST))
    for path in model.glob("*.json"):
        value = json.loads(path.read_text(encoding="utf-8"))
        if path.name == "tokenizer.json":
            value = tokenizer
        elif path.name == "tokenizer_config.json":
            value["added_tokens_decoder"] = {str(int(key) + FIRST - first): token
                                             for key, token in value["added_tokens_decoder"].items()}
        else:
            value = shifted(value, first)
        (out / path.name).write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    (out / "model.safetensors").write_bytes(grown((model / "model.safetensors").read_bytes(), first))


if __name__ == "__main__":
    main()
