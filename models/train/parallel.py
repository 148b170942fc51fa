"""Data parallel over processes of one thread each (gloo); nothing happens with one process."""
import os

import torch
import torch.distributed as dist


def join(rank, world):
    if world > 1:
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", "29517")
        dist.init_process_group("gloo", rank=rank, world_size=world)


def all_agree(go):
    """The first process decides for all."""
    if not dist.is_initialized():
        return go
    t = torch.tensor([float(go)])
    dist.broadcast(t, 0)
    return bool(t.item())


def average(params):
    """Averages the gradients of all processes."""
    if not dist.is_initialized():
        return
    flat = torch.cat([p.grad.flatten() if p.grad is not None else torch.zeros(p.numel(), dtype=p.dtype) for p in params]).float()
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    i = 0
    for p in params:
        p.grad = flat[i:i + p.numel()].view(p.shape).to(p.dtype)
        i += p.numel()
