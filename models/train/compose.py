"""Whole screens: a desktop of some size, a main window, others behind and beside it, clutter."""
import random

from draw import Canvas, Theme, families, hsl, mix
from records import ALL, KINDS, MORE, record
from words import TOPICS, Words, topics_of
import screens_apps as A
import screens_ide as I
import screens_more as M
import screens_web as B

DRAW = {"code": I.ide, "ide_debug": I.ide, "ide_diff": I.ide}
DRAW.update({k: I.terminal for k in "vim gdb pydebug trace gitdiff man shell build tests logs top".split()})
DRAW.update({k: B.browser for k in B.PAGES})
DRAW.update({k: getattr(A, k) for k in "meeting chat mail files sheet music calendar pdf desktop".split()})
DRAW.update({"editor": M.editor, "diffview": M.diffview}, **{k: I.terminal for k in MORE if ALL[k][1][0] == "Terminal"})
TITLES = {"Editor": "Editor", "Diff Viewer": "Compare", "VS Code": "VS Code", "Browser": "Browser", "Zoom": "Zoom", "Slack": "Slack", "Mail": "Mail", "Files": "Files", "Spreadsheet": "Spreadsheet",
          "Music": "Music", "Calendar": "Calendar", "PDF Viewer": "Document Viewer", "Terminal": "Terminal"}

# (model width, model height, screens that give it); weights favour 16:9
SIZES = [((640, 352), [(1024, 576), (1280, 720), (1366, 768), (1600, 900), (1920, 1080)], 6),
         ((608, 384), [(1280, 800), (1440, 900), (1680, 1050), (1024, 640)], 2), ((544, 416), [(1024, 768), (800, 600), (1400, 1050)], 1),
         ((576, 384), [(1080, 720), (1200, 800), (900, 600)], 1), ((736, 320), [(1290, 540), (1720, 720)], .5)]
HELD_SIZES = [((640, 352), [(1120, 630), (1536, 864), (960, 540)], 4), ((576, 416), [(1152, 832), (900, 650)], 1), ((704, 320), [(1720, 780), (1200, 545)], 1),
              ((608, 384), [(1216, 768)], 2)]


class Context:
    """What a screen is drawn from: the random source, words, subjects, fonts and the base size of letters."""

    def __init__(self, r, topics, base, held):
        self.r, self.topics, self.base, self.held = r, topics, base, held
        self.w = Words(r, held)
        self.theme = Theme(r, held=held)
        self.ui, self.bold = self.font("sans"), self.font("bold")

    def font(self, kind): return self.r.choice(families(kind, self.held))

    def pick(self, p):
        """The main subject with probability p, seldom another one of the screen's subjects."""
        if not self.topics or self.r.random() > p:
            return None
        return self.topics[0] if p == 1 or len(self.topics) == 1 or self.r.random() < .62 else self.r.choice(self.topics[1:])


def window(c, x, y, w, h, ctx, kind, bare=False):
    """A window with its frame; draws the kind inside."""
    r, s = ctx.r, ctx.base
    x, y, w, h = int(x), int(y), int(w), int(h)
    c.area(x, y, w, h, kind)
    th = Theme(r, held=ctx.held)
    if not bare:
        if r.random() < .3:
            c.rect(x - 3, y - 3, w + 8, h + 8, mix(th.bg, (0, 0, 0), .6))
        bar = int(s * r.uniform(1.7, 2.3))
        c.rect(x, y, w, bar, r.choice([th.panel, th.bg, th.panel, th.accent if r.random() < .4 else th.panel]))
        col, style = c.im.getpixel((x + 2, y + 2)), r.randint(0, 2)
        fg = (240, 240, 240) if sum(col) < 380 else (25, 25, 25)
        app, t = ALL[kind][1][0], ctx.pick(.8)
        if kind in ("code", "editor", "diffview", "ide_debug", "ide_diff", "files", "pdf", "sheet"):
            name = ctx.w.filename(t) if kind != "files" else t or ctx.w.noun()
        elif app == "Terminal":
            name = r.choice([ctx.w.name().lower() + "@" + ctx.w.noun() + ": ~/" + (t or ctx.w.noun()), "Terminal", t or "bash", "Terminal"])
        else:
            name = ctx.w.title(t)
        title = r.choice(["%s - %s" % (name, TITLES[app]), name, TITLES[app]]) if app != "Terminal" else name
        us = max(8, int(s * .95))
        q = us * .8
        if style == 0:
            for i, dot in enumerate([(255, 95, 86), (255, 189, 46), (39, 201, 63)]):
                c.d.ellipse((x + 8 + i * q * 1.6, y + bar * .5 - q / 2, x + 8 + i * q * 1.6 + q, y + bar * .5 + q / 2), fill=dot)
        else:
            for i in range(3):
                bx, by = x + w - 8 - (i + 1) * q * 1.9, y + bar * .5
                if i == 0:
                    c.d.line((bx, by - q / 2, bx + q, by + q / 2), fill=fg, width=2)
                    c.d.line((bx, by + q / 2, bx + q, by - q / 2), fill=fg, width=2)
                elif i == 1:
                    c.rect(int(bx), int(by - q / 2), int(q), int(q), None, 0, fg)
                else:
                    c.rect(int(bx), int(by), int(q), 2, fg)
        c.text(x + (8 if style == 1 else q * 7), y + bar * .2, title, (r.choice([ctx.ui, ctx.bold]), us), fg, x + w - q * 7, align="center" if style != 1 else None, width=w - q * 14 if style != 1 else 0)
        y, h = y + bar, h - bar
    DRAW[kind](c, x, y, w, h, ctx, kind)
    if not bare and r.random() < .6:
        c.d.rectangle((x, y - 1, x + w - 1, y + h - 1), outline=th.line)


