"""Recorded load against a policy, with the code that decides in earnest.

At every moment of a trace: servers whose boot has ended become ready, the metrics are taken from
the trace or from the queue model, the policy decides, and its decision is carried out at once.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import cycle

from scaler.autoscale.billing import Lifetime, bill
from scaler.autoscale.decide import Ceiling, Decision, History, Sample, Supply, decide
from scaler.autoscale.queue_model import Queue, Waits, waits
from scaler.autoscale.trace import Trace
from scaler.errors import UsageError
from scaler.model import Group, Price
from scaler.model.autoscaling import (
    Backlog,
    FixedSource,
    HorizonSource,
    Learned,
    Metric,
    Policy,
    RedisSource,
    Schedule,
    Target,
    Wait,
)
from scaler.planning.prices import stays_until

ARRIVALS = "arrivals"
"""The column with the jobs that arrived per second: with it, the queue is modelled."""

SERVERS = "servers"
"""The column with the servers that were ready when the rest was recorded: with it, averages are set right."""

_DEFAULT_SLO = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a simulation assumes besides the policy and the trace."""

    cloud: str
    boots: Sequence[timedelta] = (timedelta(seconds=60),)
    """Boot times, taken in turn."""
    throughput: float | None = None
    """Jobs per second and server; None: the policy's."""
    start: int | None = None
    """Servers at the beginning; None: the group's count."""
    slo: timedelta | None = None
    """A longer wait is overload; None: the policy's `within`, else a minute."""
    price: Price | None = None
    limit: int | None = None
    budget: Decimal | None = None
    """The most a month, of which this group alone is taken to live; it needs a price by the month."""

    def ceilings(self, servers: int) -> tuple[Ceiling, ...]:
        """What bounds the group while it has so many servers; a budget removes none of them."""
        found = []
        if self.limit is not None:
            found.append(Ceiling("limit", self.limit, f"the stack's limit is {self.limit}"))
        if self.budget is not None and self.price and self.price.per_month:
            affordable = int(self.budget / self.price.per_month)
            why = f"the budget is {self.price.currency} {self.budget} a month"
            found.append(Ceiling("budget", max(servers, affordable), why))
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What a policy would have done, and what that would have meant."""

    name: str
    times: Sequence[float]
    wanted: Sequence[int]
    ready: Sequence[int]
    asked: Sequence[int]
    wait_by_step: Sequence[float] | None
    """The waiting time of jobs that arrived in each step; None without the queue model."""
    waits: Waits | None
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
    """Those that changed the count or had something to tell."""


def simulate(
    name: str, group: Group, trace: Trace, setting: Setting, seen: Callable[[Decision], object] | None = None
) -> Simulation:
    """Replay a trace against a group's policy; `seen` is told of every decision.

    UsageError if the trace has no column for a metric and no arrivals to model it by.
    """
    policy = group.autoscale
    if policy is None:
        raise UsageError(f"The group {group.name} of {name} has no autoscale block.")
    replay = _Replay(group, policy, trace, setting)
    for decision in replay.run():
        if seen:
            seen(decision)
    return replay.result(name)


@dataclass(slots=True, eq=False)
class _Server:
    created: float
    ready_at: float


@dataclass
class _Replay:
    """One simulation under way."""

    group: Group
    policy: Policy
    trace: Trace
    setting: Setting
    servers: list[_Server] = field(default_factory=list)
    """Oldest first."""
    booting: list[_Server] = field(default_factory=list)
    kept: list[tuple[float, _Server]] = field(default_factory=list)
    """Servers that are off while their hour is paid, each with the moment when it goes."""
    lives: list[tuple[float, float]] = field(default_factory=list)
    history: History = field(default_factory=History)
    wanted: list[int] = field(default_factory=list)
    ready: list[int] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    told: list[Decision] = field(default_factory=list)

    def __post_init__(self) -> None:
        count = self.group.count if self.setting.start is None else self.setting.start
        begin = self.trace.times[0]
        self.servers = [_Server(begin, begin) for _ in range(count)]
        self.boots: Iterator[timedelta] = cycle(self.setting.boots)
        self.queue = self._queue()
        self.feeds = {name: self._feed(metric) for name, metric in self.policy.metrics.items()}

    # -- the metrics ---------------------------------------------------------------------------

    def _queue(self) -> Queue | None:
        if ARRIVALS not in self.trace.columns:
            return None
        throughput = self.setting.throughput or _throughput(self.policy)
        if throughput is None:
            raise UsageError(
                "The trace has arrivals, and nothing tells how many jobs a server does.",
                fix="Give --throughput JOBS_PER_SECOND.",
            )
        return Queue(throughput)

    def _feed(self, metric: Metric) -> Callable[[int, int], float | None]:
        """What gives a metric's value at a step, with so many servers ready."""
        name, columns = metric.name, self.trace.columns
        if isinstance(metric.source, FixedSource):
            value = metric.source.value
            return lambda step, ready: value
        if name in columns:
            return self._recorded(name)
        queue = self.queue
        if queue is None:
            raise UsageError(
                f"The trace has no column for the metric {name}.",
                why=f"it has {', '.join(columns)}",
                fix=f"Name a column {name}; or give {ARRIVALS}, the jobs that arrive per second, to model it.",
            )
        return _modelled(metric, self.policy, queue)

    def _recorded(self, name: str) -> Callable[[int, int], float | None]:
        values = self.trace.columns[name]
        servers = self.trace.columns.get(SERVERS)
        average = any(isinstance(rule, Target | Wait) and rule.metric == name for rule in self.policy.rules)
        if servers is None or not average:
            return lambda step, ready: values[step]

        def corrected(step: int, ready: int) -> float | None:
            """The same load on other servers is another average."""
            value, recorded = values[step], servers[step]
            return None if value is None or recorded is None else value * max(1.0, recorded) / max(1, ready)

        return corrected

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
            self._let_go(now)
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
                # Those that are removed stop serving at once; those that boot do not serve yet.
                self.queue.advance(now, length, arrivals[step] or 0.0, min(ready, len(self.servers)))
            yield decision

    def _carry_out(self, count: int, now: float) -> None:
        while len(self.servers) < count:
            server = self.kept.pop(0)[1] if self.kept else _Server(now, now)
            server.ready_at = now + next(self.boots).total_seconds()
            insort(self.servers, server, key=lambda server: server.created)
            self.booting.append(server)
        while len(self.servers) > count:
            server = self._victim()
            self.servers.remove(server)
            until = self._stays_until(server, now)
            if until > now:
                self.kept.append((until, server))
            else:
                self.lives.append((server.created, now))

    def _stays_until(self, server: _Server, now: float) -> float:
        """Until when a server that goes is kept; what is not ready yet is not."""
        if not self.group.keep_paid or server.ready_at > now:
            return now
        return stays_until(self.setting.cloud, *_lifetime((server.created, now))).timestamp()

    def _let_go(self, now: float) -> None:
        """Delete what is kept for no longer."""
        self.lives += [(server.created, now) for until, server in self.kept if until <= now]
        self.kept = [(until, server) for until, server in self.kept if until > now]

    def _victim(self) -> _Server:
        """As a plan chooses: what is not ready yet, then the newest or the oldest."""
        if self.booting:
            return self.booting.pop()
        return self.servers[-1 if self.group.scale_down == "newest" else 0]

    def _note(self, decision: Decision, ready: int) -> None:
        self.wanted.append(decision.count)
        self.ready.append(min(ready, decision.count))
        self.asked.append(decision.asked)
        if decision.change or decision.notices:
            self.told.append(decision)

    # -- the result ----------------------------------------------------------------------------

    def result(self, name: str) -> Simulation:
        times = self.trace.times
        end = times[-1] + self.trace.last_step
        there = [*self.servers, *(server for _, server in self.kept)]
        lives = [*self.lives, *((server.created, end) for server in there)]
        summary, by_step = waits(self.queue) if self.queue else (None, None)
        price = self.setting.price
        changes = [decision.change for decision in self.told if decision.change]
        return Simulation(
            name=name,
            times=times,
            wanted=self.wanted,
            ready=self.ready,
            asked=self.asked,
            wait_by_step=by_step,
            waits=summary,
            overload_minutes=self._overload(by_step, end),
            server_hours=sum(stop - start for start, stop in lives) / 3600,
            cost=float(bill(self.setting.cloud, price, map(_lifetime, lives))) if price else None,
            currency=price.currency if price else None,
            changes=len(changes),
            ups=sum(1 for change in changes if change > 0),
            downs=sum(1 for change in changes if change < 0),
            most=max(self.wanted),
            least=min(self.wanted),
            decisions=self.told,
        )

    def _overload(self, by_step: Sequence[float] | None, end: float) -> float:
        times = [*self.trace.times, end]
        slo = (self.setting.slo or _objective(self.policy)).total_seconds()
        over = (
            (wait > slo for wait in by_step)
            if by_step is not None
            else (ready < asked for ready, asked in zip(self.ready, self.asked, strict=True))
        )
        return sum(times[step + 1] - times[step] for step, bad in enumerate(over) if bad) / 60


