"""Scraps of text for teaching the vision tower to read, before it sees whole screens.

Usage: crops.py OUT_DIR COUNT SEED   writes shards OUT_DIR/crops_SEED_N.npz, each of 1000 scraps of 320 x 192.
"""
import os
import random
import sys

import numpy as np

from draw import Canvas, Theme, families, mix
from words import TOPICS, Words

W, H = 320, 192


def scrap(r, held=False):
    w = Words(r, held)
    zoom = r.choice([1, 1, r.uniform(1, 1.5), r.uniform(1.3, 2.2)])  # drawn larger, then scaled down like a screen
    th = Theme(r, held=held)
    c = Canvas(W * zoom, H * zoom, th.bg)
    c.area(0, 0, c.w, c.h, None)
    y = r.uniform(0, 20)
    topics = r.sample(TOPICS, r.randint(3, 6))
    while y < c.h - 8:
        style = r.random()
        size = max(7, int(round(zoom * r.choice([r.uniform(7, 9), r.uniform(8, 12), r.uniform(9, 14), r.uniform(12, 22)]))))
        kind = r.choice(["mono", "mono", "sans", "sans", "bold", "serif"])
        fnt = (r.choice(families(kind, held)), size)
        n = r.randint(1, 4)
        step = size * r.uniform(1.1, 1.7)
        if r.random() < .25:
            c.rect(0, int(y), c.w, int(step * n), mix(th.bg, th.accent, r.uniform(.1, .9)) if r.random() < .3 else th.panel)
        x0 = r.uniform(0, 40 * zoom)
        if style < .45:
            for ln in w.code(r.choice(["py", "c", "js"]), n, r.choice(topics), .55):
                x = x0
                for s, k in ln:
                    x = c.text(x, y, s, fnt, th.code[k])
                y += step
        else:
            for _ in range(n):
                t = r.choice(topics) if r.random() < .6 else None
                s = r.choice([w.sentence, w.title, w.filename, lambda t: w.phrase(t) + "  " + w.ident(t)])(t)
                x = x0 if r.random() < .7 else r.uniform(0, c.w * .7)
                c.text(x, y, s, fnt, r.choice([th.fg, th.fg, th.dim, th.accent, th.red, th.green, th.blue]))
                y += step
        y += r.uniform(0, 12) * zoom
    return c.finish(W, H)


def easy(r, level):
    """One line of 160 x 32 with a subject's word, harder as level goes from 0 to 1 (fonts, sizes, colours).
    Reading starts much sooner on these than on full variety."""
    w = Words(r)
    pool = families("mono", False)[:1 + int(12 * level)] + families("sans", False)[:2 + int(10 * level)] + families("bold", False)[:int(8 * level)] + families("serif", False)[:int(8 * level)]
    size = int(round(r.uniform(12 - 4 * level, 14 + 6 * level)))
    if r.random() < .2 + .8 * level:
        th = Theme(r)
        bg, fg = th.bg, r.choice([th.fg, th.fg, th.accent, th.dim, th.code["f"], th.code["s"]]) if level > .3 else th.fg
    else:
        bg, fg = r.choice([((0, 0, 0), (255, 255, 255)), ((255, 255, 255), (0, 0, 0))])
    c = Canvas(160, 32, bg)
    t = r.choice(TOPICS)
    s = r.choice([t, t.capitalize(), t, "%s %s" % (t, w.noun()), "%s %s" % (w.noun(), t), t + "_" + w.noun(), w.ident(t)]) if r.random() < .85 else w.noun() + " " + w.noun()
    y = max(0, 16 - size * .62 + r.uniform(-3 - 5 * level, 3 + 5 * level))
    c.text(r.uniform(1, 30 if len(s) * size < 220 else 6), y, s, (r.choice(pool), size), fg)
    return c.finish(160, 32)


def main(out, count, seed):
    os.makedirs(out, exist_ok=True)
    r = random.Random(seed)
    for shard in range(count // 1000):
        items = [scrap(r) for _ in range(1000)]
        name = os.path.join(out, "crops_%d_%d" % (seed, shard))
        np.savez(name + ".tmp.npz", image=np.stack([i[0] for i in items]), topic=np.stack([i[2] for i in items]),
                 chars=np.stack([i[3] for i in items]))
        os.rename(name + ".tmp.npz", name + ".npz")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
