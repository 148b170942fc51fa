"""Qwen3-VL, written leanly for training on two CPU cores or one GPU; parameter names and results are transformers'.

Pictures come in batches of one size, as bytes; a batch holds sequences of one prompt layout, padded on the right.
`check.py` compares it with transformers.
"""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

CONFIG = {
    "architectures": ["Qwen3VLForConditionalGeneration"],
    "model_type": "qwen3_vl",
    "dtype": "bfloat16",
    "tie_word_embeddings": True,
    "text_config": {
        "model_type": "qwen3_vl_text", "dtype": "bfloat16", "attention_bias": False, "attention_dropout": 0.0,
        "head_dim": 48, "hidden_act": "silu", "hidden_size": 192, "initializer_range": 0.02, "intermediate_size": 512,
        "max_position_embeddings": 4096, "num_attention_heads": 4, "num_hidden_layers": 4, "num_key_value_heads": 2,
        "rms_norm_eps": 1e-6, "rope_theta": 10000,
        "rope_scaling": {"mrope_interleaved": True, "mrope_section": [8, 8, 8], "rope_type": "default"},
        "tie_word_embeddings": True, "use_cache": True, "vocab_size": 0, "bos_token_id": 0, "eos_token_id": 0,
    },
    "vision_config": {
        "model_type": "qwen3_vl", "depth": 5, "hidden_act": "gelu_pytorch_tanh", "hidden_size": 128, "in_channels": 3,
        "initializer_range": 0.02, "intermediate_size": 512, "num_heads": 4, "num_position_embeddings": 576,
        "out_hidden_size": 192, "patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2,
        "deepstack_visual_indexes": [1, 3],
    },
}


class VisionBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        d = c["hidden_size"]
        self.heads = c["num_heads"]
        self.norm1, self.norm2 = nn.LayerNorm(d, eps=1e-6), nn.LayerNorm(d, eps=1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(d, 3 * d), "proj": nn.Linear(d, d)})
        self.mlp = nn.ModuleDict({"linear_fc1": nn.Linear(d, c["intermediate_size"]), "linear_fc2": nn.Linear(c["intermediate_size"], d)})

    def forward(self, x, cos, sin):
        b, n, d = x.shape
        q, k, v = self.attn["qkv"](self.norm1(x)).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        o = attention(q, k, v).transpose(1, 2).reshape(b, n, d)
        x = x + self.attn["proj"](o)
        return x + self.mlp["linear_fc2"](F.gelu(self.mlp["linear_fc1"](self.norm2(x)), approximate="tanh"))


