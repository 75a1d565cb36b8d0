"""The one use case: observe → plan → preview → apply → confirm → record.

Every round carries out the first phase of a plan made from a fresh look, confirms it, and looks
again. What a round leaves behind, planned or not, is what the next one starts from: the same is
true of a run that was killed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import Enum, auto

from scaler import prices
from scaler.assess import assess, known
from scaler.clock import Clock
from scaler.clouds import (
    BusyError,
    Catalogue,
    Cloud,
    CloudError,
    GoneError,
    NameTakenError,
    NoCapacityError,
)
from scaler.confirm import PASSING, confirm, on_their_way, running
from scaler.errors import EngineError, ScalerError
from scaler.guards import check_expectation, check_plan, check_wanted
from scaler.lifecycle import Status
from scaler.model import (
    Action,
    Applied,
    Change,
    Declared,
    GroupReport,
    Machine,
    Outcome,
    Permits,
    Plan,
    PlanPhase,
    Result,
    Server,
    Spec,
    StackState,
    Step,
    StepReport,
    StepResult,
    World,
)
from scaler.parts import find_parts
from scaler.plan import Advice, Placement, placements, plan
from scaler.ports import Progress, Records, Stack
from scaler.template import Templates, existing_server, new_server

_ROUNDS = 12
"""Most rounds of one run: each makes progress, or learns something, or waits for another run's."""

_REPLACEMENTS = 2
"""How often one run replaces servers that hang or fail before it gives up."""

_ATTEMPTS = 3
"""How often a passing trouble of the cloud may stop servers from being created."""

_PAUSE_S = 2.0
"""Before trying again after a passing trouble, or when another run moved the world."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a run behaves."""

    timeout: timedelta = timedelta(minutes=15)
    wait: bool = True
    """False: do not confirm; the next run does."""
    apply: bool = True
    """False: stop before anything is changed."""
    approve: Callable[[Plan], bool] | None = None
    """Asks a person, who has seen the engine's own preview by then; None: approved beforehand."""
    expect_current: int | None = None
    everything: bool = False
    """Remove all, protected servers too: what `destroy` means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The adapters that a run is handed."""

    cloud: Cloud
    stack: Stack
    records: Records
    clock: Clock
    progress: Progress


def ensure(spec: Spec, wanted: Mapping[str, int], options: Options, around: Surroundings) -> Result:
    """Make exactly `wanted` servers per group exist, or say what is in the way.

    `wanted` has every group of the spec. Raises RefusedError before anything is changed; a run
    that changed something returns a Result, also when it failed.
    """
    if not options.everything:
        check_wanted(spec, wanted)
    return _Run(spec, wanted, options, around).execute()


def refresh(spec: Spec, around: Surroundings) -> Result:
    """Look, and record what is there in the stack and the state file; changes no server."""
    run = _Run(spec, _recorded_counts(spec, around), Options(), around)
    run.observe()
    drift = run.world.drift
    run.record()
    return replace(run.result(Outcome.UNCHANGED), drift=drift)


def look(spec: Spec, around: Surroundings) -> Result:
    """Look, and write what is there into the state file alone: no engine, one list call per page.

    A lost or damaged state file is rebuilt from the stack's outputs and the cloud.
    """
    run = _Run(spec, _recorded_counts(spec, around), Options(), around)
    run.observe(mend=True)
    run.save()
    return run.result(Outcome.UNCHANGED)


def _recorded_counts(spec: Spec, around: Surroundings) -> dict[str, int]:
    """What the last run wanted, for the groups that the spec has now."""
    recorded = around.records.wanted()
    return {name: recorded.get(name, group.count) for name, group in spec.groups.items()}


