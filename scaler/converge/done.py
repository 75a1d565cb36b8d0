"""What came of carrying out a phase: reports and refusals, and nothing decided from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace

from scaler.clouds import CloudError
from scaler.converge.knowledge import Knowledge
from scaler.errors import ScalerError
from scaler.model import Placement, Step, StepReport
from scaler.support.values import dataclass


@dataclass(frozen=True, kw_only=True)
class Done:
    """Everything that was done and refused in one phase, with what is known after it."""

    knowledge: Knowledge
    reports: tuple[StepReport, ...] = ()
    refusals: Mapping[str, Exception] = field(default_factory=dict)
    """By server: why the cloud refused its create, delete, update or adoption."""
    placements: Mapping[str, Placement] = field(default_factory=dict)
    """By server: where a refused one was asked for."""
    power_on_refusals: Mapping[str, CloudError] = field(default_factory=dict)
    """By server."""
    resume_refusals: Mapping[str, str] = field(default_factory=dict)
    """By server: why a draining one could not be taken back."""
    failures: tuple[Exception, ...] = ()
    """What failed and ends nothing."""
    moved: bool = False
    """Under its lock, the stack found another world than was planned for; nothing was done."""
    unanswered: Exception | None = None
    """A passing trouble that stopped the whole operation before it changed anything."""
    engine_failure: str | None = None
    """The engine's own words, when it failed for no server's sake."""
    error: ScalerError | None = None
    """What ended the phase before its end."""

    @property
    def is_clean(self) -> bool:
        """Return whether the rest of the phase may follow."""
        return not (self.refusals or self.moved or self.unanswered or self.engine_failure or self.error)

    def then(self, later: Done) -> Done:
        """Return what was done before and what was done after it, as one."""
        return replace(
            later,
            reports=self.reports + later.reports,
            refusals={**self.refusals, **later.refusals},
            placements={**self.placements, **later.placements},
            power_on_refusals={**self.power_on_refusals, **later.power_on_refusals},
            resume_refusals={**self.resume_refusals, **later.resume_refusals},
            failures=self.failures + later.failures,
        )


def placements_of(steps: tuple[Step, ...]) -> dict[str, Placement]:
    """Where each step's server is, or is asked for."""
    return {step.server: (step.type or "", step.location or "") for step in steps}
