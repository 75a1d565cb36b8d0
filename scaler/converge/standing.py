"""Where a run stands between two stages."""

from __future__ import annotations

from dataclasses import field

from scaler.converge.journal import Journal
from scaler.converge.knowledge import Knowledge
from scaler.model import Plan, World
from scaler.support.values import dataclass


@dataclass(frozen=True)
class Standing:
    """Where a run stands: what it knows, what it plans, what it did."""

    knowledge: Knowledge
    plan: Plan
    journal: Journal = field(default_factory=Journal)

    @property
    def world(self) -> World:
        """As observed last."""
        return self.knowledge.world

    @property
    def failures(self) -> tuple[Exception, ...]:
        """All that went wrong, the reasons why servers are missing included."""
        return self.journal.failures + self.knowledge.shortfalls
