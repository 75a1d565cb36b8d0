"""The one use case: observe → plan → preview → apply → confirm → record.

Every round carries out the first phase of a plan made from a fresh look, confirms it, and looks
again. What a round leaves behind, planned or not, is what the next one starts from: the same is
true of a run that was killed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import Enum, auto
from functools import cached_property

from scaler import prices
from scaler.clouds import (
    BusyError,
    Catalogue,
    CloudError,
    InvalidError,
    NameTakenError,
    NoCapacityError,
    QuotaError,
)
from scaler.confirm import confirm, on_their_way, running
from scaler.errors import EngineError, LimitError, RefusedError, ScalerError, StalePlanError, UsageError
from scaler.guards import (
    Quota,
    check_budget,
    check_change,
    check_expectation,
    check_plan,
    check_quota,
    check_unprotected,
    check_wanted,
    check_zero,
    shrinking_alone,
)
from scaler.lifecycle import Status
from scaler.model import (
    Action,
    Applied,
    Change,
    Cost,
    Declared,
    Group,
    GroupReport,
    Outcome,
    Permits,
    Placement,
    Plan,
    PlanPhase,
    PolicyPack,
    Preview,
    Result,
    Server,
    Spec,
    Step,
    StepReport,
    StepResult,
    StopPolicy,
    Violation,
    World,
)
from scaler.observe import PASSING, Observer
from scaler.parts import current_image, find_parts
from scaler.plan import Advice, natural, placements, plan
from scaler.ports import Surroundings
from scaler.shortages import QUOTA_FOR
from scaler.suggest import nearest
from scaler.template import Templates, existing_server, new_server

_ROUNDS = 12
"""Most rounds of one run: each makes progress, or learns something, or waits for another run's."""

_REPLACEMENTS = 2
"""How often one run replaces servers that hang or fail before it gives up."""

_ATTEMPTS = 3
"""How often a passing trouble of the cloud may stop servers from being created."""

_STOP_LOOK_S = 1.0
"""Between two looks at servers that are coming to rest."""

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
    max_change: int | None = None
    """Most servers that the run may create and delete together."""
    allow_zero: bool = True
    """Whether counts may take the whole stack from some servers to none."""
    everything: bool = False
    """Remove all, protected servers too: what `destroy` means."""
    reviewed: Reviewed | None = None
    """Do exactly this plan, or nothing."""


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A plan that was looked at before, and the machines that it was made for."""

    steps: tuple[Step, ...]
    seen: Mapping[str, str]
    """Name → id."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What is wanted: absolute counts, or a change to what is there; and of which servers it is made."""

    counts: Mapping[str, int] | None = None
    """Wanted servers of every group of the spec; None: as many as there are."""
    by: Mapping[str, int] = field(default_factory=dict)
    """Added to the count of these groups; the result is never below nought."""
    remove: frozenset[str] = frozenset()
    """Servers to remove, each lowering its group's count by one."""
    renew: frozenset[str] = frozenset()
    """Servers to replace: each goes when a new one is ready."""

    def resolve(self, spec: Spec, world: World) -> dict[str, int]:
        """The wanted count of every group; a server to replace counts, whatever its state."""
        servers = world.servers.values()
        there = Counter(server.group for server in servers if server.counts or server.name in self.renew)
        leaving = Counter(server.group for server in servers if server.counts and server.name in self.remove)
        return {
            name: max(
                0, (there[name] if self.counts is None else self.counts[name]) + self.by.get(name, 0) - leaving[name]
            )
            for name in spec.groups
        }

    def not_about(self, world: World) -> frozenset[str]:
        """Servers to leave as they are: those that do not count, when the demand is about others by name."""
        if self.counts is not None or self.by:
            return frozenset()
        named = self.remove | self.renew
        return frozenset(name for name, server in world.servers.items() if not server.counts and name not in named)


def ensure(spec: Spec, demand: Demand, options: Options, around: Surroundings) -> Result:
    """Make exactly the demanded servers exist, or say what is in the way.

    Raises RefusedError before anything is changed; a run that changed something returns a Result,
    also when it failed.
    """
    run = _Run(spec, demand, options, around)
    return around.records.narrate(run.execute) if options.apply else run.execute()


