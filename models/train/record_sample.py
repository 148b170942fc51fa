"""Records samples/: a short screen recording of real programs on a virtual display, its frames and its true labels.

Usage: record_sample.py SAMPLES_DIR     (needs Xvfb, xterm, vim, gdb, git, gcc, Chromium, xdotool, ffmpeg)
"""
import json
import os
import random
import shutil
import subprocess
import sys
import time

import projects
from pages import page
from records import record

W, H, EVERY = 1024, 576, 10
HERE = os.path.dirname(os.path.abspath(__file__))
DISPLAY, HOME = ":95", "/tmp/escriba-sample"
TERM = ["xterm", "-fa", "DejaVu Sans Mono", "-fs", "11", "-bg", "#16181d", "-fg", "#e4e4e4", "-xrm", "XTerm*scrollBar: false", "-xrm", "XTerm*color4: #6c9cff", "-geometry", "200x100+1100+0"]
AHEAD = 8  # seconds a program starts before it is shown


def slowly(text, gap=.12):
    return [[gap, ch] for ch in text]


def segments(topic):
    """(seconds, kind, topics, argv or page, keys)"""
    ps1 = " PS1='\\[\\e[32m\\]dev@box\\[\\e[0m\\]:\\[\\e[34m\\]~/%s\\[\\e[0m\\]\\$ '; clear\n" % topic
    bash = ["bash", "--noprofile", "--norc", "-i"]
    gdb = ["gdb", "-q", "-nx", "-iex", "set debuginfod enabled off", "-iex", "set pagination off", "./" + topic]
    return [
        (24, "vim", [topic], ["vim", "-n", "-u", "/usr/share/vim/vim90/defaults.vim", "-c", "set number laststatus=2", topic + "_view.py"],
         [[2, "12Go"]] + slowly("    %s_limit = 20\n    return %s_limit" % (topic, topic)) + [[1, "\x1b"], [3, ":w\n"], [3, "8k"]]),
        (22, "tests", [topic], bash, [[.5, ps1]] + slowly("ls\n") + [[2, ""]] + slowly("python3 -m unittest -v test_%s\n" % topic)),
        (26, "gdb", [topic], gdb, [[1, ""]] + slowly("break load_%s\n" % topic) + [[1, ""]] + slowly("run\n") + [[2, ""]] + slowly("bt\n") + [[2, ""]] + slowly("info locals\n") + [[2, ""]] + slowly("next\nlist\n")),
        (20, "gitdiff", [topic], ["git", "-c", "core.pager=less -R", "-c", "color.ui=always", "diff"], [[8, "jjj"], [5, " "]]),
        (20, "docs", ["database"], "docs", []),
        (18, "search", ["coffee"], "search", []),
    ]


