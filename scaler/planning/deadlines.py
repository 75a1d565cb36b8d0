"""How long a server may take to start: as the spec says, or as its group's boots so far teach. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from scaler.support.durations import format_duration

_BOOTS_NEEDED = 5
"""Fewer boots teach no deadline."""

_LEAST_DEADLINE = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Deadline:
    """How long a server may take to start, and why that long."""

    length: timedelta
    why: str = ""


def learn_deadline(boots: Sequence[timedelta], start_within: timedelta) -> Deadline | None:
    """Twice the slowest of a hundred boots, at least two minutes and at most `start_within`.

    So that a slow snapshot is not given up, and a dead server is not waited for. None while too few
    boots are known.
    """
    if len(boots) < _BOOTS_NEEDED:
        return None
    slowest = sorted(boots)[math.ceil(len(boots) * 0.99) - 1]
    length = min(max(2 * slowest, _LEAST_DEADLINE), start_within)
    return Deadline(length, f"learned from {len(boots)} boots; start_within is {format_duration(start_within)}")
