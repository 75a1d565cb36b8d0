"""The one use case: observe → plan → preview → apply → confirm → record.

Every round carries out the first phase of a plan made from a fresh look, confirms it, and looks
again. What a round leaves behind, planned or not, is what the next one starts from: the same is
true of a run that was killed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from scaler.clouds import AuthError
from scaler.converge.apply import Applier, Verdict
from scaler.converge.confirm import confirm, on_their_way, running
from scaler.converge.demand import Demand, Options, Reviewed, stale
from scaler.converge.make_plan import Planner
from scaler.converge.observe import PASSING, Observer
from scaler.converge.ports import Surroundings
from scaler.converge.preview import Judge
from scaler.converge.report import ids, result_of
from scaler.converge.run import Run
from scaler.errors import ScalerError, UsageError
from scaler.model import Action, Outcome, Plan, Result, Server, Spec, Step, StepResult, World
from scaler.model.lifecycle import DEAD, Status
from scaler.planning.guards import check_unprotected, check_wanted
from scaler.support.suggestions import nearest

_ROUNDS = 12
"""Most rounds of one run: each makes progress, or learns something, or waits for another run's."""

_REPLACEMENTS = 2
"""How often one run replaces servers that hang or fail before it gives up."""


def ensure(spec: Spec, demand: Demand, options: Options, around: Surroundings) -> Result:
    """Make exactly the demanded servers exist, or say what is in the way.

    Raises RefusedError before anything is changed; a run that changed something returns a Result,
    also when it failed.
    """
    run = _Convergence(Run(spec, demand, options, around))
    return around.records.narrate(run.execute) if options.apply else run.execute()


