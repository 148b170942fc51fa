#!/usr/bin/env python3
"""Makes the vectors that hold escriba's picture decoding and preprocessing against the reference's.

Needs numpy, pillow, torch, torchvision and transformers. Nobody who builds or tests escriba needs any of them: what this
writes to tests/vectors/image/ is committed.

  NAME.png, .jpg, .webp   small pictures in every variety that the decoders know
  files.json              [{file, width, height, offset}] or [{file, error}]: where pixels.bin holds what
                          transformers.image_utils.load_image makes of each
  pixels.bin              [height, width, 3] bytes, one picture after the other
  resize.json             [[kind, seed, width, height, new_width, new_height, crc32 of the result]]: torchvision's bicubic
                          antialiased resize of uint8 tensors
  smart.json              [{config: [factor, min, max], sizes: [[width, height, new_width, new_height] ...]}]
  patches.json            what Qwen2VLImageProcessor makes of drawn pictures: grid and crc32 of the float32 bytes

The pictures of the last three are drawn by draw() below, which tests/model/drawn.h repeats in C.
"""
import json
import math
import pathlib
import random
import struct
import warnings
import zlib

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tvf
from transformers import Qwen2VLImageProcessor
from transformers.image_utils import load_image
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

OUT = pathlib.Path(__file__).resolve().parent / "image"
KINDS = ["gradient", "noise", "binary", "text"]


# --- pictures, the same in C ---

def mixed(seed, x, y, c):
    """A well-mixed 32-bit number of each place."""
    n = np.uint32(seed) + x * np.uint32(0x9E3779B1) + y * np.uint32(0x85EBCA77) + c * np.uint32(0xC2B2AE3D)
    n ^= n >> np.uint32(15)
    n *= np.uint32(0x2C1B3C6D)
    n ^= n >> np.uint32(12)
    n *= np.uint32(0x297A2D39)
    return n ^ (n >> np.uint32(15))


