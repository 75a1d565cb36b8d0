"""Durations as people write them: `90s`, `10m`, `1h30m`, `7d`."""

from __future__ import annotations

import re
from datetime import timedelta

from scaler.support.text import quoted

LONGEST = timedelta(days=99_999)
"""273 years. With what is longer, arithmetic on times would leave the calendar."""

_FORM = re.compile(r"(?=[0-9])(?:([0-9]{1,5})d)?(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s)?")


def parse_duration(text: str) -> timedelta:
    """Read a duration such as `1h30m`. Raises ValueError if the text has another form or no unit."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"not a duration such as 90s, 10m or 1h30m: {quoted(text)}")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    duration = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if duration > LONGEST:
        raise ValueError(f"not a duration of at most {LONGEST.days} days: {quoted(text)}")
    return duration


def format_duration(duration: timedelta) -> str:
    """Write a duration to the second, in the form that `parse_duration` reads: `1h30m`, `0s`."""
    seconds = round(duration.total_seconds())
    parts = ((seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"
