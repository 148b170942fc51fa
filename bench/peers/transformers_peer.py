#!/usr/bin/env python3
"""Answers frames with Hugging Face transformers in bfloat16, and prints one line of JSON with what it took.

    transformers_peer.py MODEL --tokens N --threads N --batch N --prompt TEXT --warm FRAME FRAME...

Exactly N tokens for each frame, greedily; frames go through the tower and the decoder `--batch` at a time. The prompt is laid
out by hand, so that a checkpoint without a chat template will do.
"""

import sys
import time

import tokenizers
import torch
import transformers
from PIL import Image

import peer


def prompt_ids(tokenizer, image_tokens, text):
    special = {name: tokenizer.token_to_id(name)
               for name in ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")}

    def words(part):
        return tokenizer.encode(part, add_special_tokens=False).ids

    return ([special["<|im_start|>"]] + words("user\n") + [special["<|vision_start|>"]] +
            [special["<|image_pad|>"]] * image_tokens + [special["<|vision_end|>"]] + words(text) +
            [special["<|im_end|>"]] + words("\n") + [special["<|im_start|>"]] + words("assistant\n"))


def answer(model, processor, tokenizer, args, paths, tokens):
    images = [Image.open(path).convert("RGB") for path in paths]
    pictures = processor(images=images, return_tensors="pt")
    merge = processor.merge_size ** 2
    counts = [int(grid.prod()) // merge for grid in pictures["image_grid_thw"]]
    rows = [prompt_ids(tokenizer, count, args.prompt) for count in counts]
    if len({len(row) for row in rows}) != 1:
        sys.exit("frames of one batch must have one size")
    ids = torch.tensor(rows)
    pad = tokenizer.token_to_id("<|image_pad|>")
    given = dict(input_ids=ids, attention_mask=torch.ones_like(ids), image_grid_thw=pictures["image_grid_thw"],
                 pixel_values=pictures["pixel_values"].to(torch.bfloat16), mm_token_type_ids=(ids == pad).int())
    out = model.generate(**given, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, pad_token_id=0)
    return out.shape[0] * (out.shape[1] - ids.shape[1]), ids.shape[1]


def main():
    args = peer.parser(__doc__).parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    start = time.monotonic()
    model = transformers.AutoModelForImageTextToText.from_pretrained(args.model, dtype=torch.bfloat16).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(args.model)
    tokenizer = tokenizers.Tokenizer.from_file(args.model + "/tokenizer.json")
    generated = 0
    with torch.inference_mode():
        answer(model, processor, tokenizer, args, [args.warm], 4)
        opened = time.monotonic()
        for at in range(0, len(args.frames), args.batch):
            n, prompt = answer(model, processor, tokenizer, args, args.frames[at:at + args.batch], args.tokens)
            generated += n
    seconds = time.monotonic() - opened
    peer.tell(args, "transformers", transformers.__version__, f"torch {torch.__version__}, bfloat16", seconds, generated,
              prompt, seconds_open=round(opened - start, 2))


if __name__ == "__main__":
    main()
