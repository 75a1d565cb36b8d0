"""Times as files have them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from scaler.support.clock import format_time, parse_time


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-00:01", "noon", "2026-13-01T00:00:00Z"]
)
def test_what_is_no_time_of_the_calendar(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_time(text)


def test_a_time_without_an_offset_is_in_utc() -> None:
    assert parse_time("2026-11-24T22:10:00") == datetime(2026, 11, 24, 22, 10, tzinfo=UTC)
    assert format_time(parse_time("0001-01-01T00:00:00Z")).endswith("01-01T00:00:00Z")
    assert format_time(parse_time("9999-12-31T23:59:59Z")) == "9999-12-31T23:59:59Z"
