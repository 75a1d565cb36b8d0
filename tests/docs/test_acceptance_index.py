"""The index of promised behaviours: no id is missing, and what it says of tests is so."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
IDS = [
    f"{letter}{number:02}"
    for letter, most in (("P", 37), ("Q", 16), ("R", 14), ("S", 15))
    for number in range(1, most + 1)
]


@cache
def index() -> dict[str, str]:
    """Id → what is said of who shows it."""
    page = (TESTS / "acceptance.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([PQRS]\d\d) \| [^|]+ \| ([^|]+) \|$", page, re.MULTILINE)
    assert len(rows) == len(dict(rows)), "an id has two lines"
    return dict(rows)


@cache
def functions() -> frozenset[str]:
    """The names of all test functions."""
    return frozenset(
        name
        for path in TESTS.rglob("test_*.py")
        for name in re.findall(r"^ *(?:async )?def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE)
    )


def ids_in(name: str) -> set[str]:
    """The ids at the beginning of a test's name: `test_p02_s01_life` has P02 and S01."""
    ids = re.match(r"test((?:_[pqrs]\d\d)*)_", name)
    return set(ids.group(1).upper().split("_")[1:]) if ids else set()


def test_every_id_has_a_line() -> None:
    assert list(index()) == IDS


@pytest.mark.parametrize("id", IDS)
def test_the_line_says_who_shows_it(id: str) -> None:
    line = index()[id]
    named = sorted(name for name in functions() if id in ids_in(name))
    others = re.findall(r"`(test_\w+)`", line)
    assert set(others) <= functions(), "a test that the line names is not there"
    if line.startswith("named"):
        assert named, f"no test is named after {id}"
    else:
        assert others or line.startswith("not covered yet"), "the line names no test"
        assert not named, f"{named} are named after it: the line should begin with `named`"


def test_no_test_is_named_after_an_id_that_does_not_exist() -> None:
    assert set().union(*map(ids_in, functions())) <= set(IDS)
    hidden = [
        name for name in functions() if set(re.findall(r"_([pqrs]\d\d)(?=_)", name)) - {*map(str.lower, ids_in(name))}
    ]
    assert hidden == [], "ids stand at the beginning of a name"
