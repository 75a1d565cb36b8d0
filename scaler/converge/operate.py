"""What changes no number: observe, record, reboot, protect.

None of it goes through the engine's `up`; what the stack must know is saved by the record step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field, replace
from datetime import timedelta

from scaler.converge.checks import find_server, wrong_status
from scaler.converge.confirm import confirm, on_their_way, running
from scaler.converge.health import check_health
from scaler.converge.knowledge import Knowledge
from scaler.converge.make_plan import learn_current
from scaler.converge.observe import learn_prices, observe, observe_again
from scaler.converge.ports import Ports
from scaler.converge.reboots import (
    due_for_reboot,
    left_to_reboot,
    reboot_due,
    reboot_servers,
    spare_the_rest,
    without_concluded,
)
from scaler.converge.record import record, save
from scaler.converge.service import put_right, put_right_at_last
from scaler.converge.time_up import are_only_late, in_time, say_it, say_why_late
from scaler.errors import UsageError
from scaler.model import Action, GroupReport, Outcome, Result, Server, Spec, Step, StepReport, StepResult
from scaler.model.lifecycle import Status
from scaler.model.orders import NamedOperation
from scaler.planning.facts import Facts
from scaler.planning.guards import check_not_set_aside
from scaler.planning.names import in_order, natural
from scaler.support.suggestions import nearest
from scaler.support.text import quoted
from scaler.support.values import dataclass

_REBOOTABLE = (Status.RUNNING, Status.UNHEALTHY, Status.STARTING, Status.REBOOTING)


def look(spec: Spec, ports: Ports) -> Result:
    """Observe, and write what is there into the state file alone: no engine, one list call per page.

    What new servers would have is read too, to say which are outdated, and the prices, as long as there is a server
    whose price is not known. A lost or damaged state file is rebuilt from the stack's outputs and the cloud.
    """
    started = ports.clock.monotonic()
    knowledge = _learn(_observe(spec, ports, rebuild=True), ports)
    return _finish(_Operation(knowledge, started), ports, into_stack=False)


def refresh(spec: Spec, ports: Ports) -> Result:
    """Observe, check the servers' health, and record both in the stack and the state file; changes no server."""

    def run() -> Result:
        started = ports.clock.monotonic()
        seen = _learn(check_health(_observe(spec, ports), ports), ports)
        return _finish(_Operation(seen, started), ports)

    return ports.records.log_run(run)


def _learn(knowledge: Knowledge, ports: Ports) -> Knowledge:
    """Learn what servers cost, and which are outdated."""
    concerned = {server.group for server in knowledge.world.servers.values()} & knowledge.spec.groups.keys()
    knowledge = learn_current(concerned, learn_prices(knowledge, ports), ports)
    return knowledge.note_outdated(Facts.of(knowledge.spec, knowledge.world, knowledge.advice).outdated)


def orphans(spec: Spec, ports: Ports) -> tuple[Server, ...]:
    """Return the machines that carry our labels and are in no state, but those that are being deleted."""
    world = observe(spec, ports).world
    return tuple(world.servers[name] for name in sorted(world.orphans_left, key=natural))


def reboot(
    spec: Spec,
    ports: Ports,
    *,
    names: Collection[str] = (),
    group: str | None = None,
    at_once: bool = False,
    timeout: timedelta = timedelta(minutes=15),
    wait: bool = True,
    approve: Callable[[Sequence[Server]], bool] | None = None,
    announce: Callable[[Sequence[Server]], None] | None = None,
) -> Result:
    """Reboot the named servers, or all of a group, or all, and wait until they are ready again.

    Without names and not `at_once`, at most a quarter of a group, and at least one server, is away at a time; if one
    does not come back, the rest of its group is not rebooted. A repeat goes on with what is left of an unfinished one.
    One that is starting or rebooting is rebooted once as soon as it runs. One in any other status
    is an error that names both if it was named, before anything is done; else it is left alone.
    `approve` is asked before anything is done; without it, `announce` gets the servers then.
    """

    ports.limit.end_after(timeout)

    def run() -> Result:
        started = ports.clock.monotonic()
        operation = _Operation(_observe(spec, ports), started)
        command = "" if names else f"reboot --group {group}" if group else "reboot"
        left = _left_of(operation.knowledge, command, ports)
        servers = left or _rebootable(operation.knowledge, names, group, ports)
        if approve:
            asked = ports.clock.monotonic()
            if not approve(servers):
                return replace(_finish(operation, ports, into_stack=False), declined=True)
            # The time that a person takes to answer is none of the run's, and the world may have changed meanwhile.
            thought = ports.clock.monotonic() - asked
            ports.limit.leave_out(thought)
            operation = _Operation(_observe(spec, ports), started + thought)
            left = _left_of(operation.knowledge, command, ports)
            agreed = {server.id for server in servers}
            again = left or _rebootable(operation.knowledge, names, group, ports)
            servers = [server for server in again if server.id in agreed]
        elif announce:
            announce(servers)
        if not left:
            operation = _ask(operation, servers, command)
        operation = _reboot(operation, servers, ports, at_once=at_once or bool(names))
        if wait:
            operation = _wait(operation, ports)
        return _finish(operation, ports)

    return ports.records.log_run(lambda: in_time(run, ports))


