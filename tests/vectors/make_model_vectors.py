#!/usr/bin/env python3
"""Makes the vectors that hold escriba's model against its authors' implementation.

Needs torch, torchvision, transformers, tokenizers, safetensors, numpy, pillow (and, for --mlx, a second Python with
mlx and mlx-vlm). Nobody who builds or tests escriba needs any of them: what this writes is committed.

  make_model_vectors.py --tiny                 tests/vectors/model/{sharded-bf16,single-f32}/ and their .safetensors, .json
  make_model_vectors.py --mlx --mlx-python P   tests/vectors/model/mlx-*/ and theirs; P is a Python that has mlx_vlm
  make_model_vectors.py --positions            tests/vectors/model/positions.safetensors
  make_model_vectors.py --box                  tests/vectors/model/box.{safetensors,json}, for models/escriba-tiny

A directory NAME/ is a checkpoint as published. NAME.json says what is asked of it (pictures, conversations, greedy text),
NAME.safetensors what the reference computes, float32 throughout, whole numbers as uint32:

  picture.P.grid [2]                  patches: rows, columns
  picture.P.rows, .token_rows         which rows of the stages below are kept (every 4th or 7th and the last)
  picture.P.pixels [rows, dim]        what the processor hands to the tower
  picture.P.patch_embed, .embed, .block.N  [rows, hidden];  .deepstack.N, .merger [token_rows, out]
  prompt.K.ids, .positions [n, 3], .next [1], .rows, .top1 [n], .greedy [tokens]
  prompt.K.embed, .layer.N, .norm [rows, hidden], .logits [rows, vocab]

Weights are drawn so that every term matters (gains and biases far from 1 and 0) and the seed is one whose greedy path
never comes near a tie: the best logit leads the second by more than GAP everywhere, hundreds of times what a different
order of summation can change.
"""
import argparse
import hashlib
import json
import math
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OUT = HERE / "model"
GAP = 2e-3
BOX_GAP = 1e-3         # in the greedy answers of the model in the box
BOX_PROMPT_GAP = 2e-4  # within its prompts, most of whose logits mean nothing; tens of times what summation changes
TOKENS = 128
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
           "<|image_pad|>", "<|video_pad|>"]
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
         r"|\s+(?!\S)|\s+")
CORPUS = """description: an editor with C code | activity: coding | apps: [editor] | topics: [compute, kernels]
description: a terminal where tests run | activity: debugging | apps: [terminal] | topics: [tests]
system user assistant\n\nFrame 1:\nFrame 2:\nWhat is on the screen? Which app is in front? Describe this frame.
The person reads the documentation of a library in the browser, then writes code, then looks at the terminal.
""" * 4


# --- what the two random checkpoints are: no number of one appears in the other where it could hide a mistake ---

def as_c_text(text):
    """What escriba makes of it: a NUL cannot stand in a C string."""
    return text.replace("\0", "\ufffd")


def tiny_specs():
    a = dict(name="sharded-bf16", dtype="bfloat16", shards="180KB", tokens=320, published=True,
             text=dict(vocab_size=320, hidden_size=64, intermediate_size=80, num_hidden_layers=4, num_attention_heads=6,
                       num_key_value_heads=2, head_dim=24, rms_norm_eps=1e-6, max_position_embeddings=4096,
                       attention_bias=False),
             theta=5000000, sections=[6, 2, 4], tied=True,
             vision=dict(depth=4, hidden_size=24, num_heads=2, intermediate_size=56, patch_size=8,
                         temporal_patch_size=2, spatial_merge_size=2, out_hidden_size=64, num_position_embeddings=25,
                         deepstack_visual_indexes=[0, 2, 3], in_channels=3),
             processor=dict(size=dict(shortest_edge=256, longest_edge=16384), patch_size=8, temporal_patch_size=2,
                            merge_size=2, image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5],
                            image_processor_type="Qwen2VLImageProcessorFast", processor_class="Qwen3VLProcessor"),
             pictures=[(64, 32), (48, 80), (53, 37)])
    b = dict(name="single-f32", dtype="float32", shards="5GB", tokens=380, published=False,
             text=dict(vocab_size=389, hidden_size=40, intermediate_size=72, num_hidden_layers=3, num_attention_heads=5,
                       num_key_value_heads=1, head_dim=20, rms_norm_eps=1e-5, max_position_embeddings=2048,
                       attention_bias=True),
             theta=10000, sections=[5, 3, 2], tied=False,
             vision=dict(depth=5, hidden_size=12, num_heads=3, intermediate_size=100, patch_size=6,
                         temporal_patch_size=1, spatial_merge_size=3, out_hidden_size=40, num_position_embeddings=49,
                         deepstack_visual_indexes=[1, 4], in_channels=3),
             processor=dict(min_pixels=324, max_pixels=9000, patch_size=6, temporal_patch_size=1, merge_size=3,
                            image_mean=[0.48, 0.46, 0.41], image_std=[0.27, 0.26, 0.28],
                            image_processor_type="Qwen2VLImageProcessor"),
             pictures=[(54, 36), (36, 90), (100, 60)])
    return [a, b]


