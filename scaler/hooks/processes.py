"""Run the commands that a spec names, each with a time limit, with bounded output, and with nothing left behind."""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from scaler.hooks.missing import missed_variables
from scaler.support.environment import CommandEnvironment
from scaler.support.guardian import release, start_guarded
from scaler.support.sessions import kill_session, started
from scaler.support.text import last_line_of
from scaler.support.values import dataclass

OUTPUT_LENGTH = 500
"""How many characters of a command's last output are reported."""

_TAIL = 4 * 1024
"""Bytes of a stream that are kept where only its end is reported."""

_CHUNK = 64 * 1024

_LOOK_S = 0.05
"""The end of a command, and the end of interest in its output, are noticed within this time."""


class _Output:
    """What a command writes to one pipe, read by a thread so that the command never waits for us.

    It is a pipe and no file: a command that writes without end fills neither a disk nor the memory.
    """

    def __init__(self, *, largest: int, keep_end: bool) -> None:
        """Keep at most `largest` bytes: the last ones, or the first ones and `too_long`."""
        self.too_long = False
        """Whether the command wrote more than is kept."""
        self._largest = largest
        self._keep_end = keep_end
        self._kept = bytearray()
        self._stopped = threading.Event()
        self._reader, self.writer = os.pipe()
        self._thread = threading.Thread(target=self._read, name="output", daemon=True)

    def begin(self) -> None:
        """Start to read, once the command has the writing end."""
        os.close(self.writer)
        os.set_blocking(self._reader, False)
        self._thread.start()

    def abandon(self) -> None:
        """Close both ends: the command could not be started."""
        os.close(self.writer)
        os.close(self._reader)

    def end(self) -> bytes:
        """Return what the command wrote until now. A child that still has the pipe is not waited for."""
        self._stopped.set()
        self._thread.join()
        return bytes(self._kept)

    def _read(self) -> None:
        left = 4 * _CHUNK  # What a pipe can hold after the command's end, at most: a child may go on writing.
        while left > 0:
            stopped = self._stopped.is_set()
            if not select.select([self._reader], [], [], 0 if stopped else _LOOK_S)[0]:
                if stopped:
                    break
                continue
            chunk = os.read(self._reader, _CHUNK)
            if not chunk:
                break
            left -= len(chunk) if stopped else 0
            self._keep(chunk)
        os.close(self._reader)

    def _keep(self, chunk: bytes) -> None:
        self.too_long = self.too_long or len(self._kept) + len(chunk) > self._largest
        if self._keep_end:
            self._kept += chunk
            del self._kept[: -self._largest]
        else:
            self._kept += chunk[: max(0, self._largest - len(self._kept))]


class CommandProcess:
    """A command in a session of its own, so that its child processes can be killed with it.

    It is an argument list and never a shell's text, so that a server's name or address cannot
    become a command. Its input is a file, since a pipe would block when a command reads nothing.
    When it has ended, what it left running in its session is killed.
    """

    def __init__(
        self, words: Sequence[str], folder: Path, given: bytes = b"", *, environ: CommandEnvironment | None = None
    ) -> None:
        """Start it in `folder` with `given` on standard input. Raises OSError or ValueError if it cannot start.

        `environ` None: what any command gets of this process's environment.
        """
        self._words, self._folder = words, folder
        self._environ = environ or CommandEnvironment.of(os.environ)
        self._output = _Output(largest=_TAIL, keep_end=True)
        self._process = _start(words, folder, self._environ, self._output, self._output, given)

    def ended(self) -> int | None:
        """Return its exit code, or None while it runs."""
        return _code_of(self._process)

    def kill(self) -> None:
        """Kill it and its child processes, if it still runs."""
        if self.ended() is None:
            _kill_session(self._process)

    def end(self) -> str:
        """Kill it, if it still runs, and return its last output on one line. Call this once."""
        self.kill()
        self._wait(1)
        return last_line_of(self._output.end().decode(errors="replace"), OUTPUT_LENGTH)

    def finish(self, within_s: float) -> str | None:
        """Wait for its end and kill it after `within_s` seconds; return what went wrong, None if it ended with 0."""
        try:
            code = self._wait(within_s)
        finally:
            output = self.end()
        if code == 0:
            return None
        problem = f"did not end within {within_s:g}s" if code is None else ended_with(code)
        return failure_of(problem, output, self._words, self._folder, self._environ)

    def _wait(self, seconds: float) -> int | None:
        return _wait(self._process, seconds)


