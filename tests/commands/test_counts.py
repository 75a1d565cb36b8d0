"""Counts as people type them."""

from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.commands.counts import CountingCommand, format_counts, parse_by, parse_counts
from scaler.errors import UsageError
from tests.support.fakes import group, spec

ONE = spec(group("worker", 3))
TWO = spec(group("worker", 3), group("web", 2))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], {"worker": 3, "web": 2}),
        (["worker=5"], {"worker": 5, "web": 2}),
        (["web=0", "worker=1"], {"worker": 1, "web": 0}),
        (["worker=007"], {"worker": 7, "web": 2}),
    ],
)
def test_counts_by_group(arguments: list[str], expected: dict[str, int]) -> None:
    assert parse_counts(TWO, arguments) == expected


@given(st.integers(0, 10_000))
def test_a_plain_number_is_for_the_only_group(count: int) -> None:
    assert parse_counts(ONE, [str(count)]) == {"worker": count}


@pytest.mark.acceptance("R02")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-2"], "cannot be negative"),
        (["worker=-2"], "cannot be negative"),
        (["five"], "is not a count"),
        (["1.5"], "is not a count"),
        (["worker="], "is not a count"),
        (["+5"], "is not a count"),
        ([""], "is not a count"),
        (["٣"], "is not a count"),
        (["1_000"], "is not a count"),
        (["10001"], "at most|more than"),
        (["9" * 5000], "at most|more than"),
        (["worker=1", "worker=2"], "given twice"),
        (["1", "2"], "given twice"),
        (["wroker=1"], "no group 'wroker'"),
        (["=1"], "no group ''"),
    ],
)
def test_anything_else_is_a_usage_error(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_counts(ONE, arguments)


@pytest.mark.acceptance("Q14")
def test_an_unknown_group_is_told_the_nearest() -> None:
    with pytest.raises(UsageError) as error:
        parse_counts(TWO, ["wroker=1"])
    assert "worker" in error.value.fix


def test_a_plain_number_for_several_groups_is_unclear() -> None:
    with pytest.raises(UsageError) as error:
        parse_counts(TWO, ["5"])
    assert "worker, web" in error.value.why
    assert "worker=5" in error.value.fix


@pytest.mark.acceptance("R01", "R02")
@pytest.mark.parametrize("text", ["0", "-1", "x", "", "2.0"])
def test_by_is_one_or_more(text: str) -> None:
    with pytest.raises(UsageError):
        parse_by(text)
    assert parse_by("2") == 2


@pytest.mark.acceptance("R02")
def test_a_negative_number_typed_as_an_option_is_told_as_such() -> None:
    command = CountingCommand("ensure", params=[click.Argument(["counts"], nargs=-1)])
    with pytest.raises(UsageError, match="cannot be negative: -2"):
        command.make_context("ensure", ["-2"])
    assert command.make_context("ensure", ["2"]).params == {"counts": ("2",)}


@given(st.dictionaries(st.sampled_from(["worker", "web"]), st.integers(0, 10_000), min_size=2))
def test_told_counts_can_be_typed_again(counts: dict[str, int]) -> None:
    assert parse_counts(TWO, format_counts(counts).split()) == counts
