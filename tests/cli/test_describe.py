#!/usr/bin/env python3
"""describe: its records, their order, bad frames, progress, and outputs that cannot be written."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import termios

import common
from common import png

KEYS = {"index", "timestamp", "image", "description", "activity", "apps", "topics", "parsed", "truncated",
        "prompt_tokens", "image_tokens", "generated_tokens", "seconds"}


class Records(common.Case):
    def records(self, result):
        return [json.loads(line) for line in result.stdout.splitlines()]

    def test_a_directory_in_natural_order_and_nothing_on_stderr(self):
        result = self.describe(self.folder)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        records = self.records(result)
        self.assertEqual(sorted(r["timestamp"] for r in records), [0, 10, 20, 30, 40, 50])
        for r in records:
            self.assertEqual(set(r) - {"raw_text", "reason"}, KEYS)
            self.assertEqual(r["image"], self.path("frames", "frame_%04ds.png" % (r["index"] * 10)))
            self.assertEqual("raw_text" in r, not r["parsed"])
            self.assertEqual(bool(r.get("reason")), not r["parsed"])
            self.assertGreater(r["prompt_tokens"], r["image_tokens"])
            self.assertGreater(r["image_tokens"], 0)
            self.assertLessEqual(r["generated_tokens"], 8)
            self.assertEqual(set(r["seconds"]), {"decode_image", "vision", "prefill", "generate"})

    def test_files_and_stdin_give_the_same_answers_as_the_directory(self):
        names = sorted(os.path.join(self.folder, n) for n in os.listdir(self.folder))
        texts = []
        for args, stdin in [([self.folder], None), (names, None), (["-"], "\n".join(names) + "\n\n"),
                            ([self.folder + "/", "--batch", "1"], None), ([self.folder, "--threads", "1"], None)]:
            result = self.describe("--ordered", "--raw", *args, stdin=stdin)
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            texts.append([r["raw_text"] for r in self.records(result)])
        for other in texts[1:]:
            self.assertEqual(other, texts[0])
        self.assertEqual(len(texts[0]), 6)

    def test_a_second_run_takes_the_towers_work_from_the_disk(self):
        def run(*args, **how):
            result = self.describe("--ordered", "--raw", self.folder, *args, **how)
            self.assertEqual(result.returncode, 0)
            records = self.records(result)
            return [r["raw_text"] for r in records], sum(r["seconds"]["vision"] for r in records), result.stderr

        where = self.path("kept", "pictures")
        plain, _, _ = run()
        first, first_vision, told = run("--vision-cache", where)
        self.assertEqual((first, told), (plain, ""))
        self.assertGreater(first_vision, 0)
        again, vision, told = run(env={"ESCRIBANO_VLM_VISION_CACHE": where})
        self.assertEqual((again, vision, told), (plain, 0, ""))
        _, vision, _ = run("--vision-cache", "off", env={"ESCRIBANO_VLM_VISION_CACHE": where})
        self.assertGreater(vision, 0)
        told = json.loads(self.run_escriba("doctor", "--json", "--vision-cache", where).stdout)["vision_cache"]
        self.assertEqual((told["path"], told["limit"]), (where, 2000000000))
        self.assertGreater(told["pictures"], 0)
        self.assertIn(where + ": ", self.run_escriba("doctor", "--vision-cache", where).stdout)
        other, _, told = run("--vision-cache", self.write("a-file", b""))
        self.assertEqual((other, len(told.splitlines())), (plain, 1))
        self.assertIn("a-file is not a directory", told)

    def test_one_bad_frame_among_good_ones(self):
        bad = self.write("bad.png", b"not a picture")
        good = self.path("frames", "frame_0000s.png")
        result = self.describe(good, bad, self.path("missing.png"), good)
        self.one_line(result, 1, "2 of 4 frames failed")
        records = sorted(self.records(result), key=lambda r: r["index"])
        self.assertEqual(["error" in r for r in records], [False, True, True, False])
        self.assertIn("bad.png", records[1]["error"])
        self.assertIn("missing.png", records[2]["error"])
        self.assertEqual((records[1]["description"], records[1]["parsed"], records[1]["apps"]), ("", False, []))

    def test_ordered_keeps_the_order_when_a_frame_fails_at_once(self):
        bad = self.write("bad2.png", b"\x89PNG\r\n\x1a\n")
        names = [self.path("frames", "frame_0000s.png"), bad, self.path("frames", "frame_0010s.png")]
        result = self.describe("--ordered", *names)
        self.assertEqual([r["index"] for r in self.records(result)], [0, 1, 2])
        self.assertEqual(result.returncode, 1)

    def test_json_array(self):
        result = self.describe(self.folder, "--json-array")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(len(json.loads(result.stdout)), 6)

    def test_text_is_for_people_and_holds_no_control_characters(self):
        result = self.describe(self.folder, "--text", "--ordered")
        self.assertEqual(len(result.stdout.splitlines()), 6)
        self.assertTrue(result.stdout.startswith("   0:00  "))
        self.assertFalse([c for c in result.stdout if ord(c) < 32 and c != "\n"])

    def test_interleaved_gives_a_record_for_each_frame(self):
        result = self.describe(self.folder, "--interleaved", "3")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(sorted(r["index"] for r in self.records(result)), list(range(6)))

    def test_timestamps_told_in_every_way(self):
        frame = png()
        os.makedirs(self.path("named"), exist_ok=True)
        for name in ("shot_00-01-30.png", "clip-1m05s.png", "plain.png", "x_12.5s.png", "2024-05-01_10-11-12.png",
                     "a_1500ms.png"):
            self.write("named/" + name, frame)
        result = self.describe(self.path("named"))
        seconds = {os.path.basename(r["image"]): r["timestamp"] for r in self.records(result)}
        self.assertEqual(seconds, {"shot_00-01-30.png": 90, "clip-1m05s.png": 65, "plain.png": None, "x_12.5s.png": 12.5,
                                   "2024-05-01_10-11-12.png": None, "a_1500ms.png": 1.5})
        result = self.describe("--interval", "2.5", "--ordered", self.folder)
        self.assertEqual([r["timestamp"] for r in self.records(result)], [0, 2.5, 5, 7.5, 10, 12.5])
        result = self.describe("--timestamps", "5,4,3,2,1,0", "--ordered", self.folder)
        self.assertEqual([r["timestamp"] for r in self.records(result)], [5, 4, 3, 2, 1, 0])
        listed = self.write("times.txt", "7\n8\n9\n10\n11\n12.25\n")
        result = self.describe("--timestamps", listed, "--ordered", self.folder)
        self.assertEqual([r["timestamp"] for r in self.records(result)], [7, 8, 9, 10, 11, 12.25])

    def test_pictures_in_natural_order(self):
        os.makedirs(self.path("natural"), exist_ok=True)
        for name in ("f10.png", "f9.PNG", "f100.png", "f009b.png", "notes.txt", ".hidden.png"):
            self.write("natural/" + name, png())
        result = self.describe("--ordered", self.path("natural"))
        self.assertEqual([os.path.basename(r["image"]) for r in self.records(result)],
                         ["f9.PNG", "f009b.png", "f10.png", "f100.png"])

    def test_odd_names_stay_valid_json(self):
        name = os.path.join(os.fsencode(self.dir), b"odd \" \\ \n \xff.png")
        with open(name, "wb") as file:
            file.write(png())
        result = subprocess.run([os.fsencode(x) for x in self.command()] + [name], env=self.environment(),
                                capture_output=True, timeout=common.TIMEOUT)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(json.loads(result.stdout)["image"], self.dir + "/odd \" \\ \n \ufffd.png")

    def test_a_prompt_beyond_the_context_is_the_frames_error(self):
        result = self.describe("--context", "40", self.path("frames", "frame_0000s.png"))
        self.one_line(result, 1, "1 of 1 frames failed")
        self.assertIn("context", self.records(result)[0]["error"])

    def test_sampling_is_repeatable_by_its_seed(self):
        frame = self.path("frames", "frame_0000s.png")
        texts = [self.records(self.describe("--temperature", "1.5", "--raw", "--seed", seed, "--max-tokens", "60",
                                            frame))[0]["raw_text"]
                 for seed in ("1", "1", "2")]
        self.assertEqual(texts[0], texts[1])
        self.assertNotEqual(texts[0], texts[2])

    def test_verbose_says_more_on_stderr(self):
        result = self.describe("--verbose", self.path("frames", "frame_0000s.png"))
        self.assertEqual(result.returncode, 0)
        self.assertIn("1 of 1", result.stderr)
        self.assertIn(self.model, result.stderr)


class Output(common.Case):
    def test_disk_full(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            self.one_line(self.describe(self.folder, stdout=full), 1, "No space left")
            self.one_line(self.describe(self.folder, "--json-array", stdout=full), 1, "No space left")
            for verb in (["help"], ["config"], ["doctor"], ["inspect", self.model], ["--version"]):
                self.one_line(self.run_escriba(*verb, stdout=full), 1, "No space left")
        self.one_line(self.describe(self.folder, "--output", "/dev/full"), 1, "/dev/full", "No space left")

    def test_a_reader_that_leaves(self):
        process = self.start_describe("--batch", "1", self.folder)
        process.stdout.readline()
        process.stdout.close()
        error = process.stderr.read()
        process.stderr.close()
        self.assertEqual(process.wait(common.TIMEOUT), 1)
        self.assertEqual(len(error.splitlines()), 1, error)

    def test_output_that_is_there_is_not_overwritten(self):
        path = self.write("there.jsonl", "precious\n")
        self.one_line(self.describe(self.folder, "--output", path), 2, "--resume", "--overwrite")
        self.one_line(self.describe(self.folder, "--resume", path), 2, "there.jsonl:1")
        with open(path, encoding="utf-8") as file:
            self.assertEqual(file.read(), "precious\n")
        result = self.describe(self.folder, "--output", path, "--overwrite")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))
        self.each_once(path)

    def test_output_to_a_place_that_cannot_be_written(self):
        self.one_line(self.describe(self.folder, "--output", self.path("no", "such", "dir")), 1, "No such file")


class Terminal(common.Case):
    def run_on_terminal(self, columns, *args):
        """Runs describe with stderr on a terminal of so many columns; returns the exit code, stdout and what was shown."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = subprocess.Popen(self.command("--batch", "1", *args, self.folder), env=self.environment(), cwd=self.dir,
                                   stdout=subprocess.DEVNULL, stderr=slave)
        os.close(slave)
        shown = b""
        while True:
            try:
                more = os.read(master, 4096)
            except OSError:  # the other end is closed
                break
            if not more:
                break
            shown += more
        os.close(master)
        return process.wait(common.TIMEOUT), shown.decode()

    def test_progress_is_one_line_with_rate_and_time_left(self):
        code, shown = self.run_on_terminal(100, "--max-tokens", "400")
        self.assertEqual(code, 0)
        self.assertIn("0 of 6 (0%)", shown)
        self.assertRegex(shown, r"\r[1-5] of 6 \(\d+%\)  [\d.]+ (a second|s each)  \d+:\d\d left")
        self.assertEqual(shown.count("\n"), 1)  # the summary at the end
        self.assertRegex(shown, r"escriba: 6 frames in \d+:\d\d")

    def test_progress_fits_a_narrow_terminal(self):
        code, shown = self.run_on_terminal(16, "--max-tokens", "30")
        self.assertEqual(code, 0)
        drawn = [part.replace("\x1b[K", "") for part in shown.split("\r") if " of " in part]
        self.assertTrue(drawn)
        for part in drawn:
            self.assertLess(len(part), 16, part)


if __name__ == "__main__":
    common.main()
