#!/usr/bin/env python3
"""Answers frames with OpenVINO GenAI, and prints one line of JSON with what it took.

    openvino_peer.py MODEL --tokens N --threads N --batch N --prompt TEXT --warm FRAME [--group N] FRAME...

MODEL is a directory of openvino_convert.py. Exactly N tokens for each frame, greedily, with continuous batching of `--batch`
frames at a time; bfloat16 between products where the processor has it, activations of products in bytes by groups of `--group`.
"""

import time

import numpy
import openvino
import openvino_genai
from PIL import Image

import peer


def picture(path):
    return openvino.Tensor(numpy.array(Image.open(path).convert("RGB"))[None])


def main():
    parser = peer.parser(__doc__)
    parser.add_argument("--group", type=int, default=128)
    args = parser.parse_args()

    start = time.monotonic()
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.cache_size = 1  # GB
    scheduler.max_num_seqs = args.batch
    scheduler.max_num_batched_tokens = 1 << 16
    scheduler.enable_prefix_caching = False
    bf16 = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    pipeline = openvino_genai.ContinuousBatchingPipeline(args.model, scheduler, "CPU", {
        "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32", "INFERENCE_NUM_THREADS": args.threads,
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": args.group, "PERFORMANCE_HINT": "LATENCY"})  # fmt: skip

    def answer(paths, tokens):
        config = openvino_genai.GenerationConfig(max_new_tokens=tokens, min_new_tokens=tokens, ignore_eos=True, do_sample=False)
        return pipeline.generate([args.prompt] * len(paths), images=[[picture(path)] for path in paths],
                                 generation_config=[config] * len(paths))  # fmt: skip

    answer([args.warm], 4)
    opened = time.monotonic()
    generated, first, prompt = 0, [], 0
    for at in range(0, len(args.frames), args.batch):
        told = answer(args.frames[at:at + args.batch], args.tokens)[0].perf_metrics  # of all frames of the batch together
        generated += told.get_num_generated_tokens()
        prompt = told.get_num_input_tokens()
        first.append(round(told.get_ttft().mean))
    seconds = time.monotonic() - opened
    peer.tell(args, "OpenVINO GenAI", openvino_genai.__version__.split("-")[0],
              f"OpenVINO {openvino.__version__.split('-')[0]}, {'bf16' if bf16 else 'f32'}, groups of {args.group}",
              seconds, generated, prompt, seconds_open=round(opened - start, 2), phases={"first_token_ms": first})  # fmt: skip


if __name__ == "__main__":
    main()
