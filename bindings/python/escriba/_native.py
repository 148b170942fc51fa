"""escriba.h in ctypes: the structs in the header's order, the functions with their types. Tested against the library."""
from __future__ import annotations

import ctypes
import ctypes.util
import functools
import os
from ctypes import POINTER, Structure, c_char, c_char_p, c_double, c_float, c_int, c_int32, c_int64, c_size_t, c_ubyte, c_uint64
from ctypes import c_void_p

CANCELLED = 7  # ESCRIBA_ERR_CANCELLED

NoteFn = ctypes.CFUNCTYPE(None, c_void_p, c_char_p)


class Error(Structure):
    _fields_ = [("status", c_int), ("message", c_char * 512)]


class Options(Structure):
    pass


Options._fields_ = [("size", c_size_t), ("model", c_char_p), ("isa", c_char_p), ("threads", c_int32), ("batch", c_int32),
                    ("max_pixels", c_int64), ("context", c_int32), ("precision", c_char_p), ("backend", c_char_p),
                    ("endpoint", c_char_p), ("key", c_char_p), ("timeout", c_double), ("fallback", POINTER(Options)),
                    ("on_note", NoteFn), ("note_data", c_void_p), ("memory", c_int64), ("weight_cache", c_char_p),
                    ("idle_unload", c_double), ("keep_alive", c_char_p), ("think", c_char_p),
                    ("device", c_char_p), ("vision_cache", c_char_p), ("vision_cache_bytes", c_int64)]


class Request(Structure):
    _fields_ = [("size", c_size_t), ("prompt", c_char_p), ("max_tokens", c_int32), ("temperature", c_float),
                ("top_k", c_int32), ("top_p", c_float), ("min_p", c_float), ("repetition_penalty", c_float),
                ("seed", c_uint64), ("interleaved", c_int32), ("free_form", c_int)]


class Frame(Structure):
    _fields_ = [("path", c_char_p), ("rgb", POINTER(c_ubyte)), ("width", c_int32), ("height", c_int32),
                ("stride", c_size_t), ("timestamp", c_double)]


class Observation(Structure):
    _fields_ = [("index", c_size_t), ("timestamp", c_double), ("image_path", c_char_p), ("status", c_int),
                ("error", c_char_p), ("parsed", c_int), ("description", c_char_p), ("activity", c_char_p),
                ("app_count", c_size_t), ("topic_count", c_size_t), ("apps", POINTER(c_char_p)),
                ("topics", POINTER(c_char_p)), ("raw_text", c_char_p), ("truncated", c_int), ("prompt_tokens", c_int32),
                ("image_tokens", c_int32), ("generated_tokens", c_int32), ("seconds_decode_image", c_double),
                ("seconds_vision", c_double), ("seconds_prefill", c_double), ("seconds_generate", c_double),
                ("reason", c_char_p)]


ObservationFn = ctypes.CFUNCTYPE(c_int, c_void_p, POINTER(Observation))
ProgressFn = ctypes.CFUNCTYPE(None, c_void_p, c_size_t, c_size_t)
TextFn = ctypes.CFUNCTYPE(c_int, c_void_p, c_char_p)

FUNCTIONS = {
    "escriba_version": (c_char_p, []),
    "escriba_status_name": (c_char_p, [c_int]),
    "escriba_options_init": (None, [POINTER(Options)]),
    "escriba_request_init": (None, [POINTER(Request)]),
    "escriba_open": (c_int, [POINTER(c_void_p), POINTER(Options), POINTER(Error)]),
    "escriba_free": (None, [c_void_p]),
    "escriba_classify_frame": (c_int, [c_void_p, POINTER(Frame), POINTER(Request), POINTER(POINTER(Observation)),
                                       POINTER(Error)]),
    "escriba_observation_free": (None, [POINTER(Observation)]),
    "escriba_classify_frames": (c_int, [c_void_p, POINTER(Frame), c_size_t, POINTER(Request), ObservationFn, ProgressFn,
                                        c_void_p, POINTER(Error)]),
    "escriba_generate_text": (c_int, [c_void_p, POINTER(Request), TextFn, c_void_p, POINTER(c_void_p), POINTER(Error)]),
    "escriba_text_free": (None, [c_void_p]),
    "escriba_cancel": (None, [c_void_p]),
    "escriba_drain": (None, [c_void_p, c_size_t]),
}


def _load() -> ctypes.CDLL:
    here = os.path.dirname(os.path.abspath(__file__))
    tried = []
    for name in (os.environ.get("ESCRIBA_LIBRARY"), os.path.join(here, "libescriba.so.0"),
                 os.path.join(here, "libescriba.0.dylib"), ctypes.util.find_library("escriba"), "libescriba.so.0",
                 "libescriba.0.dylib"):
        if not name or (os.path.isabs(name) and not os.path.exists(name)):
            continue
        try:
            return ctypes.CDLL(name)
        except OSError as fault:
            tried.append(f"{name}: {fault}")
    raise ImportError("libescriba is not found: install it, or set ESCRIBA_LIBRARY to its path" +
                      "".join(f"\n  {line}" for line in tried))


@functools.lru_cache(maxsize=None)
def lib() -> ctypes.CDLL:
    """The library, loaded when first needed."""
    loaded = _load()
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded
