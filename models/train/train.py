"""Trains the whole model on screens; the tower keeps its dense supervision. Data parallel over processes.

Usage: train.py --frames DIR --real DIR --model MODEL_DIR --out RUN_DIR --seconds N [--start stage1.pt] [--resume run.pt] [--rank R --world W]
One process for each core, each of one thread: start W of them with ranks 0 .. W-1.
"""
import argparse
import os
import time

import numpy as np
import torch
import torch.nn.functional as F

import evaluate
import export
import parallel
from data import Layout, Sampler, Shards
from net import Net
from optim import Heads, Optimiser
from pretrain import Crops, windows


def arguments():
    a = argparse.ArgumentParser()
    a.add_argument("--frames", required=True)
    a.add_argument("--real", default="")
    a.add_argument("--model", required=True)
    a.add_argument("--out", required=True)
    a.add_argument("--seconds", type=float, required=True)
    a.add_argument("--start", default="")
    a.add_argument("--text", default="")
    a.add_argument("--resume", default="")
    a.add_argument("--held", default="")
    a.add_argument("--lr", type=float, default=1.5e-3)
    a.add_argument("--images", type=int, default=8)
    a.add_argument("--real-share", type=float, default=.25)
    a.add_argument("--crops", default="")
    a.add_argument("--crop-cells", type=int, default=240)
    a.add_argument("--features", default="", help="folder of cache.py: the tower stays as it is, its output is read from there")
    a.add_argument("--dense", type=float, default=1.0)
    a.add_argument("--rank", type=int, default=0)
    a.add_argument("--world", type=int, default=1)
    a.add_argument("--eval-every", type=float, default=480)
    return a.parse_args()


def main():
    a = arguments()
    torch.set_num_threads(1)
    torch.manual_seed(7)
    lead = a.rank == 0
    parallel.join(a.rank, a.world)
    os.makedirs(a.out, exist_ok=True)
    layout = Layout(a.model)
    net = Net(export.config(a.model))
    vc = net.config["vision_config"]
    heads = Heads(vc["out_hidden_size"], vc["hidden_size"])
    if a.start:
        s = torch.load(a.start, weights_only=True)
        net.visual.load_state_dict(s["visual"] if "visual" in s else {k[7:]: v for k, v in s["net"].items() if k.startswith("visual.")})
        heads.load_state_dict(s["heads"])
    if a.text:  # a decoder from another run, for the tower of --start
        s = torch.load(a.text, weights_only=True)
        net.language_model.load_state_dict({k[15:]: v for k, v in s["net"].items() if k.startswith("language_model.")})
    if a.resume:
        s = torch.load(a.resume, weights_only=True)
        net.load_state_dict(s["net"])
        if "heads" in s:
            heads.load_state_dict(s["heads"])
    opt = Optimiser([net.language_model] if a.features else [net, heads], a.lr, a.seconds, warm=30)
    sources = [Shards([f], features=a.features) for f in (a.frames, a.real) if f]
    sampler = Sampler(sources, [1 - a.real_share, a.real_share][:len(sources)], layout, a.images, 100 + a.rank)
    held = evaluate.load_shards(a.held.split(","), 64) if a.held and lead else []
    t0, step, mean, saved, tested = time.time(), 0, None, time.time(), time.time()
    first = {k: v.float().clone() for k, v in net.visual.state_dict().items()}

    def state():
        """Masters of what is trained, and the tower it started from when that is left alone."""
        if not a.features:
            return {"net": opt.masters(net), "heads": opt.masters(heads)}
        return {"net": {**{"visual." + k: v for k, v in first.items()}, **{"language_model." + k: v for k, v in opt.masters(net.language_model).items()}},
                "heads": {k: v.float() for k, v in heads.state_dict().items()}}

    crops, g = Crops(a.crops, 4, a.rank, a.world) if a.crops else None, np.random.default_rng(1000 + a.rank)
    if a.features:
        net.to(torch.bfloat16)
    while parallel.all_agree(opt.left() > 0):
        image, ids, pos, target, kind, topic, chars = sampler.batch()
        feat = image.view(torch.bfloat16) if a.features else None
        hidden, merged, patches = net(image, ids, pos, features=feat)
        want, hidden = target >= 0, hidden[:, -target.shape[1]:]
        tgt = target[want]
        logits = net.logits(hidden[want]).float()
        w = layout.heavy[tgt]
        ce = (F.cross_entropy(logits, tgt, reduction="none") * w).sum() / w.sum()
        if a.features:
            ce.backward()
            t = c = k = acc = ce
        else:
            t, c, k, acc = heads.losses(merged, patches, topic, chars, kind)
            (ce + a.dense * (.5 * t + .2 * c + .3 * k)).backward()
        if crops:  # it keeps learning to read where words are dense
            what = g.random()
            if what < .4:  # the step from scraps to whole screens is a long one: parts of screens in between
                im, tp, cs, _ = windows(sources[0], g, 2 * a.crop_cells)
            else:
                im, tp, cs = crops.easy(g, 1, a.crop_cells) if what < .55 else crops.batch(g, a.crop_cells)
            m2, _, p2 = net.visual(im)
            t2, c2, _, acc2 = heads.losses(m2, p2, tp, cs)
            (a.dense * (.7 * t2 + .2 * c2)).backward()
        parallel.average(opt.low)
        opt.step()
        step += 1
        if not lead:
            if step % 200 == 0:
                [s.refresh() for s in sources]
            continue
        now = np.array([ce.item(), t.item(), k.item(), c.item(), acc.item() if acc == acc else 0, acc2.item() if crops else 0])
        mean = now if mean is None else .97 * mean + .03 * now
        if step % 50 == 0:
            print("%5d %5.0fs answer %.4f topic %.3f kind %.3f chars %.3f cell-acc %.3f crops %.3f (%d + %d frames)" % (
                step, time.time() - t0, *mean, sources[0].count(), sources[-1].count() if a.real else 0), flush=True)
        if step % 200 == 0:
            [s.refresh() for s in sources]
        if time.time() - saved > 150:
            torch.save(state(), a.out + "/run.pt.tmp")
            os.rename(a.out + "/run.pt.tmp", a.out + "/run.pt")
            saved = time.time()
        if held and time.time() - tested > a.eval_every:
            print(evaluate.summary(evaluate.run(net, layout, held)), flush=True)
            tested = time.time()
    if lead:
        torch.save(state(), a.out + "/run.pt")
        print("saved", a.out + "/run.pt", "steps", step)


if __name__ == "__main__":
    main()
