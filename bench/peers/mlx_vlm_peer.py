#!/usr/bin/env python3
"""Answers frames with mlx_vlm and prints one line of JSON with what it took.

    mlx_vlm_peer.py MODEL --device cpu|gpu --tokens N --at-once N --prompt TEXT [--first] FRAME...

Exactly N tokens for each frame, greedily, end tokens ignored: one frame after the other by stream_generate, or
--at-once many by batch_generate. --first stops after the first token of the first frame, with nothing warmed up.
"""

import argparse
import json
import resource
import sys
import time

BEGIN = time.perf_counter()


class Never:
    """Stopping criteria that never stop."""

    eos_token_ids = []

    def __call__(self, token):
        return False

    def reset(self, *_):
        pass

    def add_eos_token_ids(self, *_):
        pass


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--prompt", default="Describe the screen.")
    parser.add_argument("--first", action="store_true")
    parser.add_argument("frames", nargs="+")
    return parser.parse_args()


def main():
    args = parse()
    import mlx.core as mx
    mx.set_default_device(mx.cpu if args.device == "cpu" else mx.gpu)
    import mlx_vlm
    model, processor = mlx_vlm.load(args.model)
    tokenizer = getattr(processor, "tokenizer", processor)
    tokenizer.stopping_criteria = Never()
    prompt = mlx_vlm.apply_chat_template(processor, model.config, args.prompt, num_images=1)
    loaded = time.perf_counter()
    counts, prompt_tokens = [], 0

    def singly(frames, tokens):
        nonlocal prompt_tokens
        for frame in frames:
            count, first = 0, None
            for step in mlx_vlm.stream_generate(model, processor, prompt, [frame], max_tokens=tokens, temperature=0.0):
                first = first or time.perf_counter()
                count, prompt_tokens = step.generation_tokens, step.prompt_tokens
            counts.append(count)
        return first

    def together(frames, tokens):
        for i in range(0, len(frames), args.at_once):
            some = frames[i:i + args.at_once]
            answer = mlx_vlm.batch_generate(model, processor, images=some, prompts=[args.prompt] * len(some),
                                            max_tokens=tokens, verbose=False)
            counts.extend([tokens] * len(answer.texts))
            batch.append(getattr(answer.stats, "generation_tokens", None))

    batch = []
    if args.first:
        singly(args.frames[:1], 1)
    else:
        (singly if args.at_once == 1 else together)(args.frames[:args.at_once], 2)  # warm
        counts.clear()
        batch.clear()
        begin = time.perf_counter()
        (singly if args.at_once == 1 else together)(args.frames, args.tokens)
        loaded = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({"seconds": loaded, "frames": len(args.frames), "tokens": counts, "batch_tokens": batch,
                      "prompt_tokens": prompt_tokens, "peak_memory": peak, "device_memory": mx.get_peak_memory(),
                      "version": f"mlx_vlm {mlx_vlm.__version__}, mlx {mx.__version__}",
                      "seconds_whole": time.perf_counter() - BEGIN}))


if __name__ == "__main__":
    main()