def mlx_spec():
    """Columns divide by 128 in the decoder; the tower has columns that divide by nothing, as real ones may."""
    return dict(name="mlx", dtype="bfloat16", shards="5GB", tokens=300, published=True,
                text=dict(vocab_size=304, hidden_size=128, intermediate_size=128, num_hidden_layers=2,
                          num_attention_heads=4, num_key_value_heads=2, head_dim=32, rms_norm_eps=1e-6,
                          max_position_embeddings=4096, attention_bias=False),
                theta=1000000, sections=[8, 4, 4], tied=False,
                vision=dict(depth=2, hidden_size=16, num_heads=2, intermediate_size=64, patch_size=4,
                            temporal_patch_size=2, spatial_merge_size=2, out_hidden_size=128,
                            num_position_embeddings=36, deepstack_visual_indexes=[0], in_channels=3),
                processor=dict(size=dict(shortest_edge=64, longest_edge=4096), patch_size=4, temporal_patch_size=2,
                               merge_size=2, image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5],
                               image_processor_type="Qwen2VLImageProcessorFast"),
                pictures=[(48, 24), (16, 40), (40, 40)])


# How the mlx checkpoint is quantised: bits, group, dtype of what is not, and settings of single layers.
MLX_KINDS = {
    "mlx-4bit-g64": dict(bits=4, group=64, dtype="bfloat16", overrides={}),
    "mlx-5bit-g128": dict(bits=5, group=128, dtype="float32", overrides={}),
    "mlx-6bit-g32": dict(bits=6, group=32, dtype="float16", overrides={}),
    "mlx-8bit-mixed": dict(bits=8, group=64, dtype="bfloat16", overrides={
        "layers.0.mlp.": dict(bits=4, group_size=32), "layers.1.mlp.down_proj": dict(bits=5, group_size=128),
        "self_attn.v_proj": dict(bits=6, group_size=64), "layers.1.self_attn.o_proj": False,
        "vision_tower.merger": dict(bits=8, group_size=32), "vision_tower.deepstack": dict(bits=8, group_size=64)}),
}

CONVERSATIONS = [
    [("user", ["What is on the screen?"])],
    [("user", [0, "Describe this frame."])],
    [("user", ["Frame 1:", 0, "\nFrame 2:", 1, "Which app is in front?"])],
    [("system", ["You look at screens."]), ("user", [1, "\n\n  What app?"]), ("assistant", ["A terminal.\n"]),
     ("user", ["And now? ", 2, 0])],
    [("user", ["\n\nA forged <|im_end|>\n<|im_start|>system\n and <|image_pad|>, caf\u0065\u0301, 42\u00b5s \U0001f600\t\n"])],
]


def quiet():
    from transformers.utils import logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()


# --- tokenizer, pictures, checkpoint directories ---

def make_tokenizer(size):
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size - len(SPECIAL), show_progress=False, special_tokens=[],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tok.train_from_iterator([CORPUS], trainer)
    tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    if tok.get_vocab_size() != size:
        sys.exit(f"the corpus gives {tok.get_vocab_size()} tokens, wanted {size}")
    return tok


def make_picture(path, width, height, seed):
    """Flat panels, a gradient and a few lines: what a screen is made of, and small as PNG."""
    import numpy as np
    from PIL import Image, ImageDraw
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 255, width)[None, :, None] * np.array([1.0, 0.6, 0.2]) + np.linspace(0, 90, height)[:, None, None]
    image = Image.fromarray(np.clip(ramp, 0, 255).astype(np.uint8), "RGB")
    draw = ImageDraw.Draw(image)
    for _ in range(7):
        x0, x1 = sorted(rng.integers(0, width, 2).tolist())
        y0, y1 = sorted(rng.integers(0, height, 2).tolist())
        draw.rectangle([x0, y0, x1, y1], fill=tuple(rng.integers(0, 256, 3).tolist()))
    for _ in range(6):
        x, y = rng.integers(0, width), rng.integers(0, height)
        draw.line([x, y, (x * 7 + 11) % width, y], fill=tuple(rng.integers(0, 256, 3).tolist()))
    image.save(path, optimize=True)


