"""Trains the whole model on screens drawn meanwhile, on a GPU (or, to try it, on a CPU), from a checkpoint.

Usage: fresh.py --model MODEL_DIR --resume FROM.pt --out DIR --seconds N [--real captures.zip] [--workers N] [--images N]
The schedule goes by the clock, so it always ends in time. Writes final.pt, ema.pt (a running mean of the weights) and,
now and then, part.pt: half-precision weights, with the dense heads, good for export.py and for going on.
"""
import argparse
import json
import os
import time

import numpy as np
import torch
import torch.nn.functional as F

import evaluate
import export
from data import Layout
from net import Net
from optim import Heads, Optimiser
from pool import Captures, Pool, augment


def arguments():
    a = argparse.ArgumentParser()
    a.add_argument("--model", required=True, help="for its vocabulary")
    a.add_argument("--resume", required=True)
    a.add_argument("--out", required=True)
    a.add_argument("--seconds", type=float, required=True, help="of training, without start and measuring")
    a.add_argument("--real", default="", help="captures packed by pack.py")
    a.add_argument("--real-share", type=float, default=.36)
    a.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    a.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 2))
    a.add_argument("--images", type=int, default=384, help="pictures in a step")
    a.add_argument("--pool", type=int, default=40000, help="screens kept")
    a.add_argument("--first", type=int, default=5000, help="screens to begin with")
    a.add_argument("--interleaved", type=float, default=.36)
    a.add_argument("--lr", type=float, default=2e-3)
    a.add_argument("--dense", type=float, default=1.)
    a.add_argument("--decay", type=float, default=.998)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--held", default="", help="a folder with labels.jsonl, measured at the end")
    a.add_argument("--save-every", type=float, default=60)
    return a.parse_args()


def half(tensors):
    return {k: v.detach().half().cpu() for k, v in tensors.items()}


