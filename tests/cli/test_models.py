#!/usr/bin/env python3
"""inspect, doctor, trace and generate on a small model; and models that are broken in every way."""

import json
import os
import shutil
import struct

import common
from common import png


class Good(common.Case):
    def test_inspect(self):
        result = self.run_escriba("inspect", self.model, "--json")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        told = json.loads(result.stdout)
        self.assertEqual(told["tensors_total"], len(told["tensors"]))
        self.assertEqual(told["bytes"], sum(t["bytes"] for t in told["tensors"]))
        self.assertEqual(told["bytes"], sum(p["bytes"] for p in told["parts"]))
        self.assertEqual(told["precision"], "bf16")
        text = self.run_escriba("inspect", self.model).stdout
        for tensor in told["tensors"]:
            self.assertIn(tensor["name"], text)
        self.assertLess(len(self.run_escriba("inspect", self.model, "--summary").stdout.splitlines()), 15)

    def test_inspect_counts_packed_parameters(self):
        packed = common.make_model(self.path("packed"), "--quant-bits", "4")
        told = [json.loads(self.run_escriba("inspect", m, "--json", "--summary").stdout) for m in (self.model, packed)]
        self.assertEqual(told[0]["parameters"], told[1]["parameters"])
        self.assertIn("4 bits", told[1]["precision"])
        self.assertLess(told[1]["bytes"], told[0]["bytes"])

    def test_doctor(self):
        told = json.loads(self.run_escriba("doctor", "--json", "--model", self.model).stdout)
        self.assertTrue(told["would_run"])
        self.assertIn(self.model, told["verdict"])
        self.assertIn("scalar", told["instruction_sets"])
        self.assertGreater(told["memory"], 1e8)
        self.assertIn("processor", self.run_escriba("doctor", "--model", self.model).stdout)
        result = self.run_escriba("doctor", "--model", "/no/such", "--json")
        self.assertEqual(result.returncode, 1)
        self.assertFalse(json.loads(result.stdout)["would_run"])

    def messages(self, name="messages.json", **content):
        picture = self.path("frames", "frame_0000s.png")
        parts = content.get("parts") or [{"type": "image", "image": picture}, {"type": "text", "text": "What is this?"}]
        return self.write(name, json.dumps([{"role": "user", "content": parts}]))

    def trace(self, *args):
        result = self.run_escriba("trace", self.model, "--messages", self.messages(), *args)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return json.loads(result.stdout)

    def test_trace_keeps_its_contract(self):
        told = self.trace("--max-tokens", "12", "--top", "5")
        for key in ("prompt_ids", "image_grids", "top_ids", "top_logits", "greedy_ids", "greedy_text"):
            self.assertIn(key, told)
        self.assertEqual((len(told["top_ids"]), len(told["top_logits"])), (5, 5))
        self.assertEqual(told["top_logits"], sorted(told["top_logits"], reverse=True))
        self.assertEqual(told["greedy_ids"][0], told["top_ids"][0])
        self.assertEqual(len(told["image_grids"]), 1)
        grid = told["image_grids"][0]
        self.assertEqual(max(told["prompt_ids"].count(i) for i in set(told["prompt_ids"])), grid[1] * grid[2] // 4)
        self.assertEqual(len(self.trace()["top_ids"]), 10)
        self.assertEqual(self.trace("--max-tokens", "0")["greedy_ids"], [])
        self.assertEqual(len(self.trace("--ignore-eos", "--max-tokens", "200")["greedy_ids"]), 200)

    def test_trace_is_the_same_on_every_instruction_set_to_four_digits(self):
        doctor = json.loads(self.run_escriba("doctor", "--json", "--model", self.model).stdout)
        base = self.trace("--isa", "scalar", "--threads", "1")
        for isa in doctor["instruction_sets"]:
            other = self.trace("--isa", isa)
            self.assertEqual(other["prompt_ids"], base["prompt_ids"])
            for a, b in zip(base["top_logits"], other["top_logits"]):
                self.assertAlmostEqual(a, b, delta=1e-3 * max(1, abs(a)))

    def test_trace_dumps_every_stage(self):
        dump = self.path("dump.safetensors")
        told = self.trace("--dump", dump, "--max-tokens", "3")
        with open(dump, "rb") as file:
            size = struct.unpack("<Q", file.read(8))[0]
            header = json.loads(file.read(size))
        names = set(header) - {"__metadata__"}
        self.assertLessEqual({"pixel_values", "vision.patch_embed", "vision.merger", "text.embed", "text.layer.0", "logits"},
                             names)
        rows = len(told["prompt_ids"])
        self.assertEqual(header["text.layer.3"]["shape"][0], rows)
        self.assertEqual(header["logits"]["shape"][0], 1)
        grid = told["image_grids"][0]
        self.assertEqual(header["pixel_values"]["shape"], [grid[1] * grid[2], 1536])

    def test_trace_takes_two_pictures_text_only_and_relative_paths(self):
        parts = [{"type": "image", "image": "frames/frame_0000s.png"}, {"type": "text", "text": "and"},
                 {"type": "image", "image": "frames/frame_0010s.png"}]
        dump = self.path("two.safetensors")
        result = self.run_escriba("trace", self.model, "--messages", self.messages("two.json", parts=parts), "--dump", dump)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(len(json.loads(result.stdout)["image_grids"]), 2)
        with open(dump, "rb") as file:
            self.assertIn("picture.1.vision.merger", json.loads(file.read(struct.unpack("<Q", file.read(8))[0])))
        text = self.write("text.json", json.dumps({"messages": [{"role": "system", "content": "Be brief."},
                                                                {"role": "user", "content": "Hello"}]}))
        result = self.run_escriba("trace", self.model, "--messages", text)
        self.assertEqual((result.returncode, json.loads(result.stdout)["image_grids"]), (0, []))

    def test_messages_that_are_wrong_are_named(self):
        for text, word in [("{", "JSON"), ("[]", "list of messages"), ("{\"messages\": 5}", "list of messages"),
                           ("[5]", "message 1"), ("[{\"role\": \"user\"}]", "content"),
                           ("[{\"role\": \"king\", \"content\": \"x\"}]", "role"),
                           ("[{\"role\": \"user\", \"content\": [{\"type\": \"video\"}]}]", "part 1"),
                           ("[{\"role\": \"user\", \"content\": [{\"type\": \"image\", \"image\": \"/no.png\"}]}]", "/no.png"),
                           ("[{\"role\": \"user\", \"content\": [\"x\"]}]", "part 1")]:
            path = self.write("wrong.json", text)
            self.one_line(self.run_escriba("trace", self.model, "--messages", path), 1, word)
        self.one_line(self.run_escriba("trace", self.model, "--messages", self.path("none.json")), 1, "none.json")

    def test_generate_prints_words(self):
        result = self.run_escriba("generate", "--model", self.model, "--max-tokens", "5", "Hello", "there")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        same = self.run_escriba("generate", "--model", self.model, "--max-tokens", "5", "-", stdin="Hello there")
        self.assertEqual(same.stdout, result.stdout)
        self.one_line(self.run_escriba("generate"), 2, "prompt")


class Broken(common.Case):
    """A model with something wrong: one clear line and a code that is not 0, from every verb that opens it."""

    def spoil(self, name, change):
        where = self.path(name.replace(" ", "-"))
        shutil.copytree(self.model, where)
        change(where)
        return where

    def check(self, name, change, *words, inspect=True):
        where = self.spoil(name, change)
        frame = self.path("frames", "frame_0000s.png")
        with self.subTest(name):
            self.one_line(self.run_escriba("describe", "--model", where, frame), 1, *words)
            self.one_line(self.run_escriba("generate", "--model", where, "hello"), 1, *words)
            if inspect:
                self.one_line(self.run_escriba("inspect", where), 1, *words)
            result = self.run_escriba("doctor", "--model", where)
            self.assertEqual(result.returncode, 1)
            self.assertIn("would run     nothing: ", result.stdout)

    def edit_json(self, file, **changes):
        def change(where):
            path = os.path.join(where, file)
            with open(path, encoding="utf-8") as f:
                data = json.load(f)
            for key, value in changes.items():
                part = data
                *way, last = key.split("__")
                for step in way:
                    part = part[step]
                if value is None:
                    part.pop(last)
                else:
                    part[last] = value
            with open(path, "w", encoding="utf-8") as f:
                json.dump(data, f)
        return change

    def edit_header(self, edit):
        def change(where):
            path = os.path.join(where, "model.safetensors")
            with open(path, "rb") as f:
                data = f.read()
            size = struct.unpack("<Q", data[:8])[0]
            header = edit(data[8:8 + size])
            with open(path, "wb") as f:
                f.write(struct.pack("<Q", len(header)) + header + data[8 + size:])
        return change

    def overwrite(self, file, data):
        def change(where):
            with open(os.path.join(where, file), "wb") as f:
                f.write(data)
        return change

    def test_files_that_are_missing(self):
        for file in ("config.json", "model.safetensors"):
            self.check("no " + file, lambda w, f=file: os.unlink(os.path.join(w, f)))
        for file in ("tokenizer.json",):
            self.check("no " + file, lambda w, f=file: os.unlink(os.path.join(w, f)), inspect=False)

    def test_files_that_are_no_json(self):
        self.check("config is no json", self.overwrite("config.json", b"{"), "config.json")
        self.check("config is a list", self.overwrite("config.json", b"[]"), "config.json")
        self.check("tokenizer is no json", self.overwrite("tokenizer.json", b"\xff\xfe"), "tokenizer.json", inspect=False)
        self.check("tokenizer is empty", self.overwrite("tokenizer.json", b"{}"), "tokenizer.json", inspect=False)
        self.check("preprocessor is no json", self.overwrite("preprocessor_config.json", b"5"), "preprocessor",
                   inspect=False)

    def test_a_config_with_nonsense(self):
        for key, value in [("text_config__hidden_size", -1), ("text_config__hidden_size", 10 ** 12),
                           ("text_config__num_attention_heads", 0), ("text_config__vocab_size", "many"),
                           ("vision_config__depth", 10 ** 9), ("vision_config__patch_size", 0),
                           ("text_config__num_hidden_layers", None), ("vision_config", None)]:
            self.check("config %s %s" % (key, value), self.edit_json("config.json", **{key: value}), "config.json")

    def test_weights_that_do_not_fit_the_config(self):
        self.check("too few layers in the file", self.edit_json("config.json", text_config__num_hidden_layers=5),
                   "layers.4", inspect=False)
        self.check("another width", self.edit_json("config.json", text_config__intermediate_size=512), "256",
                   inspect=False)

    def test_safetensors_that_lie(self):
        def truncate(where):
            path = os.path.join(where, "model.safetensors")
            os.truncate(path, os.path.getsize(path) // 2)
        self.check("half a file", truncate, "model.safetensors")
        self.check("an empty file", self.overwrite("model.safetensors", b""), "model.safetensors")
        self.check("a huge header", self.overwrite("model.safetensors", b"\xff" * 64), "model.safetensors")
        self.check("a header that is no json", self.edit_header(lambda h: b"x" * len(h)), "model.safetensors")

        def past_the_end(header):
            data = json.loads(header)
            name = sorted(data)[-1]
            data[name]["data_offsets"][1] += 10 ** 15
            return json.dumps(data).encode()
        self.check("offsets past the end", self.edit_header(past_the_end), "model.safetensors")

        def huge_shape(header):
            data = json.loads(header)
            name = sorted(data)[-1]
            data[name]["shape"] = [2 ** 62, 2 ** 62]
            return json.dumps(data).encode()
        self.check("a shape that overflows", self.edit_header(huge_shape), "model.safetensors")

        def twice(header):
            text = header.rstrip()
            first = json.loads(text)
            name = sorted(k for k in first if k != "__metadata__")[0]
            return text[:-1] + b"," + json.dumps({name: first[name]}).encode()[1:]
        self.check("a name twice", self.edit_header(twice), "model.safetensors")

    def test_a_directory_that_is_no_model(self):
        os.makedirs(self.path("nothing"), exist_ok=True)
        frame = self.path("frames", "frame_0000s.png")
        self.one_line(self.run_escriba("describe", "--model", self.path("nothing"), frame), 1, "config.json")


if __name__ == "__main__":
    common.main()
