"""The note of who holds a stack's lock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scaler.records.folder_store import FolderStore
from scaler.records.lock_note import DOCUMENT, LockNote, LockNotes

SINCE = datetime(2026, 11, 29, 12, 0, 5, tzinfo=UTC)
NOTE = LockNote(host="runner", pid=7, since=SINCE, command="ensure worker=2")


def test_each_who_gets_the_lock_replaces_the_note(tmp_path: Path) -> None:
    ours, theirs = LockNotes(FolderStore(tmp_path)), LockNotes(FolderStore(tmp_path))
    assert ours.read() is None
    ours.write(NOTE)
    assert theirs.read() == NOTE
    other = LockNote(host="laptop", pid=8, since=SINCE, command="roll")
    theirs.write(other)
    assert ours.read() == other
    # Neither knows what the other has written since.
    ours.write(NOTE)
    assert theirs.read() == NOTE


def test_a_note_is_of_one_lock_only() -> None:
    assert NOTE.is_of("runner", 7, SINCE - timedelta(seconds=4))
    # The engine's time has fractions of a second, and the note's has none.
    assert NOTE.is_of("runner", 7, SINCE + timedelta(milliseconds=700))
    assert not NOTE.is_of("runner", 8, SINCE)
    assert not NOTE.is_of("laptop", 7, SINCE)
    # In containers, process ids repeat: this lock came later, and its holder has left no note yet.
    assert not NOTE.is_of("runner", 7, SINCE + timedelta(minutes=1))


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"host": "a", "pid": "b"}'])
def test_a_note_that_says_nothing_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / DOCUMENT).write_bytes(content)
    notes = LockNotes(FolderStore(tmp_path))
    assert notes.read() is None
    notes.write(NOTE)
    assert notes.read() == NOTE