def attention(q, k, v):
    """Softmax over all patches of a picture, as many pictures at once as stay in the cache: on these cores a fifth
    faster, forwards and backwards, than the library's own (which a GPU gets)."""
    if q.is_cuda:
        return F.scaled_dot_product_attention(q, k, v)
    step = max(1, (1 << 20) // q.shape[2] ** 2)
    parts = []
    for i in range(0, len(q), step):
        s = slice(i, i + step)
        p = torch.softmax((q[s] * q.shape[-1] ** -.5) @ k[s].transpose(-1, -2), -1)
        parts.append(p @ v[s])
    return torch.cat(parts)


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos.to(x.dtype) + torch.cat((-b, a), -1) * sin.to(x.dtype)


class Merger(nn.Module):
    def __init__(self, c, post):
        super().__init__()
        d = c["hidden_size"]
        self.wide, self.post = d * 4, post
        self.norm = nn.LayerNorm(d * 4 if post else d, eps=1e-6)
        self.linear_fc1, self.linear_fc2 = nn.Linear(d * 4, d * 4), nn.Linear(d * 4, c["out_hidden_size"])

    def forward(self, x):
        b = x.shape[0]
        x = self.norm(x.reshape(b, -1, self.wide)) if self.post else self.norm(x).reshape(b, -1, self.wide)
        return self.linear_fc2(F.gelu(self.linear_fc1(x)))


def block_order(gh, gw):
    """Row and column of every patch in the processor's order: 2 x 2 blocks, row by row."""
    r = torch.arange(gh).view(gh // 2, 1, 2, 1).expand(gh // 2, gw // 2, 2, 2).reshape(-1)
    c = torch.arange(gw).view(1, gw // 2, 1, 2).expand(gh // 2, gw // 2, 2, 2).reshape(-1)
    return r, c


class Vision(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        d = c["hidden_size"]
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv3d(3, d, (2, 16, 16), (2, 16, 16))})
        self.pos_embed = nn.Embedding(c["num_position_embeddings"], d)
        self.blocks = nn.ModuleList(VisionBlock(c) for _ in range(c["depth"]))
        self.merger = Merger(c, False)
        self.deepstack_merger_list = nn.ModuleList(Merger(c, True) for _ in c["deepstack_visual_indexes"])
        self.cache = {}

    def tables(self, gh, gw, device):
        if (gh, gw, device) not in self.cache:
            side = int(self.c["num_position_embeddings"] ** .5)
            r, c = block_order(gh, gw)
            ry, cx = torch.linspace(0, side - 1, gh)[r], torch.linspace(0, side - 1, gw)[c]
            y0, x0 = ry.long(), cx.long()
            y1, x1 = (y0 + 1).clamp(max=side - 1), (x0 + 1).clamp(max=side - 1)
            fy, fx = ry - y0, cx - x0
            idx = torch.stack([y0 * side + x0, y0 * side + x1, y1 * side + x0, y1 * side + x1])
            wgt = torch.stack([(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx])[..., None]
            dim = self.c["hidden_size"] // self.c["num_heads"] // 2
            inv = 1 / (10000 ** (torch.arange(0, dim, 2).float() / dim))
            ang = torch.cat([r[:, None] * inv, c[:, None] * inv], -1)
            ang = torch.cat([ang, ang], -1)
            self.cache[gh, gw, device] = [t.to(device) for t in (idx, wgt, ang.cos(), ang.sin())]
        return self.cache[gh, gw, device]

    def forward(self, images):
        """images: uint8 [B, H, W, 3] -> merged [B, cells, D], deepstack list, patches [B, n, d]."""
        b, h, w, _ = images.shape
        gh, gw = h // 16, w // 16
        proj = self.patch_embed["proj"]
        x = images.view(b, gh // 2, 2, 16, gw // 2, 2, 16, 3).permute(0, 1, 4, 2, 5, 7, 3, 6).reshape(b, gh * gw, 768)
        w = proj.weight.float().sum(2).flatten(1)  # a still picture fills both time steps
        dtype = proj.weight.dtype  # levels of 0 .. 255 are exact in bf16; scale and shift are the weights' business
        x = F.linear(x.to(dtype), (w / 127.5).to(dtype), (proj.bias.float() - w.sum(1)).to(dtype))
        idx, wgt, cos, sin = self.tables(gh, gw, x.device)
        x = x + (self.pos_embed.weight[idx] * wgt).sum(0).to(x.dtype)
        deep = []
        for i, blk in enumerate(self.blocks):
            x = blk(x, cos, sin)
            if i in self.c["deepstack_visual_indexes"]:
                deep.append(self.deepstack_merger_list[len(deep)](x))
        return self.merger(x), deep, x


class RMSNorm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), 1e-6)


class TextLayer(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, hd = c["hidden_size"], c["head_dim"]
        self.h, self.kv, self.hd = c["num_attention_heads"], c["num_key_value_heads"], hd
        lin = lambda i, o: nn.Linear(i, o, bias=False)
        self.self_attn = nn.ModuleDict({"q_proj": lin(d, self.h * hd), "k_proj": lin(d, self.kv * hd), "v_proj": lin(d, self.kv * hd),
                                        "o_proj": lin(self.h * hd, d), "q_norm": RMSNorm(hd), "k_norm": RMSNorm(hd)})
        m = c["intermediate_size"]
        self.mlp = nn.ModuleDict({"gate_proj": lin(d, m), "up_proj": lin(d, m), "down_proj": lin(m, d)})
        self.input_layernorm, self.post_attention_layernorm = RMSNorm(d), RMSNorm(d)

    def forward(self, x, cos, sin, past=None):
        b, n, d = x.shape
        a, y = self.self_attn, self.input_layernorm(x)
        q = rotate(a["q_norm"](a["q_proj"](y).view(b, n, self.h, self.hd)).transpose(1, 2), cos, sin)
        k = rotate(a["k_norm"](a["k_proj"](y).view(b, n, self.kv, self.hd)).transpose(1, 2), cos, sin)
        v = a["v_proj"](y).view(b, n, self.kv, self.hd).transpose(1, 2)
        q, k = q.to(v.dtype), k.to(v.dtype)
        if past is not None:
            if past:
                k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
            past[:] = [k, v]
        rep = self.h // self.kv
        kk, vv = k.repeat_interleave(rep, 1), v.repeat_interleave(rep, 1)
        o = F.scaled_dot_product_attention(q, kk, vv, is_causal=n > 1)
        x = x + a["o_proj"](o.transpose(1, 2).reshape(b, n, -1))
        m, y = self.mlp, self.post_attention_layernorm(x)
        return x + m["down_proj"](F.silu(m["gate_proj"](y)) * m["up_proj"](y))


class Text(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = nn.ModuleList(TextLayer(c) for _ in range(c["num_hidden_layers"]))
        self.norm = RMSNorm(c["hidden_size"])
        hd = c["head_dim"]
        self.inv = 1 / (c["rope_theta"] ** (torch.arange(0, hd, 2).float() / hd))
        sec = c["rope_scaling"]["mrope_section"]
        axis = torch.zeros(hd // 2, dtype=torch.long)
        axis[1:sec[1] * 3:3], axis[2:sec[2] * 3:3] = 1, 2
        self.axis = axis

    def angles(self, pos):
        """pos [3, B, n] -> cos, sin [B, 1, n, head_dim]"""
        self.axis, self.inv = self.axis.to(pos.device), self.inv.to(pos.device)
        ang = pos.float()[self.axis].permute(1, 2, 0) * self.inv
        ang = torch.cat([ang, ang], -1)[:, None]
        return ang.cos(), ang.sin()

    def forward(self, x, pos, deep=None, at=None, past=None):
        """at: the columns of image tokens, where deep features are added (rows of deep in order)."""
        cos, sin = self.angles(pos)
        for i, layer in enumerate(self.layers):
            x = layer(x, cos, sin, past[i] if past is not None else None)
            if deep is not None and i < len(deep):
                x = x.index_add(1, at, deep[i].reshape(x.shape[0], -1, x.shape[-1]).to(x.dtype))
        return self.norm(x)


class Net(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.visual = Vision(config["vision_config"])
        self.language_model = Text(config["text_config"])
        self.image_id = config["image_token_id"]
        for m in self.modules():
            if isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, std=.7 / math.sqrt(m.in_features))
                if m.bias is not None:
                    nn.init.zeros_(m.bias)
        nn.init.normal_(self.visual.pos_embed.weight, std=.02)
        nn.init.normal_(self.visual.patch_embed["proj"].weight, std=.5 / math.sqrt(768))
        nn.init.normal_(self.language_model.embed_tokens.weight, std=.05)

    def forward(self, images, ids, pos, past=None, features=None, at=None):
        """ids [B, n] with one image token per merged cell, in the same columns in every row; images in reading order
        over the batch. features: what the tower made of the images before, [images, 1 + deep, cells, D], instead of
        them. at: the columns of image tokens, when the caller knows them."""
        x = self.language_model.embed_tokens(ids)
        if at is None:
            at = (ids[0] == self.image_id).nonzero()[:, 0]
        if features is None:
            merged, deep, patches = self.visual(images)
        else:
            merged, deep, patches = features[:, 0], list(features[:, 1:].unbind(1)), None
        x = x.index_copy(1, at, merged.reshape(x.shape[0], -1, x.shape[-1]).to(x.dtype))
        return self.language_model(x, pos, deep, at, past), merged, patches

    def logits(self, hidden):
        return hidden @ self.language_model.embed_tokens.weight.t().to(hidden.dtype)


def positions(ids, image_id, grids):
    """Three-axis positions of one sequence (list of ids) with image grids [(cells high, cells wide), ...]."""
    out, p, i, g = [], 0, 0, iter(grids)
    while i < len(ids):
        if ids[i] == image_id:
            h, w = next(g)
            y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
            out.append(torch.stack([torch.zeros(h * w, dtype=torch.long), y.reshape(-1), x.reshape(-1)]) + p)
            p += max(h, w)
            i += h * w
        else:
            out.append(torch.full((3, 1), p))
            p += 1
            i += 1
    return torch.cat(out, 1)
