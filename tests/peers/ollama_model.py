#!/usr/bin/env python3
"""A Qwen3-VL checkpoint of any size as the one file that Ollama runs: ollama_model.py MODEL OUT.gguf

Ollama's own converter leaves out the table of positions' size and the rotary sections, and its runner then takes Qwen3-VL's; a
GGUF file may name them, and does here. Three token numbers are built into the runner (of <|vision_start|>, <|vision_end|> and
<|image_pad|>): where a small model has others, those three move, and what the table of embeddings grows by is as unlikely to
be said as <|image_pad|> is. The weights are those of the checkpoint, in 16-bit floats. Python 3 standard library only.
"""
import array
import json
import pathlib
import struct
import sys

BUILT_IN = {"<|vision_start|>": 151652, "<|vision_end|>": 151653, "<|image_pad|>": 151655}
TEXT, VISION = "model.language_model.", "model.visual."
NAMES = {"embed_tokens": "token_embd", "norm": "output_norm", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
         "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down", "patch_embed.proj": "patch_embed", "attn.qkv": "attn_qkv", "attn.proj": "attn_out"}
UINT32, INT32, FLOAT32, STRING, ARRAY = 4, 5, 6, 8, 9
F32, F16, ALIGNMENT = 0, 1, 32


class Keys(dict):
    """What the file says of the model, each with the type that Ollama looks for."""

    def put(self, key, kind, value):
        self[key] = (kind, value)


def packed(kind, value):
    if kind == STRING:
        text = value.encode("utf-8")
        return struct.pack("<Q", len(text)) + text
    return struct.pack({UINT32: "<I", INT32: "<i", FLOAT32: "<f"}[kind], value)


def header_of(keys, tensors):
    out = [struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(keys))]
    for key, (kind, value) in keys.items():
        out.append(packed(STRING, key))
        if isinstance(value, list):
            out.append(struct.pack("<IIQ", ARRAY, kind, len(value)))
            out += [packed(kind, item) for item in value]
        else:
            out += [struct.pack("<I", kind), packed(kind, value)]
    at = 0
    for name, shape, kind, data in tensors:
        out += [packed(STRING, name), struct.pack("<I", len(shape)), struct.pack(f"<{len(shape)}Q", *reversed(shape)),
                struct.pack("<IQ", kind, at)]
        at += len(data) + -len(data) % ALIGNMENT
    head = b"".join(out)
    return head + bytes(-len(head) % ALIGNMENT)


def floats_of(data):
    """bfloat16 as numbers."""
    wide = bytearray(2 * len(data))
    wide[2::4], wide[3::4] = data[0::2], data[1::2]
    return array.array("f", bytes(wide))


def half(numbers):
    return struct.pack(f"<{len(numbers)}e", *numbers)


def name_of(name):
    """What Ollama calls a tensor: blk.N.attn_q.weight, v.blk.N.attn_qkv.weight, v.deepstack_merger.N.norm.weight."""
    vision = name.startswith(VISION)
    body, _, last = name[len(VISION if vision else TEXT):].rpartition(".")
    parts = body.split(".")
    block = ""
    if parts[0] in ("layers", "blocks", "deepstack_merger_list"):
        block = ("deepstack_merger." if parts[0] == "deepstack_merger_list" else "blk.") + parts[1] + "."
        parts = parts[2:]
    inner = ".".join(parts)
    if not (vision and inner == "norm"):
        inner = NAMES.get(inner, inner)
    return ("v." if vision else "") + block + inner + "." + last


