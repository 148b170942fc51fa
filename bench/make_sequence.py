#!/usr/bin/env python3
"""Draws the frames of something like a screen recording, one each ten seconds: mostly small changes, some switches
between windows, some frames that are exactly as the one before.

    bench/make_sequence.py OUT_DIR [--count 182] [--size 1024x576] [--seed 1]

The same arguments give the same bytes. Prints how many frames are of each kind. Python 3 standard library only.
"""

import argparse
import os
import random
import struct
import sys
import zlib

WINDOWS = 6
LINE, GAP = 7, 14  # height of a line of something like text, and from one to the next


class Screen:
    def __init__(self, width, height):
        self.width, self.height = width, height
        self.rgb = bytearray(3 * width * height)

    def box(self, x, y, w, h, colour):
        x, w = max(0, x), min(w, self.width - x)
        if w <= 0:
            return
        line = bytes(colour) * w
        for row in range(max(0, y), min(y + h, self.height)):
            at = 3 * (row * self.width + x)
            self.rgb[at:at + 3 * w] = line

    def png(self):
        stride = 3 * self.width
        rows = b"".join(b"\0" + self.rgb[y * stride:(y + 1) * stride] for y in range(self.height))

        def chunk(kind, data):
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        header = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 6)) +
                chunk(b"IEND", b""))


def window_lines(number, count, seed):
    """Words of each line, as widths, of a window as it is when it is first seen."""
    dice = random.Random(seed * 1000 + number)
    return [[dice.randint(8, 68) for _ in range(dice.randint(2, 12))] for _ in range(count)]


def draw(screen, number, lines, cursor):
    paper = ((16, 20, 28), (250, 250, 248), (30, 30, 46), (238, 244, 250), (12, 12, 12), (255, 252, 240))[number % 6]
    ink = (200, 204, 210) if paper[0] < 128 else (50, 54, 62)
    screen.box(0, 0, screen.width, screen.height, paper)
    screen.box(0, 0, screen.width, 26, (60 + 20 * number, 74, 120 - 12 * number))
    screen.box(0, 26, screen.width // 6, screen.height, tuple((c + 128) // 2 for c in paper))
    for i, words in enumerate(lines):
        x, y = screen.width // 6 + 16, 40 + i * GAP
        for width in words:
            screen.box(x, y, width, LINE, ink)
            x += width + 7
    screen.box(screen.width // 6 + 16 + 9 * (cursor[0] % 60), 40 + GAP * cursor[1], 3, LINE + 4, (230, 80, 60))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--count", type=int, default=182)
    parser.add_argument("--size", default="1024x576")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    width, height = (int(n) for n in args.size.split("x"))
    os.makedirs(args.out, exist_ok=True)
    dice, screen = random.Random(args.seed), Screen(width, height)
    count = (height - 60) // GAP
    windows = [window_lines(n, count, args.seed) for n in range(WINDOWS)]
    at, cursor, data, kinds = 0, [0, 0], b"", {"small change": 0, "switch": 0, "repeat": 0}
    for i in range(args.count):
        chance = dice.random()
        kind = "switch" if i == 0 or chance < 0.1 else "repeat" if chance < 0.3 else "small change"
        if kind == "switch":
            at = dice.randrange(WINDOWS)
        if kind == "small change":
            cursor = [cursor[0] + dice.randint(1, 20), dice.randrange(count)]
            words = windows[at][cursor[1]]
            words.append(dice.randint(8, 68)) if len(words) < 12 else words.pop(dice.randrange(len(words)))
        if kind != "repeat":
            draw(screen, at, windows[at], cursor)
            data = screen.png()
        kinds[kind] += 1
        with open(os.path.join(args.out, "frame_%05ds.png" % (10 * i)), "wb") as file:
            file.write(data)
    print(", ".join("%d %s%s" % (n, kind, "" if n == 1 else "s" if kind != "switch" else "es")
                    for kind, n in kinds.items()))


if __name__ == "__main__":
    sys.exit(main())
