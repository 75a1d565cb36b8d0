"""Texts, numbers, flags, lists and durations."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from scaler.config.schema.refusals import refusal, shown
from scaler.support.durations import parse_duration

MOST_SERVERS = 10_000
"""The largest number of servers that a spec may name; a larger one is a typing error."""


def typed_text(value: object) -> str:
    """Return a scalar as the text that was typed."""
    if isinstance(value, bool):
        return shown(value)
    if isinstance(value, int | str):
        return str(value)
    if value is None:
        raise refusal("has no value", "give one, or remove the line")
    raise refusal(f"must be a text, not {shown(value)}")


def given_guard(value: object) -> object:
    """Refuse a limit that is written without a value: it would be no limit, and nobody would be told."""
    if value is None:
        raise refusal("has no value, and would limit nothing", "give one, or remove the line")
    return value


def not_blank(value: str) -> str:
    """Refuse a text that is empty or white space."""
    if not value.strip():
        raise refusal("must not be empty")
    return value


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def one_line(value: str) -> str:
    """Refuse a text of several lines: messages and reports quote names whole, and such a one may be a key."""
    if not _CONTROL.search(value):
        return value
    within = value.strip()
    fix = "" if _CONTROL.search(within) else "remove the white space around it"
    raise refusal(f"must be one line without control characters, not {shown(within)}", fix)


LINES_SCHEMA: dict[str, Any] = {"type": ["string", "number", "boolean"], "pattern": r"\S"}
Lines = Annotated[str, BeforeValidator(typed_text), AfterValidator(not_blank), WithJsonSchema(LINES_SCHEMA)]
"""A text of any number of lines, which no message and no report quotes."""

TEXT_SCHEMA: dict[str, Any] = LINES_SCHEMA | {"pattern": r"^(?=.*\S)[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"}
Text = Annotated[Lines, AfterValidator(one_line), WithJsonSchema(TEXT_SCHEMA)]
"""A text of one line, such as a name."""

Number = Annotated[int, Field(strict=True, ge=0, le=MOST_SERVERS)]
Flag = Annotated[bool, Field(strict=True)]


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise refusal(f"names {shown(value)} a second time", "remove one of them", at=(index,))
    return values


def not_empty(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse an empty list. To be checked last: pydantic's own check counts only the valid items."""
    if not values:
        raise refusal("must not be empty", "name at least one")
    return values


def _one_or_several(value: object) -> object:
    """Read a single value as a list of one."""
    return [value] if isinstance(value, bool | int | str) else value


Texts = Annotated[
    tuple[Text, ...],
    AfterValidator(_distinct),
    WithJsonSchema({"type": "array", "items": TEXT_SCHEMA, "uniqueItems": True}),
]
Choices = Annotated[
    tuple[Text, ...],
    AfterValidator(_distinct),
    AfterValidator(not_empty),
    BeforeValidator(_one_or_several),
    WithJsonSchema(
        {"anyOf": [TEXT_SCHEMA, {"type": "array", "items": TEXT_SCHEMA, "minItems": 1, "uniqueItems": True}]}
    ),
]


def _up_to(most: str) -> BeforeValidator:
    """Read a duration of more than zero and at most `most`."""
    longest = parse_duration(most)

    def check(value: object) -> timedelta:
        if isinstance(value, int) and not isinstance(value, bool):
            raise refusal(f"needs a unit, which {value} has not", f"write {value}s, or such as 10m or 1h30m")
        try:
            duration = parse_duration(typed_text(value))
        except PydanticCustomError:  # It is a ValueError, but has its message already.
            raise
        except ValueError:
            raise refusal(f"must be a duration such as 90s, 10m or 1h30m, not {shown(value)}") from None
        if not timedelta(0) < duration <= longest:
            raise refusal(f"must be more than 0s and at most {most}, not {shown(value)}")
        return duration

    return BeforeValidator(check)


DURATION_SCHEMA: dict[str, Any] = {
    "type": "string",
    "pattern": "^(?=[0-9])([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$",
}
Duration = Annotated[timedelta, _up_to("24h"), WithJsonSchema(DURATION_SCHEMA)]


def _percent(value: object) -> int:
    """Read a share such as `50%` as a number of percent."""
    match = re.fullmatch(r"([0-9]{1,3})%", value) if isinstance(value, str) else None
    if match is None or not 1 <= int(match[1]) <= 100:
        raise refusal(f"must be a share from 1% to 100%, not {shown(value)}", "write such as 50%")
    return int(match[1])


PERCENT_SCHEMA: dict[str, Any] = {"type": "string", "pattern": "^([1-9][0-9]?|100)%$"}
Percent = Annotated[int, BeforeValidator(_percent), WithJsonSchema(PERCENT_SCHEMA)]
Retention = Annotated[timedelta, _up_to("3650d"), WithJsonSchema(DURATION_SCHEMA)]
