"""Drain and shut down the servers of a phase before they are deleted, or powered off to be kept.

No server waits for another's drain: each is deleted as soon as it is stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from scaler.converge.done import Done
from scaler.converge.knowledge import Knowledge
from scaler.converge.observe import observe_patiently
from scaler.converge.ports import Ports, Stop
from scaler.converge.record import save
from scaler.errors import ScalerError
from scaler.model import Action, Machine, PlanPhase, Server, Spec, Step, StepReport, StepResult, StopPolicy
from scaler.model.lifecycle import Phase, Status
from scaler.planning.names import natural

_OBSERVE_EVERY_S = 1.0
"""Between two observations of servers that are being stopped."""

_SHUTDOWN_WITHIN = timedelta(minutes=1)
"""What a server that is to be powered off gets for its shutdown, where its group says nothing of it."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """Some servers stopped; others may not have."""

    done: Done
    """What is finished by that: servers powered off or kept."""
    steps: tuple[Step, ...] = ()
    """Deletes that can follow now."""
    waiting: Mapping[str, Step] = field(default_factory=dict)
    """Steps whose servers have not stopped yet, by server."""


def split(phase: PlanPhase, knowledge: Knowledge) -> tuple[PlanPhase, dict[str, Step]]:
    """Return what can be done at once, and the steps that must wait until their servers have stopped."""
    stopping = {step.server: step for step in phase.steps if _must_stop(step, knowledge)}
    at_once = tuple(step for step in phase.steps if step.server not in stopping)
    return lot(phase, at_once, stopping), stopping


def lot(phase: PlanPhase, steps: tuple[Step, ...], waiting: Iterable[str]) -> PlanPhase:
    """Return a part of a phase; the servers that are still waited for stay declared."""
    return PlanPhase(steps=steps, declared=tuple(sorted({*phase.declared, *waiting}, key=natural)))


def begin(phase: PlanPhase, stopping: Mapping[str, Step], knowledge: Knowledge, ports: Ports) -> Knowledge:
    """Start to stop these servers, and record that."""
    for name, step in stopping.items():
        server = knowledge.world.servers[name]
        ports.stopping.begin(server, _stop_policy(step, knowledge.spec))
        knowledge = knowledge.note(server.become(Status.STOPPING, knowledge.world.at))
        ports.progress.server(name, Status.STOPPING, step.reason)
    save(knowledge, ports, phase.steps)
    return knowledge


def wait_for_some(waiting: Mapping[str, Step], knowledge: Knowledge, ports: Ports, deadline: float) -> Stopped:
    """Wait until at least one of these servers has stopped, or is kept after all."""
    stopped = Stopped(Done(knowledge=knowledge), waiting=waiting)
    while stopped.waiting and len(stopped.waiting) == len(waiting):
        ports.clock.sleep(_OBSERVE_EVERY_S)
        seen = observe_patiently(stopped.done.knowledge, ports, deadline)
        stopped = replace(stopped, done=replace(stopped.done, knowledge=seen))
        for name, step in stopped.waiting.items():
            machine = seen.world.machines.get(name)
            stop = ports.stopping.advance(seen.records[name], machine.phase if machine else None)
            if stop.is_stopped or stop.kept:
                stopped = _end(stopped, step, stop, machine, ports)
    return stopped


def _end(stopped: Stopped, step: Step, stop: Stop, machine: Machine | None, ports: Ports) -> Stopped:
    """One server needs to be waited for no longer."""
    for note in stop.notes:
        ports.progress.warn(f"{step.server}: {note}")
    waiting = {name: other for name, other in stopped.waiting.items() if name != step.server}
    if stop.kept:
        return replace(stopped, done=stopped.done.then(_kept(step, stop.notes, stopped.done)), waiting=waiting)
    if step.action is Action.POWER_OFF:
        return replace(stopped, done=stopped.done.then(_off(step, machine, stop.notes, stopped.done)), waiting=waiting)
    noted = replace(step, reason="; ".join([step.reason, *stop.notes]))
    return replace(stopped, steps=(*stopped.steps, noted), waiting=waiting)


def _off(step: Step, machine: Machine | None, notes: Sequence[str], before: Done) -> Done:
    """Report a power-off.

    A server that could not be powered off is deleted in the next round: it would serve on, and nobody counts it.
    """
    if machine is None or machine.phase in (Phase.OFF, Phase.DELETING):
        return Done(knowledge=before.knowledge, reports=(StepReport(step, StepResult.DONE),))
    report = StepReport(step, StepResult.FAILED, "; ".join(notes) or None)
    return Done(knowledge=before.knowledge, reports=(report,), not_powered_off=frozenset({step.server}))


def _kept(step: Step, notes: Sequence[str], before: Done) -> Done:
    """Report a server that stays because its drain failed: the run cannot reach its count then."""
    why = "; ".join(notes)
    error = ScalerError(f"{step.server} was kept, because its drain failed.", why=why, code="drain_failed")
    return Done(
        knowledge=before.knowledge,
        reports=(StepReport(step, StepResult.FAILED, why or None),),
        undrained=frozenset({step.server}),
        failures=(error,),
    )


def _must_stop(step: Step, knowledge: Knowledge) -> bool:
    """Return whether a server is to be powered off, or serves, or may, and its group says how to stop it."""
    if step.action is not Action.DELETE:
        return step.action is Action.POWER_OFF
    server: Server = knowledge.world.servers[step.server]
    return server.status in (Status.RUNNING, Status.REBOOTING) and _stop_policy(step, knowledge.spec).needed


def _stop_policy(step: Step, spec: Spec) -> StopPolicy:
    group = spec.groups.get(step.group)
    policy = group.stop if group else StopPolicy()
    if step.action is Action.POWER_OFF and policy.shutdown_within is None:
        return replace(policy, shutdown_within=_SHUTDOWN_WITHIN)
    return policy
