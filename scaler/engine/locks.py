"""The engine's locks of a stack: who holds one, whether its owner is alive, removing it.

Source of the formats: pulumi's DIY backend (pkg/backend/diy/lock.go).
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from scaler.errors import StateError
from scaler.records.json_fields import Fields
from scaler.records.lock_note import LockHolder, LockNote
from scaler.records.store import EngineFiles
from scaler.support.clock import format_time, parse_time
from scaler.support.documents import parse_json, read_json
from scaler.support.files import failure_reason
from scaler.support.sessions import visible_processes
from scaler.support.text import LONGEST, one_line
from scaler.support.values import dataclass

_LARGEST_LOCK = 64 << 10
"""Bytes; the engine writes some hundred."""

_LAST_PID = 2**31 - 1


@dataclass(frozen=True)
class Lock:
    """A lock of the stack, and who holds it."""

    pid: int
    username: str
    hostname: str
    since: datetime
    path: Path | None = None
    """Where it lies, if it is a file here."""
    name: str = ""
    """Where it lies, if it is in a bucket or a database."""

    def notes_of(self, notes: Sequence[LockNote]) -> list[LockNote]:
        """Return those that are of this lock: more than one only where two machines' processes have one name."""
        return [note for note in notes if note.is_of(self.hostname, self.pid, self.since)]


def read_lock(path: Path) -> Lock | None:
    """Return a lock file's content; None if it vanished, is being written, or says nobody."""
    try:
        return _lock_of(read_json(path, _LARGEST_LOCK), path)
    except (OSError, ValueError):
        return None


def locks_of(files: EngineFiles, project: str, stack: str) -> dict[str, Lock | None]:
    """Return a stack's locks in a bucket or a database by their names there; None for one that says nobody.

    Raises StoreUnavailableError.
    """
    found: dict[str, Lock | None] = {}
    for name in files.names(f"locks/organization/{project}/{stack}"):
        try:
            stored = files.read(name)
            if stored is None:
                continue  # Released meanwhile.
            found[name] = _lock_of(parse_json(stored.content or b""), name=name)
        except ValueError:
            found[name] = None
    return found


def _lock_of(document: object, path: Path | None = None, name: str = "") -> Lock | None:
    """Return the lock that a document describes; None if it says nobody. ValueError if it has another form."""
    fields = Fields(document)
    pid = fields.whole_number("pid")
    if not 0 < pid <= _LAST_PID:
        return None
    since = parse_time(fields.text("timestamp"))
    return Lock(pid, fields.text("username"), fields.text("hostname"), since, path, name)


_LOCK_TEXT = re.compile(r"created by (?P<user>[^@\s]+)@(?P<host>\S+) \(pid (?P<pid>\d+)\) at (?P<time>\S+)")


def locks_in(message: str) -> list[Lock]:
    """Return the locks that the engine's error names, for backends whose locks are not files here."""
    found = []
    for lock in _LOCK_TEXT.finditer(message):
        # What is no time or no process id was put there by hand: the message itself is shown then.
        with suppress(ValueError):
            pid, since = int(lock["pid"][:20]), parse_time(lock["time"])
            if 0 < pid <= _LAST_PID:
                found.append(Lock(pid, lock["user"], lock["host"], since))
    return found


def is_stale(lock: Lock, notes: Sequence[LockNote] = ()) -> bool:
    """Return whether its owner is provably dead: it was on this host, and no such engine process exists.

    A process on another machine or in another container with the same host name looks dead too, unless its run has left
    one of the `notes`.
    """
    is_here = lock.hostname == socket.gethostname() and not _is_engine(lock.pid)
    return is_here and all(note.machine == visible_processes() for note in lock.notes_of(notes))


def is_stealable(lock: Lock, now: datetime, after: timedelta | None) -> bool:
    """Return whether another host's lock is older than the user says that any lock of a living run is."""
    return after is not None and lock.hostname != socket.gethostname() and now - lock.since >= after


def _is_engine(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        # `pid (comm) state …`; a zombie holds nothing, and stays where nobody reaps it.
        comm, _, rest = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")
        return "pulumi" in comm and not rest.startswith(" Z")
    except OSError:
        return True


def remove_lock(lock: Lock) -> None:
    """Remove a lock that is a file here. StateError if it cannot be removed."""
    if lock.path is None:
        return
    try:
        lock.path.unlink(missing_ok=True)
        lock.path.with_name(lock.path.name + ".attrs").unlink(missing_ok=True)
    except OSError as error:
        raise StateError(
            f"The engine's lock {lock.path} cannot be removed.",
            why=failure_reason(error),
            fix="Change its permissions, or remove it by hand.",
        ) from error


def holder_of(lock: Lock, notes: Sequence[LockNote]) -> LockHolder:
    """Return who holds a lock; one of the notes says what its run does, if it is of this lock."""
    command = next((note.command for note in lock.notes_of(notes)), None)
    return LockHolder(user=lock.username, host=lock.hostname, pid=lock.pid, since=lock.since, command=command)


def describe(lock: Lock) -> str:
    """Return who holds a lock and since when, for people."""
    return one_line(f"{lock.username}@{lock.hostname}, process {lock.pid}, since {format_time(lock.since)}", LONGEST)
