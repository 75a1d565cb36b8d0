"""From what the cloud lists, what the engine holds and what was recorded, to one `World`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from scaler.lifecycle import Status, deadline_of, status_of
from scaler.model import Machine, Server, Spec, StackEntry, StackState, World
from scaler.ownership import GROUP

_START_WITHIN = timedelta(minutes=10)
"""For servers of a group that the spec no longer has."""


def assess(
    spec: Spec, machines: Sequence[Machine], stack: StackState, records: Mapping[str, Server], now: datetime
) -> World:
    """What is there, and what we know of it.

    `machines` are all that carry our labels, oldest first; a machine that is missing from it is
    proven gone. `records` are those of the last look or run, by name.
    """
    now = now.replace(microsecond=0)
    named = _name(machines, stack.entries)
    servers = {
        name: _server(spec, name, machine, _record_of(machine, name, records), _holds(stack, name, machine), now)
        for name, machine in named.items()
    }
    past = _past(records, servers, now)
    return World(
        at=now,
        machines=named,
        entries=stack.entries,
        servers=servers,
        past=past,
        drift=tuple(_drift(named, servers, stack, records)),
        recorded=_is_recorded(servers, stack),
    )


def known(stack: StackState, records: Iterable[Server]) -> dict[str, Server]:
    """Our records and the stack's outputs as one: of two that tell of one machine, the later.

    The file is this machine's; the outputs are everyone's, and survive the file.
    """
    merged = {server.name: server for server in records}
    for name, output in stack.outputs.items():
        mine = merged.get(name)
        if mine is None or mine.id != output.id or mine.since < output.since:
            merged[name] = output
    return merged


def _name(machines: Sequence[Machine], entries: Mapping[str, StackEntry]) -> dict[str, Machine]:
    """Machines by the name of their record: the stack's name for it, else its own.

    Where names are not unique, the oldest that is not in the stack keeps it, and the others get
    their id behind it so that each can be adopted, and deleted, for itself.
    """
    in_stack = {entry.id: name for name, entry in entries.items()}
    named = {in_stack[machine.id]: machine for machine in machines if machine.id in in_stack}
    for machine in machines:
        if machine.id not in in_stack:
            name = machine.name if machine.name not in named else f"{machine.name}.{machine.id}"
            named[name] = machine
    return named


def _record_of(machine: Machine, name: str, records: Mapping[str, Server]) -> Server | None:
    record = records.get(name)
    if record is None or record.id == machine.id:
        return record
    # A record without an id is of a create request that was meant, and may have become this.
    return record if record.id is None and record.status is Status.NEW else None


def _holds(stack: StackState, name: str, machine: Machine) -> bool:
    return name in stack.entries and stack.entries[name].id == machine.id


def _server(spec: Spec, name: str, machine: Machine, record: Server | None, in_stack: bool, now: datetime) -> Server:
    group = machine.labels[GROUP]
    before = record.status if record else None
    status = status_of(machine.phase, machine.locked, before, in_stack)
    created = machine.created.replace(microsecond=0)
    if record and status is before:
        since, previous = record.since, record.previous
    else:
        since, previous = created if status is Status.STARTING else now, before
    limit = deadline_of(status, spec.groups[group].start_within if group in spec.groups else _START_WITHIN)
    error = record.error if record and status is Status.HANGING else None
    if limit is not None and now - since > limit:
        error = f"{status} for longer than {_duration(limit)}"
        status, since, previous = Status.HANGING, now, status
    return Server(
        name=name,
        group=group,
        id=machine.id,
        status=status,
        since=since,
        previous=previous,
        ipv4=machine.ipv4,
        ipv6=machine.ipv6,
        type=machine.type,
        location=machine.location,
        image=machine.image,
        created=created,
        error=error,
    )


def _duration(length: timedelta) -> str:
    seconds = int(length.total_seconds())
    return f"{seconds // 60}m" if seconds % 60 == 0 else f"{seconds}s"


def _past(records: Mapping[str, Server], servers: Mapping[str, Server], now: datetime) -> dict[str, Server]:
    live = {server.id for server in servers.values()}
    past = {}
    for name, record in records.items():
        if name in servers or record.id in live:
            continue
        if record.status is Status.DELETED or (record.status is Status.ERRORED and record.id is None):
            past[name] = record
        elif record.id is not None:
            past[name] = replace(record, status=Status.DELETED, since=now, previous=record.status)
    return past


def _drift(
    named: Mapping[str, Machine], servers: Mapping[str, Server], stack: StackState, records: Mapping[str, Server]
) -> Iterable[str]:
    ids = {machine.id for machine in named.values()}
    for name, entry in stack.entries.items():
        record = records.get(name)
        if entry.id not in ids and not (record and record.status is Status.DELETING):
            yield f"{name} ({entry.id}) is gone from the cloud"
    for name, server in servers.items():
        record = records.get(name)
        if not _holds(stack, name, named[name]) and server.status is not Status.DELETING:
            yield f"{name} ({server.id}) exists and is in no state"
        if server.status is Status.STOPPED and record and record.status is not Status.STOPPED:
            yield f"{name} ({server.id}) was {record.status} and is off"
        if server.status is Status.HANGING and record and record.status is not Status.HANGING:
            yield f"{name} ({server.id}) is hanging: {server.error}"


def _is_recorded(servers: Mapping[str, Server], stack: StackState) -> bool:
    held = {name: entry.id for name, entry in stack.entries.items()}
    return not stack.pending and dict(stack.outputs) == dict(servers) and held == {n: s.id for n, s in servers.items()}