class Trainer:
    def __init__(self, a, device):
        self.a, self.device, self.layout = a, device, Layout(a.model)
        self.net = Net(export.config(a.model))
        vc = self.net.config["vision_config"]
        self.heads = Heads(vc["out_hidden_size"], vc["hidden_size"])
        s = torch.load(a.resume, weights_only=True)
        self.net.load_state_dict({k: v.float() for k, v in s["net"].items()})
        if "heads" in s:
            self.heads.load_state_dict({k: v.float() for k, v in s["heads"].items()})
        self.net.to(device), self.heads.to(device)
        self.opt = Optimiser([self.net, self.heads], a.lr, a.seconds, warm=min(12, a.seconds / 10))
        self.mean = [m.detach().clone() for m in self.opt.high]
        self.heavy = self.layout.heavy.to(device)
        self.g, self.images = np.random.default_rng(a.seed), a.images

    def losses(self, pool):
        size, groups, at = pool.sample(self.g, self.images, self.a.interleaved)
        up = lambda t: (t.pin_memory() if self.device.type == "cuda" else t).to(self.device, non_blocking=True)
        ids, pos, target = self.layout.batch(groups, (size[1] // 32, size[0] // 32), self.g)
        columns = (ids[0] == self.net.image_id).nonzero()[:, 0]
        ids, pos, target, columns, at = [up(t.contiguous()) for t in (ids, pos, target, columns, torch.from_numpy(at))]
        image, kind, topic, chars = [pool.sizes[size]["data"][k][at] for k in ("image", "kind", "topic", "chars")]
        hidden, merged, patches = self.net(augment(image), ids, pos, at=columns)
        logits = self.net.logits(hidden[:, -target.shape[1]:]).float().flatten(0, 1)
        target = target.flatten()
        w = self.heavy[target.clamp(min=0)] * (target >= 0)
        ce = (F.cross_entropy(logits, target, ignore_index=-100, reduction="none") * w).sum() / w.sum()
        t, c, k, acc = self.heads.losses(merged, patches, topic, chars, kind)
        return [ce, t, c, k, acc], len(groups[0])

    def step(self, pool):
        """One step, with fewer pictures from now on if memory runs out."""
        try:
            losses, n = self.losses(pool)
            ce, t, c, k, _ = losses
            (ce + self.a.dense * (.5 * t + .2 * c + .3 * k)).backward()
        except torch.OutOfMemoryError:
            self.images = max(1, self.images * 2 // 3)
            losses = None
            print("out of memory: %d pictures to a step" % self.images, flush=True)
            for p in self.opt.low:
                p.grad = None
            torch.cuda.empty_cache()
            return None, 0
        self.rate = self.opt.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.mean, self.opt.high, 1 - self.a.decay)
        return torch.stack([x.detach() for x in losses]), n

    def state(self, mean=False):
        values = dict(zip(map(id, self.opt.low), self.mean if mean else self.opt.high))
        pick = lambda m: half({k: values[id(p)] for k, p in m.named_parameters()})
        return {"net": pick(self.net), "heads": pick(self.heads)}

    def save(self, name, mean=False):
        path = os.path.join(self.a.out, name)
        torch.save(self.state(mean), path + ".tmp")
        os.rename(path + ".tmp", path)


def train(a, t, pool):
    begin = said = saved = time.time()
    t.opt.start, step, seen, sums = begin, 0, 0, {1: [0, 0], 2: [0, 0]}
    while t.opt.left() > 0:
        pool.refresh()
        losses, n = t.step(pool)
        if losses is None:
            continue
        step, seen = step + 1, seen + t.images
        one = sums[min(n, 2)]
        one[0], one[1] = one[0] + losses, one[1] + 1
        now = time.time()
        if now - said > 10 or step == 3:
            text = ["%s: answer %.4f topic %.3f chars %.3f kind %.3f cell-acc %.3f" % (name, *(s / m).tolist()) for name, (s, m) in (("single", sums[1]), ("several", sums[2])) if m]
            print("%5d %4.0fs %5.0f frames/s, drawn %d (%.0f/s), lr %.2f | %s" % (step, now - begin, seen / (now - begin), pool.drawn, pool.drawn / (now - pool.begin), t.rate, " | ".join(text)), flush=True)
            said, sums = now, {1: [0, 0], 2: [0, 0]}
        if now - saved > a.save_every:
            t.save("part.pt")
            saved = time.time()
    print("%d steps, %d frames, %d drawn" % (step, seen, pool.drawn), flush=True)


@torch.no_grad()
def measure(a, t, mean):
    """Held-out frames, with the weights as they are exported (bf16): one to a prompt, then four."""
    items, out = evaluate.load_labels(a.held), []
    for low, high in zip(t.opt.low, t.mean if mean else t.opt.high):
        low.copy_(high)
    net = Net(t.net.config)
    net.load_state_dict({k: v.float() for k, v in t.net.state_dict().items()})
    net.to(t.device).eval()
    pairs = evaluate.run(net, t.layout, items)
    out.append(evaluate.summary(pairs))
    real = [p for p in pairs if p[0]["kind"] == "real"]
    out += [evaluate.table(evaluate.figures(real)["confusion"])]
    out += ["%s said %s" % (rec["file"], text) for rec, text in real if " activity: %s " % rec["activity"] not in text]
    out += ["four to a prompt, " + evaluate.summary(evaluate.run_interleaved(net, t.layout, [i for i in items if i[1]["kind"] != "real"], 4))]
    return "\n".join(out)


def main():
    a, begin = arguments(), time.time()
    os.makedirs(a.out, exist_ok=True)
    torch.manual_seed(a.seed)
    pool = Pool(a.workers, a.seed, Captures(a.real) if a.real else None, a.real_share, a.pool)  # forks: before CUDA starts
    pool.begin = begin
    device = torch.device(a.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    t = Trainer(a, device)
    pool.open(device)
    while pool.drawn < a.first:
        pool.refresh()
        time.sleep(.02)
    pool.refresh()
    print("start: %.0fs, %d screens, %s" % (time.time() - begin, pool.drawn, {k: pool.count(k) for k in pool.sizes}), flush=True)
    train(a, t, pool)
    t.save("final.pt"), t.save("ema.pt", True)
    pool.close()
    if a.held:
        for name, mean in (("final", False), ("mean", True)):
            text = "== %s\n%s" % (name, measure(a, t, mean))
            print(text, flush=True)
            open(os.path.join(a.out, "measured.txt"), "a").write(text + "\n")
    print(json.dumps({"seconds": time.time() - begin}), flush=True)
    os._exit(0)  # the thread still waits for the workers


if __name__ == "__main__":
    main()
