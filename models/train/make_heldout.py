"""Writes models/heldout: drawn frames of held-out fonts, tints, sizes and words, and captured programs never trained on.

Usage: make_heldout.py OUT_DIR CAPTURES_DIR DRAWN_COUNT
"""
import json
import os
import random
import shutil
import sys

from PIL import Image

from compose import screen
from records import KINDS


def main(out, captures, count):
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    rows, kinds, seed = [], list(KINDS), 770000
    while len(rows) < int(count):
        seed += 1
        try:
            c, size, rec = screen(seed, held=True, kind=kinds[len(rows) % len(kinds)])
        except (ValueError, IndexError, ZeroDivisionError):
            continue
        im = c.im
        if im.width > 960:
            im = im.resize((960, round(im.height * 960 / im.width)), Image.BICUBIC)
        rec["file"] = "drawn_%02d_%s.jpg" % (len(rows), rec["kind"])
        im.save(os.path.join(out, rec["file"]), quality=68)
        rows.append({"file": rec["file"], "description": rec["description"], "activity": rec["activity"], "apps": rec["apps"], "topics": rec["topics"], "kind": "drawn", "screen": rec["kind"]})
    for s in open(os.path.join(captures, "real.jsonl")):
        rec = json.loads(s)
        Image.open(os.path.join(captures, rec["file"])).save(os.path.join(out, rec["file"]), quality=68)
        rows.append({**{k: rec[k] for k in ("file", "description", "activity", "apps", "topics")}, "kind": "real", "screen": rec["file"].split("_", 2)[2][:-4]})
    with open(os.path.join(out, "labels.jsonl"), "w") as f:
        f.writelines(json.dumps(r) + "\n" for r in rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