def draw(kind, seed, width, height):
    y, x, c = np.meshgrid(*(np.arange(n, dtype=np.uint32) for n in (height, width, 3)), indexing="ij")
    if kind == "gradient":
        along = np.select([c == 0, c == 1], [x * 255 // max(width - 1, 1), y * 255 // max(height - 1, 1)],
                          (x + y) * 255 // max(width + height - 2, 1))
        return (along.astype(np.uint32) + np.uint32(seed) & 255).astype(np.uint8)
    if kind == "noise":
        return (mixed(seed, x, y, c) >> 24).astype(np.uint8)
    if kind == "binary":
        return ((mixed(seed, x, y, c) & 1) * 255).astype(np.uint8)
    # Lines of 12 rows, glyphs 6 columns wide of random dots, blanks between words, colours changing every 4 lines.
    ink = (y % 12 >= 2) & (y % 12 < 10) & (x % 6 < 5)
    ink &= mixed(seed + 1, x // 6, y // 12, np.zeros_like(c)) % 7 != 0
    ink &= mixed(seed + 2, x, y, np.zeros_like(c)) % 2 == 0
    paper = mixed(seed + 3, np.zeros_like(x), y // 48, c) >> 24
    return np.where(ink, 255 - paper, paper).astype(np.uint8)


# --- files ---

def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def adam7(width, height):
    for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):
        columns, rows = -((x0 - width) // dx), -((y0 - height) // dy)
        if columns > 0 and rows > 0:
            yield columns, rows


def png(width, height, depth, colour, interlace=0, before=b"", after=b"", seed=1):
    """A PNG of random samples with every row filter, built by hand: Pillow writes few of the kinds it reads."""
    rng, raw = random.Random(seed), b""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    for columns, rows in adam7(width, height) if interlace else [(width, height)]:
        for y in range(rows):
            raw += bytes([y % 5]) + rng.randbytes((columns * depth * channels + 7) // 8)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(raw, 9)) + after
            + chunk(b"IEND", b""))


def tiff(big, orientation, more=False):
    """An EXIF block that asks for an orientation, after another entry if `more`."""
    e = ">" if big else "<"
    entries = [(0x100, 3, 1, 640 << (16 if big else 0))] if more else []
    entries.append((0x112, 3, 1, orientation << (16 if big else 0)))
    head = (b"MM\0*" if big else b"II*\0") + struct.pack(e + "IH", 8, len(entries))
    return head + b"".join(struct.pack(e + "HHII", *one) for one in entries) + bytes(4)


def write_pngs():
    depths = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    rng = random.Random(7)
    for colour, each in depths.items():
        for depth in each:
            for interlace in (0, 1):
                palette = chunk(b"PLTE", rng.randbytes(3 << depth)) if colour == 3 else b""
                data = png(19, 13, depth, colour, interlace, palette)
                (OUT / f"colour{colour}-depth{depth}{'-interlaced' if interlace else ''}.png").write_bytes(data)
    full = chunk(b"PLTE", rng.randbytes(768))
    variants = {
        "palette-short": png(19, 13, 8, 3, before=chunk(b"PLTE", rng.randbytes(60))),
        "palette-alpha": png(19, 13, 8, 3, before=full + chunk(b"tRNS", rng.randbytes(256))),
        "palette-suggested": png(19, 13, 8, 2, before=full),
        "key-grey": png(19, 13, 2, 0, before=chunk(b"tRNS", b"\0\1")),
        "key-colour": png(19, 13, 8, 2, before=chunk(b"tRNS", b"\0\7\0\1\0\2")),
        "gamma": png(19, 13, 16, 6, before=chunk(b"gAMA", struct.pack(">I", 100000)) + chunk(b"sBIT", b"\5\5\5\5")),
        "background": png(19, 13, 8, 6, before=chunk(b"bKGD", b"\0\1\0\2\0\3")),
        "exif-after": png(19, 13, 8, 2, after=chunk(b"eXIf", tiff(True, 6))),
        "exif-second": png(19, 13, 8, 2, before=chunk(b"eXIf", tiff(False, 8, True))),
        "exif-nine": png(19, 13, 8, 2, before=chunk(b"eXIf", tiff(False, 9))),
        "exif-cut": png(19, 13, 8, 2, before=chunk(b"eXIf", tiff(True, 6)[:-12])),
        "one-by-one": png(1, 1, 8, 6),
        "column": png(1, 700, 8, 0),
        "row": png(30000, 1, 1, 0),
    }
    for name, data in variants.items():
        (OUT / f"{name}.png").write_bytes(data)


def write_lossy():
    picture = Image.fromarray(np.where(np.arange(37)[None, :, None] < 20, draw("gradient", 0, 37, 29),
                                       draw("text", 5, 37, 29)))
    jpegs = {
        "plain": {}, "full": {"subsampling": 0, "quality": 95}, "half": {"subsampling": 1}, "coarse": {"quality": 5},
        "progressive": {"progressive": True}, "progressive-full": {"progressive": True, "subsampling": 0, "quality": 40},
        "restarts": {"restart_marker_blocks": 2}, "optimised": {"optimize": True},
    }
    for name, options in jpegs.items():
        picture.save(OUT / f"{name}.jpg", **options)
    picture.convert("L").save(OUT / "grey.jpg")
    picture.convert("CMYK").save(OUT / "cmyk.jpg")
    picture.crop((0, 0, 1, 1)).save(OUT / "one-by-one.jpg")
    picture.crop((0, 0, 8, 8)).resize((7, 65)).save(OUT / "narrow.jpg")
    opaque = Image.fromarray(draw("noise", 9, 37, 29)[..., 0])
    clear = picture.copy()
    clear.putalpha(opaque)
    picture.save(OUT / "lossy.webp", quality=80)
    picture.save(OUT / "lossless.webp", lossless=True)
    clear.save(OUT / "lossy-alpha.webp", quality=60)
    clear.save(OUT / "lossless-alpha.webp", lossless=True, exact=True)
    picture.crop((0, 0, 1, 1)).save(OUT / "one-by-one.webp")
    for orientation in range(1, 9):
        for kind in ("jpg", "png", "webp"):
            small = picture.crop((10, 3, 29, 16))
            small.save(OUT / f"orientation{orientation}.{kind}", exif=b"Exif\0\0" + tiff(orientation % 2 == 0, orientation))


def write_files():
    for old in OUT.glob("*"):
        if old.suffix in (".png", ".jpg", ".webp"):
            old.unlink()
    write_pngs()
    write_lossy()
    cases, pixels = [], b""
    for path in sorted(OUT.glob("*")):
        if path.suffix not in (".png", ".jpg", ".webp"):
            continue
        rgb = np.array(load_image(str(path)))
        height, width, _ = rgb.shape
        cases.append({"file": path.name, "width": width, "height": height, "offset": len(pixels)})
        pixels += rgb.tobytes()
    (OUT / "pixels.bin").write_bytes(pixels)
    # A profile that unpacks to 8 MiB: Pillow gives up, escriba never looks at it.
    bomb = chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(8 << 20), 9)) + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(8 << 20), 9))
    (OUT / "bomb.png").write_bytes(png(19, 13, 8, 2, before=bomb))
    cases.append({**next(one for one in cases if one["file"] == "colour2-depth8.png"), "file": "bomb.png"})
    # A kind that escriba refuses, told apart from a damaged file.
    frames = [Image.fromarray(draw("noise", seed, 9, 7)) for seed in (1, 2)]
    frames[0].save(OUT / "animated.webp", save_all=True, append_images=frames[1:])
    cases.append({"file": "animated.webp", "error": "unsupported"})
    write_rows(OUT / "files.json", cases)


def write_rows(path, rows):
    path.write_text("{\"cases\": [\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]}\n")


# --- resizing ---

