"""Meetings, chat, mail, files, spreadsheets, music, calendars, documents and the plain desktop."""
from draw import Theme, hsl, mix
from screens_web import picture, wrap


def avatar(c, x, y, q, ctx, th):
    col = hsl(ctx.r.random(), .5, .5)
    c.rect(int(x), int(y), int(q), int(q), col, int(q / 2) if ctx.r.random() < .6 else 4)
    c.text(x, y + q * .2, ctx.w.name()[0], (ctx.bold, max(8, int(q * .5))), (255, 255, 255), align="center", width=q)


def person(c, x, y, w, h, r):
    """A camera picture: a room, a head and shoulders."""
    a = hsl(r.random(), r.uniform(.05, .4), r.uniform(.2, .8))
    c.rect(x, y, w, h, a)
    for _ in range(r.randint(0, 3)):
        c.rect(int(x + r.uniform(0, .8) * w), y, int(w * r.uniform(.05, .2)), int(h * r.uniform(.3, .8)), mix(a, hsl(r.random(), .4, .5), .5))
    skin, hair, shirt = hsl(r.uniform(.04, .09), r.uniform(.3, .6), r.uniform(.3, .8)), hsl(r.uniform(.03, .12), r.uniform(0, .5), r.uniform(.08, .5)), hsl(r.random(), r.uniform(.1, .7), r.uniform(.2, .7))
    cx, q = x + w * r.uniform(.4, .6), min(w * .3, h * r.uniform(.22, .32))
    cy = y + h * r.uniform(.36, .48)
    c.rect(int(max(x, cx - q * 1.7)), int(cy + q * 1.1), int(min(q * 3.4, w)), int(y + h - cy - q * 1.1), shirt, int(q * .6))
    c.rect(int(max(x, cx - q * 1.7)), int(y + h - q * .3), int(min(q * 3.4, w)), int(q * .3), shirt)
    c.d.ellipse((cx - q * .95, cy - q * 1.35, cx + q * .95, cy + q * .9), fill=hair)
    c.d.ellipse((cx - q * .8, cy - q, cx + q * .8, cy + q * 1.1), fill=skin)
    for e in (-.3, .3):
        c.d.ellipse((cx + e * q - q * .08, cy - q * .1, cx + e * q + q * .08, cy + q * .06), fill=(30, 25, 25))
    c.d.arc((cx - q * .3, cy + q * .3, cx + q * .3, cy + q * .65), 20, 160, fill=(150, 60, 60), width=max(1, int(q * .06)))


