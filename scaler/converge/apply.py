"""Carrying out a phase: announce it, apply it, and account for what came of each step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from enum import Enum, auto

from scaler.clouds import BusyError, CloudError, NameTakenError, NoCapacityError, QuotaError
from scaler.converge.change import change_of
from scaler.converge.demand import stale
from scaler.converge.observe import PASSING
from scaler.converge.run import ATTEMPTS, PAUSE_S, Run
from scaler.converge.shutdown import Resting
from scaler.errors import EngineError, ScalerError
from scaler.model import Action, Applied, Placement, PlanPhase, Server, Step, StepResult
from scaler.model.lifecycle import Status

_BUSY_PAUSE_S = 5.0
"""Before asking again for a server that the cloud itself is busy with."""

_BUSY_WAITS = 12
"""How often: a minute, in which servers boot."""


class Verdict(Enum):
    """How a run goes on after a phase."""

    CONFIRM = auto()
    AGAIN = auto()
    """Plan again at once: nothing was done, or what was refused can be asked otherwise."""
    WAIT = auto()
    """Plan again: the cloud was busy with a server by an action of its own, and that passes."""
    STOP = auto()


class Applier:
    """Does the steps of a phase, and learns from what the cloud refuses."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def carry_out(self, phase: PlanPhase) -> Verdict:
        """Apply one phase, in as many lots as servers come to rest one after the other."""
        self._run.progress.phase("applying")
        verdict = Verdict.CONFIRM
        for lot in Resting(self._run).lots(phase):
            verdict = self._apply(lot)
            if verdict is not Verdict.CONFIRM:
                return verdict
        return verdict

    def _apply(self, phase: PlanPhase) -> Verdict:
        # What was found goes on record first: a vanished server's name may be used again.
        self._run.save(phase.steps)
        self._power_on([step for step in phase.steps if step.action is Action.POWER_ON])
        before = dict(self._run.known)
        applied = Applied()
        others = [step for step in phase.steps if step.action is not Action.POWER_ON]
        if others:
            self._announce(others)
            try:
                applied = self._run.around.stack.apply(change_of(self._run, phase, phase.steps))
            except PASSING as error:
                self._run.observer.known = before
                return self._try_again(error)
            except ScalerError:
                self._run.observer.known = before
                self._run.save()
                raise
        if applied.moved:
            self._run.observer.known = before
            if self._run.options.reviewed:
                self._run.save()
                raise stale("servers came or went while it was applied", ())
            self._run.progress.note("the servers changed since the plan was made: planning again")
            self._run.clock.sleep(PAUSE_S)
            self._run.observer.read_stack()
            return Verdict.AGAIN
        return self._account_for(phase, applied)

    def _announce(self, steps: Sequence[Step]) -> None:
        """Record what is about to be asked, so that a run killed now leaves a record of it."""
        now = self._run.world.at
        for step in steps:
            status = _INTENTS.get(step.action)
            if status is None:
                continue
            before = self._run.world.servers.get(step.server)
            self._run.known[step.server] = (
                before.become(status, now)
                if before
                else Server(name=step.server, group=step.group, id=None, status=status, since=now)
            )
            self._run.progress.server(step.server, status, step.reason)
        self._run.save(steps)

    def _power_on(self, steps: Sequence[Step]) -> None:
        """Power servers on; one whose cloud says no for good is replaced in the next round."""

        def power_on(step: Step) -> CloudError | None:
            try:
                self._run.around.cloud.power_on(step.id or "")
            except CloudError as error:
                return error
            return None

        if not steps:
            return
        self._announce(steps)
        with ThreadPoolExecutor(max_workers=10) as pool:
            answers = list(pool.map(power_on, steps))
        refused = {}
        for step, error in zip(steps, answers, strict=True):
            self._run.note(step, StepResult.FAILED if error else StepResult.DONE, error)
            if error:
                refused[step.server] = error
                self._run.known[step.server] = self._run.world.servers[step.server]
        passing = {name for name, error in refused.items() if isinstance(error, (BusyError, *PASSING))}
        if passing and self._run.count("power_on", ATTEMPTS):
            self._run.clock.sleep(PAUSE_S)
        else:
            passing = set()
        self._run.advice = replace(
            self._run.advice, power_on_failed=self._run.advice.power_on_failed | (refused.keys() - passing)
        )

    def _account_for(self, phase: PlanPhase, applied: Applied) -> Verdict:
        """Note what came of each step, and learn from what the cloud refused."""
        for step in phase.steps:
            if step.action is Action.POWER_ON:
                continue
            error = applied.errors.get(step.server)
            done = error is None and self._is_done(step, applied)
            if done:
                self._note_accepted(step, applied)
            self._run.note(step, StepResult.DONE if done else StepResult.FAILED, error or applied.failure)
        self._note_refusals(phase, applied)
        self._run.observer.read_stack()
        if applied.errors:
            return self._learn(phase, applied.errors)
        if applied.failure:
            self._run.failures.append(EngineError("The engine failed.", why=applied.failure))
            return Verdict.STOP
        return Verdict.CONFIRM

    @staticmethod
    def _is_done(step: Step, applied: Applied) -> bool:
        if step.action in (Action.CREATE, Action.ADOPT):
            return step.server in applied.accepted
        if step.action is Action.DELETE:
            return step.server in applied.deleted
        return applied.failure is None

    def _note_accepted(self, step: Step, applied: Applied) -> None:
        if step.action is Action.ADOPT:
            self._run.advice = replace(self._run.advice, adopted=self._run.advice.adopted | {step.server})
        elif step.action is Action.CREATE:
            asked = replace(self._run.known[step.server], id=applied.accepted[step.server])
            self._run.known[step.server] = asked.become(Status.STARTING, self._run.world.at)

    def _note_refusals(self, phase: PlanPhase, applied: Applied) -> None:
        """A refused create leaves an `errored` record with the cloud's words; a refused delete leaves the server."""
        for step in phase.steps:
            if step.action is Action.CREATE and step.server not in applied.accepted:
                error = str(applied.errors.get(step.server) or applied.failure or "not asked")
                self._run.known[step.server] = self._run.known[step.server].become(
                    Status.ERRORED, self._run.world.at, error
                )
            elif step.action is Action.DELETE and step.server not in applied.deleted:
                self._run.known[step.server] = self._run.world.servers[step.server]

    def _learn(self, phase: PlanPhase, errors: Mapping[str, Exception]) -> Verdict:
        """What the refusals mean for the next round."""
        steps = {step.server: step for step in phase.steps}
        full = {_placement(steps[name]): error for name, error in errors.items() if isinstance(error, NoCapacityError)}
        taken = {name for name, error in errors.items() if isinstance(error, NameTakenError)}
        self._run.advice = replace(self._run.advice, taken=self._run.advice.taken | taken)
        for place in sorted(full):
            self._run.pass_over(place, full[place])
        if full:
            self._run.around.shortages.note_full(full, self._run.clock.now())
        for error in errors.values():
            if _is_lasting(error):
                self._run.failures.append(error)
                return Verdict.STOP
        if quota := [error for error in errors.values() if isinstance(error, QuotaError)]:
            self._hit_quota(quota[0])
        if passing := [error for error in errors.values() if isinstance(error, PASSING)]:
            return self._try_again(passing[0])
        if busy := [error for error in errors.values() if isinstance(error, BusyError)]:
            return self._wait_for(busy[0])
        return Verdict.AGAIN

    def _wait_for(self, error: BusyError) -> Verdict:
        """A server that boots is locked at some clouds, and cannot be deleted until it has booted."""
        if self._run.clock.monotonic() >= self._run.deadline or not self._run.count("busy", _BUSY_WAITS):
            self._run.failures.append(error)
            return Verdict.STOP
        self._run.progress.note(f"waiting: {error}")
        self._run.clock.sleep(_BUSY_PAUSE_S)
        return Verdict.WAIT

    def _hit_quota(self, error: QuotaError) -> None:
        """The account may have no more: what the run creates it has created, and what it removes it still removes."""
        there = sum(1 for server in self._run.known.values() if server.id and not server.finished)
        self._run.around.shortages.note_quota(there, self._run.clock.now())
        if self._run.plan.paid_until and self._run.advice.most != there:
            # What is only paid for makes room.
            self._run.advice = replace(self._run.advice, most=there)
        else:
            self._run.failures.append(error)
            self._run.advice = replace(self._run.advice, withheld=True)

    def _try_again(self, error: Exception) -> Verdict:
        if not self._run.count("passing", ATTEMPTS):
            self._run.failures.append(error)
            return Verdict.STOP
        self._run.progress.note(f"trying again: {error}")
        self._run.clock.sleep(PAUSE_S)
        return Verdict.AGAIN


def _placement(step: Step) -> Placement:
    return step.type or "", step.location or ""


def _is_lasting(error: Exception) -> bool:
    """Whether asking again, elsewhere or under another name, would be no use, and nothing else can go on."""
    return not isinstance(error, (NoCapacityError, QuotaError, NameTakenError, BusyError, *PASSING))


_INTENTS = {
    Action.CREATE: Status.NEW,
    Action.DELETE: Status.DELETING,
    Action.POWER_ON: Status.REBOOTING,
}
"""The status that a server is recorded with right before it is asked for."""
