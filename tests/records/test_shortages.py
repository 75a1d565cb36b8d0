"""What the cloud had none of is remembered for a while, in a file that may be lost."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from scaler.records.shortages import CAPACITY_FOR, QUOTA_FOR, Shortages
from tests.support.fakes import START

PLACE = ("cx23", "fsn1")
MOMENT = timedelta(seconds=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "prod.shortages.json"


def test_the_next_run_knows_until_it_is_too_old(path: Path) -> None:
    first = Shortages(path)
    first.note_full([PLACE], START)
    first.note_quota(7, START)
    later = Shortages(path)
    assert later.full(START + CAPACITY_FOR - MOMENT) == {PLACE: START}
    assert later.full(START + CAPACITY_FOR) == {}
    assert later.quota(START + QUOTA_FOR - MOMENT) == (7, START)
    assert later.quota(START + QUOTA_FOR) is None


def test_a_later_shortage_does_not_make_an_earlier_one_last(path: Path) -> None:
    known = Shortages(path)
    known.note_full([PLACE], START)
    known.note_full([("cx33", "nbg1")], START + CAPACITY_FOR - MOMENT)
    assert Shortages(path).full(START + CAPACITY_FOR) == {("cx33", "nbg1"): START + CAPACITY_FOR - MOMENT}


def test_addresses_are_remembered_for_an_hour_and_are_no_quota_of_servers(path: Path) -> None:
    Shortages(path).note_addresses(5, START)
    later = Shortages(path)
    assert later.addresses(START + QUOTA_FOR - MOMENT) == (5, START)
    assert later.addresses(START + QUOTA_FOR) is None
    assert later.quota(START) is None


def test_a_file_of_an_earlier_version_has_no_addresses(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"schema": 1, "no_capacity": [], "quota": {"servers": 7, "at": "2026-11-24T22:00:00Z"}}', "utf-8")
    assert (Shortages(path).quota(START), Shortages(path).addresses(START)) == ((7, START), None)


@pytest.mark.acceptance("T14")
def test_a_moment_in_the_future_proves_nothing(path: Path) -> None:
    known = Shortages(path)
    known.note_full([PLACE], START + timedelta(days=1))
    known.note_quota(7, START + timedelta(days=1))
    assert Shortages(path).full(START) == {}
    assert Shortages(path).quota(START) is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "7",
        '{"schema": 2}',
        '{"schema": 1}',
        '{"schema": 1, "no_capacity": [{}], "quota": null}',
        '{"schema": 1, "no_capacity": [], "quota": {"servers": "many", "at": "now"}}',
        "[" * 100_000,
    ],
)
def test_a_damaged_file_is_none(path: Path, content: str) -> None:
    path.parent.mkdir()
    path.write_text(content, encoding="utf-8")
    known = Shortages(path)
    assert (known.full(START), known.quota(START)) == ({}, None)
    known.note_quota(7, START)
    assert Shortages(path).quota(START) == (7, START)


def test_where_nothing_can_be_written_it_is_known_to_this_run_only(path: Path) -> None:
    path.parent.write_text("a file where the folder should be", encoding="utf-8")
    known = Shortages(path)
    known.note_full([PLACE], START)
    assert known.full(START) == {PLACE: START}
    assert Shortages(path).full(START) == {}


def test_only_the_file_is_left(path: Path) -> None:
    Shortages(path).note_full([PLACE], START)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
