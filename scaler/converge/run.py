"""One run's memory, shared by what plans, judges, applies and tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from scaler.clouds import Catalogue, CloudError
from scaler.converge.demand import Demand, Options
from scaler.converge.observe import Observer
from scaler.converge.ports import Surroundings
from scaler.model import (
    Action,
    Placement,
    Plan,
    PolicyPack,
    Server,
    Spec,
    Step,
    StepReport,
    StepResult,
    Violation,
    World,
)
from scaler.planning.advice import Advice
from scaler.planning.template import Templates

PAUSE_S = 2.0
"""Before trying again after a passing trouble, or when another run moved the world."""

ATTEMPTS = 3
"""How often a passing trouble of the cloud may stop servers from being created."""


@dataclass
class Run:
    """What a run was asked, what it knows, and what it has done."""

    spec: Spec
    demand: Demand
    options: Options
    around: Surroundings
    steps: list[StepReport] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    rounds_with: Counter[str] = field(default_factory=Counter)
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

    @property
    def catalogue(self) -> Catalogue | None:
        """What the cloud sells, once it was read."""
        return self.observer.catalogue

    @property
    def packs(self) -> tuple[PolicyPack, ...]:
        """The policy packs that judge this run: all of the spec's, unless everything goes."""
        return () if self.options.everything else self.spec.policies

    def save(self, steps: Sequence[Step] = ()) -> None:
        """Replace the records in the state file."""
        self.around.records.save(self.wanted, self.known, steps)

    def taken(self) -> list[Step]:
        """The steps that were tried."""
        return [report.step for report in self.steps]

    def note(self, step: Step, result: StepResult, error: object) -> None:
        """One report per step: a later attempt's replaces an earlier one's."""
        self.steps = [
            report for report in self.steps if (report.step.action, report.step.server) != (step.action, step.server)
        ]
        failed = result is StepResult.FAILED
        self.steps.append(StepReport(step, result, str(error) if failed and error else None))

    def pass_over(self, place: Placement, why: CloudError | str) -> None:
        """Try no more servers at a placement."""
        for name in self.spec.groups:
            self.passed_over.setdefault((name, place), why)
        self.advice = replace(self.advice, exhausted=self.advice.exhausted | {place})
        self.progress.note(f"passing over {tell_place(place)}: {why}")

    def count(self, kind: str, most: int) -> bool:
        """Count one more round with this kind of trouble; whether that is not too many."""
        self.rounds_with[kind] += 1
        return self.rounds_with[kind] <= most


def tell_place(place: Placement) -> str:
    """A placement in words."""
    kind, location = place
    return f"{kind} in {location}"
