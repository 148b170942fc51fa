#!/usr/bin/env python3
"""Makes of a checkpoint of tools/make_random_checkpoint.py a directory that other engines' converters accept.

    dress.py MODEL OUT

Weights and configuration are hard links to MODEL's (Ollama refuses symbolic ones), or copies. What MODEL lacks is written
beside them: a chat template, and the settings of tokenizer and video processor. Its vocabulary of single bytes is filled up to
the special tokens, because the tokenizers library numbers those on from it, whatever the file says; and it gets one merge,
because some converters refuse a byte-pair vocabulary without any. The fillers cannot be reached, and the merge is of two bytes
that no UTF-8 text has, so every text keeps its tokens. Python 3 standard library only.
"""

import json
import os
import pathlib
import shutil
import sys

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% else %}{{ '<|vision_start|><|image_pad|><|vision_end|>' }}{% endif %}"
    "{% endfor %}{% endif %}{{ '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def tokenizer_files(model):
    """tokenizer.json with a merge, and tokenizer_config.json."""
    tokenizer = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
    core = tokenizer["model"]
    first = min(token["id"] for token in tokenizer["added_tokens"])
    if not core["merges"] and len(core["vocab"]) < first:
        pair = [letter for letter, number in core["vocab"].items() if number in (186, 187)]
        core["vocab"]["".join(pair)] = len(core["vocab"])
        core["merges"] = [pair]
    core["vocab"].update((f"~{number}", number) for number in range(len(core["vocab"]), first))
    config = {
        "tokenizer_class": "Qwen2Tokenizer", "add_bos_token": False, "add_prefix_space": False, "bos_token": None,
        "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "unk_token": None, "errors": "replace",
        "model_max_length": 262144, "clean_up_tokenization_spaces": False, "split_special_tokens": False,
        "chat_template": TEMPLATE,
        "additional_special_tokens": [token["content"] for token in tokenizer["added_tokens"]],
        "added_tokens_decoder": {
            str(token["id"]): {key: value for key, value in token.items() if key != "id"} for token in tokenizer["added_tokens"]
        },
    }  # fmt: skip
    return tokenizer, config


def dress(model, out):
    model, out = pathlib.Path(model).resolve(), pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    for path in model.iterdir():
        link = out / path.name
        if link.exists():
            continue
        try:
            os.link(path, link)
        except OSError:
            shutil.copyfile(path, link)
    if (out / "tokenizer_config.json").exists():
        return out
    tokenizer, config = tokenizer_files(model)
    (out / "tokenizer.json").unlink()
    images = json.loads((model / "preprocessor_config.json").read_text(encoding="utf-8"))
    video = dict(images, video_processor_type="Qwen3VLVideoProcessor", size={"longest_edge": 25165824, "shortest_edge": 4096})
    video.pop("image_processor_type", None)
    files = {"tokenizer.json": tokenizer, "tokenizer_config.json": config, "video_preprocessor_config.json": video,
             "chat_template.json": {"chat_template": TEMPLATE}}  # fmt: skip
    for name, value in files.items():
        (out / name).write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return out


if __name__ == "__main__":
    dress(sys.argv[1], sys.argv[2])
