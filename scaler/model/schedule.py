"""The schedule of a roll: its waves, how many servers there are meanwhile, how long it takes, and what it costs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from scaler.support.values import dataclass


@dataclass(frozen=True, kw_only=True)
class Wave:
    """One wave of a roll."""

    size: int
    """New servers, and as many old ones that go."""
    ahead: int
    """How many of the old ones go before the new ones are there."""
    most: int
    """Servers of the stack meanwhile, at most."""
    fewest: int
    """Servers of the group that serve meanwhile, at least."""


def sizes_of_waves(schedules: Iterable[RollSchedule]) -> dict[str, list[tuple[int, int]]]:
    """Return by group the size of each wave, and how many servers go ahead of it."""
    return {schedule.group: [(wave.size, wave.ahead) for wave in schedule.waves] for schedule in schedules}


@dataclass(frozen=True, kw_only=True)
class Repriced:
    """Servers that a roll replaces by ones of the same type and location at another price."""

    servers: int
    type: str
    location: str
    per_month_before: float
    """Of one of them."""
    per_month_after: float
    """Of a new one."""


@dataclass(frozen=True, kw_only=True)
class RollCost:
    """What a roll costs, net, at list prices."""

    currency: str
    extra: float | None
    """At most, for the servers that are there beside the wanted ones; None: how long they are there is not known."""
    per_month_before: float
    """Of the group's servers now."""
    per_month_after: float
    """Of the group when all are new."""
    repriced: tuple[Repriced, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RollSchedule:
    """What is left of the roll of one group, if nothing goes wrong and the wanted count stays."""

    group: str
    outdated: int
    """Servers that are replaced."""
    waves: tuple[Wave, ...]
    boot: timedelta | None
    """From the create request until ready, as most servers of the group took; None: none was seen yet."""
    bake: timedelta
    removal: timedelta | None
    """From the begin of a drain, or of a deletion, until the server was gone; None: none was seen yet."""
    limited: str = ""
    """Why the surge is smaller than it was asked to be; empty: it is not."""
    held: str = ""
    """Why no wave begins now; empty: nothing keeps it."""
    cost: RollCost | None = None
    """None if the prices were not read."""

    @property
    def most(self) -> int:
        """Return how many servers of the stack there are at any time, at most."""
        return max((wave.most for wave in self.waves), default=0)

    @property
    def fewest(self) -> int:
        """Return how many servers of the group serve at any time, at least."""
        return min((wave.fewest for wave in self.waves), default=0)

    @property
    def takes(self) -> timedelta | None:
        """Return how long it takes; None if no boot was seen yet. A removal that was never seen counts as none."""
        times = [self.time_of(wave) for wave in self.waves]
        return sum((time for time in times if time is not None), timedelta(0)) if None not in times else None

    def time_of(self, wave: Wave) -> timedelta | None:
        """Return how long one wave takes; None if no boot was seen yet."""
        if self.boot is None:
            return None
        removals = (self.removal or timedelta(0)) * ((wave.ahead > 0) + (wave.size > wave.ahead))
        return self.boot + self.bake + removals
