"""More ways of doing the same things, so that a program never seen is taken for what it is used for: other editors,
debuggers, crashes, histories, text browsers, two-panel file managers and diff viewers. In training only."""
from draw import Theme, hsl, mix
from screens_text import Lines

COLOURS = {"k": "yellow", "f": "cyan", "s": "red", "n": "magenta", "c": "blue", "t": "green", "p": "fg"}


class More(Lines):
    def bar(self, left, right="", key="inv"):
        return [((" " + left + " " * max(1, self.cols - len(left) - len(right) - 2) + right + " ")[:self.cols], key)]

    def coloured(self, lang, n, p=.4):
        plain = self.r.random() < .3
        keys = self.r.sample(["yellow", "cyan", "red", "magenta", "blue", "green"], 6)
        cm = {k: "fg" if plain else c for k, c in zip("kfsnct", keys)}
        return [[(s, cm.get(k, "fg")) for s, k in ln] for ln in self.w.code(lang, n, self.t(1), p)]

    def tedit(self):
        r, w = self.r, self.w
        lang, ext = r.choice([("py", ".py"), ("c", ".c"), ("js", ".js")])
        name, out, tail = w.filename(self.x.pick(1), ext), [], []
        k = r.random()
        if k < .3:
            out.append(self.bar(r.choice(["File  Edit  Search  View  Options  Help", "File Edit Options Buffers Tools Help", "F10 menu   File  Block  Window  Tools", "= File  Edit  Goto  Mode  Macro"]), r.choice(["", name])))
        elif k < .6:
            out.append(self.bar(r.choice([name, "I  " + name + "  (Modified)", "%s  %d lines" % (name, r.randint(20, 900))]), r.choice(["", "Row %d Col %d" % (r.randint(1, 300), r.randint(1, 60)), w.clock()])))
        pos = r.choice(["%d:%d" % (r.randint(1, 300), r.randint(1, 80)), "L%d C%d" % (r.randint(1, 300), r.randint(1, 80)), "(%d,%d)  All" % (r.randint(1, 300), r.randint(1, 80)), "%d/%d  %d%%" % (r.randint(1, 90), r.randint(90, 900), r.randint(1, 99))])
        k = r.random()
        if k < .35:
            tail.append(self.bar(r.choice(["", "-", "**", "*"]) + name, pos, r.choice(["inv", "inv", "fg", "bold"])))
            if r.random() < .6:
                tail.append([(r.choice(["", "", "wrote " + name, "Save file? (y/n)", "find: " + w.noun()]), "fg")])
        elif k < .6:
            tail.append(self.bar("%s   %s" % (name, pos), r.choice(["INS", "utf-8", "unix", "[%s]" % lang]), r.choice(["inv", "fg"])))
        elif k < .8:
            tail.append([x for i, t in enumerate(["Help", "Save", "Open", "Mark", "Copy", "Move", "Find", "Del", "Menu", "Quit"]) for x in ((" F%d" % (i + 1), "fg"), (" " + t + " ", "inv"))])
        else:
            tail.append([("-- %s -- %s %s" % (name, pos, r.choice(["", "modified", "read %d lines" % r.randint(10, 400)])), r.choice(["fg", "bold"]))])
        n, nums, first = self.rows - len(out) - len(tail), r.random() < .35, r.randint(1, 200)
        have = n if r.random() < .8 else r.randint(max(1, n // 3), n)
        style = r.choice(["%4d ", "%3d  ", "%4d| ", " %d  "])
        body = [([(style % (first + i), r.choice(["yellow"]))] if nums else []) + ln for i, ln in enumerate(self.coloured(lang, have))]
        return out + body + [[(r.choice(["", "", "~"]), "fg")]] * (n - have) + tail

    def stepper(self):
        """Debuggers of other languages: a prompt, the place, lines around it, values, the stack."""
        r, w = self.r, self.w
        t, ext = self.t(.95) or w.noun(), r.choice([".rb", ".js", ".php", ".sh", ".lua", ".py", ".rs", ".c"])
        p = [(r.choice(["(rdb:1) ", "(lldb) ", "debug> ", "dbg(%d)> " % r.randint(1, 9), "bug<0> ", "[1] pry> ", "break> ", "prompt> ", "(step) ", "mdb> ", "* ", "debugger:1> "]), r.choice(["fg", "fg", "green", "blue", "bold"]))]
        mark = r.choice(["=>", "->", "> ", ">>", "* "])
        src = lambda n, f, at: [[("%s%4d%s" % (mark if i == at else "  ", f + i, r.choice(["  ", ": ", "| "])), "fg")] + ln for i, ln in enumerate(self.coloured(r.choice(["py", "c", "js"]), n, .4))]
        place = lambda: [(r.choice(["stopped at %s:%s in %s", "%s:%s:  %s", "break in %s:%s (%s)", "at %s, line %s, %s()", "%s(%s): %s"]) % (t + ext, w.num(), w.ident(self.t(.5)).split(".")[0]), r.choice(["fg", "yellow", "bold"]))]
        out = self.lead(r.choice(["debug %s%s", "run --debug %s%s", "inspect %s%s", "step %s%s"]) % (t, ext)) if r.random() < .7 else []
        out += [[(r.choice(["Debugger listening", "Type help for commands", "Reading symbols from " + t, "Breakpoint 1 set in " + t + ext, "program stopped on entry"]), "fg")]] + [place()]
        for _ in range(r.choice([2, 4, 7, 12])):
            k = r.randint(0, 5)
            if k == 0:
                n = r.randint(3, 10)
                out += [p + [(r.choice(["list", "l", "source", "l ."]), "fg")]] + src(n, r.randint(1, 200), n // 2)
            elif k == 1:
                out += [p + [(r.choice(["next", "n", "step", "s", "continue", "c"]), "fg")], place()] + src(1, r.randint(1, 200), 0)
            elif k == 2:
                out += [p + [(r.choice(["p ", "print ", "x ", "exec ", "watch "]) + w.ident(self.t(.4)), "fg")], [(r.choice(["= ", "", "$1 = ", "=> "]) + r.choice([w.num(), '"%s"' % w.noun(), "nil", "undefined", "[%s, %s]" % (w.num(), w.num())]), "fg")]]
            elif k == 3:
                style = r.choice(["#%d %s at %s:%d", "frame #%d: %s in %s:%d", "%d  %s (%s:%d)", "  [%d] %s %s line %d"])
                out += [p + [(r.choice(["bt", "where", "backtrace", "T"]), "fg")]] + [[(style % (i, w.ident(self.t(.6)), self.file(.5, ext), r.randint(1, 300)), "fg")] for i in range(r.randint(2, 6))]
            elif k == 4:
                out += [p + [(r.choice(["break ", "b ", "stop in "]) + w.ident(self.t(.6)), "fg")], [("breakpoint %d at %s:%s" % (r.randint(1, 9), t + ext, w.num()), "fg")]]
            else:
                out += [p + [(r.choice(["info locals", "vars", "frame variable", "scope"]), "fg")]] + [[("%s = %s" % (w.ident(self.t(.3)), r.choice([w.num(), '"%s"' % w.noun()])), "fg")] for _ in range(r.randint(2, 5))]
        return out[-self.rows + 1:] + [p]

    def crash(self):
        """A program of some language failed; often little else is on the screen."""
        r, w = self.r, self.w
        t, msg = self.t(.95) or w.noun(), None
        fn, msg = lambda: w.ident(self.t(.6)).split(".")[0], "bad %s value" % (self.t(.6) or w.noun())
        n, style = r.randint(2, 9), r.randint(0, 7)
        cmd = ["php %s.php", "lua %s.lua", "tclsh %s.tcl", "go run %s.go", "ruby %s.rb", "swift %s.swift", "julia %s.jl", "ocaml %s.ml"][style] % t
        out = self.lead(cmd, 8)
        if style == 0:
            out += [[("PHP Fatal error:  Uncaught %sException: %s in /home/%s.php:%s" % (r.choice(["Runtime", "Logic", "Type"]), msg, t, w.num()), "fg")], [("Stack trace:", "fg")]]
            out += [[("#%d /home/%s(%s): %s(%s)" % (i, self.file(.6, ".php"), w.num(), fn(), w.num()), "fg")] for i in range(n)] + [[("#%d {main}" % n, "fg")], [("  thrown in /home/%s.php on line %s" % (t, w.num()), "fg")]]
        elif style == 1:
            out += [[("lua: %s.lua:%s: %s" % (t, w.num(), msg), "fg")], [("stack traceback:", "fg")], [("        [C]: in function 'error'", "fg")]]
            out += [[("        %s:%s: in %s '%s'" % (self.file(.7, ".lua"), w.num(), r.choice(["function", "local", "upvalue"]), fn()), "fg")] for _ in range(n)] + [[("        [C]: in ?", "fg")]]
        elif style == 2:
            out += [[(msg, "fg")]] + [ln for _ in range(n) for ln in ([("    while executing" if r.random() < .4 else "    invoked from within", "fg")], [('"%s %s"' % (fn(), w.num()), "fg")], [('    (procedure "%s" line %d)' % (fn(), r.randint(1, 30)), "fg")])]
        elif style == 3:
            out += [[("panic: " + msg, "fg")], [("", "fg")], [("goroutine 1 [running]:", "fg")]]
            out += [ln for _ in range(n) for ln in ([("main.%s(0x%s, %s)" % (fn(), w.hexs(8), w.num()), "fg")], [("        /home/%s:%s +0x%s" % (self.path(.6), w.num(), w.hexs(2)), "fg")])] + [[("exit status 2", "fg")]]
        elif style == 4:
            out += [[("%s.rb:%s:in `%s': %s (%sError)" % (t, w.num(), fn(), msg, r.choice(["Argument", "Runtime", "Type"])), r.choice(["fg", "bold"]))]] + [[("        from %s:%s:in `%s'" % (self.file(.7, ".rb"), w.num(), fn()), "fg")] for _ in range(n)]
        elif style == 5:
            out += [[("%s/%s.swift:%s: Fatal error: %s" % (t, t, w.num(), msg), "fg")], [("Crash: thread 0 at %s" % fn(), "red")]] + [[("%d 0x%s %s + %s in %s" % (i, w.hexs(12), fn(), w.num(), t), "fg")] for i in range(n)]
        elif style == 6:
            out += [[("ERROR: ", "red"), ("LoadError: " + msg, "fg")], [("Stacktrace:", "fg")]] + [ln for i in range(n) for ln in ([(" [%d] " % (i + 1), "fg"), (fn(), "bold"), ("(%s::Int64)" % w.noun(), "dim")], [("   @ Main ~/%s:%s" % (self.path(.6), w.num()), "dim")])]
        else:
            out += [[('Fatal error: exception Failure("%s")' % msg, "fg")]] + [[('%s at %s.%s in file "%s", line %d, characters %d-%d' % ("Raised" if i == 0 else "Called from", t.capitalize(), fn(), self.file(.7, ".ml"), r.randint(1, 200), r.randint(1, 20), r.randint(21, 60)), "fg")] for i in range(n)]
        return out[-self.rows + 1:] + [self.prompt()]

    def history(self):
        """Commits of a repository: a list with one chosen, or one after the other."""
        r, w = self.r, self.w
        if r.random() < .35:
            out = self.lead("git log" + r.choice(["", " --stat", " -5"])) if r.random() < .4 else []
            while len(out) < self.rows:
                out += [[("commit " + w.hexs(40), "yellow")], [("Author: %s <%s@%s.org>" % (w.fullname(), w.name().lower(), w.noun()), "fg")], [("Date:   %s %s" % (w.date(), w.clock()), "fg")], [("", "fg")], [("    " + w.phrase(self.t(.7)), "fg")], [("", "fg")]]
                if r.random() < .5:
                    out += [[(" %s | %d " % (self.file(.7), r.randint(1, 40)), "fg"), ("+" * r.randint(1, 20), "green"), ("-" * r.randint(0, 9), "red")] for _ in range(r.randint(1, 4))] + [[("", "fg")]]
            return out[:self.rows - 1] + [[(r.choice([":", "(END)", "lines 1-%d" % self.rows]), r.choice(["fg", "inv"]))]]
        n = r.randint(3, self.rows) if r.random() < .5 else self.rows
        style, cur, out = r.randint(0, 2), r.randrange(n), []
        for i in range(n):
            graph = r.choice(["* ", "* ", "| * ", "* | ", "o "])
            text = w.phrase(self.t(.55))
            tag = [("[%s] " % r.choice(["main", "dev", "v1.%d" % r.randint(0, 9)]), "green")] if r.random() < .15 else []
            if style == 0:
                ln = [(w.date() + " " + w.clock() + " ", "blue"), ("%-16s " % w.fullname()[:16], "green"), (graph, "magenta")] + tag + [(text, "fg")]
            elif style == 1:
                ln = [(graph, "red"), (w.hexs(7) + " ", "yellow")] + tag + [(text, "fg"), (" (%d days ago) <%s>" % (r.randint(1, 90), w.name()), "dim")]
            else:
                ln = [("%s  " % w.hexs(8), "yellow"), ("%-10s " % w.name(), "cyan"), (w.date() + "  ", "dim"), (text, "fg")] + tag
            out.append([(("".join(s for s, _ in ln) + " " * self.cols)[:self.cols], "inv")] if i == cur and r.random() < .85 else ln)
        foot = [self.bar(r.choice(["[main] %s - commit %d of %d", "[log] %s %d/%d", "%s  %d of %d commits"]) % (w.hexs(10), cur + 1, n), "%d%%" % r.randint(1, 100))]
        if r.random() < .35 and n < self.rows - 8:
            out += [self.bar("diff " + self.path(.8))] + [ln for _ in range(6) for ln in self.hunk(r.choice(["py", "c", "js"]))]
        out = (out + [[("", "fg")]] * self.rows)[:self.rows - 1]
        return out + (foot if r.random() < .8 else [[("", "fg")]])

    def textweb(self):
        """A page in a text browser: a title, headings, links, a line on where one is."""
        r, w = self.r, self.w
        t, out = self.x.pick(1), []
        link, head = r.choice(["cyan", "blue", "yellow", "under", "magenta"]), r.choice(["bold", "red", "green", "yellow", "fg"])
        title, at = w.title(t), r.choice(["%d of %d" % (r.randint(1, 3), r.randint(3, 9)), "p%d/%d" % (r.randint(1, 3), r.randint(3, 9)), "(%d%%)" % r.randint(1, 99)])
        ind, wide = r.choice([0, 2, 3, 5]), min(self.cols - 8, r.choice([66, 72, 76, 90]))
        top = r.random()
        if top < .4:
            out.append([((" " * max(0, self.cols - len(title) - len(at) - 2) + title + " " + at)[:self.cols], r.choice(["fg", head]))])
        elif top < .6:
            out.append(self.bar(title, at))
        if r.random() < .5:
            out += [[(" " * ind + "  ".join(w.noun().capitalize() for _ in range(r.randint(3, 6))), link)], [("", "fg")]]
        while len(out) < self.rows + 12:
            k = r.random()
            if k < .25:
                out += [[(" " * r.choice([0, ind]) + w.title(self.t(.6)), head)], [("", "fg")]]
            elif k < .5:
                mark = r.choice(["* ", "[%d]", "+ ", "o ", "", ""])
                out += [[(" " * (ind + 2) + (mark % r.randint(1, 60) if "%" in mark else mark), "fg"), (w.title(self.t(.4)), link)] for _ in range(r.randint(2, 9))] + [[("", "fg")]]
            elif k < .58:
                out += [[(" " * (ind + 4) + "".join(s for s, _ in ln), "fg")] for ln in w.code("py", r.randint(2, 5), t, .5)] + [[("", "fg")]]
            else:
                line = ""
                for x in w.paragraph(self.t(1), r.randint(2, 5), .4).split():
                    if len(line) + len(x) > wide:
                        out, line = out + [[(" " * ind + line, "fg")]], ""
                    line += x + " "
                out += [[(" " * ind + line, "fg")], [("", "fg")]]
        foot = r.choice([self.bar(r.choice(["file:///home/%s.html" % (t or w.noun()), "http://%s.org/%s" % (w.syllables(2), t or w.noun()), "Viewing %s" % title])),
                         [("-- space for more, arrows to move, q to leave --", "fg")], self.bar("OK", "[-----]", "fg"), [("Link: http://%s.org" % w.syllables(2), "fg")]])
        s = r.choice([0, 0, r.randint(0, 11)])
        return out[s:s + self.rows - 1] + [foot]

    def commander(self):
        """Files in a terminal: two panels, or columns of folders."""
        r, w = self.r, self.w
        entry = lambda: (self.t(.35) or w.noun(), True) if r.random() < .35 else (self.file(.4, r.choice([".txt", ".c", ".py", ".js", ".md", ".log", ".csv", ".sh"])), False)
        rows, out = self.rows - 4, []
        if r.random() < .6:
            half = self.cols // 2
            tl, hz, tr, vt, bl, br = r.choice(["┌─┐│└┘", "╔═╗║╚╝", "+-+|++", "┌─┐│└┘"])
            wide = half - 2
            path = [" ~/%s " % (self.t(.8) or w.noun()) for _ in (0, 1)]
            line = lambda a, b, s: a + (s + hz * wide)[:wide] + b
            out.append([(line(tl, tr, hz + p), "fg") for p in path])
            size, when = r.random() < .9, wide > 34
            name_w = wide - (8 if size else 0) - (13 if when else 0)
            cur = r.randrange(max(1, rows - 2))
            out.append([x for _ in (0, 1) for x in ((vt, "fg"), (("Name" + " " * wide)[:name_w] + ("   Size " if size else "") + (" Modified    " if when else ""), "yellow"), (vt, "fg"))])
            sides = [[entry() for _ in range(r.randint(rows // 2, rows))] for _ in (0, 1)]
            for i in range(rows - 1):
                ln = []
                for side, names in enumerate(sides):
                    cell, d = (" " * wide, False)
                    if i < len(names):
                        n, d = names[i] if i else ("..", True)
                        cell = (("/" if d else " ") + n + " " * wide)[:name_w] + ("%7s " % (w.num(99999) if not d else "<dir>") if size else "") + (" " + w.date()[5:] + " " + w.clock() + " " if when else "")
                    ln += [(vt, "fg"), ((cell + " " * wide)[:wide], "inv" if side == 0 and i == cur else "bold" if d else "fg"), (vt, "fg")]
                out.append(ln)
            out.append([(bl + hz * wide + br, "fg")] * 2)
        else:
            out.append([("%s@box " % w.name().lower(), "green"), ("~/" + (self.t(.9) or w.noun()) + "/", "blue"), (w.filename(self.t(.5)), "fg")])
            wide = [max(6, int(self.cols * f) - 1) for f in r.choice([(.2, .35, .45), (.3, .7), (.15, .4, .45), (1.0,)])]
            lists = [[entry() for _ in range(r.randint(3, rows))] for _ in wide]
            cur = [r.randrange(len(x)) for x in lists]
            for i in range(rows + 1):
                ln = []
                for c, (names, cw) in enumerate(zip(lists, wide)):
                    n, d = names[i] if i < len(names) else ("", False)
                    size = "%s K" % w.num() if n and cw > 24 else ""
                    ln.append(((" " + n + " " * max(1, cw - len(n) - len(size) - 2) + size + " ")[:cw] + " ", "inv" if i == cur[c] and n else "blue" if d else "fg"))
                out.append(ln)
        k = r.random()
        if k < .5:
            out.append(self.prompt())
        if k < .7:
            out.append([x for i, t in enumerate(["Help", "Menu", "View", "Edit", "Copy", "Move", "Mkdir", "Delete", "Find", "Quit"]) for x in ((" %d" % (i + 1), "fg"), (("%-6s" % t), "inv"))])
        else:
            out.append([("drwxr-xr-x %d user user %s  %s" % (r.randint(1, 9), w.date(), w.clock()), "cyan"), ("   %d/%d  %d%%" % (r.randint(1, 20), r.randint(20, 60), r.randint(1, 99)), "fg")])
        return out[:self.rows]

    def sidediff(self):
        """Two versions side by side in a terminal."""
        r, w = self.r, self.w
        lang, half = r.choice(["py", "c", "js"]), self.cols // 2 - 2
        name = self.file(.9)
        out = self.lead(r.choice(["sdiff %s %s.old", "diff -y %s %s.old", "compare %s %s.old"]) % (name, name)) if r.random() < .6 else [self.bar(name, name + ".old")]
        text = lambda: "".join(s for s, _ in w.code(lang, 1, self.t(1), .45)[0])
        while len(out) < self.rows:
            k, a = r.random(), text()
            b = a if k < .6 else text()
            sign, ka, kb = ("  ", "fg", "fg") if k < .6 else (r.choice(["| ", "| ", "  "]), "red", "green")
            if k > .9:
                a, sign = "", "> "
            elif k > .8:
                b, sign = "", "< "
            out.append([((a + " " * half)[:half], ka), (sign, "cyan"), (b[:half], kb)])
        return out[:self.rows - 1] + [self.prompt() if r.random() < .7 else self.bar(name)]


def chrome(c, x, y, w, ctx, th, title):
    """Menu and tool bar of a classic program; returns their height."""
    r, s = ctx.r, ctx.base
    row = int(s * 1.8)
    c.rect(x, y, w, row, th.panel)
    c.text(x + s * .7, y + row * .15, r.choice(["File  Edit  View  Search  Tools  Help", "File  Edit  Search  Document  Build  Help", "File  Edit  Options  Windows  Help", "File  Edit  Changes  View"]), (ctx.ui, s), th.fg, x + w)
    at = row
    if r.random() < .75:
        q = int(s * r.uniform(1.6, 2.8))
        c.rect(x, y + at, w, q + 4, th.panel)
        for i in range(r.randint(5, 16)):
            c.rect(int(x + 6 + i * q * 1.3), y + at + 3, q - 4, q - 4, r.choice([hsl(r.random(), r.uniform(.2, .7), .55), th.line]), r.choice([0, 3, 8]))
        at += q + 4
    if r.random() < .5:
        c.rect(x, y + at, w, row, mix(th.panel, th.bg, .5))
        for i in range(r.randint(1, 4)):
            c.rect(int(x + 4 + i * s * 13), y + at + 2, int(s * 12), row - 2, th.bg if i == 0 else th.panel, 2, th.line)
            c.text(x + s + i * s * 13, y + at + row * .15, title if i == 0 else ctx.w.filename(ctx.pick(.3)), (ctx.ui, s), th.fg, x + 4 + (i + 1) * s * 13)
        at += row
    return at


def editor(c, x, y, w, h, ctx, kind):
    """A plain editor with a window of its own."""
    r, s, wd = ctx.r, ctx.base, ctx.w
    th = Theme(r, dark=r.random() < .25)
    if r.random() < .5 and not th.dark:
        th.bg, th.panel = (255, 255, 255), mix((255, 255, 255), (200, 200, 200), r.uniform(.1, .9))
    c.rect(x, y, w, h, th.bg)
    lang, ext = r.choice([("py", ".py"), ("c", ".c"), ("js", ".js")])
    name, mono = wd.filename(ctx.pick(1), ext), ctx.font("mono" if r.random() < .9 else "sans")
    top = chrome(c, x, y, w, ctx, th, name)
    lh, foot = int(s * r.uniform(1.2, 1.5)), int(s * 1.7) if r.random() < .75 else 0
    side = int(w * r.uniform(.15, .25)) if r.random() < .4 else 0
    low = int(h * r.uniform(.12, .22)) if r.random() < .25 else 0
    if side:
        c.rect(x, y + top, side, h - top, mix(th.bg, th.panel, .6))
        for i in range(int((h - top - low) / lh)):
            c.text(x + s * (.6 + (i % 5 > 0)), y + top + 3 + i * lh, r.choice([wd.ident, lambda t: wd.filename(t)])(ctx.pick(.25)), (ctx.ui, s), th.fg, x + side)
            if r.random() < .12:
                break
        c.rect(x + side, y + top, 1, h - top, th.line)
    ex, ew, eh = x + side, w - side, h - top - foot - low
    nums, first, gut = r.random() < .6, r.randint(1, 200), int(s * 3)
    if nums and r.random() < .6:
        c.rect(ex, y + top, gut, eh, th.panel)
    rows = int(eh / lh)
    cur, some = r.randrange(max(1, rows)), r.random() < .7
    plain = r.random() < .25
    for i, ln in enumerate(wd.code(lang, rows if r.random() < .8 else max(1, rows // 2), ctx.pick(1), .4)):
        ty = y + top + i * lh
        if i == cur and some:
            c.rect(ex + (gut if nums else 0), ty, ew, lh, mix(th.bg, th.accent, .12))
        if nums:
            c.text(ex, ty, "%d" % (first + i), (mono, s), th.dim, align="right", width=gut - 5)
        tx = ex + (gut if nums else 0) + 5
        for t, k in ln:
            tx = c.text(tx, ty, t, (mono, s), th.fg if plain else th.code[k], x + w)
    if low:
        c.rect(ex, y + h - foot - low, ew, low, th.bg, 0, th.line)
        for i in range(int(low / lh) - 1):
            c.text(ex + s, y + h - foot - low + 3 + i * lh, "%s: %s" % (wd.clock(), wd.sentence()), (ctx.ui, s), th.fg, x + w)
    if foot:
        c.rect(x, y + h - foot, w, foot, th.panel)
        c.text(x + s, y + h - foot + 3, r.choice(["line %d / %d  col %d  sel 0  INS", "Ln %d, Lines %d, Col %d", "%d:%d  %d%%"]) % (r.randint(1, 99), r.randint(100, 900), r.randint(1, 80)), (ctx.ui, s), th.fg, x + w * .6)
        c.text(x + w * .62, y + h - foot + 3, r.choice(["UTF-8  LF  %s", "%s   Tab width: 4", "mode: LF  %s", "%s"]) % {"py": "Python", "c": "C", "js": "JavaScript"}[lang], (ctx.ui, s), th.dim, x + w)


def diffview(c, x, y, w, h, ctx, kind):
    """Two or three versions side by side in a window of its own."""
    r, s, wd = ctx.r, ctx.base, ctx.w
    th = Theme(r, dark=r.random() < .2)
    c.rect(x, y, w, h, th.bg)
    name, mono, lang = wd.filename(ctx.pick(1)), ctx.font("mono"), r.choice(["py", "c", "js"])
    top, lh = chrome(c, x, y, w, ctx, th, name), int(s * r.uniform(1.2, 1.45))
    n, row = 2 if r.random() < .85 else 3, int(s * 1.8)
    colours = [mix(th.bg, hsl(v, .7, .5), r.uniform(.2, .45)) for v in r.choice([(.0, .33, .6), (.33, .33, .6), (.58, .58, .58), (.14, .14, .0), (.9, .5, .1)])]
    gap, nums = r.choice([2, int(s * 2.5)]), r.random() < .5
    pw = (w - gap * (n - 1)) // n
    for k in range(n):
        c.rect(x + k * (pw + gap), y + top, pw, row, th.panel)
        c.text(x + k * (pw + gap) + s, y + top + 3, r.choice(["%s", "~/%s", "A: %s", "%s (working copy)"]) % (name + ("" if k else ".orig")), (ctx.ui, s), th.fg, x + k * (pw + gap) + pw)
    ty, i, num = y + top + row, 0, r.randint(1, 100)
    while ty + lh < y + h:
        same = r.random() < .7
        for _ in range(r.randint(2, 7) if same else r.randint(1, 4)):
            if ty + lh >= y + h:
                break
            base = wd.code(lang, 1, ctx.pick(1), .4)[0]
            gone = r.randrange(n) if not same and r.random() < .45 else -1
            for k in range(n):
                px = x + k * (pw + gap)
                if not same:
                    c.rect(px, ty, pw, lh, colours[k] if gone != k else mix(th.bg, th.line, .5))
                if gone == k:
                    continue
                ln = base if same or r.random() < .2 else wd.code(lang, 1, ctx.pick(1), .4)[0]
                tx = px + 5
                if nums:
                    c.text(tx, ty, str(num + i), (mono, s), th.dim)
                    tx += s * 2.4
                for t, kk in ln:
                    tx = c.text(tx, ty, t, (mono, s), th.code[kk] if same else th.fg, px + pw)
            if not same and gap > 4:
                for k in range(n - 1):
                    c.d.polygon([(x + pw + k * (pw + gap), ty), (x + pw + gap + k * (pw + gap), ty + lh * .3), (x + pw + gap + k * (pw + gap), ty + lh), (x + pw + k * (pw + gap), ty + lh * .8)], fill=colours[0])
            ty, i = ty + lh, i + 1
    for k in range(1, n):
        c.rect(x + k * (pw + gap) - gap, y + top, 1, h - top, th.line)
