"""A file lock beside the state file, so that one run at a time works on a stack on one machine."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from scaler.errors import LockedError, StateError
from scaler.support.clock import Clock, format_time
from scaler.support.documents import read_json
from scaler.support.files import FILE, failure_reason, make_folder, open_file
from scaler.support.text import LONGEST, one_line

if TYPE_CHECKING:
    from filelock import FileLock

_LARGEST_NOTE = 64 << 10
"""Bytes of the note of a lock's holder."""


@dataclass(frozen=True, slots=True)
class HeldLock:
    """A lock that is held, and can be released for a while."""

    acquire: Callable[[], None]
    release: Callable[[], None]

    @contextmanager
    def released(self) -> Iterator[None]:
        """Release the lock while the block runs. LockedError if it cannot be had again in time."""
        self.release()
        # Not in a `finally`: a run that ends in the block needs the lock no more.
        yield
        self.acquire()


class RunLock:
    """`<stack>.lock` in the state folder. The system releases it when its holder ends, even if it is killed."""

    def __init__(self, folder: Path, stack: str) -> None:
        self._folder = folder
        self._stack = stack
        self._path = folder / f"{stack}.lock"
        self._note = folder / f"{stack}.lock.json"
        """Who holds the lock, to show to a person who waits for it. A killed run leaves this file behind."""

    @contextmanager
    def held(self, cause: str, clock: Clock, *, within: timedelta, note: Callable[[str], None]) -> Iterator[HeldLock]:
        """Hold the lock while the block runs. LockedError if another run holds it for longer than `within`."""
        import filelock

        lock = filelock.FileLock(self._path, mode=FILE)
        held = HeldLock(
            acquire=lambda: self._acquire(lock, cause, clock, within, note), release=lambda: self._release(lock)
        )
        held.acquire()
        try:
            yield held
        finally:
            held.release()

    def _acquire(
        self, lock: FileLock, cause: str, clock: Clock, within: timedelta, note: Callable[[str], None]
    ) -> None:
        import filelock

        try:
            with self._writing():
                make_folder(self._folder)
                try:
                    lock.acquire(timeout=0)
                except filelock.Timeout:
                    note(f"waiting for {self.holder() or 'another run'}")
                    lock.acquire(timeout=within.total_seconds())
                with open(self._note, "w", encoding="utf-8", opener=open_file) as file:
                    file.write(_identity(cause, clock))
        except filelock.Timeout:
            raise LockedError(
                f"The stack {self._stack} is locked by another run on this machine.",
                why=self.holder() or "another run",
                fix="Wait for it to end, or raise --lock-timeout.",
            ) from None

    def _release(self, lock: FileLock) -> None:
        if lock.is_locked:
            self._note.unlink(missing_ok=True)
            lock.release()

    def holder(self) -> str | None:
        """Return who holds the lock, or held it and was killed; None if nobody did."""
        try:
            holder = read_json(self._note, _LARGEST_NOTE)
            text = f"`{holder['cause']}`, process {holder['pid']} on {holder['host']}, since {holder['since']}"
            return one_line(text, LONGEST)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            return "another run"

    def is_held(self) -> bool:
        """Return whether a living process holds the lock."""
        import filelock

        if not self._path.exists():
            return False
        lock = filelock.FileLock(self._path, mode=FILE)
        try:
            with self._writing():
                lock.acquire(timeout=0)
        except filelock.Timeout:
            return True
        lock.release()
        return False

    def forget(self) -> None:
        """Remove what a killed run left. The lock file stays, since another run may lock it at any moment."""
        with self._writing():
            self._note.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the lock although a run may hold it; that run goes on beside the next one."""
        self.forget()
        with self._writing():
            self._path.unlink(missing_ok=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """StateError if the lock's files cannot be changed, or are none."""
        import filelock

        try:
            yield
        except filelock.Timeout:
            raise
        except OSError as error:
            raise StateError(
                f"The state folder {self._folder} cannot be written.",
                why=failure_reason(error),
                fix="Make it writable, or name another with --state-dir.",
            ) from error


def _identity(cause: str, clock: Clock) -> str:
    return json.dumps(
        {"pid": os.getpid(), "host": socket.gethostname(), "since": format_time(clock.now()), "cause": cause}
    )
