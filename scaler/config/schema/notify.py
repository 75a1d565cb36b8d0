"""`notify`: which events go to which URL, command or chat."""

from __future__ import annotations

import fnmatch

from pydantic import BaseModel, field_validator, model_validator

from scaler.config.schema.autoscale.quantities import Variable
from scaler.config.schema.commands import Command
from scaler.config.schema.fields import check_one_value, one_of_required, spec_key, strict_config
from scaler.config.schema.refusals import refusal, shown
from scaler.config.schema.urls import Url
from scaler.config.schema.values import Choices
from scaler.model.events import EventName
from scaler.support.suggestions import nearest_clause

_EVENTS = tuple(map(str, EventName))
_EVENT_PATTERNS = tuple(dict.fromkeys(f"{event.partition('.')[0]}.*" for event in _EVENTS))


class NotifySchema(BaseModel):
    """Where events are sent: a URL, a command, or services that Apprise knows."""

    model_config = strict_config("Notify", one_of_required("url", "command", "apprise_env"))

    url: Url | None = spec_key("Gets one JSON POST per event.", default=None)
    command: Command = spec_key("Gets the event on standard input; one process per event.", default=())
    apprise_env: Variable | None = spec_key(
        "The environment variable with the Apprise URLs of chats and mailboxes, which get a sentence per event.",
        default=None,
    )
    events: Choices = spec_key("Which events: names, or patterns such as server.*.", default=("*",))

    @field_validator("events")
    @classmethod
    def _known(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for index, pattern in enumerate(patterns):
            if not fnmatch.filter(_EVENTS, pattern):
                fix = nearest_clause(pattern, _EVENTS + _EVENT_PATTERNS)
                raise refusal(f"names no event: {shown(pattern)}", fix, at=(index,))
        return patterns

    @model_validator(mode="after")
    def _one_target(self) -> NotifySchema:
        check_one_value(self, "url", "command", "apprise_env")
        return self
