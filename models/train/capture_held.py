"""Captures programs that training never sees, for the held-out set: other editors, pagers, browsers, viewers, terminals.

Usage: capture_held.py OUT_DIR    writes OUT_DIR/real_NN_NAME.jpg and OUT_DIR/real.jsonl
"""
import json
import os
import random
import shutil
import subprocess
import sys
import time

from PIL import Image

import numpy as np

import compose
import projects
from draw import Canvas
from pages import page
from screens_web import wrap
from words import TOPICS, Words

HERE = os.path.dirname(os.path.abspath(__file__))
HOME = "/tmp/escriba-held"
XTERM = ["xterm", "-fa", "Inconsolata", "-fs", "12", "-xrm", "XTerm*scrollBar: false", "-xrm", "XTerm*geometry: 200x100+0+0"]
URXVT = ["urxvt", "-fn", "xft:mononoki:pixelsize=17", "-fade", "0", "+sb", "-geometry", "200x100"]
XTERM_LIGHT = XTERM + ["-bg", "#f3f7ee", "-fg", "#203020"]
XTERM_DARK = XTERM + ["-bg", "#0d1f16", "-fg", "#d5e5d8"]


def programs(t):
    """(name, activity, sentence, apps, terminal or None, argv, keys); t is the project's subject."""
    py, c, md = t + "_view.py", t + "_core.c", t + ".md"
    T = "Terminal"
    bash = ["bash", "--noprofile", "--norc", "-i"]
    return {
        "nano": ("coding", [T, "Nano"], XTERM_DARK, ["nano", "-l", py], []),
        "nano2": ("coding", [T, "Nano"], XTERM_LIGHT, ["nano", c], [[1, "\x16\x16"]]),
        "emacs": ("coding", [T, "Emacs"], URXVT, ["emacs", "-nw", "-Q", py], [[3, "\x18" + "1"]]),
        "joe": ("coding", [T, "Joe"], XTERM_DARK, ["joe", c], []),
        "micro": ("coding", [T, "Micro"], XTERM, ["micro", py], []),
        "jed": ("coding", [T, "Jed"], XTERM_LIGHT, ["jed", c], []),
        "geany": ("coding", ["Geany"], None, ["geany", "-i", c], []),
        "scite": ("coding", ["SciTE"], None, ["scite", py], []),
        "featherpad": ("coding", ["FeatherPad"], None, ["featherpad", py], []),
        "mousepad": ("coding", ["Mousepad"], None, ["mousepad", c], []),
        "htop": ("terminal", [T, "htop"], XTERM_DARK, ["htop"], []),
        "htop2": ("terminal", [T, "htop"], URXVT, ["htop", "-t"], []),
        "watch": ("terminal", [T], XTERM_LIGHT, ["watch", "-n", "60", "ls -l; wc -l *"], []),
        "dash": ("terminal", [T], URXVT, bash, [[.5, " PS1='held> '; clear\n"], [.3, "ls -la\n"], [.3, "uname -a\n"], [.3, "cat Makefile | head -8\n"], [.3, "git status -s\n"]]),
        "tmux": ("terminal", [T, "tmux"], XTERM_DARK, ["tmux", "-L", "held", "-f", "/dev/null"], [[1, "ls -l\n"], [.4, "make -B\n"], [1, "\x02" + "\""], [.6, "df -h\n"]]),
        "tig": ("review", [T, "tig"], XTERM_DARK, ["tig"], [[1, "\n"]]),
        "tig2": ("review", [T, "tig"], URXVT, ["tig", "show"], []),
        "colordiff": ("review", [T], XTERM_LIGHT, bash, [[.5, " PS1='% '; clear\n"], [.3, "diff -u --color=always %s.js %s | head -40\n" % (t, py)]]),
        "vimdiff": ("review", [T, "Vim"], XTERM, ["vim", "-d", "-n", "-u", "NONE", "-c", "syntax on", py, t + "_view.old.py"], []),
        "ipdb": ("debugging", [T, "Python"], URXVT, ["ipython3", "--no-banner", "--colors=Linux", "-c", "%%run -d -b 22 %s.py" % t], [[4, "c\n"], [1, "w\n"], [1, "p depth\n"], [1, "l\n"]]),
        "nodeinspect": ("debugging", [T], XTERM_DARK, bash, [[.5, " PS1='$ '; clear\n"], [.4, "perl -d crash.pl\n"], [1, "l\n"], [.5, "n\n"], [.5, "T\n"], [.5, "s\n"], [.4, "p $total\n"]]),
        "perltrace": ("debugging", [T], XTERM_LIGHT, bash, [[.5, " PS1='$ '; clear\n"], [.4, "perl -MCarp=confess -e 'sub load_%s{confess \"bad %s value\"} sub sum_%s{load_%s(@_)} sub view{sum_%s(1,@_)} sub main{view(2,3)} main(4)'\n" % (t, t, t, t, t)]]),
        "most": ("reading", [T], XTERM_DARK, ["most", md], []),
        "lynx": ("reading", [T, "Lynx"], XTERM, ["lynx", "docs.html"], []),
        "w3m": ("reading", [T, "w3m"], URXVT, ["w3m", "article.html"], []),
        "info": ("reading", [T], XTERM_LIGHT, ["bat", "--paging=always", "--style=plain", md] if shutil.which("bat") else ["batcat", "--paging=always", "--style=plain", md], []),
        "evince": ("reading", ["PDF Viewer"], None, ["evince", "paper.pdf"], []),
        "mupdf": ("reading", ["PDF Viewer"], None, ["mupdf", "-r", "96", "paper.pdf"], []),
        "zathura": ("reading", ["PDF Viewer"], None, ["zathura", "paper.pdf"], []),
        "netsurf-docs": ("reading", ["Browser"], None, ["netsurf-gtk", "file://%(d)s/docs.html"], []),
        "netsurf-article": ("reading", ["Browser"], None, ["netsurf-gtk", "file://%(d)s/article.html"], []),
        "netsurf-search": ("research", ["Browser"], None, ["netsurf-gtk", "file://%(d)s/search.html"], []),
        "netsurf-answers": ("research", ["Browser"], None, ["netsurf-gtk", "file://%(d)s/answers.html"], []),
        "netsurf-pull": ("review", ["Browser"], None, ["netsurf-gtk", "file://%(d)s/pull.html"], []),
        "dillo-search": ("research", ["Browser"], None, ["dillo", "%(d)s/search.html"], []),
        "dillo-article": ("reading", ["Browser"], None, ["dillo", "%(d)s/article.html"], []),
        "thunar": ("other", ["Files"], None, ["thunar", "%(d)s"], []),
        "pcmanfm": ("other", ["Files"], None, ["pcmanfm", "%(d)s"], []),
        "gnumeric": ("other", ["Spreadsheet"], None, ["gnumeric", "%(d)s/table.csv"], []),
        "mc": ("other", [T, "mc"], URXVT, ["mc"], []),
    }


