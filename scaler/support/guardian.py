"""Processes that must not outlive this one, whatever ends it: commands of the spec, the engine, policy packs.

Whoever starts one guards it until it has waited for it. A process of its own, the guardian, holds one end of a
pipe whose other end only this process has. So it learns of our end, also of one by SIGKILL, and kills what is left.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from scaler.support.sessions import isolated, kill_session, started

P = TypeVar("P", bound=subprocess.Popen[Any])

_END_WITHIN_S = 5.0
"""How long the end of this process waits for that of the guardian."""


class _Guardian:
    """The guardian of this process; it starts with the first process that is guarded."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._writer = -1
        self._left: dict[int, int | None] = {}
        """When each guarded process began."""
        self._is_over = False

    def start(self, begin: Callable[[], P], grace_s: float) -> P:
        # All under the lock: the end must not come between the start of a process and the note of it.
        with self._lock:
            if self._is_over:
                raise OSError(errno.ECANCELED, "scaler ends")
            self._start()
            process = begin()
            self._left[process.pid] = began = started(process.pid)
            self._tell(f"+ {process.pid} {began or 0} {grace_s:g}\n")
        return process

    def release(self, leader: int) -> None:
        with self._lock:
            self._left.pop(leader, None)
            self._tell(f"- {leader}\n")

    @property
    def guarded(self) -> frozenset[int]:
        with self._lock:
            return frozenset(self._left)

    def end(self) -> None:
        """End what is left at the end of this process: threads that nobody waits for started it."""
        # Without the lock if a program cannot be loaded, as from a file server that does not answer.
        held = self._lock.acquire(timeout=_END_WITHIN_S)
        self._is_over = True
        process, self._process = self._process, None
        for leader, began in tuple(self._left.items()):
            kill_session(leader, began)
        self._close()
        if held:
            self._lock.release()
        if process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_WITHIN_S)

    def forget(self) -> None:
        """After a fork, in the child: it is the parent's."""
        self._lock = threading.Lock()
        self._process = None
        self._left = {}
        self._close()

    def _start(self) -> None:
        if self._process:
            return
        reader, writer = os.pipe()
        try:
            self._process = subprocess.Popen(
                isolated("scaler.support.guardian_process"),
                cwd="/",
                stdin=reader,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            # Without room for one more process, only SIGKILL leaves something behind.
            os.close(writer)
            return
        finally:
            os.close(reader)
        # One that does not read holds nothing up.
        os.set_blocking(writer, False)
        self._writer = writer

    def _tell(self, line: str) -> None:
        if self._process:
            with contextlib.suppress(OSError):
                os.write(self._writer, line.encode())

    def _close(self) -> None:
        if self._writer >= 0:
            os.close(self._writer)
        self._writer = -1


_guardian = _Guardian()
atexit.register(_guardian.end)
os.register_at_fork(after_in_child=_guardian.forget)


def start_guarded(begin: Callable[[], P], grace_s: float = 0.0) -> P:
    """Start a process, which leads a session, with `begin`, and guard it until it is released.

    If this process ends before that, it is killed with all of its session. With `grace_s`, it is asked by SIGINT first
    and has so many seconds to end by itself. Raises what `begin` raises, and OSError at the very end of this process.
    """
    return _guardian.start(begin, grace_s)


def release(leader: int) -> None:
    """Say that a guarded process has ended, and was waited for."""
    _guardian.release(leader)


@contextmanager
def ended(process: subprocess.Popen[Any]) -> Iterator[None]:
    """When the block is left, end a guarded process with all that it has left behind in its session, and release it."""
    began = started(process.pid)
    try:
        yield
    finally:
        kill_session(process.pid, began)
        process.wait()
        release(process.pid)


def guarded() -> frozenset[int]:
    """Return the processes that are guarded now."""
    return _guardian.guarded