@dataclass(frozen=True)
class CommandResult:
    """What came of a command that was asked for something."""

    code: int | None
    """Its exit code; None: it took too long and was killed."""
    output: bytes
    """Its standard output, or the beginning of it."""
    too_long: bool
    """Whether it wrote more than was wanted."""
    errors: bytes
    """The end of its standard error."""


def ask_command(
    words: Sequence[str], folder: Path, within_s: float, *, largest: int, environ: CommandEnvironment | None = None
) -> CommandResult:
    """Run a command and return its standard output, at most `largest` bytes of it.

    It is killed after `within_s` seconds, or as soon as it has written more. Raises OSError or
    ValueError if it cannot be started.
    """
    output, errors = _Output(largest=largest, keep_end=False), _Output(largest=_TAIL, keep_end=True)
    process = _start(words, folder, environ or CommandEnvironment.of(os.environ), output, errors)
    until = time.monotonic() + within_s
    code = None
    try:
        while code is None and not output.too_long and (left := until - time.monotonic()) > 0:
            code = _wait(process, min(left, _LOOK_S))
    finally:
        if code is None:
            _kill_session(process)
            _wait(process, 1)
    printed = output.end()
    return CommandResult(code, printed, output.too_long, errors.end())


def run_command(
    words: Sequence[str], folder: Path, within_s: float, *, environ: CommandEnvironment | None = None
) -> str | None:
    """Run a command and kill it after `within_s` seconds; return what went wrong, None if it ended with 0."""
    try:
        process = CommandProcess(words, folder, environ=environ)
    except (OSError, ValueError) as error:
        return cannot_be_run(error)
    return process.finish(within_s)


def cannot_be_run(error: OSError | ValueError) -> str:
    """Say why a command could not be started, as a predicate: `cannot be run: …`."""
    return f"cannot be run: {getattr(error, 'strerror', None) or error}"


def ended_with(code: int) -> str:
    """Say how a command failed, as a predicate: `ended with 3`."""
    return f"ended with {code}" if code >= 0 else f"was ended by signal {-code}"


def failure_of(problem: str, output: str, words: Sequence[str], folder: Path, environ: CommandEnvironment) -> str:
    """Return what went wrong with a command, with what it may have missed and its last output."""
    if missed := missed_variables(words, folder, environ):
        problem += f", without {', '.join(missed)} (`env` of the spec hands variables over)"
    return f"{problem}: {output}" if output else problem


def _start(
    words: Sequence[str],
    folder: Path,
    environ: CommandEnvironment,
    output: _Output,
    errors: _Output,
    given: bytes = b"",
) -> subprocess.Popen[bytes]:
    streams = list(dict.fromkeys((output, errors)))
    try:
        with _input(given) as standard_input:
            process = start_guarded(
                lambda: subprocess.Popen(
                    words,
                    cwd=folder,
                    env=dict(environ.given),
                    stdin=standard_input,
                    stdout=output.writer,
                    stderr=errors.writer,
                    start_new_session=True,
                )
            )
    except BaseException:
        for stream in streams:
            stream.abandon()
        raise
    for stream in streams:
        stream.begin()
    return process


def _input(given: bytes) -> IO[bytes]:
    """Open the standard input of a command. Without content it is no file, so that a full disk stops nothing."""
    if not given:
        return Path(os.devnull).open("rb")
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.write(given)
    file.seek(0)
    return file


def _code_of(process: subprocess.Popen[bytes]) -> int | None:
    """Return the exit code of a command, None while it runs; kill what it left behind before its id can be reused."""
    if not hasattr(os, "waitid"):
        # macOS, before Python 3.13: the id may be reused in the moment between these two lines.
        if process.returncode is None and process.poll() is not None:
            _kill_session(process)
            release(process.pid)
        return process.returncode
    if process.returncode is None and _has_ended(process.pid):
        _kill_session(process)
        release(process.pid)
        return process.wait()
    return process.returncode


def _has_ended(pid: int) -> bool:
    """Return whether a child process has ended, and leave it as a zombie: its id still names its session."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True  # Somebody else has waited for it.


def _wait(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Wait for the end of a command; return its exit code, None if it still runs after so long."""
    until, pause = time.monotonic() + seconds, 0.001
    while (code := _code_of(process)) is None and (left := until - time.monotonic()) > 0:
        time.sleep(min(pause, left))
        pause = min(2 * pause, _LOOK_S)
    return code


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    kill_session(process.pid, started(process.pid))
