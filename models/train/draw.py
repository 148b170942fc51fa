"""A canvas that remembers the words it draws, so that every picture comes with dense labels.

The labels are used in training only: which subject can be read in a cell of 32 x 32 model pixels, which
letters a patch of 16 x 16 holds, which kind of window a cell belongs to.
"""
import colorsys
import glob
import os
import re
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont

from records import ALL
from words import TOPICS

KIND_ID = {k: i + 1 for i, k in enumerate(ALL)}  # 0: no window
TOPIC_ID = {t: i + 1 for i, t in enumerate(TOPICS)}  # 0: none
TOPIC_RE = re.compile("|".join(TOPICS))
IGNORE = -1
READABLE = 6.4  # smallest font size, in model pixels, at which a subject counts as readable

FONTS = {  # family: (train files, held-out files)
    "mono": ("DejaVuSansMono LiberationMono-Regular NotoSansMono-Regular NotoMono-Regular JetBrainsMono-Regular "
             "FiraCode-Regular Hack-Regular FreeMono NimbusMonoPS-Bold CourierPrimeCode AnonymousPro DejaVuSansMono-Bold "
             "LiberationMono-Bold JetBrainsMono-Medium DejaVuSansMono Monoid-Regular",
             "Inconsolata mononoki-Regular CourierPrimeSans"),
    "sans": ("DejaVuSans LiberationSans-Regular NotoSans-Regular Roboto-Regular OpenSans-Regular Inter-Regular "
             "Cantarell-Regular FreeSans NimbusSans-Regular DejaVuSansCondensed Roboto-Medium Quicksand-Medium",
             "Lato-Regular Cabin-Regular"),
    "bold": ("DejaVuSans-Bold LiberationSans-Bold NotoSans-Bold Roboto-Bold OpenSans-Bold Inter-Bold FreeSansBold "
             "NimbusSans-Bold", "Lato-Bold Cabin-Bold"),
    "serif": ("DejaVuSerif LiberationSerif-Regular NotoSerif-Regular Tinos-Regular C059-Roman P052-Roman FreeSerif "
              "NimbusRoman-Regular", "EBGaramond12-Regular URWBookman-Light"),
}


@lru_cache(None)
def _font_files():
    files = glob.glob(os.environ.get("ESCRIBA_FONTS", "/usr/share/fonts") + "/**/*.[to]tf", recursive=True)
    return {os.path.splitext(os.path.basename(f))[0].replace(" ", ""): f for f in files}


@lru_cache(None)
def families(kind, held):
    found = _font_files()
    return [n for n in FONTS[kind][1 if held else 0].split() if n in found]


@lru_cache(4096)
def font(name, size):
    f = ImageFont.truetype(_font_files()[name], size, layout_engine=ImageFont.Layout.BASIC)
    widths = {}
    return f, widths


def advance(f, widths, ch):
    w = widths.get(ch)
    if w is None:
        w = widths[ch] = f.getlength(ch)
    return w


def hsl(h, s, l):
    return tuple(int(255 * v) for v in colorsys.hls_to_rgb(h % 1, l, s))


def mix(a, b, t):
    return tuple(int(x + (y - x) * t) for x, y in zip(a, b))


class Theme:
    """Colours drawn at random; held-out themes use tints that training never sees."""

    def __init__(self, r, dark=None, held=False):
        dark = r.random() < .5 if dark is None else dark
        hue = r.uniform(.30, .45) if held else r.choice([r.uniform(0, .28), r.uniform(.47, 1)])
        sat = r.choice([0, 0, r.uniform(0, .35)]) if not held else r.uniform(.1, .4)
        self.dark = dark
        self.bg = hsl(hue, sat, r.choice([r.uniform(0, .06), r.uniform(.08, .2)]) if dark else r.choice([1, r.uniform(.9, 1)]))
        self.fg = hsl(hue, sat / 3, r.uniform(.75, 1) if dark else r.uniform(0, .25))
        self.dim = mix(self.fg, self.bg, r.uniform(.35, .55))
        self.panel = mix(self.bg, self.fg, r.uniform(.03, .12))
        self.line = mix(self.bg, self.fg, r.uniform(.12, .3))
        self.accent = hsl(r.random() if not held else hue + r.uniform(-.1, .1), r.uniform(.5, .95), r.uniform(.35, .6))
        self.select = mix(self.bg, self.accent, r.uniform(.2, .4))
        lum = lambda: r.uniform(.6, .8) if dark else r.uniform(.25, .42)
        col = lambda: hsl(r.random(), r.uniform(.4, 1), lum())
        self.code = {"p": self.fg, "k": col(), "f": col(), "s": col(), "n": col(), "c": self.dim, "t": col()}
        self.red = hsl(r.uniform(-.03, .03), r.uniform(.6, 1), lum())
        self.green = hsl(r.uniform(.28, .42), r.uniform(.5, 1), lum())
        self.yellow = hsl(r.uniform(.11, .16), r.uniform(.6, 1), lum())
        self.blue = hsl(r.uniform(.55, .65), r.uniform(.5, 1), lum())


