"""Shards on disk as training batches: pictures, token sequences, positions, targets and dense labels."""
import glob
import json
import os

import numpy as np
import torch
from tokenizers import Tokenizer

from net import positions
from records import ACT, SINGLE, frame_label, line, many
from words import TOPICS


class Shards:
    """Pictures mapped into memory, by size; new shards are picked up by refresh()."""

    def __init__(self, folders, limit=None, features=""):
        self.folders, self.names, self.by_size, self.limit, self.features = folders, set(), {}, limit, features
        self.refresh()

    def refresh(self):
        for folder in self.folders:
            for f in sorted(glob.glob(folder + "/*.jsonl"))[:self.limit]:
                base = f[:-6]
                if base in self.names or not os.path.exists(base + ".npy"):
                    continue
                feat = os.path.join(self.features, os.path.basename(base) + ".feat.npy")
                if self.features and not os.path.exists(feat):
                    continue
                self.names.add(base)
                z = np.load(base + ".maps.npz")
                im = np.load(base + ".npy", mmap_mode="r")
                size = im.shape[1:3]
                if self.features:  # the tower's output takes the place of the pictures
                    im = np.load(feat, mmap_mode="r")
                recs = [json.loads(s) for s in open(f)]
                self.by_size.setdefault(size, []).append((im, z["kind"], z["topic"], z["chars"], recs))

    def count(self):
        return sum(len(s[4]) for v in self.by_size.values() for s in v)


class Layout:
    """The chat layout in tokens."""

    def __init__(self, model_dir):
        self.tok = Tokenizer.from_file(model_dir + "/tokenizer.json")
        self.enc = lambda s: self.tok.encode(s).ids
        self.image_id = self.tok.token_to_id("<|image_pad|>")
        self.end_id = self.tok.token_to_id("<|im_end|>")
        self.cache, self.pos = {}, {}
        self.heavy = torch.ones(self.tok.get_vocab_size())  # words that are read or judged weigh more than the form
        for t in TOPICS:
            for s in (" " + t, t):
                if len(self.enc(s)) == 1:
                    self.heavy[self.enc(s)[0]] = 2.5
        for a in ACT.split("|"):
            self.heavy[self.enc(" " + a)[0]] = 2

    def prompt(self, grids, labels=None):
        """Token ids for frames with these grids (cells high, cells wide)."""
        key = (tuple(grids), tuple(labels or ()))
        if len(grids) == 1 and key in self.cache:
            return self.cache[key]
        ids = self.enc("<|im_start|>user\n")
        for i, (h, w) in enumerate(grids):
            if len(grids) > 1:
                ids = ids + self.enc(frame_label(i + 1, labels[i]))
            ids = ids + self.enc("<|vision_start|>") + [self.image_id] * (h * w) + self.enc("<|vision_end|>")
        ids = ids + self.enc((SINGLE if len(grids) == 1 else many(len(grids))) + "<|im_end|>\n<|im_start|>assistant\n")
        if len(grids) == 1:
            self.cache[key] = ids
        return ids

    def answer(self, recs):
        """Tokens of the answer; line by line, since no token goes on after the end of a line."""
        out, n = [], len(recs)
        for i, r in enumerate(recs):
            text = line(r) if n == 1 else "Frame %d: %s%s" % (i + 1, line(r), "\n" if i < n - 1 else "")
            if text not in self.cache:
                self.cache[text] = self.enc(text)
            out += self.cache[text]
        return out + [self.end_id]

    def batch(self, groups, grid, g):
        """groups: lists of records, equally long, one for each sequence; all pictures have the same grid and all
        sequences the same labels. Returns ids and positions without the last token, targets of the last columns."""
        k, step, start = len(groups[0]), int(g.choice([1, 3, 5, 10, 10, 10, 15, 30])), int(g.integers(0, 900))
        p = self.prompt([grid] * k, [start + step * i for i in range(k)])
        answers = [self.answer(recs) for recs in groups]
        n = -(-max(map(len, answers)) // 8) * 8
        ids = torch.full((len(groups), len(p) + n), self.end_id)
        target = torch.full((len(groups), n), -100)  # of the last prompt token and what follows
        ids[:, :len(p)] = torch.tensor(p)
        for i, a in enumerate(answers):
            ids[i, len(p):len(p) + len(a)] = target[i, :len(a)] = torch.tensor(a)
        pos = self.pos.get((grid, k))
        if pos is None:
            pos = positions(p, self.image_id, [grid] * k)
            if k == 1:  # several frames' labels are cut into tokens in many ways
                self.pos[grid, k] = pos
        pos = torch.cat([pos, pos[:, -1:] + torch.arange(1, n)], 1)[:, None].expand(3, len(groups), -1)
        return ids[:, :-1], pos, target


class Sampler:
    """Batches of `images` pictures of one size: singles mostly, now and then a few interleaved sequences."""

    def __init__(self, sources, weights, layout, images, seed):
        self.sources, self.weights, self.layout, self.images = sources, np.array(weights, float), layout, images
        self.g = np.random.default_rng(seed)

    def pick(self, size):
        have = np.array([w if size in s.by_size else 0 for s, w in zip(self.sources, self.weights)])
        src = self.sources[self.g.choice(len(have), p=have / have.sum())]
        shards = src.by_size[size]
        s = shards[self.g.choice(len(shards), p=np.array([len(x[4]) for x in shards]) / sum(len(x[4]) for x in shards))]
        i = self.g.integers(len(s[4]))
        return s[0][i], s[1][i], s[2][i], s[3][i], s[4][i]

    def batch(self, interleaved=.12):
        g, main = self.g, self.sources[0]
        sizes = list(main.by_size)
        size = sizes[g.choice(len(sizes), p=np.array([sum(len(x[4]) for x in main.by_size[z]) for z in sizes]) / main.count())]
        items = [self.pick(size) for _ in range(self.images)]
        n = 1
        if g.random() < interleaved:
            n = int(g.choice([2, 2, 2, 3, 4, 4, 5, 6, 7, 8]))
            items = items[:max(1, self.images // n) * n]
            if g.random() < .3:  # a person often stays with one thing for some frames
                for j in range(1, len(items)):
                    if j % n and g.random() < .5:
                        items[j] = items[j - 1]
        groups = [[x[4] for x in items[i:i + n]] for i in range(0, len(items), n)]
        ids, pos, target = self.layout.batch(groups, (size[0] // 32, size[1] // 32), g)
        t = lambda k: torch.from_numpy(np.stack([x[k] for x in items]).astype(np.int64))
        image = torch.from_numpy(np.stack([x[0] for x in items]))
        return image, ids, pos, target, t(1), t(2), t(3)
