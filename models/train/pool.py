"""Screens drawn while training goes on: processes draw, the trainer keeps a pool of the latest on its device.

A worker writes into its own slots of memory shared by all: picture, dense labels; the record goes through a queue.
"""
import io
import json
import mmap
import multiprocessing
import random
import threading
import time
import traceback
import zipfile

import numpy as np
import torch
from PIL import Image

import build_real
from build import jpeg
from compose import SIZES, screen
from draw import KIND_ID

PIXELS = max(w * h * 3 for (w, h), _, _ in SIZES)
CELLS = PIXELS // 3 // 1024
PARTS = [("image", np.uint8, PIXELS), ("kind", np.int8, CELLS), ("topic", np.int8, CELLS), ("chars", np.int32, 4 * CELLS)]
SLOT = sum(-(-np.dtype(t).itemsize * n // 64) * 64 for _, t, n in PARTS)
SLOTS = 24  # of one worker
STAGE = 128  # screens of a size on their way to the device
CTX = multiprocessing.get_context("fork")


def shapes(size):
    w, h = size
    return {"image": (h, w, 3), "kind": (h // 32, w // 32), "topic": (h // 32, w // 32), "chars": (h // 16, w // 16)}


def views(area, slot, size):
    """The arrays of a slot for a picture of this size (wide, high)."""
    out, at = {}, slot * SLOT
    for name, dtype, most in PARTS:
        shape = shapes(size)[name]
        out[name] = np.frombuffer(area, dtype, int(np.prod(shape)), at).reshape(shape)
        at += -(-np.dtype(dtype).itemsize * most // 64) * 64
    return out


class Captures:
    """Captured programs packed by pack.py, as files in memory."""

    def __init__(self, path):
        z = zipfile.ZipFile(path)
        self.caps = [json.loads(s) for s in z.read("captures.jsonl").decode().splitlines()]
        self.files = {c["file"]: z.read(c["file"]) for c in self.caps}
        self.weights = np.cumsum([c.get("weight", 1) for c in self.caps]).tolist()

    def frame(self, r):
        """A captured program as it is or on a drawn desktop: (picture, kind, topic, chars, record)."""
        cap = r.choices(self.caps, cum_weights=self.weights)[0]
        im = Image.open(io.BytesIO(self.files[cap["file"]])).convert("RGB")
        if r.random() < .04 and cap["kind"] not in ("gitdiff", "ide_diff", "pull"):
            im = Image.merge("RGB", r.sample(im.split(), 3))
        arr, rec, (mw, mh), kind = build_real.frame(im, cap, r)
        if kind is None:
            kind = np.full((mh // 32, mw // 32), KIND_ID[cap["kind"]], np.int8)
        return arr, kind, np.full((mh // 32, mw // 32), -1, np.int8), np.full((mh // 16, mw // 16), -1, np.int32), rec


def draw(r, captures, share):
    if captures and r.random() < share:
        arr, kind, topic, chars, rec = captures.frame(r)
    else:
        c, size, rec = screen(r.getrandbits(60))
        arr, kind, topic, chars = c.finish(*size)
    return jpeg(arr, r) if r.random() < .2 else arr, kind, topic, chars, rec


def work(number, seed, area, free, ready, captures, share):
    torch.set_num_threads(1)
    r, n = random.Random(seed * 1009 + number), 0
    while True:
        try:
            *arrays, rec = draw(r, captures, share)
        except (ValueError, IndexError, ZeroDivisionError, OSError):  # a window too small for what it should hold
            continue
        except Exception:  # a bug in one kind of screen must not end the others
            traceback.print_exc()
            continue
        free.acquire()
        slot, size = number * SLOTS + n % SLOTS, (arrays[0].shape[1], arrays[0].shape[0])
        for (name, _, _), arr in zip(PARTS, arrays):
            views(area, slot, size)[name][...] = arr
        ready.put((number, slot, size, rec))
        n += 1


class Pool:
    """The latest screens of every size, on the device. Start it before the device is touched: it forks."""

    def __init__(self, workers, seed, captures, share, most):
        self.area = mmap.mmap(-1, workers * SLOTS * SLOT)
        self.free, self.ready, self.most = [CTX.Semaphore(SLOTS) for _ in range(workers)], CTX.SimpleQueue(), most
        self.procs = [CTX.Process(target=work, args=(i, seed, self.area, self.free[i], self.ready, captures, share), daemon=True) for i in range(workers)]
        [p.start() for p in self.procs]
        self.drawn, self.sizes, self.lock, self.waiting = 0, {}, threading.Lock(), {}
        self.stop = False

    def open(self, device):
        self.device = device
        total = sum(weight for *_, weight in SIZES)
        for size, _, weight in SIZES:  # captures have few of the last two sizes
            n = max(8, int(self.most * weight / total))
            data = {name: torch.empty((n, *shapes(size)[name]), dtype=torch.from_numpy(np.empty(0, t)).dtype, device=device) for name, t, _ in PARTS}
            stage = [{k: torch.empty((STAGE, *v.shape[1:]), dtype=v.dtype, pin_memory=device.type == "cuda") for k, v in data.items()} for _ in range(2)]
            self.sizes[size] = {"n": n, "data": data, "rec": [None] * n, "end": 0, "stage": stage, "turn": 0, "have": [], "event": [None, None]}
        self.thread = threading.Thread(target=self.take, daemon=True)
        self.thread.start()

    def take(self):
        """Moves finished screens from the workers' slots to the staging buffers."""
        while not self.stop:
            number, slot, size, rec = self.ready.get()
            s = self.sizes[size]
            while len(s["have"]) == STAGE:  # the trainer is behind
                time.sleep(.002)
                if self.stop:
                    return
            v = views(self.area, slot, size)
            with self.lock:
                for name, t in s["stage"][s["turn"]].items():
                    t[len(s["have"])].copy_(torch.from_numpy(v[name]))
                s["have"].append(rec)
                self.drawn += 1
            self.free[number].release()

    def refresh(self):
        """Staged screens take the place of the oldest ones."""
        for s in self.sizes.values():
            with self.lock:
                k, recs, s["have"] = s["turn"], s["have"], []
                s["turn"] ^= 1
                if s["event"][s["turn"]]:
                    s["event"][s["turn"]].synchronize()
            done = 0
            while done < len(recs):
                at = s["end"] % s["n"]
                m = min(len(recs) - done, s["n"] - at)
                for name, t in s["data"].items():
                    t[at:at + m].copy_(s["stage"][k][name][done:done + m], non_blocking=True)
                s["rec"][at:at + m] = recs[done:done + m]
                s["end"], done = s["end"] + m, done + m
            if recs and self.device.type == "cuda":
                s["event"][k] = torch.cuda.Event()
                s["event"][k].record()

    def count(self, size): return min(self.sizes[size]["end"], self.sizes[size]["n"])

    def sample(self, g, images, interleaved):
        """(size, groups of records, indices): single frames, or several to a sequence with probability `interleaved`."""
        sizes = list(self.sizes)
        have = np.array([self.count(z) for z in sizes], float)
        size = sizes[g.choice(len(sizes), p=have / have.sum())]
        n = int(g.choice([2, 2, 3, 4, 4, 5, 6, 7, 8, 8])) if g.random() < interleaved else 1
        at = g.integers(0, self.count(size), max(1, images // n) * n)
        if n > 1 and g.random() < .3:  # a person often stays with one thing for some frames
            for j in range(1, len(at)):
                if j % n and g.random() < .5:
                    at[j] = at[j - 1]
        recs = self.sizes[size]["rec"]
        return size, [[recs[i] for i in at[j:j + n]] for j in range(0, len(at), n)], at

    def close(self):
        self.stop = True
        [p.terminate() for p in self.procs]


def augment(images):
    """Other levels, colours, sharpness and noise, at random for every picture; bytes in and out."""
    b, kind = len(images), {"device": images.device, "dtype": torch.half if images.is_cuda else torch.float}
    u = lambda lo, hi, *shape: torch.rand(b, *(shape or (1, 1, 1)), **kind) * (hi - lo) + lo
    yes = lambda p: (torch.rand(b, 1, 1, 1, **kind) < p).to(kind["dtype"])
    x = images.to(kind["dtype"]) / 255
    a = u(0, .4) * yes(.35)  # moves and blurs by part of a pixel
    for dim in (1, 2):
        x = torch.lerp(x, x.roll(1 if torch.rand(()) < .5 else -1, dim), a)
    on = yes(.6)
    gain, shift = 1 + on * u(-.22, .18) + on * u(-.08, .08, 1, 1, 3), on * u(-.1, .1)
    x = (x - .5) * gain + .5 + shift
    x = torch.where(yes(.03) > 0, 1 - x, x)
    x = x + torch.randn_like(x) * (yes(.3) * u(0, .03))
    return (x.clamp(0, 1) * 255).round().to(torch.uint8)
