"""Greedy answers on held-out frames, and the figures: activity, set of apps, topics F1, valid records, confusion.

Usage: evaluate.py MODEL_DIR FRAMES [FRAMES ...]     FRAMES: a folder of shards, or a folder with labels.jsonl
       evaluate.py MODEL_DIR --interleaved N FRAMES  the same frames, N to a prompt
"""
import json
import os
import sys

import numpy as np
import torch

from data import Layout, Shards
from net import Net, positions
from records import parse
from words import ACTIVITIES

MAX_NEW = 60


def load_shards(folders, most=None):
    """[(picture uint8, record)] of shards, evenly taken."""
    out = []
    for folder in folders:
        s = Shards([folder])
        one = [(sh[0][i], sh[4][i]) for v in s.by_size.values() for sh in v for i in range(len(sh[4]))]
        out += one[::max(1, len(one) // most)][:most] if most else one
    return out


def load_labels(folder):
    """[(picture uint8 at the model's size, record)] of a folder with labels.jsonl."""
    from PIL import Image
    from resize import fit
    out = []
    for s in open(os.path.join(folder, "labels.jsonl")):
        rec = json.loads(s)
        out.append((fit(Image.open(os.path.join(folder, rec.get("file") or rec["image"])).convert("RGB")), rec))
    return out


@torch.no_grad()
def greedy(net, layout, images, labels=None, most=MAX_NEW):
    """Answers for sequences: images [B][n] of one size."""
    b, n, dev = len(images), len(images[0]), net.language_model.embed_tokens.weight.device
    h, w = images[0][0].shape[:2]
    grid = (h // 32, w // 32)
    p = layout.prompt([grid] * n, labels or [10 * i for i in range(n)])
    ids = torch.tensor([p] * b).to(dev)
    pp = positions(p, layout.image_id, [grid] * n).to(dev)
    pixels = torch.from_numpy(np.stack([x for seq in images for x in seq])).to(dev)
    past = [[] for _ in net.language_model.layers]
    hidden, _, _ = net(pixels, ids, pp[:, None].expand(3, b, -1), past)
    nxt, at = net.logits(hidden[:, -1]).argmax(-1), int(pp.max()) + 1
    out, done = [nxt], nxt == layout.end_id
    while not done.all() and len(out) < most * n:
        x = net.language_model.embed_tokens(nxt[:, None])
        hidden = net.language_model(x, torch.full((3, b, 1), at, device=dev), past=past)
        nxt, at = net.logits(hidden[:, -1]).argmax(-1), at + 1
        out.append(nxt)
        done |= nxt == layout.end_id
    text = []
    for row in torch.stack(out, 1).tolist():
        text.append(layout.tok.decode(row[:row.index(layout.end_id)] if layout.end_id in row else row))
    return text


def run(net, layout, items, batch=8):
    """[(record, answer text)] of single-frame prompts."""
    by = {}
    for im, rec in items:
        by.setdefault(im.shape, []).append((im, rec))
    out = []
    for group in by.values():
        for i in range(0, len(group), batch):
            part = group[i:i + batch]
            out += list(zip([r for _, r in part], greedy(net, layout, [[im] for im, _ in part])))
    return out


def run_interleaved(net, layout, items, n):
    """The same with n frames to a prompt; every frame's line is taken by its number."""
    by, out = {}, []
    for im, rec in items:
        by.setdefault(im.shape, []).append((im, rec))
    for group in by.values():
        for i in range(0, len(group) - n + 1, n):
            part = group[i:i + n]
            text = greedy(net, layout, [[im for im, _ in part]])[0]
            lines = dict(s.split(": ", 1) for s in text.split("\n") if s.startswith("Frame ") and ": " in s)
            out += [(rec, lines.get("Frame %d" % (j + 1), "")) for j, (_, rec) in enumerate(part)]
    return out


def figures(pairs):
    act = apps = valid = hit = said = true = 0
    conf = {}
    for rec, text in pairs:
        got = parse(text)
        valid += got is not None
        got = got or {"activity": "none", "apps": [], "topics": []}
        act += got["activity"] == rec["activity"]
        apps += set(got["apps"]) == set(rec["apps"])
        hit += len(set(got["topics"]) & set(rec["topics"]))
        said, true = said + len(set(got["topics"])), true + len(rec["topics"])
        conf[rec["activity"], got["activity"]] = conf.get((rec["activity"], got["activity"]), 0) + 1
    n = max(1, len(pairs))
    p, q = hit / max(1, said), hit / max(1, true)
    return {"frames": len(pairs), "activity": act / n, "apps": apps / n, "topics_precision": p, "topics_recall": q,
            "topics_f1": 2 * p * q / max(1e-9, p + q), "valid": valid / n, "confusion": conf}


def summary(pairs):
    out = []
    for name, keep in (("drawn", lambda r: r.get("kind") != "real"), ("real", lambda r: r.get("kind") == "real")):
        part = [x for x in pairs if keep(x[0])]
        if part:
            f = figures(part)
            out.append("%s: %d frames, activity %.3f, apps %.3f, topics F1 %.3f (P %.3f R %.3f), valid %.3f" % (
                name, f["frames"], f["activity"], f["apps"], f["topics_f1"], f["topics_precision"], f["topics_recall"], f["valid"]))
    return "\n".join(out)


def table(conf):
    names = ACTIVITIES + ["none"]
    rows = ["| true \\ said | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 1)]
    for a in ACTIVITIES:
        rows.append("| %s | " % a + " | ".join(str(conf.get((a, b), 0)) for b in names) + " |")
    return "\n".join(rows)


def load_net(folder):
    from safetensors.torch import load_file
    net = Net(json.load(open(folder + "/config.json")))
    net.load_state_dict({k[6:]: v.float() for k, v in load_file(folder + "/model.safetensors").items()})
    return net.eval()


def main(argv):
    torch.set_num_threads(2)
    folder, rest, n = argv[0], argv[1:], 1
    if rest[0] == "--interleaved":
        n, rest = int(rest[1]), rest[2:]
    net, layout = load_net(folder), Layout(folder)
    for f in rest:
        items = load_labels(f) if os.path.exists(os.path.join(f, "labels.jsonl")) else load_shards([f])
        pairs = run(net, layout, items) if n == 1 else run_interleaved(net, layout, items, n)
        print(f, "(%d to a prompt)" % n)
        print(summary(pairs))
        print(table(figures(pairs)["confusion"]))
        if os.environ.get("SHOW"):
            for rec, text in pairs:
                print(rec.get("file", rec.get("kind", "")), "|", rec["activity"], rec["apps"], rec["topics"], "\n    ", text)


if __name__ == "__main__":
    main(sys.argv[1:])
