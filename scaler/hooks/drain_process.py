"""Run one drain command until its end or its deadline, and write what came of it. A program of its own.

`scaler.hooks.drains` starts it with a JSON object on standard input: `words`, `directory`, `within_s`
and `end_within_s` (seconds), `file` (the drain's file) and `record` (its content so far). It outlives the
run that started it. It holds the lock `<file>.lock` for as long as it lives, and imports nothing but the
standard library, so that fifty of them are no burden.

Exit codes, told before it goes on in the background: 0 started, 3 another one drains this server.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from scaler.support.sessions import boot_id, kill_session, started

ANOTHER_DRAINS = 3

_OUTPUT_BYTES = 2000
"""How much of the command's last output is kept."""

_OWN_END_S = 1.0
"""How long to wait for a SIGTERM of its own, when the command was ended by one."""

_POLL_S = 0.2


def main() -> int:
    """Start what standard input says, and return in the parent process; the child process never returns."""
    job = json.load(sys.stdin)
    # Not through a link: others may write in the folder too.
    lock = os.open(f"{job['file']}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return ANOTHER_DRAINS
    if os.fork():
        # The child holds the lock: both share the open file.
        return 0
    os.setsid()
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    with contextlib.suppress(OSError):
        _drain(job)
    os._exit(0)


def _drain(job: dict[str, Any]) -> None:
    file, record = job["file"], job["record"]
    until = time.monotonic() + job["within_s"]
    try:
        process = subprocess.Popen(
            job["words"],
            cwd=job["directory"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        _write(file, {**record, "result": {"code": None, "why": f"cannot be run: {why}", "output": ""}})
        return
    signal.signal(signal.SIGTERM, lambda *_: _give_up(process.pid))
    try:
        # A text, as earlier versions wrote it.
        began = None if (tick := started(process.pid)) is None else str(tick)
        _write(file, {**record, "group": process.pid, "started": began, "boot": boot_id()})
    except OSError:
        # A full disk. Nobody would know of a command that goes on, and the next run would start a second one.
        _give_up(process.pid)
    code, output = _wait(process, until, job["end_within_s"])
    if code == -signal.SIGTERM:
        # A machine that shuts down ends both at once: that is no failure, and the next run repeats the drain.
        time.sleep(_OWN_END_S)
    why = None if code is not None else "deadline"
    _write(file, {**record, "result": {"code": code, "why": why, "output": output.decode(errors="replace")}})


def _wait(process: subprocess.Popen[bytes], until: float, end_within_s: float) -> tuple[int | None, bytes]:
    """Return the exit code, None if it had to be ended at its deadline, and its last output."""
    reader = process.stdout.fileno() if process.stdout else -1
    os.set_blocking(reader, False)
    output = b""
    while not (has_ended := _has_ended(process)) and (left := until - time.monotonic()) > 0:
        output = (output + _read(reader, min(_POLL_S, left)))[-_OUTPUT_BYTES:]
    if not has_ended:
        _end(process, end_within_s)
    # What it left behind in its session must not go on; nobody has waited for it yet, so the id is still its own.
    kill_session(process.pid, started(process.pid))
    code = process.wait()
    # No more than a pipe holds: a process that left the session may write on.
    for _ in range(16):
        output = (output + _read(reader, 0))[-_OUTPUT_BYTES:]
    return code if has_ended else None, output


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Return whether the command has ended, and leave it as a zombie: its id still names its session."""
    if not hasattr(os, "waitid"):
        # macOS, before Python 3.13.
        return process.poll() is not None
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _read(reader: int, within_s: float) -> bytes:
    """Return what there is to read after at most `within_s` seconds."""
    if not select.select([reader], [], [], within_s)[0]:
        return b""
    with contextlib.suppress(BlockingIOError):
        if chunk := os.read(reader, 65536):
            return chunk
        # All its output is closed, and it may still work.
        time.sleep(within_s)
    return b""


def _end(process: subprocess.Popen[bytes], within_s: float) -> None:
    """Ask the command to end, and wait for that."""
    _signal_group(process.pid, signal.SIGTERM)
    until = time.monotonic() + within_s
    while not _has_ended(process) and time.monotonic() < until:
        time.sleep(_POLL_S)


def _give_up(group: int) -> None:
    """End with the command and without a result: the next run repeats the drain."""
    kill_session(group, started(group))
    os._exit(143)


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _write(file: str, record: dict[str, Any]) -> None:
    """Replace the drain's file atomically."""
    temporary = f"{file}.{os.getpid()}.tmp"
    Path(temporary).unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(temporary, flags, 0o640), "w", encoding="utf-8") as stream:
        json.dump(record, stream)
        stream.flush()
        os.fsync(stream.fileno())
    Path(temporary).replace(file)