def tensors_of(path, rows, moved):
    """(name, shape, kind, bytes) of each; `rows`: of the embeddings then, `moved`: which of the old ones go where."""
    file = path.read_bytes()
    size, = struct.unpack("<Q", file[:8])
    body, out = memoryview(file)[8 + size:], []
    for name, tensor in json.loads(file[8:8 + size]).items():
        if name == "__metadata__":
            continue
        if not name.startswith((TEXT, VISION)):
            sys.exit(f"ollama_model.py: {name}: only a head that is tied to the embeddings is known here")
        if tensor["dtype"] != "BF16":
            sys.exit(f"ollama_model.py: {name} is {tensor['dtype']}, not BF16")
        numbers, shape, ours = floats_of(bytes(body[slice(*tensor["data_offsets"])])), tensor["shape"], name_of(name)
        if len(shape) == 1 or ours.endswith(".bias"):
            kind, data = F32, numbers.tobytes()
        else:
            kind, data = F16, half(numbers)
        if ours == "token_embd.weight" and moved:
            line = 2 * shape[1]
            lines = [data[i * line:(i + 1) * line] for i in range(shape[0])]
            unsaid = lines[moved["<|image_pad|>"]]
            lines += [unsaid] * (rows - len(lines))
            for word, old in moved.items():
                lines[BUILT_IN[word]], lines[old] = lines[old], unsaid
            shape, data = [rows, shape[1]], b"".join(lines)
        if "attn_qkv" in ours:
            third = len(data) // 3
            out += [(ours.replace("qkv", letter), [shape[0] // 3, *shape[1:]], kind, data[i * third:(i + 1) * third])
                    for i, letter in enumerate("qkv")]
        elif ours == "v.patch_embed.weight":
            out.append((ours, [shape[0] * shape[1], *shape[2:]], kind, data))
        else:
            out.append((ours, shape, kind, data))
    return out


def keys_of(model, tokens, types, merges):
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    images = json.loads((model / "preprocessor_config.json").read_text(encoding="utf-8"))
    text, vision, keys = config["text_config"], config["vision_config"], Keys()
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    keys.put("general.architecture", STRING, "qwen3vl")
    keys.put("general.file_type", UINT32, F16)
    for key, value in {
        "block_count": text["num_hidden_layers"], "context_length": text["max_position_embeddings"],
        "embedding_length": text["hidden_size"], "feed_forward_length": text["intermediate_size"],
        "attention.head_count": text["num_attention_heads"], "attention.head_count_kv": text["num_key_value_heads"],
        "attention.key_length": text["head_dim"], "attention.value_length": text["head_dim"],
        "vision.block_count": vision["depth"], "vision.embedding_length": vision["hidden_size"],
        "vision.attention.head_count": vision["num_heads"], "vision.num_channels": vision["in_channels"],
        "vision.patch_size": vision["patch_size"], "vision.spatial_merge_size": vision["spatial_merge_size"],
        "vision.temporal_patch_size": vision["temporal_patch_size"],
        "vision.num_positional_embeddings": vision["num_position_embeddings"],
        "vision.shortest_edge": images["size"]["shortest_edge"], "vision.longest_edge": images["size"]["longest_edge"],
    }.items():  # fmt: skip
        keys.put("qwen3vl." + key, UINT32, value)
    keys.put("qwen3vl.attention.layer_norm_rms_epsilon", FLOAT32, text["rms_norm_eps"])
    keys.put("qwen3vl.rope.freq_base", FLOAT32, float(text.get("rope_theta") or rope["rope_theta"]))
    keys.put("qwen3vl.mrope_sections", INT32, rope["mrope_section"])
    keys.put("qwen3vl.vision.deepstack_visual_indexes", INT32, vision["deepstack_visual_indexes"])
    keys.put("qwen3vl.vision.image_mean", FLOAT32, images["image_mean"])
    keys.put("qwen3vl.vision.image_std", FLOAT32, images["image_std"])
    keys.put("tokenizer.ggml.model", STRING, "gpt2")
    keys.put("tokenizer.ggml.pre", STRING, "qwen2")
    keys.put("tokenizer.ggml.tokens", STRING, tokens)
    keys.put("tokenizer.ggml.token_type", INT32, types)
    keys.put("tokenizer.ggml.merges", STRING, merges)
    keys.put("tokenizer.ggml.bos_token_id", UINT32, tokens.index("<|endoftext|>"))
    keys.put("tokenizer.ggml.eos_token_id", UINT32, tokens.index("<|im_end|>"))
    keys.put("tokenizer.ggml.eos_token_ids", INT32, [tokens.index("<|im_end|>"), tokens.index("<|endoftext|>")])
    return keys


def main():
    model, out = map(pathlib.Path, sys.argv[1:3])
    normal, control, unused = 1, 3, 5
    tokenizer = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
    numbers = dict(tokenizer["model"]["vocab"])
    numbers.update((token["content"], token["id"]) for token in tokenizer["added_tokens"])
    special = {token["content"] for token in tokenizer["added_tokens"]}
    moved = {word: numbers[word] for word, number in BUILT_IN.items() if numbers[word] != number}
    numbers.update((word, BUILT_IN[word]) for word in moved)
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    rows = max(config["text_config"]["vocab_size"], max(BUILT_IN.values()) + 1)
    words = {number: word for word, number in numbers.items()}
    tokens = [words.get(number, f"[filler {number}]") for number in range(rows)]
    types = [unused if number not in words else control if words[number] in special else normal for number in range(rows)]
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in tokenizer["model"]["merges"]]
    tensors = tensors_of(model / "model.safetensors", rows, moved)
    with open(out, "wb") as file:
        file.write(header_of(keys_of(model, tokens, types, merges), tensors))
        for _, _, _, data in tensors:
            file.write(data + bytes(-len(data) % ALIGNMENT))


if __name__ == "__main__":
    main()
