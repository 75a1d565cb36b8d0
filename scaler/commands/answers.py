"""The answers of people: the one place that waits for them, for all questions of `click`."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

_LONGEST = 4096
"""Bytes of an answer: a terminal takes no longer line."""


def take_answers() -> None:
    """Have `click.confirm` and `click.prompt` wait for their answers here."""
    click.termui.visible_prompt_func = answer_to


def answer_to(question: str) -> str:
    """Show a question and return the line that answers it. EOFError at the end of the input.

    A signal ends the wait at any moment. `input` would go on until the next line if the signal comes after
    the question is shown and before the read begins.
    """
    with _woken_by_signals() as woken:
        # `click` has directed it to where the question belongs.
        sys.stdout.write(question)
        sys.stdout.flush()
        try:
            answer = _read_line(sys.stdin.fileno(), woken)
        except (EOFError, KeyboardInterrupt):
            # What is said of it begins a line of its own.
            sys.stdout.write("\n")
            raise
    return answer.decode(sys.stdin.encoding or "utf-8", errors="replace")


@contextmanager
def _woken_by_signals() -> Iterator[int]:
    """Yield a descriptor that can be read as soon as a signal has come, before its handler is called."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)


def _read_line(source: int, woken: int) -> bytes:
    """Return a line without its end. What follows it stays for the next question."""
    line = b""
    while not line.endswith(b"\n") and len(line) < _LONGEST:
        if woken in select.select([source, woken], [], [])[0]:
            # Its handler has been called by now, and has raised nothing.
            os.read(woken, _LONGEST)
        elif byte := _read_byte(source):
            line += byte
        elif line:
            break
        else:
            raise EOFError
    return line.removesuffix(b"\n")


def _read_byte(source: int) -> bytes:
    """Return the next byte; nothing at the end, also that of a terminal which was closed."""
    try:
        return os.read(source, 1)
    except OSError:
        return b""
