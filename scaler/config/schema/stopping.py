"""`stop`: what happens to a server before it is deleted."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, field_validator

from scaler.config.schema.commands import Command
from scaler.config.schema.context import Info
from scaler.config.schema.fields import spec_key, strict_config
from scaler.config.schema.refusals import refusal
from scaler.config.schema.values import Duration


class StopSchema(BaseModel):
    """What happens to a serving server before it is deleted."""

    model_config = strict_config("Stop")

    drain: Command = spec_key(
        "A command per server, in the project folder; {ip}, {private_ip} and {name} are filled in. It ends when the "
        "server has finished its work. It runs on when the command that began it has ended.",
        default=(),
    )
    drained: Command = spec_key(
        "A check per server that ends with 0 when the server has finished its work, asked by every run. With it, drain "
        "only begins to drain, is repeated until it has ended with 0, and no process outlives a run.",
        default=(),
    )
    resume: Command = spec_key(
        "A command per server that puts a draining server back to work, when more servers are wanted. Without it, "
        "draining servers go in any case.",
        default=(),
    )
    drain_within: Duration = spec_key(
        "How long a drain may take, from when it first began.",
        default=timedelta(minutes=5),
        json_schema_extra={"default": "5m"},
    )
    on_drain_failure: Literal["remove", "keep"] = spec_key(
        "What becomes of a server whose drain fails or does not end.", default="remove"
    )
    shutdown_within: Duration | None = spec_key(
        "How long an ACPI shutdown may take before the power is cut; without it, there is no shutdown.", default=None
    )

    @field_validator("drained", "resume")
    @classmethod
    def _with_a_drain(cls, words: tuple[str, ...], info: Info) -> tuple[str, ...]:
        if words and not info.data.get("drain", True):
            raise refusal("needs drain, the command that begins to drain a server", "add drain, or remove this")
        return words