def write_resizes():
    rng = random.Random(11)
    shapes = [(37, 53, 64, 64), (200, 100, 192, 96), (640, 480, 320, 320), (1920, 1080, 1024, 576), (33, 33, 32, 32),
              (64, 64, 160, 128), (900, 7, 2000, 32), (7, 900, 32, 640), (1, 1, 256, 256), (3, 2, 256, 256),
              (2000, 20, 320, 32), (300, 300, 96, 300), (300, 300, 300, 96), (300, 200, 300, 200), (40, 5000, 32, 960),
              (4800, 32, 3168, 32), (32, 4800, 32, 3168), (1280, 720, 1280, 704), (768, 432, 768, 448),
              (1500, 10, 2, 2), (255, 257, 256, 256), (256, 256, 255, 257), (31, 4, 29, 3), (5, 70, 3, 65)]
    for _ in range(60):
        shapes.append(tuple(rng.randint(1, 400) for _ in range(4)))
    cases = []
    for i, (w, h, new_w, new_h) in enumerate(shapes):
        for kind in (KINDS if i < 24 else [KINDS[i % 4]]):
            tensor = torch.from_numpy(draw(kind, i, w, h)).permute(2, 0, 1).contiguous()
            out = tvf.resize(tensor, [new_h, new_w], interpolation=InterpolationMode.BICUBIC, antialias=True)
            cases.append([kind, i, w, h, new_w, new_h, zlib.crc32(out.permute(1, 2, 0).contiguous().numpy().tobytes())])
    write_rows(OUT / "resize.json", cases)


def write_smart_resizes():
    rng, groups = random.Random(13), []
    for factor, low, high in ((32, 65536, 16777216), (28, 3136, 1003520), (32, 1024, 589824), (16, 1, 4096), (24, 90000, 90000),
                              (32, 65536, 65536), (2, 100, 1 << 20)):
        sizes = [(1024, 576), (1280, 720), (768, 432), (1920, 1080), (2560, 1600), (1, 1), (200, 1), (1, 200), (201, 1),
                 (30000, 150), (30000, 149), (16, 48), (48, 80), (80, 16000), (8000, 8000), (12, 1)]
        for _ in range(180):
            big = int(math.exp(rng.uniform(0, math.log(9000))))
            sizes.append((big, int(math.exp(rng.uniform(0, math.log(9000))))) if rng.random() < 0.3 else
                         (big, max(1, int(big * rng.uniform(0.2, 3)))))
        rows = []
        for w, h in sizes:
            try:
                new_h, new_w = smart_resize(h, w, factor, low, high)
            except ValueError:
                new_h = new_w = 0
            rows.append([w, h, new_w, new_h])
        groups.append({"config": [factor, low, high], "sizes": rows})
    write_rows(OUT / "smart.json", groups)


def write_patches():
    cases = []
    plain = {"patch": 16, "merge": 2, "temporal": 2, "min": 65536, "max": 16777216, "mean": [0.5] * 3, "std": [0.5] * 3}
    clip = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}
    for kind, seed, w, h, change in (
            ("text", 1, 333, 217, {}), ("noise", 2, 1920, 1080, {"max": 589824}), ("gradient", 3, 1, 1, {}),
            ("noise", 4, 1500, 10, {}), ("noise", 5, 10, 1500, {}), ("binary", 6, 100, 80, {"min": 1024}),
            ("text", 7, 384, 224, {"min": 1024}), ("noise", 8, 200, 1, {"min": 1024}),
            ("noise", 9, 123, 77, {"patch": 14, "min": 3136, **clip}), ("noise", 10, 90, 120, {"patch": 8, "merge": 3, "min": 64}),
            ("noise", 11, 90, 120, {"merge": 1, "temporal": 1, "min": 64}), ("text", 12, 640, 400, {"max": 65536, **clip}),
            ("noise", 13, 70, 50, {"patch": 5, "merge": 4, "temporal": 3, "min": 400,
                                   "mean": [0.1, 0.2, 0.3], "std": [0.9, 1.1, 0.33]})):
        c = {**plain, **change}
        processor = Qwen2VLImageProcessor(
            patch_size=c["patch"], merge_size=c["merge"], temporal_patch_size=c["temporal"], image_mean=c["mean"],
            image_std=c["std"], size={"shortest_edge": c["min"], "longest_edge": c["max"]})
        out = processor(images=[Image.fromarray(draw(kind, seed, w, h))], return_tensors="pt")
        values = out["pixel_values"].numpy()
        assert values.dtype == np.float32
        _, grid_h, grid_w = out["image_grid_thw"][0].tolist()
        cases.append({"kind": kind, "seed": seed, "width": w, "height": h, **c, "grid": [grid_h, grid_w],
                      "crc": zlib.crc32(values.tobytes()), "first": [float(v) for v in values.flatten()[:4]]})
    write_rows(OUT / "patches.json", cases)


def main():
    warnings.simplefilter("ignore")
    OUT.mkdir(exist_ok=True)
    write_files()
    write_resizes()
    write_smart_resizes()
    write_patches()


if __name__ == "__main__":
    main()
