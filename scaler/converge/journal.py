"""What a run did so far, and what went wrong: what it decides on when it goes on or stops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, replace

from scaler.model import Action, Step, StepReport, StepResult, Violation
from scaler.support.values import dataclass

PolicyKey = tuple[Action, str, str | None, str | None]
"""What policy packs judge of a step: action, server, type, location."""


@dataclass(frozen=True, kw_only=True)
class Journal:
    """Reports, failures and counts of one run, in the order they came."""

    reports: tuple[StepReport, ...] = ()
    """One per step: a later attempt's replaces an earlier one's."""
    failures: tuple[Exception, ...] = ()
    tallies: Mapping[str, int] = field(default_factory=dict)
    """How many rounds had each kind of trouble."""
    violations: tuple[Violation, ...] = ()
    """What the policy packs said of the last plan that they judged."""
    judged: frozenset[PolicyKey] = frozenset()
    """What the policy packs have seen."""

    def report(self, reports: Iterable[StepReport]) -> Journal:
        """Add the reports of steps; what was pending keeps its place."""
        merged = {_key(known.step): known for known in self.reports}
        for report in reports:
            before = merged.get(_key(report.step))
            if before and before.result is not StepResult.PENDING:
                del merged[_key(report.step)]
            merged[_key(report.step)] = report
        return replace(self, reports=tuple(merged.values()))

    def fail(self, *failures: Exception) -> Journal:
        """Add what went wrong."""
        return replace(self, failures=self.failures + failures)

    def tally(self, trouble: str) -> Journal:
        """Count one more round with this trouble."""
        return replace(self, tallies={**self.tallies, trouble: self.count(trouble) + 1})

    def count(self, trouble: str) -> int:
        """Return how many rounds had this trouble."""
        return self.tallies.get(trouble, 0)

    @property
    def steps(self) -> list[Step]:
        """Return the steps that were tried."""
        return [report.step for report in self.reports]

    @property
    def done(self) -> set[tuple[Action, str]]:
        """Return the steps that were carried out."""
        return {_key(report.step) for report in self.reports if report.result is StepResult.DONE}


def _key(step: Step) -> tuple[Action, str]:
    return step.action, step.server
