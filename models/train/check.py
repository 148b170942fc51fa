"""Compares net.py with transformers on an exported directory: largest difference of the logits.

Usage: check.py MODEL_DIR
"""
import sys

import numpy as np
import torch
from PIL import Image
from transformers import AutoProcessor, Qwen3VLForConditionalGeneration

from net import Net, positions
from records import SINGLE, frame_label, many


def main(folder):
    hf = Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    proc = AutoProcessor.from_pretrained(folder)
    import json
    net = Net(json.load(open(folder + "/config.json"))).eval()
    state = {k[6:]: v for k, v in hf.state_dict().items() if k != "lm_head.weight"}
    net.load_state_dict(state)
    g = np.random.default_rng(0)
    for n in (1, 2):
        ims = [Image.fromarray(g.integers(0, 255, (224, 320, 3), dtype=np.uint8)) for _ in range(n)]
        content = [{"type": "image", "image": ims[0]}, {"type": "text", "text": SINGLE}] if n == 1 else [
            x for i, im in enumerate(ims) for x in ({"type": "text", "text": frame_label(i + 1, i * 10)}, {"type": "image", "image": im})
        ] + [{"type": "text", "text": many(n)}]
        inp = proc.apply_chat_template([{"role": "user", "content": content}], tokenize=True, add_generation_prompt=True,
                                       return_dict=True, return_tensors="pt")
        ids = inp["input_ids"]
        with torch.no_grad():
            want = hf(**inp).logits[0]
            image = torch.from_numpy(np.stack([np.asarray(i) for i in ims]))
            pos = positions(ids[0].tolist(), net.image_id, [(7, 10)] * n)[:, None]
            got = net.logits(net(image, ids, pos)[0])[0]
        print(n, "frames", ids.shape[1], "tokens; largest logit %.3f, largest difference %.2e" % (want.abs().max(), (want - got).abs().max()))
        print(repr(proc.tokenizer.decode(ids[0]).replace("<|image_pad|>", "")))


if __name__ == "__main__":
    main(sys.argv[1])
