"""Web pages of our own for a real browser: search, answers, docs, articles, pull requests, dashboards, PDF-like papers."""
import html

from words import Words

FONTS = ["DejaVu Sans", "Liberation Sans", "Noto Sans", "Roboto", "Open Sans", "Inter", "Cantarell", "FreeSans", "DejaVu Serif", "Liberation Serif", "Noto Serif"]
MONO = ["DejaVu Sans Mono", "Liberation Mono", "JetBrains Mono", "Hack"]


def css(r, size):
    dark = r.random() < .25
    hue = r.choice([r.randint(0, 95), r.randint(170, 360)])
    bg = "hsl(%d,%d%%,%d%%)" % (hue, r.choice([0, 10, 20]), r.randint(6, 16) if dark else r.choice([100, 98, 95]))
    fg = "#e6e6e6" if dark else "#1c1c1c"
    pan = "hsl(%d,%d%%,%d%%)" % (hue, r.choice([0, 15, 30]), r.randint(18, 26) if dark else r.randint(88, 95))
    acc = "hsl(%d,70%%,%d%%)" % (r.randint(0, 360), 60 if dark else 38)
    return """body{margin:0;background:%s;color:%s;font:%dpx '%s';line-height:%.2f}code,pre{font-family:'%s';background:%s}
pre{padding:8px;overflow:hidden}a{color:%s;text-decoration:none}.bar{background:%s;padding:%dpx 16px}.bar b{margin-right:24px}.dim{opacity:.65}
.side{float:left;width:%d%%;background:%s;height:2000px;padding:12px}.main{padding:10px 28px;max-width:%dpx;margin-left:%d%%}
.add{background:%s}.del{background:%s}.card{background:%s;border-radius:6px;padding:10px;margin:6px;display:inline-block;vertical-align:top}
h1{font-size:1.8em;margin:.4em 0}h2{font-size:1.3em;margin:.5em 0}p{margin:.6em 0}input{font:inherit;padding:6px 14px;width:55%%;border-radius:%dpx;border:1px solid gray;background:%s;color:%s}
""" % (bg, fg, size, r.choice(FONTS), r.uniform(1.3, 1.6), r.choice(MONO), pan, acc, r.choice([pan, acc, pan]), r.randint(4, 14), r.randint(14, 22), pan, r.randint(600, 1100), r.choice([0, 4, 12]),
       "#1d4428" if dark else "#d4f7dc", "#4b2025" if dark else "#fbd9dc", pan, r.choice([2, 20]), bg, fg)


def code(w, n, t, lang=None):
    return html.escape("\n".join("".join(s for s, _ in ln) for ln in w.code(lang or w.r.choice(["py", "js", "c"]), n, t, .4)))


def bar(w):
    return "" if w.r.random() < .3 else "<div class=bar><b>%s</b>%s</div>" % (w.syllables(2).capitalize(), "".join("<span style='margin-right:20px'>%s</span>" % w.noun().capitalize() for _ in range(4)))


def search(w, t):
    res = "".join("<p><span class=dim>%s.org &rsaquo; %s</span><br><a style='font-size:1.3em'>%s</a><br>%s</p>" % (w.syllables(2), (t if w.r.random() < .7 else None) or w.noun(), w.title(t), w.paragraph(t, 2, .4)) for _ in range(9))
    q = "%s %s" % (t or w.noun(), w.noun())
    return q + " - search", "<div style='padding:16px 8%%'><input value='%s'><p class=dim>%s</p><p class=dim>About %s000 results</p><div style='max-width:700px'>%s</div></div>" % (q, "All &nbsp; Images &nbsp; News &nbsp; Videos", w.num(), res)


def answers(w, t):
    q = "How to %s %s" % (w.verb().split("_")[0], w.phrase(t))
    vote = "<div style='float:left;width:50px;text-align:center;font-size:1.2em'>&#9650;<br>%s<br>&#9660;</div>"
    post = lambda: "<div style='overflow:hidden;border-top:1px solid gray;padding:10px'>" + vote % w.num(99) + "<div style='margin-left:60px'>%s<pre>%s</pre>%s<p class=dim>answered by %s</p></div></div>" % (w.paragraph(t, 2, .5), code(w, w.r.randint(3, 7), t), w.paragraph(t, 2), w.name())
    return q, bar(w) + "<div class=main><h1>%s?</h1><p class=dim>Asked %s &nbsp; Viewed %s times</p>%s<h2>%d Answers</h2>%s</div>" % (q, w.date(), w.num(), post(), w.r.randint(2, 8), post() + post())


