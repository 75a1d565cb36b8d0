"""Make one `World` of what the cloud lists, what the engine holds and what was recorded. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from datetime import UTC, datetime, timedelta

from scaler.model import CheckResult, Drain, Health, Machine, Server, Spec, StackEntry, StackState, World
from scaler.model.lifecycle import IN_SERVICE, UNSETTLED, Phase, Status, deadline_of, status_of
from scaler.model.ownership import GROUP, Owner, carries
from scaler.planning.absence import GRACE
from scaler.planning.claims import describe_unclaimed
from scaler.planning.deadlines import Deadline
from scaler.planning.names import natural
from scaler.planning.reach import UNREACHABLE, Probe, excuse
from scaler.support.clock import not_after
from scaler.support.durations import format_duration
from scaler.support.values import dataclass

_START_WITHIN = timedelta(minutes=10)
"""`start_within` for servers of a group that the spec no longer has."""


_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a run knows beyond the cloud's list."""

    is_ready: Callable[[Server], bool] = lambda server: False
    """The readiness check, for servers that the cloud calls running and that were not ready at the last observation."""
    trouble: Callable[[Server], str | None] = lambda server: None
    """Why the last readiness check of a server failed."""
    relabelled: frozenset[str] = frozenset()
    """Ids of machines that exist but carry another owner's labels now."""
    unclaimed: tuple[Machine, ...] = ()
    """Machines that carry the stack's names, and another id or none."""
    owner: Owner | None = None
    """Whose machines these are; None: those with the spec's names."""
    probe: Probe = lambda how, servers: {server.name: CheckResult.FAILED for server in servers}
    """Check servers now; asked only of groups with a late one."""
    undeleted: frozenset[str] = frozenset()
    """Servers whose deletion was accepted and has failed: they are there as before."""
    deadlines: Mapping[str, Deadline] = field(default_factory=dict)
    """By group; without one, the spec's `start_within` counts."""


def assess(
    spec: Spec,
    machines: Sequence[Machine],
    stack: StackState,
    records: Mapping[str, Server],
    now: datetime,
    findings: Findings | None = None,
) -> World:
    """Return what exists, and what we know of it.

    `machines` are all that carry our labels, oldest first; a machine that is not among them is
    proven gone. `records` are those of the last observation or run, by name.
    """
    now = now.replace(microsecond=0)
    findings = findings or Findings()
    named = _name(machines, stack.entries)
    observation = _Observation(spec, findings, now)
    by_id = {record.id: record for record in records.values() if record.id and not record.finished}
    servers = {
        name: observation.record(
            name,
            machine,
            by_id.get(machine.id) or _intent(records.get(name), machine),
            stack.entries[name] if _holds(stack, name, machine) else None,
        )
        for name, machine in named.items()
    }
    late = {name: error for name, server in servers.items() if (error := observation.why_late(server))}
    excused = excuse(spec, named, servers, late, findings.probe)
    dead = late.keys() - excused.names
    servers |= {name: observation.hanging(servers[name], late[name]) for name in dead}
    return World(
        at=now,
        owner=findings.owner or spec.owner,
        machines=named,
        entries=stack.entries,
        servers=servers,
        past=_past(records, servers, now),
        drift=(
            *_drift_of_entries(named, stack, records, findings.relabelled),
            *_drift_of_servers(named, servers, stack, records),
            *(f"{name} ({servers[name].id}) {UNREACHABLE}" for name in sorted(excused.unreachable, key=natural)),
            *(f"left alone: {describe_unclaimed(machine, now)}" for machine in findings.unclaimed),
        ),
        unclaimed=findings.unclaimed,
        relabelled=findings.relabelled,
        recorded=is_recorded(servers, stack),
    )


