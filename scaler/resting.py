"""A phase in lots: servers are deleted as they come to rest, and none waits for another's drain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from scaler.errors import ScalerError
from scaler.lifecycle import Status
from scaler.model import Action, PlanPhase, Step, StepResult, StopPolicy
from scaler.plan import natural
from scaler.run import Run

_STOP_LOOK_S = 1.0
"""Between two looks at servers that are coming to rest."""


class Resting:
    """Brings the servers of a phase to rest before they are deleted."""

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
        for name in resting:
            self._run.around.stopping.begin(self._run.world.servers[name], self._stop_policy(name))
            self._run.known[name] = self._run.world.servers[name].become(Status.STOPPING, self._run.world.at)
        self._run.save(phase.steps)
        while resting:
            rested = self._come_to_rest(resting)
            if rested:
                yield PlanPhase(steps=rested, declared=_natural_order({*phase.declared, *resting}))

    def _must_rest(self, step: Step) -> bool:
        """Whether a server serves, or may, and its group says how to stop it."""
        if step.action is not Action.DELETE:
            return False
        status = self._run.world.servers[step.server].status
        return status in (Status.RUNNING, Status.REBOOTING) and self._stop_policy(step.server).needed

    def _stop_policy(self, name: str) -> StopPolicy:
        group = self._run.spec.groups.get(self._run.world.servers[name].group)
        return group.stop if group else StopPolicy()

    def _is_still_so(self) -> bool:
        """Right before servers are stopped: is this still the world that the plan was made for?"""
        before = {machine.id for machine in self._run.world.machines.values()}
        return {
            machine.id for machine in self._run.observer.look_patiently(self._run.deadline).machines.values()
        } == before

    def _come_to_rest(self, resting: dict[str, Step]) -> tuple[Step, ...]:
        """Wait until some of the servers are at rest, and take them out of `resting`."""
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
                if stop.at_rest:
                    rested.append(replace(step, reason="; ".join([step.reason, *stop.notes])))
                if stop.kept:
                    self._keep(step, stop.notes)
        return tuple(rested)

    def _keep(self, step: Step, notes: Sequence[str]) -> None:
        """A server whose drain failed stays, as its group says; the run cannot reach its count then."""
        self._run.advice = replace(self._run.advice, kept=self._run.advice.kept | {step.server})
        self._run.note(step, StepResult.FAILED, "; ".join(notes))
        self._run.failures.append(
            ScalerError(f"{step.server} was kept, because its drain failed.", why="; ".join(notes), code="drain_failed")
        )


def _natural_order(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=natural))
