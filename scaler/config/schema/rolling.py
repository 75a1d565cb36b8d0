"""`roll`: how outdated servers are replaced."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from pydantic import BaseModel, model_validator

from scaler.config.schema.autoscale.quantities import Cron, TimeZone
from scaler.config.schema.fields import spec_key, strict_config
from scaler.config.schema.refusals import refusal
from scaler.config.schema.values import Duration, Number
from scaler.model.roll import Pace, RollWindow, RollWindows, pace_problem


class RollWindowSchema(BaseModel):
    """From each moment of a cron expression on, for a while: `autoscale` may begin waves."""

    model_config = strict_config("RollWindow")

    cron: Cron = spec_key("When it opens, such as 0 2 * * mon-fri.")
    length: Duration = spec_key("How long it is open.", alias="for")


class RollSchema(BaseModel):
    """How outdated servers are replaced, in waves."""

    model_config = strict_config("Roll")

    surge: Number = spec_key("How many servers there may be beside the wanted ones.", default=1)
    unavailable: Number = spec_key("How many of the wanted servers may be out of service.", default=0)
    canary: Number = spec_key("How many servers the first wave has, at most; 0: as many as the others.", default=1)
    bake: Duration = spec_key(
        "How long new servers must have been ready and healthy before old ones go.",
        default=timedelta(minutes=2),
        json_schema_extra={"default": "2m"},
    )
    windows: tuple[RollWindowSchema, ...] = spec_key(
        "When `autoscale` may begin a wave; without it, at any time.", default=()
    )
    timezone: TimeZone = spec_key("The time zone of the windows' cron expressions.", default="UTC")

    @model_validator(mode="after")
    def _goes_on(self) -> Self:
        if problem := pace_problem(self.pace()):
            raise refusal(problem, "allow a surge, or a server out of service")
        return self

    def pace(self) -> Pace:
        """Convert it to the model."""
        return Pace(surge=self.surge, unavailable=self.unavailable, canary=self.canary, bake=self.bake)

    def times(self) -> RollWindows:
        """Convert the windows to the model."""
        windows = tuple(RollWindow(cron=window.cron, length=window.length) for window in self.windows)
        return RollWindows(timezone=self.timezone, windows=windows)
