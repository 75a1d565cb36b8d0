"""How long a server may take to start: by the spec, or learned from the group's boots so far. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta

from scaler.support.durations import format_duration
from scaler.support.values import dataclass

_BOOTS_NEEDED = 5
"""No deadline is learned from fewer boots."""

_LEAST_DEADLINE = timedelta(minutes=2)


@dataclass(frozen=True)
class Deadline:
    """How long a server may take to start, and why that long."""

    length: timedelta
    why: str = ""


def learn_deadline(boots: Sequence[timedelta], start_within: timedelta) -> Deadline | None:
    """Return twice the 99th percentile of the boots, at least two minutes and at most `start_within`.

    A slow snapshot gets the time it needs, and a dead server is given up early. None while too few
    boots are known.
    """
    if len(boots) < _BOOTS_NEEDED:
        return None
    slowest = sorted(boots)[math.ceil(len(boots) * 0.99) - 1]
    length = min(max(2 * slowest, _LEAST_DEADLINE), start_within)
    return Deadline(length, f"learned from {len(boots)} boots; start_within is {format_duration(start_within)}")
