"""Captures programs of many makers, so that an unknown editor or pager is taken for what it is used for. None of them
is among the held-out ones of capture_held.py.

Usage: capture_more.py OUT_DIR COUNT SEED [ACTIVITY,ACTIVITY...]    one program a display, COUNT of them one after the other
"""
import json
import os
import random
import shutil
import subprocess
import sys
import time

import numpy as np
from PIL import Image

import projects
from capture import HERE, MONO, TILES, colours, shell_lines
from capture_held import paper
from pages import page
from words import TOPICS, Words

T = "Terminal"
RUBY = """def load_%(t)s(depth)
  raise ArgumentError, "bad %(t)s value" if depth < 1
  load_%(t)s(depth - 1)
end
def sum_%(t)s(list) list.map { |n| load_%(t)s(n) } end
sum_%(t)s([3, 4])
"""
NODE = """function load%(c)s(depth) {
  if (depth < 1) throw new Error("bad %(t)s value");
  return load%(c)s(depth - 1);
}
function main() { return [3, 4].map(load%(c)s); }
main();
"""
PHP = """<?php
function load_%(t)s($depth) {
    if ($depth < 1) throw new RuntimeException("bad %(t)s value");
    return load_%(t)s($depth - 1);
}
function main() { return array_map("load_%(t)s", [3, 4]); }
main();
"""
LUA = """local function load_%(t)s(depth)
  if depth < 1 then error("bad %(t)s value") end
  return 1 + load_%(t)s(depth - 1)
end
local function main() return 1 + load_%(t)s(4) end
print(main() + 1)
"""
TCL = """proc load_%(t)s {depth} {
    if {$depth < 1} { error "bad %(t)s value" }
    return [load_%(t)s [expr {$depth - 1}]]
}
proc main {} { load_%(t)s 4 }
main
"""
SCM = """(define (load-%(t)s depth)
  (if (< depth 1) (error "bad %(t)s value" depth) (+ 1 (load-%(t)s (- depth 1)))))
(display (+ 1 (load-%(t)s 4)))
"""
SH = """total=0
load_%(t)s() {
    local depth=$1
    total=$((total + depth))
    echo "%(t)s $depth $total"
}
for i in 1 2 3 4; do
    load_%(t)s $i
done
"""
SLOW = {"firefox-esr": 10, "falkon": 9, "epiphany-browser": 8, "surf": 4, "libreoffice": 14, "calligrasheets": 10, "okular": 5, "kate": 5, "kwrite": 3, "ddd": 7, "gitk": 4,
        "gitg": 6, "codeblocks": 7, "dolphin": 5, "krusader": 6, "nemo": 4, "caja": 4, "kompare": 4, "gnome-text-editor": 4, "doublecmd": 4}
CLOSE = {"links2": "Return", "ddd": "Escape", "krusader": "Escape", "doublecmd": "Escape"}  # what closes a first greeting


