"""A number in a text or a JSON document."""

from __future__ import annotations

import json
from datetime import datetime

from scaler.autoscale.metrics import MetricError, Value
from scaler.autoscale.metrics.moments import seconds_since_1970
from scaler.support.clock import time_at
from scaler.support.text import quoted

LARGEST = 1 << 20
"""Bytes that a document may have."""


def value_in(text: str, pointer: str, time_pointer: str | None) -> Value:
    """Return the number at a JSON pointer, and the time at another. Raise MetricError with what is there instead."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise MetricError(f"no number and no JSON: {quoted(text)}") from None
    number = number_of(at_pointer(document, pointer), pointer or "the document")
    return Value(number, None if time_pointer is None else _moment(at_pointer(document, time_pointer), time_pointer))


def number_of(value: object, where: str) -> float:
    """Return a JSON number, or a text that is one. NaN and infinity are judged later."""
    # Python reads 1_000 as a number, and nobody else does.
    if not isinstance(value, bool) and isinstance(value, int | float | str) and "_" not in str(value)[:400]:
        try:
            return float(value)
        except (ValueError, OverflowError):
            pass
    raise MetricError(f"{where} is no number but {quoted(json.dumps(value))}")


def at_pointer(document: object, pointer: str) -> object:
    """Return what a JSON pointer (RFC 6901) points at."""
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict) and key in document:
            document = document[key]
        elif isinstance(document, list) and key.isascii() and key.isdigit() and int(key) < len(document):
            document = document[int(key)]
        else:
            raise MetricError(f"the document has no {pointer}")
    return document


def _moment(value: object, where: str) -> datetime:
    try:
        return time_at(seconds_since_1970(value, None, where))
    except ValueError:
        raise MetricError(f"{where} is not a time") from None