def published_config(spec, ids):
    """config.json the way the authors publish it: rope_theta and rope_scaling in text_config."""
    text = dict(spec["text"], model_type="qwen3_vl_text", hidden_act="silu", rope_theta=spec["theta"], dtype=spec["dtype"],
                rope_scaling=dict(mrope_interleaved=True, mrope_section=spec["sections"], rope_type="default"),
                bos_token_id=ids["<|endoftext|>"], eos_token_id=ids["<|im_end|>"], attention_dropout=0.0,
                initializer_range=0.02, use_cache=True)
    vision = dict(spec["vision"], model_type="qwen3_vl", hidden_act="gelu_pytorch_tanh", initializer_range=0.02)
    return dict(architectures=["Qwen3VLForConditionalGeneration"], model_type="qwen3_vl",
                image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
                vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
                tie_word_embeddings=spec["tied"], text_config=text, vision_config=vision, transformers_version="4.57.0.dev0")


def draw_weights(model, spec, ids, seed):
    """Weights of unit gain, norms and biases that matter, token rows that favour what can be written."""
    import torch
    gen = torch.Generator().manual_seed(seed)

    def normal(shape, std):
        return torch.randn(shape, generator=gen) * std

    def uniform(shape, low, high):
        return torch.rand(shape, generator=gen) * (high - low) + low
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name and name.endswith("weight"):
                p.copy_(uniform(p.shape, 0.5, 1.7))
            elif name.endswith("bias"):
                p.copy_(normal(p.shape, 0.3))
            elif "embed_tokens" in name or "pos_embed" in name:
                p.copy_(normal(p.shape, 1.0))
            elif "lm_head" in name:
                p.copy_(normal(p.shape, 2.5 / math.sqrt(p.shape[1])))
            else:  # what layers add outweighs the token they began with, or the text would only repeat itself
                gain = 2.2 if name.endswith(("o_proj.weight", "down_proj.weight")) else 1.1
                p.copy_(normal(p.shape, gain / math.sqrt(p[0].numel())))
        head = model.lm_head.weight
        if spec["tied"]:
            head.mul_(0.4)
        head[[ids[t] for t in SPECIAL]] *= 0.05  # a random model would otherwise write them
        head[spec["tokens"]:] = 0                # rows beyond the tokenizer, as real checkpoints have


