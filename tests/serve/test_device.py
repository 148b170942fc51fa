"""A server whose device fails: auto goes on with the cpu; whoever asked for MLX is told. With a plug-in that fails on
demand, so it needs no MLX.

    test_device.py ESCRIBA FAULT_PLUGIN
"""

import json
import os
import signal
import sys

import common

PLUGIN = None


class Device(common.Server):
    flags = ("--device", "cpu")

    def ask(self, process, failing=False):
        body = {"model": "model", "prompt": "Say what you see.", "images": [self.picture()], "stream": False,
                "options": {"num_predict": 6, "temperature": 0}}
        status, _, data = self.send("POST", "/api/generate", body, process=process)
        self.assertTrue(status == 200 or failing, data)
        return status, data.decode() if status != 200 else json.loads(data)["response"]

    def served(self, fault, *flags):
        process = self.launch(*flags, env={"ESCRIBA_MLX_PLUGIN": PLUGIN, "ESCRIBA_FAULT": fault})
        self.addCleanup(self.end, process)
        return process

    def stopped(self, process):
        """What it complained of."""
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(common.TIMEOUT), 0)
        return process.stderr.read()

    def setUp(self):
        self.want = self.ask(self.process)[1]

    def test_auto_does_without_what_does_not_start(self):
        for fault in ("old", "start", "abi"):
            process = self.served(fault)
            self.assertEqual(self.ask(process), (200, self.want))
            self.assertIn("the cpu computes instead", self.stopped(process))

    def test_auto_goes_on_with_the_cpu(self):
        for fault in ("memory:1", "throw:40", "memory:150", "throw:150"):  # opening, and in mid-step
            process = self.served(fault)
            status, said = self.ask(process, failing=True)
            if status == 200:
                self.assertEqual(said, self.want)
            else:
                self.assertIn("MLX", said)
            for _ in range(3):
                self.assertEqual(self.ask(process), (200, self.want))
            self.assertIn("the cpu computes from now on", self.stopped(process), fault)

    def test_who_asked_for_mlx_is_told(self):
        process = self.served("start", "--device", "mlx")
        status, said = self.ask(process, failing=True)
        self.assertGreaterEqual(status, 400)
        self.assertIn("cannot start on a GPU", said)
        self.assertEqual(self.stopped(process), "")


if __name__ == "__main__":
    PLUGIN = os.path.abspath(sys.argv.pop(2))
    common.main()
