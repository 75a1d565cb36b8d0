"""Times as queue systems store them: numbers in some unit since 1970, or RFC 3339. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping

from scaler.autoscale.metrics import MetricError
from scaler.support.clock import parse_time
from scaler.support.text import quoted

PER_SECOND: Mapping[str, float] = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}

_LARGEST = ((1e11, "s"), (1e14, "ms"), (1e17, "us"))
"""Below each number, a time since 1970 has this unit: 1e11 s are in the year 5138, and 1e11 ms are in 1973."""


def seconds_since_1970(value: object, unit: str | None, where: str) -> float:
    """Return a time in seconds since 1970. Without a unit, take it from the number's size."""
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    if isinstance(text, int | float | str) and not isinstance(text, bool):
        try:
            number = float(text)
        except OverflowError:
            raise MetricError(f"{where} is not a time") from None
        except ValueError:
            return _rfc3339(str(text), where)
        if not math.isfinite(number):
            raise MetricError(f"{where} is not a time: {quoted(str(text))}")
        unit = unit or next((name for most, name in _LARGEST if abs(number) < most), "ns")
        return number / PER_SECOND[unit]
    raise MetricError(f"{where} is not a time")


def _rfc3339(text: str, where: str) -> float:
    try:
        return parse_time(text).timestamp()
    except ValueError:
        raise MetricError(f"{where} is not a time: {quoted(text)}") from None
