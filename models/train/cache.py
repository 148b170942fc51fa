"""Runs the tower once over shards and keeps its output, so that the decoder can be trained alone, several times faster.

Usage: cache.py CHECKPOINT.pt OUT_DIR SHARD_DIR,SHARD_DIR MOST_SHARDS [RANK WORLD]
"""
import glob
import os
import sys

import numpy as np
import torch

from net import CONFIG, Vision


def main(checkpoint, out, folders, most, rank=0, world=1):
    torch.set_num_threads(1)
    os.makedirs(out, exist_ok=True)
    s = torch.load(checkpoint, weights_only=True)
    net = Vision(CONFIG["vision_config"])
    net.load_state_dict(s["visual"] if "visual" in s else {k[7:]: v for k, v in s["net"].items() if k.startswith("visual.")})
    net.to(torch.bfloat16).eval()
    names = [f for d in folders.split(",") for f in sorted(glob.glob(d + "/*.jsonl"))[:int(most)]]
    for f in names[int(rank)::int(world)]:
        im = np.load(f[:-6] + ".npy", mmap_mode="r")
        rows = []
        with torch.no_grad():
            for i in range(0, len(im), 4):
                merged, deep, _ = net(torch.from_numpy(im[i:i + 4].copy()))
                rows.append(torch.stack([merged] + deep, 1).view(torch.int16).numpy())
        path = os.path.join(out, os.path.basename(f)[:-6])
        np.save(path + ".tmp.npy", np.concatenate(rows))
        os.rename(path + ".tmp.npy", path + ".feat.npy")
        print(path, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
