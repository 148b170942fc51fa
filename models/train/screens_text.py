"""Text-mode screens: what is written in a terminal, line by line. A line is a list of (text, colour key)."""

PATHS = ["src", "lib", "app", "core", "pkg", "tools", "internal", "modules"]


class Lines:
    """Contents of terminals. `pick(p)` of the context gives a subject with probability p, or None."""

    def __init__(self, ctx, cols, rows):
        self.x, self.r, self.w, self.cols, self.rows = ctx, ctx.r, ctx.w, cols, rows

    def t(self, p=.4): return self.x.pick(p)
    def file(self, p=.5, ext=None): return self.w.filename(self.t(p), ext)
    def path(self, p=.5): return self.r.choice(PATHS) + "/" + self.file(p)

    # -- shell -----------------------------------------------------------------------------------
    def prompt(self, cmd=""):
        x = self.x
        if not hasattr(x, "ps1"):
            d = self.t(.8) or self.w.noun()
            user, host = self.w.name().lower(), self.r.choice([self.w.noun(), "laptop", "dev", "box"])
            x.ps1 = self.r.choice([
                [("%s@%s" % (user, host), "green"), (":", "fg"), ("~/" + d, "blue"), ("$ ", "fg")],
                [("[%s@%s %s]$ " % (user, host, d), "fg")], [("$ ", "fg")],
                [("➜  ", "green"), (d, "blue"), (" ", "fg")],
                [(d, "blue"), (" (", "fg"), ("main", "red"), (") ", "fg"), ("% ", "fg")],
                [("%s@%s" % (user, host), "fg"), (":~/src/%s# " % d, "fg")],
                [("~/" + d, "yellow"), (" > ", "green")]])
        return x.ps1 + [(cmd, "fg")]

    def cmd_ls(self):
        r, w = self.r, self.w
        out = []
        if r.random() < .6:
            out.append([("total " + w.num(), "fg")])
            for _ in range(r.randint(3, 12)):
                d = r.random() < .25
                name = (self.t(.4) or w.noun()) if d else self.file(.4, r.choice([".txt", ".md", ".py", ".c", ".sh", ".log", ".csv"]))
                out.append([("%s %2d %s %s %6s %s " % ("drwxr-xr-x" if d else "-rw-r--r--", r.randint(1, 9), "user", "user", w.num(99999),
                                                     r.choice(["Jan", "Mar", "Jun", "Sep", "Nov"]) + " %2d %s" % (r.randint(1, 28), w.clock())), "fg"),
                            (name, "blue" if d else "fg")])
        else:
            for _ in range(r.randint(1, 4)):
                out.append([(("%-18s" % (self.file(.3) if r.random() < .6 else w.noun())), r.choice(["fg", "blue", "green", "fg"])) for _ in range(max(1, self.cols // 20))])
        return r.choice(["ls -la", "ls -l", "ls", "ls -lh " + r.choice(PATHS)]), out

    def cmd_misc(self):
        r, w = self.r, self.w
        k = r.randint(0, 9)
        if k == 0:
            return "cat " + self.file(.6, ".txt"), [[(w.sentence(self.t(.4)), "fg")] for _ in range(r.randint(1, 5))]
        if k == 1:
            t = self.t(.9) or w.noun()
            return "grep -rn %s %s" % (t, r.choice(PATHS)), [[(self.path(.5), "magenta"), (":", "cyan"), (w.num(), "green"), (":", "cyan"),
                                                           ("    %s = %s(" % (w.ident(), w.verb()), "fg"), (t, "red"), (")", "fg")] for _ in range(r.randint(2, 7))]
        if k == 2:
            return "git status", [[("On branch " + r.choice(["main", self.t(.8) or "dev"]), "fg")], [("Changes not staged for commit:", "fg")]] + \
                [[("        modified:   " + self.path(.6), "red")] for _ in range(r.randint(1, 4))] + [[("no changes added to commit", "fg")]]
        if k == 3:
            return "df -h", [[("Filesystem      Size  Used Avail Use% Mounted on", "fg")]] + \
                [[("/dev/%-10s %4sG %4sG %4sG  %2s%% /%s" % (w.syllables(1), w.num(), w.num(), w.num(), w.num(99), w.noun()), "fg")] for _ in range(r.randint(2, 6))]
        if k == 4:
            return "ps aux | head", [[("%-8s %5s  %s.%s  %s.%s %7s %s" % (w.name().lower(), w.num(9999), w.num(9), w.num(9), w.num(9), w.num(9), w.clock(), "/usr/bin/" + (self.t(.3) or w.noun())), "fg")] for _ in range(r.randint(3, 8))]
        if k == 5:
            return "cd " + r.choice(["..", self.t(.7) or w.noun()]), []
        if k == 6:
            return "curl -s localhost:8080/" + (self.t(.9) or w.noun()), [[('{"%s": "%s", "%s": %s}' % (w.noun(), self.t(.5) or w.noun(), w.noun(), w.num()), "fg")]]
        if k == 7:
            return "wc -l *.txt", [[("%6s %s" % (w.num(), self.file(.5, ".txt")), "fg")] for _ in range(r.randint(2, 6))]
        if k == 8:
            return "mkdir -p " + r.choice(PATHS) + "/" + (self.t(.8) or w.noun()), []
        return "git commit -am '%s'" % w.phrase(self.t(.8)), [[("[main %s] %s" % (w.hexs(7), w.phrase(self.t(.6))), "fg")], [(" %d files changed, %s insertions(+), %s deletions(-)" % (r.randint(1, 9), w.num(), w.num()), "fg")]]

    def shell(self):
        out = []
        n = self.rows if self.r.random() < .7 else self.r.randint(3, self.rows)
        while len(out) < n:
            cmd, res = self.cmd_ls() if self.r.random() < .35 else self.cmd_misc()
            out += [self.prompt(cmd)] + res
        return out[-n:] + [self.prompt()]

    def lead(self, cmd, most=4):
        """The command that started something, after a little history."""
        out = []
        for _ in range(self.r.choice([0, 0, 1, 2])):
            c, res = self.cmd_misc()
            out += [self.prompt(c)] + res[:3]
        return out[-most:] + [self.prompt(cmd)]

    def build(self):
        r, w = self.r, self.w
        style = r.randint(0, 3)
        n = r.randint(self.rows // 2, self.rows + 10)
        t = self.t(.9) or w.noun()
        if style == 0:
            out = self.lead(r.choice(["make", "make -j4", "make " + t]))
            for _ in range(n):
                f = self.path(.5)
                out.append([("gcc -O2 -Wall -c -o build/%s.o %s" % (f.split(".")[0], f), "fg")] if r.random() < .85 else
                           [(f + ":" + w.num() + ":5: ", "fg"), ("warning: ", "magenta"), ("unused variable '%s'" % w.ident(self.t(.3)), "fg")])
        elif style == 1:
            out, total = self.lead("ninja -C build " + t), n + r.randint(0, 40)
            out += [[("[%d/%d] " % (i + 1, total), r.choice(["fg", "green"])), (r.choice(["Building C object ", "Compiling C object ", "Linking target "]) + self.path(.5) + ".o", "fg")] for i in range(n)]
        elif style == 2:
            out = self.lead("cargo build" + r.choice(["", " --release"]))
            out += [[("   Compiling ", "green"), ("%s v%d.%d.%d" % ((self.t(.35) or w.noun()) + r.choice(["", "-core", "-util"]), r.randint(0, 3), r.randint(0, 20), r.randint(0, 9)), "fg")] for _ in range(n)]
            out.append([("    Finished ", "green"), ("dev target(s) in %ss" % w.num(90), "fg")])
        else:
            out = self.lead("npm run build") + [[("> %s@1.%s.0 build" % (t, w.num(30)), "fg")], [("", "fg")]]
            out += [[(r.choice(["transforming ", "bundling ", "dist/assets/"]), "dim"), (self.file(.5, ".js"), "cyan"), ("   %s.%s kB" % (w.num(), w.num(99)), "dim")] for _ in range(n)]
        if r.random() < .4:
            out += [[("error: ", "red"), (w.sentence(self.t(.5)), "fg")]] if r.random() < .4 else [[("Build of %s finished" % t, "green")]]
        return out

    def tests(self):
        r, w = self.r, self.w
        style = r.randint(0, 3)
        n = r.randint(self.rows // 2, self.rows + 6)
        t = self.t(.9) or w.noun()
        ok = lambda: r.random() < .9
        if style == 0:
            out = self.lead("pytest -v tests/test_%s.py" % t)
            out += [[("=" * max(4, (self.cols - 22) // 2) + " test session starts " + "=" * max(4, (self.cols - 22) // 2), "fg")], [("collected %d items" % n, "fg")], [("", "fg")]]
            for i in range(n):
                g = ok()
                out.append([("tests/test_%s.py::test_%s_%s " % (self.t(.6) or w.noun(), w.verb(), w.noun()), "fg"), ("PASSED" if g else "FAILED", "green" if g else "red"), ("  [%3d%%]" % (100 * (i + 1) // n), "green")])
            out.append([("==== %d passed in %s.%ss ====" % (n, w.num(20), w.num(99)), "green")])
        elif style == 1:
            out = self.lead("go test ./... -v")
            for _ in range(n):
                out.append([("=== RUN   Test%s%s" % ((self.t(.5) or w.noun()).capitalize(), w.noun().capitalize()), "fg")] if r.random() < .5 else
                           [("--- PASS: " if ok() else "--- FAIL: ", "green"), ("Test%s (0.%ss)" % ((self.t(.5) or w.noun()).capitalize(), w.num(99)), "fg")])
            out.append([("ok      %s/%s   %s.%ss" % (w.noun(), t, w.num(9), w.num(99)), "fg")])
        elif style == 2:
            out = self.lead("npm test")
            for _ in range(n // 3 + 1):
                out.append([(" PASS ", "green"), (" tests/" + self.file(.6, ".test.js"), "fg")])
                out += [[("   ok ", "green"), ("%s %s (%s ms)" % (w.verb(), w.phrase(self.t(.4)), w.num(90)), "dim")] for _ in range(r.randint(1, 3))]
            out += [[("Tests:       ", "fg"), ("%d passed" % n, "green"), (", %d total" % n, "fg")]]
        else:
            out = self.lead("meson test -C build")
            out += [[("%3d/%d %s:%-24s " % (i + 1, n, t, self.t(.3) or w.noun()), "fg"), ("OK" if ok() else "FAIL", "green"), ("   0.%ss" % w.num(99), "fg")] for i in range(n)]
            out += [[("Ok:      %d" % n, "fg")], [("Fail:    0", "fg")]]
        return out + [self.prompt()]

    def logs(self):
        r, w = self.r, self.w
        style, svc = r.randint(0, 3), self.t(.9) or w.noun()
        out = self.lead(r.choice(["tail -f /var/log/%s.log" % svc, "journalctl -fu %s" % svc, "docker logs -f " + svc])) if r.random() < .6 else []
        for _ in range(self.rows + 5):
            lv = r.choice(["INFO", "INFO", "INFO", "DEBUG", "WARN", "ERROR"])
            col = {"INFO": "green", "DEBUG": "dim", "WARN": "yellow", "ERROR": "red"}[lv]
            msg = "%s %s=%s %s" % (w.phrase(self.t(.4)), w.noun(), w.num(), w.phrase(self.t(.1)))
            if style == 0:
                out.append([("%s %s:%s " % (w.date(), w.clock(), w.num(59)), "dim"), ("%-5s " % lv, col), ("[%s] " % (self.t(.6) or w.noun()), "cyan"), (msg, "fg")])
            elif style == 1:
                out.append([("Nov %02d %s:%02d %s %s[%s]: %s" % (r.randint(1, 28), w.clock(), r.randint(0, 59), "host", self.t(.7) or svc, w.num(9999), msg), "fg")])
            elif style == 2:
                out.append([('10.0.%s.%s - - [%s] "GET /%s/%s HTTP/1.1" %s %s' % (w.num(255), w.num(255), w.clock(), self.t(.6) or w.noun(), w.noun(), r.choice(["200", "200", "404", "500"]), w.num(9999)), "fg")])
            else:
                out.append([("%s | " % (self.t(.7) or svc), r.choice(["cyan", "yellow", "green"])), ('level=%s msg="%s"' % (lv.lower(), msg), "fg")])
        return out

    def top(self):
        r, w = self.r, self.w
        out = []
        if r.random() < .5:
            for i in range(r.randint(2, 8)):
                n = r.randint(2, 30)
                out.append([("%3d" % (i + 1), "cyan"), ("[", "fg"), ("|" * n, r.choice(["green", "red", "green"])), (" " * (34 - n) + "%d.%d%%]" % (n * 3, r.randint(0, 9)), "dim")])
            out.append([("  Mem[", "fg"), ("|" * r.randint(5, 30), "green"), ("  %s.%sG/%sG]" % (w.num(20), w.num(9), w.num(64)), "fg")])
        else:
            out += [[("top - %s up %s days, %s,  2 users,  load average: %s.%s, 0.%s, 0.%s" % (w.clock(), w.num(90), w.clock(), w.num(4), w.num(99), w.num(99), w.num(99)), "fg")],
                    [("Tasks: %s total,   %d running, %s sleeping,   0 stopped,   0 zombie" % (w.num(), r.randint(1, 4), w.num()), "fg")],
                    [("%%Cpu(s): %s.%s us,  %s.%s sy,  0.0 ni, %s.%s id,  0.0 wa" % (w.num(40), w.num(9), w.num(9), w.num(9), w.num(90), w.num(9)), "fg")],
                    [("MiB Mem : %s.%s total, %s.%s free, %s.%s used" % (w.num(64000), w.num(9), w.num(9000), w.num(9), w.num(9000), w.num(9)), "fg")], [("", "fg")]]
        out.append([(("    PID USER      PR  NI    VIRT    RES  S  %CPU  %MEM     TIME+ COMMAND" + " " * 200)[:self.cols], "inv")])
        for _ in range(self.rows):
            out.append([("%7s %-9s %3d   0 %7s %6s  %s %5.1f %5.1f %9s " % (w.num(99999), r.choice(["root", w.name().lower()]), r.choice([20, 39, 0]), w.num(999999), w.num(99999), r.choice("SSSR"), r.random() * 30, r.random() * 9, w.clock() + ".%02d" % r.randint(0, 99)), "fg"),
                        (self.t(.25) or w.syllables(2), "fg")])
        return out[:self.rows]

    # -- debugging -------------------------------------------------------------------------------
    def frames(self, n):
        w = self.w
        return [[("#%-2d " % i, "fg"), ("0x%s" % w.hexs(12), "blue") if i else ("", "fg"), (" in " if i else "", "fg"), (w.ident(self.t(.5)), "yellow"),
                 (" (%s=%s, %s=0x%s) at " % (w.noun(), w.num(), w.noun(), w.hexs(6)), "fg"), (self.path(.5).rsplit(".", 1)[0] + ".c", "green"), (":" + w.num(), "fg")] for i in range(n)]

    def source(self, n, first=None):
        first = first or self.r.randint(5, 300)
        return [[("%-8d" % (first + i), "fg")] + [(s, {"k": "yellow", "s": "red", "c": "dim"}.get(k, "fg")) for s, k in ln] for i, ln in enumerate(self.w.code("c", n, self.t(1), .3))]

    def gdb(self):
        r, w, p = self.r, self.w, [("(gdb) ", self.r.choice(["fg", "fg", "fg", "magenta"]))]
        t = self.t(.95) or w.noun()
        out = self.lead("gdb ./" + t) if r.random() < .7 else []
        if r.random() < .5:
            out += [[("GNU gdb (Debian) 13.1", "fg")], [("Reading symbols from ", "fg"), ("./%s" % t, "green"), ("...", "fg")]]
        steps = 0
        while len(out) < self.rows + 6 and steps < r.choice([3, 6, 12, 40]):
            steps += 1
            k = r.randint(0, 7)
            if k == 0:
                f = w.ident(self.t(.6))
                out += [p + [("break " + f, "fg")], [("Breakpoint %d at 0x%s: file %s, line %s." % (r.randint(1, 9), w.hexs(6), t + ".c", w.num()), "fg")]]
            elif k == 1:
                out += [p + [("run", "fg")], [("Starting program: /home/%s/%s" % (w.name().lower(), t), "fg")], [("", "fg")],
                        [("Breakpoint %d, " % r.randint(1, 5), "fg"), (w.ident(self.t(.6)), "yellow"), (" (%s=%s) at " % (w.noun(), w.num()), "fg"), (t + ".c", "green"), (":%s" % w.num(), "fg")]] + self.source(1)
            elif k == 2:
                out += [p + [("bt", "fg")]] + self.frames(r.randint(2, 7))
            elif k == 3:
                out += [p + [("print " + w.ident(self.t(.4)), "fg")], [("$%d = %s" % (r.randint(1, 20), r.choice([w.num(), "0x0", '"%s"' % w.noun(), "(struct %s *) 0x%s" % (self.t(.4) or w.noun(), w.hexs(12))])), "fg")]]
            elif k == 4:
                out += [p + [("list", "fg")]] + self.source(r.randint(5, 10))
            elif k == 5:
                out += [p + [("info locals", "fg")]] + [[("%s = " % w.ident(self.t(.3)), "fg"), (w.num(), "fg")] for _ in range(r.randint(2, 5))]
            elif k == 6:
                out += [p + [("next", "fg")]] + self.source(1)
            else:
                out += [[("Program received signal SIGSEGV, Segmentation fault.", "fg")]] + self.frames(1) + self.source(1)
        if r.random() < .25:  # source on top, as in its text interface
            n = self.rows // 2
            return [[("+-" + self.path(.8) + "-" * self.cols, "fg")]] + [[("| " + (">" if i == n // 2 else " "), "fg")] + ln for i, ln in enumerate(self.source(n))] + \
                [[("+" + "-" * self.cols, "fg")], [(("native process %s In: %s" % (w.num(), t) + " " * 200)[:self.cols], "inv")]] + out[-(self.rows - n - 5):] + [p]
        return out[-self.rows + 1:] + [p]

    def pydebug(self):
        r, w = self.r, self.w
        t = self.t(.95) or w.noun()
        p = r.choice([[("(Pdb) ", "fg")], [("(Pdb) ", "fg")], [("ipdb> ", "green")], [("(Pdb++) ", "fg")]])
        out = self.lead(r.choice(["python3 -m pdb %s.py", "python %s.py"]) % t) if r.random() < .7 else []
        out += [[("> /home/%s/%s/%s.py(%s)%s()" % (w.name().lower(), t, t, w.num(), w.ident(self.t(.5)).split(".")[0]), "fg")]]
        for _ in range(r.choice([3, 6, 10, 16])):
            k = r.randint(0, 4)
            if k == 0:
                n = r.randint(4, 9)
                first = r.randint(2, 90)
                out += [p + [("l", "fg")]] + [[("%3d  %s  " % (first + i, "->" if i == n // 2 else "  "), "fg")] + [(s, "fg") for s, _ in ln] for i, ln in enumerate(w.code("py", n, self.t(.9), .4))]
            elif k == 1:
                out += [p + [("p " + w.ident(self.t(.4)), "fg")], [(r.choice([w.num(), "'%s'" % w.noun(), "<%s object at 0x%s>" % ((self.t(.5) or w.noun()).capitalize(), w.hexs(10))]), "fg")]]
            elif k == 2:
                out += [p + [("n", "fg")], [("> /home/%s/%s.py(%s)%s()" % (w.name().lower(), t, w.num(), w.ident(self.t(.4)).split(".")[0]), "fg")], [("-> %s = %s(%s)" % (w.ident(self.t(.5)), w.verb(), w.noun()), "fg")]]
            elif k == 3:
                out += [p + [("w", "fg")]] + [ln for _ in range(r.randint(2, 4)) for ln in ([("  /home/%s/%s(%s)" % (w.name().lower(), self.file(.5, ".py"), w.num()), "fg")], [("-> %s(%s)" % (w.ident(self.t(.5)), w.noun()), "fg")])]
            else:
                out += [p + [("b " + w.ident(self.t(.6)), "fg")], [("Breakpoint %d at /home/%s.py:%s" % (r.randint(1, 9), t, w.num()), "fg")]]
        return out[-self.rows + 1:] + [p]

    def trace(self):
        r, w = self.r, self.w
        t = self.t(.95) or w.noun()
        style, out = r.randint(0, 3), self.lead(r.choice(["python3 %s.py", "./%s", "node %s.js", "java -jar %s.jar"]) % t)
        if style == 0:
            out.append([("Traceback (most recent call last):", "fg")])
            for _ in range(r.randint(4, max(5, self.rows // 2))):
                out += [[('  File "/home/%s/%s", line %s, in %s' % (w.name().lower(), self.path(.5), w.num(), w.ident(self.t(.5)).split(".")[0]), "fg")],
                        [("    %s = %s(%s)" % (w.ident(self.t(.4)), w.verb(), w.noun()), "fg")]]
                if r.random() < .4:
                    out.append([("    " + "^" * r.randint(5, 30), "red")])
            out.append([(r.choice(["ValueError", "KeyError", "TypeError", "IndexError", "RuntimeError", "AssertionError"]), "red"), (": " + w.sentence(self.t(.7)), "fg")])
        elif style == 1:
            out.append([('Exception in thread "main" java.lang.%sException: ' % r.choice(["NullPointer", "IllegalState", "Runtime"]) + w.sentence(self.t(.8)), "red")])
            out += [[("        at com.%s.%s.%s(%s.java:%s)" % (w.noun(), self.t(.6) or w.noun(), w.verb(), (self.t(.4) or w.noun()).capitalize(), w.num()), "fg")] for _ in range(r.randint(6, self.rows))]
        elif style == 2:
            out += [[("thread 'main' panicked at src/%s.rs:%s:9:" % (t, w.num()), "red")], [(w.sentence(self.t(.7)), "fg")], [("stack backtrace:", "fg")]]
            out += [[("%4d: %s::%s" % (i, self.t(.6) or w.noun(), w.ident()), "fg")] if j == 0 else [("             at ./src/%s.rs:%s" % (self.t(.4) or w.noun(), w.num()), "dim")] for i in range(r.randint(4, self.rows // 2)) for j in (0, 1)]
        else:
            out += [[("==%s==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x%s" % (w.num(9999), w.hexs(12)), "red")], [("READ of size %s at 0x%s thread T0" % (w.num(64), w.hexs(12)), "blue")]]
            out += [[("    #%d 0x%s in %s %s:%s" % (i, w.hexs(12), w.ident(self.t(.6)), self.path(.5), w.num()), "fg")] for i in range(r.randint(6, self.rows))]
        return out[-self.rows + 1:] + [self.prompt()]

    # -- review and reading ----------------------------------------------------------------------
    def hunk(self, lang="py"):
        r, w = self.r, self.w
        out = [[("@@ -%s,%d +%s,%d @@" % (w.num(), r.randint(3, 20), w.num(), r.randint(3, 20)), "cyan"), (" " + w.ident(self.t(.4)), "fg")]]
        for _ in range(r.randint(1, 3)):
            txt = lambda n: ["".join(s for s, _ in ln) for ln in w.code(lang, n, self.t(1), .35)]
            out += [[(" " + s, "fg")] for s in txt(r.randint(1, 3))] + [[("-" + s, "red")] for s in txt(r.randint(0, 4))] + [[("+" + s, "green")] for s in txt(r.randint(1, 5))]
        return out

    def gitdiff(self):
        r, w = self.r, self.w
        log = r.random() < .3
        lang = r.choice(["py", "c", "js"])
        out = self.lead(r.choice(["git diff", "git show", "git log -p", "git diff " + self.path(.8)])) if r.random() < .35 else []
        if log:
            out += [[("commit " + w.hexs(40), "yellow")], [("Author: %s <%s@%s.org>" % (w.fullname(), w.name().lower(), w.noun()), "fg")], [("Date:   %s" % w.date(), "fg")], [("", "fg")],
                    [("    " + w.phrase(self.t(.9)), "fg")], [("", "fg")]]
        while len(out) < self.rows + 2:
            f = self.path(.8)
            head = [[("diff --git a/%s b/%s" % (f, f), "bold")], [("index %s..%s 100644" % (w.hexs(7), w.hexs(7)), "bold")], [("--- a/" + f, "bold")], [("+++ b/" + f, "bold")]]
            out += (head if r.random() < .9 else []) + [ln for _ in range(r.randint(1, 3)) for ln in self.hunk(lang)]
        start = r.randint(0, 4) if not log and r.random() < .5 else 0
        return out[start:start + self.rows - 1] + [[(r.choice([":", "(END)", ":", "lines 1-%d" % self.rows]), "fg")]]

    def man(self):
        r, w = self.r, self.w
        t = self.t(.95) or w.noun()
        style = r.randint(0, 2)
        wrap = min(self.cols - 9, 78)

        def para(ind, n):
            txt, lines, cur = w.paragraph(self.t(1), n, .35).split(), [], ""
            for x in txt:
                if len(cur) + len(x) > wrap - ind:
                    lines, cur = lines + [cur], ""
                cur += x + " "
            return [[(" " * ind + ln, "fg")] for ln in lines + [cur]]
        if style < 2:
            name = t.upper() + "(%d)" % r.randint(1, 8)
            mid = r.choice(["General Commands Manual", "User Commands", "System Manual"])
            pad = max(1, (self.cols - 2 * len(name) - len(mid)) // 2)
            out = [[(name + " " * pad + mid + " " * pad + name, "fg")], [("", "fg")], [("NAME", "bold")], [("       %s - %s" % (t, w.sentence().lower()), "fg")], [("", "fg")],
                   [("SYNOPSIS", "bold")], [("       ", "fg"), (t, "bold"), (" [", "fg"), ("-%s" % r.choice("abcdv"), "bold"), ("] ", "fg"), (w.noun(), "under"), (" ...", "fg")], [("", "fg")], [("DESCRIPTION", "bold")]]
            while len(out) < self.rows + 40:
                if r.random() < .5:
                    out += para(7, r.randint(2, 5)) + [[("", "fg")]]
                else:
                    out += [[("       ", "fg"), ("-%s" % r.choice("abcdefgh"), "bold"), (", ", "fg"), ("--" + r.choice([w.noun(), t]), "bold")]] + para(14, r.randint(1, 2)) + [[("", "fg")]]
                if r.random() < .1:
                    out += [[(r.choice(["OPTIONS", "EXAMPLES", "FILES", "SEE ALSO", "EXIT STATUS", "NOTES"]), "bold")]]
            s = 0 if r.random() < .5 else r.randint(3, 36)
            return out[s:s + self.rows - 1] + [[(" Manual page %s(1) line %d (press h for help or q to quit)" % (t, s + 1), "inv")]]
        out = [[(w.title(t), "bold" if r.random() < .5 else "fg")], [("=" * 24, "fg")], [("", "fg")]]
        while len(out) < self.rows + 20:
            out += ([[("## " + w.title(self.t(.5)), r.choice(["fg", "bold"]))], [("", "fg")]] if r.random() < .3 else []) + para(r.choice([0, 0, 2]), r.randint(3, 7)) + [[("", "fg")]]
        s = r.choice([0, r.randint(0, 19)])
        return out[s:s + self.rows - 1] + [[(r.choice([":", t + ".txt", t + ".md lines 1-%d/120 20%%" % self.rows, "(END)"]), r.choice(["inv", "inv", "fg"]))]]

    def vim(self):
        r, w = self.r, self.w
        lang, ext = r.choice([("py", ".py"), ("c", ".c"), ("js", ".js")])
        name = w.filename(self.x.pick(1), ext)
        n, nums, first = self.rows - 2, r.random() < .6, r.choice([1, r.randint(1, 400)])
        have = n if r.random() < .8 else r.randint(n // 3, n)
        out = []
        for i, ln in enumerate(w.code(lang, have, self.t(1), .4)):
            col = {"k": "yellow", "f": "cyan", "s": "red", "n": "magenta", "c": "blue", "t": "green", "p": "fg"}
            out.append(([("%4d " % (first + i), "yellow")] if nums else []) + [(s, col[k]) for s, k in ln])
        out += [[("~", "blue")]] * (n - have)
        pos = "%d,%d" % (first + r.randint(0, have), r.randint(1, 40))
        style = r.randint(0, 2)
        if style == 0:
            out.append([((name + (" [+]" if r.random() < .5 else "") + " " * max(1, self.cols - len(name) - 24) + pos + "   %d%%" % r.randint(1, 99)), "inv")])
            out.append([(r.choice(["-- INSERT --", "", ":w", "-- VISUAL --"]), "fg")])
        elif style == 1:
            left = r.choice(["-- INSERT --", '"%s" %sL, %sB' % (name, w.num(), w.num(9999)), ":w", '"%s" %sL written' % (name, w.num())])
            out.append([(left + " " * max(1, self.cols - len(left) - 18) + pos + "     Top", "fg")])
        else:
            out.append([(" NORMAL ", "inv"), (" main  ", "dim"), (name + " " * max(1, self.cols - len(name) - 34), "fg"), (" utf-8 | %s | %s " % (lang, pos), "dim")])
            out.append([("", "fg")])
        return out
