"""A file lock beside the state file, so that one run at a time works on a stack on one machine."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from scaler.errors import LockedError, StateError
from scaler.records.json_fields import Fields
from scaler.records.lock_note import LockHolder
from scaler.support.clock import Clock, format_time, parse_time
from scaler.support.documents import read_json
from scaler.support.files import FILE, failure_reason, make_folder, open_file
from scaler.support.folders import user_name
from scaler.support.text import LONGEST, one_line
from scaler.support.time_limit import TimeLimit
from scaler.support.values import dataclass

if TYPE_CHECKING:
    from filelock import FileLock

_PAUSE_S = 0.05

_LARGEST_NOTE = 64 << 10
"""Bytes of the note of a lock's holder."""


@dataclass(frozen=True)
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

    def __init__(self, folder: Path, stack: str, limit: TimeLimit | None = None) -> None:
        """`limit` is the time of the run that waits for the lock; None: it has no end."""
        self._limit = limit or TimeLimit()
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

    @contextmanager
    def respected(self, clock: Clock, *, within: timedelta, note: Callable[[str], None]) -> Iterator[None]:
        """Keep other runs waiting while the block runs, and write nothing. LockedError as for `held`.

        Where no run ever made the lock's file there is none to wait for, and the next one does not wait.
        """
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            yield
            return
        except OSError as error:
            raise StateError(
                f"The lock {self._path} cannot be read.",
                why=failure_reason(error),
                fix="Make it readable for this user, or name another folder with --state-dir.",
            ) from error
        try:
            self._share(descriptor, clock, within, note)
            yield
        finally:
            os.close(descriptor)

    def _share(self, descriptor: int, clock: Clock, within: timedelta, note: Callable[[str], None]) -> None:
        until = clock.monotonic() + self._limit.cut(within.total_seconds())
        if not _shares(descriptor):
            note(f"waiting for {self.holder() or 'another run'}")
            while not _shares(descriptor):
                if clock.monotonic() >= until:
                    raise self._is_locked()
                clock.sleep(_PAUSE_S)

    def _is_locked(self) -> LockedError:
        return LockedError(
            f"The stack {self._stack} is locked by another run on this machine.",
            why=self.holder() or "another run",
            fix=f"Wait for it to end, or raise {'--timeout' if self._limit.is_over else '--lock-timeout'}.",
        )

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
                    lock.acquire(timeout=self._limit.cut(within.total_seconds()))
                with open(self._note, "w", encoding="utf-8", opener=open_file) as file:
                    file.write(_identity(cause, clock))
        except filelock.Timeout:
            raise self._is_locked() from None

    def _release(self, lock: FileLock) -> None:
        if lock.is_locked:
            self._note.unlink(missing_ok=True)
            lock.release()

    def holder(self) -> str | None:
        """Return who holds the lock, or held it and was killed; None if nobody did."""
        try:
            holder = self._read_note()
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            return "another run"
        text = f"`{holder.command}`, process {holder.pid} on {holder.host}, since {format_time(holder.since)}"
        return one_line(text, LONGEST)

    def _read_note(self) -> LockHolder:
        """Raises OSError, or ValueError for what is no note."""
        fields = Fields(read_json(self._note, _LARGEST_NOTE))
        return LockHolder(
            user=fields.optional_text("user"),
            host=fields.text("host"),
            pid=fields.whole_number("pid"),
            since=parse_time(fields.text("since")),
            command=fields.text("cause"),
        )

    def living_holder(self) -> LockHolder | None:
        """Return who holds the lock; None if nobody does, or it says nobody. Leaves no trace."""
        try:
            holder = self._read_note()
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except (OSError, ValueError):
            return None
        try:
            return None if _shares(descriptor) else holder
        finally:
            os.close(descriptor)

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
                fix="Remove that folder, which is in the place of a file of scaler's."
                if isinstance(error, IsADirectoryError)
                else "Make it writable, or name another with --state-dir.",
            ) from error


def _shares(descriptor: int) -> bool:
    """Take filelock's lock of a file for reading, which leaves no trace; return whether no run has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        # Where there are no such locks, there is none to wait for.
        return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True


def _identity(cause: str, clock: Clock) -> str:
    return json.dumps(
        {
            "pid": os.getpid(),
            "user": user_name(os.environ),
            "host": socket.gethostname(),
            "since": format_time(clock.now()),
            "cause": cause,
        }
    )
