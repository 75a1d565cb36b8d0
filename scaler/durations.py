"""Durations as people write them: `90s`, `10m`, `1h30m`, `7d`."""

from __future__ import annotations

import re
from datetime import timedelta

_FORM = re.compile(r"(?=[0-9])(?:([0-9]{1,5})d)?(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s)?")


def parse_duration(text: str) -> timedelta:
    """The duration that a text such as `1h30m` means; ValueError if it has another form or no unit."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"not a duration such as 90s, 10m or 1h30m: {text!r}")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
