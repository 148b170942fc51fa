"""Packs captures for fresh.py: one file, pictures small enough to travel.

Usage: pack.py OUT.zip DIR[=WEIGHT] [DIR[=WEIGHT] ...] [--wide 832] [--quality 85] [--drop FILE]
"""
import argparse
import io
import json
import os
import zipfile

from PIL import Image


def main():
    a = argparse.ArgumentParser()
    a.add_argument("out")
    a.add_argument("folders", nargs="+")
    a.add_argument("--wide", type=int, default=832)
    a.add_argument("--quality", type=int, default=85)
    a.add_argument("--drop", default="", help="a list of captures that show something else than they should")
    a = a.parse_args()
    drop = set(open(a.drop).read().split()) if a.drop else set()
    rows = []
    with zipfile.ZipFile(a.out, "w") as z:
        for folder in a.folders:
            folder, _, weight = folder.partition("=")
            for name in sorted(n for n in os.listdir(folder) if n.startswith("captures_")):
                for row in map(json.loads, open(os.path.join(folder, name))):
                    path = os.path.join(folder, row["file"])
                    if row["file"] in drop or not os.path.exists(path):
                        continue
                    im = Image.open(path).convert("RGB")
                    if im.width > a.wide:
                        im = im.resize((a.wide, round(im.height * a.wide / im.width)), Image.LANCZOS)
                    buf = io.BytesIO()
                    im.save(buf, "WEBP", quality=a.quality, method=4, use_sharp_yuv=True)
                    row.update(file=os.path.splitext(row["file"])[0] + ".webp", weight=float(weight or 1))
                    z.writestr(row["file"], buf.getvalue())
                    rows.append(row)
        z.writestr("captures.jsonl", "".join(json.dumps(r) + "\n" for r in rows))
    print(len(rows), "captures,", os.path.getsize(a.out) // 1000, "kB")


if __name__ == "__main__":
    main()
