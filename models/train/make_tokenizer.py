"""Trains the vocabulary on the prompts and on records, in the form of the published Qwen tokenizer.json.

Usage: make_tokenizer.py MODEL_DIR
"""
import json
import os
import random
import sys

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from records import KINDS, SINGLE, frame_label, line, many, record
from words import APPS, TOPICS

SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIAL = """<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|>
<|quad_start|> <|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|>""".split()
ADDED = """<tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|> <|file_sep|>
<tool_response> </tool_response> <think> </think>""".split()
SIZE = 832

CHAT = """{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.content is string %}
{{- message.content }}
{%- else %}
{%- for part in message.content %}
{%- if part.type == 'image' or 'image' in part %}
{{- '<|vision_start|><|image_pad|><|vision_end|>' }}
{%- elif 'text' in part %}
{{- part.text }}
{%- endif %}
{%- endfor %}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""


def corpus():
    r = random.Random(0)
    for _ in range(60):
        yield "user\n" + SINGLE
        yield "assistant\n"
        for n in range(2, 9):
            yield many(n)
            yield "Frame %d: description: " % n
        for i in range(1, 9):
            yield frame_label(i, r.randint(0, 3600))
    for kind in KINDS:
        for t in TOPICS:
            other = r.sample([x for x in TOPICS if x != t], 2)
            for tp in ([t], [t] + other, other + [t]):
                yield line(record(kind, tp, r.sample(APPS, 2)))
                yield "%s: " % t
        yield line(record(kind, []))


def train():
    tok = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix=""))
    tok.normalizer = normalizers.NFC()
    level = dict(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(SPLIT), "isolated"), pre_tokenizers.ByteLevel(**level)])
    tok.post_processor = processors.ByteLevel(**level)
    tok.decoder = decoders.ByteLevel(**level)
    tok.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=SIZE - len(SPECIAL) - len(ADDED), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tok.add_special_tokens(SPECIAL)
    tok.add_tokens(ADDED)
    return tok


def main(out):
    os.makedirs(out, exist_ok=True)
    tok = train()
    tok.save(out + "/tokenizer.json")
    saved = json.load(open(out + "/tokenizer.json"))
    ident = {t["content"]: t for t in saved["added_tokens"]}
    conf = {
        "add_bos_token": False, "add_prefix_space": False,
        "added_tokens_decoder": {str(t["id"]): {k: t[k] for k in ("content", "lstrip", "normalized", "rstrip", "single_word", "special")}
                                 for t in ident.values()},
        "additional_special_tokens": SPECIAL[1:], "bos_token": None, "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>", "errors": "replace", "model_max_length": 4096, "pad_token": "<|endoftext|>",
        "split_special_tokens": False, "tokenizer_class": "Qwen2Tokenizer", "unk_token": None, "chat_template": CHAT,
    }
    json.dump(conf, open(out + "/tokenizer_config.json", "w"), indent=2)
    json.dump({"chat_template": CHAT}, open(out + "/chat_template.json", "w"), indent=2)
    n = lambda s: len(tok.encode(s).ids)
    print("vocabulary", tok.get_vocab_size(), "prompt", n(SINGLE), "many", n(many(8)), "label", n(frame_label(3, 120)),
          "record", n(line(record("code", ["payments", "weather"]))))
    print(tok.encode(line(record("code", ["payments", "volcano"]))).tokens)


if __name__ == "__main__":
    main(sys.argv[1])
