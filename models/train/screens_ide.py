"""Windows of terminals and of the code editor."""
from draw import Theme, families, font, advance, hsl, mix
from screens_more import More


def palette(r, held):
    """Colours of a terminal by key."""
    k = r.random()
    th = Theme(r, dark=k < .72, held=held)
    if k < .2:
        th.bg, th.fg = (0, 0, 0), r.choice([(255, 255, 255), (204, 204, 204), (229, 229, 229)])
    elif k > .88:
        th.bg, th.fg = (255, 255, 255), (0, 0, 0)
    lum = lambda: r.uniform(.55, .75) if th.dark else r.uniform(.25, .42)
    sat = r.uniform(.4, 1)
    p = {"bg": th.bg, "fg": th.fg, "dim": th.dim, "red": hsl(0, sat, lum()), "green": hsl(.33, sat, lum()), "yellow": hsl(.14, sat, lum()),
         "blue": hsl(.61, sat, lum()), "magenta": hsl(.83, sat, lum()), "cyan": hsl(.5, sat, lum())}
    if r.random() < .06 and th.dark:  # one colour only
        one = r.choice([(60, 240, 90), (250, 180, 60)])
        p.update({c: one for c in p if c != "bg"})
    elif r.random() < .12:  # a program that uses no colours
        p.update({c: th.fg for c in p if c != "bg"})
    p["bold"], p["under"], p["inv"] = p["fg"], p["fg"], p["fg"]
    return p, th


def terminal(c, x, y, w, h, ctx, kind):
    r = ctx.r
    pal, th = palette(r, ctx.held)
    if kind in ("commander", "tedit", "textweb", "history") and r.random() < .3:  # programs that bring their own colours
        pal.update(bg=hsl(r.uniform(.55, .7), r.uniform(.5, 1), r.uniform(.15, .35)), fg=(225, 225, 225), bold=(255, 255, 255), inv=hsl(.5, 1, .6))
    name = ctx.font("mono")
    size = ctx.base
    f, widths = font(name, size)
    cw, lh = advance(f, widths, "M"), int(round(size * r.uniform(1.15, 1.4)))
    c.rect(x, y, w, h, pal["bg"])
    if r.random() < .12:  # tabs
        c.rect(x, y, w, lh + 8, th.panel)
        for i in range(r.randint(2, 4)):
            c.text(x + 10 + i * w / 4, y + 4, ctx.w.noun() if i else ctx.pick(.7) or "bash", (ctx.ui, size), th.fg if i == 0 else th.dim, x + (i + 1) * w / 4)
        y, h = y + lh + 8, h - lh - 8
    status = r.random() < .08
    pad = r.choice([2, 2, 4, 8])
    cols, rows = int((w - 2 * pad) / cw), int((h - 2 * pad) / lh) - (1 if status else 0)
    if cols < 20 or rows < 5:
        return
    lines = getattr(More(ctx, cols, rows), kind)()
    full = kind in ("vim", "man", "top", "gitdiff", "tedit", "history", "textweb", "commander", "sidediff")
    lines = lines[:rows] if full else lines[-rows:]
    ty = y + pad
    for ln in lines:
        tx, col = x + pad, 0
        for s, k in ln:
            s = s[:max(0, cols - col)]
            if k == "inv" and s:
                c.rect(int(tx), int(ty), int(cw * len(s)) + 1, lh, pal["fg"])
                c.text(tx, ty, s, (name, size), pal["bg"])
            elif s:
                c.text(tx, ty, s, (name, size), pal[k])
                if k in ("bold",):
                    c.d.text((tx + 1, ty), s, font=f, fill=pal[k])
            tx, col = tx + cw * len(s), col + len(s)
        ty += lh
    if not full and lines and r.random() < .8:
        c.rect(int(tx), int(ty - lh), int(cw), lh, pal["fg"])
    if status:
        c.rect(x, y + h - lh, w, lh, pal["green"])
        c.text(x + 4, y + h - lh, "[0] 0:%s* 1:%s" % ("bash", ctx.w.noun()), (name, size), pal["bg"])


def code_lines(c, x, y, w, h, ctx, th, lines, first, name, size, lh, cur=None, marks=None, back=None):
    """Numbered source lines; `marks` are lines with a breakpoint, `cur` the line stopped at, `back` colours by line."""
    gut = int(size * 3.2)
    for i, ln in enumerate(lines):
        ty = y + i * lh
        if ty + lh > y + h:
            break
        if back and back[i]:
            c.rect(x + gut, int(ty), w - gut, lh, back[i])
        if cur == i:
            c.rect(x + gut, int(ty), w - gut, lh, mix(th.bg, th.yellow, .3))
            c.d.polygon([(x + 3, ty + 3), (x + 3 + size * .7, ty + lh / 2), (x + 3, ty + lh - 3)], fill=th.yellow)
        elif marks and i in marks:
            c.d.ellipse((x + 3, ty + lh * .2, x + 3 + lh * .6, ty + lh * .8), fill=(220, 50, 50))
        c.text(x + size, ty, "%3d" % (first + i), (name, size), th.dim)
        tx = x + gut + size
        for s, k in ln:
            tx = c.text(tx, ty, s, (name, size), th.code[k], x + w)
    return gut


