"""The standard streams of the process, made so that nothing that happens to them ends a run.

A container may start with a closed standard input, a disk may be full, a pipe's reader may be gone,
a terminal may be closed, a stream may be non-blocking or know few characters.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO, TypeVar, cast

from scaler.commands.failure import as_text
from scaler.commands.printing import print_note
from scaler.errors import ExitCode, ScalerError

T = TypeVar("T")


class _Output:
    """A text stream that drops what it cannot write, and keeps the first reason.

    It wraps the stream and not its descriptor: a signal that arrives in a write of Python code would
    have the same text written twice.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.failure: OSError | None = None
        self.reported = False

    def write(self, text: str) -> int:
        return self._try(lambda: self._stream.write(text), len(text))

    def flush(self) -> None:
        self._try(self._stream.flush, None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _try(self, operation: Callable[[], T], otherwise: T) -> T:
        if self.failure is None:
            try:
                return operation()
            except OSError as error:
                self.failure = error
                # What is buffered goes nowhere: the flush at the process's end would fail again.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        return otherwise


def prepare_streams() -> None:
    """Give the process its three streams, whatever it was started with. Call this once, before anything opens a file.

    A descriptor that is closed is opened to nowhere: otherwise the next file or socket would get its number.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdin is None:
        sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115 - it lives as long as the process
    sys.stdout = _robust(sys.stdout, 1, "replace")
    sys.stderr = _robust(sys.stderr, 2, "backslashreplace")


def lost_result() -> OSError | None:
    """Return why something that was just printed is lost; None if nothing is, or if that was returned before."""
    sys.stdout.flush()
    output: object = sys.stdout
    if not isinstance(output, _Output) or output.reported:
        return None
    output.reported = output.failure is not None
    return output.failure


def is_unread(lost: OSError) -> bool:
    """Return whether the reader has gone away, as `head` does: nobody wants to be told."""
    return lost.errno == errno.EPIPE


def settled(code: int) -> int:
    """Return the exit code of a command that would have ended with `code`: 1 if what it was to print is lost."""
    lost = lost_result()
    if lost is None:
        return code
    if not is_unread(lost):
        error = ScalerError(
            "The output could not be written.",
            why=f"standard output: {lost.strerror}",
            fix="Free disk space, or write it to another place.",
            code="output_lost",
        )
        print_note(as_text(error))
    return code or ExitCode.ERROR


def _robust(stream: TextIO | None, descriptor: int, errors: str) -> TextIO:
    """Return a text stream that never raises; `stream` is None if the descriptor was closed."""
    if stream is None:
        stream = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - it lives as long as the process
    # Another process that shares it may have made it non-blocking: a write would then fail if its reader is slow.
    os.set_blocking(descriptor, True)
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors=errors)
    return cast(TextIO, _Output(stream))