class _Convergence:
    """The run itself: each method is one arrow of its diagram."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._planner = Planner(run)
        self._judge = Judge(run)
        self._applier = Applier(run)

    def execute(self) -> Result:
        if self._run.demand.counts is not None:
            self._check(self._run.demand.counts)
        self._run.first = self._run.observer.begin()
        self._check_named()
        self._resolve()
        self._run.plan = self._planner.plan()
        self._planner.check()
        if self._run.options.reviewed:
            self._require_reviewed(self._run.options.reviewed)
        if not self._run.plan.phases and self._settled():
            reached = self._reached()
            if reached:
                self._forget_refusals()
            else:
                self._planner.note_shortages()
                self._tell_failures()
            self._run.save()
            return result_of(self._run, Outcome.UNCHANGED if reached else Outcome.FAILED)
        if not self._run.options.apply or self._run.options.approve or self._run.packs:
            self._judge.cross_check(self._run.plan)
        if any(violation.forbids for violation in self._run.violations):
            return result_of(self._run, Outcome.REFUSED)
        if not self._run.options.apply:
            for name, count in self._run.plan.short.items():
                self._run.progress.warn(str(self._planner.shortage(name, count)))
            return result_of(self._run, Outcome.PLANNED)
        if self._run.options.approve and self._run.plan.phases and not self._run.options.approve(self._run.plan):
            return replace(result_of(self._run, Outcome.PLANNED), declined=True)
        if self._run.plan.phases:
            # A missing engine or backend is told before anything is meant.
            self._run.around.stack.prepare()
        return self._conclude(self._converge_or_note())

    def _require_reviewed(self, reviewed: Reviewed) -> None:
        """Stop, unless this is the world and these are the steps that were looked at."""
        seen = ids(self._run.world)
        if seen != reviewed.seen:
            raise stale(
                "servers came or went",
                (
                    f"{name}: {reviewed.seen.get(name, 'none')} then, {seen.get(name, 'none')} now"
                    for name in sorted(seen.keys() | reviewed.seen.keys())
                    if seen.get(name) != reviewed.seen.get(name)
                ),
            )
        if self._run.plan.steps != reviewed.steps:
            before, now = set(map(_tell_step, reviewed.steps)), set(map(_tell_step, self._run.plan.steps))
            raise stale(
                "other steps are needed now",
                sorted(f"then: {text}" for text in before - now) + sorted(f"now: {text}" for text in now - before),
            )

    def _resolve(self) -> None:
        """What the demand means for the servers that there are."""
        self._run.wanted = self._run.demand.resolve(self._run.spec, self._run.world)
        self._run.advice = replace(self._run.advice, out_of_scope=self._run.demand.not_about(self._run.world))
        if self._run.demand.counts is None:
            have = Counter(server.group for server in self._run.world.servers.values() if server.counts)
            self._check(self._run.wanted, have)

    def _check(self, counts: Mapping[str, int], have: Mapping[str, int] | None = None) -> None:
        if not self._run.options.everything:
            check_wanted(self._run.spec, counts, have)

    def _check_named(self) -> None:
        """Servers that are named must be there, not be protected, and run if they are to be removed.

        A machine in no state may be removed however it is.
        """
        for name in sorted(self._run.demand.remove | self._run.demand.renew):
            server = find_server(self._run.spec, self._run.world, name)
            check_unprotected(self._run.spec, server)
            if name in self._run.demand.remove and not server.running and name not in self._run.world.orphans:
                raise wrong_status(server, "stopped")

    def _converge_or_note(self) -> tuple[str, ...]:
        """Converge; once something was changed, whatever ends the run is noted, and what is there is recorded."""
        try:
            return self._converge()
        except ScalerError as error:
            if not self._run.steps:
                raise
            self._run.failures.append(error)
            return ()

    def _converge(self) -> tuple[str, ...]:
        """Rounds of apply and confirm until there is nothing left to do, or nothing more to try.

        Returns the servers that were still on their way when the time was up.
        """
        rounds = 0
        while rounds < _ROUNDS:
            verdict = Verdict.CONFIRM
            if self._run.plan.phases:
                self._judge.judge_again()
                verdict = self._applier.carry_out(self._run.plan.phases[0])
            rounds += verdict is not Verdict.WAIT
            if verdict in (Verdict.CONFIRM, Verdict.STOP):
                if not self._run.options.wait:
                    return ()
                waiting = self._confirm()
                if verdict is Verdict.STOP or waiting:
                    return waiting
            else:
                self._run.observer.look_patiently(self._run.deadline)
            if not self._run.steps:
                # Nothing was done, since others were quicker: what is relative is so to what they left.
                self._resolve()
            self._run.plan = self._planner.plan()
            self._planner.check_sums()
            if not self._run.plan.phases and not on_their_way(self._run.world):
                return ()
            if verdict is Verdict.CONFIRM and not self._may_go_on(self._run.plan):
                return ()
        return ()

    def _conclude(self, waiting: Sequence[str]) -> Result:
        self._give_up_waiting(waiting)
        self._record()
        if self._run.options.wait and not waiting and not self._run.failures and on_their_way(self._run.world):
            # Rebooted just now, or listed as it was before the look that called it ready.
            self._confirm_anew()
        self._planner.note_shortages()
        reached = self._reached()
        if reached:
            self._forget_refusals()
        self._run.save(self._run.taken())
        if reached and not self._run.failures:
            return result_of(self._run, Outcome.CONVERGED)
        self._raise_if_only_refused()
        self._tell_failures()
        return result_of(self._run, Outcome.FAILED if self._run.failures else Outcome.UNCONFIRMED)

    def _confirm_anew(self) -> None:
        """Wait for what the record step saw on its way, and record it once more."""
        try:
            self._give_up_waiting(self._confirm())
        except ScalerError as error:
            self._run.failures.append(error)
        else:
            self._record()

    def _record(self) -> None:
        """Save what is there; if the engine cannot, the state file at least says it."""
        try:
            record(self._run.observer, self._run.around)
        except ScalerError as error:
            self._run.failures.append(error)

    def _raise_if_only_refused(self) -> None:
        """Credentials that may read but change nothing are told as what they are, like those that may not read."""
        if not any(report.result is StepResult.DONE for report in self._run.steps):
            for failure in self._run.failures:
                if isinstance(failure, AuthError):
                    raise failure

    def _tell_failures(self) -> None:
        """What went wrong, and which servers are not as they should be and may not be touched."""
        for failure in self._run.failures:
            self._run.progress.warn(str(failure))
        for server in self._run.world.servers.values():
            group = self._run.spec.groups.get(server.group)
            kept = server.protected or (group is not None and server.name in group.protect)
            if kept and not server.counts:
                self._run.progress.warn(f"{server.name} is {server.status} and protected: nothing was done about it")

    def _settled(self) -> bool:
        return self._run.world.recorded and not on_their_way(self._run.world)

    def _reached(self) -> bool:
        """Whether exactly the wanted servers exist, every one is ready, and none lacks a place for its successor.

        Beside them there may be servers that are off, for as long as they are paid for.
        """
        ready = running(self._run.world, self._run.wanted)
        concerned = self._run.world.servers.keys() - self._run.advice.out_of_scope - self._run.plan.paid_until.keys()
        exact = all(ready[group] == count for group, count in self._run.wanted.items())
        return exact and len(concerned) == sum(ready.values()) and not self._run.plan.short

    def _forget_refusals(self) -> None:
        """What was refused on the way is history once the wanted count is there."""
        self._run.observer.known = {name: server for name, server in self._run.known.items() if not _refused(server)}

    def _may_go_on(self, made: Plan) -> bool:
        """Whether one more round is worth it: what keeps hanging is replaced a bounded number of times."""
        dying = [step for step in made.steps if step.action is Action.DELETE and self._is_dead(step.server)]
        if not dying or self._run.count("replace", _REPLACEMENTS):
            return True
        first = self._run.world.servers[dying[0].server]
        self._run.failures.append(
            ScalerError(
                f"Servers of {self._run.spec.stack} keep hanging; "
                f"{_REPLACEMENTS} rounds of replacing them did not help.",
                why=f"{first.name}: {first.error}",
                fix="Check that the image boots, and groups.*.start_within.",
                code="keeps_hanging",
            )
        )
        return False

    def _is_dead(self, name: str) -> bool:
        return self._run.world.servers[name].status in DEAD

    def _confirm(self) -> tuple[str, ...]:
        """Wait for what is on its way; returns what still was when the time was up."""
        self._run.progress.phase("confirming")
        self._run.observer.look_patiently(self._run.deadline)
        self._reboot_due()

        def look() -> World:
            self._run.observer.look()
            self._reboot_due()
            return self._run.world

        return confirm(
            look,
            self._run.world,
            clock=self._run.clock,
            deadline=self._run.deadline,
            progress=self._run.progress,
            passing=PASSING,
        )

    def _reboot_due(self) -> None:
        if self._run.observer.due:
            self._run.failures += self._run.observer.reboot_due()
            # On record at once: the run after a kill must not do it a second time.
            self._run.save(self._run.taken())

    def _give_up_waiting(self, names: Sequence[str]) -> None:
        """The run's time is up: what is still on its way counts as hanging from now on.

        Not what is being deleted: as `hanging` it would count again once its cloud calls it running.
        Nor what runs, and could only not be rebooted.
        """
        for name in names:
            server = self._run.known[name]
            if server.status in (Status.DELETING, Status.RUNNING):
                continue
            error = f"still {server.status} when the run's time was up"
            self._run.known[name] = server.become(Status.HANGING, self._run.world.at, error)


def find_server(spec: Spec, world: World, name: str) -> Server:
    """The server of a name; UsageError if there is none."""
    if name not in world.servers:
        raise UsageError(f"There is no server {name} in {spec.stack}.", fix=nearest(name, sorted(world.servers)))
    return world.servers[name]


def wrong_status(server: Server, done: str) -> UsageError:
    """Only a server that runs can be stopped or rebooted."""
    return UsageError(
        f"{server.name} cannot be {done}: it is {server.status}.",
        why=server.error or "",
        fix="`scaler ensure` repairs what is not running.",
        code="wrong_status",
    )


def record(observer: Observer, around: Surroundings) -> None:
    """Save what is there in the stack, from a fresh look under its lock."""
    around.progress.phase("recording")
    observer.read_stack()
    around.stack.record(lambda machines: observer.take_in(machines).servers)
    observer.read_stack()


def _tell_step(step: Step) -> str:
    return f"{step.action} {step.server} ({step.reason})"


def _refused(server: Server) -> bool:
    return server.status is Status.ERRORED and server.id is None
