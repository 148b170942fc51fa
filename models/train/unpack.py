"""Turns an exported directory back into a checkpoint for train.py --resume. Usage: unpack.py MODEL_DIR OUT.pt"""
import sys

import torch
from safetensors.torch import load_file


def main(folder, out):
    torch.save({"net": {k[6:]: v.float() for k, v in load_file(folder + "/model.safetensors").items()}}, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