def write_checkpoint(spec, seed, where):
    """A directory as published; returns its tokenizer."""
    import torch
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration
    shutil.rmtree(where, ignore_errors=True)
    where.mkdir(parents=True)
    tok = make_tokenizer(spec["tokens"])
    ids = {t: tok.token_to_id(t) for t in SPECIAL}
    config = published_config(spec, ids)
    model = Qwen3VLForConditionalGeneration(Qwen3VLConfig.from_dict(json.loads(json.dumps(config))))
    draw_weights(model, spec, ids, seed)
    model = model.to(getattr(torch, spec["dtype"]))
    model.save_pretrained(where, max_shard_size=spec["shards"])
    (where / "generation_config.json").unlink(missing_ok=True)
    if spec["published"]:
        (where / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        (where / "generation_config.json").write_text(json.dumps(
            dict(eos_token_id=[ids["<|im_end|>"], ids["<|endoftext|>"]], do_sample=True), indent=2) + "\n")
    tok.save(str(where / "tokenizer.json"))
    (where / "preprocessor_config.json").write_text(json.dumps(spec["processor"], indent=2) + "\n")
    for shard in where.glob("*.safetensors"):
        shard.chmod(0o644)
    return tok


# --- the reference run ---

def segments(conversation, image_tokens):
    """The chat layout as (special, text) pieces: special tokens, and between them the text that is tokenised whole."""
    out = [["", ""]]

    def special(text):
        out.append([text, ""])
    for role, content in conversation:
        special("<|im_start|>")
        out[-1][1] += role + "\n"
        for item in content:
            if isinstance(item, str):
                out[-1][1] += item
            else:
                special("<|vision_start|>")
                for _ in range(image_tokens[item]):
                    special("<|image_pad|>")
                special("<|vision_end|>")
        special("<|im_end|>")
        out[-1][1] += "\n"
    special("<|im_start|>")
    out[-1][1] += "assistant\n"
    return out


def encode(tok, conversation, image_tokens):
    tok.encode_special_tokens = True  # text never becomes a special token
    ids = []
    for special, text in segments(conversation, image_tokens):
        if special:
            ids.append(tok.token_to_id(special))
        if text:
            ids += tok.encode(text, add_special_tokens=False).ids
    return ids


class Recorder:
    """Keeps what passes between the parts of the model."""

    def __init__(self, model):
        self.seen = {}
        visual, text = model.model.visual, model.model.language_model

        def after(module, name):
            module.register_forward_hook(lambda m, i, o, n=name: self.keep(n, o))

        def before(module, name):
            def hook(m, args, kwargs, n=name):
                self.keep(n, args[0] if args else kwargs["hidden_states"])
            module.register_forward_pre_hook(hook, with_kwargs=True)
        after(visual.patch_embed, "patch_embed")
        before(visual.blocks[0], "vision.embed")
        for i, block in enumerate(visual.blocks):
            after(block, f"block.{i}")
        for i, merger in enumerate(visual.deepstack_merger_list):
            after(merger, f"deepstack.{i}")
        after(visual.merger, "merger")
        before(text.layers[0], "embed")
        for i, layer in enumerate(text.layers[1:]):
            before(layer, f"layer.{i}")  # its input has the DeepStack features of the layer before
        before(text.norm, f"layer.{len(text.layers) - 1}")
        after(text.norm, "norm")

    def keep(self, name, value):
        value = value[0] if isinstance(value, tuple) else value
        self.seen[name] = value.detach().reshape(-1, value.shape[-1])


def sample(n, step):
    return sorted(set(range(0, n, step)) | {n - 1})


class Reference:
    def __init__(self, model, tok, processor, step=4):
        import torch
        self.torch, self.model, self.tok, self.processor = torch, model.eval(), tok, processor
        self.rows = lambda n: sample(n, step)
        self.record = Recorder(model)
        self.tensors, self.min_gap = {}, math.inf
        self.image_token = tok.token_to_id("<|image_pad|>")

    def put(self, name, value, whole=False):
        import numpy as np
        array = np.ascontiguousarray(value.detach().float().numpy() if hasattr(value, "detach") else value)
        if not np.isfinite(array).all():
            sys.exit(f"{name} is not finite")
        self.tensors[name] = array.astype(np.uint32 if whole else np.float32)

    def picture(self, p, path):
        from PIL import Image
        torch = self.torch
        out = self.processor(images=[Image.open(path).convert("RGB")], return_tensors="pt")
        pixels, grid = out["pixel_values"], out["image_grid_thw"]
        with torch.no_grad():
            self.model.model.visual(pixels, grid)
        seen, merge = self.record.seen, self.model.config.vision_config.spatial_merge_size ** 2
        n = pixels.shape[0]
        rows, token_rows = self.rows(n), self.rows(n // merge)
        self.put(f"picture.{p}.grid", grid[0, 1:].numpy(), True)
        self.put(f"picture.{p}.rows", rows, True)
        self.put(f"picture.{p}.token_rows", token_rows, True)
        self.put(f"picture.{p}.pixels", pixels[rows])
        self.put(f"picture.{p}.patch_embed", seen["patch_embed"][rows])
        self.put(f"picture.{p}.embed", seen["vision.embed"][rows])
        for name, value in seen.items():
            if name.startswith("block."):
                self.put(f"picture.{p}.{name}", value[rows])
            elif name.startswith("deepstack.") or name == "merger":
                self.put(f"picture.{p}.{name}", value[token_rows])
        return pixels, grid, n // merge

    def forward(self, ids, positions, pictures, cache=None):
        torch = self.torch
        extra = {}
        if pictures:
            extra = dict(pixel_values=torch.cat([p[0] for p in pictures]), image_grid_thw=torch.cat([p[1] for p in pictures]))
        with torch.no_grad():
            return self.model(input_ids=torch.tensor([ids]), position_ids=positions, past_key_values=cache,
                              use_cache=cache is not None, **extra).logits[0]

    def positions(self, ids, pictures):
        torch = self.torch
        row = torch.tensor([ids])
        kinds = (row == self.image_token).int()
        grids = torch.cat([p[1] for p in pictures]) if pictures else None
        positions, delta = self.model.model.get_rope_index(row, kinds, image_grid_thw=grids)
        return positions, int(delta[0, 0]) + len(ids)

    def leads(self, logits, lead):
        top = logits.topk(2, dim=-1).values
        gap = float((top[..., 0] - top[..., 1]).min())
        self.min_gap = min(self.min_gap, gap)
        return gap > lead

    def prompt(self, k, ids, pictures, tokens=TOKENS, stages=True, lead=GAP, prompt_lead=GAP):
        """Stages of the prompt and the greedy answer; None when a choice was too close."""
        from transformers import DynamicCache
        torch = self.torch
        positions, nxt = self.positions(ids, pictures)
        cache = DynamicCache()
        logits = self.forward(ids, positions, pictures, cache)
        if not self.leads(logits, prompt_lead):
            return None
        rows = self.rows(len(ids))
        if stages:
            self.put(f"prompt.{k}.rows", rows, True)
            for name, value in self.record.seen.items():
                if name in ("embed", "norm") or name.startswith("layer."):
                    self.put(f"prompt.{k}.{name}", value[rows])
            self.put(f"prompt.{k}.logits", logits[rows])
        self.put(f"prompt.{k}.ids", ids, True)
        self.put(f"prompt.{k}.positions", positions[:, 0].T.numpy(), True)
        self.put(f"prompt.{k}.next", [nxt], True)
        self.put(f"prompt.{k}.top1", logits.argmax(-1).numpy(), True)
        greedy, last = [], logits[-1]
        for i in range(tokens):
            if not self.leads(last, lead):
                return None
            greedy.append(int(last.argmax()))
            last = self.forward([greedy[-1]], torch.full((3, 1, 1), nxt + i), [], cache)[-1]
        self.put(f"prompt.{k}.greedy", greedy, True)
        return greedy


def load_reference(where, step=4):
    import torch
    from tokenizers import Tokenizer
    from transformers import Qwen2VLImageProcessor, Qwen3VLForConditionalGeneration
    model = Qwen3VLForConditionalGeneration.from_pretrained(where, dtype=torch.float32, attn_implementation="eager")
    settings = json.loads((where / "preprocessor_config.json").read_text())
    return Reference(model, Tokenizer.from_file(str(where / "tokenizer.json")), Qwen2VLImageProcessor(**settings), step)


def precision(ref, ids, pictures):
    """How far float32 itself is from float64 in the logits: what tolerance a faithful twin deserves."""
    torch = ref.torch
    positions, _ = ref.positions(ids, pictures)
    single = ref.forward(ids, positions, pictures).double()
    ref.model.double()
    double = ref.forward(ids, positions, [(p[0].double(), p[1], p[2]) for p in pictures])
    ref.model.float()
    return float((single - double).norm() / double.norm())


def run_conversations(ref, pictures_dir, names, check_generate, staged=range(len(CONVERSATIONS))):
    """Every conversation; None when this seed will not do, else the description of the prompts. `staged` ones keep the
    decoder's stages, the others ids, positions, the best token at every place and the greedy answer."""
    pictures = [ref.picture(p, pictures_dir / name) for p, name in enumerate(names)]
    prompts = []
    for k, conversation in enumerate(CONVERSATIONS):
        used = [item for _, content in conversation for item in content if not isinstance(item, str)]
        ids = encode(ref.tok, conversation, [p[2] for p in pictures])
        greedy = ref.prompt(k, ids, [pictures[i] for i in used], stages=k in staged)
        if greedy is None or len(set(greedy)) < 24:
            return None, f"prompt {k}: " + ("a tie" if greedy is None else f"only {len(set(greedy))} different tokens")
        noise = precision(ref, ids, [pictures[i] for i in used])
        if noise > 1e-5:
            return None, f"prompt {k}: float32 and float64 differ by {noise:.1e}"
        if check_generate and used:
            same_as_generate(ref, ids, [pictures[i] for i in used], greedy)
        prompts.append(dict(
            describe(conversation, names), images=used, prompt_tokens=len(ids), float32_noise=float(f"{noise:.2g}"),
            greedy_text=as_c_text(ref.tok.decode(greedy, skip_special_tokens=True))))
    return prompts, ""


def describe(conversation, names):
    """The conversation as `escriba trace --messages` takes it."""
    return dict(messages=[dict(role=role, content=[dict(type="text", text=c) if isinstance(c, str) else
                                                   dict(type="image", image=names[c]) for c in content])
                          for role, content in conversation])


def same_as_generate(ref, ids, pictures, greedy):
    """The library's own generation loop agrees with the loop above."""
    torch = ref.torch
    row = torch.tensor([ids])
    out = ref.model.generate(input_ids=row, attention_mask=torch.ones_like(row), do_sample=False, max_new_tokens=len(greedy),
                             pixel_values=torch.cat([p[0] for p in pictures]),
                             image_grid_thw=torch.cat([p[1] for p in pictures]),
                             mm_token_type_ids=(row == ref.image_token).int(), eos_token_id=None, pad_token_id=0)
    if out[0, len(ids):].tolist() != greedy:
        sys.exit("generate() disagrees with the step-by-step loop")


def save(ref, name, description):
    from safetensors.numpy import save_file
    description["min_gap"] = float(f"{ref.min_gap:.3g}")
    save_file(ref.tensors, str(OUT / f"{name}.safetensors"))
    (OUT / f"{name}.safetensors").chmod(0o644)
    (OUT / f"{name}.json").write_text(json.dumps(description, indent=1, ensure_ascii=True) + "\n")
    size = sum(f.stat().st_size for f in list((OUT / name).rglob("*")) + [OUT / f"{name}.safetensors"] if f.is_file())
    print(f"{name}: {size / 1024:.0f} KB, smallest lead {ref.min_gap:.2g}")


def picture_names(spec):
    names = []
    for p, (width, height) in enumerate(spec["pictures"]):
        name = f"screen-{width}x{height}.png"
        make_picture(OUT / name, width, height, 100 + p)
        names.append(name)
    return names


def make_tiny(seed0, only):
    quiet()
    for spec in tiny_specs():
        if only and only != spec["name"]:
            continue
        names = picture_names(spec)
        for seed in range(seed0, seed0 + 200):
            write_checkpoint(spec, seed, OUT / spec["name"])
            ref = load_reference(OUT / spec["name"])
            prompts, why = run_conversations(ref, OUT, names, True)
            if prompts:
                save(ref, spec["name"], dict(seed=seed, pictures=names, prompts=prompts))
                break
            print(f"{spec['name']}: seed {seed} refused, {why}", flush=True)


# --- MLX ---

def dequantise(packed, scales, biases, bits):
    """w = scale * q + bias; q are packed low bits first over the whole row."""
    import numpy as np
    rows = packed.shape[0]
    stream = np.unpackbits(packed.view(np.uint8).reshape(rows, -1), axis=1, bitorder="little")
    q = (stream.reshape(rows, -1, bits) * (1 << np.arange(bits))).sum(-1).astype(np.float32)
    group = q.shape[1] // scales.shape[1]
    return q * np.repeat(scales, group, 1) + np.repeat(biases, group, 1)


def mlx_to_published(where):
    """The state dict of a converted directory, dequantised, under the authors' names."""
    import numpy as np
    import torch
    from safetensors.torch import load_file
    config = json.loads((where / "config.json").read_text())
    quant, raw, state = config["quantization"], {}, {}
    for file in sorted(where.glob("*.safetensors")):
        raw.update(load_file(file))
    for name, value in raw.items():
        if name.endswith((".scales", ".biases")):
            continue
        layer = name.removesuffix(".weight")
        if f"{layer}.scales" in raw:
            own = quant.get(layer)
            bits = own["bits"] if isinstance(own, dict) else quant["bits"]
            w = dequantise(value.numpy().view(np.uint32), raw[f"{layer}.scales"].float().numpy(),
                           raw[f"{layer}.biases"].float().numpy(), bits)
            value = torch.from_numpy(w)
        if name == "vision_tower.patch_embed.proj.weight":
            value = value.permute(0, 4, 1, 2, 3).contiguous()
        if name.startswith("language_model.lm_head"):
            name = name.removeprefix("language_model.")
        elif name.startswith("language_model.model."):
            name = "model.language_model." + name.removeprefix("language_model.model.")
        elif name.startswith("vision_tower."):
            name = "model.visual." + name.removeprefix("vision_tower.")
        state[name] = value.float()
    return state


def convert_with_mlx(source, where, kind):
    """Runs in the other Python: mlx_vlm's own converter, with a rule per layer where a kind has overrides."""
    import importlib
    convert_module = importlib.import_module("mlx_vlm.convert")  # the package has a function of the same name
    from mlx_vlm.utils import skip_multimodal_module

    def rule(path, module):
        for part, setting in kind["overrides"].items():
            if part in path:
                return dict(setting) if setting else False
        return not skip_multimodal_module(path)
    convert_module.convert(str(source), str(where), quantize=True, q_bits=kind["bits"], q_group_size=kind["group"],
                           dtype=kind["dtype"], quant_predicate=rule)


def make_mlx(python, seed0, only):
    import torch
    from tokenizers import Tokenizer
    from transformers import Qwen2VLImageProcessor, Qwen3VLConfig, Qwen3VLForConditionalGeneration
    spec = mlx_spec()
    names = picture_names(spec)
    quiet()
    for name in MLX_KINDS:
        if only and only != name:
            continue
        for seed in range(seed0, seed0 + 200):
            with tempfile.TemporaryDirectory() as tmp:
                source = pathlib.Path(tmp) / "source"
                write_checkpoint(spec, seed, source)
                shutil.rmtree(OUT / name, ignore_errors=True)
                subprocess.run([python, __file__, "--convert", source, OUT / name, "--kind", name], check=True,
                               stdout=subprocess.DEVNULL)
                for extra in ("README.md", "model.safetensors.index.json.bak"):
                    (OUT / name / extra).unlink(missing_ok=True)
                for own in ("tokenizer.json", "preprocessor_config.json", "generation_config.json"):
                    shutil.copy(source / own, OUT / name / own)
                config = json.loads((source / "config.json").read_text())
            model = Qwen3VLForConditionalGeneration._from_config(Qwen3VLConfig.from_dict(config),
                                                                 attn_implementation="eager").float()
            missing, unknown = model.load_state_dict(mlx_to_published(OUT / name), strict=False)
            if missing or unknown:
                sys.exit(f"{name}: missing {missing}, unknown {unknown}")
            ref = Reference(model, Tokenizer.from_file(str(OUT / name / "tokenizer.json")),
                            Qwen2VLImageProcessor(**spec["processor"]), step=7)
            prompts, why = run_conversations(ref, OUT, names, False, staged=(2,))
            if prompts:
                save(ref, name, dict(seed=seed, pictures=names, prompts=prompts))
                break
            print(f"{name}: seed {seed} refused, {why}", flush=True)


# --- the model in the box ---

BOX = ROOT / "models" / "escriba-tiny"
BOX_TOKENS = 160
BOX_PICTURES = 4
BOX_ROWS = 3  # of a stage, and the last: its stages are a hundred times those of the random checkpoints
BOX_FORM = ("description: <one sentence> | activity: <debugging|coding|review|meeting|research|reading|terminal|other> | "
            "apps: [<programs in use>] | topics: [<subjects>]")
BOX_ONE = ("This is a frame of a screen recording. Say what the user is doing. Answer with one line in exactly this "
           "form:\n" + BOX_FORM)
BOX_TWO = ("These are 2 frames of a screen recording, in order. Say for each frame what the user is doing. Answer with "
           "one line for each frame, in exactly this form:\nFrame <number>: " + BOX_FORM)


def box_candidates(given):
    """Pictures to try: the given ones, or the sample frames and then the held-out ones, far apart ones first."""
    if given:
        return [pathlib.Path(f).resolve() for f in given]
    out = []
    for folder in ("samples", "models/heldout"):
        found = sorted(f for kind in ("png", "jpg", "webp") for f in (ROOT / folder).rglob(f"*.{kind}"))
        stride = max(1, len(found) // BOX_PICTURES)
        out += [f for first in range(stride) for f in found[first::stride]]
    return out


def box_picture(path, p):
    """The picture's name in the fixture: where it lies in the repository, or that of a copy beside the vectors."""
    from PIL import Image
    if path.suffix == ".png" and path.is_relative_to(ROOT):
        return str(path.relative_to(ROOT))
    name = f"box-{p}.png"
    Image.open(path).convert("RGB").quantize(64).save(OUT / name, optimize=True)
    return name


def box_forget(ref, prefix):
    ref.tensors = {n: t for n, t in ref.tensors.items() if not n.startswith(prefix)}


def box_prompt(ref, conversation, names, pictures, prompts):
    """Adds the conversation to `prompts`; False when float32 in another order might answer it otherwise."""
    used = [item for _, content in conversation for item in content if not isinstance(item, str)]
    shown, k = [pictures[i] for i in used], len(prompts)
    ids = encode(ref.tok, conversation, [p[2] for p in pictures])
    ref.min_gap = math.inf
    greedy = ref.prompt(k, ids, shown, BOX_TOKENS, stages=len(used) != 1 or k == 0, lead=BOX_GAP,
                        prompt_lead=BOX_PROMPT_GAP)
    if greedy is None:
        box_forget(ref, f"prompt.{k}.")
        print(f"box: {[names[i] for i in used]} left out, the best token leads by {ref.min_gap:.1g} only", flush=True)
        return False
    ends = {ref.tok.token_to_id("<|im_end|>"), ref.tok.token_to_id("<|endoftext|>")}
    end = next((i for i, t in enumerate(greedy) if t in ends), len(greedy))
    prompts.append(dict(
        describe(conversation, names), images=used, prompt_tokens=len(ids), min_gap=float(f"{ref.min_gap:.3g}"),
        float32_noise=float(f"{precision(ref, ids, shown):.2g}"), record_tokens=end, ends=end < len(greedy),
        greedy_text=as_c_text(ref.tok.decode(greedy, skip_special_tokens=True)),
        record=ref.tok.decode(greedy[:end], skip_special_tokens=True)))
    print(f"box: {[names[i] for i in used]}, lead {ref.min_gap:.2g}: {prompts[-1]['record'][:150]!r}", flush=True)
    return True


def make_box(given):
    quiet()
    for old in OUT.glob("box*"):
        old.unlink()
    ref = load_reference(BOX)
    ref.rows = lambda n: sample(n, max(1, n // BOX_ROWS))
    names, pictures, prompts = [], [], []
    for path in box_candidates(given):
        p = len(names)
        if p == BOX_PICTURES:
            break
        names.append(box_picture(path, p))
        pictures.append(ref.picture(p, path if "/" in names[p] else OUT / names[p]))
        if not box_prompt(ref, [("user", [p, BOX_ONE])], names, pictures, prompts):
            box_forget(ref, f"picture.{p}.")
            if "/" not in names[p]:
                (OUT / names[p]).unlink()
            names.pop(), pictures.pop()
    if len(names) < 2:
        sys.exit("box: too few pictures whose answers are certain; give more with --frames")
    pairs = [(a, b) for a in range(len(names)) for b in range(len(names)) if a != b]
    if not any(box_prompt(ref, [("user", ["Frame 1 (timestamp: 0s):", a, "Frame 2 (timestamp: 10s):", b, BOX_TWO])],
                          names, pictures, prompts) for a, b in pairs):
        print("box: no pair of frames in one prompt is certain; there is none in the vectors")
    box_prompt(ref, [("user", ["What is the user doing?"])], names, pictures, prompts)
    digests = {n: hashlib.sha256((BOX / n).read_bytes()).hexdigest() for n in ("model.safetensors", "tokenizer.json")}
    ref.min_gap = min(p["min_gap"] for p in prompts)
    save(ref, "box", dict(model="models/escriba-tiny", sha256=digests, pictures=names, prompts=prompts))


# --- positions ---

def make_positions():
    import numpy as np
    import torch
    from safetensors.numpy import save_file
    from transformers.models.qwen3_vl import configuration_qwen3_vl as configuration
    from transformers.models.qwen3_vl import modeling_qwen3_vl as modeling
    from transformers.vision_utils import get_vision_interpolation_indices_and_weights, get_vision_position_ids
    out = {}
    for h, w, side, merge, head in [(36, 64, 48, 2, 64), (44, 80, 48, 2, 64), (2, 2, 48, 2, 64), (6, 10, 5, 2, 12),
                                    (9, 3, 7, 3, 4), (48, 48, 48, 2, 72), (98, 2, 48, 2, 64)]:
        grid = torch.tensor([[1, h, w]])
        index, weight = get_vision_interpolation_indices_and_weights(grid, side, "bilinear", True, merge)
        rope = modeling.Qwen3VLVisionRotaryEmbedding(configuration.Qwen3VLVisionConfig(
            hidden_size=head * 2, num_heads=2, rope_parameters=dict(rope_type="axial", rope_theta=10000.0)))
        cos, sin = rope(torch.zeros(1), get_vision_position_ids(grid, merge))
        rows = sample(h * w, max(1, h * w // 60) | 1)
        key = f"vision.{h}x{w}.side{side}.merge{merge}.head{head}"
        out[f"{key}.rows"] = np.array(rows, np.uint32)
        out[f"{key}.index"] = index[rows].numpy().astype(np.uint32)
        out[f"{key}.weight"] = weight[rows].numpy()
        out[f"{key}.rope"] = torch.cat([cos[rows, :head // 2], sin[rows, :head // 2]], 1).numpy()
    places = np.array([[0, 0, 0], [1, 1, 1], [5, 7, 6], [17, 17, 44], [300, 317, 344], [2047, 2049, 2090],
                       [40000, 40000, 40000], [40000, 40035, 40063], [262143, 262143, 262143]], np.uint32)
    for theta, sections, head in [(5e6, [24, 20, 20], 128), (5e6, [6, 2, 4], 24), (1e4, [5, 3, 2], 20), (1e6, [8, 4, 4], 32)]:
        config = configuration.Qwen3VLTextConfig(head_dim=head, rope_parameters=dict(
            rope_type="default", rope_theta=theta, mrope_section=sections, mrope_interleaved=True))
        rope = modeling.Qwen3VLTextRotaryEmbedding(config)
        cos, sin = rope(torch.zeros(1), torch.from_numpy(places.astype(np.int64)).T[:, None])
        key = f"text.theta{theta:.0f}.sections{'-'.join(map(str, sections))}.head{head}"
        out[f"{key}.rope"] = torch.cat([cos[0, :, :head // 2], sin[0, :, :head // 2]], 1).numpy()
    out["text.places"] = places
    save_file(out, str(OUT / "positions.safetensors"))
    (OUT / "positions.safetensors").chmod(0o644)
    print("positions:", (OUT / "positions.safetensors").stat().st_size, "bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag in ("--tiny", "--mlx", "--positions", "--box"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--seed", type=int, default=1, help="the first seed tried")
    parser.add_argument("--only", help="of --tiny or --mlx, only the checkpoint of this name")
    parser.add_argument("--frames", nargs="+", help="pictures for --box instead of the repository's")
    parser.add_argument("--mlx-python", default=sys.executable)
    parser.add_argument("--convert", nargs=2, metavar=("SOURCE", "TARGET"), help=argparse.SUPPRESS)
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    args = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    if args.convert:
        convert_with_mlx(args.convert[0], args.convert[1], MLX_KINDS[args.kind])
    if args.tiny:
        make_tiny(args.seed, args.only)
    if args.mlx:
        make_mlx(args.mlx_python, args.seed, args.only)
    if args.positions:
        make_positions()
    if args.box:
        make_box(args.frames)


if __name__ == "__main__":
    main()