def panel(c, ctx, th):
    """The desktop's own bar; returns the free rectangle."""
    r, s = ctx.r, ctx.base
    k = r.random()
    if k < .3:
        return 0, 0, c.w, c.h
    q = int(s * r.uniform(1.8, 2.8))
    col = r.choice([th.panel, (20, 20, 20), (235, 235, 235), hsl(r.random(), .3, .2)])
    fg = (240, 240, 240) if sum(col) < 380 else (20, 20, 20)
    top = k < .6
    y = 0 if top else c.h - q
    c.rect(0, y, c.w, q, col)
    c.text(c.w - s * 6, y + q * .2, ctx.w.clock(), (ctx.ui, s), fg)
    if top:
        c.text(s, y + q * .2, r.choice(["Activities", "Applications  Places", "File  Edit  View  Window  Help", "Menu"]), (ctx.bold, s), fg)
    else:
        for i in range(r.randint(3, 9)):
            c.rect(int(s + i * q * 1.2), y + 3, q - 6, q - 6, hsl(r.random(), .5, .5), 4)
    free = [0, q if top else 0, c.w, c.h - q]
    if r.random() < .15:
        d = int(s * 3.6)
        c.rect(0, free[1], d, free[3], mix(col, (0, 0, 0), .2))
        for i in range(6):
            c.rect(6, free[1] + 6 + i * d, d - 12, d - 12, hsl(r.random(), .5, .5), 6)
        free[0], free[2] = d, free[2] - d
    return free


def clutter(c, ctx):
    r, s = ctx.r, ctx.base
    if r.random() < .12:  # a notification
        w, h = int(s * 20), int(s * 5)
        x, y = c.w - w - 12, r.choice([int(s * 3), c.h - h - int(s * 4)])
        if x > 0 and y > 0:
            th = Theme(r, held=ctx.held)
            c.area(x, y, w, h, None)
            c.rect(x, y, w, h, th.panel, 6, th.line)
            c.rect(x + 8, y + 8, int(s * 2), int(s * 2), th.accent, 4)
            c.text(x + s * 3.4, y + s * .7, ctx.w.name(), (ctx.bold, s), th.fg, x + w)
            c.text(x + s * 3.4, y + s * 2.4, ctx.w.sentence(), (ctx.ui, s), th.dim, x + w)
    if r.random() < .7:  # the pointer
        x, y, q = r.uniform(0, c.w), r.uniform(0, c.h), s * r.uniform(.8, 1.4)
        c.d.polygon([(x, y), (x, y + q * 1.4), (x + q * .35, y + q), (x + q, y + q)], fill=(0, 0, 0) if r.random() < .5 else (255, 255, 255), outline=(128, 128, 128))


def screen(seed, held=False, kind=None, topics=None):
    """Returns (canvas, model size, record). The record names what can be seen."""
    r = random.Random(seed)
    kind = kind or r.choice(list(KINDS) if held or r.random() < .76 else list(MORE))
    topics = topics_of(r) if topics is None else topics
    table = HELD_SIZES if held else SIZES
    (mw, mh), natives, _ = r.choices(table, [t[2] for t in table])[0]
    W, H = r.choice(natives) if held else r.choices(natives, [1 / n[0] for n in natives])[0]  # large ones take long to draw
    scale = mw / W
    base = max(8, int(round(r.choice([r.uniform(7.2, 9.5), r.uniform(8, 11), r.uniform(9, 14)]) / scale)))
    ctx = Context(r, topics, base, held)
    c = Canvas(W, H, hsl(r.random(), r.uniform(0, .5), r.uniform(.05, .8)))
    c.area(0, 0, W, H, None)
    if r.random() < .35:
        B.picture(c, 0, 0, W, H, r)
    x, y, w, h = panel(c, ctx, ctx.theme)
    extra = []
    k = r.random()
    if kind == "desktop":
        c.area(x, y, w, h, kind)
        A.desktop(c, x, y, w, h, ctx, kind)
    elif k < .3:
        window(c, x, y, w, h, ctx, kind, bare=True)
    elif k < .55:
        window(c, x, y, w, h, ctx, kind)
    else:
        other = None
        if k > .7:
            other = r.choice([o for o in KINDS if o != "desktop" and KINDS[o][0] != "meeting"])
        octx = Context(r, [], base, held)
        if k < .9:  # one window, perhaps one behind it
            f = r.uniform(.72, .95)
            ww, wh = w * f, h * r.uniform(max(.7, f - .1), min(1, f + .1))
            wx, wy = x + r.uniform(0, w - ww), y + r.uniform(0, h - wh)
            if other:
                window(c, x + r.uniform(0, w * .2), y + r.uniform(0, h * .2), w * .78, h * .78, octx, other)
            window(c, wx, wy, ww, wh, ctx, kind)
        else:  # side by side: both are in use, the larger one says what is done
            f = r.uniform(.58, .68)
            left = r.random() < .5
            window(c, x if not left else x + w * (1 - f), y, w * f, h, ctx, kind)
            window(c, x + w * f if not left else x, y, w * (1 - f), h, octx, other)
            extra = KINDS[other][1][:1]
    clutter(c, ctx)
    seen = c.visible_weights(scale)
    names = [t for t in topics[:1] if seen.get(t, 0) > 0] + sorted(t for t in topics[1:] if seen.get(t, 0) >= 100)
    if names and topics and names[0] != topics[0]:
        names.sort(key=lambda t: -seen[t])
    return c, (mw, mh), record(kind, names, extra)