@dataclass
class _Run:
    """One run's memory. Each method is one arrow of the run's diagram."""

    spec: Spec
    demand: Demand
    options: Options
    around: Surroundings
    steps: list[StepReport] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    rounds_with: Counter[str] = field(default_factory=Counter)
    catalogue: Catalogue | None = None
    templates: Templates = field(default_factory=Templates)
    passed_over: dict[tuple[str, Placement], CloudError | str] = field(default_factory=dict)
    """Why servers of a group are not tried at a placement."""
    violations: tuple[Violation, ...] = ()
    judged: set[tuple[Action, str, str | None, str | None]] = field(default_factory=set)
    """What the policy packs have seen."""

    def __post_init__(self) -> None:
        self.clock = self.around.clock
        self.progress = self.around.progress
        self.started = self.clock.monotonic()
        self.deadline = self.started + self.options.timeout.total_seconds()
        self.observer = Observer(self.spec, self.around)
        self.advice = Advice(remove=self.demand.remove, renew=self.demand.renew)
        self.wanted: Mapping[str, int] = {}
        self.first: World
        self.plan: Plan

    @property
    def world(self) -> World:
        return self.observer.world

    @property
    def known(self) -> dict[str, Server]:
        return self.observer.known

    # -- the run -------------------------------------------------------------------------------

    def execute(self) -> Result:
        if self.demand.counts is not None:
            self._check(self.demand.counts)
        self.first = self.observer.begin()
        self._check_named()
        self._resolve()
        self.plan = self._plan()
        self._check_plan()
        if self.options.reviewed:
            self._require_reviewed(self.options.reviewed)
        if not self.plan.phases and self._settled():
            reached = self._reached()
            if reached:
                self._forget_refusals()
            else:
                self._note_shortages()
                self._tell_failures()
            self.save()
            return self.result(Outcome.UNCHANGED if reached else Outcome.FAILED)
        if not self.options.apply or self.options.approve or self.packs:
            self._cross_check(self.plan)
        if any(violation.forbids for violation in self.violations):
            return self.result(Outcome.REFUSED)
        if not self.options.apply:
            for name, count in self.plan.short.items():
                self.progress.warn(str(self._shortage(name, count)))
            return self.result(Outcome.PLANNED)
        if self.options.approve and self.plan.phases and not self.options.approve(self.plan):
            return replace(self.result(Outcome.PLANNED), declined=True)
        return self._conclude(self._converge_or_note())

    def _require_reviewed(self, reviewed: Reviewed) -> None:
        """Stop, unless this is the world and these are the steps that were looked at."""
        seen = _ids(self.world)
        if seen != reviewed.seen:
            raise _stale(
                "servers came or went",
                (
                    f"{name}: {reviewed.seen.get(name, 'none')} then, {seen.get(name, 'none')} now"
                    for name in sorted(seen.keys() | reviewed.seen.keys())
                    if seen.get(name) != reviewed.seen.get(name)
                ),
            )
        if self.plan.steps != reviewed.steps:
            before, now = set(map(_tell_step, reviewed.steps)), set(map(_tell_step, self.plan.steps))
            raise _stale(
                "other steps are needed now",
                sorted(f"then: {text}" for text in before - now) + sorted(f"now: {text}" for text in now - before),
            )

    def _resolve(self) -> None:
        """What the demand means for the servers that there are."""
        self.wanted = self.demand.resolve(self.spec, self.world)
        self.advice = replace(self.advice, apart=self.demand.not_about(self.world))
        if self.demand.counts is None:
            have = Counter(server.group for server in self.world.servers.values() if server.counts)
            self._check(self.wanted, have)

    def _check(self, counts: Mapping[str, int], have: Mapping[str, int] | None = None) -> None:
        if not self.options.everything:
            check_wanted(self.spec, counts, have)

    def _check_named(self) -> None:
        """Servers that are named must be there, not be protected, and run if they are to be removed.

        A machine in no state may be removed however it is.
        """
        for name in sorted(self.demand.remove | self.demand.renew):
            server = find_server(self.spec, self.world, name)
            check_unprotected(self.spec, server)
            if name in self.demand.remove and not server.running and name not in self.world.orphans:
                raise wrong_status(server, "stopped")

    def _converge_or_note(self) -> tuple[str, ...]:
        """Converge; once something was changed, whatever ends the run is noted, and what is there is recorded."""
        try:
            return self._converge()
        except ScalerError as error:
            if not self.steps:
                raise
            self.failures.append(error)
            return ()

    def _converge(self) -> tuple[str, ...]:
        """Rounds of apply and confirm until there is nothing left to do, or nothing more to try.

        Returns the servers that were still on their way when the time was up.
        """
        for _ in range(_ROUNDS):
            verdict = _Verdict.CONFIRM
            if self.plan.phases:
                self._judge_again()
                verdict = self._carry_out(self.plan.phases[0])
            if verdict is not _Verdict.AGAIN:
                if not self.options.wait:
                    return ()
                waiting = self._confirm()
                if verdict is _Verdict.STOP or waiting:
                    return waiting
            self.observer.look_patiently(self.deadline)
            if not self.steps:
                # Nothing was done, since others were quicker: what is relative is so to what they left.
                self._resolve()
            self.plan = self._plan()
            self._check_sums()
            if not self.plan.phases and not on_their_way(self.world):
                return ()
            if verdict is _Verdict.CONFIRM and not self._may_go_on(self.plan):
                return ()
        return ()

    def _conclude(self, waiting: Sequence[str]) -> Result:
        self._give_up_waiting(waiting)
        try:
            record(self.observer, self.around)
        except ScalerError as error:
            # The engine could not: the state file at least says what is there.
            self.failures.append(error)
        self._note_shortages()
        reached = self._reached()
        if reached:
            self._forget_refusals()
        self.save(self._taken())
        if reached and not self.failures:
            return self.result(Outcome.CONVERGED)
        self._tell_failures()
        return self.result(Outcome.FAILED if self.failures else Outcome.UNCONFIRMED)

    def _tell_failures(self) -> None:
        """What went wrong, and which servers are not as they should be and may not be touched."""
        for failure in self.failures:
            self.progress.warn(str(failure))
        for server in self.world.servers.values():
            group = self.spec.groups.get(server.group)
            kept = server.protected or (group is not None and server.name in group.protect)
            if kept and not server.counts:
                self.progress.warn(f"{server.name} is {server.status} and protected: nothing was done about it")

    def _settled(self) -> bool:
        return self.world.recorded and not on_their_way(self.world)

    def _reached(self) -> bool:
        """Whether exactly the wanted servers exist, every one is ready, and none lacks a place for its successor."""
        ready = running(self.world, self.wanted)
        concerned = self.world.servers.keys() - self.advice.apart
        exact = all(ready[group] == count for group, count in self.wanted.items())
        return exact and len(concerned) == sum(ready.values()) and not self.plan.short

    def _forget_refusals(self) -> None:
        """What was refused on the way is history once the wanted count is there."""
        self.observer.known = {name: server for name, server in self.known.items() if not _refused(server)}

    # -- planning ------------------------------------------------------------------------------

    def _plan(self) -> Plan:
        """A plan that creates servers only where they can be had, and no more than the account allows."""
        spec = _unprotected(self.spec) if self.options.everything else self.spec
        made = plan(spec, self.world, self.wanted, self.advice)
        while self._learns(made):
            made = plan(spec, self.world, self.wanted, self.advice)
        for name in made.short:
            self._require_fit(spec.groups[name])
        if made.phases and (self.options.approve or not self.options.apply):
            self._read_prices()
        return replace(made, cost=self._cost(self.world.servers.values(), self._servers_after(made)))

    def _learns(self, made: Plan) -> bool:
        """Look up what a plan needs to know; whether that calls for another plan."""
        return self._learns_images(made) or self._learns_placements(made)

    def _learns_images(self, made: Plan) -> bool:
        """Outdated servers go first: where only some of a group go, its image must be known."""
        choosing = {
            step.group
            for step in made.steps
            if step.action is Action.DELETE and self.world.servers[step.server].counts and self.wanted.get(step.group)
        } - self.advice.images.keys()
        if not choosing:
            return False
        found = {name: self._image_names(self.spec.groups[name]) for name in choosing}
        self.advice = replace(self.advice, images={**self.advice.images, **found})
        return True

    def _image_names(self, group: Group) -> frozenset[str]:
        """What a group's image goes by; nothing if the cloud cannot tell, for a count must go down all the same."""
        try:
            image = current_image(group, self.around.cloud, self._sold())
        except (InvalidError, *PASSING) as error:
            self.progress.note(f"which servers of {group.name} are outdated is not known: {error}")
            return frozenset()
        return frozenset({image.id, image.name})

    def _learns_placements(self, made: Plan) -> bool:
        creates = [step for step in made.steps if step.action is Action.CREATE]
        if not creates:
            return False
        before = self.advice
        self._look_up(creates)
        if self.advice == before:
            self._heed_quota(made)
        return self.advice != before

    def _look_up(self, creates: Sequence[Step]) -> None:
        """What the names in the spec mean, for every placement that servers are to be created at."""
        catalogue = self._sold()
        found = find_parts(self.spec, creates, self.around.cloud, catalogue, self.templates, self.clock.now())
        for _, kind, location in found.templates.parts.keys() - self.templates.parts.keys():
            offer = catalogue.offer(kind, location)
            if offer and offer.deprecated_after:
                self.progress.warn(f"{kind} can be ordered in {location} until {offer.deprecated_after:%Y-%m-%d} only")
        self.templates = found.templates
        for place, full in found.unavailable.items():
            self._pass_over_full(place, full)
        for (group, place), unfit in found.unfit.items():
            self.passed_over[group, place] = unfit
            self.progress.note(f"{group} passes over {_tell_place(place)}: {unfit}")
        self.advice = replace(self.advice, unfit=self.advice.unfit | found.unfit.keys())

    def _sold(self) -> Catalogue:
        """The cloud's catalogue, read once; what had no capacity a moment ago is not tried again."""
        if self.catalogue is None:
            self.catalogue = self.around.cloud.catalogue()
            for place, at in self.around.shortages.full(self.clock.now()).items():
                self._pass_over_full(place, f"there was none at {at:%H:%M} UTC")
        return self.catalogue

    def _read_prices(self) -> None:
        """For whoever looks at the plan; it can be carried out without them."""
        try:
            self._sold()
        except CloudError as error:
            self.progress.note(f"the prices cannot be read: {error}")

    def _pass_over_full(self, place: Placement, why: CloudError | str) -> None:
        for name in self.spec.groups:
            self.passed_over.setdefault((name, place), why)
        self.advice = replace(self.advice, exhausted=self.advice.exhausted | {place})
        self.progress.note(f"passing over {_tell_place(place)}: {why}")

    def _heed_quota(self, made: Plan) -> None:
        """Refuse what the account does not allow; what other groups only lose goes on without it."""
        if self.quota is None:
            return
        self.advice = replace(self.advice, most=self.quota.most)
        try:
            check_quota(self.world, made, self.quota)
        except LimitError as error:
            if not self.steps and not shrinking_alone(made):
                raise
            self.failures.append(error)
            self.advice = replace(self.advice, withheld=True)

    @cached_property
    def quota(self) -> Quota | None:
        """What the account lets this stack have: as the cloud tells, or as it was found out within the hour."""
        learned = self.around.shortages.quota(self.clock.now())
        if learned:
            most, at = learned
            return Quota(
                most,
                why=f"it refused more at {at:%H:%M} UTC, and is not asked again before {at + QUOTA_FOR:%H:%M}",
                fix=f"Have the account's limit raised and remove {self.around.shortages.name}, or ask for fewer.",
            )
        try:
            limits = self.around.cloud.limits()
        except CloudError as error:
            self.progress.note(f"the account's limit cannot be read: {error}")
            return None
        if limits.servers is None:
            return None
        others = max(0, (limits.in_use or 0) - len(self.world.machines))
        return Quota(
            limits.servers - others,
            why=f"the account's limit is {limits.servers}, and {others} of its servers are not of this stack",
            fix="Have the account's limit raised, or ask for fewer.",
        )

    def _require_fit(self, group: Group) -> None:
        """InvalidError if there is no placement at which servers of the group can be."""
        errors = [self.passed_over.get((group.name, place)) for place in placements(group)]
        invalid = {str(error): error for error in errors if isinstance(error, InvalidError)}
        if len(invalid) == 1 and all(isinstance(error, InvalidError) for error in errors):
            raise next(iter(invalid.values()))
        if all(isinstance(error, InvalidError) for error in errors):
            raise InvalidError(
                f"There is no type and location at which servers of {group.name} can be.",
                why="; ".join(invalid),
                fix=f"Change groups.{group.name}.type, location or image in {self.spec.path}.",
            )

    def _note_shortages(self) -> None:
        """What is missing because there was no capacity is a failure of the run, whatever else was done."""
        if not self.advice.withheld:
            self.failures += [self._shortage(name, count) for name, count in self.plan.short.items()]

    def _shortage(self, name: str, count: int) -> NoCapacityError:
        tried = (
            f"{_tell_place(place)}: {self.passed_over.get((name, place), 'not tried')}"
            for place in placements(self.spec.groups[name])
        )
        return NoCapacityError(
            f"There is no capacity for {count} more of {name}.",
            why="; ".join(tried),
            fix=f"Name more types or locations in groups.{name}, or try again in a few minutes.",
        )

    def _check_plan(self) -> None:
        """All guards, before anything is changed."""
        everything = self.options.everything
        check_plan(self.spec, self.world, self.plan, ignore_protection=everything)
        check_expectation(self.plan, self.options.expect_current)
        if self.demand.counts is not None and not everything:
            check_zero(self.world, self.plan, allowed=self.options.allow_zero)
        self._check_sums()

    def _check_sums(self) -> None:
        """The guards that hold for all rounds of the run together."""
        done = {(report.step.action, report.step.server) for report in self.steps if report.result is StepResult.DONE}
        check_change(self.plan, self.options.max_change, done)
        check_budget(self.spec, self.plan, self.plan.cost)

    def _cost(self, before: Iterable[Server], after: Iterable[prices.Priced]) -> Cost | None:
        return prices.cost(self.catalogue, map(prices.existing, before), after)

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
        self.rounds_with[kind] += 1
        return self.rounds_with[kind] <= most

    def _cross_check(self, made: Plan) -> None:
        """The engine's own preview must show the plan's operations, and no others."""
        if not made.phases:
            return
        self.progress.phase("previewing")
        change = self._change(made.phases[-1], made.steps)
        preview = self.around.stack.preview(change, self.packs)
        if self._is_refused(made, preview):
            return
        shown = preview.operations
        declared = set(made.phases[-1].declared)
        # Reversed: what is adopted first and changed later is new to the engine.
        planned = {
            step.server: _ENGINE_WORDS[step.action]
            for step in reversed(made.steps)
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

    @property
    def packs(self) -> tuple[PolicyPack, ...]:
        """The policy packs that judge this run: all of the spec's, unless everything goes."""
        return () if self.options.everything else self.spec.policies

    def _is_refused(self, made: Plan, preview: Preview) -> bool:
        """Note what the policies say of a plan; whether one of them forbids it."""
        self.violations = preview.violations
        self.judged |= set(map(_deed, made.steps))
        for violation in preview.violations if self.options.apply else ():
            if not violation.forbids:
                self.progress.warn(f"policy: {violation}")
        return any(violation.forbids for violation in preview.violations)

    def _judge_again(self) -> None:
        """A plan made on the way, such as for another location, must pass the policies as the first one did."""
        if not self.packs or set(map(_deed, self.plan.steps)) <= self.judged:
            return
        self._cross_check(self.plan)
        if forbidding := [violation for violation in self.violations if violation.forbids]:
            raise RefusedError(
                f"A policy refuses what {self.spec.stack} needs now.",
                why="; ".join(map(str, forbidding)),
                fix="Change the spec or the policy.",
                code="policy",
            )

    # -- applying ------------------------------------------------------------------------------

    def _carry_out(self, phase: PlanPhase) -> _Verdict:
        """Apply one phase, in as many lots as servers come to rest one after the other."""
        self.progress.phase("applying")
        verdict = _Verdict.CONFIRM
        for lot in self._lots(phase):
            verdict = self._apply(lot)
            if verdict is not _Verdict.CONFIRM:
                return verdict
        return verdict

    def _apply(self, phase: PlanPhase) -> _Verdict:
        # What was found goes on record first: a vanished server's name may be used again.
        self.save(phase.steps)
        self._power_on([step for step in phase.steps if step.action is Action.POWER_ON])
        before = dict(self.known)
        applied = Applied()
        others = [step for step in phase.steps if step.action is not Action.POWER_ON]
        if others:
            self._announce(others)
            try:
                applied = self.around.stack.apply(self._change(phase, phase.steps))
            except PASSING as error:
                self.observer.known = before
                return self._try_again(error)
            except ScalerError:
                self.observer.known = before
                self.save()
                raise
        if applied.moved:
            self.observer.known = before
            if self.options.reviewed:
                self.save()
                raise _stale("servers came or went while it was applied", ())
            self.progress.note("the servers changed since the plan was made: planning again")
            self.clock.sleep(_PAUSE_S)
            self.observer.read_stack()
            return _Verdict.AGAIN
        return self._account_for(phase, applied)

    # -- bringing to rest ----------------------------------------------------------------------

    def _lots(self, phase: PlanPhase) -> Iterator[PlanPhase]:
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
            self.around.stopping.begin(self.world.servers[name], self._stop_policy(name))
            self.known[name] = self.world.servers[name].become(Status.STOPPING, self.world.at)
        self.save(phase.steps)
        while resting:
            rested = self._come_to_rest(resting)
            if rested:
                yield PlanPhase(steps=rested, declared=_natural_order({*phase.declared, *resting}))

    def _must_rest(self, step: Step) -> bool:
        """Whether a server serves, or may, and its group says how to stop it."""
        if step.action is not Action.DELETE:
            return False
        status = self.world.servers[step.server].status
        return status in (Status.RUNNING, Status.REBOOTING) and self._stop_policy(step.server).needed

    def _stop_policy(self, name: str) -> StopPolicy:
        group = self.spec.groups.get(self.world.servers[name].group)
        return group.stop if group else StopPolicy()

    def _is_still_so(self) -> bool:
        """Right before servers are stopped: is this still the world that the plan was made for?"""
        before = {machine.id for machine in self.world.machines.values()}
        return {machine.id for machine in self.observer.look_patiently(self.deadline).machines.values()} == before

    def _come_to_rest(self, resting: dict[str, Step]) -> tuple[Step, ...]:
        """Wait until some of the servers are at rest, and take them out of `resting`."""
        rested: list[Step] = []
        while not rested and resting:
            self.clock.sleep(_STOP_LOOK_S)
            world = self.observer.look_patiently(self.deadline)
            for name, step in list(resting.items()):
                machine = world.machines.get(name)
                stop = self.around.stopping.advance(self.known[name], machine.phase if machine else None)
                if stop.at_rest or stop.kept:
                    del resting[name]
                    for note in stop.notes:
                        self.progress.warn(f"{name}: {note}")
                if stop.at_rest:
                    rested.append(replace(step, reason="; ".join([step.reason, *stop.notes])))
                if stop.kept:
                    self._keep(step, stop.notes)
        return tuple(rested)

    def _keep(self, step: Step, notes: Sequence[str]) -> None:
        """A server whose drain failed stays, as its group says; the run cannot reach its count then."""
        self.advice = replace(self.advice, kept=self.advice.kept | {step.server})
        self._note_step(step, StepResult.FAILED, "; ".join(notes))
        self.failures.append(
            ScalerError(f"{step.server} was kept, because its drain failed.", why="; ".join(notes), code="drain_failed")
        )

    def _announce(self, steps: Sequence[Step]) -> None:
        """Record what is about to be asked, so that a run killed now leaves a record of it."""
        now = self.world.at
        for step in steps:
            status = _INTENTS.get(step.action)
            if status is None:
                continue
            before = self.world.servers.get(step.server)
            self.known[step.server] = (
                before.become(status, now)
                if before
                else Server(name=step.server, group=step.group, id=None, status=status, since=now)
            )
            self.progress.server(step.server, status, step.reason)
        self.save(steps)

    def _power_on(self, steps: Sequence[Step]) -> None:
        """Power servers on; one whose cloud says no for good is replaced in the next round."""

        def power_on(step: Step) -> CloudError | None:
            try:
                self.around.cloud.power_on(step.id or "")
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
            self._note_step(step, StepResult.FAILED if error else StepResult.DONE, error)
            if error:
                refused[step.server] = error
                self.known[step.server] = self.world.servers[step.server]
        passing = {name for name, error in refused.items() if isinstance(error, (BusyError, *PASSING))}
        if passing and self._count("power_on", _ATTEMPTS):
            self.clock.sleep(_PAUSE_S)
        else:
            passing = set()
        self.advice = replace(self.advice, keep_off=self.advice.keep_off | (refused.keys() - passing))

    def _change(self, phase: PlanPhase, steps: Sequence[Step]) -> Change:
        creates = {step.server: step for step in steps if step.action is Action.CREATE}
        adopted = {step.server: step.id or "" for step in steps if step.action is Action.ADOPT}
        updated = frozenset(step.server for step in steps if step.action is Action.UPDATE)
        declared = []
        for name in phase.declared:
            if name in creates:
                request = new_server(self.spec, creates[name], self.templates.of(creates[name]))
                declared.append(Declared(name, creates[name].group, request, exists=False))
            elif name in self.world.machines:
                machine = self.world.machines[name]
                request = existing_server(self.spec, machine)
                if name not in updated:
                    request = replace(request, labels=machine.labels)
                declared.append(Declared(name, self.world.servers[name].group, request, exists=name not in adopted))
        return Change(
            declared=tuple(declared),
            permits=Permits(
                create=frozenset(creates),
                adopt=adopted,
                update=updated,
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
        self.observer.read_stack()
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
        if step.action is Action.ADOPT:
            self.advice = replace(self.advice, adopted=self.advice.adopted | {step.server})
        elif step.action is Action.CREATE:
            asked = replace(self.known[step.server], id=applied.accepted[step.server])
            self.known[step.server] = asked.become(Status.STARTING, self.world.at)

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
                self.known[step.server] = self.known[step.server].become(Status.ERRORED, self.world.at, error)
            elif step.action is Action.DELETE and step.server not in applied.deleted:
                self.known[step.server] = self.world.servers[step.server]

    def _learn(self, phase: PlanPhase, errors: Mapping[str, Exception]) -> _Verdict:
        """What the refusals mean for the next round."""
        steps = {step.server: step for step in phase.steps}
        full = {_placement(steps[name]): error for name, error in errors.items() if isinstance(error, NoCapacityError)}
        taken = {name for name, error in errors.items() if isinstance(error, NameTakenError)}
        self.advice = replace(self.advice, taken=self.advice.taken | taken)
        for place in sorted(full):
            self._pass_over_full(place, full[place])
        if full:
            self.around.shortages.note_full(full, self.clock.now())
        for error in errors.values():
            if _is_lasting(error):
                self.failures.append(error)
                return _Verdict.STOP
        if quota := [error for error in errors.values() if isinstance(error, QuotaError)]:
            self._hit_quota(quota[0])
        passing = [error for error in errors.values() if isinstance(error, (BusyError, *PASSING))]
        return self._try_again(passing[0]) if passing else _Verdict.AGAIN

    def _hit_quota(self, error: QuotaError) -> None:
        """The account may have no more: what the run creates it has created, and what it removes it still removes."""
        self.failures.append(error)
        self.advice = replace(self.advice, withheld=True)
        there = sum(1 for server in self.known.values() if server.id and not server.finished)
        self.around.shortages.note_quota(there, self.clock.now())

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
        self.observer.look_patiently(self.deadline)
        self._reboot_due()

        def look() -> World:
            self.observer.look()
            self._reboot_due()
            return self.world

        return confirm(
            look, self.world, clock=self.clock, deadline=self.deadline, progress=self.progress, passing=PASSING
        )

    def _reboot_due(self) -> None:
        if self.observer.due:
            self.failures += self.observer.reboot_due()
            # On record at once: the run after a kill must not do it a second time.
            self.save(self._taken())

    def _give_up_waiting(self, names: Sequence[str]) -> None:
        """The run's time is up: what is still on its way counts as hanging from now on.

        Not what is being deleted: as `hanging` it would count again once its cloud calls it running.
        Nor what runs, and could only not be rebooted.
        """
        for name in names:
            server = self.known[name]
            if server.status in (Status.DELETING, Status.RUNNING):
                continue
            error = f"still {server.status} when the run's time was up"
            self.known[name] = server.become(Status.HANGING, self.world.at, error)

    def _taken(self) -> list[Step]:
        return [report.step for report in self.steps]

    def save(self, steps: Sequence[Step] = ()) -> None:
        """Replace the records in the state file."""
        self.around.records.save(self.wanted, self.known, steps)

    # -- telling -------------------------------------------------------------------------------

    def result(self, outcome: Outcome) -> Result:
        """What to print."""
        ready = running(self.world, self.wanted)
        planned = (
            [StepReport(step, StepResult.PENDING) for step in self.plan.steps]
            if outcome in (Outcome.PLANNED, Outcome.REFUSED)
            else []
        )
        return Result(
            stack=self.spec.stack,
            outcome=outcome,
            groups={
                name: GroupReport(
                    wanted=count,
                    before=sum(1 for server in self.first.servers.values() if server.group == name and server.counts),
                    ready=ready[name],
                    tries=tuple(map(_tell_place, self.plan.tries.get(name, ()))) if planned else (),
                )
                for name, count in self.wanted.items()
            },
            steps=tuple(self.steps or planned),
            servers=tuple(
                self.known[name] for name in sorted(self.known) if self.known[name].status is not Status.DELETED
            ),
            drift=self.first.drift,
            violations=self.violations,
            cost=self._cost(
                self.first.servers.values(),
                self._servers_after(self.plan) if planned else map(prices.existing, self.world.servers.values()),
            ),
            requests=self.around.cloud.requests,
            elapsed=timedelta(seconds=self.clock.monotonic() - self.started),
            failures=tuple(self.failures),
            outdated=self.plan.outdated,
            seen=_ids(self.first),
        )

    def _servers_after(self, made: Plan) -> list[prices.Priced]:
        """The servers that are paid for after a plan."""
        leaving = {step.server for step in made.steps if step.action is Action.DELETE}
        staying = [
            prices.existing(server)
            for server in self.world.servers.values()
            if server.name not in leaving and server.status is not Status.DELETING
        ]
        return staying + [prices.coming(self.spec, step) for step in made.steps if step.action is Action.CREATE]


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


def _ids(world: World) -> dict[str, str]:
    return {name: machine.id for name, machine in world.machines.items()}


def _tell_step(step: Step) -> str:
    return f"{step.action} {step.server} ({step.reason})"


def _stale(what: str, moved: Iterable[str]) -> StalePlanError:
    return StalePlanError(
        f"The plan is out of date: {what}. Nothing was changed.",
        why="; ".join(moved),
        fix="Make a new one with `scaler preview --out`.",
    )


def _deed(step: Step) -> tuple[Action, str, str | None, str | None]:
    """What policies judge of a step."""
    return step.action, step.server, step.type, step.location


def _refused(server: Server) -> bool:
    return server.status is Status.ERRORED and server.id is None


def _natural_order(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=natural))


class _Verdict(Enum):
    """How a run goes on after a phase."""

    CONFIRM = auto()
    AGAIN = auto()
    """Plan again at once: nothing was done, or what was refused can be asked otherwise."""
    STOP = auto()


def _placement(step: Step) -> Placement:
    return step.type or "", step.location or ""


def _tell_place(place: Placement) -> str:
    kind, location = place
    return f"{kind} in {location}"


def _is_lasting(error: Exception) -> bool:
    """Whether asking again, elsewhere or under another name, would be no use, and nothing else can go on."""
    return not isinstance(error, (NoCapacityError, QuotaError, NameTakenError, BusyError, *PASSING))


_INTENTS = {
    Action.CREATE: Status.NEW,
    Action.DELETE: Status.DELETING,
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
