"""Values with texts from outside, made fit to be shown: names and errors of a cloud, records that others may write."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar, cast

from scaler.support.text import one_line

T = TypeVar("T")


def cleaned(value: T) -> T:
    """Return a value with each text in it, at any depth, on one line and without what a terminal or CI would obey."""
    return cast(T, _cleaned(value))


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        # A space at its end or in a row is not what is looked for, and most texts are fine.
        return value if isinstance(value, Enum) or _is_fine(value) else one_line(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (field.name for field in dataclasses.fields(value) if field.init)
        return dataclasses.replace(value, **{name: _cleaned(getattr(value, name)) for name in fields})
    if isinstance(value, Mapping):
        return {_cleaned(key): _cleaned(content) for key, content in value.items()}
    if isinstance(value, tuple | list | frozenset):
        return type(value)(map(_cleaned, value))
    return value


def _is_fine(text: str) -> bool:
    return text.isprintable() and "::" not in text and "##" not in text
