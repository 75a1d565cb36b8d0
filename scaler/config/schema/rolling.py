"""`roll`: how outdated servers are replaced."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from pydantic import BaseModel, model_validator

from scaler.config.schema.fields import spec_key, strict_config
from scaler.config.schema.refusals import refusal
from scaler.config.schema.values import Duration, Number
from scaler.model.roll import Pace, pace_problem


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

    @model_validator(mode="after")
    def _goes_on(self) -> Self:
        if problem := pace_problem(self.pace()):
            raise refusal(problem, "allow a surge, or a server out of service")
        return self

    def pace(self) -> Pace:
        """Convert it to the model."""
        return Pace(surge=self.surge, unavailable=self.unavailable, canary=self.canary, bake=self.bake)
