"""Counts and load over time, of each group, from the events of a stack. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from datetime import UTC, datetime
from typing import Any

from scaler.autoscale.seen import Seen
from scaler.model.events import Event, EventName
from scaler.model.lifecycle import Status
from scaler.records.state import State
from scaler.support.values import dataclass


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """A group's history: what held from each time until the next."""

    times: Sequence[float]
    """Seconds since 1970, the first is the beginning and the last one the end."""
    wanted: Sequence[float | None]
    """None: not known."""
    ready: Sequence[float | None]
    loads: Mapping[str, Sequence[float | None]]

    @property
    def short_s(self) -> float:
        """For how long fewer servers were ready than wanted."""
        spans = zip(self.times, self.times[1:], self.wanted, self.ready, strict=False)
        return sum(
            end - start
            for start, end, wanted, ready in spans
            if wanted is not None and ready is not None and ready < wanted
        )


@dataclass
class _Series:
    """Values by time; each holds until the next."""

    points: list[tuple[datetime, float | None]] = field(default_factory=list)

    def add(self, at: datetime, value: float | None) -> None:
        self.points.append((at, value))

    def at(self, times: Sequence[datetime]) -> list[float | None]:
        values: list[float | None] = []
        points, index, value = sorted(self.points, key=lambda point: point[0]), 0, None
        for time in times:
            while index < len(points) and points[index][0] <= time:
                value = points[index][1]
                index += 1
            values.append(value)
        return values


def timelines(
    state: State | None, events: Sequence[Event], seen: Iterable[Seen], since: datetime, now: datetime
) -> dict[str, Timeline]:
    """Return the history of each group between two times, by the group's name."""
    wanted: dict[str, _Series] = defaultdict(_Series)
    loads: dict[str, dict[str, _Series]] = defaultdict(lambda: defaultdict(_Series))
    for one in [*_decided(events), *seen]:
        wanted[one.group].add(one.at, one.wanted)
        for name, value in one.loads.items():
            loads[one.group][name].add(one.at, value)
    for at, group, number in _counts(events):
        wanted[group].add(at, number)
    for group, number in (state.wanted if state else {}).items():
        wanted[group].add(now, number)
    ready = _ready(state, events)
    found = {}
    for group in sorted({*wanted, *ready}):
        series = [wanted[group], ready[group], *loads[group].values()]
        moments = {at for one in series for at, _ in one.points if since < at < now}
        times = [since, *sorted(moments), now]
        found[group] = Timeline(
            times=[time.timestamp() for time in times],
            wanted=wanted[group].at(times),
            ready=ready[group].at(times),
            loads={name: one.at(times) for name, one in sorted(loads[group].items())},
        )
    return found


def mapping(value: object) -> Mapping[str, Any]:
    """Return a part of an event; empty if it is none: another version may have written it."""
    return value if isinstance(value, Mapping) else {}


def _decided(events: Iterable[Event]) -> Iterable[Seen]:
    for event in events:
        if event.event == EventName.AUTOSCALE_DECIDED and event.at and event.group:
            decision = mapping(event.decision)
            count = decision.get("to")
            metrics = mapping(decision.get("metrics"))
            loads = {name: _number(mapping(reading).get("value")) for name, reading in metrics.items()}
            if isinstance(count, int):
                yield Seen(event.at, event.group, count, loads)


def _counts(events: Iterable[Event]) -> Iterable[tuple[datetime, str, int]]:
    """Yield the wanted counts of finished runs."""
    for event in events:
        for group, numbers in mapping(mapping(event.result).get("groups")).items():
            count = mapping(numbers).get("wanted")
            if event.at and isinstance(count, int):
                yield event.at, group, count


def _ready(state: State | None, events: Sequence[Event]) -> dict[str, _Series]:
    """Return how many servers were ready, by group.

    The log may begin with servers that it says nothing of; their number follows from those that are ready in the end.
    """
    status: dict[str, Status | None] = {}
    counts: dict[str, int] = defaultdict(int)
    changes: dict[str, list[tuple[datetime, int]]] = defaultdict(list)
    for event in sorted((event for event in events if event.at and event.server), key=lambda event: event.at or 0):
        name, group = event.server or "", event.group or ""
        change = (event.status is Status.RUNNING) - (status.get(name, event.previous) is Status.RUNNING)
        status[name] = event.status
        if change and event.at:
            counts[group] += change
            changes[group].append((event.at, counts[group]))
    ended: dict[str, int] = defaultdict(int)
    for server in state.servers if state else ():
        ended[server.group] += server.status is Status.RUNNING
    found: dict[str, _Series] = defaultdict(_Series)
    for group in {*changes, *ended}:
        before = ended[group] - counts[group] if state else 0
        found[group].add(datetime.min.replace(tzinfo=UTC), max(0, before))
        found[group].points += [(at, max(0, before + number)) for at, number in changes[group]]
    return found


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and math.isfinite(value) else None
