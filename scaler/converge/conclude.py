"""The end of a run: record what is there, and judge what was reached."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace

from scaler.clouds import AuthError
from scaler.converge.confirm import on_their_way
from scaler.converge.demand import Request
from scaler.converge.drains import forget_ended
from scaler.converge.knowledge import Knowledge
from scaler.converge.make_plan import shortages
from scaler.converge.ports import Ports
from scaler.converge.record import record, save
from scaler.converge.report import result_of
from scaler.converge.rolls import failures_of
from scaler.converge.rounds import Ended, confirm_round
from scaler.converge.service import put_right, put_right_at_last
from scaler.converge.standing import Standing
from scaler.converge.time_up import are_only_late, say_it, say_why_late
from scaler.errors import ScalerError
from scaler.model import Action, Outcome, Result, Server, Spec, StepResult
from scaler.model.lifecycle import Phase, Status
from scaler.planning.protection import protection_of
from scaler.planning.template import lacking

LEFT = "left"
"""The journal's count of a run that ends since another one changes the stack: it must save nothing any more."""


def end_unchanged(request: Request, standing: Standing, ports: Ports) -> Result:
    """End a run that has nothing to do: all is as wanted, or cannot be."""
    outcome = Outcome.UNCHANGED
    if _is_reached(standing):
        standing = replace(standing, knowledge=_forget_refusals(standing.knowledge))
        outcome = Outcome.UNCONFIRMED if standing.knowledge.advice.unchecked else outcome
    else:
        outcome = Outcome.UNCONFIRMED if _is_held(standing) else Outcome.FAILED
        standing = _note_shortages(standing)
        _warn(request.spec, standing, ports)
    standing = label(request, standing, ports)
    save(standing.knowledge, ports)
    forget_ended(standing.knowledge, ports)
    if standing.journal.failures:
        outcome = _outcome_of(standing.journal.failures, ports)
    return result_of(request, standing, outcome, ports)


def label(request: Request, standing: Standing, ports: Ports) -> Standing:
    """Label what is in service, and nothing else; what could not be labelled is a failure of the run."""
    knowledge, errors = put_right_at_last(standing.knowledge, ports, patient=request.options.patient)
    for error in errors:
        ports.progress.warn(f"{error} {error.why}")
    return replace(standing, knowledge=knowledge, journal=standing.journal.fail(*errors))


def settle(request: Request, ended: Ended, ports: Ports) -> Standing:
    """Record what is there when the rounds have ended, in the stack and in the state file."""
    standing = ended.standing
    say_why_late(standing.knowledge, ended.late, ports)
    # Before the record step, whose outputs tell of it; one that it sees get ready is labelled after it.
    standing = replace(standing, knowledge=put_right(standing.knowledge, ports).knowledge)
    standing = _record(request, standing, ports)
    if request.options.wait and not ended.late and not standing.failures and on_their_way(standing.world):
        # Rebooted just now, or listed as it was before the observation that found it ready.
        standing = _confirm_anew(request, standing, ports)
    standing = _save_or_note(label(request, standing, ports), ports)
    forget_ended(standing.knowledge, ports)
    return standing


def judge(request: Request, standing: Standing, ports: Ports) -> Result:
    """Judge what was reached."""
    if standing.journal.count(LEFT):
        return result_of(request, standing, Outcome.UNCONFIRMED, ports)
    standing = _note_shortages(standing)
    failures = (*failures_of(standing.knowledge), *_incomplete(standing))
    standing = replace(standing, journal=standing.journal.fail(*failures))
    reached = _is_reached(standing)
    if reached:
        standing = replace(standing, knowledge=_forget_refusals(standing.knowledge))
    standing = _save_or_note(standing, ports)
    if reached and not standing.failures and not standing.knowledge.advice.unchecked:
        return result_of(request, standing, Outcome.CONVERGED, ports)
    _raise_if_only_refused(standing)
    _warn(request.spec, standing, ports)
    return result_of(request, standing, _outcome_of(standing.failures, ports), ports)


def _outcome_of(failures: Collection[Exception], ports: Ports) -> Outcome:
    """Return how a run ends that has not reached everything."""
    if not are_only_late(failures, ports):
        return Outcome.FAILED
    say_it(ports)
    return Outcome.UNCONFIRMED


def _confirm_anew(request: Request, standing: Standing, ports: Ports) -> Standing:
    """Wait for what the record step saw on its way, and record it once more."""
    try:
        standing, confirmed = confirm_round(request, standing, ports)
    except ScalerError as error:
        return replace(standing, journal=standing.journal.fail(error))
    if confirmed.error:
        return replace(standing, journal=standing.journal.fail(confirmed.error))
    return _record(request, standing, ports)


