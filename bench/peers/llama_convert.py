#!/usr/bin/env python3
"""Converts a checkpoint for llama.cpp: Q4_K_M text, and the projector in f16 and in bf16.

    llama_convert.py SOURCE BIN MODEL OUT

SOURCE is llama.cpp's source tree, BIN where it was built, MODEL a directory of dress.py. The converter knows a vocabulary by
what it makes of one test string; ours is cut like Qwen2's but has no merges, so it is told so. Needs the converter's packages.
"""

import pathlib
import runpy
import subprocess
import sys


def convert(source, model, out, *flags):
    sys.path.insert(0, str(source / "gguf-py"))
    sys.path.insert(0, str(source))
    from conversion import base

    base.TextModel.get_vocab_base_pre = lambda self, tokenizer: "qwen2"
    sys.argv = ["convert_hf_to_gguf.py", str(model), "--outfile", str(out), *flags]
    runpy.run_path(str(source / "convert_hf_to_gguf.py"), run_name="__main__")


def main():
    source, binaries, model, out = (pathlib.Path(argument).resolve() for argument in sys.argv[1:5])
    if len(sys.argv) > 5:  # one of the two conversions, in a process of its own
        convert(source, model, *sys.argv[5:])
        return
    out.mkdir(parents=True, exist_ok=True)
    whole = out / "text-bf16.gguf"
    for target, flags in ((whole, ["--outtype", "bf16"]), (out / "mmproj-f16.gguf", ["--mmproj", "--outtype", "f16"]),
                          (out / "mmproj-bf16.gguf", ["--mmproj", "--outtype", "bf16"])):
        subprocess.run([sys.executable, __file__, source, binaries, model, out, target, *flags], check=True)
    subprocess.run([binaries / "llama-quantize", whole, out / "text.gguf", "Q4_K_M", "2"], check=True)
    whole.unlink()


if __name__ == "__main__":
    main()
