"""What types the fields of a request's body may have. A field that is null or missing is always fine."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

Kind = Callable[[Any], bool]

MOST_DIGITS = 19
"""As many as the largest id of a database has."""


def text(value: object) -> bool:
    """A string."""
    return isinstance(value, str)


def number(value: object) -> bool:
    """An integer."""
    return isinstance(value, int) and not isinstance(value, bool)


def amount(value: object) -> bool:
    """A number of 0 or more."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def flag(value: object) -> bool:
    """True or false."""
    return isinstance(value, bool)


def text_or_number(value: object) -> bool:
    """A name or an id."""
    return text(value) or number(value)


def mapping(value: object) -> bool:
    """Any JSON object."""
    return isinstance(value, dict)


def anything(value: object) -> bool:
    """Whatever JSON has: the endpoint itself looks at it."""
    del value
    return True


def several(kind: Kind) -> Kind:
    """A list of a kind."""
    return lambda value: isinstance(value, list) and all(item is not None and kind(item) for item in value)


def record(**fields: Kind) -> Kind:
    """An object with these fields, among others."""
    return lambda value: isinstance(value, dict) and wrong_field(value, fields) is None


def digits(text: str) -> int | None:
    """The number that a text of digits states; None for another text, and for one that is longer than any id."""
    return int(text) if len(text) <= MOST_DIGITS and text.isascii() and text.isdigit() else None


def wrong_field(body: Mapping[str, Any], fields: Mapping[str, Kind]) -> str | None:
    """The name of a field that has another type than it may have, if there is one."""
    for name, kind in fields.items():
        if body.get(name) is not None and not kind(body[name]):
            return name
    return None