def _record(request: Request, standing: Standing, ports: Ports) -> Standing:
    """Save what is there in the stack; if the engine cannot, the state file at least says it.

    What is denied without proof would be forgotten: then the state file alone says it, until it is decided.
    """
    if standing.knowledge.denied and not request.options.patient:
        return standing

    def conclude_operations(seen: Knowledge) -> Knowledge:
        there = replace(standing, knowledge=seen)
        done = not standing.failures and (_is_reached(there) or _is_held(there))
        return seen.order(operations=seen.orders.lasting_operations(seen.world.machines.values())) if done else seen

    try:
        return replace(standing, knowledge=record(standing.knowledge, ports, conclude_operations))
    except ScalerError as error:
        return replace(standing, journal=standing.journal.fail(error))


def _save_or_note(standing: Standing, ports: Ports) -> Standing:
    """Save the records. If that fails after something was changed, note it: the result must report the change."""
    try:
        save(standing.knowledge, ports, standing.journal.steps)
    except ScalerError as error:
        if not standing.journal.reports:
            raise
        return replace(standing, journal=standing.journal.fail(error))
    return standing


def _note_shortages(standing: Standing) -> Standing:
    """Add a failure for each group whose servers are missing because there was no capacity."""
    return replace(standing, journal=standing.journal.fail(*shortages(standing.plan, standing.knowledge)))


def _incomplete(standing: Standing) -> Iterator[ScalerError]:
    """Yield an error for each server that the run made and that runs without a network or a firewall of the spec.

    Both clouds attach them after they have accepted the create request, and that can fail.
    """
    world, templates = standing.world, standing.knowledge.templates
    for report in standing.journal.reports:
        step, machine = report.step, world.machines.get(report.step.server)
        if step.action is not Action.CREATE or report.result is not StepResult.DONE or machine is None:
            continue
        is_finished = machine.seen and machine.phase is Phase.RUNNING and not machine.locked
        if is_finished and (what := lacking(machine, templates.of(step))):
            yield ScalerError(
                f"{step.server} was made {what}.",
                why="the cloud accepted the request, and did not do all of it afterwards",
                fix=f"Run `scaler replace {step.server}`, or attach it by hand.",
                code="incomplete_server",
            )


def _raise_if_only_refused(standing: Standing) -> None:
    """If no step was done and one failed with `AuthError`, raise it (exit 77)."""
    if any(report.result is StepResult.DONE for report in standing.journal.reports):
        return
    for failure in standing.failures:
        if isinstance(failure, AuthError):
            raise failure


def warn_of_trouble(request: Request, standing: Standing, ports: Ports) -> None:
    """Warn of what a run would find to be wrong now, and could not change."""
    _warn(request.spec, _note_shortages(standing), ports)


def _warn(spec: Spec, standing: Standing, ports: Ports) -> None:
    """Warn of what went wrong, and of servers that are not as they should be and may not be touched."""
    for failure in standing.failures:
        ports.progress.warn(str(failure))
    for server in standing.world.servers.values():
        if not server.counts and protection_of(spec, standing.world, server):
            ports.progress.warn(f"{server.name} is {server.status} and protected: nothing was done about it")


def _is_reached(standing: Standing) -> bool:
    """Return whether exactly the wanted servers exist, every one is ready, and none lacks a place for its successor.

    Beside them there may be servers that are off, for as long as they are paid for.
    """
    knowledge, plan = standing.knowledge, standing.plan
    ready = _ready(standing)
    exact = all(ready[group] == count for group, count in knowledge.wanted.items())
    return exact and len(_concerned(standing)) == sum(ready.values()) and not plan.short


def _is_held(standing: Standing) -> bool:
    """Return whether all is as wanted, but for unhealthy servers that are not replaced now."""
    knowledge, plan = standing.knowledge, standing.plan
    ready = _ready(standing)
    held = Counter(server.group for server in knowledge.world.servers.values() if server.unhealthy)
    exact = all(ready[group] <= count <= ready[group] + held[group] for group, count in knowledge.wanted.items())
    return exact and len(_concerned(standing)) == sum(ready.values()) + sum(held.values()) and not plan.short


def _ready(standing: Standing) -> Counter[str]:
    """Return how many servers that the run is about are ready, by group: not one that recovers and is left alone."""
    servers, groups = standing.world.servers, standing.knowledge.wanted
    ready = (servers[name].group for name in _concerned(standing) if servers[name].running)
    return Counter(group for group in ready if group in groups)


def _concerned(standing: Standing) -> set[str]:
    """Return the servers that the run is about, but for those that are off while they are paid for."""
    knowledge = standing.knowledge
    left_alone = {name for name, server in knowledge.world.servers.items() if server.set_aside}
    left_alone |= knowledge.advice.out_of_scope | standing.plan.paid_until.keys()
    return knowledge.world.servers.keys() - left_alone


def _forget_refusals(knowledge: Knowledge) -> Knowledge:
    """Forget what was refused on the way: it is history once the wanted count is there."""
    records = {name: server for name, server in knowledge.records.items() if not _is_refused(server)}
    return replace(knowledge, records=records)


def _is_refused(server: Server) -> bool:
    return server.status is Status.ERRORED and server.id is None
