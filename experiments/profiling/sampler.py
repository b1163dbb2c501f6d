"""A sampling profiler of one thread: what stood on its stack, and for how long.

Another thread looks every few milliseconds. A call into compiled code that keeps the interpreter's lock
delays the look until it returns, so each look counts the time since the one before, not one interval: long
calls weigh what they took, on the line that made them.
"""

from __future__ import annotations

import linecache
import os
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import FrameType, TracebackType

INTERVAL_S = 0.005
_ROOT = f"{Path(__file__).resolve().parents[2]}{os.sep}"
# Python imports through several functions a module, and torch calls a module through two: depth without news.
_PLUMBING = {(name, "torch/nn/modules/module.py") for name in ("_wrapped_call_impl", "_call_impl")}
_PLUMBING_FILES = ("<frozen importlib", "importlib/")
_COMPILER = "(numba/core/"
COMPILING = "compiling (numba)"

Stack = tuple[str, ...]
"""Frames from the outermost to the innermost, ``function (file)``; the last names the line of source."""


class Sampler:
    """Samples the thread that enters it, below the function that enters it, until it is left.

    Attributes:
        seconds: Wall time by stack.
        looks: How often the stack was looked at.

    Args:
        interval_s: Time between two looks.
    """

    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        self.seconds: dict[Stack, float] = defaultdict(float)
        self.looks = 0
        self._interval_s = interval_s
        self._over = threading.Event()
        self._names: dict[tuple[str, str], str] = {}

    def __enter__(self) -> Sampler:
        self._root = sys._getframe(1)
        self._thread = threading.Thread(
            target=self._run, args=(threading.get_ident(),), name="sampler", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        del self._root

    def _run(self, thread: int) -> None:
        before = time.perf_counter()
        while not self._over.wait(self._interval_s):
            frame = sys._current_frames().get(thread)
            now = time.perf_counter()
            if frame is not None:
                self.seconds[self._stack(frame)] += now - before
                self.looks += 1
            before = now

    def _stack(self, frame: FrameType) -> Stack:
        code, line = frame.f_code, frame.f_lineno or 0  # between two lines there is none
        source = linecache.getline(code.co_filename, line).strip()
        stack = [f"{source[:100]} (line {line})"] if source else []
        below: FrameType | None = frame
        while below is not None and below is not self._root:
            name = self._name(below.f_code.co_qualname, below.f_code.co_filename)
            if name:
                stack.append(name)
            below = below.f_back
        stack.reverse()
        # What the compiler does inside is not ours to change; that it compiles is.
        inside = next((place for place, name in enumerate(stack) if _COMPILER in name), len(stack))
        return (*stack[:inside], COMPILING) if inside < len(stack) else tuple(stack)

    def _name(self, function: str, file: str) -> str:
        """``function (file)`` with the file's path in its package; empty for plumbing."""
        key = (function, file)
        if key not in self._names:
            path = short_path(file)
            plumbing = (function.rpartition(".")[2], path) in _PLUMBING or path.startswith(_PLUMBING_FILES)
            self._names[key] = "" if plumbing else f"{function} ({path})"
        return self._names[key]


def short_path(file: str) -> str:
    """The path of a source file inside its package, such as ``policies/training.py``."""
    if file.startswith(_ROOT) and "site-packages" not in file:
        return file.removeprefix(_ROOT)
    for folder in ("site-packages/", f"python{sys.version_info.major}.{sys.version_info.minor}/"):
        if folder in file:
            return file.rpartition(folder)[2]
    return Path(file).name
