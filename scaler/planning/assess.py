"""From what the cloud lists, what the engine holds and what was recorded, to one `World`. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from scaler.model import Machine, Server, Spec, StackEntry, StackState, World
from scaler.model.lifecycle import Phase, Status, deadline_of, status_of
from scaler.model.ownership import GROUP
from scaler.planning.deadlines import Deadline
from scaler.support.durations import format_duration

_START_WITHIN = timedelta(minutes=10)
"""For servers of a group that the spec no longer has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a run found out beyond the cloud's list."""

    is_ready: Callable[[Server], bool] = lambda server: False
    """Asked for servers that their cloud calls running and that were not known to be ready."""
    trouble: Callable[[Server], str | None] = lambda server: None
    """What was wrong when that was last asked."""
    stopping: frozenset[str] = frozenset()
    """Servers that the run is bringing to rest."""
    relabelled: frozenset[str] = frozenset()
    """Ids of machines that exist, and no longer carry our labels."""
    deadlines: Mapping[str, Deadline] = field(default_factory=dict)
    """By group; without one, the spec's `start_within` holds."""


def assess(
    spec: Spec,
    machines: Sequence[Machine],
    stack: StackState,
    records: Mapping[str, Server],
    now: datetime,
    findings: Findings | None = None,
) -> World:
    """What is there, and what we know of it.

    `machines` are all that carry our labels, oldest first; a machine that is missing from it is
    proven gone. `records` are those of the last look or run, by name.
    """
    now = now.replace(microsecond=0)
    findings = findings or Findings()
    named = _name(machines, stack.entries)
    look = _Look(spec, findings, now)
    by_id = {record.id: record for record in records.values() if record.id and not record.finished}
    servers = {
        name: look.server(
            name, machine, by_id.get(machine.id) or _intent(records.get(name)), _holds(stack, name, machine)
        )
        for name, machine in named.items()
    }
    past = _past(records, servers, now)
    return World(
        at=now,
        machines=named,
        entries=stack.entries,
        servers=servers,
        past=past,
        drift=tuple(_drift(named, servers, stack, records, findings.relabelled)),
        relabelled=findings.relabelled,
        recorded=_is_recorded(servers, stack),
    )


def known(stack: StackState, records: Iterable[Server]) -> dict[str, Server]:
    """Our records and the stack's outputs as one: of two of one name, the later.

    The file is this machine's; the outputs are everyone's, and survive the file. Outputs can be
    those of an earlier machine of the name, or of the intent to make one, when they were not saved since.
    """
    merged = {server.name: server for server in records}
    for name, output in stack.outputs.items():
        mine = merged.get(name)
        if mine is None or mine.since < output.since:
            merged[name] = output
        elif mine.id == output.id:
            # Whoever protects a server says so in the stack, on whatever machine.
            merged[name] = replace(mine, protected=output.protected, price=mine.price or output.price)
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


def _intent(record: Server | None) -> Server | None:
    """The record of a create request that was meant, and may have become the machine of its name."""
    return record if record and record.id is None and record.status is Status.NEW else None


def _holds(stack: StackState, name: str, machine: Machine) -> bool:
    return name in stack.entries and stack.entries[name].id == machine.id


