#!/usr/bin/env python3
"""Writes a Qwen3-VL model directory with random weights: what a published one looks like, down to names and sizes.

    tools/make_random_checkpoint.py OUT_DIR [--size 2b|4b|8b|reduced|small|tiny] [--seed N] [--tied | --untied]
                                    [--quant-bits 4|5|6|8 [--quant-group 32|64|128]] [--float32]

The weights mean nothing; they are small enough that activations stay finite, so that loading, memory and speed can be
measured without the real model. The same arguments give the same bytes. Python 3 standard library only.

Numbers come from one random block that is read again and again from a new place: drawing four billion of them one by
one would take an hour. The block's length is a prime, so that rows do not repeat in step.
"""

import argparse
import array
import json
import os
import random
import struct
import sys

BLOCK, TINY_BLOCK = 1000003, 10007  # numbers; primes
ALIGN = 8

SIZES = {
    # text: hidden, layers, heads, kv heads, head dim, feed-forward; vision: hidden, depth, heads, feed-forward, taps
    "2b": dict(text=(2048, 28, 16, 8, 128, 6144), vision=(1024, 24, 16, 4096, [5, 11, 17]), tied=True),
    "4b": dict(text=(2560, 36, 32, 8, 128, 9728), vision=(1024, 24, 16, 4096, [5, 11, 17]), tied=True),
    "8b": dict(text=(4096, 36, 32, 8, 128, 12288), vision=(1152, 27, 16, 4304, [8, 16, 24]), tied=False),
    "reduced": dict(text=(256, 6, 8, 4, 32, 768), vision=(192, 6, 6, 768, [1, 3]), tied=True),
    "small": dict(text=(512, 4, 4, 2, 128, 1024), vision=(256, 6, 4, 512, [1, 2, 3]), tied=True),  # whole vocabulary
    "tiny": dict(text=(128, 4, 4, 2, 32, 256), vision=(64, 4, 2, 128, [1, 2]), tied=True),
}

SPECIALS = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
    "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
]  # fmt: skip
FIRST_SPECIAL = 151643  # as published; a tiny model has them right after its 256 bytes