def plans(t, w, d):
    """(stand-in kind of screen, apps or None for its own, sentence or None, in a terminal, argv, keys)."""
    r = w.r
    src = r.choice([t + "_view.py", t + "_core.c", t + ".js", t + ".c", t + ".py"])
    new = r.choice([t + "_view.py", t + "_core.c"])
    keys = [[1.5, r.choice(["", "", "\x16", "\x1b[B\x1b[B\x1b[B", "\x1b[6~"])]]
    edit = "Editing %s code in an editor"
    editor = lambda *a: ("vim", [T, "Editor"], edit, True, list(a) + [src], keys)
    window = lambda *a: ("code", ["Editor"], edit, False, list(a) + [src], [])
    bash = lambda *lines: (["bash", "--noprofile", "--norc", "-i"], [[.5, " PS1='%s'; clear\n" % r.choice(["$ ", "% ", "> ", "\\W $ "])]] + [[.4, x + "\n"] for x in lines])
    typed = lambda kind, *lines: (kind, None, None, True, *bash(*[s[1][:-1] for s in shell_lines(w, t, r.choice([0, 0, 1]))], *lines))
    md, html = t + ".md", r.choice(["docs.html", "article.html"])
    about, bug = "Reading about %s in the terminal", "Debugging %s in the terminal"
    page_of = lambda browser, kind: (kind, ["Browser"], None, False, browser + ["file://%s/%s.html" % (d, kind)], [])
    web = lambda kind: [page_of([b], kind) for b in ("surf", "firefox-esr", "falkon", "epiphany-browser")] + [page_of(["links2", "-g"], kind)]
    diffs = lambda *a: ("ide_diff", ["Diff Viewer"], "Reviewing a %s diff", False, list(a), [])
    history = lambda *a: ("ide_diff", ["Git"], "Reviewing a %s diff", False, list(a), [])
    files = lambda *a: ("files", ["Files"], None, False, list(a), [])
    sheet = lambda *a: ("sheet", ["Spreadsheet"], None, False, list(a), [])
    paper_in = lambda *a: ("pdf", ["PDF Viewer"], None, False, list(a) + ["paper.pdf"], [])
    return {
        "coding": [editor("mg"), editor("zile"), editor("jove"), editor("ne"), editor("tilde"), editor("kak", "-n"), editor("vile"), editor("nvi"),
                   editor("dte"), editor("levee"), window("l3afpad"), window("xedit"), window("juffed"), window("tea"), window("bluefish", "-n"),
                   window("kwrite"), window("pluma"), editor("le"), editor("ee"), editor("vis"), editor("e3"), editor("dav"), window("nedit"), window("idle"),
                   window("kate"), window("xed"), window("gnome-text-editor"), window("codeblocks", "--no-splash-screen"), ("vim", [T, "Vim"], None, True, ["nvim", "-u", "NONE", src], keys),
                   ("code", ["Vim"], edit, False, ["gvim", "-f", src], [])],
        "review": [typed("gitdiff", "icdiff %s %s" % (new, t + "_old")), typed("gitdiff", "wdiff %s %s | head -60" % (new, t + "_old")),
                   typed("gitdiff", "diff -u %s %s" % (t + "_old", new)), typed("gitdiff", "diff -y -W 110 %s %s" % (t + "_old", new)),
                   typed("gitdiff", "git --no-pager diff --color=always"), typed("gitdiff", "git --no-pager show --color=%s" % r.choice(["always", "never"])),
                   typed("gitdiff", "git --no-pager log -p -2"), ("gitdiff", None, None, True, ["ne", t + ".patch"], []), ("gitdiff", None, None, True, ["less", t + ".patch"], []),
                   typed("gitdiff", "diff -c %s %s" % (t + "_old", new)), typed("gitdiff", "dwdiff -c %s %s | head -50" % (t + "_old", new)),
                   typed("gitdiff", "git --no-pager log --graph --stat"), typed("gitdiff", "git --no-pager log", "git --no-pager show --stat -p"),
                   typed("gitdiff", "git --no-pager diff --color=always --word-diff"), typed("gitdiff", "cat %s.patch" % t),
                   *[diffs(p, t + "_old", new) for p in ("meld", "kdiff3", "diffuse", "kompare", "xxdiff", "mgdiff")],
                   history("gitk"), history("gitg"), history("git", "gui"), *web("pull")],
        "debugging": [("gdb", [T, "GDB"], None, True, ["cgdb", "-d", "gdb", "./" + t], [[2, "break load_%s\n" % t], [.5, "run\n"], [.6, "bt\n"]]),
                      ("gdb", [T, "LLDB"], "Debugging %s in the terminal", True, ["lldb", "./" + t], [[3, "b load_%s\n" % t], [1, "run\n"], [2, "bt\n"], [.5, "n\n"], [.3, "p depth\n"], [.3, "frame variable\n"]]),
                      ("pydebug", [T, "Python"], None, True, ["pudb3", t + ".py"], [[2.5, "\n"], [.5, "n"], [.5, "n"]]),
                      typed("trace", "ruby crash.rb"), typed("trace", "node crash.js"), typed("trace", "python3 -c 'import %s; %s.main()'" % (t, t)), typed("trace", "bash -x ./crash.sh; node crash.js"),
                      typed("trace", "lua5.4 crash.lua"), typed("trace", "tclsh crash.tcl"), typed("trace", "php crash.php"), typed("trace", "guile --no-auto-compile crash.scm"),
                      typed("trace", "valgrind ./%s" % t), typed("trace", "gcc -g -fsanitize=address,undefined %s.c -o check && ./check" % t),
                      ("pydebug", [T], bug, True, ["bashdb", "crash.sh"], [[1.5, "l\n"], [.5, "n\n"], [.5, "n\n"], [.5, "bt\n"], [.4, "p $total\n"]]),
                      ("pydebug", [T], bug, True, ["node", "inspect", "crash.js"], [[3, "n\n"], [.8, "list(6)\n"], [.6, "bt\n"], [.5, "n\n"]]),
                      ("pydebug", [T], bug, True, ["phpdbg", "-q", "crash.php"], [[1.5, "break load_%s\n" % t], [.5, "run\n"], [.6, "back\n"], [.5, "list 8\n"], [.4, "step\n"]]),
                      ("gdb", [T, "GDB"], None, True, ["gdb", "-q", "-nx", "-tui", "-iex", "set debuginfod enabled off", "./" + t], [[1.5, "break load_%s\n" % t], [.6, "run\n"], [.6, "bt\n"], [.5, "next\n"]]),
                      ("ide_debug", ["Debugger"], "Debugging %s", False, ["ddd", "./" + t], []), ("ide_debug", ["Debugger"], "Debugging %s", False, ["kdbg", "./" + t], [])],
        "reading": [("man", [T, "Links"], about, True, ["links", html], []), ("man", [T, "ELinks"], about, True, ["elinks", html], [[2, "\n"]]),
                    ("man", [T], about, True, ["pinfo", "-r", md], []), ("man", None, about, True, ["nvi", "-R", md], []), ("man", None, about, True, ["less", "-S", md], []),
                    ("man", None, about, True, ["lv", md], []), ("man", None, about, True, ["more", md], []), typed("man", "cat " + md),
                    *[paper_in(p) for p in ("xpdf", "qpdfview", "gv", "atril", "okular")], *web("docs"), *web("article")],
        "research": web("search") + web("answers"),
        "terminal": [("top", [T], None, True, [p], []) for p in ("atop", "btop", "glances")] + [("top", [T], None, True, ["nmon"], [[1, "cmt"]])] +
                    [typed("shell", "ls -la", "git log --oneline"), typed("shell", "git status", "df -h", "wc -l *"), typed("tests", "python3 -m unittest -v test_" + t), typed("build", "make -B")],
        "other": [("files", [T, "Files"], "Browsing %s files in the terminal", True, [p], []) for p in ("ranger", "vifm", "nnn", "ytree", "clifm")] +
                 [files(p, d) for p in ("spacefm", "xfe", "rox", "nemo", "caja", "dolphin", "krusader", "doublecmd", "worker")] +
                 [sheet("libreoffice", "--calc", "--norestore", "--nologo", "--infilter=CSV:44,34,76,1", "table.csv"), sheet("calligrasheets", "table.csv"),
                  ("sheet", [T, "Spreadsheet"], "Working on a %s spreadsheet in the terminal", True, ["sc-im", "table.csv"], []), *web("dashboard")],
    }


