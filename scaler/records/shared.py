"""The records of one stack as they lie beside the engine's state, as one value and one JSON document.

Versions of scaler that differ by one work on the same document: fields that are not known are ignored, and a
document of a newer schema is refused.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from scaler.errors import StateError
from scaler.model.events import EventName
from scaler.records.codec import from_json, to_json
from scaler.records.json_fields import Fields
from scaler.records.merge import chosen, merge
from scaler.records.state import State
from scaler.support.documents import parse_json
from scaler.support.values import dataclass

SCHEMA = 1

Json = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What the machines that work on one stack know together."""

    state: State | None = None
    memory: Json | None = None
    """The memory of autoscaling, as its file has it."""
    shortages: Json | None = None
    """As their file has them."""
    events: tuple[Json, ...] = ()
    """The last events, oldest first, as lines of the event log have them."""
    segments: tuple[str, ...] = ()
    """The documents that hold the events before these, oldest first."""

    def joined(self, base: Shared, theirs: Shared) -> Shared:
        """Return what `theirs` becomes with what changed here since `base`; here `events` are the new ones alone."""
        return Shared(
            state=chosen(base.state, self.state, theirs.state, lambda ours, other: _merged(base.state, ours, other)),
            memory=chosen(base.memory, self.memory, theirs.memory, lambda _, other: other),
            shortages=chosen(base.shortages, self.shortages, theirs.shortages, lambda ours, _: ours),
            events=(*theirs.events, *self.events),
            segments=theirs.segments,
        )

    def has_news(self, base: Shared) -> bool:
        """Return whether this is worth a write: a run that changed nothing is not."""
        news = self.state is not None and self.state != base.state
        news |= self.memory != base.memory or self.shortages != base.shortages
        return news or any(map(_tells_something, self.events))


def _merged(base: State | None, ours: State | None, theirs: State | None) -> State | None:
    return merge(base, ours, theirs) if ours and theirs else ours or theirs


NOTHING = Shared()


def _tells_something(event: Json) -> bool:
    if event.get("event") == EventName.RUN_STARTED:
        return False
    result = event.get("result")
    outcome = result.get("outcome") if isinstance(result, Mapping) else None
    return event.get("event") != EventName.RUN_FINISHED or outcome not in ("unchanged", "planned")


def encode(shared: Shared) -> bytes:
    """Return the document, which differs from any other that was ever written."""
    document = {
        "schema": SCHEMA,
        "token": secrets.token_hex(8),
        "state": to_json(shared.state) if shared.state else None,
        "autoscale": shared.memory,
        "shortages": shared.shortages,
        "segments": list(shared.segments),
        "events": list(shared.events),
    }
    return json.dumps(document).encode()


def decode(content: bytes, stack: str) -> Shared:
    """Return what `encode` wrote. ValueError if it is none of this stack; StateError if a newer scaler wrote it."""
    fields = Fields(parse_json(content))
    if (schema := fields.whole_number("schema")) > SCHEMA:
        raise StateError(
            "The shared records were written by a newer scaler.",
            why=f"they have schema {schema}, and this scaler reads schema {SCHEMA}",
            fix="Upgrade scaler.",
            code="state_newer",
        )
    document = fields.optional_object("state")
    state = None if document is None else from_json(document)
    if state and state.stack != stack:
        raise ValueError(f"it is of the stack {state.stack}")
    return Shared(
        state=state,
        memory=fields.optional_object("autoscale"),
        shortages=fields.optional_object("shortages"),
        segments=fields.texts("segments"),
        events=tuple(Fields(event).all() for event in fields.items("events")),
    )


def lines_of(events: Iterable[Json]) -> bytes:
    """Return events as lines of the event log."""
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def events_in(lines: bytes) -> tuple[Json, ...]:
    """Return the events in lines of an event log; what is no event is left out."""
    found: list[Json] = []
    for line in lines.splitlines():
        try:
            event = parse_json(line)
        except ValueError:
            continue
        if isinstance(event, dict) and isinstance(event.get("event"), str):
            found.append(event)
    return tuple(found)


def split_off(shared: Shared, most: int, keep: int) -> tuple[Sequence[Json], Shared]:
    """Return the oldest events that become a segment, and the rest.

    There are some once all events have more than `most` bytes; about `keep` bytes of them stay.
    """
    sizes = [len(json.dumps(event)) + 1 for event in shared.events]
    left = sum(sizes)
    if left <= most:
        return (), shared
    number = 0
    while left > keep:
        left -= sizes[number]
        number += 1
    return shared.events[:number], replace(shared, events=shared.events[number:])
