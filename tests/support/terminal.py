"""A command at a terminal of a given size, and what a person sees there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from tests.support.project import Project

_NEW_LINE = re.compile(r"\r?\n|\r|\x1b\[\d*[AK]")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@contextmanager
def terminal(
    project: Project, *arguments: str, columns: int = 80, rows: int = 24, environ: Mapping[str, str] | None = None
) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A run at a terminal: its other end, and the process."""
    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environ = {"TERM": "xterm", **(environ or {})}
    try:
        process = project.start(*arguments, environ=environ, stdin=there, stdout=there, stderr=there)
        os.close(there)
        try:
            yield here, process
            process.wait(timeout=60)
        finally:
            # A test that fails leaves nothing running.
            process.kill()
    finally:
        os.close(here)


def read_until(here: int, wanted: str) -> str:
    """What the terminal shows, up to and including a text."""
    shown = ""
    while wanted not in shown:
        try:
            shown += os.read(here, 4096).decode(errors="replace")
        except OSError:
            pytest.fail(f"the run ended without {wanted!r}:\n{shown}")
    return shown


def read_to_end(here: int) -> str:
    """What the terminal shows until the run ends."""
    shown = b""
    while True:
        try:
            shown += os.read(here, 4096)
        except OSError:
            return shown.decode(errors="replace")


def lines_of(shown: str) -> list[str]:
    """The lines without colours and other controls; each redraw of a live view has its own."""
    return _CONTROL.sub("", _NEW_LINE.sub("\n", shown)).split("\n")


def shown_by(project: Project, *arguments: str, columns: int = 80, code: int = 0) -> list[str]:
    """The lines that a command shows which asks nothing."""
    with terminal(project, *arguments, columns=columns) as (here, process):
        shown = read_to_end(here)
    assert process.returncode == code, shown
    return lines_of(shown)
