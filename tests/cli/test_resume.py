#!/usr/bin/env python3
"""describe interrupted at any moment, and going on after it: every frame is described exactly once."""

import json
import os
import shutil
import signal
import time

import common
from common import read_lines


class Interruption(common.Case):
    frames = 10

    def interrupt_after(self, path, lines, number=signal.SIGINT):
        process = self.start_describe("--batch", "1", "--max-tokens", "60", "--output", path, self.folder)
        self.wait_for_lines(path, lines)
        return self.stop(process, number)

    # A signal that comes before main() ends the process as it does any other: nothing was begun, nothing is said.
    TOO_EARLY = -signal.SIGINT

    def resume(self, path):
        result = self.describe("--resume", path, self.folder)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.each_once(path)

    def test_resume_after_ctrl_c_at_several_moments(self):
        interrupted = 0
        for moment in (0, 1, 2, 4, 7, 9):
            path = self.path("at%d.jsonl" % moment)
            code, error = self.interrupt_after(path, moment)
            self.assertIn(code, (0, 130) if moment > 0 else (0, 130, self.TOO_EARLY), error)
            if code == 130:
                interrupted += 1
                self.assertEqual(len(error.splitlines()), 1, error)
                self.assertIn("--resume " + path, error)
                self.assertLess(len(read_lines(path)), 10)
            self.resume(path)
        self.assertGreaterEqual(interrupted, 3)

    def test_sigterm_counts_the_same(self):
        path = self.path("term.jsonl")
        code, _ = self.interrupt_after(path, 2, signal.SIGTERM)
        self.assertEqual(code, 130)
        self.resume(path)

    def test_interrupted_again_and_again(self):
        path = self.path("again.jsonl")
        code, rounds = self.interrupt_after(path, 1)[0], 0
        while code != 0 and rounds < 30:
            have = len(read_lines(path))
            process = self.start_describe("--batch", "2", "--max-tokens", "40", "--resume", path, self.folder)
            self.wait_for_lines(path, min(have + 1, 10))
            code, error = self.stop(process)
            # All ten may be there before the last process begins; then the signal may find it not yet in main().
            self.assertIn(code, (0, 130) if have < 10 else (0, 130, self.TOO_EARLY), error)
            rounds += 1
        self.resume(path)
        self.assertGreater(rounds, 0)

    def test_a_kill_leaves_a_file_to_go_on_with(self):
        path = self.path("killed.jsonl")
        process = self.start_describe("--batch", "1", "--max-tokens", "60", "--output", path, self.folder)
        self.wait_for_lines(path, 3)
        self.stop(process, signal.SIGKILL)
        self.resume(path)

    def test_a_torn_last_line_is_cut_off_and_done_again(self):
        whole = self.path("whole.jsonl")
        self.assertEqual(self.describe("--output", whole, self.folder).returncode, 0)
        with open(whole, "rb") as file:
            data = file.read()
        first = data.index(b"\n") + 1
        third = data.index(b"\n", data.index(b"\n", first) + 1) + 1
        for cut in (1, first - 1, first + 1, first + 20, third - 1, third, len(data) - 1, 0):
            path = self.path("torn.jsonl")
            with open(path, "wb") as file:
                file.write(data[:cut])
            self.resume(path)
            with open(path, "rb") as file:
                kept = data[:cut].rfind(b"\n") + 1
                self.assertEqual(file.read(kept), data[:kept])

    def test_a_finished_run_is_left_alone(self):
        path = self.path("done.jsonl")
        self.resume(path)  # a file that is not there: everything is done
        before = read_lines(path)
        self.resume(path)
        self.assertEqual(read_lines(path), before)

    def test_failed_frames_are_done_again(self):
        folder, path = self.path("mixed"), self.path("mixed.jsonl")
        shutil.copytree(self.folder, folder)
        broken = os.path.join(folder, "frame_0030s.png")
        self.write("mixed/frame_0030s.png", b"broken")
        self.assertEqual(self.describe("--output", path, folder).returncode, 1)
        self.assertEqual(len(read_lines(path)), 10)
        shutil.copy(os.path.join(self.folder, "frame_0030s.png"), broken)
        self.assertEqual(self.describe("--resume", path, folder).returncode, 0)
        self.each_once(path, folder)
        self.assertFalse([r for r in read_lines(path) if "error" in r])

    def test_a_frame_given_twice_is_described_twice(self):
        frame, path = self.path("frames", "frame_0000s.png"), self.path("twice.jsonl")
        self.assertEqual(self.describe("--output", path, frame).returncode, 0)
        self.assertEqual(self.describe("--resume", path, frame, frame).returncode, 0)
        self.assertEqual(len(read_lines(path)), 2)
        self.assertEqual(self.describe("--resume", path, frame, frame).returncode, 0)
        self.assertEqual(len(read_lines(path)), 2)

    def test_an_interrupted_array_is_valid(self):
        for lines in (0, 2, 4):  # the first line is the bracket
            path = self.path("array%d.json" % lines)
            with open(path, "w", encoding="utf-8") as file:
                process = self.start_describe("--batch", "1", "--max-tokens", "60", "--json-array", self.folder, stdout=file)
            self.wait_for_lines(path, lines)
            if lines == 0:
                time.sleep(0.05)
            code, error = self.stop(process)
            if code == -signal.SIGINT:
                continue  # so early that nobody listened yet
            self.assertEqual(code, 130, error)
            with open(path, encoding="utf-8") as file:
                self.assertGreaterEqual(len(json.load(file)), lines - 1)

    def test_an_interrupted_ordered_run_keeps_what_is_done(self):
        path = self.path("ordered.jsonl")
        process = self.start_describe("--ordered", "--batch", "1", "--max-tokens", "60", "--output", path, self.folder)
        self.wait_for_lines(path, 2)
        self.stop(process)
        indices = [r["index"] for r in read_lines(path)]
        self.assertEqual(indices, sorted(indices))
        self.resume(path)

    def test_the_second_signal_ends_it_at_once(self):
        process = self.start_describe("--batch", "1", "--max-tokens", "3000", self.folder)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
        self.assertIn(process.returncode, (130, -signal.SIGINT, -signal.SIGTERM))


if __name__ == "__main__":
    common.main()
