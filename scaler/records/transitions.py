"""Which events lead from one set of records to the next. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from scaler.model import Action, DrainStage, Server, Step
from scaler.model.events import Event, EventName
from scaler.model.lifecycle import Status
from scaler.model.orders import Orders
from scaler.model.roll import Roll

_ENTERED = {
    Status.RUNNING: EventName.RUNNING,
    Status.REBOOTING: EventName.REBOOTING,
    Status.STOPPING: EventName.STOPPING,
    Status.STOPPED: EventName.STOPPED,
    Status.DELETING: EventName.DELETING,
    Status.DELETED: EventName.DELETED,
    Status.ERRORED: EventName.ERRORED,
    Status.HANGING: EventName.HANGING,
    Status.UNHEALTHY: EventName.UNHEALTHY,
}
"""The event of entering a status. `new` and `starting` have none: a server in them is `server.creating`."""

_DECIDED_BY: Mapping[EventName, tuple[Action, ...]] = {
    EventName.CREATING: (Action.CREATE,),
    EventName.ADOPTED: (Action.ADOPT,),
    EventName.REBOOTING: (Action.REBOOT, Action.POWER_ON),
    EventName.STOPPING: (Action.DELETE, Action.POWER_OFF),
    EventName.DRAINING: (Action.DELETE, Action.POWER_OFF),
    EventName.RESUMED: (Action.RESUME,),
    EventName.STOPPED: (Action.DELETE, Action.POWER_OFF),
    EventName.DELETING: (Action.DELETE,),
    EventName.DELETED: (Action.DELETE,),
    EventName.VANISHED: (Action.FORGET,),
}
"""The actions whose reason an event has."""

_Decisions = Mapping[tuple[str, Action], str]
"""The reasons of the steps, by server and action."""


def transitions(before: Mapping[str, Server], after: Mapping[str, Server], steps: Iterable[Step] = ()) -> list[Event]:
    """Return the events that lead from one set of records, by name, to the next.

    `steps` are those of the plan. They distinguish an adopted server from a created one, and a removed
    server from one that vanished, and they give the reasons. The events come in the order of `after`,
    then of the names that are only in `before`.
    """
    decisions = {(step.server, step.action): step.reason for step in steps}
    events: list[Event] = []
    for name, server in after.items():
        known = before.get(name)
        if known is not None and _reused(known, server):
            events += _departure(known)
            known = None
        events += _change(known, server, decisions) if known else _arrival(server, decisions)
    for name, server in before.items():
        if name not in after:
            events += _departure(server)
    return [_with_reason(event, after.get(event.server or ""), decisions) for event in events]


def pause_events(before: Orders, after: Orders) -> list[Event]:
    """Return the event of a pause of autoscaling that began, or that ended."""
    if before.pause == after.pause:
        return []
    if after.pause:
        return [Event(event=EventName.AUTOSCALE_PAUSED, reason=str(after.pause))]
    return [Event(event=EventName.AUTOSCALE_RESUMED, reason="autoscaling goes on")]


def roll_events(before: Orders, after: Orders) -> list[Event]:
    """Return the events of rolls that began, came to another wave, are held up, or ended."""
    events = []
    for name, roll in after.rolls.items():
        known = before.rolls.get(name)
        if known is None or known.since != roll.since:
            known = None
            events.append(_roll_event(EventName.ROLL_STARTED, name, _roll_aim(roll)))
        if roll.waves > (known.waves if known else 0):
            events.append(_roll_event(EventName.ROLL_WAVE, name, f"wave {roll.waves}: {roll.size} to replace"))
        if roll.held and roll.held != (known.held if known else ""):
            events.append(_roll_event(EventName.ROLL_HELD, name, f"no wave begins: {roll.held}"))
        if not roll.is_rolling and (known is None or known.is_rolling):
            end = f"{roll.state} after wave {roll.waves}, {len(roll.accepted)} are new"
            events.append(_roll_event(EventName.ROLL_FINISHED, name, f"{end}: {roll.error}" if roll.error else end))
    return events


def _roll_aim(roll: Roll) -> str:
    images = ", ".join(sorted(roll.target.images))
    return f"back to image {images}" if roll.undoes else f"to image {images}"


def _roll_event(event: EventName, group: str, reason: str) -> Event:
    return Event(event=event, group=group, reason=f"{group}: {reason}")


def _reused(known: Server, server: Server) -> bool:
    """Return whether the name now belongs to another machine, or to the next attempt to create one."""
    if known.status == Status.DELETED or (known.status == Status.ERRORED and known.id is None):
        return server.status != known.status
    return known.id is not None and server.id is not None and known.id != server.id


def _arrival(server: Server, decisions: _Decisions) -> list[Event]:
    # A server that is first seen while it starts was created by the run; one seen later already existed.
    created = server.status in (Status.NEW, Status.STARTING) or server.id is None
    adopted = (server.name, Action.ADOPT) in decisions or not created
    first = EventName.ADOPTED if adopted else EventName.CREATING
    entered = _ENTERED.get(server.status)
    return [_event(name, None, server) for name in (first, entered) if name is not None]


def _change(known: Server, server: Server, decisions: _Decisions) -> list[Event]:
    if known.status == server.status:
        return [_event(EventName.DRAINING, known, server)] if _drains(server) and not _drains(known) else []
    if server.status == Status.DELETED and not _removed(known, decisions):
        return [_event(EventName.VANISHED, known, server)]
    if server.status == Status.RUNNING and (server.name, Action.RESUME) in decisions:
        return [_event(EventName.RESUMED, known, server)]
    entered = [_ENTERED[server.status]] if server.status in _ENTERED else []
    if _drains(server):
        entered.append(EventName.DRAINING)
    return [_event(name, known, server) for name in entered]


def _drains(server: Server) -> bool:
    is_draining = server.drain is not None and server.drain.stage is DrainStage.DRAINING
    return is_draining and server.status == Status.STOPPING


def _removed(known: Server, decisions: _Decisions) -> bool:
    return Status.DELETING in (known.status, known.previous) or (known.name, Action.DELETE) in decisions


def _departure(known: Server) -> list[Event]:
    """Return the event of a record that is gone: none if it was pruned or never had a machine, else `vanished`."""
    if known.status == Status.DELETED or known.id is None:
        return []
    return [Event(event=EventName.VANISHED, server=known.name, group=known.group, previous=known.status)]


def _event(name: EventName, known: Server | None, server: Server) -> Event:
    # When it happened, not when a run recorded it: boot times are measured by this.
    return Event(
        event=name,
        at=server.since,
        server=server.name,
        group=server.group,
        previous=known.status if known else None,
        status=server.status,
    )


def _with_reason(event: Event, server: Server | None, decisions: _Decisions) -> Event:
    if event.event in (EventName.ERRORED, EventName.HANGING, EventName.UNHEALTHY):
        return replace(event, reason=server.error if server else None)
    actions = _DECIDED_BY.get(EventName(event.event), ())
    reasons = [decisions[key] for action in actions if (key := (event.server or "", action)) in decisions]
    return replace(event, reason=reasons[0]) if reasons else event