def known(stack: StackState, records: Iterable[Server]) -> dict[str, Server]:
    """Merge our records with the stack's outputs: of two of one name, take the later.

    The state file exists on this machine only; the outputs are shared, and survive the file. Outputs
    that were not saved since can be those of an earlier machine of the name, or of the intent to create one.
    """
    merged = {server.name: server for server in records}
    for name, output in stack.outputs.items():
        mine = merged.get(name)
        if mine is None or mine.since < output.since:
            merged[name] = output
        elif mine.id == output.id:
            # `scaler protect` writes the mark to the stack, from whatever machine.
            health = max(filter(None, (mine.health, output.health)), key=lambda each: each.checked, default=None)
            merged[name] = replace(mine, protected=output.protected, price=mine.price or output.price, health=health)
    return merged


def none_after(records: Mapping[str, Server], now: datetime) -> dict[str, Server]:
    """Return the records with each `since` in the future replaced by `now`.

    `created` stays: it is the cloud's own time, and nothing waits for it.
    """
    return {
        name: replace(
            server,
            since=not_after(server.since, now),
            missing_since=server.missing_since and not_after(server.missing_since, now),
            drain=_begun_by(server.drain, now),
            health=server.health and replace(server.health, checked=not_after(server.health.checked, now)),
        )
        for name, server in records.items()
    }


def _begun_by(drain: Drain | None, now: datetime) -> Drain | None:
    """Return a drain that began in the future as one that begins now, with the same time to end."""
    if drain is None or drain.since <= now:
        return drain
    return replace(drain, since=now, until=drain.until - (drain.since - now))


def _name(machines: Sequence[Machine], entries: Mapping[str, StackEntry]) -> dict[str, Machine]:
    """Return the machines by the name of their record: the stack's name for it, else its own.

    Where names are not unique, the oldest machine that is not in the stack has the name, and the
    others get their id behind it, so that each can be adopted and deleted on its own.
    """
    in_stack = {entry.id: name for name, entry in entries.items()}
    named = {in_stack[machine.id]: machine for machine in machines if machine.id in in_stack}
    for machine in machines:
        if machine.id not in in_stack:
            name = machine.name if machine.name not in named else f"{machine.name}.{machine.id}"
            named[name] = machine
    return named


def _intent(record: Server | None, machine: Machine) -> Server | None:
    """Return the record of a create request that was intended: the machine of its name may have come of it."""
    return record if record and record.id is None and record.status is Status.NEW and machine.seen else None


def _holds(stack: StackState, name: str, machine: Machine) -> bool:
    return name in stack.entries and stack.entries[name].id == machine.id


