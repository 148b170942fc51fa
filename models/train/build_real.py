"""Makes training frames of captured programs: as they are, or inside a drawn desktop; scaled and recoloured a little.

Usage: build_real.py CAPTURES_DIR[,DIR...] OUT_DIR COPIES SEED
"""
import json
import os
import random
import sys

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from build import SHARD, flush, jpeg
from compose import SIZES, Context, clutter, panel, window
from draw import KIND_ID, Canvas, hsl, shrink
from records import record
import compose
import screens_web

PLACE = {}


def paste(c, x, y, w, h, ctx, kind):
    """Stands in for a drawing function: the captured picture fills the window."""
    im = PLACE["im"]
    f = max(w / im.width, h / im.height)
    if f > 1:
        im = im.resize((int(im.width * f + 1), int(im.height * f + 1)), Image.BICUBIC)
    c.im.paste(im.crop((0, 0, w, h)), (x, y))


def tint(im, r):
    if r.random() < .5:
        return im
    im = ImageEnhance.Brightness(im).enhance(r.uniform(.8, 1.15))
    im = ImageEnhance.Contrast(im).enhance(r.uniform(.75, 1.15))
    return ImageEnhance.Color(im).enhance(r.uniform(.5, 1.4))


def frame(im, cap, r):
    rec = record(cap["kind"], cap["topics"])
    if cap.get("apps"):
        rec["apps"] = cap["apps"]
    if cap.get("sentence"):
        rec["description"] = cap["sentence"] % cap["topics"][0] if cap["topics"] else cap["sentence"].replace(" %s", "")
    im = tint(im, r)
    if r.random() < .5:  # the screen is the program
        sizes = {(640, 352): 16 / 9, (608, 384): 1.6, (576, 384): 1.5, (544, 416): 4 / 3}
        mw, mh = min(sizes, key=lambda s: abs(sizes[s] - im.width / im.height))
        want = sizes[mw, mh]
        if im.width / im.height > want:
            im = im.crop((0, 0, int(im.height * want), im.height))
        else:
            im = im.crop((0, 0, im.width, int(im.width / want)))
        return shrink(im, mw, mh), rec, (mw, mh), None
    (mw, mh), natives, _ = r.choices(SIZES, [t[2] for t in SIZES])[0]
    ctx = Context(r, [], 10, False)
    f = r.uniform(.75, 1)
    W = int(im.width / f)
    H = int(W * mh / mw)
    ctx.base = max(8, int(W / 640 * r.uniform(7, 11)))
    c = Canvas(W, H, hsl(r.random(), r.uniform(0, .5), r.uniform(.05, .8)))
    c.area(0, 0, W, H, None)
    if r.random() < .4:
        screens_web.picture(c, 0, 0, W, H, r)
    x, y, w, h = panel(c, ctx, ctx.theme)
    PLACE["im"] = im
    saved = compose.DRAW[cap["kind"]]
    compose.DRAW[cap["kind"]] = paste
    try:
        ww, wh = min(w, im.width), min(h, int(im.height * r.uniform(.8, 1)))
        window(c, x + r.uniform(0, w - ww), y + r.uniform(0, h - wh), ww, wh, ctx, cap["kind"], bare=r.random() < .3)
    finally:
        compose.DRAW[cap["kind"]] = saved
    clutter(c, ctx)
    arr, kind, _, _ = c.finish(mw, mh)
    return arr, rec, (mw, mh), kind


def main(folders, out, copies, seed):
    os.makedirs(out, exist_ok=True)
    r, buckets, n = random.Random(int(seed)), {}, 0
    caps = []
    for folder in folders.split(","):
        for name in sorted(os.listdir(folder)):
            if name.startswith("captures_"):
                caps += [(folder, json.loads(s)) for s in open(os.path.join(folder, name))]
    r.shuffle(caps)
    for _ in range(int(copies)):
        for folder, cap in caps:
            try:
                im = Image.open(os.path.join(folder, cap["file"])).convert("RGB")
                arr, rec, size, kind = frame(im, cap, r)
            except (OSError, ValueError):
                continue
            if r.random() < .2:
                arr = jpeg(np.asarray(arr), r)
            mw, mh = size
            if kind is None:
                kind = np.full((mh // 32, mw // 32), KIND_ID[cap["kind"]], np.int8)
            unknown = np.full((mh // 32, mw // 32), -1, np.int8), np.full((mh // 16, mw // 16), -1, np.int64)
            b = buckets.setdefault(size, [])
            b.append((arr, kind, *unknown, rec))
            if len(b) == SHARD:
                flush(out, "real_%s_%d_%dx%d" % (seed, n, mw, mh), b)
                buckets[size], n = [], n + 1
    for (mw, mh), b in buckets.items():
        if len(b) >= 8:
            flush(out, "real_%s_%d_%dx%d" % (seed, n, mw, mh), b)
            n += 1


if __name__ == "__main__":
    main(*sys.argv[1:])
