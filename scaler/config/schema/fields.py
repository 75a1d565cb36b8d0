"""How the models declare their keys, and which keys exclude each other."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from scaler.config.schema.refusals import refusal
from scaler.support.durations import parse_duration

NOT_EMPTY = {"minItems": 1}
"""JSON Schema of a list that needs an item."""


def strict_config(title: str, extra: dict[str, Any] | None = None) -> ConfigDict:
    """Configure a model that refuses unknown keys; `extra` is added to its JSON Schema."""
    return ConfigDict(extra="forbid", title=title, json_schema_extra=extra, defer_build=True)


def spec_key(description: str, **rest: Any) -> Any:
    """Declare a key; editors show the description. `rest` is passed to pydantic's `Field`."""
    return Field(description=description, **rest)


def duration_key(description: str, default: str) -> Any:
    """Declare a key whose value is a duration; its default is written as in a spec, such as `5m`."""
    return spec_key(description, default=parse_duration(default), json_schema_extra={"default": default})


def one_of_required(*keys: str) -> dict[str, Any]:
    """Return the JSON Schema for: exactly one of these keys is given."""
    return {"oneOf": [{"required": [key]} for key in keys]}


def check_one_value(fields: BaseModel, *keys: str) -> None:
    """Refuse the block unless exactly one of these keys has a value that is not empty."""
    _check_one(keys, [key for key in keys if getattr(fields, key)])


def given_key(fields: BaseModel, keys: tuple[str, ...]) -> str:
    """Return which one of these keys the spec gives, whatever its value; refuse the block unless it is exactly one."""
    given = [key for key in keys if key in fields.model_fields_set]
    _check_one(keys, given)
    return given[0]


def _check_one(keys: tuple[str, ...], given: list[str]) -> None:
    if len(given) != 1:
        raise refusal(f"must have exactly one of the keys {', '.join(keys[:-1])} and {keys[-1]}")