def protect(spec: Spec, names: Collection[str], ports: Ports, *, protected: bool) -> Result:
    """Mark servers as never chosen for scale-down, or no longer; kept in the stack's outputs.

    UsageError for a server that is not there, or that the spec protects and that shall not be protected.
    """

    def run() -> Result:
        started = ports.clock.monotonic()
        operation = _Operation(_observe(spec, ports), started)
        return _finish(_protect(operation, names, protected=protected), ports)

    return ports.records.log_run(run)


@dataclass(frozen=True)
class _Operation:
    """Where an operation stands."""

    knowledge: Knowledge
    started: float
    """By `clock.monotonic`."""
    steps: tuple[Step, ...] = ()
    errors: Mapping[str, Exception] = field(default_factory=dict)
    """By server."""
    failures: tuple[Exception, ...] = ()

    def note(self, action: Action, server: Server, reason: str) -> _Operation:
        """Add a step on a server."""
        step = Step(
            action=action, server=server.name, group=server.group, reason=reason, id=server.id, type=server.type
        )
        return replace(self, steps=(*self.steps, step))


def _observe(spec: Spec, ports: Ports, *, rebuild: bool = False) -> Knowledge:
    """Return what is there; wanted stays what it was."""
    seen = observe(spec, ports, rebuild=rebuild)
    wanted = {name: seen.orders.wanted.get(name, group.count) for name, group in spec.groups.items()}
    # Nobody asks for these counts: the orders are changed only for whoever reads the state file.
    orders = seen.orders if seen.orders.serial else replace(seen.orders, wanted=wanted)
    return replace(seen, wanted=wanted, orders=orders)


def _named(knowledge: Knowledge, names: Collection[str]) -> list[Server]:
    return [find_server(knowledge.spec, knowledge.first, name) for name in sorted(set(names), key=natural)]


# ---------------------------------------------------------------------------------------------
# Rebooting


def _rebootable(knowledge: Knowledge, names: Collection[str], group: str | None, ports: Ports) -> list[Server]:
    """Return the servers to reboot; UsageError for a named one that is not there or in another status."""
    if names:
        servers = _named(knowledge, names)
        for server in servers:
            check_not_set_aside(knowledge.world, server)
            if server.status not in _REBOOTABLE:
                raise wrong_status(server, "rebooted")
        return servers
    return _rebootable_of(knowledge, group, ports)


def _rebootable_of(knowledge: Knowledge, group: str | None, ports: Ports) -> list[Server]:
    """Return the servers of a group, or of all, that can be rebooted; says of the others that they are not."""
    spec = knowledge.spec
    if group is not None and group not in spec.groups:
        raise UsageError(f"There is no group {quoted(group)} in {spec.stack}.", fix=nearest(group, list(spec.groups)))
    servers = [server for server in knowledge.first.servers.values() if group in (None, server.group)]
    for server in servers:
        if server.set_aside or server.status not in _REBOOTABLE:
            state = "set aside" if server.set_aside else server.status
            ports.progress.note(f"{server.name} is {state} and is not rebooted")
    return [server for server in servers if server.status in _REBOOTABLE and not server.set_aside]


def _left_of(knowledge: Knowledge, command: str, ports: Ports) -> list[Server]:
    """Return the servers that an unfinished reboot by the same command has not brought back yet."""
    begun = knowledge.orders.unfinished(command)
    left = left_to_reboot(knowledge.world, begun) if begun else []
    if begun and left:
        ports.progress.warn(
            f"`{command}` of {begun.since:%Y-%m-%d %H:%M} UTC has not finished, and this goes on with it:"
            f" {len(left)} of {len(begun.reboot)} servers are left"
        )
    return left


def _ask(operation: _Operation, servers: Sequence[Server], command: str) -> _Operation:
    """Remember of servers that they are to be rebooted, and by which command."""
    knowledge = operation.knowledge
    for server in servers:
        knowledge = knowledge.amend(replace(server, reboot_asked=True))
    if command:
        ids = {server.name: server.id for server in servers if server.id}
        begun = NamedOperation(command=command, since=knowledge.world.at, reboot=ids)
        knowledge = knowledge.order(operations=knowledge.orders.with_operation(begun))
    return replace(operation, knowledge=knowledge)


def _reboot(operation: _Operation, servers: Sequence[Server], ports: Ports, *, at_once: bool) -> _Operation:
    """Reboot what runs and may be away now; the others are rebooted when it is their turn."""
    ports.progress.phase("rebooting")
    knowledge = operation.knowledge
    for server in servers:
        operation = operation.note(Action.REBOOT, server, "it was asked to be rebooted")
    # Save first: a run that is killed now must not forget what it was asked for.
    save(knowledge, ports, operation.steps)
    due = [server.name for server in servers if server.running or server.unhealthy]
    if not at_once:
        due = [name for name in due_for_reboot(knowledge.world) if name in due]
    knowledge, errors = reboot_servers(knowledge, due, ports)
    for server in servers:
        ports.progress.server(server.name, knowledge.records[server.name].status)
    save(knowledge, ports, operation.steps)
    return replace(operation, knowledge=knowledge, errors=errors, failures=operation.failures + tuple(errors.values()))


