"""Apply: carry out one phase of a plan, and report what came of each step."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

from scaler.clouds import PASSING, AmbiguousError, CloudError
from scaler.converge.change import change_of
from scaler.converge.demand import Request
from scaler.converge.done import Done, placements_of
from scaler.converge.drains import begin, policy_of, split
from scaler.converge.knowledge import Knowledge
from scaler.converge.observe import obey_others, observe_patiently, read_stack
from scaler.converge.ports import Ports
from scaler.converge.record import save
from scaler.converge.service import PASSING_OR_LOST, put_right
from scaler.errors import ScalerError, StateError
from scaler.model import (
    Action,
    Applied,
    DrainFinding,
    DrainState,
    PlanPhase,
    Server,
    Step,
    StepReport,
    StepResult,
)
from scaler.model.lifecycle import Status
from scaler.planning.protection import protection_of

_POWER_ON_AT_ONCE = 10

_COMMANDS_AT_ONCE = 20

_DIRECT = (Action.POWER_ON, Action.RESUME)
"""The actions that change no number, and do not go through the engine."""

_INTENTS = {
    Action.CREATE: Status.NEW,
    Action.DELETE: Status.DELETING,
    Action.POWER_ON: Status.REBOOTING,
}
"""The status that a server is recorded with right before the cloud is asked."""


def apply_phase(phase: PlanPhase, request: Request, knowledge: Knowledge, ports: Ports) -> Done:
    """Carry out a phase: what can be done at once; then begin to stop the servers that must stop first.

    Stops at the first trouble; never raises a ScalerError, but returns it with what was done before.
    """
    ports.progress.phase("applying")
    done = Done(knowledge=knowledge)
    try:
        ports.require_turn()
        at_once, stopping = split(phase, knowledge)
        if at_once.steps or not stopping:
            done = _apply_lot(at_once, knowledge, ports)
        if not stopping or not done.is_clean:
            return done
        seen = obey_others(observe_patiently(done.knowledge, ports, request.deadline), ports)
        is_planned_world = _deletable(seen) == _deletable(done.knowledge) and not seen.is_overruled
        done = replace(done, knowledge=seen)
        # Right before servers are stopped: if this is another world, plan again.
        if not is_planned_world:
            return done
        ports.require_turn()
        # Their work goes to the others: those must be in service by now.
        switched = put_right(seen, ports)
        unserved = [error for name, error in switched.refused.items() if seen.world.servers[name].running]
        if unserved and not request.options.everything:
            return _held_up(replace(done, knowledge=switched.knowledge), unserved[0])
        return done.then(begin(phase, stopping, switched.knowledge, ports, everything=request.options.everything))
    except ScalerError as error:
        return replace(done, error=error)


def _held_up(done: Done, error: CloudError) -> Done:
    return replace(done, unanswered=error) if isinstance(error, PASSING_OR_LOST) else replace(done, error=error)


def _deletable(knowledge: Knowledge) -> set[tuple[str, bool]]:
    """Return the ids of the machines, each with whether the cloud would refuse to delete it."""
    return {(machine.id, machine.protected) for machine in knowledge.world.machines.values() if machine.seen}


def _apply_lot(lot: PlanPhase, knowledge: Knowledge, ports: Ports) -> Done:
    # Save the observed state first: this lot may reuse the name of a server that vanished.
    save(knowledge, ports, lot.steps)
    resumed = _resume([step for step in lot.steps if step.action is Action.RESUME], knowledge, ports)
    to_power_on = [step for step in lot.steps if step.action is Action.POWER_ON]
    powered = resumed.then(_power_on(to_power_on, resumed.knowledge, ports))
    others = tuple(step for step in lot.steps if step.action not in _DIRECT)
    if not others:
        return powered.then(Done(knowledge=read_stack(powered.knowledge, ports)))
    before = powered.knowledge
    try:
        announced = _announce(others, before, ports)
        ports.records.share()
        applied = ports.stack.apply(change_of(announced, lot, lot.steps))
    except PASSING as error:
        return powered.then(Done(knowledge=before, unanswered=error))
    except ScalerError as error:
        save(before, ports)
        return powered.then(Done(knowledge=before, error=error))
    if applied.moved:
        return powered.then(Done(knowledge=before, moved=True))
    if applied.interrupt:
        save(announced.note(*_accepted(applied, announced)), ports, lot.steps)
        raise applied.interrupt
    done = _account_for(others, applied, announced, ports)
    with suppress(StateError):
        # What an interrupt leaves while the run confirms. The end of the run saves again, and reports a failure.
        save(done.knowledge, ports, lot.steps)
    return powered.then(done)


def _accepted(applied: Applied, knowledge: Knowledge) -> list[Server]:
    """Return the announced servers that the cloud has accepted, with their ids."""
    now = knowledge.world.at
    announced = [knowledge.records[name] for name in applied.accepted if name in knowledge.records]
    return [
        replace(server, id=applied.accepted[server.name]).become(Status.STARTING, now)
        for server in announced
        if server.status is Status.NEW
    ]


def _announce(steps: Sequence[Step], knowledge: Knowledge, ports: Ports) -> Knowledge:
    """Record what is about to be asked, so that a run killed now leaves a record of it."""
    now = knowledge.world.at
    for step in steps:
        status = _INTENTS.get(step.action)
        if status is None:
            continue
        before = knowledge.world.servers.get(step.server)
        knowledge = knowledge.note(
            before.become(status, now)
            if before
            else Server(name=step.server, group=step.group, id=None, status=status, since=now)
        )
        ports.progress.server(step.server, status, step.reason)
    save(knowledge, ports, steps)
    return knowledge


def _power_on(steps: Sequence[Step], knowledge: Knowledge, ports: Ports) -> Done:
    """Power servers on, several at a time."""

    def power_on(step: Step) -> CloudError | None:
        try:
            ports.cloud.power_on(step.id or "")
        except CloudError as error:
            return error
        return None

    if not steps:
        return Done(knowledge=knowledge)
    announced = _announce(steps, knowledge, ports)
    with ThreadPoolExecutor(max_workers=_POWER_ON_AT_ONCE) as pool:
        answers = list(pool.map(power_on, steps))
    refused = {step.server: error for step, error in zip(steps, answers, strict=True) if error}
    return Done(
        knowledge=announced.note(*(knowledge.world.servers[name] for name in refused)),
        reports=tuple(_report(step, error is None, error) for step, error in zip(steps, answers, strict=True)),
        power_on_refusals=refused,
    )


def _resume(steps: Sequence[Step], knowledge: Knowledge, ports: Ports) -> Done:
    """Take draining servers back, several at a time; one that cannot be goes on draining.

    One whose command goes on is still draining, and the next tick has the result.
    """

    def resume(server: Server) -> DrainFinding:
        if server.drain is None:
            return DrainFinding(DrainState.DONE)
        return ports.drains.resume(server, policy_of(server, server.drain, knowledge))

    if not steps:
        return Done(knowledge=knowledge)
    servers = [knowledge.world.servers[step.server] for step in steps]
    # From here on one may be at work again, however its command ends and whoever is killed: a drain must begin anew.
    told = [replace(one, drain=replace(one.drain, asked=False)) for one in servers if one.drain and one.drain.asked]
    for server in told:
        knowledge = knowledge.amend(server)
    if told:
        save(knowledge, ports, steps)
    with ThreadPoolExecutor(max_workers=_COMMANDS_AT_ONCE) as pool:
        found = {server.name: finding for server, finding in zip(servers, pool.map(resume, servers), strict=True)}
    refused = {name: f"resume {each.why}" for name, each in found.items() if each.state is DrainState.FAILED}
    pending = {name for name, each in found.items() if each.state is DrainState.WORKING}
    for server in servers:
        if server.name in refused:
            ports.progress.warn(f"{server.name} could not be taken back: {refused[server.name]}")
            knowledge = _given_up(knowledge, knowledge.world.servers[server.name])
        elif server.name not in pending:
            back = replace(server.become(Status.RUNNING, knowledge.world.at), drain=None)
            knowledge = knowledge.amend(back)
            ports.progress.server(server.name, back.status, "taken back")
    save(knowledge, ports, steps)
    return Done(
        knowledge=knowledge,
        reports=tuple(
            StepReport(step, StepResult.PENDING)
            if step.server in pending
            else _report(step, step.server not in refused, refused.get(step.server))
            for step in steps
        ),
        resume_refusals=refused,
    )


def _given_up(knowledge: Knowledge, server: Server) -> Knowledge:
    """Have a server that could not be taken back go for good: each run would try again, and make none in its place.

    One that is protected may not go, so each run does try again.
    """
    drain = server.drain
    if drain is None or protection_of(knowledge.spec, knowledge.world, server):
        return knowledge
    return knowledge.amend(replace(server, drain=replace(drain, for_good=True)))


def _account_for(steps: tuple[Step, ...], applied: Applied, knowledge: Knowledge, ports: Ports) -> Done:
    """Report each step, and know each server as the engine's operation left it."""
    reports = []
    for step in steps:
        error = applied.errors.get(step.server)
        is_done = error is None and _is_done(step, applied)
        reports.append(_report(step, is_done, error or applied.failure))
        if after := _server_after(step, applied, knowledge):
            knowledge = knowledge.note(after)
    return Done(
        knowledge=read_stack(knowledge, ports),
        reports=tuple(reports),
        refusals=dict(applied.errors),
        placements=placements_of(steps),
        engine_failure=None if applied.errors else applied.failure,
    )


