"""The commands that a spec names, run as processes: they can neither outlast their time nor fill the memory."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

_WORDS_KEPT = 500
"""Characters of a command's last output that are kept."""


class CommandProcess:
    """A command in a session of its own, so that all it started ends with it.

    An argument list and never a shell: a server's name or address is only ever a part of an
    argument. Input and output are files, so that a command that reads nothing, writes megabytes or
    leaves children behind blocks nobody.
    """

    def __init__(self, words: Sequence[str], folder: Path, given: bytes = b"") -> None:
        """Start it in `folder`, with `given` on standard input; OSError or ValueError if it cannot be."""
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        try:
            with _file_of(given) as standard_input:
                self._process = subprocess.Popen(
                    words,
                    cwd=folder,
                    stdin=standard_input,
                    stdout=self._output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except BaseException:
            self._output.close()
            raise

    def ended(self) -> int | None:
        """Its exit code, or None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """Kill it and all that it started, if it still runs."""
        if self._process.poll() is None:
            # It can end by itself just now.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> str:
        """Kill it, if it still runs, and return its last words. To be called once."""
        self.kill()
        self._wait(1)
        with self._output as output:
            length = output.seek(0, os.SEEK_END)
            output.seek(max(0, length - 4 * _WORDS_KEPT))
            return _readable(output.read().decode(errors="replace"))

    def finish(self, within_s: float) -> str | None:
        """Wait for its end, or end it at its deadline; what was wrong, or None if it ended with 0."""
        code = self._wait(within_s)
        words = self.end()
        if code == 0:
            return None
        why = f"did not end within {within_s:g}s" if code is None else ended_with(code)
        return f"{why}: {words}" if words else why

    def _wait(self, seconds: float) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None


def run_command(words: Sequence[str], folder: Path, within_s: float) -> str | None:
    """Run a command to its end or its deadline; what was wrong, or None if it ended with 0."""
    try:
        process = CommandProcess(words, folder)
    except (OSError, ValueError) as error:
        return cannot_be_run(error)
    return process.finish(within_s)


def cannot_be_run(error: OSError | ValueError) -> str:
    """Why a command could not be started, as a predicate."""
    return f"cannot be run: {getattr(error, 'strerror', None) or error}"


def ended_with(code: int) -> str:
    """How a command failed, as a predicate."""
    return f"ended with {code}" if code >= 0 else f"was ended by signal {-code}"


def _file_of(content: bytes) -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.write(content)
    file.seek(0)
    return file


def _readable(text: str) -> str:
    """A text's end on one line, without what a terminal would obey."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= _WORDS_KEPT else f"…{line[-_WORDS_KEPT:]}"
