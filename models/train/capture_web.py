"""Captures a real browser (Chromium) on our pages, on a virtual display without a window manager.

Usage: capture_web.py OUT_DIR COUNT SEED
"""
import json
import os
import random
import shutil
import subprocess
import sys
import time

from PIL import Image

from pages import PAGES, page
from words import TOPICS


def main(out, count, seed, held=False):
    os.makedirs(out, exist_ok=True)
    count, seed = int(count), int(seed)
    r = random.Random(seed)
    display, home = ":%d" % (100 + seed % 50), "/tmp/escriba-web%d" % seed
    shutil.rmtree(home, ignore_errors=True)
    os.makedirs(home)
    xvfb = subprocess.Popen(["Xvfb", display, "-screen", "0", "1920x1080x24", "-nolisten", "tcp"], stderr=subprocess.DEVNULL)
    time.sleep(1)
    env = {**os.environ, "DISPLAY": display, "HOME": home}
    log = open(os.path.join(out, "captures_%d.jsonl" % seed), "a")
    n = 0
    while n < count:
        W, H = r.choice([(1024, 576), (1280, 720), (1280, 800), (1024, 640), (1366, 768), (1024, 768)])
        args = ["chromium", "--no-sandbox", "--no-first-run", "--disable-gpu", "--disable-extensions", "--hide-scrollbars" if r.random() < .3 else "--disable-sync", "--user-data-dir=%s/p%d" % (home, n),
                "--window-position=0,0", "--window-size=%d,%d" % (W, H), "--test-type"] + (["--force-dark-mode"] if r.random() < .35 else [])
        proc = None
        for k in range(16):
            kind, topic = r.choice(list(PAGES)), r.choice(TOPICS) if r.random() < .94 else None
            size = int(round(r.choice([r.uniform(8.5, 11), r.uniform(9, 14)]) * W / 640))
            f = "%s/%s-%d.html" % (home, topic or "index", n)
            open(f, "w").write(page(kind, topic, r, size, held))
            if proc is None:
                proc = subprocess.Popen(args + [f], env=env, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
                time.sleep(7)
            else:
                subprocess.run(["xdotool", "key", "ctrl+l"], env=env)
                subprocess.run(["xdotool", "type", "--delay", "1", "file://" + f + "\n"], env=env)
                time.sleep(2)
                if r.random() < .3:
                    subprocess.run(["xdotool", "mousemove", str(W // 2), str(H // 2), "click", "5", "click", "5"], env=env)
                    time.sleep(.6)
            title = subprocess.run(["xdotool", "search", "--onlyvisible", "--class", "chromium", "getwindowname"], env=env, capture_output=True, text=True).stdout
            want = open(f).read().split("<title>")[1].split("</title>")[0]
            if want[:12] not in title:  # not there yet: the label would be wrong
                continue
            name = "web_%d_%d.png" % (seed, n)
            subprocess.run(["import", "-window", "root", "-crop", "%dx%d+0+0" % (W, H), "+repage", os.path.join(out, name)], env=env)
            log.write(json.dumps({"file": name, "kind": kind, "topics": [topic] if topic else []}) + "\n")
            log.flush()
            n += 1
        proc.terminate()
        proc.wait()
    xvfb.terminate()


if __name__ == "__main__":
    main(*sys.argv[1:])
