"""What a user was doing on screen, told by a local vision-language model: a thin binding of libescriba (ctypes).

    import escriba

    with escriba.Model("models/escriba-tiny") as model:
        for seen in model.classify(["shot1.png", "shot2.png"]):
            print(seen.index, seen.description if seen.ok else seen.error)

Needs no compiler and no package; the library is found through ESCRIBA_LIBRARY, beside this file, or where the system keeps
its libraries. A model answers one call at a time: calls from several threads wait for each other.
"""
from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import os
import queue
import threading
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple, Union

from . import _native as native

__all__ = ["Cancelled", "Error", "Frame", "Model", "Observation", "Timing", "version"]


class Error(Exception):
    """Something escriba could not do; `status` names the kind: "io", "format", "network"..."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = native.lib().escriba_status_name(status).decode()


class Cancelled(Error):
    """The call was asked to stop."""


@dataclass
class Frame:
    """A picture: a file, or pixels [height, width, 3] as anything that lends its bytes (bytes, memoryview, numpy)."""

    path: Optional[Union[str, "os.PathLike[str]"]] = None
    rgb: Any = None
    width: int = 0
    height: int = 0
    stride: int = 0  # bytes between rows; 0: width * 3
    timestamp: float = -1.0  # seconds; negative: unknown


@dataclass(frozen=True)
class Timing:
    """Seconds, this frame's share."""

    decode_image: float
    vision: float
    prefill: float
    generate: float


@dataclass(frozen=True)
class Observation:
    """What was seen in one frame; with `error` set, nothing was."""

    index: int
    timestamp: float
    path: Optional[str]
    error: Optional[str]
    parsed: bool
    description: str
    activity: str
    apps: List[str] = field(default_factory=list)
    topics: List[str] = field(default_factory=list)
    raw_text: str = ""
    truncated: bool = False
    prompt_tokens: int = 0
    image_tokens: int = 0
    generated_tokens: int = 0
    seconds: Timing = Timing(0, 0, 0, 0)
    reason: str = ""  # why there is no record, when there is none

    @property
    def ok(self) -> bool:
        return self.error is None


FrameLike = Union[Frame, str, "os.PathLike[str]"]


def version() -> str:
    return str(native.lib().escriba_version().decode())


def _text(value: Optional[bytes]) -> str:
    return (value or b"").decode("utf-8", "replace")


def _encode(value: Any) -> Any:
    return os.fsencode(value) if isinstance(value, (str, os.PathLike)) else value


def _check(status: int, error: native.Error) -> None:
    if status == 0:
        return
    kind = Cancelled if status == native.CANCELLED else Error
    raise kind(status, _text(error.message))


def _fill(struct: Any, values: Dict[str, Any]) -> None:
    names = {name for name, _ in struct._fields_} - {"size", "note_data"}
    for name, value in values.items():
        if name not in names:
            raise TypeError(f"escriba has no option {name!r}: it has {', '.join(sorted(names))}")
        if value is not None:
            setattr(struct, name, _encode(value))


def _observation(seen: native.Observation) -> Observation:
    return Observation(
        index=seen.index, timestamp=seen.timestamp,
        path=os.fsdecode(seen.image_path) if seen.image_path is not None else None,
        error=_text(seen.error) if seen.status != 0 else None, parsed=bool(seen.parsed),
        description=_text(seen.description), activity=_text(seen.activity),
        apps=[_text(seen.apps[i]) for i in range(seen.app_count)],
        topics=[_text(seen.topics[i]) for i in range(seen.topic_count)], raw_text=_text(seen.raw_text),
        truncated=bool(seen.truncated), prompt_tokens=seen.prompt_tokens, image_tokens=seen.image_tokens,
        generated_tokens=seen.generated_tokens,
        seconds=Timing(seen.seconds_decode_image, seen.seconds_vision, seen.seconds_prefill, seen.seconds_generate),
        reason=_text(seen.reason))


