"""Why a server has its status, from the event log and its record. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime, timedelta

from scaler.model import Group, Server
from scaler.model.events import Event, EventName
from scaler.planning.deadlines import Deadline, learn_deadline
from scaler.records.boots import boot_times
from scaler.support.values import dataclass


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """A run, as the event log has it."""

    id: str | None
    cause: str | None
    started: datetime | None
    finished: datetime | None
    """None if it still runs, or was killed."""
    result: Mapping[str, object] = field(default_factory=dict)
    """Outcome, numbers by group, requests and seconds; empty until it has finished."""
    error: str | None = None
    events: tuple[Event, ...] = ()
    """Its other events of the whole stack, such as a limit that was hit or a decision of autoscaling."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The decision behind the status of a server, and what led to it."""

    server: str
    record: Server | None
    """None if its record is pruned or lost."""
    decision: Event | None
    """The last event of the server that has a reason, else its last event."""
    run: RunReport | None
    """The run that made the decision."""
    deadline: Deadline | None
    """How long it may take to start, and why that long; None if the spec has no such group."""
    transitions: tuple[Event, ...]
    """All events of this name, oldest first, also of earlier machines with the name."""


def explain_server(
    name: str, events: Sequence[Event], record: Server | None, groups: Mapping[str, Group]
) -> Explanation | None:
    """Explain a server from the event log and its record; None if neither has it."""
    own = [event for event in events if event.server == name]
    if not own and record is None:
        return None
    decision = _decision(own)
    group = groups.get(record.group if record else own[-1].group or "")
    return Explanation(
        server=name,
        record=record,
        decision=decision,
        run=_run(decision, events) if decision and decision.run else None,
        deadline=_deadline(group, events) if group else None,
        transitions=tuple(own),
    )


def _decision(own: Sequence[Event]) -> Event | None:
    reasoned = [event for event in own if event.reason]
    return next(reversed(reasoned or own), None)


def _run(decision: Event, events: Sequence[Event]) -> RunReport:
    of_run = [event for event in events if event.run == decision.run]
    started = _first(EventName.RUN_STARTED, of_run)
    finished = _first(EventName.RUN_FINISHED, of_run)
    around = (EventName.RUN_STARTED, EventName.RUN_FINISHED)
    return RunReport(
        id=decision.run,
        cause=decision.cause,
        started=started.at if started else None,
        finished=finished.at if finished else None,
        result=(finished.result if finished else None) or {},
        error=finished.reason if finished else None,
        events=tuple(event for event in of_run if event.server is None and event.event not in around),
    )


def _first(name: EventName, events: Sequence[Event]) -> Event | None:
    return next((event for event in events if event.event == name), None)


def _deadline(group: Group, events: Sequence[Event]) -> Deadline:
    times: Sequence[timedelta] = boot_times(events).get(group.name, ())
    return learn_deadline(times, group.start_within) or Deadline(group.start_within, "start_within of the spec")
