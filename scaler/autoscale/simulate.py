"""Replay recorded load against a policy, with the code that makes real decisions.

At each time of a trace: servers that have booted become ready, the metrics are read from the trace
or from the queue model, the policy decides, and its decision is carried out at once.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import cycle

from scaler.autoscale.billing import Lifetime, bill
from scaler.autoscale.decide import decide
from scaler.autoscale.decision import Ceiling, Decision, History, Sample, Supply
from scaler.autoscale.feeds import ARRIVALS, feed_of, queue_of
from scaler.autoscale.queue_model import Waits, late, waits
from scaler.autoscale.trace import Trace
from scaler.errors import UsageError
from scaler.model import Group, Price
from scaler.model.autoscaling import Backlog, Policy, Wait
from scaler.planning.prices import stays_until
from scaler.support.values import dataclass

_DEFAULT_SLO = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The assumptions of a simulation, besides the policy and the trace."""

    cloud: str
    boots: Sequence[timedelta] = (timedelta(seconds=60),)
    """Boot times, used in turn."""
    throughput: float | None = None
    """Jobs per second and server; None: the policy's."""
    start: int | None = None
    """Servers at the beginning; None: the group's count."""
    slo: timedelta | None = None
    """A longer wait is overload; None: the policy's `within`, else a minute."""
    price: Price | None = None
    limit: int | None = None
    budget: Decimal | None = None
    """The most a month, all of it for this group. It applies only with a price per month."""

    def ceilings(self, servers: int) -> tuple[Ceiling, ...]:
        """Return the limits of the group while it has so many servers. A budget removes none of them."""
        found = []
        if self.limit is not None:
            found.append(Ceiling("limit", self.limit, f"the stack's limit is {self.limit}"))
        if self.budget is not None and self.price and self.price.per_month:
            affordable = int(self.budget / self.price.per_month)
            why = f"the budget is {self.price.currency} {self.budget} a month"
            found.append(Ceiling("budget", max(servers, affordable), why))
        return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """The outcome of a simulation."""

    name: str
    group: Group = field(compare=False)
    """With the policy that decided. This and the setting are no part of the outcome."""
    setting: Setting = field(compare=False)
    times: Sequence[float]
    wanted: Sequence[int]
    ready: Sequence[int]
    asked: Sequence[int]
    wait_by_step: Sequence[float] | None
    """The waiting time of jobs that arrived in each step; None without the queue model."""
    waits: Waits | None
    slo_s: float
    """A longer wait is too long."""
    late_jobs: float | None
    """How many jobs waited too long; None without the queue model."""
    overload_minutes: float
    """How long jobs waited longer than the objective; without the queue model: how long too few servers were ready."""
    server_hours: float
    cost: float | None
    currency: str | None
    changes: int
    ups: int
    downs: int
    most: int
    least: int
    decisions: Sequence[Decision]
    """The decisions that changed the count or have notices."""


def simulate(
    name: str, group: Group, trace: Trace, setting: Setting, on_decision: Callable[[Decision], object] | None = None
) -> Simulation:
    """Replay a trace against a group's policy, and call `on_decision` with every decision.

    Raises UsageError if the trace has no column for a metric and no arrivals to model it.
    """
    policy = group.autoscale
    if policy is None:
        raise UsageError(f"The group {group.name} of {name} has no autoscale block.", fix="Add one to the spec.")
    replay = _Replay(group, policy, trace, setting)
    for decision in replay.run():
        if on_decision:
            on_decision(decision)
    return replay.result(name)


@dataclass(eq=False)
class _SimulatedServer:
    created: float
    ready_at: float