def main(out):
    r = random.Random(12)
    topic = "weather"
    shutil.rmtree(HOME, ignore_errors=True)
    folder = os.path.join(HOME, topic)
    os.makedirs(HOME)
    projects.make(folder, topic, 5)
    env = {**os.environ, "DISPLAY": DISPLAY, "TERM": "xterm-256color", "HOME": HOME, "LESSHISTFILE": "-", "HISTFILE": "", "PYTHONDONTWRITEBYTECODE": "1"}
    xvfb = subprocess.Popen(["Xvfb", DISPLAY, "-screen", "0", "%dx%dx24" % (W, H), "-nolisten", "tcp"], stderr=subprocess.DEVNULL)
    time.sleep(1)
    segs = segments(topic)
    web = []
    for sec, kind, topics, argv, _ in segs:
        if isinstance(argv, str):
            f = os.path.join(HOME, topics[0] + ".html")
            open(f, "w").write(page(kind, topics[0], r, 15))
            web.append(f)
    browser = subprocess.Popen(["chromium", "--no-sandbox", "--no-first-run", "--disable-gpu", "--test-type", "--user-data-dir=" + HOME + "/profile", "--window-position=0,0",
                                "--window-size=%d,%d" % (W, H), web[0]], env=env, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    time.sleep(15)
    raw = os.path.join(HOME, "raw.mkv")
    subprocess.run(["xdotool", "mousemove", "700", "500"], env=env)

    def launch(n):
        """Starts the program of a segment out of sight; it comes into view when its time has come."""
        sec, kind, topics, argv, keys = segs[n]
        if isinstance(argv, str):
            return None
        plan = os.path.join(HOME, "plan%d.json" % n)
        keys = [[keys[0][0] + (AHEAD if n else 2), keys[0][1]]] + keys[1:]
        json.dump({"argv": argv, "cwd": folder, "type": keys}, open(plan, "w"))
        p = subprocess.Popen(TERM + ["-T", "work%d" % n, "-e", sys.executable, os.path.join(HERE, "drive.py"), plan], env=env, stderr=subprocess.DEVNULL)
        subprocess.run(["xdotool", "search", "--sync", "--onlyvisible", "--name", "^work%d$" % n, "windowsize", "%@", str(W), str(H)], env=env, stderr=subprocess.DEVNULL)
        return p

    term, grab, start, script, at, coming = None, None, 0, [], 0, launch(0)
    time.sleep(4)
    for n, (sec, kind, topics, argv, keys) in enumerate(segs):
        old, term = term, coming
        if term:
            subprocess.run(["xdotool", "search", "--name", "^work%d$" % n, "windowmove", "%@", "0", "0", "windowraise", "%@"], env=env, stderr=subprocess.DEVNULL)
        elif argv != "docs":
            subprocess.run(["xdotool", "key", "ctrl+l"], env=env)
            subprocess.run(["xdotool", "type", "--delay", "2", "file://%s\n" % web[1]], env=env)
        if old:
            time.sleep(.3)
            old.terminate()
        if grab is None:
            grab = subprocess.Popen(["ffmpeg", "-y", "-loglevel", "error", "-f", "x11grab", "-framerate", "5", "-video_size", "%dx%d" % (W, H), "-i", DISPLAY, "-c:v", "libx264",
                                     "-preset", "ultrafast", "-crf", "10", raw], stdin=subprocess.PIPE)
            time.sleep(.5)
            start = time.time()
        begin = time.time() - start
        rec = record(kind, topics)
        if script:
            script[-1]["end"] = round(begin, 1)
        script.append({"start": round(begin, 1), "end": round(begin + sec, 1), "activity": rec["activity"], "apps": rec["apps"], "topics": topics, "description": rec["description"]})
        at += sec
        time.sleep(max(0, at - AHEAD - (time.time() - start)))
        coming = launch(n + 1) if n + 1 < len(segs) else None
        time.sleep(max(0, at - (time.time() - start)))
    script[-1]["end"] = round(time.time() - start, 1)
    grab.communicate(b"q")
    browser.terminate()
    if term:
        term.terminate()
    xvfb.terminate()
    frames = os.path.join(out, "frames")
    shutil.rmtree(frames, ignore_errors=True)
    os.makedirs(frames)
    script[0]["start"] = 0
    subprocess.run(["ffmpeg", "-y", "-loglevel", "error", "-i", raw, "-c:v", "libx264", "-preset", "slow", "-crf", "24", "-pix_fmt", "yuv420p", "-r", "5", "-movflags", "+faststart", os.path.join(out, "recording.mp4")], check=True)
    json.dump({"segments": script}, open(os.path.join(out, "script.json"), "w"), indent=1)
    with open(os.path.join(out, "labels.jsonl"), "w") as f:
        for t in range(0, int(script[-1]["end"]), EVERY):
            name = "frames/frame_%04ds.png" % t
            subprocess.run(["ffmpeg", "-y", "-loglevel", "error", "-ss", str(t), "-i", raw, "-frames:v", "1", os.path.join(out, name)], check=True)
            seg = next(s for s in script if s["start"] <= t < s["end"])
            f.write(json.dumps({"image": name, "timestamp": t, "activity": seg["activity"], "apps": seg["apps"], "topics": seg["topics"], "description": seg["description"]}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