def _native_frames(frames: Sequence[FrameLike]) -> Tuple[Any, List[Any]]:
    """The frames as C sees them, and what must live as long."""
    out = (native.Frame * len(frames))()
    kept = []
    for i, frame in enumerate(frames):
        if not isinstance(frame, Frame):
            frame = Frame(path=frame)
        out[i].timestamp = frame.timestamp
        if frame.path is not None:
            out[i].path = _encode(frame.path)
            continue
        pixels = memoryview(frame.rgb if frame.rgb is not None else b"").cast("B")
        stride = frame.stride or frame.width * 3
        if frame.width < 1 or frame.height < 1 or pixels.nbytes < stride * (frame.height - 1) + frame.width * 3:
            raise ValueError(f"frame {i}: {pixels.nbytes} bytes are not {frame.width} x {frame.height} pixels")
        # ctypes borrows writable memory only: bytes and other read-only pixels are copied.
        block = (ctypes.c_ubyte * pixels.nbytes)
        lent = block.from_buffer_copy(pixels) if pixels.readonly else block.from_buffer(pixels)
        kept.append(lent)
        out[i].rgb = ctypes.cast(lent, ctypes.POINTER(ctypes.c_ubyte))
        out[i].width, out[i].height, out[i].stride = frame.width, frame.height, frame.stride
    return out, kept