@dataclass
class _Replay:
    """The mutable state of one simulation."""

    group: Group
    policy: Policy
    trace: Trace
    setting: Setting
    servers: list[_SimulatedServer] = field(default_factory=list)
    """Oldest first."""
    booting: list[_SimulatedServer] = field(default_factory=list)
    stopped: list[tuple[float, _SimulatedServer]] = field(default_factory=list)
    """Servers that are off for the rest of their paid hour, each with the time when it is deleted."""
    lives: list[tuple[float, float]] = field(default_factory=list)
    history: History = field(default_factory=History)
    wanted: list[int] = field(default_factory=list)
    ready: list[int] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    notable: list[Decision] = field(default_factory=list)
    """The decisions that changed the count or have notices."""

    def __post_init__(self) -> None:
        count = self.group.count if self.setting.start is None else self.setting.start
        begin = self.trace.times[0]
        self.servers = [_SimulatedServer(begin, begin) for _ in range(count)]
        self.boots: Iterator[timedelta] = cycle(self.setting.boots)
        self.queue = queue_of(self.trace, self.policy, self.setting.throughput)
        self.feeds = {
            name: feed_of(metric, self.policy, self.trace, self.queue) for name, metric in self.policy.metrics.items()
        }

    # -- the run -------------------------------------------------------------------------------

    def run(self) -> Iterator[Decision]:
        times, arrivals = self.trace.times, self.trace.columns.get(ARRIVALS)
        for step, now in enumerate(times):
            booting = sum(1 for server in self.booting if server.ready_at > now)
            if booting < len(self.booting):
                self.booting = [server for server in self.booting if server.ready_at > now]
            ready = len(self.servers) - booting
            moment = datetime.fromtimestamp(now, UTC)
            samples = {name: Sample(feed(step, ready), moment) for name, feed in self.feeds.items()}
            self._delete_unpaid(now)
            count = len(self.servers)
            decision = decide(
                self.group, samples, Supply(count, count, ready), self.history, moment, self.setting.ceilings(count)
            )
            self.history = decision.carried_out
            if decision.count != count:
                self._carry_out(decision.count, now)
            self._note(decision, ready)
            if self.queue is not None and arrivals is not None:
                length = times[step + 1] - now if step + 1 < len(times) else self.trace.last_step
                # Removed servers stop working at once; booting ones do not work yet.
                self.queue.advance(now, length, arrivals[step] or 0.0, min(ready, len(self.servers)))
            yield decision

    def _carry_out(self, count: int, now: float) -> None:
        while len(self.servers) < count:
            server = self.stopped.pop(0)[1] if self.stopped else _SimulatedServer(now, now)
            server.ready_at = now + next(self.boots).total_seconds()
            insort(self.servers, server, key=lambda server: server.created)
            self.booting.append(server)
        while len(self.servers) > count:
            server = self._victim()
            self.servers.remove(server)
            until = self._stays_until(server, now)
            if until > now:
                self.stopped.append((until, server))
            else:
                self.lives.append((server.created, now))

    def _stays_until(self, server: _SimulatedServer, now: float) -> float:
        """Return until when a removed server stays stopped. A server that is not ready yet does not stay."""
        if not self.group.keep_paid or server.ready_at > now:
            return now
        return stays_until(self.setting.cloud, *_lifetime((server.created, now))).timestamp()

    def _delete_unpaid(self, now: float) -> None:
        """Delete the stopped servers whose paid hour is over."""
        self.lives += [(server.created, now) for until, server in self.stopped if until <= now]
        self.stopped = [(until, server) for until, server in self.stopped if until > now]

    def _victim(self) -> _SimulatedServer:
        """Choose as a plan does: a server that is not ready yet, then the newest or the oldest."""
        if self.booting:
            return self.booting.pop()
        return self.servers[-1 if self.group.scale_down == "newest" else 0]

    def _note(self, decision: Decision, ready: int) -> None:
        self.wanted.append(decision.count)
        self.ready.append(min(ready, decision.count))
        self.asked.append(decision.asked)
        if decision.change or decision.notices:
            self.notable.append(decision)

    # -- the result ----------------------------------------------------------------------------

    def result(self, name: str) -> Simulation:
        times = self.trace.times
        end = times[-1] + self.trace.last_step
        remaining = [*self.servers, *(server for _, server in self.stopped)]
        lives = [*self.lives, *((server.created, end) for server in remaining)]
        summary, by_step = waits(self.queue) if self.queue else (None, None)
        price = self.setting.price
        changes = [decision.change for decision in self.notable if decision.change]
        slo_s = (self.setting.slo or _objective(self.policy)).total_seconds()
        return Simulation(
            name=name,
            group=self.group,
            setting=self.setting,
            times=times,
            wanted=self.wanted,
            ready=self.ready,
            asked=self.asked,
            wait_by_step=by_step,
            waits=summary,
            slo_s=slo_s,
            late_jobs=late(self.queue, by_step, slo_s) if self.queue and by_step is not None else None,
            overload_minutes=self._overload(by_step, end, slo_s),
            server_hours=sum(stop - start for start, stop in lives) / 3600,
            cost=float(bill(self.setting.cloud, price, map(_lifetime, lives))) if price else None,
            currency=price.currency if price else None,
            changes=len(changes),
            ups=sum(1 for change in changes if change > 0),
            downs=sum(1 for change in changes if change < 0),
            most=max(self.wanted),
            least=min(self.wanted),
            decisions=self.notable,
        )

    def _overload(self, by_step: Sequence[float] | None, end: float, slo_s: float) -> float:
        times = [*self.trace.times, end]
        over = (
            (wait > slo_s for wait in by_step)
            if by_step is not None
            else (ready < asked for ready, asked in zip(self.ready, self.asked, strict=True))
        )
        return sum(times[step + 1] - times[step] for step, bad in enumerate(over) if bad) / 60


def _lifetime(life: tuple[float, float]) -> Lifetime:
    start, stop = life
    return datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(stop, UTC)


def _objective(policy: Policy) -> timedelta:
    spans = [rule.within for rule in policy.rules if isinstance(rule, Wait | Backlog) and rule.within]
    return min(spans, default=_DEFAULT_SLO)


def compare(
    policies: Mapping[str, Group], trace: Trace, setting: Setting, settings: Mapping[str, Setting] | None = None
) -> list[Simulation]:
    """Replay one trace against several policies."""
    return [simulate(name, group, trace, (settings or {}).get(name, setting)) for name, group in policies.items()]
