"""Durations as people write them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.support.durations import format_duration, parse_duration


@given(st.integers(0, 999), st.integers(0, 999), st.integers(0, 999), st.integers(0, 999))
def test_durations_add_up(days: int, hours: int, minutes: int, seconds: int) -> None:
    assert parse_duration(f"{days}d{hours}h{minutes}m{seconds}s") == timedelta(
        days=days, hours=hours, minutes=minutes, seconds=seconds
    )
    assert parse_duration(f"{minutes}m") == timedelta(minutes=minutes)
    assert parse_duration(f"{days}d") == timedelta(days=days)


@given(st.timedeltas(timedelta(0), timedelta(days=99999)))
def test_durations_are_written_as_they_are_read(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == timedelta(seconds=round(duration.total_seconds()))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "h",
        "5x",
        "1m1h",
        "1.5h",
        "-1m",
        " 1m",
        "1m ",
        "٣m",
        "9999999999h",
        "1h1d",
        "100000d",
        "999999999h",
        "99999d1s",
    ],
)
def test_other_forms_are_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)
