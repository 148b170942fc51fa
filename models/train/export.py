"""Writes a Hugging Face directory: config, bf16 weights, picture size. The tokenizer is make_tokenizer.py's.

Usage: export.py CHECKPOINT.pt MODEL_DIR   (CHECKPOINT "-": random weights)
"""
import copy
import json
import os
import sys

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from net import CONFIG, Net

MAX_PIXELS, MIN_PIXELS = 245760, 16384  # 640 x 352 for a 16:9 screen


def config(folder):
    """CONFIG with the ids of the vocabulary in the folder."""
    tok = Tokenizer.from_file(folder + "/tokenizer.json")
    ident = tok.token_to_id
    c = copy.deepcopy(CONFIG)
    c["text_config"].update(vocab_size=tok.get_vocab_size(), bos_token_id=ident("<|endoftext|>"), eos_token_id=ident("<|im_end|>"))
    c.update(image_token_id=ident("<|image_pad|>"), video_token_id=ident("<|video_pad|>"),
             vision_start_token_id=ident("<|vision_start|>"), vision_end_token_id=ident("<|vision_end|>"))
    return c


def write(net, folder):
    c = net.config
    put = lambda name, obj: json.dump(obj, open(os.path.join(folder, name), "w"), indent=2)
    put("config.json", c)
    put("generation_config.json", {"bos_token_id": c["text_config"]["bos_token_id"], "pad_token_id": c["text_config"]["bos_token_id"],
                                   "eos_token_id": [c["text_config"]["eos_token_id"], c["text_config"]["bos_token_id"]], "do_sample": False})
    put("preprocessor_config.json", {
        "size": {"longest_edge": MAX_PIXELS, "shortest_edge": MIN_PIXELS}, "patch_size": 16, "temporal_patch_size": 2, "merge_size": 2,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "processor_class": "Qwen3VLProcessor",
        "image_processor_type": "Qwen2VLImageProcessorFast"})
    tensors = {"model." + k: v.detach().to(torch.bfloat16).contiguous().clone() for k, v in net.state_dict().items()}
    tmp = os.path.join(folder, ".model.safetensors.tmp")
    save_file(tensors, tmp, metadata={"format": "pt"})
    os.rename(tmp, os.path.join(folder, "model.safetensors"))


def main(checkpoint, folder):
    net = Net(config(folder))
    if checkpoint != "-":
        net.load_state_dict(torch.load(checkpoint, weights_only=True)["net"])
    write(net, folder)
    print("parameters", sum(p.numel() for p in net.parameters()))


if __name__ == "__main__":
    main(*sys.argv[1:])
