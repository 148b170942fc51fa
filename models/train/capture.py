"""Captures real programs on a virtual display: terminals with shells, vim, less, man, gdb, pdb, git, builds, tests, logs.

Usage: capture.py OUT_DIR ROUNDS SEED
Each round fills a large display with a grid of terminals, every one of its own fonts, colours and program, and cuts it up.
Writes OUT_DIR/cap_SEED_ROUND_TILE.png and a line of OUT_DIR/captures_SEED.jsonl for each (kind, topic).
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
from draw import hsl
from words import TOPICS, Words

HERE = os.path.dirname(os.path.abspath(__file__))
TILES = [(1024, 576), (1280, 720), (1024, 640), (900, 600), (1280, 800)]
MONO = ["DejaVu Sans Mono", "Liberation Mono", "Noto Sans Mono", "JetBrains Mono", "Fira Code", "Hack", "FreeMono:bold", "Nimbus Mono PS:bold", "Courier Prime Code", "Anonymous Pro"]
KINDS = ["shell", "shell", "vim", "vim", "gdb", "gdb", "gdb", "pydebug", "pydebug", "trace", "trace", "gitdiff", "gitdiff", "gitdiff", "man", "man", "build", "tests", "logs", "top"]


def rgb(c):
    return "#%02x%02x%02x" % c


def colours(r):
    k = r.random()
    if k < .35:
        return ["-bg", "black", "-fg", r.choice(["white", "gray90", "gray80"])]
    if k < .5:
        return ["-bg", "white", "-fg", "black"]
    hue = r.choice([r.uniform(0, .28), r.uniform(.47, 1)])
    if k < .85:
        return ["-bg", rgb(hsl(hue, r.uniform(0, .4), r.uniform(.03, .18))), "-fg", rgb(hsl(hue, .1, r.uniform(.75, 1)))]
    return ["-bg", rgb(hsl(hue, r.uniform(0, .4), r.uniform(.88, .98))), "-fg", rgb(hsl(hue, .2, r.uniform(0, .25)))]


def shell_lines(w, t, n):
    r = w.r
    pool = ["ls", "ls -la", "ls -l", "cat Makefile | head -5", "wc -l *", "git status", "git log --oneline", "df -h", "du -sh *", "uname -a", "head -5 %s.md" % t,
            "grep -n %s %s.c | head" % (t, t), "file *", "env | head -5", "mkdir -p build/%s" % t, "cd build; cd ..", "date", "ls build", "cat %s.log | head -6" % t,
            "echo %s > %s.txt" % (w.sentence().replace("?", ""), w.noun()), "git branch -a", "stat %s.c" % t, "free -m", "id", "cp %s.py /tmp/%s.py" % (t, t), "sort *.txt | head -3", "pwd", "which gcc python3"]
    return [[r.uniform(.08, .15), r.choice(pool) + "\n"] for _ in range(n)]


def plan(kind, folder, t, w):
    """What to run and what to type; returns (argv, typed)."""
    r = w.r
    src = r.choice([t + "_view.py", t + "_core.c", t + ".js", t + ".c", t + ".py"])
    if kind == "vim":
        opts = ["-c", "syntax " + r.choice(["on", "on", "off"]), "-c", "set " + r.choice(["number", "nonumber", "relativenumber", "cursorline"]), "-c", "set laststatus=%d" % r.choice([1, 2]),
                "-c", "set background=" + r.choice(["dark", "light"])]
        if r.random() < .6:
            opts += ["-c", "colorscheme " + r.choice(["default", "desert", "elflord", "evening", "morning", "slate", "koehler", "pablo", "peachpuff", "torte", "zellner", "industry", "shine", "delek", "murphy", "ron", "blue", "darkblue"])]
        keys = r.choice(["", "", "%dG" % r.randint(1, 60), "5Go" + w.ident(t) + " = " + w.num(), "i", "v4j", "/%s\n" % t, ":w", "10Gzt"])
        return ["vim", "-n", "-u", "/usr/share/vim/vim90/defaults.vim", "-N"] + opts + [src], [[1, keys]]
    if kind == "gdb":
        cmds = ["break " + r.choice(["main", "load_" + t]), "run", "bt", "info locals", "next", "next", "step", "list", "print list[0]", "print depth", "info breakpoints", "finish", "continue", "info registers rip", "up", "frame 1", "p *list@2", "x/8xw $sp", "disassemble /s"]
        head = ["break load_" + t, "run"] if r.random() < .7 else ["run"]
        typed = [[.7, head[0] + "\n"]] + [[.3, c + "\n"] for c in head[1:] + r.choices(cmds[2:], k=r.choice([1, 3, 5, 8]))]
        if r.random() < .5 and head[0] == "run":
            typed += [[.5, "bt\n"], [.2, "up\n"]]
        arg = ["gdb", "-q", "-nx"] if r.random() < .7 else ["gdb", "-nx"]
        if r.random() < .15:
            arg += ["-tui"]
        return arg + ["-iex", "set debuginfod enabled off", "-iex", "set pagination off", "-iex", "set style enabled " + r.choice(["on", "on", "off"]), "./" + t], typed
    if kind == "pydebug":
        cmds = ["l", "ll", "n", "s", "w", "p %s" % t, "b load_%s" % t, "c", "a", "p depth", "u", "h", "whatis %s" % t]
        return ["python3", "-m", "pdb", t + ".py"], [[.5, "b load_%s\n" % t]] + [[.08, c + "\n"] for c in r.choices(cmds, k=r.choice([2, 4, 7, 12]))]
    if kind == "man":
        prog = r.choice([["man", "-l", t + ".1"], ["man", "-l", t + ".1"], ["less", t + ".md"], ["less", "-M", t + ".md"], ["less", "-N", t + ".md"], ["more", t + ".md"]])
        return prog, [[.7, r.choice(["", "", " ", "d", "dd", "jjjj"]) if prog[0] != "more" else ""]]
    if kind == "gitdiff":
        git = ["git", "-c", "core.pager=less -R", "-c", "color.ui=" + r.choice(["always", "always", "never"])]
        return git + r.choice([["diff"], ["diff"], ["log", "-p"], ["show"], ["diff", "HEAD~1"], ["show", "--stat", "-p"], ["log", "-p", "--stat"], ["diff", "--word-diff"]]), [[.4, r.choice(["", "", " ", "d", "jjj"])]]
    if kind == "top":
        return ["top", "-d", "60"] + r.choice([[], ["-c"], ["-H"]]), []
    ps1 = r.choice(["\\u@\\h:\\w\\$ ", "[\\u@dev \\W]\\$ ", "$ ", "\\[\\e[32m\\]\\u@box\\[\\e[0m\\]:\\[\\e[34m\\]\\w\\[\\e[0m\\]\\$ ", "\\[\\e[36m\\]\\W\\[\\e[0m\\] > ", "\\W % ", "\\[\\e[1;33m\\]\\w\\[\\e[0m\\]\\n\\$ "])
    argv = ["bash", "--noprofile", "--norc", "-i"]
    start = [[.4, " PS1='%s'; alias ls='ls --color=%s'; clear\n" % (ps1, r.choice(["auto", "auto", "never"]))]]
    lead = shell_lines(w, t, r.choice([0, 0, 1, 2]))
    one = {"build": ["make", "make -B", "make; make -n"], "tests": ["python3 -m unittest -v test_%s" % t, "python3 -m unittest test_%s -v" % t],
           "logs": ["tail -f %s.log" % t, "tail -n 60 -f %s.log" % t, "cat %s.log" % t, "tail -40 %s.log" % t],
           "trace": ["python3 %s.py" % t, "python3 -c 'import %s; %s.main()'" % (t, t), "python3 -X dev %s.py" % t]}
    if kind == "shell":
        return argv, start + shell_lines(w, t, r.randint(1, 9))
    return argv, start + lead + [[.2, r.choice(one[kind]) + "\n"]]


def main(out, rounds, seed, held=False):
    os.makedirs(out, exist_ok=True)
    rounds, seed = int(rounds), int(seed)
    r = random.Random(seed)
    display = ":%d" % (40 + seed % 50)
    W, H = 5760, 2880
    xvfb = subprocess.Popen(["Xvfb", display, "-screen", "0", "%dx%dx24" % (W, H), "-nolisten", "tcp"], stderr=subprocess.DEVNULL)
    time.sleep(1)
    env = {**os.environ, "DISPLAY": display, "TERM": "xterm-256color", "LESSHISTFILE": "-", "HISTFILE": "", "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/tmp/escriba-home"}
    os.makedirs(env["HOME"], exist_ok=True)
    log = open(os.path.join(out, "captures_%d.jsonl" % seed), "a")
    for rnd in range(rounds):
        tw, th = r.choice(TILES)
        slots, procs = [(x * tw, y * th) for y in range(H // th) for x in range(W // tw)], []
        root = os.path.join("/tmp/escriba-home", "p%d" % seed)
        shutil.rmtree(root, ignore_errors=True)
        made = []
        for i, (x, y) in enumerate(slots):
            w = Words(r, held)
            kind, topic = r.choice(KINDS), r.choice(TOPICS) if r.random() < .93 else None
            folder = os.path.join(root, r.choice(["src", "work", "code", w.noun()]) + str(i), topic or w.noun())
            try:
                t = projects.make(folder, topic, r.random(), held)
            except (IndexError, KeyError, ValueError):
                continue
            argv, typed = plan(kind, folder, t, w)
            pf = folder + "/../plan.json"
            json.dump({"argv": argv, "cwd": folder, "type": typed}, open(pf, "w"))
            px = r.choice([r.uniform(7, 9), r.uniform(8, 11), r.uniform(9, 13)]) * tw / 640
            term = ["xterm", "-fa", r.choice(MONO), "-fs", "%.1f" % (px * .75), "-b", str(r.choice([0, 2, 4])), "-xrm", "XTerm*scrollBar: %s" % r.choice(["false", "false", "true"]), "-T", "t%d" % i,
                    "-xrm", "XTerm*geometry: 200x100+%d+%d" % (x, y)] + colours(r)
            # The window's size is set in pixels once it is there.
            procs.append((subprocess.Popen(term + ["-e", sys.executable, os.path.join(HERE, "drive.py"), pf], env=env, stderr=subprocess.DEVNULL), i, x, y, kind, topic))
            made.append("t%d" % i)
            # size it before the program starts to draw
            subprocess.run(["xdotool", "search", "--sync", "--onlyvisible", "--name", "^t%d$" % i, "windowsize", str(tw), str(th), "windowmove", str(x), str(y)], env=env, stderr=subprocess.DEVNULL, timeout=20)
        time.sleep(7)
        shot = os.path.join(out, "shot_%d.png" % seed)
        subprocess.run(["import", "-window", "root", shot], env=env, check=True)
        im = Image.open(shot).convert("RGB")
        for p, i, x, y, kind, topic in procs:
            name = "cap_%d_%d_%d.png" % (seed, rnd, i)
            p.terminate()
            tile = im.crop((x, y, x + tw, y + th))
            if np.asarray(tile.convert("L").resize((tw // 2, th // 2))).std() < 6:  # it did not come up in time
                continue
            tile.save(os.path.join(out, name), compress_level=1)
            log.write(json.dumps({"file": name, "kind": kind, "topics": [topic] if topic and kind != "top" else []}) + "\n")
        log.flush()
        for p, *_ in procs:
            p.wait()
    xvfb.terminate()


if __name__ == "__main__":
    main(*sys.argv[1:])