@dataclass(frozen=True)
class _Observation:
    """Make the records of machines at one moment."""

    spec: Spec
    findings: Findings
    now: datetime

    def record(self, name: str, machine: Machine, before: Server | None, entry: StackEntry | None) -> Server:
        """Return a machine's record as it is now.

        `before` is the last one, and `entry` what the engine's state holds of the machine; None: nothing.
        """
        current = self._with_facts(name, machine, before, entry)
        is_undeleted = before is not None and before.name in self.findings.undeleted
        status = self._status(current, machine, before, in_stack=entry is not None or is_undeleted)
        if before is None:
            since = self._created(current) if machine.phase is Phase.BOOTING else self.now
            server = replace(current, status=status, since=since)
        else:
            error = current.error if status in (Status.HANGING, Status.UNHEALTHY) else None
            server = current.become(status, self.now, error)
            if status is Status.STARTING and before.status is Status.NEW:
                server = replace(server, since=self._created(current))
        if machine.phase in UNSETTLED and server.drain is None and deadline_of(server.status, _START_WITHIN):
            # Its time begins when the vendor has finished.
            return replace(server, since=self.now)
        return server

    def _created(self, server: Server) -> datetime:
        """Return when the cloud created a server; `now`, if the cloud's clock is ahead of ours, or did not tell."""
        return not_after(server.created or self.now, self.now)

    def _with_facts(self, name: str, machine: Machine, before: Server | None, entry: StackEntry | None) -> Server:
        """Return the record with what the cloud says now, its status apart."""
        label = machine.labels.get(GROUP)
        group = (before.group if before else entry.group if entry else "") or label or ""
        server = before or Server(name=name, group=group, id=machine.id, status=Status.NEW, since=self.now)
        if not machine.seen and before is not None:
            return replace(server, name=name, id=machine.id, group=group)
        service = self.spec.groups[group].in_service if group in self.spec.groups else None
        same_price = (server.type, server.location) == (machine.type, machine.location)
        return replace(
            server,
            price=server.price if same_price else None,
            name=name,
            id=machine.id,
            group=group,
            in_service=None if service is None else carries(machine.labels, service),
            # A label that is absent is put back; one that says something else is somebody's decision.
            set_aside=not group or label not in (None, group) or self._is_of_unknown_group(group, before, entry),
            ipv4=machine.ipv4,
            ipv6=machine.ipv6,
            private_ip=machine.private_ip,
            delete_protection=machine.protected,
            type=machine.type,
            location=machine.location,
            image=machine.image,
            created=machine.created.replace(microsecond=0),
        )

    def _is_of_unknown_group(self, group: str, before: Server | None, entry: StackEntry | None) -> bool:
        """Return whether a machine is new to us and its label names a group that the spec does not have."""
        is_new = entry is None and (before is None or before.set_aside)
        return is_new and group not in self.spec.groups

    def _status(self, server: Server, machine: Machine, before: Server | None, *, in_stack: bool) -> Status:
        if server.drain and machine.phase not in (Phase.OFF, Phase.DELETING):
            return self._status_of_draining(server, machine, before, in_stack=in_stack)
        last = self._last_status(before, is_deleted=machine.locked or not in_stack)
        phase = Phase.RUNNING if self._is_shown_late(machine, before) else machine.phase
        ready = phase is Phase.RUNNING and (
            last in IN_SERVICE
            or (
                not self._is_being_attached(server, machine)
                and (self._needs_no_check(server) or self.findings.is_ready(server))
            )
        )
        return status_of(phase, machine.locked, last, in_stack=in_stack, ready=ready)

    def _is_shown_late(self, machine: Machine, before: Server | None) -> bool:
        """Return whether a machine is shown as it was before it first ran: lists lag behind requests by its id."""
        return (
            machine.phase is Phase.BOOTING
            and before is not None
            and before.status in IN_SERVICE
            and before.previous in (Status.NEW, Status.STARTING)
            and self.now - before.since < GRACE
        )

    def _is_being_attached(self, server: Server, machine: Machine) -> bool:
        """Return whether the cloud still attaches a new machine that runs to its networks.

        At Hetzner actions of their own do that, which hold its lock (hcloud-go#168, tonobo/hcloud-ruby#72).
        """
        group, attached = self.spec.groups.get(server.group), machine.details.get("private_net")
        return bool(machine.locked and group and isinstance(attached, list) and len(attached) < len(group.networks))

    def _last_status(self, before: Server | None, *, is_deleted: bool) -> Status | None:
        """Return the status from which a machine's follows; `is_deleted`: the delete of one that is to go was sent."""
        if before is None:
            return None
        last = before.status
        if last is Status.DELETING and before.previous is Status.UNHEALTHY and not is_deleted:
            # A delete that was recorded and never sent has healed nothing.
            last = Status.UNHEALTHY
        group = self.spec.groups.get(before.group)
        is_checked = group is not None and group.healthy is not None
        return Status.RUNNING if last is Status.UNHEALTHY and not is_checked else last

    def _status_of_draining(self, server: Server, machine: Machine, before: Server | None, *, in_stack: bool) -> Status:
        """Return the status of a server on its way out of service, whatever else the cloud says of it."""
        last = before.status if before else None
        is_deleted = status_of(machine.phase, machine.locked, last, in_stack=in_stack, ready=False) is Status.DELETING
        return Status.DELETING if is_deleted else Status.STOPPING

    def _needs_no_check(self, server: Server) -> bool:
        group = self.spec.groups.get(server.group)
        return group is None or group.ready.kind == "none"

    def why_late(self, server: Server) -> str | None:
        """Return for how long a server is in its status, if that is too long."""
        if server.drain and server.status is not Status.DELETING:
            # Draining and shutting down have deadlines of their own: a drain may take hours.
            return None
        deadline = self._deadline(server.group)
        limit = deadline_of(server.status, deadline.length)
        if limit is None or self.now - server.since <= limit:
            return None
        why = f" ({deadline.why})" if deadline.why and limit == deadline.length else ""
        return f"{server.status} for longer than {format_duration(limit)}{why}"

    def hanging(self, server: Server, error: str) -> Server:
        """Return the record of a server that is late."""
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


