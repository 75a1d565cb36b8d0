"""What a watch has seen in its ticks, for charts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from scaler.autoscale.decision import Decision, SampleState
from scaler.support.values import dataclass


@dataclass(frozen=True)
class Seen:
    """What a tick saw of a group."""

    at: datetime
    group: str
    wanted: int
    loads: Mapping[str, float | None]
    """The metrics' values by name; None: not usable."""


def seen_in(decisions: Iterable[Decision]) -> list[Seen]:
    """Return what led to these decisions, and their counts."""
    return [
        Seen(
            decision.at,
            decision.group,
            decision.count,
            {each.metric: each.value if each.state is SampleState.OK else None for each in decision.readings},
        )
        for decision in decisions
    ]
