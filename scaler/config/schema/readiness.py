"""`ready` and `healthy`: the checks that a server passes when it can do its work."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, model_validator

from scaler.config.schema.commands import Command
from scaler.config.schema.fields import check_one_value, duration_key, one_of_required, spec_key, strict_config
from scaler.config.schema.functions import Function
from scaler.config.schema.refusals import refusal, shown
from scaler.config.schema.urls import ServerUrl
from scaler.config.schema.values import Duration, Percent

_KINDS = ("tcp", "http", "command", "function")


class CheckSchema(BaseModel):
    """A check that a server passes when it can do its work."""

    model_config = strict_config("Check", one_of_required(*_KINDS))

    tcp: Annotated[int, Field(strict=True, ge=1, le=65535)] | None = spec_key(
        "A port that accepts connections.", default=None
    )
    http: ServerUrl | None = spec_key(
        "A URL that is answered below 400; {ip}, {private_ip} and {name} are filled in.", default=None
    )
    command: Command = spec_key(
        "A command that ends with 0, in the project folder; {ip}, {private_ip} and {name} are filled in.", default=()
    )
    function: Function | None = spec_key(
        "A function, module:function, that answers None if the server can do its work, else what is wrong.",
        default=None,
    )

    @model_validator(mode="after")
    def _one_check(self) -> Self:
        check_one_value(self, *_KINDS)
        return self


class ReadySchema(CheckSchema):
    """A check that a server passes when it can do its work."""

    model_config = strict_config("Readiness", one_of_required(*_KINDS))

    successes: Annotated[int, Field(strict=True, ge=1, le=100)] = spec_key(
        "How many good readings in a row make a server ready.", default=2
    )


class HealthySchema(CheckSchema):
    """A check that servers in service pass as long as they can do their work."""

    model_config = strict_config("Health", one_of_required(*_KINDS))

    every: Duration = duration_key("The time between two checks of a server, at least.", "30s")
    failures: Annotated[int, Field(strict=True, ge=1, le=100)] = spec_key(
        "How many failed checks in a row make a server unhealthy.", default=3
    )
    at_most: Percent = spec_key(
        "The share of the wanted servers that is replaced within an hour because they are unhealthy, at most; rounded "
        "down, and at least one server.",
        default=50,
        json_schema_extra={"default": "50%"},
    )


def check_or_none(value: object) -> object:
    """Read the word `none` as no check."""
    if value is None:
        raise refusal("has no value", "give one, or remove the line")
    if isinstance(value, dict):
        return value
    if value != "none":
        raise refusal(f"must be none or a mapping, not {shown(value)}", "write such as {tcp: 22}")
    return None


def show_none(schema: dict[str, Any]) -> None:
    """Write `none` in place of null in the JSON Schema."""
    checks = [choice for choice in schema["anyOf"] if choice != {"type": "null"}]
    schema.update({"anyOf": [{"const": "none"}, *checks], "default": "none"})
