#!/usr/bin/env python3
"""A checkpoint as large as the published Qwen3-VL-2B opens in no time and describes a frame within its memory.

    test_full_size.py ESCRIBA OPEN_CHECKPOINT

Writes a random one (bf16, 4.3 GB) beside the build and removes it afterwards. Skipped, with the reason, where disk or
memory are too small for it.
"""
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib

ROOT = pathlib.Path(os.environ["ESCRIBA_SOURCE_ROOT"])
BUILD = pathlib.Path(os.environ["ESCRIBA_BUILD_ROOT"])
GB = 1 << 30
SKIPPED = 77         # what meson takes for "could not be run here"
DISK, MEMORY = 10 * GB, 8 * GB
OPEN_SECONDS = 2.0   # from page cache
EXTRA = 1.5e9        # bytes a frame of 1024x576 may take beside the file
TOKENS = 4


def skip(reason):
    print(f"SKIPPED: {reason}")
    sys.exit(SKIPPED)


def check_room():
    free = shutil.disk_usage(BUILD).free
    if free < DISK:
        skip(f"{free / GB:.1f} GB free on the disk of {BUILD}, {DISK // GB} are needed")
    meminfo = pathlib.Path("/proc/meminfo")
    if not meminfo.exists():
        return
    fields = dict(line.split(":") for line in meminfo.read_text().splitlines())
    available = int(fields["MemAvailable"].split()[0]) * 1024
    if available < MEMORY:
        skip(f"{available / GB:.1f} GB of memory available, {MEMORY // GB} are needed")


def write_png(path, width, height):
    """Panels and lines, as a screen has them."""
    rows = bytearray()
    for y in range(height):
        rows.append(0)
        for x in range(width):
            panel = (x * 5 // width + 3 * (y * 3 // height)) * 23 % 256
            line = 60 if y % 18 < 2 and x * 7919 % 53 < 40 else 0
            rows += bytes((panel ^ line, 255 - panel, (panel + line) % 256))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
                     chunk(b"IDAT", zlib.compress(bytes(rows))) + chunk(b"IEND", b""))


def run(command):
    """Standard output, seconds and peak resident bytes of a command that must succeed."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as output:
        # The allocator is not to fill what is only set aside: the test runner asks for that, and it would count as used.
        clean = {k: v for k, v in os.environ.items() if k != "MALLOC_PERTURB_"}
        process = subprocess.Popen([str(c) for c in command], stdout=output, env=clean)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode()
    if process.returncode != 0:
        sys.exit(f"{command[0]} ended with {process.returncode}: {text[:400]}")
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return text, time.monotonic() - start, peak


def check_opening(program, model):
    text, _, peak = run([program, model, 3])
    seconds = sorted(float(line) for line in text.split())
    print(f"opened in {', '.join(f'{s:.3f}' for s in seconds)} s, peak memory {peak / 1e6:.0f} MB")
    assert seconds[0] < OPEN_SECONDS, f"opening takes {seconds[0]:.2f} s, more than {OPEN_SECONDS}"


def check_frame(escriba, model, frame):
    text, seconds, peak = run([escriba, "describe", frame, "--model", model, "--max-tokens", TOKENS, "--raw"])
    record = json.loads(text)
    size = sum(f.stat().st_size for f in model.glob("*.safetensors"))
    print(f"described in {seconds:.1f} s, peak memory {peak / 1e9:.2f} GB: the file's {size / 1e9:.2f} and "
          f"{(peak - size) / 1e9:.2f} more\n{text.strip()[:600]}")
    assert not record.get("error"), record
    assert record["image_tokens"] == 36 * 64 // 4, record
    assert 1 <= record["generated_tokens"] <= TOKENS, record
    assert peak < size + EXTRA, f"peak memory is {(peak - size) / 1e9:.2f} GB above the file's size"


def main():
    escriba, opener = sys.argv[1:]
    check_room()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that the folder goes away then, too
    with tempfile.TemporaryDirectory(prefix="full-size-", dir=BUILD) as folder:
        model, frame = pathlib.Path(folder) / "model", pathlib.Path(folder) / "frame.png"
        text, seconds, _ = run([sys.executable, ROOT / "tools" / "make_random_checkpoint.py", model, "--size", "2b"])
        print(f"{text.strip()}, written in {seconds:.1f} s", flush=True)
        write_png(frame, 1024, 576)
        check_opening(opener, model)
        check_frame(escriba, model, frame)


if __name__ == "__main__":
    main()