def docs(w, t):
    side = "".join("<p>%s</p>" % (w.title(t if w.r.random() < .3 else None)) for _ in range(22))
    body = "<h1>%s</h1>" % w.title(t)
    for _ in range(7):
        body += "<p>%s</p>" % w.paragraph(t, 3, .5) + ("<pre>%s</pre>" % code(w, w.r.randint(2, 7), t) if w.r.random() < .6 else "") + ("<h2>%s</h2>" % w.title(t if w.r.random() < .6 else None) if w.r.random() < .5 else "")
    return w.title(t), bar(w) + "<div class=side>%s</div><div style='margin-left:25%%;padding:4px 24px'>%s</div>" % (side, body)


def article(w, t):
    body = "<h1>%s</h1><p class=dim>By %s, %s</p>" % (w.title(t), w.fullname(), w.date())
    if w.r.random() < .4:
        body += "<div style='height:%dpx;background:linear-gradient(%ddeg,hsl(%d,60%%,60%%),hsl(%d,60%%,30%%))'></div>" % (w.r.randint(80, 240), w.r.randint(0, 360), w.r.randint(0, 360), w.r.randint(0, 360))
    body += "".join("<p>%s</p>" % w.paragraph(t, 5, .45) + ("<h2>%s</h2>" % w.title(t) if w.r.random() < .25 else "") for _ in range(8))
    return w.title(t), bar(w) + "<div style='max-width:%dpx;margin:auto;padding:10px'>%s</div>" % (w.r.randint(560, 800), body)


def pull(w, t):
    def diff():
        rows = "<div style='background:rgba(128,128,128,.15);padding:6px'>src/%s &nbsp; +%s -%s</div>" % (w.filename(t if w.r.random() < .8 else None), w.num(99), w.num(99))
        for _ in range(w.r.randint(8, 18)):
            k = w.r.choice(["", "", "add", "add", "del"])
            rows += "<div class='%s' style='font-family:monospace;white-space:pre'>%4s  %s %s</div>" % (k, w.num(), {"add": "+", "del": "-"}.get(k, " "), code(w, 1, t, "py"))
        return "<div style='border:1px solid gray;margin:10px 0'>%s</div>" % rows
    title = w.title(t)
    head = "<h1>%s <span class=dim>#%s</span></h1><p><span style='background:#2da44e;color:white;border-radius:12px;padding:4px 12px'>Open</span> %s wants to merge %d commits into main</p><p>Conversation &nbsp; Commits &nbsp; Checks &nbsp; <b>Files changed %d</b></p><hr>" % (title, w.num(9999), w.name(), w.r.randint(1, 9), w.r.randint(1, 30))
    return title + " - Pull request", bar(w) + "<div style='padding:8px 20px'>%s%s</div>" % (head, "".join(diff() for _ in range(3)))


def dashboard(w, t):
    cards = ""
    for _ in range(w.r.randint(6, 12)):
        k = w.r.random()
        if k < .3:
            inner = "<div style='font-size:2.4em;color:hsl(%d,70%%,50%%)'>%s</div>" % (w.r.randint(0, 360), w.num(9999))
        elif k < .65:
            y, pts = 50, ""
            for i in range(24):
                y = max(4, min(96, y + w.r.randint(-20, 20)))
                pts += "%d,%d " % (i * 9, y)
            inner = "<svg width=210 height=100><polyline points='%s' fill=none stroke='hsl(%d,70%%,50%%)' stroke-width=2 /></svg>" % (pts, w.r.randint(0, 360))
        else:
            inner = "<svg width=210 height=100>%s</svg>" % "".join("<rect x=%d y=%d width=14 height=100 fill='hsl(%d,60%%,50%%)'/>" % (i * 20, w.r.randint(5, 90), w.r.randint(0, 360)) for i in range(10))
        cards += "<div class=card style='min-width:210px'>%s %s<br>%s</div>" % ((t if w.r.random() < .6 else None) or w.noun(), w.noun(), inner)
    name = "%s %s" % ((t or w.noun()).capitalize(), w.r.choice(["dashboard", "overview", "metrics"]))
    return name, bar(w) + "<div style='padding:8px 16px'><h1>%s</h1>%s</div>" % (name, cards)


PAGES = {"search": search, "answers": answers, "docs": docs, "article": article, "pull": pull, "dashboard": dashboard}


def page(kind, topic, r, size, held=False, after=None):
    """HTML of one page; `after` is (seconds, address of the next page)."""
    w = Words(r, held)
    title, body = PAGES[kind](w, topic)
    jump = "<script>setTimeout(()=>location.replace('%s'),%d)</script>" % (after[1], after[0] * 1000) if after else ""
    return "<!doctype html><meta charset=utf-8><title>%s</title><style>%s</style>%s%s" % (title, css(r, size), body, jump)
