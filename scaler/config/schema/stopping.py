"""`stop`: what happens to a server before it is deleted."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import BaseModel

from scaler.config.schema.commands import Command
from scaler.config.schema.fields import spec_key, strict_config
from scaler.config.schema.values import Duration


class StopSchema(BaseModel):
    """What happens to a serving server before it is deleted."""

    model_config = strict_config("Stop")

    drain: Command = spec_key(
        "A command per server, in the project folder; {ip} and {name} are filled in. It ends when the server has "
        "finished its work.",
        default=(),
    )
    drain_within: Duration = spec_key(
        "How long the drain command may take.", default=timedelta(minutes=5), json_schema_extra={"default": "5m"}
    )
    on_drain_failure: Literal["remove", "keep"] = spec_key(
        "What becomes of a server whose drain fails or does not end.", default="remove"
    )
    shutdown_within: Duration | None = spec_key(
        "How long an ACPI shutdown may take before the power is cut; without it, there is no shutdown.", default=None
    )
