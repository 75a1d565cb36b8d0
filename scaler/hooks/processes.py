"""Run the commands that a spec names, each with a time limit and with bounded output."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

_OUTPUT_LENGTH = 500
"""How many characters of a command's last output are reported."""


class CommandProcess:
    """A command in a session of its own, so that its child processes can be killed with it.

    It is an argument list and never a shell's text, so that a server's name or address cannot
    become a command. Input and output are files, since a pipe would block when a command reads
    nothing, writes megabytes or leaves children behind.
    """

    def __init__(self, words: Sequence[str], folder: Path, given: bytes = b"") -> None:
        """Start it in `folder` with `given` on standard input. Raises OSError or ValueError if it cannot start."""
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        try:
            with _temporary_file(given) as standard_input:
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
        """Return its exit code, or None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """Kill it and its child processes, if it still runs."""
        if self._process.poll() is None:
            # It may have ended since the poll.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> str:
        """Kill it, if it still runs, and return its last output on one line. Call this once."""
        self.kill()
        self._wait(1)
        with self._output as output:
            length = output.seek(0, os.SEEK_END)
            output.seek(max(0, length - 4 * _OUTPUT_LENGTH))
            return _one_line(output.read().decode(errors="replace"))

    def finish(self, within_s: float) -> str | None:
        """Wait for its end and kill it after `within_s` seconds; return what went wrong, None if it ended with 0."""
        code = self._wait(within_s)
        output = self.end()
        if code == 0:
            return None
        problem = f"did not end within {within_s:g}s" if code is None else ended_with(code)
        return f"{problem}: {output}" if output else problem

    def _wait(self, seconds: float) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None


def run_command(words: Sequence[str], folder: Path, within_s: float) -> str | None:
    """Run a command and kill it after `within_s` seconds; return what went wrong, None if it ended with 0."""
    try:
        process = CommandProcess(words, folder)
    except (OSError, ValueError) as error:
        return cannot_be_run(error)
    return process.finish(within_s)


def cannot_be_run(error: OSError | ValueError) -> str:
    """Say why a command could not be started, as a predicate: `cannot be run: …`."""
    return f"cannot be run: {getattr(error, 'strerror', None) or error}"


def ended_with(code: int) -> str:
    """Say how a command failed, as a predicate: `ended with 3`."""
    return f"ended with {code}" if code >= 0 else f"was ended by signal {-code}"


def _temporary_file(content: bytes) -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.write(content)
    file.seek(0)
    return file


def _one_line(text: str) -> str:
    """Return the end of a text on one line, without control characters, which a terminal would obey."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= _OUTPUT_LENGTH else f"…{line[-_OUTPUT_LENGTH:]}"
