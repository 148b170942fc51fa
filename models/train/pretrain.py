"""Teaches the vision tower to read scraps of text (crops.py), and parts of screens, by dense labels alone.

Usage: pretrain.py --crops DIR --out OUT.pt --seconds N [--frames DIR,DIR] [--resume X.pt --level L] [--rank R --world W]
"""
import argparse
import glob
import random
import sys
import time

import numpy as np
import torch

from crops import easy
import parallel
from data import Shards
from net import CONFIG, Vision
from optim import Heads, Optimiser

CELLS = 260


class Crops:
    """Shards in memory; new ones are picked up as they are written."""

    def __init__(self, folder, most=99, rank=0, world=1):
        self.folder, self.names, self.shards, self.most, self.rank, self.world = folder, set(), [], most, rank, world
        self.refresh()

    def refresh(self):
        for f in sorted(glob.glob(self.folder + "/crops_*.npz"))[self.rank::self.world][:self.most]:
            if f not in self.names and ".tmp" not in f:
                z = np.load(f)
                self.names.add(f)
                self.shards.append((z["image"], z["topic"], z["chars"].astype(np.int64), np.argwhere(z["topic"] > 0)))

    def easy(self, g, level, cells=0):
        """A batch of single lines."""
        r = random.Random(int(g.integers(1 << 40)))
        items = [easy(r, level) for _ in range((cells or CELLS) // 5)]
        return [torch.from_numpy(np.stack([i[k] for i in items]).astype(t)) for k, t in ((0, np.uint8), (2, np.int8), (3, np.int64))]

    def batch(self, g, cells=0):
        """Windows of a few cells, most of them around a subject's word: the denser the labels, the sooner it reads."""
        ch, cw = [(1, 4), (1, 5), (2, 4), (3, 4)][g.choice(4, p=[.4, .3, .2, .1])]
        n = (cells or CELLS) // (ch * cw)
        im, tp, cs = [], [], []
        images, topics, chars, where = self.shards[g.integers(len(self.shards))]
        for _ in range(n):
            if g.random() < .85:
                i, y, x = where[g.integers(len(where))]
                y, x = y - g.integers(0, ch), x - g.integers(0, cw - 1)
            else:
                i, y, x = g.integers(len(images)), g.integers(0, 7 - ch), g.integers(0, 11 - cw)
            y, x = min(max(y, 0), 6 - ch), min(max(x, 0), 10 - cw)
            im.append(images[i, y * 32:(y + ch) * 32, x * 32:(x + cw) * 32])
            tp.append(topics[i, y:y + ch, x:x + cw])
            cs.append(chars[i, y * 2:(y + ch) * 2, x * 2:(x + cw) * 2])
        im = np.stack(im)
        im = im[..., g.permutation(3)]
        if g.random() < .3:
            im = 255 - im
        return [torch.from_numpy(v) for v in (im, np.stack(tp), np.stack(cs))]


def whiten(net, data, g):
    """Starts the patch embedding as the whitened main components of patches: from random filters, background
    colours drown the strokes of letters and nothing is learnt for a long time."""
    rows = []
    for _ in range(60):
        x = data.batch(g)[0].float() / 127.5 - 1
        b, h, w, _ = x.shape
        x = x.view(b, h // 16, 16, w // 16, 16, 3).permute(0, 1, 3, 5, 2, 4).reshape(-1, 768)
        rows.append(x[torch.randperm(len(x))[:1500]])
    x = torch.cat(rows)
    mean = x.mean(0)
    val, vec = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
    d = net.patch_embed["proj"].bias.shape[0]
    val, vec = val[-d:].flip(0), vec[:, -d:].flip(1)
    w = (vec / (val + 1e-3 * val[0]).sqrt()).T
    turn = torch.linalg.qr(torch.randn(d, d))[0]  # spread over all channels, so that none stands out
    w = .7 * turn @ w
    with torch.no_grad():
        net.patch_embed["proj"].weight.copy_(w.view(d, 3, 1, 16, 16).expand(-1, -1, 2, -1, -1) / 2)
        net.patch_embed["proj"].bias.copy_(-w @ mean)
    print("whitened; share of variance kept %.4f" % (val.sum() / ((x - mean) ** 2).mean(0).sum()), "eigenvalues", val[[0, 3, 10, 30, 60, d - 1]].tolist())


def windows(shards, g, cells, whole=.08):
    """Parts of whole screens with the kind of their window: (picture, subject, letters, kind); `whole`: the share of
    whole ones."""
    sizes = list(shards.by_size)
    group = shards.by_size[sizes[g.integers(len(sizes))]]
    out = [[], [], [], []]
    im, kind, topic, chars, _ = group[g.integers(len(group))]
    ch, cw = kind.shape[1:] if g.random() < whole else [(4, 6), (5, 8), (3, 10), (8, 10)][g.choice(4, p=[.38, .27, .22, .13])]
    where = np.argwhere(topic > 0)
    for _ in range(max(1, cells // (ch * cw))):
        if len(where) and g.random() < .8:
            i, y, x = where[g.integers(len(where))]
            y, x = y - g.integers(0, ch), x - g.integers(0, cw)
        else:
            i, y, x = g.integers(len(im)), g.integers(0, 99), g.integers(0, 99)
        y, x = min(max(y, 0), kind.shape[1] - ch), min(max(x, 0), kind.shape[2] - cw)
        for lst, arr, f in zip(out, (im, topic, chars, kind), (32, 1, 2, 1)):
            lst.append(arr[i, y * f:(y + ch) * f, x * f:(x + cw) * f])
    return [torch.from_numpy(np.stack(v).astype(t)) for v, t in zip(out, (np.uint8, np.int64, np.int64, np.int64))]


def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("--crops", required=True)
    a.add_argument("--out", required=True)
    a.add_argument("--seconds", type=float, required=True)
    a.add_argument("--level", type=float, default=0)
    a.add_argument("--resume", default="")
    a.add_argument("--frames", default="", help="folders of shards, for the kinds of windows; the second and later ones without words")
    a.add_argument("--whole", type=float, default=.08, help="share of whole screens among the parts of screens")
    a.add_argument("--lr", type=float, default=2e-3)
    a.add_argument("--rank", type=int, default=0)
    a.add_argument("--world", type=int, default=1)
    a = a.parse_args()
    torch.manual_seed(1)
    torch.set_num_threads(1)  # on a shared machine more threads only wait for each other
    parallel.join(a.rank, a.world)
    g = np.random.default_rng(1 + a.rank)
    vc = CONFIG["vision_config"]
    net, heads = Vision(vc), Heads(vc["out_hidden_size"], vc["hidden_size"])
    data = Crops(a.crops, 8, a.rank, a.world)
    frames = [Shards([f]) for f in a.frames.split(",") if f]
    if a.resume:
        s = torch.load(a.resume, weights_only=True)
        net.load_state_dict(s["visual"] if "visual" in s else {k[7:]: v for k, v in s["net"].items() if k.startswith("visual.")})
        heads.load_state_dict(s["heads"])
    else:
        whiten(net, data, g)
    opt = Optimiser([net, heads], a.lr, a.seconds, warm=20)
    step, t0, mean, level, seen = 0, time.time(), None, a.level, 0
    while parallel.all_agree(opt.left() > 0):
        simple = g.random() > .75 * level
        image, topic, chars = data.easy(g, level) if simple else data.batch(g)
        merged, _, patches = net(image)
        t, c, _, acc = heads.losses(merged, patches, topic, chars)
        (t + .5 * c).backward()
        now = [t.item(), c.item(), acc.item(), 0, 0, 0]
        if frames:
            image, topic, chars, kind = windows(frames[0 if g.random() < .75 or len(frames) == 1 else 1], g, 640, a.whole)
            merged, _, patches = net(image)
            t2, c2, k2, acc2 = heads.losses(merged, patches, topic, chars, kind)
            (t2 + .3 * c2 + k2).backward()
            now[3:] = [t2.item(), k2.item(), acc2.item() if acc2 == acc2 else mean[5] if mean is not None else 0]
        parallel.average(opt.low)
        opt.step()
        mean = np.array(now) if mean is None else .96 * mean + .04 * np.array(now)
        step += 1
        if simple:  # harder as soon as it reads what it gets
            seen = .9 * seen + .1 * acc.item()
            level = min(1, level + .008) if seen > .6 else level
        if a.rank == 0 and step % 50 == 0:
            print("%5d %5.0fs topic %.3f chars %.3f cell-acc %.3f | screens: topic %.3f kind %.3f cell-acc %.3f | level %.2f (%.2f)" % (step, time.time() - t0, *mean, level, seen), flush=True)
        if a.rank == 0 and step % 100 == 0:
            torch.save({"visual": opt.masters(net), "heads": opt.masters(heads)}, a.out)
    if a.rank == 0:
        torch.save({"visual": opt.masters(net), "heads": opt.masters(heads)}, a.out)


if __name__ == "__main__":
    main()
