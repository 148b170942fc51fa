#!/usr/bin/env python3
"""Answers frames with mlx_vlm on MLX's CPU device, and prints one line of JSON with what it took.

    mlx_peer.py MODEL --tokens N --threads N --batch 1 --prompt TEXT [--measured-tokens N] FRAME...

In float32 (on this device products of bfloat16 or of 4-bit weights are slower still), one frame at a time, greedily. With
--measured-tokens only so many are generated; the rest of N is charged at the rate of those after the first. The device has
no switch for threads: its products take what OPENBLAS_NUM_THREADS says, where OpenBLAS is preloaded.
"""

import argparse
import json
import os
import resource
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"

import mlx.core as mx
import mlx.utils
import mlx_vlm
from mlx_vlm.prompt_utils import apply_chat_template


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("frames", nargs="+")
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--warm", help="not used: there is nothing to warm up")
    parser.add_argument("--measured-tokens", type=int, default=0)
    args = parser.parse_args()
    measured = args.measured_tokens or args.tokens
    mx.set_default_device(mx.cpu)
    start = time.monotonic()
    model, processor = mlx_vlm.load(args.model)
    model.update(mlx.utils.tree_map(lambda x: x.astype(mx.float32), model.parameters()))
    mx.eval(model.parameters())
    opened = time.monotonic()
    prompt = apply_chat_template(processor, model.config, args.prompt, num_images=1)
    seconds, generated, tokens, first = 0.0, 0, 0, []
    for frame in args.frames:
        at, came = time.monotonic(), []
        for step in mlx_vlm.stream_generate(model, processor, prompt, image=[frame], max_tokens=measured, temperature=0.0,
                                            logits_processors=[no_end(processor)]):
            came.append(time.monotonic() - at)
            tokens = step.prompt_tokens
        generated += min(len(came), measured)
        first.append(round(1000 * came[0]))
        a_token = (came[measured - 1] - came[0]) / (measured - 1)
        seconds += came[measured - 1] + (args.tokens - measured) * a_token
    print(json.dumps({
        "peer": "mlx_vlm", "version": mlx_vlm.__version__, "beside": f"mlx {mx.__version__}, CPU, float32",
        "seconds_open": round(opened - start, 2), "seconds": round(seconds, 3), "frames": len(args.frames),
        "generated": generated, "prompt_tokens": tokens, "batch": 1, "phases": {"first_token_ms": first},
        "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)}))


def no_end(processor):
    ends = mx.array([processor.tokenizer.convert_tokens_to_ids(name) for name in ("<|im_end|>", "<|endoftext|>")])

    def without(tokens, logits):
        logits[..., ends] = float("-inf")
        return logits

    return without


if __name__ == "__main__":
    main()