def prepare(d, t, r, w):
    projects.make(d, t, r.random(), False)
    put = lambda name, text: open(os.path.join(d, name), "w").write(text)
    for kind in ("docs", "article", "search", "answers", "pull", "dashboard"):
        put(kind + ".html", page(kind, t, r, 16))
    put("crash.rb", RUBY % {"t": t})
    put("crash.js", NODE % {"t": t, "c": t.capitalize()})
    for ext, text in (("php", PHP), ("lua", LUA), ("tcl", TCL), ("scm", SCM), ("sh", SH)):
        put("crash." + ext, text % {"t": t})
    rows = [[r.choice([t, w.noun()]), w.num(), w.num(), w.num()] + [w.num() for _ in range(r.randint(0, 5))] for _ in range(r.randint(12, 40))]
    put("table.csv", "".join(",".join(row) + "\n" for row in [[t, "price"] + [w.noun() for _ in range(len(rows[0]) - 2)]] + rows))
    paper(os.path.join(d, "paper.pdf"), r, t)
    name = os.path.join(d, t + r.choice(["_view.py", "_core.c"]))
    shutil.copy(name, os.path.join(d, t + "_old"))
    projects.change(name, w, t)
    put(t + ".patch", subprocess.run(["git", "diff"], cwd=d, capture_output=True, text=True).stdout)


