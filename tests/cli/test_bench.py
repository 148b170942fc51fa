#!/usr/bin/env python3
"""escriba bench: its figures are there, add up, and go where they are asked for."""

import csv
import xml.etree.ElementTree

import common


class Bench(common.Case):
    frames = 5

    def bench(self, *args):
        return self.run_escriba("bench", "--model", self.model, "--tokens", "6", *args)

    def rows(self, name):
        with open(self.path(name), encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def test_phases_and_a_curve(self):
        result = self.bench("--size", "128x96", "--at-once", "1,2,3", "--csv", self.path("a.csv"), "--svg",
                            self.path("a.svg"), "--precision", "fast")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        for word in ("vision", "prefill", "decode", "sample", "in all", "of peak", "1 at once", "3 at once", "GB/s read"):
            self.assertIn(word, result.stdout)
        rows = self.rows("a.csv")
        self.assertEqual([row["at_once"] for row in rows], ["1", "2", "3"])
        for row in rows:
            self.assertEqual(row["frames"], row["at_once"])
            self.assertEqual(row["towers_run"], row["frames"])  # nothing is kept from one frame for another
            self.assertEqual((row["answers_reused"], row["guesses"]), ("0", "0"))
            seconds = float(row["seconds"])
            parts = sum(float(row[name]) for name in ("vision_s", "prefill_s", "decode_s", "sample_s"))
            self.assertGreater(parts, 0)
            self.assertLessEqual(parts, seconds + 0.001)
            self.assertAlmostEqual(float(row["frames_per_s"]) * seconds, float(row["frames"]), delta=0.2)
            tokens = float(row["tokens_per_s"]) * seconds
            self.assertAlmostEqual(tokens, 6 * float(row["frames"]), delta=0.3 * float(row["frames"]))
            self.assertGreater(float(row["peak_read"]), 1e8)
        root = xml.etree.ElementTree.parse(self.path("a.svg")).getroot()
        self.assertEqual(len(root.findall("{http://www.w3.org/2000/svg}circle")), 3)

    def test_each_cache_on_and_off(self):
        frames = [self.path("frames", "frame_%04ds.png" % (10 * i)) for i in (0, 1, 1, 2, 1, 3)]
        result = self.bench("--caches", "--at-once", "2", "--tokens", "60", "--csv", self.path("c.csv"), "--vision-cache",
                            self.path("vision"), *frames)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        rows = {row["run"]: row for row in self.rows("c.csv")}
        self.assertEqual(len(rows), 12)
        self.assertEqual(rows["no answers, no prefixes"]["prefix_tokens_reused"], "0")
        self.assertEqual(rows["no caches"]["towers_run"], "6")
        self.assertEqual(rows["all caches"]["towers_run"], "4")  # four different frames
        self.assertEqual(rows["all caches"]["answers_reused"], "2")
        self.assertEqual(rows["without answers"]["answers_reused"], "0")
        self.assertEqual(rows["without drafts"]["guesses"], "0")
        self.assertEqual(rows["without prefixes"]["prefix_tokens_reused"], "0")
        self.assertEqual(rows["disk too, first pass"]["towers_run"], "4")
        self.assertEqual(rows["disk too, second pass"]["towers_run"], "0")
        self.assertEqual(rows["disk too, second pass"]["pictures_read"], "4")
        self.assertEqual(rows["all, one at a time"]["at_once"], "1")

    def test_a_busy_engine_and_both_of_its_limits(self):
        result = self.bench("--size", "64x64", "--at-once", "4", "--busy")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        told = result.stdout[result.stdout.index("32 frames queued, 7 questions"):]
        self.assertRegex(told, r"first token \d+ ms, at worst \d+ ms; on an idle engine \d+ ms, a layer of the tower \d+ ms\n")
        self.assertRegex(told, r"allowed \(1\.5 x idle \+ a layer\): \d+ ms: (holds|does not hold)\n")
        self.assertRegex(told, r"the frames took [0-9.]+ s; alone [0-9.]+ s before and [0-9.]+ s after\n")
        self.assertRegex(told, r"allowed \(the time that the questions take alone\): [0-9.]+ s more, it was -?[0-9.]+ s: "
                               r"(holds|does not hold|not to be told on so busy a machine)\n")

    def test_what_makes_no_sense_is_refused(self):
        self.one_line(self.bench("--at-once", "0"), 2, "--at-once")
        self.one_line(self.bench("--at-once", "1,,x"), 2, "--at-once")
        self.one_line(self.bench("--size", "1024"), 2, "--size")
        self.one_line(self.bench("--size", "1x1"), 2, "--size")
        self.one_line(self.bench("--caches"), 2, "--caches")
        self.one_line(self.bench(self.path("frames", "none.png")), 1, "none.png")
        self.one_line(self.bench("--size", "64x64", "--csv", self.path("no", "such", "x.csv")), 1, "x.csv")


if __name__ == "__main__":
    common.main()