# The published split: contractions, words, single digits, punctuation, line ends, other white-space.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def config_json(args):
    size = SIZES[args.size]
    hidden, layers, heads, kv_heads, head_dim, feed = size["text"]
    v_hidden, v_depth, v_heads, v_feed, taps = size["vision"]
    half = head_dim // 2
    side = half * 5 // 16
    first = 256 if args.size in ("tiny", "reduced") else FIRST_SPECIAL
    special = {name: first + i for i, name in enumerate(SPECIALS)}
    config = {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "image_token_id": special["<|image_pad|>"],
        "model_type": "qwen3_vl",
        "text_config": {
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": special["<|endoftext|>"],
            "dtype": "float32" if args.float32 else "bfloat16",
            "eos_token_id": special["<|im_end|>"],
            "head_dim": head_dim,
            "hidden_act": "silu",
            "hidden_size": hidden,
            "initializer_range": 0.02,
            "intermediate_size": feed,
            "max_position_embeddings": 262144,
            "model_type": "qwen3_vl_text",
            "num_attention_heads": heads,
            "num_hidden_layers": layers,
            "num_key_value_heads": kv_heads,
            "rms_norm_eps": 1e-06,
            "rope_scaling": {
                "mrope_interleaved": True,
                "mrope_section": [half - 2 * side, side, side],
                "rope_type": "default",
            },
            "rope_theta": 5000000,
            "tie_word_embeddings": args.tied,
            "use_cache": True,
            "vocab_size": 288 if args.size in ("tiny", "reduced") else 151936,
        },
        "tie_word_embeddings": args.tied,
        "transformers_version": "4.57.0.dev0",
        "video_token_id": special["<|video_pad|>"],
        "vision_config": {
            "deepstack_visual_indexes": taps,
            "depth": v_depth,
            "hidden_act": "gelu_pytorch_tanh",
            "hidden_size": v_hidden,
            "in_channels": 3,
            "initializer_range": 0.02,
            "intermediate_size": v_feed,
            "model_type": "qwen3_vl",
            "num_heads": v_heads,
            "num_position_embeddings": 2304,
            "out_hidden_size": hidden,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
        "vision_end_token_id": special["<|vision_end|>"],
        "vision_start_token_id": special["<|vision_start|>"],
    }
    if args.quant_bits:
        quant = {"group_size": args.quant_group, "bits": args.quant_bits, "mode": "affine"}
        config["quantization"] = quant
        config["quantization_config"] = dict(quant)
    return config, special


def tensors(config, mlx):
    """(name, shape, kind) of every tensor; kind is weight (a matrix of the text, maybe quantised), plain, gain or bias."""
    text, vision = config["text_config"], config["vision_config"]
    text_prefix = "language_model.model." if mlx else "model.language_model."
    visual = "vision_tower." if mlx else "model.visual."
    hidden, feed, vocab = text["hidden_size"], text["intermediate_size"], text["vocab_size"]
    q = text["num_attention_heads"] * text["head_dim"]
    kv = text["num_key_value_heads"] * text["head_dim"]
    if not config["tie_word_embeddings"]:
        yield ("language_model.lm_head.weight" if mlx else "lm_head.weight"), [vocab, hidden], "weight"
    yield text_prefix + "embed_tokens.weight", [vocab, hidden], "weight"
    for i in range(text["num_hidden_layers"]):
        p = f"{text_prefix}layers.{i}."
        yield p + "input_layernorm.weight", [hidden], "gain"
        yield p + "mlp.down_proj.weight", [hidden, feed], "weight"
        yield p + "mlp.gate_proj.weight", [feed, hidden], "weight"
        yield p + "mlp.up_proj.weight", [feed, hidden], "weight"
        yield p + "post_attention_layernorm.weight", [hidden], "gain"
        yield p + "self_attn.k_norm.weight", [text["head_dim"]], "gain"
        yield p + "self_attn.k_proj.weight", [kv, hidden], "weight"
        yield p + "self_attn.o_proj.weight", [hidden, q], "weight"
        yield p + "self_attn.q_norm.weight", [text["head_dim"]], "gain"
        yield p + "self_attn.q_proj.weight", [q, hidden], "weight"
        yield p + "self_attn.v_proj.weight", [kv, hidden], "weight"
    yield text_prefix + "norm.weight", [hidden], "gain"

    width, wide, patch = vision["hidden_size"], vision["intermediate_size"], vision["patch_size"]
    merged = width * vision["spatial_merge_size"] ** 2

    def linear(name, rows, cols):
        yield name + ".bias", [rows], "bias"
        yield name + ".weight", [rows, cols], "plain"

    def norm(name, n):
        yield name + ".bias", [n], "zero"
        yield name + ".weight", [n], "gain"

    for i in range(vision["depth"]):
        p = f"{visual}blocks.{i}."
        yield from linear(p + "attn.proj", width, width)
        yield from linear(p + "attn.qkv", 3 * width, width)
        yield from linear(p + "mlp.linear_fc1", wide, width)
        yield from linear(p + "mlp.linear_fc2", width, wide)
        yield from norm(p + "norm1", width)
        yield from norm(p + "norm2", width)
    mergers = [(f"{visual}deepstack_merger_list.{i}.", merged) for i in range(len(vision["deepstack_visual_indexes"]))]
    for p, normed in mergers + [(visual + "merger.", width)]:
        yield from linear(p + "linear_fc1", merged, merged)
        yield from linear(p + "linear_fc2", vision["out_hidden_size"], merged)
        yield from norm(p + "norm", normed)
    kernel = [vision["temporal_patch_size"], patch, patch]
    yield visual + "patch_embed.proj.bias", [width], "bias"
    yield visual + "patch_embed.proj.weight", [width] + (kernel + [3] if mlx else [3] + kernel), "plain"
    yield visual + "pos_embed.weight", [vision["num_position_embeddings"], width], "plain"


def stored(config, bits, group, number="BF16"):
    """(name, dtype, shape, kind) of every tensor as the file holds it."""
    for name, shape, kind in tensors(config, mlx=bool(bits)):
        if kind == "weight" and bits:
            base, (rows, cols) = name[: -len(".weight")], shape
            yield base + ".biases", "BF16", [rows, cols // group], "offsets"
            yield base + ".scales", "BF16", [rows, cols // group], "scales"
            yield name, "U32", [rows, cols * bits // 32], "bits"
        else:
            yield name, number, shape, kind


def float32(values):
    """float32 numbers, little-endian."""
    floats = array.array("f", values)
    if sys.byteorder == "big":
        floats.byteswap()
    return floats.tobytes()


def bf16(values):
    """Their upper halves."""
    raw = float32(values)
    out = bytearray(len(raw) // 2)
    out[0::2], out[1::2] = raw[2::4], raw[3::4]
    return bytes(out)


class Source:
    """Endless random numbers from one block, each tensor starting at another place of it."""

    def __init__(self, seed, bits, block, number="BF16"):
        self.pack, self.size = (bf16, 2) if number == "BF16" else (float32, 4)
        draw = random.Random(seed)
        self.draw = random.Random(seed + 1)
        self.normal = self.pack(draw.gauss(0.0, 0.02) for _ in range(block))
        self.words = draw.getrandbits(32 * block).to_bytes(4 * block, "little") if bits else b""
        self.block = block
        # A group's numbers are scale * q + bias with q uniform: a deviation of 0.02 and a mean of 0.
        self.top = (1 << bits) - 1 if bits else 1
        self.scale = 0.02 * 12**0.5 / self.top

    def write(self, file, kind, count):
        if kind in ("gain", "zero", "scales", "offsets"):
            value = {"gain": 1.0, "zero": 0.0, "scales": self.scale, "offsets": -self.scale * self.top / 2}[kind]
            file.write((bf16 if kind in ("scales", "offsets") else self.pack)([value]) * count)
            return
        block, item = (self.words, 4) if kind == "bits" else (self.normal, self.size)
        view, at, left = memoryview(block), self.draw.randrange(self.block) * item, count * item
        while left > 0:
            part = view[at : at + left]
            file.write(part)
            left -= len(part)
            at = 0


def write_weights(path, config, args):
    """One file, laid out as safetensors: header length, header, data."""
    plan, header, at = [], {"__metadata__": {"format": "mlx" if args.quant_bits else "pt"}}, 0
    number = "F32" if args.float32 else "BF16"
    for name, dtype, shape, kind in stored(config, args.quant_bits, args.quant_group, number):
        count = 1
        for n in shape:
            count *= n
        size = count * (2 if dtype == "BF16" else 4)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        plan.append((kind, count))
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGN)
    source = Source(args.seed, args.quant_bits, TINY_BLOCK if args.size == "tiny" else BLOCK, number)
    with open(path, "wb", buffering=1 << 20) as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for kind, count in plan:
            source.write(file, kind, count)
    return len(plan), at


def byte_symbols():
    """The 256 letters that stand for bytes, in the order of the published vocabulary: printable ones first."""
    kept = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in kept]
    return [chr(b) for b in kept] + [chr(256 + i) for i in range(len(rest))]


def tokenizer_json(special):
    added = [
        {"id": i, "content": name, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": True}
        for name, i in special.items()
    ]  # fmt: skip
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False},
                byte_level,
            ],
        },
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {symbol: i for i, symbol in enumerate(byte_symbols())},
            "merges": [],
        },
    }