@dataclass
class _Run:
    """One run's memory. Each method is one arrow of the run's diagram."""

    spec: Spec
    wanted: Mapping[str, int]
    options: Options
    around: Surroundings
    steps: list[StepReport] = field(default_factory=list)
    advice: Advice = field(default_factory=Advice)
    failures: list[Exception] = field(default_factory=list)
    rounds_with: dict[str, int] = field(default_factory=dict)
    catalogue: Catalogue | None = None
    stack: StackState = field(default_factory=StackState)
    known: dict[str, Server] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    """Ids that the cloud said do not exist: they are not asked for again."""

    def __post_init__(self) -> None:
        self.clock = self.around.clock
        self.progress = self.around.progress
        self.started = self.clock.monotonic()
        self.deadline = self.started + self.options.timeout.total_seconds()
        self.world: World
        self.first: World
        self.plan: Plan

    # -- the run -------------------------------------------------------------------------------

    def execute(self) -> Result:
        self.observe()
        self.first = self.world
        self.plan = self._plan()
        check_expectation(self.plan, self.options.expect_current)
        if not self.plan.phases and self._settled():
            self.save()
            return self.result(Outcome.UNCHANGED if self._reached() else Outcome.FAILED)
        templates = self._look_up(self.plan)
        if not self.options.apply or self.options.approve:
            self._cross_check(self.plan, templates)
        if not self.options.apply:
            return self.result(Outcome.PLANNED)
        if self.options.approve and self.plan.phases and not self.options.approve(self.plan):
            return self.result(Outcome.PLANNED)
        return self._conclude(self._converge(templates))

    def observe(self, *, mend: bool = False) -> None:
        """Look at everything for the first time; `mend` does without records that cannot be read."""
        self.progress.phase("observing")
        self.stack = self.around.stack.read()
        self.known = known(self.stack, self.around.records.load(mend=mend))
        self.world = self._look()

    def _converge(self, templates: Templates) -> tuple[str, ...]:
        """Rounds of apply and confirm until there is nothing left to do, or nothing more to try.

        Returns the servers that were still on their way when the time was up.
        """
        for _ in range(_ROUNDS):
            verdict = _Verdict.CONFIRM
            if self.plan.phases:
                templates = self._look_up(self.plan, templates)
                verdict = self._carry_out(self.plan.phases[0], templates)
            if not self.options.wait:
                return ()
            waiting = () if verdict is _Verdict.AGAIN else self._confirm()
            if verdict is _Verdict.STOP or waiting:
                return waiting
            self._look_patiently()
            self.plan = self._plan()
            if not self.plan.phases and not on_their_way(self.world):
                return ()
            if not self._may_go_on(self.plan):
                return ()
        return ()

    def _conclude(self, waiting: Sequence[str]) -> Result:
        self._give_up_waiting(waiting)
        self._record_at_last()
        for failure in self.failures:
            self.progress.warn(str(failure))
        if self._reached() and not self.failures:
            return self.result(Outcome.CONVERGED)
        return self.result(Outcome.FAILED if self.failures else Outcome.UNCONFIRMED)

    def _record_at_last(self) -> None:
        """Record; if the engine cannot, the state file at least says what is there."""
        try:
            self.record()
        except ScalerError as error:
            self.failures.append(error)
            self.save(self._taken())

    # -- observing -----------------------------------------------------------------------------

    def _look(self) -> World:
        """One list call; what it lacks is gone only when the machine's own address says so."""
        self._take_in(self.around.cloud.list_owned(self.spec.owner))
        return self.world

    def _take_in(self, machines: Sequence[Machine]) -> None:
        listed = {machine.id for machine in machines}
        missing = {server.id for server in self.known.values() if server.id and server.status is not Status.DELETED}
        missing |= {entry.id for entry in self.stack.entries.values()} - self.gone
        unlisted = [found for missed in sorted(missing - listed) if (found := self._find(missed))]
        self.world = assess(self.spec, [*machines, *unlisted], self.stack, self.known, self.clock.now())
        self.known = {**self.world.past, **self.world.servers}

    def _look_patiently(self) -> None:
        """Look, however often it takes until the run's time is up."""
        while True:
            try:
                self._look()
            except PASSING as error:
                if self.clock.monotonic() >= self.deadline:
                    raise
                self.progress.note(f"the cloud did not answer, asking again: {error}")
                self.clock.sleep(_PAUSE_S)
            else:
                return

    def _find(self, id: str) -> Machine | None:
        try:
            machine = self.around.cloud.get(id)
        except GoneError:
            self.gone.add(id)
            return None
        return machine if self.spec.owner.owns(machine.labels) else None

    def _settled(self) -> bool:
        return self.world.recorded and not on_their_way(self.world)

    def _reached(self) -> bool:
        """Whether exactly the wanted servers exist, and every one is ready."""
        ready = running(self.world, self.wanted)
        return all(ready[group] == count for group, count in self.wanted.items()) and len(self.world.servers) == sum(
            ready.values()
        )

    # -- planning ------------------------------------------------------------------------------

    def _plan(self) -> Plan:
        spec = _unprotected(self.spec) if self.options.everything else self.spec
        made = plan(spec, self.world, self.wanted, self.advice)
        check_plan(spec, self.world, made, ignore_protection=self.options.everything)
        return made

    def _look_up(self, made: Plan, templates: Templates | None = None) -> Templates:
        """What the names in the spec mean, for every placement that the plan creates servers at."""
        creates = [step for step in made.steps if step.action is Action.CREATE]
        if not creates:
            return templates or Templates()
        if self.catalogue is None:
            self.catalogue = self.around.cloud.catalogue()
        return find_parts(self.spec, creates, self.around.cloud, self.catalogue, templates or Templates())

    def _may_go_on(self, made: Plan) -> bool:
        """Whether one more round is worth it: what keeps hanging is replaced a bounded number of times."""
        dying = [step for step in made.steps if step.action is Action.DELETE and self._is_dead(step.server)]
        if not dying or self._count("replace", _REPLACEMENTS):
            return True
        first = self.world.servers[dying[0].server]
        self.failures.append(
            ScalerError(
                f"Servers of {self.spec.stack} keep hanging; {_REPLACEMENTS} rounds of replacing them did not help.",
                why=f"{first.name}: {first.error}",
                fix="Check that the image boots, and groups.*.start_within.",
                code="keeps_hanging",
            )
        )
        return False

    def _is_dead(self, name: str) -> bool:
        return self.world.servers[name].status in (Status.HANGING, Status.ERRORED)

    def _count(self, kind: str, most: int) -> bool:
        self.rounds_with[kind] = self.rounds_with.get(kind, 0) + 1
        return self.rounds_with[kind] <= most

    def _cross_check(self, made: Plan, templates: Templates) -> None:
        """The engine's own preview must show the plan's operations, and no others."""
        if not made.phases:
            return
        self.progress.phase("previewing")
        change = self._change(made.phases[-1], templates, made.steps)
        shown = self.around.stack.preview(change)
        declared = set(made.phases[-1].declared)
        planned = {
            step.server: _ENGINE_WORDS[step.action]
            for step in made.steps
            if step.action in _ENGINE_WORDS
            and (step.server in declared) != (step.action is Action.DELETE)
            and (step.action is not Action.DELETE or step.server in self.world.entries)
        }
        if dict(shown) != planned:
            odd = {
                name: f"{planned.get(name)} planned, {shown.get(name)} shown" for name in shown.keys() ^ planned.keys()
            }
            raise EngineError(
                "The engine would do something else than the plan says; nothing was changed.",
                why="; ".join(f"{name}: {text}" for name, text in sorted(odd.items())) or f"{shown} for {planned}",
                fix="Run `scaler refresh`, and try again.",
            )

    # -- applying ------------------------------------------------------------------------------

    def _carry_out(self, phase: PlanPhase, templates: Templates) -> _Verdict:
        """Apply one phase, and say how to go on."""
        self.progress.phase("applying")
        before = dict(self.known)
        self._announce(phase)
        self._power_on([step for step in phase.steps if step.action is Action.POWER_ON])
        applied = Applied()
        if any(step.action is not Action.POWER_ON for step in phase.steps):
            try:
                applied = self.around.stack.apply(self._change(phase, templates, phase.steps))
            except PASSING as error:
                self.known = before
                return self._try_again(error)
            except ScalerError:
                self.known = before
                self.save()
                raise
        if applied.moved:
            self.known = before
            self.progress.note("the servers changed since the plan was made: planning again")
            self.clock.sleep(_PAUSE_S)
            self.stack = self.around.stack.read()
            return _Verdict.AGAIN
        return self._account_for(phase, applied)

    def _announce(self, phase: PlanPhase) -> None:
        """Record what is about to be asked, so that a run killed now leaves a record of it."""
        now = self.world.at
        for step in phase.steps:
            status = _INTENTS.get(step.action)
            if status is None:
                continue
            before = self.world.servers.get(step.server)
            self.known[step.server] = (
                replace(before, status=status, since=now, previous=before.status)
                if before
                else Server(name=step.server, group=step.group, id=None, status=status, since=now)
            )
            self.progress.server(step.server, status, step.reason)
        self.save(phase.steps)

    def _power_on(self, steps: Sequence[Step]) -> None:
        def power_on(step: Step) -> StepReport:
            try:
                self.around.cloud.power_on(step.id or "")
            except CloudError as error:
                return StepReport(step, StepResult.FAILED, str(error))
            return StepReport(step, StepResult.DONE)

        if not steps:
            return
        with ThreadPoolExecutor(max_workers=10) as pool:
            reports = list(pool.map(power_on, steps))
        self.steps += reports
        failed = frozenset(report.step.server for report in reports if report.result is StepResult.FAILED)
        for name in failed:
            self.known[name] = self.world.servers[name]
        self.advice = replace(self.advice, keep_off=self.advice.keep_off | failed)

    def _change(self, phase: PlanPhase, templates: Templates, steps: Sequence[Step]) -> Change:
        creates = {step.server: step for step in steps if step.action is Action.CREATE}
        adopted = {step.server: step.id or "" for step in steps if step.action is Action.ADOPT}
        declared = []
        for name in phase.declared:
            if name in creates:
                request = new_server(self.spec, creates[name], templates.of(creates[name]))
                declared.append(Declared(name, creates[name].group, request, exists=False))
            elif name in self.world.machines:
                machine = self.world.machines[name]
                request = existing_server(self.spec, machine)
                declared.append(Declared(name, self.world.servers[name].group, request, exists=name not in adopted))
        return Change(
            declared=tuple(declared),
            permits=Permits(
                create=frozenset(creates),
                adopt=adopted,
                update=frozenset(step.server for step in steps if step.action is Action.UPDATE),
                delete={step.server: step.id or "" for step in steps if step.action is Action.DELETE},
                forget={step.server: step.id or "" for step in steps if step.action is Action.FORGET},
            ),
            outputs={server.name: self.known[server.name] for server in declared if server.name in self.known},
            expected=frozenset(machine.id for machine in self.world.machines.values()),
            refresh=bool(self.world.vanished) or self._relabelled(),
        )

    def _relabelled(self) -> bool:
        """Whether the engine's idea of some server's labels is not the cloud's."""
        return any(
            dict(entry.labels) != dict(self.world.machines[name].labels)
            for name, entry in self.world.entries.items()
            if name in self.world.machines
        )

    # -- after applying ------------------------------------------------------------------------

    def _account_for(self, phase: PlanPhase, applied: Applied) -> _Verdict:
        """Note what came of each step, and learn from what the cloud refused."""
        for step in phase.steps:
            if step.action is Action.POWER_ON:
                continue
            error = applied.errors.get(step.server)
            done = error is None and self._is_done(step, applied)
            if done:
                self._note_accepted(step, applied)
            self._note_step(step, StepResult.DONE if done else StepResult.FAILED, error or applied.failure)
        self._note_refusals(phase, applied)
        self.stack = self.around.stack.read()
        if applied.errors:
            return self._learn(phase, applied.errors)
        if applied.failure:
            self.failures.append(EngineError("The engine failed.", why=applied.failure))
            return _Verdict.STOP
        return _Verdict.CONFIRM

    @staticmethod
    def _is_done(step: Step, applied: Applied) -> bool:
        if step.action in (Action.CREATE, Action.ADOPT):
            return step.server in applied.accepted
        if step.action is Action.DELETE:
            return step.server in applied.deleted
        return applied.failure is None

    def _note_accepted(self, step: Step, applied: Applied) -> None:
        if step.action is Action.CREATE:
            self.known[step.server] = replace(
                self.known[step.server], id=applied.accepted[step.server], status=Status.STARTING, previous=Status.NEW
            )

    def _note_step(self, step: Step, result: StepResult, error: object) -> None:
        """One report per step: a later attempt's replaces an earlier one's."""
        self.steps = [
            report for report in self.steps if (report.step.action, report.step.server) != (step.action, step.server)
        ]
        failed = result is StepResult.FAILED
        self.steps.append(StepReport(step, result, str(error) if failed and error else None))

    def _note_refusals(self, phase: PlanPhase, applied: Applied) -> None:
        """A refused create leaves an `errored` record with the cloud's words; a refused delete leaves the server."""
        for step in phase.steps:
            if step.action is Action.CREATE and step.server not in applied.accepted:
                error = str(applied.errors.get(step.server) or applied.failure or "not asked")
                self.known[step.server] = replace(
                    self.known[step.server], status=Status.ERRORED, previous=Status.NEW, error=error
                )
            elif step.action is Action.DELETE and step.server not in applied.deleted:
                self.known[step.server] = self.world.servers[step.server]

    def _learn(self, phase: PlanPhase, errors: Mapping[str, Exception]) -> _Verdict:
        """What the refusals mean for the next round."""
        steps = {step.server: step for step in phase.steps}
        full = {_placement(steps[name]) for name, error in errors.items() if isinstance(error, NoCapacityError)}
        taken = {name for name, error in errors.items() if isinstance(error, NameTakenError)}
        self.advice = replace(self.advice, exhausted=self.advice.exhausted | full, taken=self.advice.taken | taken)
        for kind, location in sorted(full):
            self.progress.note(f"no {kind} to be had in {location}")
        for name, error in errors.items():
            if self._is_lasting(error, steps[name].group):
                self.failures.append(error)
                return _Verdict.STOP
        passing = [error for error in errors.values() if isinstance(error, PASSING)]
        return self._try_again(passing[0]) if passing else _Verdict.AGAIN

    def _is_lasting(self, error: Exception, group: str) -> bool:
        """Whether asking again, elsewhere or under another name, would be no use."""
        if isinstance(error, NoCapacityError):
            return set(placements(self.spec.groups[group])) <= self.advice.exhausted
        return not isinstance(error, (NameTakenError, BusyError, *PASSING))

    def _try_again(self, error: Exception) -> _Verdict:
        if not self._count("passing", _ATTEMPTS):
            self.failures.append(error)
            return _Verdict.STOP
        self.progress.note(f"trying again: {error}")
        self.clock.sleep(_PAUSE_S)
        return _Verdict.AGAIN

    # -- confirming and recording --------------------------------------------------------------

    def _confirm(self) -> tuple[str, ...]:
        """Wait for what is on its way; returns what still was when the time was up."""
        self.progress.phase("confirming")
        self._look_patiently()
        return confirm(self._look, self.world, clock=self.clock, deadline=self.deadline, progress=self.progress).waiting

    def _give_up_waiting(self, names: Sequence[str]) -> None:
        """The run's time is up: what is still on its way counts as hanging from now on."""
        for name in names:
            server = self.known[name]
            self.known[name] = replace(
                server,
                status=Status.HANGING,
                previous=server.status,
                since=self.world.at,
                error=f"still {server.status} when the run's time was up",
            )

    def record(self) -> None:
        """Save what is there in the stack and in the state file, from a fresh look under the lock."""
        self.progress.phase("recording")
        self.stack = self.around.stack.read()

        def describe(machines: Sequence[Machine]) -> Mapping[str, Server]:
            self._take_in(machines)
            return self.world.servers

        self.around.stack.record(describe)
        if self._reached():
            # What was refused on the way is history once the wanted count is there.
            self.known = {name: server for name, server in self.known.items() if server.status is not Status.ERRORED}
        self.save(self._taken())

    def _taken(self) -> list[Step]:
        return [report.step for report in self.steps]

    def save(self, steps: Sequence[Step] = ()) -> None:
        self.around.records.save(self.wanted, self.known, steps)

    # -- telling -------------------------------------------------------------------------------

    def result(self, outcome: Outcome) -> Result:
        """What to print."""
        ready = running(self.world, self.wanted)
        first = getattr(self, "first", self.world)
        planned = (
            [StepReport(step, StepResult.PENDING) for step in self.plan.steps] if outcome is Outcome.PLANNED else []
        )
        return Result(
            stack=self.spec.stack,
            outcome=outcome,
            groups={
                name: GroupReport(
                    wanted=count,
                    before=sum(1 for server in first.servers.values() if server.group == name and server.counts),
                    ready=ready[name],
                )
                for name, count in self.wanted.items()
            },
            steps=tuple(self.steps or planned),
            servers=tuple(
                self.known[name] for name in sorted(self.known) if self.known[name].status is not Status.DELETED
            ),
            drift=first.drift,
            cost=prices.cost(self.catalogue, first.servers.values(), self._servers_after(outcome)),
            requests=self.around.cloud.requests,
            elapsed=timedelta(seconds=self.clock.monotonic() - self.started),
        )

    def _servers_after(self, outcome: Outcome) -> Sequence[Server]:
        """The servers that are paid for afterwards."""
        if outcome is not Outcome.PLANNED:
            return list(self.world.servers.values())
        leaving = {step.server for step in self.plan.steps if step.action is Action.DELETE}
        staying = [server for server in self.world.servers.values() if server.name not in leaving]
        coming = [
            Server(
                name=step.server,
                group=step.group,
                id=None,
                status=Status.NEW,
                since=self.world.at,
                type=step.type,
                location=step.location,
            )
            for step in self.plan.steps
            if step.action is Action.CREATE
        ]
        return staying + coming


class _Verdict(Enum):
    """How a run goes on after a phase."""

    CONFIRM = auto()
    AGAIN = auto()
    """Plan again at once: nothing was done, or what was refused can be asked otherwise."""
    STOP = auto()


def _placement(step: Step) -> Placement:
    return step.type or "", step.location or ""


_INTENTS = {
    Action.CREATE: Status.NEW,
    Action.DELETE: Status.DELETING,
    Action.FORGET: Status.DELETED,
    Action.POWER_ON: Status.REBOOTING,
}
"""The status that a server is recorded with right before it is asked for."""

_ENGINE_WORDS = {
    Action.CREATE: "create",
    Action.ADOPT: "create",
    Action.UPDATE: "update",
    Action.DELETE: "delete",
}
"""A step's action as the engine's preview names it."""


def _unprotected(spec: Spec) -> Spec:
    groups = {name: replace(group, protect=frozenset()) for name, group in spec.groups.items()}
    return replace(spec, groups=groups)