def ide(c, x, y, w, h, ctx, kind):
    r, wd, th = ctx.r, ctx.w, ctx.theme
    s, ui, mono = ctx.base, ctx.ui, ctx.font("mono")
    us = max(8, int(s * r.uniform(.85, 1)))
    lh, row = int(s * r.uniform(1.25, 1.6)), int(us * 1.7)
    c.rect(x, y, w, h, th.bg)
    bar, status = int(us * r.uniform(2.6, 3.4)), int(us * 1.7)
    if r.random() < .8:
        c.rect(x, y, bar, h, mix(th.panel, (0, 0, 0), .25) if r.random() < .7 else th.panel)
        for i in range(r.randint(4, 6)):
            ic, iy = th.dim if i != (2 if kind == "ide_debug" else 0) else th.fg, y + bar * (i + .3)
            [lambda: c.d.rectangle((x + bar * .3, iy, x + bar * .7, iy + bar * .4), outline=ic, width=2),
             lambda: c.d.ellipse((x + bar * .3, iy, x + bar * .7, iy + bar * .4), outline=ic, width=2),
             lambda: c.d.polygon([(x + bar * .3, iy), (x + bar * .7, iy + bar * .2), (x + bar * .3, iy + bar * .4)], fill=ic)][i % 3]()
    else:
        bar = 0
    sc = r.choice([th.accent, (0, 122, 204), th.panel, th.accent])
    if kind == "ide_debug":
        sc = r.choice([(204, 102, 51), (200, 90, 30), sc, th.accent])
    c.rect(x, y + h - status, w, status, sc)
    c.text(x + 8, y + h - status + 2, r.choice(["main", "dev", "x0 /1"]) + "*   0 errors", (ui, us), (255, 255, 255))
    c.text(x + w * .7, y + h - status + 2, "Ln %s, Col %s   UTF-8   %s" % (wd.num(), wd.num(80), r.choice(["Python", "C", "JavaScript"])), (ui, us), (255, 255, 255), x + w)
    # side bar
    sw = int(w * r.uniform(.16, .27)) if kind == "ide_debug" or r.random() < .85 else 0
    sx = x + bar
    main = ctx.pick(1)
    lang, ext = r.choice([("py", ".py"), ("c", ".c"), ("js", ".js")])
    fname = wd.filename(main, ext)
    if sw:
        c.rect(sx, y, sw, h - status, th.panel)
        ty = y + 6

        def head(t):
            nonlocal ty
            c.text(sx + 8, ty, t, (ctx.bold, us), th.fg, sx + sw)
            ty += row
        def item(t, ind=1, col=None):
            nonlocal ty
            if ty + row < y + h - status:
                c.text(sx + 8 + ind * us, ty, t, (ui, us), col or th.fg, sx + sw)
            ty += row
        if kind == "ide_debug":
            head("RUN AND DEBUG")
            for sec, make in (("VARIABLES", lambda: "%s = %s" % (wd.ident(ctx.pick(.3)), r.choice([wd.num(), "'%s'" % wd.noun(), "None"]))),
                              ("WATCH", lambda: wd.ident(ctx.pick(.3)) + ": " + wd.num()), ("CALL STACK", lambda: "%s   %s:%s" % (wd.ident(ctx.pick(.4)), wd.filename(ctx.pick(.3), ext), wd.num())),
                              ("BREAKPOINTS", lambda: "● " + wd.filename(ctx.pick(.6), ext) + " " + wd.num())):
                if sec == "WATCH" and r.random() < .5:
                    continue
                head("v " + sec)
                for _ in range(r.randint(2, 6)):
                    item(make())
        else:
            head("EXPLORER" if kind == "code" or r.random() < .3 else "SOURCE CONTROL")
            head("v " + (main or wd.noun()).upper())
            files = [fname] + [wd.filename(ctx.pick(.3)) for _ in range(r.randint(4, 22))]
            r.shuffle(files)
            for fl in files:
                if r.random() < .15:
                    item("> " + wd.noun(), 0)
                if fl == fname:
                    c.rect(sx, int(ty), sw, row, th.select)
                item(fl + ("   M" if kind == "ide_diff" else ""), 1, th.yellow if r.random() < .15 else None)
    ex, ew, eh = sx + sw, w - bar - sw, h - status
    # tabs
    tab = int(us * 2.2)
    c.rect(ex, y, ew, tab, th.panel)
    tx = ex
    for i, name in enumerate([fname + ("  (Working Tree)" if kind == "ide_diff" else "")] + [wd.filename(ctx.pick(.3)) for _ in range(r.randint(0, 4))]):
        f, widths = font(ui, us)
        tw = sum(advance(f, widths, ch) for ch in name) + us * 3
        if tx + tw > ex + ew:
            break
        if i == 0:
            c.rect(int(tx), y, int(tw), tab, th.bg)
        c.text(tx + us, y + us * .5, name + "  x", (ui, us), th.fg if i == 0 else th.dim)
        tx += tw
    ty = y + tab
    if r.random() < .6:
        c.text(ex + us, ty + 2, "%s > %s > %s" % ("src", fname, wd.ident(main)), (ui, us), th.dim, ex + ew)
        ty += int(us * 1.6)
    panel = int(eh * r.uniform(.2, .38)) if r.random() < (.6 if kind == "ide_debug" else .35) else 0
    mini = int(ew * .09) if r.random() < .4 else 0
    ch = y + eh - panel - ty
    n, first = ch // lh, r.choice([1, r.randint(1, 400)])
    if kind == "ide_diff":
        two = r.random() < .6
        half = ew // 2 if two else ew
        for side in range(2 if two else 1):
            lines = wd.code(lang, n, main, .4)
            tint = th.red if side == 0 and two else th.green
            back, i = [None] * n, 0
            while i < n:
                i += r.randint(1, 6)
                col = mix(th.bg, tint if two or r.random() < .5 else th.red, .28)
                for j in range(i, min(n, i + r.randint(1, 5))):
                    back[j] = col
                i += 5
            if not any(back):
                back[n // 2] = mix(th.bg, tint, .28)
            code_lines(c, ex + side * half, ty, half - 2, ch, ctx, th, lines, first, mono, s, lh, back=back)
        panel = 0 if r.random() < .7 else panel
    else:
        lines = wd.code(lang, n, main, .4)
        dbg = kind == "ide_debug"
        cur = r.randint(n // 5, max(n // 5, n - 3)) if dbg else None
        marks = {r.randint(0, n)} | ({cur} if dbg else set()) if dbg or r.random() < .06 else None
        code_lines(c, ex, ty, ew - mini, ch, ctx, th, lines, first, mono, s, lh, cur, marks)
        if mini:
            for i, ln in enumerate(lines * 2):
                c.rect(ex + ew - mini + 4, ty + i * 3, min(mini - 6, 2 + sum(len(t) for t, _ in ln)), 2, th.dim)
        if dbg:  # step buttons
            bw = int(us * 1.8)
            bx, by = int(ex + ew * r.uniform(.3, .6)), int(y + r.choice([2, tab]))
            c.rect(bx, by, bw * 6, bw, mix(th.panel, th.fg, .15), 4)
            for i, col in enumerate([th.blue, th.blue, th.blue, th.blue, th.green, th.red]):
                [lambda: c.d.polygon([(bx + bw * i + 5, by + 4), (bx + bw * i + bw - 5, by + bw / 2), (bx + bw * i + 5, by + bw - 4)], fill=col),
                 lambda: c.d.ellipse((bx + bw * i + 6, by + 6, bx + bw * i + bw - 6, by + bw - 6), outline=col, width=2)][i % 2]() if i < 5 else c.rect(bx + bw * i + 6, by + 6, bw - 12, bw - 12, col)
    if panel:
        py = y + eh - panel
        c.rect(ex, py, ew, panel, th.bg)
        c.rect(ex, py, ew, 1, th.line)
        c.text(ex + us, py + 4, "PROBLEMS   OUTPUT   DEBUG CONSOLE   TERMINAL", (ui, us), th.dim, ex + ew)
        L = More(ctx, int(ew / (s * .62)), max(2, (panel - row * 2) // lh))
        sub = (L.trace() if r.random() < .4 else [[("%s = %s" % (wd.ident(ctx.pick(.4)), wd.num()), "fg")] for _ in range(9)]) if kind == "ide_debug" else L.shell() if r.random() < .6 else L.tests()
        ly = py + row * 1.4
        for ln in sub[-L.rows:]:
            lx = ex + us
            for t, k in ln:
                lx = c.text(lx, ly, t, (mono, s), {"red": th.red, "green": th.green, "blue": th.blue, "dim": th.dim}.get(k, th.fg), ex + ew)
            ly += lh
            if ly + lh > y + eh:
                break