def _lifetime(life: tuple[float, float]) -> Lifetime:
    start, stop = life
    return datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(stop, UTC)


def _throughput(policy: Policy) -> float | None:
    """The jobs per second and server that a policy counts on."""
    for rule in policy.rules:
        if isinstance(rule, Backlog):
            known = rule.throughput.initial if isinstance(rule.throughput, Learned) else rule.throughput
            if known:
                return known
    return None


def _objective(policy: Policy) -> timedelta:
    spans = [rule.within for rule in policy.rules if isinstance(rule, Wait | Backlog) and rule.within]
    return min(spans, default=_DEFAULT_SLO)


def _modelled(metric: Metric, policy: Policy, queue: Queue) -> Callable[[int, int], float | None]:
    """What a metric would tell of the modelled queue: by its source, else by the rule that reads it."""
    source = metric.source
    if isinstance(source, RedisSource):
        return (lambda step, ready: queue.oldest()) if source.measure == "age" else (lambda step, ready: queue.backlog)
    if isinstance(source, HorizonSource) and source.measure == "wait":
        return lambda step, ready: queue.time_to_clear(ready)
    for rule in policy.rules:
        if isinstance(rule, Schedule) or rule.metric != metric.name:
            continue
        if isinstance(rule, Wait):
            return lambda step, ready: queue.time_to_clear(ready)
        if isinstance(rule, Target):
            # A value of at most 1 is a share, a larger one a percentage.
            full = 1.0 if rule.value <= 1 else 100.0
            return lambda step, ready: full * queue.busy
        return lambda step, ready: queue.backlog
    if policy.function is not None and not _learned_from(metric.name, policy):
        return lambda step, ready: queue.backlog
    # No rule reads it by itself: it is a counter that a throughput is learned from.
    return lambda step, ready: queue.total_done


def _learned_from(name: str, policy: Policy) -> bool:
    return any(
        isinstance(rule, Backlog) and isinstance(rule.throughput, Learned) and rule.throughput.metric == name
        for rule in policy.rules
    )


def compare(
    policies: Mapping[str, Group], trace: Trace, setting: Setting, settings: Mapping[str, Setting] | None = None
) -> list[Simulation]:
    """One trace against several policies."""
    return [simulate(name, group, trace, (settings or {}).get(name, setting)) for name, group in policies.items()]