def _is_done(step: Step, applied: Applied) -> bool:
    if step.action in (Action.CREATE, Action.ADOPT):
        return step.server in applied.accepted
    if step.action is Action.DELETE:
        return step.server in applied.deleted
    return applied.failure is None


def _server_after(step: Step, applied: Applied, knowledge: Knowledge) -> Server | None:
    """Return the record of a step's server after it; None if it stays as it was announced.

    A refused create leaves an `errored` record with the cloud's words; a refused delete leaves the server, and one
    without an answer a server that is being deleted.
    """
    now = knowledge.world.at
    if step.action is Action.CREATE:
        announced = knowledge.records[step.server]
        if step.server not in applied.accepted:
            error = str(applied.errors.get(step.server) or applied.failure or "not asked")
            return announced.become(Status.ERRORED, now, error)
        if step.server in applied.errors:
            return None
        return replace(announced, id=applied.accepted[step.server]).become(Status.STARTING, now)
    if step.action is Action.DELETE and step.server not in applied.deleted:
        # Whether one without an answer was carried out, the next observation finds.
        is_open = isinstance(applied.errors.get(step.server), AmbiguousError)
        return None if is_open else knowledge.world.servers[step.server]
    return None


def _report(step: Step, is_done: bool, error: object) -> StepReport:
    if is_done:
        return StepReport(step, StepResult.DONE)
    return StepReport(step, StepResult.FAILED, str(error) if error else None)
