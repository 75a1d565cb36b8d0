"""One run at a time on one machine: a file lock beside the state file, and who holds it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from scaler.errors import LockedError, StateError
from scaler.support.clock import Clock, format_time
from scaler.support.files import FILE, make_folder, open_file


class RunLock:
    """`<stack>.lock` in the state folder. The system frees it when its holder ends, however it ends."""

    def __init__(self, folder: Path, stack: str) -> None:
        self._folder = folder
        self._stack = stack
        self._path = folder / f"{stack}.lock"
        self._note = folder / f"{stack}.lock.json"
        """Who holds it: what a person who waits is told. A killed run leaves it behind."""

    @contextmanager
    def held(self, cause: str, clock: Clock, *, within: timedelta, note: Callable[[str], None]) -> Iterator[None]:
        """Hold the lock while the block runs; LockedError when another run holds it for longer than `within`."""
        import filelock

        lock = filelock.FileLock(self._path, mode=FILE)
        try:
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
        except OSError as error:
            raise StateError(
                f"The state folder {self._folder} cannot be written.",
                why=error.strerror or str(error),
                fix="Make it writable, or name another with --state-dir.",
            ) from error
        try:
            yield
        finally:
            self._note.unlink(missing_ok=True)
            lock.release()

    def holder(self) -> str | None:
        """Who holds it, or held it and was killed, as far as it told; None if nobody did."""
        try:
            told = json.loads(self._note.read_text(encoding="utf-8"))
            return f"`{told['cause']}`, process {told['pid']} on {told['host']}, since {told['since']}"
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            return "another run"

    def is_held(self) -> bool:
        """Whether a living process holds it right now."""
        import filelock

        if not self._path.exists():
            return False
        lock = filelock.FileLock(self._path, mode=FILE)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            return True
        lock.release()
        return False

    def forget(self) -> None:
        """Remove what a killed run left; the file itself may be locked anew at any moment, and stays."""
        self._note.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove it from under its holder, who goes on beside the next run."""
        self.forget()
        self._path.unlink(missing_ok=True)


def _identity(cause: str, clock: Clock) -> str:
    return json.dumps(
        {"pid": os.getpid(), "host": socket.gethostname(), "since": format_time(clock.now()), "cause": cause}
    )