def write_json(directory, name, value):
    with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, ensure_ascii=False)
        file.write("\n")


def parse(argv):
    parser = argparse.ArgumentParser(description="Write a Qwen3-VL model directory with random weights.")
    parser.add_argument("out", help="directory to make and fill")
    parser.add_argument("--size", choices=sorted(SIZES), default="2b")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tied", dest="tied", action="store_true", default=None, help="the head is the embedding")
    parser.add_argument("--untied", dest="tied", action="store_false", help="the head has its own weight")
    parser.add_argument("--quant-bits", type=int, choices=(4, 5, 6, 8), default=0, help="text packed as MLX packs it")
    parser.add_argument("--float32", action="store_true", help="numbers in float32, not bfloat16")
    parser.add_argument("--quant-group", type=int, choices=(32, 64, 128), default=64)
    args = parser.parse_args(argv)
    if args.tied is None:
        args.tied = SIZES[args.size]["tied"]
    return args


def main(argv):
    args = parse(argv)
    config, special = config_json(args)
    os.makedirs(args.out, exist_ok=True)
    write_json(args.out, "config.json", config)
    end = [special["<|im_end|>"], special["<|endoftext|>"]]
    write_json(args.out, "generation_config.json", {
        "bos_token_id": end[1], "pad_token_id": end[1], "do_sample": True, "eos_token_id": end, "top_k": 20,
        "top_p": 0.8, "repetition_penalty": 1.0, "temperature": 0.7, "transformers_version": "4.57.0.dev0",
    })  # fmt: skip
    write_json(args.out, "preprocessor_config.json", {
        "size": {"longest_edge": 16777216, "shortest_edge": 65536}, "patch_size": 16, "temporal_patch_size": 2,
        "merge_size": 2, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
        "processor_class": "Qwen3VLProcessor", "image_processor_type": "Qwen2VLImageProcessorFast",
    })  # fmt: skip
    write_json(args.out, "tokenizer.json", tokenizer_json(special))
    count, size = write_weights(os.path.join(args.out, "model.safetensors"), config, args)
    print(f"{args.out}: {count} tensors, {size / 1e9:.2f} GB")


if __name__ == "__main__":
    main(sys.argv[1:])