def _wait(operation: _Operation, ports: Ports) -> _Operation:
    """Wait until nothing is on its way any more, or the time is up."""
    refused: list[Exception] = []
    spared: dict[str, Exception] = {}

    def look_and_reboot(knowledge: Knowledge) -> Knowledge:
        knowledge, errors_of_spared = spare_the_rest(observe_again(knowledge, ports))
        spared.update(errors_of_spared)
        # Save what is seen as it is seen: a second reboot is one of its own.
        save(knowledge, ports, operation.steps)
        knowledge, errors = reboot_due(knowledge, ports)
        refused.extend(errors)
        knowledge = put_right(knowledge, ports).knowledge
        save(knowledge, ports, operation.steps)
        return knowledge

    ports.progress.phase("confirming")
    confirmed = confirm(
        look_and_reboot, operation.knowledge, clock=ports.clock, deadline=ports.limit.end, progress=ports.progress
    )
    if confirmed.error:
        raise confirmed.error
    knowledge, unlabelled = put_right_at_last(confirmed.knowledge, ports, patient=True)
    say_why_late(knowledge, confirmed.late, ports)
    knowledge = without_concluded(knowledge)
    failed = knowledge.not_rebooted
    return replace(
        operation,
        knowledge=knowledge,
        errors={**operation.errors, **failed, **spared},
        failures=(*operation.failures, *refused, *failed.values(), *spared.values(), *unlabelled),
    )


# ---------------------------------------------------------------------------------------------
# Protecting


def _protect(operation: _Operation, names: Collection[str], *, protected: bool) -> _Operation:
    """Mark servers, or take their mark away."""
    spec = operation.knowledge.spec
    servers = _named(operation.knowledge, names)
    for server in servers:
        group = spec.groups.get(server.group)
        if not protected and group and server.name in group.protect:
            raise UsageError(
                f"{server.name} is protected by the spec.",
                why=f"groups.{server.group}.protect names it in {spec.path}",
                fix="Remove it from that list.",
                code="protected_by_spec",
            )
    for server in servers:
        if server.protected is not protected:
            reason = "it is protected from scale-down" if protected else "its protection was removed"
            operation = operation.note(Action.UPDATE, server, reason)
            knowledge = operation.knowledge.amend(replace(server, protected=protected))
            operation = replace(operation, knowledge=knowledge)
    return operation


# ---------------------------------------------------------------------------------------------
# The end


def _finish(operation: _Operation, ports: Ports, *, into_stack: bool = True) -> Result:
    """Record, and build the result."""
    knowledge = record(operation.knowledge, ports) if into_stack else operation.knowledge
    operation = replace(operation, knowledge=knowledge)
    save(knowledge, ports, operation.steps)
    ready = running(knowledge.world, knowledge.wanted)
    before = Counter(server.group for server in knowledge.first.servers.values() if server.counts)
    for failure in operation.failures:
        ports.progress.warn(str(failure))
    outcome = _outcome(operation, ports)
    if outcome is Outcome.UNCONFIRMED:
        say_it(ports)
    return Result(
        stack=knowledge.spec.stack,
        outcome=outcome,
        groups={name: GroupReport(count, before[name], ready[name]) for name, count in knowledge.wanted.items()},
        steps=tuple(_report(operation, step) for step in operation.steps),
        servers=tuple(server for server in in_order(knowledge.records.values()) if not server.finished),
        drift=knowledge.first.drift,
        outdated={name: server.outdated for name, server in knowledge.world.servers.items() if server.outdated},
        requests=ports.cloud.requests,
        elapsed=timedelta(seconds=ports.clock.monotonic() - operation.started),
        failures=operation.failures,
        unchecked=knowledge.advice.unchecked,
    )


def _report(operation: _Operation, step: Step) -> StepReport:
    if step.server in operation.errors:
        return StepReport(step, StepResult.FAILED, str(operation.errors[step.server]))
    server = operation.knowledge.world.servers.get(step.server)
    if step.action is Action.REBOOT and not (server and server.running and not server.reboot_asked):
        return StepReport(step, StepResult.PENDING, server.error if server else "it is gone")
    return StepReport(step, StepResult.DONE)


def _outcome(operation: _Operation, ports: Ports) -> Outcome:
    if operation.failures:
        return Outcome.UNCONFIRMED if are_only_late(operation.failures, ports) else Outcome.FAILED
    if not operation.steps:
        return Outcome.UNCHANGED
    pending = any(_report(operation, step).result is StepResult.PENDING for step in operation.steps)
    return Outcome.UNCONFIRMED if pending or on_their_way(operation.knowledge.world) else Outcome.CONVERGED
