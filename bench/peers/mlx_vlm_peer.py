#!/usr/bin/env python3
"""Answers frames with mlx_vlm, and prints one line of JSON with what it took.

    mlx_vlm_peer.py MODEL --tokens N --threads N --batch N --prompt TEXT --warm FRAME [--device cpu|gpu] [--float32]
                    [--measured-tokens N] [--first] FRAME...

Exactly N tokens for each frame, greedily, end tokens ignored: one frame after the other by stream_generate, or `--batch` at a
time by batch_generate. --float32 computes in that (on MLX's CPU device products of bfloat16 or of 4-bit weights are slower
still). With --measured-tokens only so many are generated, nothing is warmed up, and the rest of N is charged at the rate of
those after the first. --first stops after the first token of the first frame, with nothing warmed up. MLX has no switch for
threads: on the CPU its products take what OPENBLAS_NUM_THREADS says, where OpenBLAS is preloaded.
"""

import os
import time

import peer

os.environ["HF_HUB_OFFLINE"] = "1"


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
    parser = peer.parser(__doc__)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--float32", action="store_true")
    parser.add_argument("--measured-tokens", type=int, default=0)
    parser.add_argument("--first", action="store_true")
    return parser.parse_args()


class Model:
    def __init__(self, args):
        import mlx.core as mx
        import mlx.utils
        import mlx_vlm
        self.mx, self.mlx_vlm, self.args = mx, mlx_vlm, args
        mx.set_default_device(mx.cpu if args.device == "cpu" else mx.gpu)
        self.model, self.processor = mlx_vlm.load(args.model)
        if args.float32:
            self.model.update(mlx.utils.tree_map(lambda x: x.astype(mx.float32), self.model.parameters()))
            mx.eval(self.model.parameters())
        getattr(self.processor, "tokenizer", self.processor).stopping_criteria = Never()
        self.prompt = mlx_vlm.apply_chat_template(self.processor, self.model.config, args.prompt, num_images=1)
        self.generated, self.prompt_tokens, self.first = 0, 0, []

    def single(self, frame, tokens):
        """Answers one frame; when each token came, in seconds from the start."""
        at, came = time.monotonic(), []
        for step in self.mlx_vlm.stream_generate(self.model, self.processor, self.prompt, [frame], max_tokens=tokens,
                                                 temperature=0.0):
            came.append(time.monotonic() - at)
            self.prompt_tokens = step.prompt_tokens
        came = came[:tokens]  # a last step may only end it
        self.generated += len(came)
        self.first.append(round(1000 * came[0]))
        return came

    def together(self, frames, tokens):
        answer = self.mlx_vlm.batch_generate(self.model, self.processor, images=frames,
                                             prompts=[self.args.prompt] * len(frames), max_tokens=tokens, verbose=False)
        self.generated += getattr(answer.stats, "generation_tokens", 0) or tokens * len(answer.texts)

    def answer(self, frames, tokens):
        if self.args.batch == 1:
            for frame in frames:
                self.single(frame, tokens)
        else:
            for i in range(0, len(frames), self.args.batch):
                self.together(frames[i:i + self.args.batch], tokens)


def charged(model, args):
    """Seconds for all frames, of which only some tokens are generated."""
    seconds, n = 0.0, args.measured_tokens
    for frame in args.frames:
        came = model.single(frame, n)
        seconds += came[-1] + (args.tokens - n) * (came[-1] - came[0]) / (n - 1)
    return seconds


def main():
    args = parse()
    start = time.monotonic()
    model = Model(args)
    opened = time.monotonic()
    if args.first:
        model.single(args.frames[0], 1)
        seconds = time.monotonic() - opened
    elif args.measured_tokens:
        seconds = charged(model, args)
    else:
        model.answer([args.warm] * args.batch, 2)
        model.generated, model.first = 0, []
        opened = time.monotonic()
        model.answer(args.frames, args.tokens)
        seconds = time.monotonic() - opened
    device = "GPU" if args.device == "gpu" else "CPU"
    peer.tell(args, "mlx_vlm", model.mlx_vlm.__version__,
              f"mlx {model.mx.__version__}, {device}" + (", float32" if args.float32 else ""), seconds, model.generated,
              model.prompt_tokens, seconds_open=round(opened - start, 2), phases={"first_token_ms": model.first},
              device_memory=model.mx.get_peak_memory())


if __name__ == "__main__":
    main()