class _Guard:
    """Runs a Python callback for C: an exception stops the call, and is raised again when it is over."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.raised: Optional[BaseException] = None

    def __call__(self, *args: Any) -> int:
        try:
            return 1 if self.function(*args) is False else 0
        except BaseException as fault:  # noqa: B902 - KeyboardInterrupt too: it must not get lost in C
            self.raised = fault
            return 1


class Model:
    """A model, or a server in its place. Options are those of escriba_options in escriba.h: backend="ollama",
    endpoint="http://...", threads=4, precision="fast", fallback={"backend": "ollama"}, on_note=print..."""

    def __init__(self, model: Optional[Union[str, "os.PathLike[str]"]] = None, *,
                 on_note: Optional[Callable[[str], Any]] = None, fallback: Optional[Dict[str, Any]] = None, **options: Any) -> None:
        self._model = ctypes.c_void_p()
        lib, how, error = native.lib(), native.Options(), native.Error()
        lib.escriba_options_init(ctypes.byref(how))
        if how.size != ctypes.sizeof(how):
            raise ImportError(f"this binding is not for libescriba {version()}: its options have {how.size} bytes")
        _fill(how, dict(options, model=model))
        if fallback is not None:
            other = native.Options()
            lib.escriba_options_init(ctypes.byref(other))
            _fill(other, fallback)
            how.fallback = ctypes.pointer(other)
        self._note = native.NoteFn(lambda _, line: self._say(on_note, line))
        if on_note is not None:
            how.on_note = self._note
        status = lib.escriba_open(ctypes.byref(self._model), ctypes.byref(how), ctypes.byref(error))
        _check(status, error)

    @staticmethod
    def _say(on_note: Optional[Callable[[str], Any]], line: bytes) -> None:
        if on_note is not None:
            with contextlib.suppress(Exception):  # there is nobody to tell: C cannot stop for a note
                on_note(_text(line))

    def close(self) -> None:
        if self._model:
            native.lib().escriba_free(self._model)
            self._model = ctypes.c_void_p()

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *unused: Any) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()

    def _open(self) -> ctypes.c_void_p:
        if not self._model:
            raise ValueError("the model is closed")
        return self._model

    @staticmethod
    def _request(options: Dict[str, Any]) -> native.Request:
        request = native.Request()
        native.lib().escriba_request_init(ctypes.byref(request))
        if request.size != ctypes.sizeof(request):
            raise ImportError(f"this binding is not for libescriba {version()}: its requests have {request.size} bytes")
        _fill(request, options)
        if options.get("prompt") is not None:
            request.prompt = options["prompt"].encode()
        return request

    def classify_frames(self, frames: Iterable[FrameLike], on_observation: Callable[[Observation], Any],
                        on_progress: Optional[Callable[[int, int], Any]] = None, **options: Any) -> None:
        """Calls on_observation for each frame as it is done; if that returns False or raises, the call stops. Options are
        those of escriba_request: prompt="...", max_tokens=200, interleaved=4..."""
        model, error = self._open(), native.Error()
        block, kept = _native_frames(list(frames))
        guard = _Guard(lambda _, seen: on_observation(_observation(seen.contents)))
        steps = _Guard(lambda _, done, total: on_progress(done, total) if on_progress else None)
        progress = native.ProgressFn(lambda *args: steps(*args) and None) if on_progress else native.ProgressFn()
        request = self._request(options)
        status = native.lib().escriba_classify_frames(model, block, len(block), ctypes.byref(request),
                                                      native.ObservationFn(guard), progress, None, ctypes.byref(error))
        del kept
        for raised in (guard.raised, steps.raised):
            if raised is not None:
                raise raised
        _check(status, error)

    def classify(self, frames: Iterable[FrameLike], **options: Any) -> Iterator[Observation]:
        """The frames' observations as they are done. Leaving the loop stops the work."""
        return self._stream(lambda put: self.classify_frames(frames, put, **options))

    def classify_frame(self, frame: FrameLike, **options: Any) -> Observation:
        """One frame; raises Error when it cannot be described."""
        model, error, seen = self._open(), native.Error(), ctypes.POINTER(native.Observation)()
        block, kept = _native_frames([frame])
        request = self._request(options)
        status = native.lib().escriba_classify_frame(model, block, ctypes.byref(request), ctypes.byref(seen),
                                                     ctypes.byref(error))
        del kept
        _check(status, error)
        try:
            return _observation(seen.contents)
        finally:
            native.lib().escriba_observation_free(seen)

    def generate(self, prompt: str, on_text: Optional[Callable[[str], Any]] = None, **options: Any) -> str:
        """Text from text; on_text gets it piece by piece."""
        model, error, text = self._open(), native.Error(), ctypes.c_void_p()
        guard = _Guard(lambda _, piece: on_text(_text(piece)) if on_text else None)
        request = self._request(dict(options, prompt=prompt))
        status = native.lib().escriba_generate_text(model, ctypes.byref(request),
                                                    native.TextFn(guard) if on_text else native.TextFn(), None,
                                                    ctypes.byref(text), ctypes.byref(error))
        whole = _text(ctypes.string_at(text)) if text else ""
        native.lib().escriba_text_free(text)
        if guard.raised is not None:
            raise guard.raised
        _check(status, error)
        return whole

    def stream(self, prompt: str, **options: Any) -> Iterator[str]:
        """Text from text, piece by piece. Leaving the loop stops the work."""
        return self._stream(lambda put: self.generate(prompt, put, **options))

    def cancel(self) -> None:
        """Asks the call in progress to stop soon, or the next one at once: it raises Cancelled. From any thread."""
        native.lib().escriba_cancel(self._open())

    def drain(self, endpoint: int = 0) -> None:
        """Of several servers, gives the one at this place of the list (from 1; 0: all) nothing new. From any thread."""
        native.lib().escriba_drain(self._open(), endpoint)

    def _stream(self, work: Callable[[Callable[[Any], Any]], Any]) -> Iterator[Any]:
        """What `work` puts, from a thread of its own, which is stopped when nobody listens any more."""
        items: "queue.Queue[Tuple[str, Any]]" = queue.Queue(maxsize=64)
        left = threading.Event()

        def put(item: Any) -> bool:
            while not left.is_set():
                with contextlib.suppress(queue.Full):
                    items.put(("item", item), timeout=0.1)
                    return True
            return False

        def run() -> None:
            try:
                work(put)
                end: Tuple[str, Any] = ("end", None)
            except BaseException as fault:  # noqa: B902 - raised again in the caller's thread
                end = ("raise", fault)
            while not left.is_set():
                with contextlib.suppress(queue.Full):
                    items.put(end, timeout=0.1)
                    return

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            while True:
                kind, item = items.get()
                if kind == "end":
                    return
                if kind == "raise":
                    raise item
                yield item
        finally:
            left.set()
            if thread.is_alive() and self._model:
                native.lib().escriba_cancel(self._model)
            thread.join()
            self._forget_cancel()

    def _forget_cancel(self) -> None:
        """A wish to stop that came when the call was over would stop the next one."""
        if self._model:
            empty, error = (native.Frame * 0)(), native.Error()
            native.lib().escriba_classify_frames(self._model, empty, 0, None, native.ObservationFn(lambda *_: 0),
                                                 native.ProgressFn(), None, ctypes.byref(error))
