"""Numbers of autoscaling as text, and rounded up to servers."""

from __future__ import annotations

import math

EPSILON = 1e-9
"""Absorbs floating-point error: 3 * 60 / 60 must be 3 servers, not 4."""


def round_up(number: float) -> int:
    """Return the smallest whole number that is not below `number`, apart from floating-point error."""
    return math.ceil(number - EPSILON)


def short(number: float) -> str:
    """Return a number with at most six significant digits."""
    return f"{number:.6g}"