def meeting(c, x, y, w, h, ctx, kind):
    r, s, main = ctx.r, ctx.base, ctx.pick(1)
    bg = r.choice([(26, 26, 26), (32, 33, 36), (20, 22, 30), (240, 242, 245)])
    fg = (240, 240, 240) if sum(bg) < 300 else (30, 30, 30)
    c.rect(x, y, w, h, bg)
    top, bot = int(s * 2.2), int(s * 4)
    c.text(x + s, y + s * .5, "%s %s   %s" % ((main or ctx.w.noun()).capitalize(), r.choice(["meeting", "sync", "planning", "call"]), ctx.w.clock()), (ctx.bold, int(s * 1.1)), fg)
    side = int(w * r.uniform(.18, .26)) if r.random() < .35 else 0
    gx, gy, gw, gh = x + 4, y + top, w - 8 - side, h - top - bot
    share = r.random() < .35
    if share:  # a shared slide with people at the edge
        sw = int(gw * .76)
        th = Theme(r, dark=r.random() < .25, held=ctx.held)
        c.rect(gx, gy, sw - 6, gh, th.bg)
        if r.random() < .8:
            ty = gy + s * 2
            c.text(gx + s * 2, ty, ctx.w.title(main), (ctx.bold, int(s * 2.2)), th.accent, gx + sw - 8)
            ty += s * 4
            while ty < gy + gh - s * 3:
                c.text(gx + s * 3, ty, "• " + ctx.w.phrase(ctx.pick(.6)), (ctx.ui, int(s * 1.4)), th.fg, gx + sw - 8)
                ty += s * 2.8
        else:
            picture(c, gx, gy, sw - 6, gh, r)
        n, tx, tw, th_ = r.randint(2, 4), gx + sw, gw - sw, gh // 4
        tiles = [(tx, gy + i * th_, tw, th_ - 4) for i in range(n)]
    else:
        n = r.choice([1, 2, 2, 3, 4, 4, 5, 6, 6, 9, 12])
        cols = next(k for k in (1, 2, 3, 4) if k * k >= n or k == 4)
        cols = min(cols, n)
        rows = -(-n // cols)
        tiles = [(gx + i % cols * gw // cols, gy + i // cols * gh // rows, gw // cols - 5, gh // rows - 5) for i in range(n)]
    for i, (px, py, pw, ph) in enumerate(tiles):
        if r.random() < .7:
            person(c, int(px), int(py), int(pw), int(ph), r)
        else:
            c.rect(int(px), int(py), int(pw), int(ph), mix(bg, (120, 120, 130), .3), 4)
            q = min(pw, ph) * .4
            avatar(c, px + (pw - q) / 2, py + (ph - q) / 2, q, ctx, None)
        if i == 0 and r.random() < .6:
            c.rect(int(px), int(py), int(pw), int(ph), None, 0, (80, 220, 90), 3)
        nm = ctx.w.fullname()
        c.rect(int(px + 3), int(py + ph - s * 1.7), int(len(nm) * s * .62 + 8), int(s * 1.5), (0, 0, 0), 3)
        c.text(px + 6, py + ph - s * 1.6, nm, (ctx.ui, s), (255, 255, 255), px + pw)
    if side:
        c.rect(x + w - side, y + top, side, h - top - bot, mix(bg, fg, .08))
        ty = y + top + s
        c.text(x + w - side + s, ty, r.choice(["Chat", "Participants (%d)" % n]), (ctx.bold, s), fg, x + w)
        while ty < y + h - bot - s * 4:
            ty += s * 1.8
            c.text(x + w - side + s, ty, r.choice([ctx.w.fullname(), ctx.w.name() + ": " + ctx.w.phrase(ctx.pick(.3))]), (ctx.ui, s), fg, x + w)
    k, cx = r.randint(5, 8), x + w / 2
    step = s * r.uniform(3.2, 4.5)
    by = y + h - bot * .8
    c.rect(x, y + h - bot, w, bot, mix(bg, (0, 0, 0), .3) if fg[0] > 128 else mix(bg, (0, 0, 0), .06))
    for i in range(k):
        bx, q = cx + (i - k / 2) * step, s * 2
        last = i == k - 1
        col = (220, 50, 50) if last or (i < 2 and r.random() < .3) else mix(bg, fg, .25)
        c.rect(int(bx), int(by), int(q * (1.6 if last else 1)), int(q), col, int(q / 2) if r.random() < .7 else 5)
        if last and r.random() < .6:
            c.text(bx, by + q * .25, r.choice(["Leave", "End"]), (ctx.ui, s), (255, 255, 255), align="center", width=q * 1.6)
        elif i == 0:
            c.rect(int(bx + q * .38), int(by + q * .2), int(q * .24), int(q * .4), fg, int(q * .12))
        elif i == 1:
            c.rect(int(bx + q * .22), int(by + q * .32), int(q * .38), int(q * .36), fg)


def chat(c, x, y, w, h, ctx, kind):
    r, s, main, th = ctx.r, ctx.base, ctx.pick(1), ctx.theme
    side = int(w * r.uniform(.18, .28))
    col = r.choice([hsl(r.choice([.8, .83, .78]), .45, r.uniform(.14, .24)), hsl(r.random(), .4, .2), th.panel])
    fg = (235, 225, 240) if sum(col) < 380 else (30, 30, 30)
    c.rect(x, y, w, h, th.bg)
    c.rect(x, y, side, h, col)
    c.text(x + s, y + s * .7, ctx.w.noun().capitalize() + " team", (ctx.bold, int(s * 1.2)), fg, x + side)
    ty, chan, done = y + s * 3.2, main or ctx.w.noun(), False
    row = s * r.uniform(1.6, 2)
    k = r.randint(1, 6)
    i = 0
    while ty < y + h - row:
        if i in (0, 9):
            c.text(x + s, ty, "Channels" if i == 0 else "Direct messages", (ctx.ui, s), mix(col, fg, .7), x + side)
        elif i == k:
            c.rect(x + 3, int(ty - 2), side - 6, int(row), th.accent if r.random() < .8 else mix(col, fg, .25), 4)
            c.text(x + s, ty, "# " + chan, (ctx.bold, s), (255, 255, 255), x + side)
        else:
            c.text(x + s, ty, "# " + ctx.w.noun() if i < 9 else "● " + ctx.w.name(), (ctx.ui, s), mix(col, fg, .75), x + side)
        ty += row
        i += 1
        if i > 16 and r.random() < .3:
            break
    cx, cw = x + side, w - side
    c.text(cx + s, y + s * .6, "# " + chan, (ctx.bold, int(s * 1.3)), th.fg, x + w)
    c.rect(cx, int(y + s * 2.6), cw, 1, th.line)
    ty, box = y + s * 3.4, s * 4
    while ty < y + h - box - s * 4:
        q = s * 2.4
        avatar(c, cx + s, ty, q, ctx, th)
        tx = cx + s * 2 + q
        e = c.text(tx, ty, ctx.w.name(), (ctx.bold, s), th.fg)
        c.text(e + s, ty, ctx.w.clock(), (ctx.ui, max(8, int(s * .85))), th.dim)
        ty = wrap(c, tx, ty + s * 1.4, ctx.w.paragraph(main, r.choice([1, 1, 2, 3]), .55), (ctx.ui, s), th.fg, cw - q - s * 5, int(s * 1.45), y + h - box)
        if r.random() < .25:
            c.rect(int(tx), int(ty), int(s * 3), int(s * 1.5), th.panel, 6, th.accent)
            c.text(tx + 4, ty + 1, "+" + ctx.w.num(9), (ctx.ui, s), th.accent)
            ty += s * 2
        ty += s * 1.1
    c.rect(int(cx + s), int(y + h - box + s * .5), int(cw - 2 * s), int(box - s), th.bg, 6, th.line)
    c.text(cx + s * 2, y + h - box + s * 1.1, r.choice(["Message #" + chan, ctx.w.sentence(main)]), (ctx.ui, s), th.dim, x + w - s * 2)


def mail(c, x, y, w, h, ctx, kind):
    r, s, main, th = ctx.r, ctx.base, ctx.pick(1), ctx.theme
    c.rect(x, y, w, h, th.bg)
    bar = int(s * 2.8)
    c.rect(x, y, w, bar, th.panel)
    for i, t in enumerate(["Reply", "Forward", "Archive", "Delete", "Write"]):
        c.rect(int(x + s + i * s * 6), int(y + s * .5), int(s * 5.4), int(s * 1.8), mix(th.panel, th.fg, .1), 4)
        c.text(x + s * 1.6 + i * s * 6, y + s * .8, t, (ctx.ui, s), th.fg, x + w)
    side = int(w * r.uniform(.13, .19))
    c.rect(x, y + bar, side, h - bar, th.panel)
    for i, t in enumerate(["Inbox (%s)" % ctx.w.num(90), "Drafts", "Sent", "Spam", "Archive", "Trash", ctx.w.noun().capitalize()]):
        c.text(x + s, y + bar + s + i * s * 2, t, (ctx.bold if i == 0 else ctx.ui, s), th.fg, x + side - 2)
    three = r.random() < .6
    lx, lw = x + side, int((w - side) * (.38 if three else 1))
    lh = h - bar if three else int((h - bar) * .4)
    row = int(s * (3.4 if three else 1.8))
    n = max(1, lh // row)
    cur = r.randint(0, min(5, n - 1))
    for i in range(n):
        ry = y + bar + i * row
        if ry + row > y + h:
            break
        subj = ctx.w.title(main if i == cur else ctx.pick(.12))
        if i == cur:
            c.rect(lx, ry, lw, row, th.select)
        c.rect(lx, ry + row - 1, lw, 1, th.line)
        b = ctx.bold if r.random() < .3 else ctx.ui
        if three:
            c.text(lx + s, ry + s * .2, ctx.w.fullname(), (b, s), th.fg, lx + lw)
            c.text(lx + s, ry + s * 1.7, subj, (ctx.ui, s), th.fg if i == cur else th.dim, lx + lw)
        else:
            c.text(lx + s, ry + s * .2, ctx.w.fullname(), (b, s), th.fg, lx + lw * .25)
            c.text(lx + lw * .27, ry + s * .2, subj, (b, s), th.fg, lx + lw * .85)
            c.text(lx + lw * .88, ry + s * .2, ctx.w.date(), (ctx.ui, s), th.dim, lx + lw)
    mx, my = (lx + lw, y + bar) if three else (lx, y + bar + lh)
    mw = x + w - mx
    c.rect(mx, my, 1 if three else mw, h - bar if three else 1, th.line)
    c.text(mx + s, my + s, ctx.w.title(main), (ctx.bold, int(s * 1.5)), th.fg, x + w)
    c.text(mx + s, my + s * 3.3, "From: %s <%s@%s.org>" % (ctx.w.fullname(), ctx.w.name().lower(), ctx.w.noun()), (ctx.ui, s), th.dim, x + w)
    c.text(mx + s, my + s * 4.8, "To: " + ctx.w.fullname(), (ctx.ui, s), th.dim, x + w)
    ty = my + s * 7.2
    c.text(mx + s, ty, "Hello %s," % ctx.w.name(), (ctx.ui, s), th.fg, x + w)
    ty += s * 2.2
    for _ in range(r.randint(1, 4)):
        ty = wrap(c, mx + s, ty, ctx.w.paragraph(main, r.randint(2, 4)), (ctx.ui, s), th.fg, mw - 2 * s, int(s * 1.5), y + h) + s
    if ty < y + h - s * 3:
        c.text(mx + s, ty, ctx.w.name(), (ctx.ui, s), th.fg)


def files(c, x, y, w, h, ctx, kind):
    r, s, main, th = ctx.r, ctx.base, ctx.pick(1), ctx.theme
    c.rect(x, y, w, h, th.bg)
    bar = int(s * 2.8)
    c.rect(x, y, w, bar, th.panel)
    for i in range(3):
        c.rect(int(x + s * .6 + i * s * 2.2), int(y + s * .5), int(s * 1.8), int(s * 1.8), mix(th.panel, th.fg, .12), 4)
    c.rect(int(x + s * 8), int(y + s * .5), int(w * .6), int(s * 1.8), th.bg, 3, th.line)
    c.text(x + s * 8.6, y + s * .8, r.choice(["Home > %s", "/home/user/%s", "Documents > %s"]) % (main or ctx.w.noun()), (ctx.ui, s), th.fg, x + w)
    side = int(w * r.uniform(.15, .22)) if r.random() < .85 else 0
    c.rect(x, y + bar, side, h - bar, mix(th.bg, th.panel, .6))
    if side:
        for i, t in enumerate(["Home", "Desktop", "Documents", "Downloads", "Pictures", "Videos", "Trash", "Network"]):
            if y + bar + s * 2 + i * s * 2 < y + h - s:
                c.rect(int(x + s), int(y + bar + s + i * s * 2), int(s), int(s), th.accent, 2)
                c.text(x + s * 2.6, y + bar + s * .9 + i * s * 2, t, (ctx.ui, s), th.fg, x + side)
    fx, fy, fw = x + side + s, y + bar + s, w - side - 2 * s
    folder = r.choice([(240, 190, 70), (90, 150, 230), th.accent])
    ext = lambda: r.choice([".pdf", ".txt", ".png", ".csv", ".docx", ".zip", ".mp3"])
    if r.random() < .55:
        q = s * r.uniform(3.2, 5)
        gx, gy = q * 2.1, q + s * 2.6
        for i in range(r.randint(6, 60)):
            px, py = fx + i % max(1, int(fw / gx)) * gx, fy + i // max(1, int(fw / gx)) * gy
            if py + gy > y + h:
                break
            d = r.random() < .45
            if d:
                c.rect(int(px + gx * .25), int(py + q * .15), int(q * .5), int(q * .3), folder, 2)
                c.rect(int(px + gx * .25), int(py + q * .25), int(q), int(q * .7), folder, 3)
            else:
                c.rect(int(px + gx * .3), int(py), int(q * .75), int(q), (250, 250, 250), 2, (150, 150, 150))
                c.rect(int(px + gx * .3), int(py + q * .6), int(q * .75), int(q * .25), hsl(r.random(), .6, .5))
            t = ctx.pick(.3)
            name = (t or ctx.w.noun()) if d else ctx.w.filename(t, ext())
            c.text(px, py + q + 3, name[:16], (ctx.ui, s), th.fg, px + gx, align="center", width=gx)
    else:
        row = s * r.uniform(1.7, 2.1)
        for j, t in ((0, "Name"), (.55, "Size"), (.72, "Type"), (.85, "Modified")):
            c.text(fx + fw * j, fy, t, (ctx.bold, s), th.fg, x + w)
        for i in range(r.randint(5, 50)):
            py = fy + row * (i + 1.3)
            if py + row > y + h:
                break
            if i % 2:
                c.rect(int(fx), int(py), int(fw), int(row), mix(th.bg, th.fg, .03))
            d = r.random() < .35
            c.rect(int(fx), int(py), int(s * 1.2), int(s * 1.1), folder if d else hsl(r.random(), .3, .7), 2)
            t = ctx.pick(.3)
            c.text(fx + s * 2, py, (t or ctx.w.noun()) if d else ctx.w.filename(t, ext()), (ctx.ui, s), th.fg, fx + fw * .55)
            c.text(fx + fw * .55, py, ctx.w.num() + " kB", (ctx.ui, s), th.dim)
            c.text(fx + fw * .72, py, "Folder" if d else "File", (ctx.ui, s), th.dim)
            c.text(fx + fw * .85, py, ctx.w.date(), (ctx.ui, s), th.dim, x + w)


def sheet(c, x, y, w, h, ctx, kind):
    r, s, main = ctx.r, ctx.base, ctx.pick(1)
    th = Theme(r, dark=r.random() < .15, held=ctx.held)
    c.rect(x, y, w, h, th.bg)
    top = r.choice([int(s * 3), int(s * 5)])
    c.rect(x, y, w, top, r.choice([th.panel, (33, 115, 70), th.panel]))
    fg = (255, 255, 255) if c.im.getpixel((x + 2, y + 2)) == (33, 115, 70) else th.fg
    c.text(x + s, y + s * .4, "File  Edit  View  Insert  Format  Data      %s" % ctx.w.filename(main, r.choice([".xlsx", ".ods", ".csv"])), (ctx.ui, s), fg, x + w)
    for i in range(int(w / s / 3)):
        c.rect(int(x + s + i * s * 2.4), int(y + s * 1.8), int(s * .9), int(s * .9), mix(th.panel, th.fg, .35), 2)
    fy = y + top
    c.text(x + s, fy + 3, "%s%d   fx  =SUM(B2:B%s)" % (r.choice("ABCDE"), r.randint(1, 30), ctx.w.num(60)), (ctx.ui, s), th.fg)
    gy, row, gut = fy + int(s * 1.9), int(s * r.uniform(1.6, 2)), int(s * 2.6)
    cols = r.randint(5, 12)
    cw = (w - gut) / cols
    n = int((h - (gy - y)) / row) - 1
    c.rect(x, gy, w, row, th.panel)
    c.rect(x, gy, gut, row * n, th.panel)
    heads = [ctx.pick(.35) or ctx.w.noun() for _ in range(cols)]
    filled = r.randint(max(1, n // 3), max(2, n - 1))
    for j in range(cols):
        c.text(x + gut + j * cw, gy + 2, "ABCDEFGHIJKLMN"[j], (ctx.ui, s), th.dim, align="center", width=cw)
        c.rect(int(x + gut + j * cw), gy, 1, row * n, th.line)
    for i in range(1, n):
        py = gy + i * row
        c.rect(x, py, w, 1, th.line)
        c.text(x, py + 2, str(i), (ctx.ui, s), th.dim, align="center", width=gut)
        if i == 1 and r.random() < .7:
            c.rect(x + gut, py + 1, w - gut, row - 1, mix(th.bg, th.accent, .25))
        for j in range(cols if i <= filled else 0):
            px = x + gut + j * cw
            if i == 1:
                c.text(px + 4, py + 2, heads[j].capitalize(), (ctx.bold, s), th.fg, px + cw)
            elif j == 0:
                c.text(px + 4, py + 2, ctx.pick(.35) or ctx.w.noun(), (ctx.ui, s), th.fg, px + cw)
            elif r.random() < .92:
                c.text(px, py + 2, "%s.%s" % (ctx.w.num(), ctx.w.num(99)), (ctx.ui, s), th.fg, align="right", width=cw - 4)
    c.rect(int(x + gut + r.randint(0, cols - 1) * cw), gy + r.randint(1, max(1, n - 1)) * row, int(cw), row, None, 0, (33, 115, 70), 2)
    c.rect(x, y + h - row, w, row, th.panel)
    for i in range(3):
        c.text(x + gut + i * s * 8, y + h - row + 2, (main or "sheet").capitalize() if i == 0 else "Sheet%d" % (i + 1), (ctx.ui, s), th.fg)


def music(c, x, y, w, h, ctx, kind):
    r, s, main = ctx.r, ctx.base, ctx.pick(1)
    th = Theme(r, dark=r.random() < .8, held=ctx.held)
    c.rect(x, y, w, h, th.bg)
    side, bot = int(w * r.uniform(.16, .24)), int(s * 5)
    c.rect(x, y, side, h - bot, th.panel)
    for i in range(20):
        ty = y + s + i * s * 2.1
        if ty < y + h - bot - s * 2:
            c.text(x + s, ty, ["Home", "Library", "Radio", "Albums", "Artists"][i] if i < 5 else ctx.w.noun().capitalize() + " mix", (ctx.ui, s), th.fg if i < 5 else th.dim, x + side)
    mx, mw = x + side + s * 1.5, w - side - s * 3
    q = int(min(h * .32, w * .22))
    picture(c, int(mx), int(y + s * 1.5), q, q, r)
    c.text(mx + q + s * 1.5, y + s * 3, ctx.w.title(main), (ctx.bold, int(s * 2.4)), th.fg, x + w)
    c.text(mx + q + s * 1.5, y + s * 7, "%s  %d songs, %s min" % (ctx.w.fullname(), r.randint(5, 60), ctx.w.num()), (ctx.ui, s), th.dim, x + w)
    ty, i = y + q + s * 3, 1
    while ty < y + h - bot - s * 2:
        c.text(mx, ty, str(i), (ctx.ui, s), th.dim)
        c.text(mx + s * 3, ty, ctx.w.title(ctx.pick(.4)), (ctx.ui, s), th.accent if i == 2 else th.fg, mx + mw * .5)
        c.text(mx + mw * .55, ty, ctx.w.fullname(), (ctx.ui, s), th.dim, mx + mw * .85)
        c.text(mx + mw * .9, ty, "%d:%02d" % (r.randint(1, 7), r.randint(0, 59)), (ctx.ui, s), th.dim)
        ty, i = ty + s * 2.1, i + 1
    by = y + h - bot
    c.rect(x, by, w, bot, mix(th.panel, th.bg, .5))
    c.text(x + s, by + s * 1.2, ctx.w.title(main), (ctx.bold, s), th.fg, x + w * .3)
    c.text(x + s, by + s * 2.7, ctx.w.fullname(), (ctx.ui, s), th.dim, x + w * .3)
    cx = x + w / 2
    c.d.ellipse((cx - s * 1.1, by + s * .5, cx + s * 1.1, by + s * 2.7), fill=th.fg)
    c.d.polygon([(cx - s * .3, by + s), (cx - s * .3, by + s * 2.2), (cx + s * .6, by + s * 1.6)], fill=th.bg)
    for k in (-1, 1):
        c.d.polygon([(cx + k * s * 2.4, by + s), (cx + k * s * 2.4, by + s * 2.2), (cx + k * s * 3.4, by + s * 1.6)], fill=th.dim)
    c.rect(int(x + w * .3), int(by + s * 3.6), int(w * .4), 4, th.line)
    c.rect(int(x + w * .3), int(by + s * 3.6), int(w * .4 * r.random()), 4, th.accent)


def calendar(c, x, y, w, h, ctx, kind):
    r, s, main, th = ctx.r, ctx.base, ctx.pick(1), ctx.theme
    c.rect(x, y, w, h, th.bg)
    side = int(w * .18) if r.random() < .5 else 0
    c.rect(x, y, side, h, th.panel)
    if side:
        c.text(x + s, y + s, "My calendars", (ctx.bold, s), th.fg, x + side)
        for i in range(5):
            c.rect(int(x + s), int(y + s * (3 + i * 1.9)), int(s), int(s), hsl(r.random(), .6, .5))
            c.text(x + s * 2.6, y + s * (2.9 + i * 1.9), ctx.w.noun().capitalize(), (ctx.ui, s), th.fg, x + side)
    x, w = x + side, w - side
    c.text(x + s, y + s * .7, "%s 2025" % r.choice(["January", "March", "May", "June", "August", "October"]), (ctx.bold, int(s * 1.6)), th.fg)
    c.text(x + w - s * 14, y + s, "Day  Week  Month", (ctx.ui, s), th.dim, x + w)
    top = int(y + s * 4)
    days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    week = r.random() < .5
    gut = int(s * 3) if week else 0
    cw = (w - gut) / 7
    for j, d in enumerate(days):
        c.text(x + gut + j * cw, top, d, (ctx.ui, s), th.dim, align="center", width=cw)
        c.rect(int(x + gut + j * cw), top, 1, y + h - top, th.line)
    gy = int(top + s * 1.8)
    gh = y + h - gy
    if week:
        n = 10
        for i in range(n):
            c.rect(x, int(gy + i * gh / n), w, 1, th.line)
            c.text(x + 2, gy + i * gh / n, "%d:00" % (8 + i), (ctx.ui, s), th.dim)
        for k in range(r.randint(5, 14)):
            d, t0, ln = r.randint(0, 6), r.randint(0, 8), r.choice([1, 1, 1.5, 2])
            px, py, ph = x + gut + d * cw, gy + t0 * gh / n, min(ln, n - t0) * gh / n
            col = hsl(r.random(), .55, .45)
            c.rect(int(px + 2), int(py + 1), int(cw - 4), int(ph - 2), col, 3)
            c.text(px + 5, py + 3, "%s" % ((main if k < 3 else ctx.pick(.2)) or ctx.w.noun()).capitalize(), (ctx.ui, s), (255, 255, 255), px + cw)
            if ph > s * 3.2:
                c.text(px + 5, py + 3 + s * 1.3, ctx.w.clock(), (ctx.ui, s), (255, 255, 255), px + cw)
    else:
        for i in range(5):
            c.rect(x, int(gy + i * gh / 5), w, 1, th.line)
            for j in range(7):
                px, py = x + j * cw, gy + i * gh / 5
                c.text(px + 4, py + 2, str((i * 7 + j) % 31 + 1), (ctx.ui, s), th.fg)
                for k in range(r.choice([0, 0, 1, 1, 2])):
                    ey = py + s * (1.6 + k * 1.6)
                    if ey + s * 1.4 < py + gh / 5:
                        c.rect(int(px + 2), int(ey), int(cw - 4), int(s * 1.4), hsl(r.random(), .55, .45), 3)
                        c.text(px + 5, ey, ((ctx.pick(.35)) or ctx.w.noun()).capitalize(), (ctx.ui, s), (255, 255, 255), px + cw)


def pdf(c, x, y, w, h, ctx, kind):
    r, s, main = ctx.r, ctx.base, ctx.pick(1)
    th = Theme(r, dark=r.random() < .5, held=ctx.held)
    bg = r.choice([th.panel, (82, 86, 89), (50, 52, 54), (200, 200, 200)])
    c.rect(x, y, w, h, bg)
    bar = int(s * 2.6) if r.random() < .9 else 0
    c.rect(x, y, w, bar, th.panel)
    if bar:
        c.text(x + s, y + s * .7, ctx.w.filename(main, ".pdf"), (ctx.ui, s), th.fg, x + w * .4)
        c.text(x + w * .5, y + s * .7, "%d / %d     %d%%" % (r.randint(1, 20), r.randint(20, 90), r.choice([75, 100, 125])), (ctx.ui, s), th.fg, x + w)
    side = int(w * .15) if r.random() < .4 else 0
    for i in range(int((h - bar) / (side * 1.45)) if side else 0):
        c.rect(int(x + side * .15), int(y + bar + 8 + i * side * 1.4), int(side * .7), int(side * 1.2), (255, 255, 255))
        for k in range(8):
            c.rect(int(x + side * .25), int(y + bar + 8 + i * side * 1.4 + side * (.2 + k * .11)), int(side * r.uniform(.3, .5)), 2, (170, 170, 170))
    pw = int((w - side) * r.uniform(.55, .9))
    px = x + side + (w - side - pw) // 2
    py = y + bar + r.choice([0, int(s)])
    c.rect(px, py, pw, y + h - py, (255, 255, 255))
    body, mg = ctx.font("serif" if r.random() < .7 else "sans"), int(pw * .1)
    ink, ty, bs = (20, 20, 20), py + s * 3, int(s * r.uniform(1, 1.25))
    if r.random() < .7:
        c.text(px, ty, ctx.w.title(main), (ctx.bold if r.random() < .5 else body, int(s * 2)), ink, px + pw, align="center", width=pw)
        c.text(px, ty + s * 3.2, ctx.w.fullname() + ", " + ctx.w.fullname(), (body, bs), ink, px + pw, align="center", width=pw)
        ty += s * 6.5
    two = r.random() < .3
    for col in range(2 if two else 1):
        cwid = (pw - 2 * mg) // 2 - s if two else pw - 2 * mg
        cx, cy = px + mg + col * (cwid + 2 * s), ty
        while cy < y + h - bs * 2:
            if r.random() < .3:
                c.text(cx, cy, "%d  %s" % (r.randint(1, 9), ctx.w.title(ctx.pick(.6))), (ctx.bold if r.random() < .5 else body, int(bs * 1.25)), ink, cx + cwid)
                cy += bs * 2.2
            cy = wrap(c, cx, cy, ctx.w.paragraph(main, r.randint(3, 7)), (body, bs), ink, cwid, int(bs * 1.35), y + h) + bs * .8


def desktop(c, x, y, w, h, ctx, kind):
    r, s = ctx.r, ctx.base
    if r.random() < .6:
        picture(c, x, y, w, h, r)
    else:
        c.rect(x, y, w, h, hsl(r.random(), r.uniform(.1, .6), r.uniform(.15, .7)))
    q, t = int(s * 3.2), ctx.pick(1)
    right = r.random() < .3
    for i in range(r.randint(2, 14)):
        px = x + (w - s * 8 if right else s) + (-1 if right else 1) * (i // 6) * s * 8
        py = y + s * 1.5 + (i % 6) * s * 6.2
        if py + s * 6 > y + h or not x <= px < x + w - s * 7:
            continue
        c.rect(int(px + s * 1.8), int(py), q, q, r.choice([(240, 190, 70), (90, 150, 230), (240, 240, 240), hsl(r.random(), .5, .5)]), r.choice([2, 8]))
        name = (t if t and i < 3 else ctx.w.noun())
        c.text(px, py + q + 3, name.capitalize() if r.random() < .5 else name, (ctx.ui, s), (255, 255, 255), align="center", width=s * 7)
