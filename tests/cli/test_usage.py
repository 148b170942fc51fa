#!/usr/bin/env python3
"""Help, wrong usage, settings and their places."""

import json
import os

import common

VERBS = ["describe", "generate", "pull", "models", "doctor", "inspect", "trace", "bench", "config"]


class Usage(common.Case):
    with_model = False
    frames = 1

    def test_help_lists_every_verb(self):
        result = self.run_escriba("help")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        for verb in VERBS:
            self.assertIn("\n  %s " % verb, result.stdout)
        self.assertEqual(self.run_escriba("--help").stdout, result.stdout)

    def test_every_verb_explains_itself_with_examples(self):
        for verb in VERBS:
            for args in ([verb, "--help"], [verb, "-h"], ["help", verb]):
                result = self.run_escriba(*args)
                self.assertEqual((result.returncode, result.stderr), (0, ""), args)
                self.assertIn("usage: escriba %s" % verb, result.stdout)
                self.assertIn("escriba %s" % verb, result.stdout.split("usage:")[1].split("\n", 1)[1], verb)

    def test_version(self):
        for word in ("--version", "version"):
            result = self.run_escriba(word)
            self.assertRegex(result.stdout, r"^escriba \d+\.\d+\.\d+\n$")
            self.assertEqual(result.returncode, 0)

    def test_no_verb_and_unknown_verbs(self):
        self.one_line(self.run_escriba(), 2, "help")
        self.one_line(self.run_escriba("descibe"), 2, "did you mean describe?")
        self.one_line(self.run_escriba("xyzzy"), 2, "escriba help")
        self.one_line(self.run_escriba("help", "trcae"), 2, "did you mean trace?")
        self.one_line(self.run_escriba("bad\nname\x1b[31m"), 2)

    def test_unknown_flags_suggest_the_nearest(self):
        self.one_line(self.run_escriba("describe", "--jsonarray"), 2, "--json-array")
        self.one_line(self.run_escriba("describe", "--max-token", "5"), 2, "--max-tokens")
        self.one_line(self.run_escriba("trace", "m", "--mesages=x"), 2, "--messages")
        self.one_line(self.run_escriba("describe", "--frobnicate"), 2, "help describe")
        self.one_line(self.run_escriba("inspect", "--" + "x" * 5000), 2)

    def test_values_that_make_no_sense(self):
        frame = self.path("frames", "frame_0000s.png")
        for args, word in [(["--max-tokens", "0"], "--max-tokens"), (["--max-tokens=many"], "many"),
                           (["--temperature", "hot"], "hot"), (["--isa", "sse9"], "sse9"), (["--interval", "-1"], "-1"),
                           (["--interval", "1", "--timestamps", "0"], "not both"), (["--timestamps", "0,1"], "2 timestamps"),
                           (["--timestamps", "soon"], "soon"), (["--batch"], "needs a value"),
                           (["--ordered=yes"], "takes no value"), (["--resume", "x", "--json-array"], "--resume"),
                           (["--resume", "x", "--output", "y"], "--resume")]:
            self.one_line(self.run_escriba("describe", *args, *([] if args == ["--batch"] else [frame])), 2, word)

    def test_describe_needs_frames(self):
        self.one_line(self.run_escriba("describe"), 2, "which frames?")
        os.mkdir(self.path("empty"))
        self.one_line(self.run_escriba("describe", self.path("empty")), 1, "no pictures")

    def test_a_model_that_is_not_there(self):
        frame = self.path("frames", "frame_0000s.png")
        self.one_line(self.run_escriba("describe", "--model", "/no/such/model", frame), 1, "/no/such/model")
        self.one_line(self.run_escriba("inspect", "/no/such/model"), 1, "/no/such/model")
        self.one_line(self.run_escriba("trace", "/no/such/model", "--messages", "x.json"), 1, "/no/such/model")
        self.one_line(self.run_escriba("describe", "--model", frame, frame), 2, "is a file")

    def test_a_backend_that_this_build_lacks_says_so(self):
        frame = self.path("frames", "frame_0000s.png")
        result = self.run_escriba("describe", frame, env={"ESCRIBANO_VLM_BACKEND": "mlx"})
        self.one_line(result, 1, "MLX is not in this build", "docs/mlx.md")
        for args in (["--backend", "mlx"], ["--device", "mlx"], ["--device", "mlx-cpu"], ["--device", "mlx-gpu"]):
            self.one_line(self.run_escriba("describe", frame, *args), 1, "MLX is not in this build")
        self.one_line(self.run_escriba("describe", frame, "--backend", "mlx", "--device", "cpu"), 2, "--device", "mlx-cpu")
        self.one_line(self.run_escriba("describe", frame, "--device", "tpu"), 2, "--device", "mlx-gpu")
        self.one_line(self.run_escriba("describe", frame, "--fallback", "cloud"), 2, "--fallback", "cloud")

    def test_trace_and_inspect_say_what_they_need(self):
        self.one_line(self.run_escriba("trace"), 2, "a model")
        self.one_line(self.run_escriba("trace", "m"), 2, "--messages")
        self.one_line(self.run_escriba("inspect"), 2, "which model")
        self.one_line(self.run_escriba("inspect", "a", "b"), 2, "one model")
        self.one_line(self.run_escriba("config", "extra"), 2, "extra")


