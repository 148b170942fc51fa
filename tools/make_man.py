#!/usr/bin/env python3
"""Makes escriba(1) of what the program says about itself: make_man.py ESCRIBA > escriba.1"""
import datetime
import os
import re
import subprocess
import sys


def say(*words):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("ESCRIBA")}
    return subprocess.run([sys.argv[1], *words], check=True, stdout=subprocess.PIPE, text=True, env=clean).stdout


def troff(text):
    """Lines as they are."""
    out = []
    for line in text.rstrip().splitlines():
        line = line.replace("\\", "\\e").replace("-", "\\-")
        out.append("\\&" + line if line[:1] in (".", "'") else line)
    return ".nf\n%s\n.fi\n" % "\n".join(out)


epoch = os.environ.get("SOURCE_DATE_EPOCH")
when = datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc).date() if epoch else ""
help_text = say("help")
verbs = re.findall(r"^  ([a-z]+) +(\S.*)$", help_text, re.M)
verbs = [(name, about) for name, about in verbs if name not in ("help", "escriba")]
print('.TH ESCRIBA 1 "%s" "%s" "User commands"' % (when, say("--version").strip()))
print(".SH NAME\nescriba \\- say what a user was doing on screen, with a vision\\-language model on this machine")
print(".SH SYNOPSIS\n.B escriba\n.I VERB\n[FLAGS] ...")
print(".SH DESCRIPTION")
print(troff(help_text), end="")
for name, about in verbs:
    print(".SH %s" % name.upper())
    print(troff(say("help", name)), end="")
print(".SH EXIT STATUS\n0 all well, 1 something failed, 2 wrong usage, 130 interrupted.")
