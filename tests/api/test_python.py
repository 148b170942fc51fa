#!/usr/bin/env python3
"""The Python binding: its structs are the header's, and it answers, streams, stops and fails as the library does.

test_python.py LIBRARY. Python 3 standard library only.
"""
import ctypes
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import unittest
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.environ.get("ESCRIBA_SOURCE_ROOT") or os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "bindings", "python"))
sys.dont_write_bytecode = True  # the sources stay as they are


def png(width=64, height=64, seed=0):
    rows = b"".join(b"\0" + bytes((x * 3 + y * 5 + c * 60 + seed * 37) % 256 for x in range(width) for c in range(3))
                    for y in range(height))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


class Binding(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="escriba-python-")
        cls.where = os.path.join(cls.dir, "model")
        maker = os.path.join(ROOT, "tools", "make_random_checkpoint.py")
        subprocess.run([sys.executable, maker, cls.where, "--size", "tiny"], check=True, stdout=subprocess.DEVNULL)
        cls.paths = []
        for i in range(6):
            cls.paths.append(os.path.join(cls.dir, "frame%d.png" % i))
            with open(cls.paths[-1], "wb") as file:
                file.write(png(seed=i))
        cls.model = escriba.Model(cls.where, threads=1)

    @classmethod
    def tearDownClass(cls):
        cls.model.close()
        shutil.rmtree(cls.dir)

    def test_structs_have_the_headers_fields_in_its_order(self):
        with open(os.path.join(ROOT, "include", "escriba.h"), encoding="utf-8") as file:
            header = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
        for name, ours in (("options", native.Options), ("request", native.Request), ("frame", native.Frame),
                           ("observation", native.Observation), ("error", native.Error)):
            body = re.search(r"typedef struct escriba_%s \{(.*?)\} escriba_%s;" % (name, name), header, re.S).group(1)
            fields = [f for line in body.split(";") for f in re.findall(r"(\w+)\s*(?:\[\d+\])?\s*(?:,|$)", line.strip())]
            self.assertEqual([f for f, _ in ours._fields_], fields, name)
        self.assertEqual(sorted(native.FUNCTIONS), sorted(set(re.findall(r"\b(escriba_\w+)\(", header))))
        options = native.Options()
        native.lib().escriba_options_init(ctypes.byref(options))
        self.assertEqual(options.size, ctypes.sizeof(options))

    def test_frames_one_by_one_and_together_give_the_same(self):
        seen = {o.index: o for o in self.model.classify(self.paths, max_tokens=8)}
        self.assertEqual(sorted(seen), list(range(6)))
        alone = self.model.classify_frame(escriba.Frame(self.paths[2], timestamp=7), max_tokens=8)
        self.assertEqual((alone.raw_text, alone.timestamp, alone.path), (seen[2].raw_text, 7.0, self.paths[2]))
        self.assertGreater(alone.image_tokens, 0)
        self.assertGreater(alone.seconds.decode_image, 0)

    def test_pixels_in_memory(self):
        for pixels in (bytes(range(256)) * 48, bytearray(bytes(range(256)) * 48)):
            seen = self.model.classify_frame(escriba.Frame(rgb=pixels, width=64, height=64), max_tokens=4)
            self.assertIsNone(seen.path)
        with self.assertRaises(ValueError):
            self.model.classify_frame(escriba.Frame(rgb=b"short", width=64, height=64))
        with self.assertRaises(ValueError):
            self.model.classify_frame(escriba.Frame())

    def test_a_bad_frame_is_an_observation_or_an_error(self):
        missing = os.path.join(self.dir, "missing.png")
        seen = sorted(self.model.classify([self.paths[0], missing], max_tokens=4), key=lambda o: o.index)
        self.assertTrue(seen[0].ok)
        self.assertIn("missing.png", seen[1].error)
        with self.assertRaises(escriba.Error) as caught:
            self.model.classify_frame(missing)
        self.assertEqual(caught.exception.status, "io")

    def test_a_loop_that_is_left_stops_the_work_and_nothing_else(self):
        for seen in self.model.classify(self.paths * 50, max_tokens=8):
            break
        self.assertEqual(len(list(self.model.classify(self.paths, max_tokens=4))), 6)
        self.assertEqual(len(list(self.model.classify(self.paths[:1], max_tokens=4))), 1)

    def test_exceptions_pass_through(self):
        with self.assertRaises(ZeroDivisionError):
            self.model.classify_frames(self.paths, lambda seen: 1 / 0, max_tokens=4)
        with self.assertRaises(ZeroDivisionError):
            self.model.generate("x", lambda piece: 1 / 0, max_tokens=4)
        with self.assertRaises(escriba.Cancelled):
            self.model.classify_frames(self.paths, lambda seen: False, max_tokens=4)
        with self.assertRaises(TypeError):
            list(self.model.classify([7.5], max_tokens=4))

    def test_progress_counts_to_the_end(self):
        steps = []
        self.model.classify_frames(self.paths, lambda seen: None, lambda *step: steps.append(step), max_tokens=4)
        self.assertEqual(steps[-1], (6, 6))

    def test_text_whole_and_in_pieces(self):
        whole = self.model.generate("Hello", max_tokens=12)
        self.assertEqual("".join(self.model.stream("Hello", max_tokens=12)), whole)

    def test_cancel_from_another_thread(self):
        timer = threading.Timer(0.05, self.model.cancel)
        timer.start()
        with self.assertRaises(escriba.Cancelled):
            self.model.classify_frames(self.paths * 1000, lambda seen: None, max_tokens=50)
        timer.join()

    def test_wrong_use_is_told(self):
        with self.assertRaises(TypeError):
            escriba.Model(self.where, thread=1)
        with self.assertRaises(TypeError):
            self.model.classify_frame(self.paths[0], tokens=1)
        for arguments, status in (({"model": "/no/such"}, "io"), ({"model": self.where, "isa": "sse9"}, "argument"),
                                  ({"model": self.where, "backend": "mlx"}, "unsupported"),
                                  ({"model": self.where, "device": "tpu"}, "argument"),
                                  ({"model": self.where, "backend": "mlx", "device": "cpu"}, "argument"),
                                  ({"backend": "ollama", "endpoint": "ftp://x"}, "argument")):
            with self.assertRaises(escriba.Error) as caught:
                escriba.Model(**arguments)
            self.assertEqual(caught.exception.status, status)
        closed = escriba.Model(self.where, threads=1)
        closed.close()
        closed.close()
        with self.assertRaises(ValueError):
            closed.generate("x")

    def test_a_fallback_and_its_note(self):
        notes = []
        with escriba.Model(backend="ollama", endpoint="http://127.0.0.1:9", on_note=notes.append,
                           fallback={"model": self.where, "threads": 1}) as model:
            self.assertEqual(len(list(model.classify(self.paths, max_tokens=4))), 6)
        self.assertEqual(len(notes), 1)
        self.assertIn("native answers instead", notes[0])


if __name__ == "__main__":
    os.environ["ESCRIBA_MLX_PLUGIN"] = "/no/plug-in"
    os.environ["ESCRIBA_LIBRARY"] = os.path.abspath(sys.argv.pop(1))
    import escriba
    from escriba import _native as native

    unittest.main()
