"""Optimisers, a schedule on the wall clock, and the training-only heads with their losses."""
import math
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

from records import ALL
from words import TOPICS


class Heads(nn.Module):
    """Dense supervision of the tower, dropped after training: subject and window kind of every 32 x 32 cell,
    letters of every 16 x 16 patch."""

    def __init__(self, d_cell, d_patch):
        super().__init__()
        self.topic = nn.Linear(d_cell, len(TOPICS) + 1)
        self.kind = nn.Linear(d_cell, len(ALL) + 1)
        self.chars = nn.Linear(d_patch, 26)

    def losses(self, merged, patches, topic, chars, kind=None):
        """merged [B, cells, D], patches [B, n, d] in block order, labels as [B, rows, columns]."""
        lt = self.topic(merged).float().flatten(0, 1)
        weight = torch.ones(lt.shape[1], device=lt.device)
        weight[0] = .12  # most cells hold no subject
        t = mean_ce(lt, topic.flatten().long(), weight)
        b, gh, gw = chars.shape
        bits = chars.view(b, gh // 2, 2, gw // 2, 2).permute(0, 1, 3, 2, 4).reshape(b, gh * gw, 1)
        bits = ((bits >> torch.arange(26, device=bits.device)) & 1).float()
        known = (chars.flatten(1).amax(1) >= 0).float()[:, None, None]  # pictures of real programs come without
        c = F.binary_cross_entropy_with_logits(self.chars(patches).float(), bits, weight=known, pos_weight=torch.full((), 3., device=lt.device))
        k = mean_ce(self.kind(merged).float().flatten(0, 1), kind.flatten().long()) if kind is not None else None
        with torch.no_grad():
            hit = topic.flatten() > 0
            acc = ((lt.argmax(1) == topic.flatten()) & hit).sum() / hit.sum()
        return t, c, k, acc


def mean_ce(logits, target, weight=None):
    """Cross entropy over the cells whose label is known (not -1); zero when there is none."""
    w = (torch.ones(logits.shape[1], device=logits.device) if weight is None else weight)[target.clamp(min=0)] * (target >= 0)
    return (F.cross_entropy(logits, target, ignore_index=-1, reduction="none") * w).sum() / w.sum().clamp(min=1)


class Optimiser:
    """Muon for the matrices of the blocks, AdamW for the rest; warm-up, then cosine over the time there is.

    The modules compute in bf16 (a third faster here than autocast); float32 masters are kept beside them."""

    def __init__(self, modules, lr, seconds, warm=60, floor=.02):
        self.low, self.high, mats, rest = [], [], [], []
        for m in modules:
            for name, p in m.named_parameters():
                inner = (".blocks." in "." + name or ".layers." in "." + name) and p.ndim == 2
                master = p.detach().float().clone().requires_grad_(True)
                self.low.append(p)
                self.high.append(master)
                (mats if inner else rest).append(master)
            m.to(torch.bfloat16)
        self.opts = [torch.optim.AdamW(rest, lr=lr, betas=(.9, .98), weight_decay=.01, foreach=True)]
        if mats:
            self.opts.append(torch.optim.Muon(mats, lr=lr, weight_decay=.05, momentum=.95, ns_steps=4, adjust_lr_fn="match_rms_adamw"))
        self.lr, self.seconds, self.warm, self.floor, self.start = lr, seconds, warm, floor, time.time()

    def left(self):
        return 1 - (time.time() - self.start) / self.seconds

    def step(self):
        t = time.time() - self.start
        f = min(1, t / self.warm) * (self.floor + (1 - self.floor) * .5 * (1 + math.cos(math.pi * min(1, t / self.seconds))))
        for p, m in zip(self.low, self.high):
            m.grad = p.grad.float() if p.grad is not None else torch.zeros_like(m)
            p.grad = None
        nn.utils.clip_grad_norm_(self.high, 1.0)
        for o in self.opts:
            for g in o.param_groups:
                g["lr"] = self.lr * f
            o.step()
        with torch.no_grad():
            for p, m in zip(self.low, self.high):
                p.copy_(m)
        return f

    def masters(self, module):
        """float32 values of a module's parameters, by name."""
        where = {id(p): m for p, m in zip(self.low, self.high)}
        return {n: where[id(p)].detach().clone() for n, p in module.named_parameters()}
