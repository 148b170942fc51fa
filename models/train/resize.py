"""The reference processor's picture size (smart resize) and its antialiased bicubic, on a PIL image."""
import math

import numpy as np
from PIL import Image

from export import MAX_PIXELS, MIN_PIXELS


def smart_size(w, h, factor=32):
    hb, wb = round(h / factor) * factor, round(w / factor) * factor
    if hb * wb > MAX_PIXELS:
        beta = math.sqrt(h * w / MAX_PIXELS)
        hb, wb = max(factor, math.floor(h / beta / factor) * factor), max(factor, math.floor(w / beta / factor) * factor)
    elif hb * wb < MIN_PIXELS:
        beta = math.sqrt(MIN_PIXELS / (h * w))
        hb, wb = math.ceil(h * beta / factor) * factor, math.ceil(w * beta / factor) * factor
    return wb, hb


def fit(im):
    return np.asarray(im.resize(smart_size(*im.size), Image.BICUBIC), dtype=np.uint8)
