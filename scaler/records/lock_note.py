"""Who holds the lock of a stack: the engine's own lock, and the notes of the runs whose engines have it or want it.

The engine's lock names a user, a host, a process and a time. It says neither what the run does nor whether that still
lives. So each run leaves a note beside the engine's state before its engine can have the lock, replaces it again and
again, and removes it at the end. Who waits and sees a note unchanged for longer than its length, by a clock of its own,
knows that its writer is dead or may not act any more (`hold.py`), and takes the lock.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from scaler.records.json_fields import Fields
from scaler.records.store import ConflictError, DocumentStore, Stored, StoreUnavailableError, save
from scaler.support.clock import Clock, format_time, parse_time
from scaler.support.documents import parse_json
from scaler.support.durations import format_duration
from scaler.support.text import LONGEST, one_line
from scaler.support.values import dataclass

FOLDER = "locks"

SURPLUS = 1.25
"""How many lengths others wait: clocks may run at different speeds, but not by so much."""

_ROUNDED = timedelta(seconds=1)
"""Only the lock's time may have fractions of a second."""

_SOON = timedelta(minutes=1)
"""An engine has the lock so soon after its start, or somebody else's engine has it, under the same number."""


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
    """What the run does whose engine has the lock, or wants it."""

    host: str
    pid: int
    """Of the engine."""
    machine: str
    """Where this process can be looked for; empty: nobody knows."""
    since: datetime
    """When the engine was started."""
    command: str
    length: timedelta
    """For so long after each renewal the run may act. Zero: its engine acts by itself, so its lock is never taken."""
    name: str
    """Of the document, which nobody else writes, but to take the lock."""
    version: str = ""
    """Of the document, as it was read or written last."""

    def is_of(self, host: str, pid: int, since: datetime) -> bool:
        """Return whether this is of the lock that this process has since then, and not of another one's."""
        is_same = (self.host, self.pid) == (host, pid)
        return is_same and self.since - _ROUNDED <= since <= self.since + _SOON

    @property
    def patience(self) -> timedelta:
        """How long others see it unchanged before they take the lock; zero: they never do."""
        return self.length * SURPLUS


class Heard:
    """What one process has seen of a stack's notes. Its runs may each be too short to see that one is silent."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, float]] = {}
        """By the name of a note, the version of it that was seen last, and when that was first seen."""

    def silent(self, notes: LockNotes | None, clock: Clock) -> tuple[set[str], Sequence[LockNote]]:
        """Read all notes; return the names of those that were not renewed for too long, and all."""
        now = clock.monotonic()
        read = notes.read() if notes else []
        before, self._seen = self._seen, {}
        silent = set()
        for note in read:
            version, since = before.get(note.name, ("", now))
            is_same = version == note.version
            self._seen[note.name] = (note.version, since if is_same else clock.monotonic())
            if is_same and note.patience and now - since >= note.patience.total_seconds():
                silent.add(note.name)
        return silent, read


class LockNotes:
    """The notes of one stack. What writes raises StoreUnavailableError if the store does not answer."""

    def __init__(self, store: DocumentStore) -> None:
        self._store = store

    def read(self) -> list[LockNote]:
        """Return all notes that say something; none if the store does not answer."""
        found = []
        with suppress(StoreUnavailableError):
            for name in self._store.names(FOLDER):
                # One that was removed meanwhile, or is none.
                with suppress(ValueError, LookupError):
                    found.append(_note(name, self._store.read(name)))
        return found

    def write(self, note: LockNote) -> LockNote:
        """Create a note, or replace the version that is known of it. ConflictError if that is not there any more."""
        content = json.dumps(
            {
                "schema": 1,
                "host": note.host,
                "pid": note.pid,
                "machine": note.machine,
                "since": format_time(note.since),
                "command": note.command,
                "length_s": int(note.length.total_seconds()),
                "write": secrets.token_hex(4),
            }
        ).encode()
        return replace(note, version=save(self._store, note.name, content, note.version or None))

    def take(self, note: LockNote) -> bool:
        """Keep its writer from renewing a note; return whether it had not done so since the note was read."""
        try:
            self.write(note)
        except ConflictError:
            return False
        return True

    def remove(self, *notes: LockNote) -> None:
        """Remove notes, so that their writers act no more."""
        for note in notes:
            self._store.delete(note.name)

    def close(self) -> None:
        """End connections."""
        self._store.close()


def _note(name: str, found: Stored | None) -> LockNote:
    """Return what a document says; ValueError or LookupError if that is nothing."""
    if found is None:
        raise LookupError(name)
    fields = Fields(parse_json(found.content or b""))
    return LockNote(
        host=fields.text("host"),
        pid=fields.whole_number("pid"),
        machine=fields.text("machine"),
        since=parse_time(fields.text("since")),
        command=fields.text("command"),
        length=fields.seconds("length_s"),
        name=name,
        version=found.version,
    )
