"""Pages in a browser."""
from draw import Theme, hsl, mix
from screens_text import Lines


def wrap(c, x, y, text, fnt, col, width, lh, bottom):
    """Draws words until the bottom; returns the next y."""
    from draw import advance, font
    f, widths = font(*fnt)
    line = ""
    for wd in text.split() + [None]:
        new = (line + " " + wd).strip() if wd else None
        if new is None or sum(advance(f, widths, ch) for ch in new) > width:
            if y + lh > bottom:
                return y
            c.text(x, y, line, fnt, col, x + width + 4)
            y, line = y + lh, wd or ""
        else:
            line = new
    return y


def classic(c, x, y, w, ctx, th, us, url):
    """Menu, tool bar with pictures and an address, as older and smaller browsers have it; returns its height."""
    r, at, row = ctx.r, 0, int(us * 1.8)
    if r.random() < .6:
        c.rect(x, y, w, row, th.panel)
        c.text(x + us * .7, y + row * .15, r.choice(["File  Edit  View  Navigate  Tools  Help", "File   Tools   Help", "File  Edit  View  Go  Bookmarks  Help"]), (ctx.ui, us), th.fg, x + w)
        at = row
    q, named, far = int(us * r.uniform(1.4, 2.6)), r.random() < .3, r.random() < .6
    n, tall = r.randint(3, 9), q + 8 + (int(us * 1.3) if named else 0)
    c.rect(x, y + at, w, tall, th.panel)
    step = max(int(q * 1.4), int(us * 3.4) if named else 0)
    for i in range(n):
        c.rect(x + 6 + i * step, y + at + 4, q, q, hsl(r.random(), r.uniform(.1, .7), r.uniform(.4, .6)), r.choice([0, 4, q // 2]))
        if named:
            c.text(x + 6 + i * step, y + at + q + 5, ["Back", "Next", "Home", "Load", "Save", "Stop", "Mark", "Find", "Tools"][i], (ctx.ui, max(8, int(us * .8))), th.fg)
    fx, fy = (x + 12 + n * step, y + at + 4) if far else (x + 6, y + at + tall)
    if not far:
        c.rect(x, fy, w, row + 6, th.panel)
    c.rect(fx, fy, int(x + w - fx - 8), row, th.bg, r.choice([0, 3]), th.line)
    c.text(fx + us * .6, fy + row * .15, url, (ctx.ui, us), th.fg, x + w - 12)
    return at + tall + (0 if far else row + 6)


def browser(c, x, y, w, h, ctx, kind):
    r, s, ui = ctx.r, ctx.base, ctx.ui
    chrome = Theme(r, held=ctx.held)
    us = max(8, int(s * r.uniform(.85, 1)))
    bar = int(us * 2.2)
    main = ctx.pick(1)
    if not ctx.held and r.random() < .2:
        url = "%s%s%s" % (r.choice(["file:///home/%s/", "http://%s.org/"]) % ctx.w.syllables(2), main or ctx.w.noun(), r.choice(["", ".html", "/" + kind]))
        top = y + classic(c, x, y, w, ctx, chrome, us, url)
        th = Theme(r, dark=r.random() < .25)
        c.rect(x, top, w, y + h - top, th.bg)
        PAGES[kind](c, x, top, w, y + h - top, ctx, th, main, s)
        return
    c.rect(x, y, w, bar * 2, chrome.panel)
    tw = int(min(w * .3, us * 16))
    for i in range(r.randint(1, max(1, min(5, w // tw - 1)))):
        t = ctx.w.title(main if i == 0 else ctx.pick(.1))
        c.rect(x + 6 + i * (tw + 2), y + 3, tw, bar - 3, chrome.bg if i == 0 else mix(chrome.panel, chrome.fg, .06), r.choice([0, 6]))
        c.d.ellipse((x + 12 + i * (tw + 2), y + bar * .35, x + 12 + us * .7 + i * (tw + 2), y + bar * .35 + us * .7), fill=chrome.accent)
        c.text(x + 16 + us + i * (tw + 2), y + bar * .28, t, (ui, us), chrome.fg, x + i * (tw + 2) + tw - us)
    c.rect(x, y + bar, w, bar, chrome.bg)
    for i, ch in enumerate("←→↻"):
        if ui.startswith("DejaVu"):
            c.text(x + 8 + i * us * 1.8, y + bar * 1.25, ch, (ui, us), chrome.fg)
        else:
            c.d.ellipse((x + 8 + i * us * 1.8, y + bar * 1.35, x + 8 + i * us * 1.8 + us * .7, y + bar * 1.35 + us * .7), outline=chrome.dim, width=2)
    c.rect(int(x + us * 6.5), int(y + bar * 1.12), int(w - us * 11), int(bar * .76), chrome.panel, int(bar * .38) if r.random() < .7 else 2)
    host = {"pull": "code", "search": "find", "answers": "ask", "docs": "docs", "article": "blog", "dashboard": "stats"}[kind]
    tail = {"search": "search?q=%s+%s", "pull": "%s/pull/%s", "answers": "questions/%s-%s", "docs": "%s/%s.html", "article": "%s-%s", "dashboard": "d/%s/%s"}[kind]
    c.text(x + us * 7.5, y + bar * 1.25, "%s.%s.org/" % (r.choice([host, ctx.w.syllables(2)]), ctx.w.syllables(2)) + tail % (main or ctx.w.noun(), ctx.w.num() if kind == "pull" else ctx.w.noun()), (ui, us), chrome.fg, x + w - us * 6)
    top = y + bar * 2
    if r.random() < .2:
        c.rect(x, top, w, bar, chrome.bg)
        for i in range(6):
            c.text(x + 10 + i * us * 8, top + us * .5, ctx.w.noun().capitalize(), (ui, us), chrome.fg, x + w)
        top += bar
    th = Theme(r, dark=r.random() < .3, held=ctx.held)
    c.rect(x, top, w, y + h - top, th.bg)
    PAGES[kind](c, x, top, w, y + h - top, ctx, th, main, s)


def fonts(ctx):
    return ctx.font("sans" if ctx.r.random() < .7 else "serif"), ctx.font("bold"), ctx.font("mono")


def site_bar(c, x, y, w, ctx, th, s):
    """A header of the site; returns its height."""
    r = ctx.r
    if r.random() < .25:
        return 0
    bh = int(s * r.uniform(2, 3.2))
    col = r.choice([th.panel, th.accent, mix(th.bg, (20, 25, 35), .9)])
    c.rect(x, y, w, bh, col)
    fg = (255, 255, 255) if sum(col) < 380 else (20, 20, 20)
    c.text(x + s, y + bh * .3, ctx.w.syllables(2).capitalize(), (ctx.bold, s), fg)
    for i in range(r.randint(2, 5)):
        c.text(x + w * .35 + i * s * 7, y + bh * .3, ctx.w.noun().capitalize(), (ctx.ui, s), fg, x + w)
    return bh


def search(c, x, y, w, h, ctx, th, main, s):
    r, (body, bold, _) = ctx.r, fonts(ctx)
    left = x + int(w * r.choice([.04, .1, .15]))
    width = int(w * r.uniform(.5, .68))
    bh = int(s * 2.4)
    c.rect(left, y + s, width, bh, th.panel, r.choice([0, bh // 2]), th.line)
    c.text(left + s, y + s + bh * .22, "%s %s" % (main or ctx.w.noun(), ctx.w.phrase(ctx.pick(.15))), (ctx.ui, int(s * 1.15)), th.fg, left + width)
    ty = y + s * 2 + bh
    for i, t in enumerate(["All", "Images", "News", "Videos", "Maps"][:r.randint(0, 5)]):
        c.text(left + i * s * 6, ty, t, (ctx.ui, s), th.accent if i == 0 else th.dim)
    ty += s * 2
    if r.random() < .6:
        c.text(left, ty, "About %s,%s results" % (ctx.w.num(), ctx.w.num()), (ctx.ui, s), th.dim)
        ty += s * 2
    link = th.blue
    while ty < y + h - s * 4:
        t = ctx.pick(.7)
        if r.random() < .8:
            c.text(left, ty, "%s.org > %s" % (ctx.w.syllables(2), t or ctx.w.noun()), (ctx.ui, max(8, int(s * .9))), th.green if r.random() < .4 else th.dim)
            ty += s * 1.4
        c.text(left, ty, ctx.w.title(t) + " - " + ctx.w.syllables(2).capitalize(), (body, int(s * 1.35)), link, left + width)
        ty = wrap(c, left, ty + s * 1.9, ctx.w.paragraph(t, 2), (body, s), th.fg, width, int(s * 1.4), y + h) + s * r.uniform(.8, 1.6)
    if r.random() < .4 and left + width < x + w * .7:
        px = left + width + s * 3
        c.rect(int(px), int(y + s * 6), int(x + w - px - s), int(h * .5), None, 6, th.line)
        c.text(px + s, y + s * 7, (main or ctx.w.noun()).capitalize(), (bold, int(s * 1.5)), th.fg, x + w)
        wrap(c, px + s, y + s * 10, ctx.w.paragraph(None, 3), (body, s), th.fg, x + w - px - 3 * s, int(s * 1.4), y + h * .5)


def answers(c, x, y, w, h, ctx, th, main, s):
    r, (body, bold, mono) = ctx.r, fonts(ctx)
    y0 = y + site_bar(c, x, y, w, ctx, th, s)
    left = x + int(w * r.choice([.03, .08, .18]))
    width = int(min(w * .72, x + w - left - s))
    ty = wrap(c, left, y0 + s, "%s %s %s?" % (r.choice(["How to", "Why does", "How do I", "What makes"]), main or ctx.w.noun(), ctx.w.sentence(main).lower().strip(".?:")), (bold, int(s * 1.6)), th.fg, width, int(s * 2), y + h)
    c.text(left, ty, "Asked %s   Viewed %s times" % (ctx.w.date(), ctx.w.num()), (body, s), th.dim)
    ty += s * 2
    first = True
    while ty < y + h - s * 4:
        c.rect(left, int(ty), width, 1, th.line)
        if not first:
            c.text(left, ty + s * .5, "%d Answers" % r.randint(2, 9), (bold, int(s * 1.3)), th.fg)
            ty += s * 2.2
        vx = left + s * 4
        c.d.polygon([(left + s, ty + s * 2), (left + s * 1.8, ty + s), (left + s * 2.6, ty + s * 2)], fill=th.dim)
        c.text(left + s, ty + s * 2.3, ctx.w.num(99), (bold, int(s * 1.2)), th.fg)
        c.d.polygon([(left + s, ty + s * 4), (left + s * 1.8, ty + s * 5), (left + s * 2.6, ty + s * 4)], fill=th.dim)
        if not first and r.random() < .5:
            c.text(left + s, ty + s * 5.2, "✓", ("DejaVuSans", int(s * 1.6)), th.green)
        ty = wrap(c, vx, ty + s * .6, ctx.w.paragraph(main, r.randint(2, 4)), (body, s), th.fg, width - s * 4, int(s * 1.45), y + h)
        n = r.randint(2, 6)
        c.rect(int(vx), int(ty + 4), int(width - s * 4), int(n * s * 1.4 + 8), th.panel)
        for ln in ctx.w.code(r.choice(["py", "js", "c"]), n, main, .4):
            if ty + s * 2 < y + h:
                c.text(vx + s, ty + 8, "".join(t for t, _ in ln), (mono, s), th.fg, left + width)
            ty += s * 1.4
        ty = wrap(c, vx, ty + s * 1.2, ctx.w.paragraph(ctx.pick(.5), 2), (body, s), th.fg, width - s * 4, int(s * 1.45), y + h) + s
        c.text(vx + width * .55, ty, "answered by %s  %s" % (ctx.w.name(), ctx.w.num()), (body, s), th.blue, left + width)
        ty, first = ty + s * 2, False


def docs(c, x, y, w, h, ctx, th, main, s):
    r, (body, bold, mono) = ctx.r, fonts(ctx)
    y0 = y + site_bar(c, x, y, w, ctx, th, s)
    sw = int(w * r.uniform(.17, .26))
    c.rect(x, y0, sw, y + h - y0, th.panel if r.random() < .6 else th.bg)
    c.rect(x + sw, y0, 1, y + h - y0, th.line)
    ty = y0 + s
    while ty < y + h - s * 2:
        head = r.random() < .2
        c.text(x + s + (0 if head else s), ty, ctx.w.title(ctx.pick(.25)) if not head else ctx.w.noun().capitalize(), (bold if head else ctx.ui, s), th.fg if head else th.dim, x + sw - 2)
        ty += s * r.choice([1.7, 1.9])
    left, width = x + sw + s * 2, int((w - sw) * r.uniform(.7, .92)) - s * 3
    c.text(left, y0 + s, r.choice([(main or ctx.w.noun()).capitalize(), ctx.w.title(main)]), (bold, int(s * r.uniform(1.7, 2.3))), th.fg, x + w)
    ty = y0 + s * 4.5
    while ty < y + h - s * 3:
        k = r.random()
        if k < .5:
            ty = wrap(c, left, ty, ctx.w.paragraph(main, r.randint(2, 4)), (body, s), th.fg, width, int(s * 1.5), y + h) + s
        elif k < .75:
            n = r.randint(2, 7)
            c.rect(int(left), int(ty), width, int(n * s * 1.4 + 12), th.panel, 4, th.line if r.random() < .4 else None)
            for ln in ctx.w.code(r.choice(["py", "js", "c"]), n, main, .4):
                tx = left + s
                for t, k2 in ln:
                    if ty + s * 2 < y + h:
                        tx = c.text(tx, ty + 6, t, (mono, s), th.code[k2], left + width)
                ty += s * 1.4
            ty += s * 2
        elif k < .9:
            c.text(left, ty, ctx.w.title(ctx.pick(.6)), (bold, int(s * 1.35)), th.fg, left + width)
            ty += s * 2.3
        else:
            for _ in range(r.randint(2, 5)):
                if ty < y + h - s * 2:
                    c.text(left + s, ty, "• " + ctx.w.sentence(ctx.pick(.3)), (body, s), th.fg, left + width)
                ty += s * 1.6
            ty += s


def article(c, x, y, w, h, ctx, th, main, s):
    r, (body, bold, _) = ctx.r, fonts(ctx)
    y0 = y + site_bar(c, x, y, w, ctx, th, s)
    width = int(w * r.uniform(.5, .75))
    left = x + (w - width) // 2
    ty = y0 + s
    if r.random() < .75:
        ty = wrap(c, left, ty, ctx.w.title(main), (r.choice([bold, body]), int(s * r.uniform(1.9, 2.8))), th.fg, width, int(s * 3), y + h) + s * .3
        c.text(left, ty, "By %s, %s" % (ctx.w.fullname(), ctx.w.date()), (body, s), th.dim)
        ty += s * 2.2
    if r.random() < .45:
        picture(c, left, int(ty), width, int(h * r.uniform(.2, .4)), r)
        ty += h * .42
    bs = int(s * r.uniform(1, 1.3))
    while ty < y + h - s * 2:
        if r.random() < .15:
            c.text(left, ty, ctx.w.title(ctx.pick(.6)), (bold, int(s * 1.4)), th.fg, left + width)
            ty += s * 2.4
        ty = wrap(c, left, ty, ctx.w.paragraph(main, r.randint(3, 6)), (body, bs), th.fg, width, int(bs * 1.55), y + h) + bs


def picture(c, x, y, w, h, r):
    from draw import hsl
    a, b = hsl(r.random(), r.uniform(.2, .7), r.uniform(.3, .8)), hsl(r.random(), r.uniform(.2, .7), r.uniform(.2, .7))
    c.rect(x, y, w, h, a)
    for _ in range(r.randint(1, 5)):
        px, py, q = x + r.uniform(0, w), y + r.uniform(.2, 1) * h, r.uniform(.1, .5) * h
        c.rect(int(max(x, px - q)), int(max(y, py - q)), int(min(2 * q, x + w - max(x, px - q))), int(min(2 * q, y + h - max(y, py - q))), mix(a, b, r.random()), int(q / 2))


def pull(c, x, y, w, h, ctx, th, main, s):
    r, (body, bold, mono) = ctx.r, fonts(ctx)
    y0 = y + site_bar(c, x, y, w, ctx, th, s)
    left, width = x + s, w - 2 * s
    c.text(left, y0 + s, ctx.w.title(main) + "  #%s" % ctx.w.num(9999), (bold if r.random() < .6 else body, int(s * r.uniform(1.4, 1.9))), th.fg, x + w)
    ty = y0 + s * 3.6
    c.rect(left, int(ty), int(s * 5), int(s * 1.8), r.choice([(40, 140, 70), (130, 80, 200)]), int(s * .9))
    c.text(left + s * .9, ty + s * .3, r.choice(["Open", "Open", "Draft"]), (ctx.ui, s), (255, 255, 255))
    c.text(left + s * 6, ty + s * .3, "%s wants to merge %d commits into main" % (ctx.w.name(), r.randint(1, 20)), (body, s), th.dim, x + w)
    ty += s * 2.6
    for i, t in enumerate(["Conversation", "Commits", "Checks", "Files changed %d" % r.randint(1, 30)]):
        c.text(left + i * s * 9, ty, t, (ctx.ui, s), th.fg, x + w)
    ty += s * 2
    c.rect(x, int(ty), w, 1, th.line)
    ty += s
    if r.random() < .3:
        for _ in range(2):
            c.rect(left, int(ty), width, int(s * 5), None, 6, th.line)
            c.rect(left, int(ty), width, int(s * 2), th.panel, 6)
            c.text(left + s, ty + s * .4, "%s commented %d days ago" % (ctx.w.name(), r.randint(2, 20)), (body, s), th.fg)
            c.text(left + s, ty + s * 2.6, ctx.w.sentence(main), (body, s), th.fg, left + width)
            ty += s * 6
    lang = r.choice(["py", "c", "js"])
    while ty < y + h - s * 3:
        c.rect(left, int(ty), width, int(s * 2), th.panel, 0, th.line)
        c.text(left + s, ty + s * .4, "src/" + ctx.w.filename(ctx.pick(.8)) + "   +%s -%s" % (ctx.w.num(99), ctx.w.num(99)), (mono, s), th.fg)
        ty += s * 2
        two = r.random() < .3
        for ln in Lines(ctx, 90, 20).hunk(lang) + Lines(ctx, 90, 20).hunk(lang):
            if ty + s * 1.5 > y + h:
                break
            txt = "".join(t for t, _ in ln)
            tint = {"+": th.green, "-": th.red, "@": th.blue}.get(txt[:1])
            half = width // 2 if two else width
            lx = left + (half if two and txt[:1] == "+" else 0)
            c.rect(int(lx), int(ty), half, int(s * 1.4) + 1, mix(th.bg, tint, .2) if tint else th.bg)
            c.text(lx + 4, ty, "%3s" % ctx.w.num(), (mono, s), th.dim)
            c.text(lx + s * 3, ty, txt, (mono, s), th.fg, lx + half)
            ty += int(s * 1.4)
        ty += s


def dashboard(c, x, y, w, h, ctx, th, main, s):
    r, (body, bold, _) = ctx.r, fonts(ctx)
    y0 = y + site_bar(c, x, y, w, ctx, th, s)
    c.text(x + s, y0 + s * .6, "%s %s" % ((main or ctx.w.noun()).capitalize(), r.choice(["dashboard", "overview", "metrics", "status"])), (bold, int(s * 1.6)), th.fg)
    y0 += int(s * 3)
    cols, rows = r.randint(2, 4), r.randint(2, 3)
    gw, gh = w / cols, (y + h - y0) / rows
    for i in range(cols * rows):
        px, py, pw, ph = int(x + (i % cols) * gw + 4), int(y0 + i // cols * gh + 4), int(gw - 8), int(gh - 8)
        c.rect(px, py, pw, ph, th.panel, r.choice([0, 4]), th.line)
        c.text(px + 8, py + 5, "%s %s" % (ctx.pick(.6) or ctx.w.noun(), ctx.w.noun()), (ctx.ui, s), th.fg, px + pw)
        k, col = r.random(), r.choice([th.accent, th.green, th.red, th.blue, th.yellow])
        top, base = py + s * 2.5, py + ph - 6
        if base - top < 10:
            continue
        if k < .25:
            c.text(px, (top + base) / 2 - s, ctx.w.num(9999), (bold, int(s * 2.4)), col, align="center", width=pw)
        elif k < .6:
            n, v, pts = r.randint(12, 40), r.random(), []
            for j in range(n):
                v = min(1, max(0, v + r.uniform(-.2, .2)))
                pts.append((px + 8 + (pw - 16) * j / (n - 1), base - v * (base - top)))
            c.d.line(pts, fill=col, width=2)
        else:
            n = r.randint(4, 14)
            for j in range(n):
                bh = r.uniform(.1, 1) * (base - top)
                c.rect(int(px + 8 + (pw - 16) * j / n), int(base - bh), max(1, int((pw - 16) / n * .7)), int(bh), col)


PAGES = {"search": search, "answers": answers, "docs": docs, "article": article, "pull": pull, "dashboard": dashboard}
