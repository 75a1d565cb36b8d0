"""Many servers in few words, and lines that fit a terminal."""

from __future__ import annotations

import json

import click
import pytest

from scaler.model import Action, GroupReport, Outcome, Step, StepReport, StepResult
from scaler.model.lifecycle import Status
from scaler.output.folding import by_reason, name_ranges
from scaler.output.render import render
from scaler.output.width import fit
from tests.support.results import DELETE, done, result, server, step


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ([], ""),
        (["dev-worker-2"], "dev-worker-2"),
        (["dev-worker-10", "dev-worker-9"], "dev-worker-9, -10"),
        ([f"dev-worker-{n}" for n in (60, 4, 5, 6, 1)], "dev-worker-1, -4 … -6, -60"),
        (["dev-worker-1", "dev-web-1", "dev-web-2"], "dev-web-1, -2, dev-worker-1"),
        (["lone", "other", "dev-x", "dev-y", "dev-1.4711"], "lone, other, dev-x, dev-y, dev-1.4711"),
    ],
)
def test_names_with_following_numbers_are_a_range(names: list[str], shown: str) -> None:
    assert name_ranges(names) == shown


def test_reasons_of_many_are_said_once_and_in_natural_order() -> None:
    reasons = {f"w-{number}": "starting" for number in (1, 3, 4, 5, 10)} | {"w-2": "hanging"}
    assert by_reason(reasons) == {"w-1, -3 … -5, -10": "starting", "w-2": "hanging"}
    assert list(by_reason({"w-10": "a", "w-9": "a"})) == ["w-9", "w-10"]


def creates(*numbers: int) -> tuple[Step, ...]:
    return tuple(step(Action.CREATE, number, "60 are wanted", type="cx23", location="fsn1") for number in numbers)


def test_a_plan_folds_equal_steps_and_a_document_does_not() -> None:
    steps = tuple(StepReport(each, StepResult.PENDING) for each in (*creates(*range(4, 61)), DELETE))
    planned = result(Outcome.PLANNED, steps=steps, groups={"worker": GroupReport(wanted=60, before=3, ready=3)})
    text = render(planned, "text").splitlines()
    assert "  + 57 create prod-worker-4 … -60, cx23 in fsn1: 60 are wanted" in text
    assert "  - prod-worker-3  delete  errored" in text
    assert len(text) < 12
    markdown = render(planned, "markdown")
    assert "| `+` | 57: prod-worker-4 … -60 | create | 60 are wanted | pending |" in markdown
    assert "| `-` | prod-worker-3 | delete | errored | pending |" in markdown
    assert len(json.loads(render(planned, "json"))["steps"]) == 58


def test_few_equal_steps_and_different_ones_are_not_folded() -> None:
    steps = done(*creates(1, 2, 3), step(Action.CREATE, 4, "another reason"))
    planned = result(Outcome.REFUSED, steps=steps)
    assert all(f"+ prod-worker-{number}  create" in render(planned, "text") for number in range(1, 5))


def test_equal_failures_and_late_servers_are_said_once() -> None:
    failed = tuple(StepReport(each, StepResult.FAILED, "quota reached") for each in creates(*range(1, 31)))
    lines = render(result(Outcome.FAILED, steps=failed), "text").splitlines()
    assert lines[0] == "! prod-worker-1 … -30  create failed: quota reached"
    assert len(lines) == 2
    late = result(Outcome.UNCONFIRMED, servers=tuple(server(number, Status.STARTING) for number in range(1, 31)))
    assert render(late, "text").endswith("Not confirmed: prod-worker-1 … -30 starting.")


def test_long_lines_break_between_words_and_colour_takes_no_room() -> None:
    line = f"  {click.style('!', fg='red')} one two three four"
    assert click.unstyle(fit(line, 11)).splitlines() == ["  ! one two", "    three", "    four"]
    assert fit(line, 22) == line
    assert fit(line, None) == line
    address = "https://example.com/a/long/address"
    assert fit(f"see {address} now", 12).splitlines() == ["see", f"  {address}", "  now"]


def test_what_follows_hangs_below_its_column_unless_a_word_is_too_long() -> None:
    assert fit("ok  name  one two three", 17, 10).splitlines() == ["ok  name  one two", " " * 10 + "three"]
    assert fit("ok  name  one a-long-word", 15, 10).splitlines() == ["ok  name  one", "  a-long-word"]