def main(out, count, seed, activities="coding,coding,coding,review,review,review,debugging,debugging,debugging,reading,reading,terminal,other,other,research"):
    os.makedirs(out, exist_ok=True)
    seed, r = int(seed), random.Random(int(seed))
    display, home = ":%d" % (60 + seed % 30), "/tmp/escriba-more%d" % seed
    log = open(os.path.join(out, "captures_%d.jsonl" % seed), "a")
    env = {**os.environ, "DISPLAY": display, "TERM": "xterm-256color", "HOME": home, "LESSHISTFILE": "-", "HISTFILE": "", "PYTHONDONTWRITEBYTECODE": "1"}
    for n in range(int(count)):
        shutil.rmtree(home, ignore_errors=True)
        w, t = Words(r), r.choice(TOPICS)
        d = os.path.join(home, r.choice(["src", "work", w.noun()]), t)
        os.makedirs(d)
        try:
            prepare(d, t, r, w)
        except (IndexError, KeyError, ValueError):
            continue
        table = plans(t, w, d)
        kind, apps, sentence, terminal, argv, keys = r.choice(table[r.choice(activities.split(","))])
        if not shutil.which(argv[0]):
            continue
        tw, th = r.choice(TILES)
        xvfb = subprocess.Popen(["Xvfb", display, "-screen", "0", "%dx%dx24" % (tw, th), "-nolisten", "tcp"], stderr=subprocess.DEVNULL)
        time.sleep(.8)
        if terminal:
            json.dump({"argv": argv, "cwd": d, "type": keys}, open(d + "/../plan.json", "w"))
            px = r.choice([r.uniform(7, 9), r.uniform(8, 11), r.uniform(9, 13)]) * tw / 640
            argv = ["xterm", "-fa", r.choice(MONO), "-fs", "%.1f" % (px * .75), "-xrm", "XTerm*scrollBar: false", "-xrm", "XTerm*geometry: 200x100+0+0"] + colours(r) + \
                ["-e", sys.executable, os.path.join(HERE, "drive.py"), d + "/../plan.json"]
        wm = subprocess.Popen(["openbox"], env=env, stderr=subprocess.DEVNULL) if r.random() < .35 else None
        time.sleep(.7 if wm else 0)
        p = subprocess.Popen(argv, env=env, cwd=d, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        time.sleep(0 if terminal else SLOW.get(argv[0], 0))
        for _ in range(3):
            time.sleep(1.2)
            if wm:
                subprocess.run(["wmctrl", "-r", ":ACTIVE:", "-b", "add,maximized_vert,maximized_horz"], env=env, stderr=subprocess.DEVNULL)
                continue
            subprocess.run("for i in $(xdotool search --onlyvisible --name .); do xdotool windowmove $i 0 0 windowsize $i %d %d; done" % (tw, th), shell=True, env=env, stderr=subprocess.DEVNULL)
        if not terminal and argv[0] in CLOSE:
            subprocess.run(["xdotool", "key", CLOSE[argv[0]]], env=env, stderr=subprocess.DEVNULL)
        time.sleep((3.5 if not terminal else 2.5) + sum(k[0] for k in keys))
        name = "more_%d_%d.png" % (seed, n)
        for _ in range(6):  # a slow program gets more time
            subprocess.run(["import", "-window", "root", os.path.join(out, name)], env=env, stderr=subprocess.DEVNULL)
            if os.path.exists(os.path.join(out, name)) and np.asarray(Image.open(os.path.join(out, name)).convert("L")).std() >= 8:
                break
            time.sleep(3)
        for q in (p, wm, xvfb):
            if q:
                q.terminate()
                q.wait()
        im = Image.open(os.path.join(out, name)).convert("RGB")
        if np.asarray(im.convert("L")).std() < 8:  # it did not come up in time
            os.unlink(os.path.join(out, name))
            continue
        im.save(os.path.join(out, name), compress_level=1)
        log.write(json.dumps({"file": name, "kind": kind, "topics": [] if kind == "top" else [t], "apps": apps, "sentence": sentence, "program": argv[0] if not terminal else "terminal"}) + "\n")
        log.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