@dataclass(frozen=True, slots=True)
class _Look:
    """What one look needs to know to make records of machines."""

    spec: Spec
    findings: Findings
    now: datetime

    def server(self, name: str, machine: Machine, record: Server | None, in_stack: bool) -> Server:
        """The record of a machine as it is now."""
        known = self._facts(name, machine, record)
        status = self._status(known, machine, record, in_stack)
        if record is None:
            since = known.created if machine.phase is Phase.BOOTING and known.created else self.now
            server = replace(known, status=status, since=since)
        else:
            server = known.become(status, self.now, known.error if status is Status.HANGING else None)
            if status is Status.STARTING and record.status is Status.NEW and known.created:
                server = replace(server, since=known.created)
        return self._in_time(server)

    def _facts(self, name: str, machine: Machine, record: Server | None) -> Server:
        known = record or Server(
            name=name, group=machine.labels[GROUP], id=machine.id, status=Status.NEW, since=self.now
        )
        same = (known.type, known.location) == (machine.type, machine.location)
        return replace(
            known,
            price=known.price if same else None,
            name=name,
            id=machine.id,
            group=machine.labels[GROUP],
            ipv4=machine.ipv4,
            ipv6=machine.ipv6,
            type=machine.type,
            location=machine.location,
            image=machine.image,
            created=machine.created.replace(microsecond=0),
        )

    def _status(self, known: Server, machine: Machine, record: Server | None, in_stack: bool) -> Status:
        if known.name in self.findings.stopping and machine.phase in (Phase.RUNNING, Phase.STOPPING):
            return Status.STOPPING
        before = record.status if record else None
        ready = machine.phase is Phase.RUNNING and (
            before is Status.RUNNING or self._needs_no_check(known) or self.findings.is_ready(known)
        )
        return status_of(machine.phase, machine.locked, before, in_stack=in_stack, ready=ready)

    def _needs_no_check(self, server: Server) -> bool:
        group = self.spec.groups.get(server.group)
        return group is None or group.ready.kind == "none"

    def _in_time(self, server: Server) -> Server:
        """The server, or `hanging` if it is in its status for too long."""
        if server.name in self.findings.stopping:
            # Whoever brings it to rest has deadlines of its own: a drain may take hours.
            return server
        deadline = self._deadline(server.group)
        limit = deadline_of(server.status, deadline.length)
        if limit is None or self.now - server.since <= limit:
            return server
        why = f" ({deadline.why})" if deadline.why and limit == deadline.length else ""
        error = f"{server.status} for longer than {format_duration(limit)}{why}"
        trouble = self.findings.trouble(server)
        return server.become(Status.HANGING, self.now, f"{error}; not ready: {trouble}" if trouble else error)

    def _deadline(self, name: str) -> Deadline:
        group = self.spec.groups.get(name)
        default = Deadline(group.start_within if group else _START_WITHIN)
        return self.findings.deadlines.get(name, default)


def _past(records: Mapping[str, Server], servers: Mapping[str, Server], now: datetime) -> dict[str, Server]:
    live = {server.id for server in servers.values()}
    past = {}
    for name, record in records.items():
        if name in servers or record.id in live:
            continue
        if record.status is Status.DELETED or (record.status is Status.ERRORED and record.id is None):
            past[name] = record
        elif record.id is not None:
            past[name] = record.become(Status.DELETED, now)
    return past


def _drift(
    named: Mapping[str, Machine],
    servers: Mapping[str, Server],
    stack: StackState,
    records: Mapping[str, Server],
    relabelled: frozenset[str],
) -> Iterable[str]:
    ids = {machine.id for machine in named.values()}
    for name, entry in stack.entries.items():
        record = records.get(name)
        if entry.id in relabelled:
            yield (
                f"{name} ({entry.id}) exists but no longer carries this stack's labels; "
                "it was left alone and is still paid for"
            )
        elif entry.id not in ids and not (record and record.status is Status.DELETING):
            yield f"{name} ({entry.id}) is gone from the cloud"
    for name, server in servers.items():
        record = records.get(name)
        if not _holds(stack, name, named[name]) and server.status is not Status.DELETING:
            yield f"{name} ({server.id}) exists and is in no state"
        if server.status is Status.STOPPED and record and record.status not in (Status.STOPPING, Status.STOPPED):
            yield f"{name} ({server.id}) was {record.status} and is off"
        if server.status is Status.HANGING and record and record.status is not Status.HANGING:
            yield f"{name} ({server.id}) is hanging: {server.error}"


def _is_recorded(servers: Mapping[str, Server], stack: StackState) -> bool:
    held = {name: entry.id for name, entry in stack.entries.items()}
    told = _unpriced(stack.outputs) == _unpriced(servers)
    return not stack.pending and told and held == {n: s.id for n, s in servers.items()}


def _unpriced(servers: Mapping[str, Server]) -> dict[str, Server]:
    """A price that was learned meanwhile is not worth an engine's start: it is saved with the next change."""
    return {name: replace(server, price=None) for name, server in servers.items()}
