"""Draws screens to disk: one folder with shards, each of pictures of one size, mapped into memory by the trainer.

Usage: build.py OUT_DIR COUNT SEED [held]
A shard NAME is NAME.npy (pictures), NAME.maps.npz (dense labels) and NAME.jsonl (records).
"""
import json
import os
import random
import sys
import traceback

import numpy as np

from compose import screen

SHARD = 200


def flush(out, name, items):
    """Writes one shard; the records last, so that a shard with records is whole."""
    path = os.path.join(out, name)
    np.save(path + ".npy", np.stack([i[0] for i in items]))
    np.savez(path + ".maps.npz", kind=np.stack([i[1] for i in items]), topic=np.stack([i[2] for i in items]), chars=np.stack([i[3] for i in items]))
    with open(path + ".jsonl.tmp", "w") as f:
        for i in items:
            f.write(json.dumps(i[4]) + "\n")
    os.rename(path + ".jsonl.tmp", path + ".jsonl")


def jpeg(arr, r):
    """Some recordings are compressed."""
    import io

    from PIL import Image
    buf = io.BytesIO()
    Image.fromarray(arr).save(buf, "JPEG", quality=r.randint(55, 95))
    return np.asarray(Image.open(buf))


def main(out, count, seed, held=False):
    os.makedirs(out, exist_ok=True)
    count, seed = int(count), int(seed)
    r, buckets, n = random.Random(seed), {}, 0
    for i in range(count):
        try:
            c, (mw, mh), rec = screen(seed * 1000003 + i, bool(held))
            arr, kind, topic, chars = c.finish(mw, mh)
        except (ValueError, IndexError, ZeroDivisionError):  # a window too small for what it should hold
            traceback.print_exc()
            continue
        if r.random() < .2:
            arr = jpeg(arr, r)
        b = buckets.setdefault((mw, mh), [])
        b.append((arr, kind, topic, chars, rec))
        if len(b) == SHARD:
            flush(out, "drawn_%d_%d_%dx%d" % (seed, n, mw, mh), b)
            buckets[mw, mh], n = [], n + 1
    for (mw, mh), b in buckets.items():
        if len(b) >= 20:
            flush(out, "drawn_%d_%d_%dx%d" % (seed, n, mw, mh), b)
            n += 1


if __name__ == "__main__":
    main(*sys.argv[1:])
