"""Who holds the lock of a stack, and the note beside the engine's state of what that run does.

The engine's own lock names a user, a host, a process and a time, but no command. So who has it writes a note beside
it, for whoever waits on another machine. A note is never removed: it says something only while the engine's
lock is there that it names, and a run that is killed could not remove it.
"""

from __future__ import annotations

import json
import secrets
from datetime import datetime, timedelta

from scaler.errors import ScalerError
from scaler.records.json_fields import Fields
from scaler.records.store import ConflictError, DocumentStore, save
from scaler.support.clock import format_time, parse_time
from scaler.support.documents import parse_json
from scaler.support.durations import format_duration
from scaler.support.text import LONGEST, one_line
from scaler.support.values import dataclass

DOCUMENT = "lock.json"

_ROUNDED = timedelta(seconds=1)
"""A note is written after its lock, but only the lock's time may have fractions of a second."""


@dataclass(frozen=True, kw_only=True)
class LockHolder:
    """Who holds a lock of a stack."""

    user: str | None
    host: str
    pid: int
    since: datetime
    command: str | None = None
    """What it runs; None: not known."""

    def words(self, now: datetime) -> str:
        """Return all of this on one line, for people."""
        who = f"{self.user}@{self.host}" if self.user else self.host
        age = format_duration(max(now - self.since, timedelta(0)))
        what = f": `{self.command}`" if self.command else ""
        return one_line(f"{who}, process {self.pid}, since {format_time(self.since)}, for {age}{what}", LONGEST)


@dataclass(frozen=True, kw_only=True)
class LockNote:
    """What the run does whose engine got the lock."""

    host: str
    pid: int
    """Of the engine."""
    since: datetime
    command: str

    def is_of(self, host: str, pid: int, since: datetime) -> bool:
        """Return whether this is of the lock that this process has since then, and not of an earlier one."""
        return (self.host, self.pid) == (host, pid) and since <= self.since + _ROUNDED


class LockNotes:
    """The note of one stack; each run that gets the lock replaces it."""

    def __init__(self, store: DocumentStore) -> None:
        self._store = store
        self._version: str | None = None
        """Of the note that was written last."""

    def write(self, note: LockNote) -> None:
        """Leave a note. Nothing depends on it, so trouble with it is none of the run's."""
        content = json.dumps(
            {
                "schema": 1,
                "host": note.host,
                "pid": note.pid,
                "since": format_time(note.since),
                "command": note.command,
                "write": secrets.token_hex(4),
            }
        ).encode()
        try:
            try:
                self._version = save(self._store, DOCUMENT, content, self._version)
            except ConflictError:
                found = self._store.read(DOCUMENT)
                self._version = save(self._store, DOCUMENT, content, found.version if found else None)
        except (ScalerError, ValueError):
            self._version = None

    def read(self) -> LockNote | None:
        """Return the note; None if there is none, or it cannot be read."""
        try:
            found = self._store.read(DOCUMENT)
            if found is None:
                return None
            fields = Fields(parse_json(found.content or b""))
            return LockNote(
                host=fields.text("host"),
                pid=fields.whole_number("pid"),
                since=parse_time(fields.text("since")),
                command=fields.text("command"),
            )
        except (ScalerError, ValueError):
            return None

    def close(self) -> None:
        """End connections."""
        self._store.close()
