"""What functions of the spec print: shown line by line on standard error, cleaned, with the function's name before it.

A document on standard output stays one document, and a CI system obeys none of their words.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

from scaler.support.text import LONGEST, one_line

_MOST_LINES = 100
"""Lines that are shown of one call."""

_said: ContextVar[io.StringIO | None] = ContextVar("said", default=None)
"""What the function that this thread runs has printed; None outside of functions."""


class _Divided:
    """A standard stream that keeps what functions print, and lets everything else through."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return (_said.get() or self._stream).write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(_said.get() or self._stream, name)


@contextmanager
def shown_aside(name: str) -> Iterator[None]:
    """Show what the block prints as words of `name`, when it ends. Other threads print as before."""
    for stream in ("stdout", "stderr"):
        if not isinstance(getattr(sys, stream), _Divided):
            setattr(sys, stream, _Divided(getattr(sys, stream)))
    token = _said.set(said := io.StringIO())
    try:
        yield
    finally:
        _said.reset(token)
        lines = said.getvalue().splitlines()
        more = [f"… and {len(lines) - _MOST_LINES} more lines"] if len(lines) > _MOST_LINES else []
        for line in (*lines[:_MOST_LINES], *more):
            sys.stderr.write(f"scaler: {name}: {one_line(line, LONGEST)}\n")
