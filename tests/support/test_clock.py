"""Times as files have them."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from scaler.support.clock import format_time, parse_time, time_at
from scaler.support.durations import LONGEST


@pytest.mark.parametrize(
    "text",
    ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-00:01", "9999-12-31T23:59:59Z",
     "1970-01-01T00:00:00+00:01", "noon", "2026-13-01T00:00:00Z"],
)  # fmt: skip
def test_what_is_no_time_to_calculate_with(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_time(text)


def test_every_time_can_be_moved_by_the_longest_duration() -> None:
    for moment in (parse_time("1970-01-01T00:00:00Z"), time_at(1e11)):
        assert format_time(moment - LONGEST) < format_time(moment) < format_time(moment + LONGEST)
    for seconds in (-1, 1.1e11, 1e300, math.inf, math.nan):
        with pytest.raises(ValueError, match="not in the years"):
            time_at(seconds)


def test_a_time_without_an_offset_is_in_utc() -> None:
    assert parse_time("2026-11-24T22:10:00") == datetime(2026, 11, 24, 22, 10, tzinfo=UTC)
    assert format_time(parse_time("5138-11-16T09:46:40Z")) == "5138-11-16T09:46:40Z"