def _drift_of_entries(
    named: Mapping[str, Machine], stack: StackState, records: Mapping[str, Server], relabelled: frozenset[str]
) -> Iterable[str]:
    """Say which servers of the stack are not at the cloud as the stack holds them."""
    ids = {machine.id for machine in named.values()}
    for name, entry in stack.entries.items():
        record = records.get(name)
        if entry.id in relabelled:
            yield (
                f"{name} ({entry.id}) exists but carries another owner's labels; "
                "it was left alone and is still paid for"
            )
        elif entry.id not in ids and not (record and record.status is Status.DELETING):
            yield f"{name} ({entry.id}) is gone from the cloud"


def _drift_of_servers(
    named: Mapping[str, Machine], servers: Mapping[str, Server], stack: StackState, records: Mapping[str, Server]
) -> Iterable[str]:
    """Say which servers at the cloud are not as the stack and the records hold them."""
    for name, server in servers.items():
        if server.set_aside:
            yield _drift_of_group(server, named[name])
        elif not _holds(stack, name, named[name]) and server.status is not Status.DELETING:
            yield f"{name} ({server.id}) exists and is in no state"
        if named[name].phase in UNSETTLED:
            vendor_status = named[name].vendor_status
            yield f"{name} ({server.id}) is {vendor_status} at the cloud; it stays {server.status} until that is over"
        if name in records:
            yield from _drift_since(records[name], server)


def _drift_of_group(server: Server, machine: Machine) -> str:
    label = machine.labels.get(GROUP, "")
    was = f", not {server.group!r}" if server.group else ""
    if label and server.group == label:
        was = ", which the spec does not have"
    return f"{server.name} ({server.id}): its group label is {label!r}{was}; it was left alone and is still paid for"


def _drift_since(record: Server, server: Server) -> Iterable[str]:
    if server.status is Status.STOPPED and record.status not in (Status.STOPPING, Status.STOPPED):
        yield f"{server.name} ({server.id}) was {record.status} and is off"
    if server.status is Status.UNHEALTHY and record.status is not Status.UNHEALTHY:
        yield f"{server.name} ({server.id}) is unhealthy: {server.error}"
    if server.status is Status.HANGING and record.status is not Status.HANGING:
        yield f"{server.name} ({server.id}) is hanging: {server.error}"


def is_recorded(servers: Mapping[str, Server], stack: StackState) -> bool:
    """Return whether the stack's outputs and resources say exactly this, and no operation is unfinished."""
    held = {name: entry.id for name, entry in stack.entries.items()}
    # A server in no state that is set aside is not adopted.
    expected = {name: server.id for name, server in servers.items() if name in held or not server.set_aside}
    if stack.pending or held != expected:
        return False
    return _as_compared(stack.outputs) == _as_compared(servers)


def _as_compared(servers: Mapping[str, Server]) -> dict[str, Server]:
    """Leave out what is saved with the next change, and is no reason to start an engine."""
    return {name: _without_details(server) for name, server in servers.items()}


def _without_details(server: Server) -> Server:
    """Return a record without what may change at any time, or is learned late.

    Of its health it keeps how many checks in a row failed.
    """
    begun = server.drain and Drain(since=server.drain.since, until=server.drain.since)
    failures = server.health.failures if server.health else 0
    health = Health(checked=_NEVER, failures=failures) if failures else None
    return replace(
        server,
        price=None,
        private_ip=None,
        delete_protection=False,
        outdated=None,
        missing_since=None,
        drain=begun,
        health=health,
    )