class Settings(common.Case):
    with_model = False
    frames = 0

    def value(self, name, *args, env=None):
        result = self.run_escriba("config", "--json", *args, env=env)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        rows = {row["name"]: row for row in json.loads(result.stdout)["settings"]}
        return rows[name]["value"], rows[name]["source"], rows[name]["where"]

    def test_precedence_from_end_to_end(self):
        self.assertEqual(self.value("max_tokens"), (500, "default", ""))
        os.makedirs(self.path("home", ".escribano"), exist_ok=True)
        os.makedirs(self.path("xdg", "escriba"), exist_ok=True)
        own = self.write("home/.escribano/.env", "ESCRIBANO_VLM_MAX_TOKENS=100\nOTHER=1\n")
        self.assertEqual(self.value("max_tokens"), (100, "file", own + ":1: ESCRIBANO_VLM_MAX_TOKENS"))
        xdg = self.write("xdg/escriba/config", "# mine\nESCRIBANO_VLM_MAX_TOKENS=200\n")
        env = {"XDG_CONFIG_HOME": self.path("xdg")}
        self.assertEqual(self.value("max_tokens", env=env), (200, "file", xdg + ":2: ESCRIBANO_VLM_MAX_TOKENS"))
        env["ESCRIBANO_VLM_MAX_TOKENS"] = "300"
        self.assertEqual(self.value("max_tokens", env=env), (300, "variable", "ESCRIBANO_VLM_MAX_TOKENS"))
        self.assertEqual(self.value("max_tokens", "--max-tokens", "400", env=env), (400, "flag", "--max-tokens"))
        other = self.write("other.env", "ESCRIBANO_VLM_MAX_TOKENS=600\n")
        self.assertEqual(self.value("max_tokens", "--config", other)[0], 600)
        self.assertEqual(self.value("batch", "--config=" + other), (0, "default", ""))
        os.unlink(own)

    def test_config_prints_a_table(self):
        result = self.run_escriba("config", env={"ESCRIBANO_VLM_MODEL": "a \"b\"\n"})
        self.assertEqual(result.returncode, 0)
        self.assertIn('"a \\"b\\"\\n"', result.stdout)
        rows = json.loads(self.run_escriba("config", "--json").stdout)["settings"]
        self.assertEqual([line.split()[0] for line in result.stdout.splitlines()[1:]], [row["name"] for row in rows])

    def test_hostile_values_name_their_source(self):
        self.one_line(self.run_escriba("config", env={"ESCRIBANO_VLM_BATCH_SIZE": "lots"}), 2,
                      "ESCRIBANO_VLM_BATCH_SIZE", "lots")
        bad = self.write("bad.env", "\nESCRIBANO_VLM_SEED=-7\n")
        self.one_line(self.run_escriba("config", "--config", bad), 2, "bad.env:2", "-7")
        self.one_line(self.run_escriba("config", "--config", self.path("none.env")), 2, "none.env")
        self.one_line(self.run_escriba("config", "--config", self.write("zero.env", b"A=\0\n")), 2, "zero.env")
        self.one_line(self.run_escriba("config", "--config"), 2, "--config")


if __name__ == "__main__":
    common.main()
