#!/usr/bin/env python3
"""MLX missing, of another version, failing to start, out of memory, failing in mid-step: told in one line, and where
auto chose it the cpu answers. With a plug-in that fails on demand, so it needs no MLX.

    test_mlx_faults.py ESCRIBA FAULT_PLUGIN
"""

import json
import os
import sys

import common

PLUGIN = None


class Faults(common.Case):
    frames = 5

    def describe(self, fault, *args, plugin=None):
        env = {"ESCRIBA_MLX_PLUGIN": plugin or PLUGIN, "ESCRIBA_FAULT": fault}
        return self.run_escriba("describe", self.folder, "--model", self.model, "--ordered", "--max-tokens", "8",
                                "--free-form", *args, env=env)

    def answers(self, result):
        keep = ("index", "description", "activity", "raw_response", "generated_tokens", "error")
        return [{k: r.get(k) for k in keep} for r in map(json.loads, result.stdout.splitlines())]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.not_a_library = cls.write("text.so", "no library")

    def setUp(self):
        self.want = self.answers(self.describe("none", "--device", "cpu"))
        self.assertEqual(len(self.want), 5)

    def asked_for(self, fault, *words, code=1, plugin=None):
        for args in (["--backend", "mlx"], ["--device", "mlx"], ["--device", "mlx-gpu"]):
            result = self.describe(fault, *args, plugin=plugin)
            self.one_line(result, code, *words)

    def auto(self, fault, *words, plugin=None):
        result = self.describe(fault, plugin=plugin)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.answers(result), self.want)
        if words:
            self.one_line(result, 0, *words)
        else:
            self.assertEqual(result.stderr, "")

    def test_all_is_well(self):
        for args in (["--backend", "mlx"], ["--device", "mlx-gpu"], []):
            result = self.describe("none", *args)
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            self.assertEqual(self.answers(result), self.want)

    def test_missing(self):
        self.asked_for("none", "MLX is not in this build", plugin="/no/such.so")
        self.auto("none", plugin="/no/such.so")  # nobody asked for it

    def test_not_a_library(self):
        self.asked_for("none", "does not load", "text.so", plugin=self.not_a_library)
        self.auto("none", "does not load", "the cpu computes instead", plugin=self.not_a_library)

    def test_of_another_version(self):
        self.asked_for("abi", "another version of escriba")
        self.auto("abi", "another version of escriba", "the cpu computes instead")
        self.asked_for("old", "0.20.1", "built for 0.32")
        self.auto("old", "0.20.1", "the cpu computes instead")

    def test_does_not_start(self):
        self.asked_for("start", "cannot start on a GPU")
        self.auto("start", "cannot start on a GPU", "the cpu computes instead")

    def test_fails_at_any_time(self):
        calls = 0
        for n in (1, 3, 17, 40, 70, 110, 200, 400, 700):
            for fault, word in (("memory", "not enough memory"), ("throw", "MLX")):
                result = self.describe("%s:%d" % (fault, n), "--device", "mlx")
                if result.returncode == 0:
                    self.assertEqual(self.answers(result), self.want)
                    continue
                calls += 1
                self.assertIn(word, result.stderr)
                self.assertNotIn("Traceback", result.stderr)
                self.assertGreater(result.returncode, 0)  # no signal
                # What was finished before is there, and right.
                for seen in self.answers(result):
                    if not seen["error"]:
                        self.assertEqual(seen, self.want[seen["index"]])
                self.auto("%s:%d" % (fault, n), "MLX", "native")
        self.assertGreater(calls, 8)

    def test_another_fallback_takes_over(self):
        result = self.describe("throw:90", "--backend", "mlx", "--fallback", "native:" + self.model)
        self.one_line(result, 0, "frames left go to native")
        self.assertEqual(self.answers(result), self.want)

    def test_doctor_tells(self):
        for fault, version, error in (("none", "0.0.0", ""), ("old", "", "0.20.1"), ("abi", "", "another version")):
            env = {"ESCRIBA_MLX_PLUGIN": PLUGIN, "ESCRIBA_FAULT": fault}
            told = json.loads(self.run_escriba("doctor", "--model", self.model, "--json", env=env).stdout)
            self.assertEqual(told["mlx"]["version"], version)
            self.assertIn(error, told["mlx"]["error"])
            self.assertEqual(told["backends"]["mlx"], error == "")
            self.assertTrue(told["would_run"])
        text = self.run_escriba("doctor", env={"ESCRIBA_MLX_PLUGIN": PLUGIN, "ESCRIBA_FAULT": "none"}).stdout
        self.assertIn("mlx: 0.0.0 on a GPU for tests (a GPU), 1.00 GB of memory", text)
        self.assertIn("mlx: MLX is not in this build", self.run_escriba("doctor").stdout)


if __name__ == "__main__":
    PLUGIN = os.path.abspath(sys.argv.pop(2))
    common.main()
