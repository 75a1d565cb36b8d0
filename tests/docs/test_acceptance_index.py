"""The index of promised behaviours: no id is missing, and what it says of tests is so."""

from __future__ import annotations

import ast
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
    rows = re.findall(r"^\| ([PQRST]\d\d) \| [^|]+ \| ([^|]+) \|$", page, re.MULTILINE)
    assert len(rows) == len(dict(rows)), "an id has two lines"
    return dict(rows)


@cache
def marks() -> dict[str, set[str]]:
    """The acceptance ids that each test function is marked with, by its name."""
    found: dict[str, set[str]] = {}
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                found.setdefault(node.name, set()).update(*map(ids_of, node.decorator_list))
    return found


def ids_of(decorator: ast.expr) -> set[str]:
    """The ids of `@pytest.mark.acceptance("P02", "S01")`; none for another decorator."""
    if not (isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.acceptance"):
        return set()
    return {str(argument.value) for argument in decorator.args if isinstance(argument, ast.Constant)}


def test_every_id_has_a_line() -> None:
    """Those of T get theirs as they are built."""
    newer = [line for line in index() if line.startswith("T")]
    assert list(index()) == IDS + sorted(newer)


@pytest.mark.parametrize("id", index())
def test_the_line_says_who_shows_it(id: str) -> None:
    line = index()[id]
    marked = sorted(name for name, ids in marks().items() if id in ids)
    others = re.findall(r"`(test_\w+)`", line)
    assert set(others) <= marks().keys(), "a test that the line names is not there"
    if line.startswith("marked"):
        assert marked, f"no test is marked with {id}"
    else:
        assert others or line.startswith("not covered yet"), "the line names no test"
        assert not marked, f"{marked} are marked with it: the line should begin with `marked`"


def test_no_test_is_marked_with_an_id_that_does_not_exist() -> None:
    assert set().union(*marks().values()) <= index().keys()
