"""A phase in lots: servers are deleted as they come to rest, and none waits for another's drain.

A server that is only powered off comes to rest in the same way, and that is all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

from scaler.converge.run import Run
from scaler.errors import ScalerError
from scaler.model import Action, Machine, PlanPhase, Step, StepResult, StopPolicy
from scaler.model.lifecycle import Phase, Status
from scaler.planning.names import natural

_STOP_LOOK_S = 1.0
"""Between two looks at servers that are coming to rest."""

_SHUTDOWN_WITHIN = timedelta(minutes=1)
"""What a server that is to be powered off gets for its shutdown, where its group says nothing of it."""


class Resting:
    """Brings the servers of a phase to rest: those that are then deleted, and those that are only powered off."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def lots(self, phase: PlanPhase) -> Iterator[PlanPhase]:
        """The phase in parts: what can be done at once, then servers as they come to rest.

        Nobody waits for a drain that does not end but its own server.
        """
        resting = {step.server: step for step in phase.steps if self._must_rest(step)}
        at_once = tuple(step for step in phase.steps if step.server not in resting)
        if at_once or not resting:
            yield PlanPhase(steps=at_once, declared=_natural_order({*phase.declared, *resting}))
        if not resting or not self._is_still_so():
            return
        for name, step in resting.items():
            self._run.around.stopping.begin(self._run.world.servers[name], self._stop_policy(step))
            self._run.known[name] = self._run.world.servers[name].become(Status.STOPPING, self._run.world.at)
            self._run.progress.server(name, Status.STOPPING, step.reason)
        self._run.save(phase.steps)
        while resting:
            rested = self._come_to_rest(resting)
            if rested:
                yield PlanPhase(steps=rested, declared=_natural_order({*phase.declared, *resting}))

    def _must_rest(self, step: Step) -> bool:
        """Whether a server is to be powered off, or serves, or may, and its group says how to stop it."""
        if step.action is not Action.DELETE:
            return step.action is Action.POWER_OFF
        status = self._run.world.servers[step.server].status
        return status in (Status.RUNNING, Status.REBOOTING) and self._stop_policy(step).needed

    def _stop_policy(self, step: Step) -> StopPolicy:
        group = self._run.spec.groups.get(step.group)
        policy = group.stop if group else StopPolicy()
        if step.action is Action.POWER_OFF and policy.shutdown_within is None:
            return replace(policy, shutdown_within=_SHUTDOWN_WITHIN)
        return policy

    def _is_still_so(self) -> bool:
        """Right before servers are stopped: is this still the world that the plan was made for?"""
        before = {machine.id for machine in self._run.world.machines.values()}
        return {
            machine.id for machine in self._run.observer.look_patiently(self._run.deadline).machines.values()
        } == before

    def _come_to_rest(self, resting: dict[str, Step]) -> tuple[Step, ...]:
        """Wait until some are at rest, take them out of `resting`, and return the steps that are not done by that."""
        rested: list[Step] = []
        while not rested and resting:
            self._run.clock.sleep(_STOP_LOOK_S)
            world = self._run.observer.look_patiently(self._run.deadline)
            for name, step in list(resting.items()):
                machine = world.machines.get(name)
                stop = self._run.around.stopping.advance(self._run.known[name], machine.phase if machine else None)
                if stop.at_rest or stop.kept:
                    del resting[name]
                    for note in stop.notes:
                        self._run.progress.warn(f"{name}: {note}")
                if stop.at_rest and step.action is Action.POWER_OFF:
                    self._note_power_off(step, machine, stop.notes)
                elif stop.at_rest:
                    rested.append(replace(step, reason="; ".join([step.reason, *stop.notes])))
                if stop.kept:
                    self._keep(step, stop.notes)
        return tuple(rested)

    def _note_power_off(self, step: Step, machine: Machine | None, notes: Sequence[str]) -> None:
        """One that could not be powered off is deleted in the next round: it would serve on, and nobody counts it."""
        off = machine is None or machine.phase in (Phase.OFF, Phase.DELETING)
        self._run.note(step, StepResult.DONE if off else StepResult.FAILED, "; ".join(notes))
        if not off:
            self._run.advice = replace(self._run.advice, not_kept=self._run.advice.not_kept | {step.server})

    def _keep(self, step: Step, notes: Sequence[str]) -> None:
        """A server whose drain failed stays, as its group says; the run cannot reach its count then."""
        self._run.advice = replace(self._run.advice, undrained=self._run.advice.undrained | {step.server})
        self._run.note(step, StepResult.FAILED, "; ".join(notes))
        self._run.failures.append(
            ScalerError(f"{step.server} was kept, because its drain failed.", why="; ".join(notes), code="drain_failed")
        )


def _natural_order(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=natural))