def shrink(im, w, h):
    """Antialiased bicubic as bytes [h, w, 3]: Pillow's within one level, in half the time."""
    x = torch.from_numpy(np.array(im)).permute(2, 0, 1)[None]
    return F.interpolate(x, (h, w), mode="bicubic", antialias=True)[0].permute(1, 2, 0).contiguous().numpy()


class Canvas:
    def __init__(self, w, h, fill):
        self.w, self.h = int(w), int(h)
        self.im = Image.new("RGB", (self.w, self.h), fill)
        self.d = ImageDraw.Draw(self.im)
        self.d.fontmode = "L"
        self.topics = []   # [x0, y0, x1, y1, id, size]
        self.chars = []    # [x, y, code, size]
        self.areas = []    # (x0, y0, x1, y1, kind id)

    def area(self, x, y, w, h, kind):
        """A window opens: what it covers can no longer be read."""
        x1, y1 = x + w, y + h
        self.topics = [t for t in self.topics if min(t[2], x1) - max(t[0], x) <= .25 * (t[2] - t[0]) or not (y - 2 < (t[1] + t[3]) / 2 < y1 + 2)]
        self.chars = [c for c in self.chars if not (x <= c[0] < x1 and y <= c[1] < y1)]
        self.areas.append((x, y, x1, y1, KIND_ID.get(kind, 0)))

    def rect(self, x, y, w, h, fill=None, radius=0, outline=None, width=1):
        if w < 1 or h < 1:
            return
        if radius:
            self.d.rounded_rectangle((x, y, x + w - 1, y + h - 1), radius, fill, outline, width)
        else:
            self.d.rectangle((x, y, x + w - 1, y + h - 1), fill, outline, width)

    def text(self, x, y, s, fnt, fill, max_x=None, align=None, width=0):
        """Draws s with its line box's top at y; cuts it at max_x. fnt is (family name, size). Returns the end."""
        f, widths = font(*fnt)
        size = fnt[1]
        adv = [advance(f, widths, ch) for ch in s]
        if align:
            x += (width - sum(adv)) * (.5 if align == "center" else 1)
        max_x = min(max_x or self.w, self.w)
        pos, end = [], x
        for i, a in enumerate(adv):
            if end + a > max_x:
                s = s[:i]
                break
            pos.append(end)
            end += a
        if not s or y + size > self.h + 1 or y < 0 or x < 0:
            return end
        self.d.text((x, y), s, font=f, fill=fill)
        cy = y + size * .62
        low = s.lower()
        self.chars += [(p + a / 2, cy, ord(ch) - 97, size) for ch, p, a in zip(low, pos, adv) if "a" <= ch <= "z"]
        for m in TOPIC_RE.finditer(low):
            i, j = m.span()
            self.topics.append((pos[i], y, pos[j - 1] + adv[j - 1], y + size * 1.2, TOPIC_ID[m[0]], size))
        return end

    def visible_weights(self, scale):
        """How much of the screen each readable subject takes, in square model pixels of letter size."""
        weight = {}
        for x0, y0, x1, y1, t, size in self.topics:
            if size * scale >= READABLE:
                weight[TOPICS[t - 1]] = weight.get(TOPICS[t - 1], 0) + (size * scale) ** 2
        return weight

    def finish(self, mw, mh):
        """The picture at the model's size (mw x mh, multiples of 32) and its dense labels."""
        sx, sy = mw / self.w, mh / self.h
        arr = shrink(self.im, mw, mh)
        ch, cw = mh // 32, mw // 32
        kind = np.zeros((ch, cw), np.int8)
        yy, xx = np.mgrid[0:ch, 0:cw] * 32 + 16
        for x0, y0, x1, y1, k in self.areas:
            kind[(xx >= x0 * sx) & (xx < x1 * sx) & (yy >= y0 * sy) & (yy < y1 * sy)] = k
        topic = np.zeros((ch, cw), np.int8)
        ignore = np.zeros((ch, cw), bool)
        for x0, y0, x1, y1, t, size in sorted(self.topics, key=lambda t: t[5]):
            ax0, ax1, cy = x0 * sx, x1 * sx, (y0 + y1) / 2 * sy
            row = int(cy // 32)
            if not 0 <= row < ch:
                continue
            readable = size * sy >= READABLE
            for col in range(max(0, int(ax0 // 32)), min(cw, int(ax1 // 32) + 1)):
                over = min(ax1, col * 32 + 32) - max(ax0, col * 32)
                if readable and over >= .34 * min(ax1 - ax0, 48):
                    topic[row, col] = t
                else:
                    ignore[row, col] = True
        topic[ignore & (topic == 0)] = IGNORE
        bits = np.zeros((mh // 16, mw // 16), np.uint32)
        if self.chars:
            c = np.array(self.chars, np.float32)
            c = c[c[:, 3] * sy >= 5.5]
            px, py = (c[:, 0] * sx / 16).astype(int), (c[:, 1] * sy / 16).astype(int)
            ok = (px >= 0) & (px < bits.shape[1]) & (py >= 0) & (py < bits.shape[0])
            np.bitwise_or.at(bits, (py[ok], px[ok]), np.uint32(1) << c[ok, 2].astype(np.uint32))
        return arr, kind, topic, bits
