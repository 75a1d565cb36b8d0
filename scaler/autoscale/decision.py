"""The values of autoscaling: what a decision is made from, and the decision with its reasons."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field, replace
from datetime import datetime
from enum import StrEnum

from scaler.support.clock import not_after
from scaler.support.values import dataclass

# ---------------------------------------------------------------------------------------------
# Input


@dataclass(frozen=True)
class Sample:
    """The answer of a metric's source: a number with its time, or the reason why there is none."""

    value: float | None
    at: datetime
    error: str = ""


@dataclass(frozen=True)
class Supply:
    """The servers of a group: the wanted count, the servers that count towards it, and the ready ones."""

    current: int
    """The count that was last wanted."""
    supply: int
    """Servers that count, including those that are starting."""
    ready: int


@dataclass(frozen=True, kw_only=True)
class Load:
    """The argument of a user's function that returns a group's count."""

    group: str
    at: datetime
    metrics: Mapping[str, float | None]
    """By name; None if the metric has no usable value."""
    current: int
    """The count that was last wanted."""
    supply: int
    """Servers that count, including those that are starting."""
    ready: int
    min: int
    max: int | None


@dataclass(frozen=True)
class Ceiling:
    """An upper limit for one group that comes from outside its spec, such as its share of the budget."""

    name: str
    most: int
    why: str


@dataclass(frozen=True)
class Bound:
    """An upper limit for all groups together. If not all counts fit, the group with the largest growth gets less."""

    name: str
    """The name of the cap that it causes: `limit`, `quota`, `budget`, `placement_group`."""
    why: str
    fits: Callable[[Mapping[str, int]], bool]
    """Return whether these counts, of every group of the spec, are within the bound."""
    shrinks: bool = False
    """Whether it also removes servers that exist; otherwise it only prevents new ones."""


class SampleState(StrEnum):
    """Whether a sample is used, and if not, why."""

    OK = "ok"
    MISSING = "missing"
    STALE = "stale"
    NAN = "nan"
    NEGATIVE = "negative"
    ABSURD = "absurd"
    SUSPECT = "suspect"
    """Zero right after a failure."""


@dataclass(frozen=True)
class MetricHealth:
    """The state of a metric's samples, and the time since when."""

    state: SampleState
    since: datetime


@dataclass(frozen=True)
class Rate:
    """A learned throughput: the last value of the counter, and jobs per second and server."""

    finished: float
    at: datetime
    busy: bool
    """Whether jobs were waiting at that time. The throughput of idle servers is not used."""
    per_server: float | None = None


Ask = tuple[datetime, int]
"""A time, and the count that the rules asked for from then on."""


@dataclass(frozen=True, kw_only=True)
class History:
    """What a decision needs to know of earlier decisions. An empty history is safe: no group shrinks at once."""

    asked: tuple[Ask, ...] = ()
    """What the rules asked for; a new entry only where it changed."""
    count: int | None = None
    """The count after the last decision. If the current count differs, something else changed it."""
    meant: int | None = None
    """The count that a decision is about to set. If it is the current one, that decision was carried out, but its end
    was not saved: its process was killed."""
    raised: datetime | None = None
    lowered: datetime | None = None
    by_hand: datetime | None = None
    """When something else changed the count: a person, mostly."""
    health: Mapping[str, MetricHealth] = field(default_factory=dict)
    rates: Mapping[str, Rate] = field(default_factory=dict)

    def changed_to(self, count: int, at: datetime) -> History:
        """Return the history after autoscaling changed the count; the same if it is no other one."""
        if self.count is None or self.count == count:
            return replace(self, count=count)
        if count > self.count:
            return replace(self, count=count, raised=at)
        return replace(self, count=count, lowered=at)

    @property
    def moments(self) -> tuple[datetime, ...]:
        """All times in it."""
        return (
            *(moment for moment, _ in self.asked),
            *(moment for moment in (self.raised, self.lowered, self.by_hand) if moment),
            *(health.since for health in self.health.values()),
            *(rate.at for rate in self.rates.values()),
        )

    def none_after(self, now: datetime) -> History:
        """Return the history with each time in the future replaced by `now`."""
        if all(moment <= now for moment in self.moments):
            return self
        return replace(
            self,
            asked=tuple((not_after(moment, now), count) for moment, count in self.asked),
            raised=self.raised and not_after(self.raised, now),
            lowered=self.lowered and not_after(self.lowered, now),
            by_hand=self.by_hand and not_after(self.by_hand, now),
            health={name: replace(one, since=not_after(one.since, now)) for name, one in self.health.items()},
            rates={name: replace(rate, at=not_after(rate.at, now)) for name, rate in self.rates.items()},
        )


# ---------------------------------------------------------------------------------------------
# Output


@dataclass(frozen=True)
class Reading:
    """A sample with its state."""

    metric: str
    value: float | None
    at: datetime
    state: SampleState
    error: str = ""


@dataclass(frozen=True)
class Proposal:
    """The count that a rule asks for, and why."""

    rule: str
    count: int
    reason: str


@dataclass(frozen=True)
class Cap:
    """One change of the count between the rules and the decision."""

    name: str
    """`stabilisation`, `cooldown`, `step`, `min`, `max`, `schedule`, or the name of a ceiling: `limit`, `budget`."""
    before: int
    after: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The new count of a group, with everything that led to it."""

    group: str
    at: datetime
    supply: Supply
    readings: tuple[Reading, ...]
    proposals: tuple[Proposal, ...]
    asked: int
    """The count of the rules, before any cap."""
    caps: tuple[Cap, ...]
    count: int
    notices: tuple[str, ...] = ()
    """Changes of the metrics' states, each reported once."""
    history: History = field(default_factory=History)
    """For the next decision, if this one is not carried out; see `carried_out`."""

    @property
    def change(self) -> int:
        return self.count - self.supply.current

    @property
    def reason(self) -> str:
        """The decision in one line."""
        current = self.supply.current
        first = max(self.proposals, key=lambda proposal: proposal.count).reason if self.proposals else "no rule"
        what = f"{self.count} instead of {current}" if self.change else f"{current} stays"
        return "; ".join([f"{what}: {first}", *(cap.reason for cap in self.caps)])

    @property
    def carried_out(self) -> History:
        """The history after the count was changed. Only a change starts a cooldown."""
        return self.history.changed_to(self.count, self.at)

    @property
    def meant(self) -> History:
        """The history to save before the count is changed."""
        return replace(self.history, meant=self.count)
