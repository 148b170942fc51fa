#!/usr/bin/env python3
"""The model in the box answers the same on the cpu device and on MLX, for every sample frame, singly, eight at once, and
in one prompt. Exit 77 where there is no MLX.

    test_mlx.py ESCRIBA MLX_PLUGIN [DEVICE]
"""

import json
import os
import subprocess
import sys

import common

PLUGIN, DEVICE = None, "mlx-cpu"
KEEP = ("index", "description", "activity", "apps", "topics", "parsed", "truncated", "generated_tokens", "error")


class Answers(common.Case):
    with_model = False
    frames = 0

    def answers(self, *args, env=None, some=None):
        samples = os.path.join(common.ROOT, "samples", "frames")
        samples = [os.path.join(samples, name) for name in sorted(os.listdir(samples))][:some]
        model = os.path.join(common.ROOT, "models", "escriba-tiny")
        result = subprocess.run([common.ESCRIBA, "describe", *samples, "--model", model, "--ordered", *args],
                                env=self.environment({"ESCRIBA_MLX_PLUGIN": PLUGIN, **(env or {})}), cwd=self.dir,
                                capture_output=True, text=True, timeout=900)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return [{k: r.get(k) for k in KEEP} for r in map(json.loads, result.stdout.splitlines())]

    def test_the_same_answers(self):
        want = self.answers("--device", "cpu")
        self.assertGreater(len(want), 10)
        for size in ("1", "8"):
            self.assertEqual(self.answers("--device", DEVICE, "--batch-size", size), want, size)

    def test_the_same_answers_in_one_prompt(self):
        want = self.answers("--device", "cpu", "--interleaved", "4", some=4)
        self.assertEqual(self.answers("--interleaved", "4", "--device", DEVICE, some=4), want)

    def test_the_same_answers_by_mlx_alone(self):
        env = {"ESCRIBA_MLX_PRODUCTS": "mlx"}
        self.assertEqual(self.answers("--device", DEVICE, env=env, some=4), self.answers("--device", "cpu", some=4))

    def test_the_variable_of_the_original(self):
        want = self.answers("--device", "cpu", "--max-tokens", "6", "--free-form", some=2)
        env = {"ESCRIBANO_VLM_BACKEND": "mlx", "ESCRIBANO_VLM_DEVICE": DEVICE}
        self.assertEqual(self.answers("--max-tokens", "6", "--free-form", env=env, some=2), want)


if __name__ == "__main__":
    PLUGIN = os.path.abspath(sys.argv.pop(2))
    DEVICE = sys.argv.pop(2) if len(sys.argv) > 2 else DEVICE
    told = subprocess.run([os.path.abspath(sys.argv[1]), "doctor", "--json"], capture_output=True, text=True,
                          env={**os.environ, "ESCRIBA_MLX_PLUGIN": PLUGIN})
    mlx = json.loads(told.stdout)["mlx"]
    if mlx["error"] or (DEVICE == "mlx-gpu" and not mlx["gpu"]):
        print("no MLX here: " + (mlx["error"] or "it has no GPU"))
        sys.exit(77)
    common.main()
