"""The notes of who has a stack's lock or wants it, and the hold of a run that is renewed by them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scaler.records.folder_store import FolderStore
from scaler.records.hold import Hold, holding
from scaler.records.lease import LeaseLostError
from scaler.records.lock_note import LockNote, LockNotes
from scaler.records.store import StoreUnavailableError
from tests.support.link import Link

SINCE = datetime(2026, 11, 29, 12, 0, 5, tzinfo=UTC)
NOTE = LockNote(
    host="runner",
    pid=7,
    machine="boot/pid:[1]",
    since=SINCE,
    command="ensure worker=2",
    length=timedelta(minutes=1),
    name="locks/a.json",
)


@pytest.fixture
def link(tmp_path: Path) -> Link:
    return Link(tmp_path)


class _Time:
    now = 1000.0


@pytest.fixture
def time() -> _Time:
    return _Time()


@pytest.fixture
def hold(link: Link, time: _Time) -> Iterator[Hold]:
    with holding(LockNotes(link), "prod", NOTE, elapsed=lambda: time.now) as hold:
        assert hold
        yield hold


def test_notes_are_there_while_their_runs_are(link: Link) -> None:
    notes = LockNotes(link)
    assert notes.read() == []
    with holding(notes, "prod", NOTE):
        with holding(notes, "prod", replace(NOTE, name="locks/b.json", pid=8)):
            assert [(note.pid, note.command, note.length) for note in notes.read()] == [
                (7, NOTE.command, NOTE.length),
                (8, NOTE.command, NOTE.length),
            ]
        assert [note.pid for note in notes.read()] == [7]
    assert notes.read() == []


def test_a_note_is_of_one_lock_only() -> None:
    # The engine's time has fractions of a second, and the note's has none.
    assert NOTE.is_of("runner", 7, SINCE - timedelta(milliseconds=700))
    assert NOTE.is_of("runner", 7, SINCE + timedelta(seconds=4))
    assert not NOTE.is_of("runner", 8, SINCE)
    assert not NOTE.is_of("laptop", 7, SINCE)
    # In containers, process ids repeat: this lock came much later, or was there before.
    assert not NOTE.is_of("runner", 7, SINCE + timedelta(minutes=10))
    assert not NOTE.is_of("runner", 7, SINCE - timedelta(minutes=1))


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"host": "a", "pid": "b"}'])
def test_a_note_that_says_nothing_is_none(link: Link, content: bytes) -> None:
    link.write("locks/x.json", content)
    assert LockNotes(link).read() == []


def test_who_renews_its_note_goes_on(hold: Hold, link: Link, time: _Time) -> None:
    versions = set()
    for _ in range(4):
        versions |= {note.version for note in LockNotes(link).read()}
        time.now += 50
        hold.renew()
        hold.require()
    assert len(versions) == 4


def test_who_cannot_renew_it_changes_nothing_more_before_others_take_the_lock(
    hold: Hold, link: Link, time: _Time
) -> None:
    link.is_cut = True
    time.now += NOTE.length.total_seconds() - 1
    assert not hold.has_ended()
    time.now += 1
    with suppress(StoreUnavailableError):
        hold.renew()
    assert hold.has_ended()
    with pytest.raises(LeaseLostError, match="This run of prod has lost"):
        hold.confirm()
    assert NOTE.patience > NOTE.length
    # Nobody has taken it meanwhile.
    link.is_cut = False
    hold.renew()
    hold.confirm()


def test_whose_lock_was_taken_never_acts_again(hold: Hold, link: Link, time: _Time) -> None:
    notes = LockNotes(link)
    (seen,) = notes.read()
    assert notes.take(seen)
    with pytest.raises(LeaseLostError):
        hold.renew()
    assert hold.has_ended()
    notes.remove(seen)
    with pytest.raises(LeaseLostError):
        hold.renew()


def test_who_was_heard_of_meanwhile_keeps_its_lock(hold: Hold, link: Link) -> None:
    notes = LockNotes(link)
    (seen,) = notes.read()
    hold.renew()
    assert not notes.take(seen)
    hold.require()


def test_who_may_write_no_note_goes_on_without(link: Link) -> None:
    link.refuses = True
    with holding(LockNotes(link), "prod", NOTE) as hold:
        assert hold is None


def test_who_cannot_know_whether_its_note_arrived_acts_no_longer_than_that_is_good_for(
    link: Link, time: _Time, tmp_path: Path
) -> None:
    link.loses_answers = True
    with holding(LockNotes(link), "prod", NOTE, elapsed=lambda: time.now) as hold:
        assert hold
        (arrived,) = LockNotes(FolderStore(tmp_path)).read()
        assert arrived.patience > NOTE.length
        time.now += NOTE.length.total_seconds() - 1
        hold.require()
        time.now += 1
        assert hold.has_ended()


def test_who_is_not_held_back_by_its_note_never_loses_it(link: Link, time: _Time) -> None:
    official = replace(NOTE, length=timedelta(0))
    with holding(LockNotes(link), "prod", official, elapsed=lambda: time.now) as hold:
        time.now += 10_000
        assert hold
        assert not hold.has_ended()
        (seen,) = LockNotes(link).read()
        assert not seen.patience