PERL = """my $total = 0;
sub load_%(t)s {
    my ($depth) = @_;
    return $depth if $depth < 1;
    return load_%(t)s($depth - 1) + 1;
}
for my $i (1 .. 9) {
    $total += load_%(t)s($i);
    print "%(t)s $i $total\\n";
}
"""


def paper(path, r, topic):
    """A document of three pages."""
    ctx = compose.Context(r, [topic], 26, True)
    pages = []
    for _ in range(3):
        c = Canvas(1000, 1400, (255, 255, 255))
        y = 90
        c.text(100, y, ctx.w.title(topic), (ctx.bold, 44), (10, 10, 10), 920)
        y += 90
        while y < 1300:
            y = wrap(c, 100, y, ctx.w.paragraph(topic, r.randint(4, 7)), (ctx.font("serif"), 24), (20, 20, 20), 800, 34, 1310) + 24
        pages.append(c.im)
    pages[0].save(path, save_all=True, append_images=pages[1:], resolution=120)


def main(out):
    os.makedirs(out, exist_ok=True)
    done = {json.loads(s)["file"] for s in open(os.path.join(out, "real.jsonl"))} if os.path.exists(os.path.join(out, "real.jsonl")) else set()
    shutil.rmtree(HOME, ignore_errors=True)
    r = random.Random(77)
    display = ":97"
    log = open(os.path.join(out, "real.jsonl"), "a")
    base_env = {**os.environ, "DISPLAY": display, "TERM": "xterm-256color", "HOME": HOME, "LESSHISTFILE": "-", "HISTFILE": "", "PYTHONDONTWRITEBYTECODE": "1", "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin"}
    for n, (name, _) in enumerate(list(programs("x").items())):
        r = random.Random(1000 + n)
        if "real_%02d_%s.jpg" % (n, name) in done:
            continue
        topic = r.choice(TOPICS)
        W, H = r.choice([(1024, 576), (1120, 630), (960, 600), (1024, 640)])
        folder = os.path.join(HOME, "p%d" % n, topic)
        os.makedirs(folder)
        projects.make(folder, topic, n + 500, held=True)
        w = Words(r, True)
        activity, apps, term, argv, keys = programs(topic)[name]
        for kind in ("docs", "article", "search", "answers", "pull"):
            if any(kind in x for x in argv) or "paper" in " ".join(argv) and kind == "article":
                open(os.path.join(folder, kind + ".html"), "w").write(page(kind, topic, r, 16, held=True))
        if "paper.pdf" in argv:
            paper(os.path.join(folder, "paper.pdf"), r, topic)
        open(os.path.join(folder, "crash.pl"), "w").write(PERL % {"t": topic})
        open(os.path.join(folder, "table.csv"), "w").write("\n".join([",".join([topic, "price", w.noun(), w.noun()])] + [",".join([r.choice([topic, w.noun()]), w.num(), w.num(), w.num()]) for _ in range(30)]))
        shutil.copy(os.path.join(folder, topic + ".js"), os.path.join(folder, topic + "_view.old.py"))
        old = open(os.path.join(folder, topic + "_view.py")).read().split("\n")
        projects.change(os.path.join(folder, topic + "_view.py"), w, topic)
        open(os.path.join(folder, topic + "_view.old.py"), "w").write("\n".join(old))
        xvfb = subprocess.Popen(["Xvfb", display, "-screen", "0", "%dx%dx24" % (W, H), "-nolisten", "tcp"], stderr=subprocess.DEVNULL)
        time.sleep(1)
        wm = subprocess.Popen(["openbox"], env=base_env, stderr=subprocess.DEVNULL) if term is None or n % 3 == 0 else None
        time.sleep(.7)
        argv = [a % {"d": folder} if "%(d)s" in a else a for a in argv]
        if term:
            json.dump({"argv": argv, "cwd": folder, "type": keys}, open(folder + "/../plan.json", "w"))
            cmd = term + ["-e", sys.executable, os.path.join(HERE, "drive.py"), folder + "/../plan.json"]
        else:
            cmd = argv
        p = subprocess.Popen(cmd, env=base_env, cwd=folder, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        time.sleep(2)
        for _ in range(3):
            if wm:
                subprocess.run(["wmctrl", "-r", ":ACTIVE:", "-b", "add,maximized_vert,maximized_horz"], env=base_env, stderr=subprocess.DEVNULL)
            else:
                subprocess.run("for i in $(xdotool search --onlyvisible --name .); do xdotool windowmove $i 0 0 windowsize $i %d %d; done" % (W, H), shell=True, env=base_env, stderr=subprocess.DEVNULL)
            time.sleep(1)
        time.sleep(8 if term is None else 6 + sum(k[0] for k in keys))
        shot = os.path.join(HOME, "shot.png")
        for _ in range(6):  # a slow program gets more time
            subprocess.run(["import", "-window", "root", shot], env=base_env)
            if np.asarray(Image.open(shot).convert("L")).std() > 12:
                break
            time.sleep(5)
        time.sleep(4)
        subprocess.run(["import", "-window", "root", shot], env=base_env)
        f = "real_%02d_%s.jpg" % (n, name)
        Image.open(shot).convert("RGB").save(os.path.join(out, f), quality=88)
        text = {"coding": "Editing %s code", "terminal": "Running commands for %s", "review": "Reviewing a %s diff", "debugging": "Debugging %s", "reading": "Reading about %s",
                "research": "Searching for %s", "other": "Working with %s"}[activity] % topic
        log.write(json.dumps({"file": f, "kind": "real", "description": text, "activity": activity, "apps": apps, "topics": [] if name.startswith("htop") else [topic]}) + "\n")
        log.flush()
        for q in (p, wm, xvfb):
            if q:
                q.terminate()
                q.wait()
    subprocess.run(["tmux", "-L", "held", "kill-server"], stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main(sys.argv[1])
