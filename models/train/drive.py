"""Runs a program on a pseudo-terminal and types at it, as a person would. Usage: drive.py PLAN.json

PLAN: {"argv": [...], "cwd": DIR, "type": [[seconds to wait, text], ...], "env": {...}}
"""
import json
import os
import pty
import sys
import threading
import time


def main(plan):
    plan = json.load(open(plan))
    os.chdir(plan["cwd"])
    os.environ.update(plan.get("env", {}))
    box, size = {}, None
    for _ in range(80):  # until the window has got its final size
        time.sleep(.25)
        now = os.get_terminal_size(0)
        if now != (200, 100) and now == size:
            break
        size = now

    def master_read(fd):
        box["fd"] = fd
        return os.read(fd, 65536)

    def typist():
        while "fd" not in box:
            time.sleep(.02)
        for wait, text in plan["type"]:
            time.sleep(wait)
            try:
                os.write(box["fd"], text.encode())
            except OSError:
                return

    threading.Thread(target=typist, daemon=True).start()
    start = "stty rows %d cols %d; exec \"$@\"" % (size.lines, size.columns)
    pty.spawn(["sh", "-c", start, "sh"] + plan["argv"], master_read)


if __name__ == "__main__":
    main(sys.argv[1])
