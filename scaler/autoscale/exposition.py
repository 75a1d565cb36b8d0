"""The state of the watches of a process: numbers for Prometheus, and whether all is well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric

from scaler.autoscale.figures import Figures
from scaler.support.clock import Clock


class Exposition:
    """The figures of each stack. They are read in other threads than those of the watches."""

    def __init__(self, interval: timedelta, clock: Clock) -> None:
        self._clock = clock
        self._interval = interval
        self._stacks: dict[str, Figures] = {}

    # -- the stacks ----------------------------------------------------------------------------

    @property
    def stacks(self) -> list[str]:
        """The stacks that are shown, by name."""
        return sorted(self._stacks)

    def shown(self, stack: str) -> Figures | None:
        """Return the figures of a stack; None if it is not shown."""
        return self._stacks.get(stack)

    def of(self, stack: str) -> Figures:
        """Return the figures of a stack, which are shown from now on."""
        figures = self._stacks.get(stack) or Figures(stack, self._interval, self._clock)
        # A new dictionary, since scrapes read it in other threads.
        self._stacks = {**self._stacks, stack: figures}
        return figures

    def forget(self, stack: str) -> None:
        """Show nothing more of a stack."""
        self._stacks = {name: figures for name, figures in self._stacks.items() if name != stack}

    # -- what is shown -------------------------------------------------------------------------

    def collect(self) -> Iterable[Metric]:
        """Yield the numbers of all stacks, those of one name together."""
        families: dict[str, Metric] = {}
        for figures in self._stacks.values():
            for family in figures.collect():
                if family.name in families:
                    families[family.name].samples += family.samples
                else:
                    families[family.name] = family
        yield from families.values()

    def metrics(self) -> bytes:
        """Return the numbers in Prometheus' text format."""
        return bytes(generate_latest(self))

    def health(self) -> tuple[bool, dict[str, object]]:
        """Return whether each stack's ticks end in time, and how each stack is."""
        stacks = dict(sorted(self._stacks.items()))
        stale = [name for name, figures in stacks.items() if figures.is_late]
        facts = {name: figures.health() for name, figures in stacks.items()}
        summary = next(iter(facts.values())) if len(facts) == 1 else _summary(stacks, facts)
        return not stale, {**summary, "stale": stale, "stacks": facts}


def _summary(stacks: Mapping[str, Figures], facts: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    """Return what holds of several stacks together."""
    errors = [f"{name}: {fact['error']}" for name, fact in facts.items() if fact["error"]]
    roles = {str(fact["role"]) for fact in facts.values()}
    return {
        "healthy": all(fact["healthy"] for fact in facts.values()),
        "last_tick_s_ago": round(max((figures.age_s for figures in stacks.values()), default=0.0), 1),
        "error": errors[0] if errors else None,
        "role": roles.pop() if len(roles) == 1 else "mixed" if roles else "active",
    }
