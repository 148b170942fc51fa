"""Small made-up projects on disk, each about one subject, for real programs to be used on."""
import os
import random
import subprocess

from words import Words


def plain(lines):
    return "\n".join("".join(s for s, _ in ln) for ln in lines) + "\n"


def name(w):
    return w.r.choice([w.noun(), w.noun() + w.noun().capitalize(), w.verb() + "_" + w.noun()])


C_MAIN = """#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct {T}_entry {{ int id; int {a}; char label[32]; }};

/* {s1} */
static int {t}_{b}(struct {T}_entry *e, int {a})
{{
    int total = 0;
    for (int i = 0; i < {a}; i++) {{
        total += e[i].{a} * {n};
        if (total > {m})
            total -= {n};
    }}
    return total;
}}

/* {s2} */
static int load_{t}(const char *{c}, int depth)
{{
    struct {T}_entry list[8];
    memset(list, 0, sizeof list);
    for (int i = 0; i < 8; i++) {{
        list[i].id = i;
        list[i].{a} = i * {n};
        snprintf(list[i].label, sizeof list[i].label, "{t} %d", i);
    }}
    if (depth > 0)
        return load_{t}({c}, depth - 1);
    int *{d} = NULL;
    int sum = {t}_{b}(list, 8);
    printf("{t} %s %d\\n", {c}, sum);
    if (sum == {m})
        return *{d};
    return sum;
}}

int main(int argc, char **argv)
{{
    const char *{c} = argc > 1 ? argv[1] : "{t}";
    int result = load_{t}({c}, {k});
    printf("{t} result %d\\n", result);
    int *bad = (int *)(long)(argc - 1);
    return *bad + result;
}}
"""

PY_MAIN = '''"""{s1}"""
import sys


class {C}{D}:
    def __init__(self, {a}, {c}):
        self.{a} = {a}
        self.{c} = {c}
        self.{t} = []

    def {b}_{t}(self, depth):
        # {s2}
        if depth == 0:
            return self.{t}[{n}]
        self.{t}.append(depth)
        return self.{b}_{t}(depth - 1)


def load_{t}({a}):
    {t} = {C}{D}({a}, {m})
    value = {t}.{b}_{t}({k})
    return value


def main():
    for {a} in range({n}):
        print("{t}", {a})
        load_{t}({a})


if __name__ == "__main__":
    main()
'''

TEST = '''import unittest


class {C}Test(unittest.TestCase):
'''


def make(folder, topic, seed, held=False):
    """A project: sources, notes, a manual page, a log, a repository with a change not yet committed."""
    r = random.Random(seed)
    w = Words(r, held)
    t = topic or "main"
    os.makedirs(folder, exist_ok=True)
    put = lambda f, s: open(os.path.join(folder, f), "w").write(s)
    a, b, c, d = (r.choice(w.nouns) for _ in range(4))
    sub = dict(t=t, T=t, C=t.capitalize(), D=d.capitalize(), a=a, b=w.verb().split("_")[0], c=c + "_name", d=d + "_ptr", s1=w.sentence(topic), s2=w.sentence(topic),
               n=r.randint(2, 40), m=r.randint(50, 900), k=r.randint(2, 9))
    put(t + ".c", C_MAIN.format(**sub))
    put(t + ".py", PY_MAIN.format(**sub))
    put(t + "_view.py", plain(w.code("py", 60, topic, .4)))
    put(t + ".js", plain(w.code("js", 60, topic, .4)))
    put(t + "_core.c", plain(w.code("c", 70, topic, .4)))
    put("test_%s.py" % t, TEST.format(**sub) + "\n".join("    def test_%s_%s_%d(self):\n        %s\n" % (t, w.verb(), i, "self.assertEqual(1, %d)" % (1 if r.random() < .9 else 2)) for i in range(r.randint(8, 30))))
    put("Makefile", "all:\n" + "".join("\t@echo 'gcc -O2 -Wall -c %s_%s.c -o build/%s_%s.o'\n" % (t, n, t, n) for n in r.choices(w.nouns, k=r.randint(8, 30))) + "\tgcc -g -O0 -Wall %s.c -o %s\n" % (t, t))
    prose = "# %s\n\n" % w.title(topic)
    for _ in range(14):
        prose += ("## %s\n\n" % w.title(topic if r.random() < .5 else None) if r.random() < .4 else "") + w.paragraph(topic, r.randint(3, 6), .5).replace(". ", ".\n" if r.random() < .3 else ". ") + "\n\n"
    put(t + ".md", "\n".join(fold(prose, r.choice([66, 76, 90]))))
    man = ".TH %s %d\n.SH NAME\n%s \\- %s\n.SH SYNOPSIS\n.B %s\n[\\-ab] [\\fIfile\\fR]\n.SH DESCRIPTION\n" % (t.upper(), r.randint(1, 8), t, w.sentence(), t)
    for i in range(12):
        man += (".TP\n.B \\-%s, \\-\\-%s\n" % (r.choice("abcdefgh"), r.choice(w.nouns)) if r.random() < .5 else ".PP\n") + w.paragraph(topic, 3, .45) + "\n"
        if i in (4, 8):
            man += ".SH %s\n" % r.choice(["OPTIONS", "EXAMPLES", "FILES"])
    put(t + ".1", man)
    put(t + ".log", "".join("%s %s:%02d %-5s [%s] %s %s=%s\n" % (w.date(), w.clock(), r.randint(0, 59), r.choice(["INFO", "INFO", "WARN", "ERROR", "DEBUG"]), t if r.random() < .7 else r.choice(w.nouns), w.phrase(topic if r.random() < .3 else None), w.noun(), w.num()) for _ in range(80)))
    for n in r.sample(w.nouns, 4):
        put(n + r.choice([".txt", ".csv", ".sh"]), w.paragraph(topic, 3) + "\n")
    q = dict(cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"})
    person = w.fullname()
    git = ["git", "-c", "user.name=" + person, "-c", "user.email=%s@%s.org" % (w.name().lower(), r.choice(w.nouns))]
    subprocess.run(["gcc", "-g", "-O0", t + ".c", "-o", t], **q)
    subprocess.run(["git", "init", "-q"], **q)
    subprocess.run(git + ["add", "-A"], **q)
    subprocess.run(git + ["commit", "-qm", w.phrase(topic)], **q)
    for f in (t + "_view.py", t + "_core.c", t + ".md"):
        change(os.path.join(folder, f), w, topic)
    subprocess.run(git + ["commit", "-qam", "%s %s" % (w.verb(), t)], **q)
    for f in r.sample([t + "_view.py", t + "_core.c", t + ".js"], 2):
        change(os.path.join(folder, f), w, topic)
    return t


def change(path, w, topic):
    lines = open(path).read().split("\n")
    for _ in range(w.r.randint(2, 6)):
        i = w.r.randrange(len(lines))
        new = plain(w.code("py" if path.endswith("py") else "c", w.r.randint(1, 4), topic, .5)).rstrip("\n").split("\n")
        lines[i:i + w.r.randint(0, 3)] = new
    open(path, "w").write("\n".join(lines))


def fold(text, width):
    for para in text.split("\n"):
        line = ""
        for x in para.split(" "):
            if len(line) + len(x) > width:
                yield line.rstrip()
                line = ""
            line += x + " "
        yield line.rstrip()
