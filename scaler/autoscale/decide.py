"""The number from the load. Pure: samples, supply and history in, a `Decision` with its reasons out.

```text
samples ─► judged ─► each rule proposes ─► the largest ─► stabilised ─► cooldown ─► step ─► bounds ─► count
             │ not to be believed: hold, or the group's max
```

The largest proposal wins going up, and all must agree going down: both are `max`, since a rule
that has no opinion proposes what is there. What is there is the *wanted* count, so that servers
on their way are never asked for again; what ratios are taken from are the *ready* servers, since
only these make the metric.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from scaler.model import Group, Spec
from scaler.model.autoscaling import Backlog, Learned, MeasuredRule, Metric, Policy, Schedule, Steps, Target, Wait
from scaler.support.durations import format_duration

_EPSILON = 1e-9
"""3 * 60 / 60 must stay 3, whatever floating point makes of it."""

_MOST = 10_000
"""No group has so many servers: a function that asks for more is wrong."""

_LEARN = 0.2
"""The share of the newest observation in a learned throughput."""

# ---------------------------------------------------------------------------------------------
# What goes in


@dataclass(frozen=True, slots=True)
class Sample:
    """What a metric's source answered: a number and the moment that it is of, or why there is none."""

    value: float | None
    at: datetime
    error: str = ""


@dataclass(frozen=True, slots=True)
class Supply:
    """A group's servers: the count that was last wanted, all that count, and those that are ready."""

    current: int
    supply: int
    ready: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a function of the user's is told when it is asked for a group's count."""

    group: str
    at: datetime
    metrics: Mapping[str, float | None]
    """By name; None: not to be believed."""
    current: int
    """The count that was last wanted."""
    supply: int
    """The servers that count, those on their way included."""
    ready: int
    min: int
    max: int | None


@dataclass(frozen=True, slots=True)
class Ceiling:
    """A most that comes from outside the group: the stack's limit, the budget."""

    name: str
    most: int
    why: str


@dataclass(frozen=True, slots=True)
class Bound:
    """A most for all groups together. Where it is too small for all, the largest growth gives way first."""

    name: str
    """As its cap is called: `limit`, `quota`, `budget`."""
    why: str
    fits: Callable[[Mapping[str, int]], bool]
    """Whether these counts, of every group of the spec, are within it."""
    shrinks: bool = False
    """Whether servers that are there give way too; otherwise it only keeps more from coming."""


class State(StrEnum):
    """Whether a metric is to be believed."""

    OK = "ok"
    MISSING = "missing"
    STALE = "stale"
    NAN = "nan"
    NEGATIVE = "negative"
    ABSURD = "absurd"
    SUSPECT = "suspect"
    """Zero right after a failure."""


@dataclass(frozen=True, slots=True)
class Health:
    """A metric's state, and since when."""

    state: State
    since: datetime


@dataclass(frozen=True, slots=True)
class Rate:
    """A learned throughput: the counter when it was last read, and jobs per second and server."""

    finished: float
    at: datetime
    busy: bool
    """Whether jobs were waiting then: an idle server's throughput tells nothing."""
    per_server: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a group's next decision must know of the earlier ones. Empty is always safe: nothing shrinks at once."""

    asked: tuple[tuple[datetime, int], ...] = ()
    """What the rules asked for, and from when on; a new entry only where it changed."""
    count: int | None = None
    """The count after the last decision: another one now was set by hand."""
    raised: datetime | None = None
    lowered: datetime | None = None
    health: Mapping[str, Health] = field(default_factory=dict)
    rates: Mapping[str, Rate] = field(default_factory=dict)


# ---------------------------------------------------------------------------------------------
# What comes out


@dataclass(frozen=True, slots=True)
class Reading:
    """A sample, judged."""

    metric: str
    value: float | None
    at: datetime
    state: State
    error: str = ""


@dataclass(frozen=True, slots=True)
class Proposal:
    """The count that a rule asks for, and why."""

    rule: str
    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class Cap:
    """What changed a count on its way from the rules to the decision."""

    name: str
    """`stabilisation`, `cooldown`, `step`, `min`, `max`, `schedule`, or a ceiling's: `limit`, `budget`."""
    before: int
    after: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A group's new count with everything that led to it."""

    group: str
    at: datetime
    supply: Supply
    readings: tuple[Reading, ...]
    proposals: tuple[Proposal, ...]
    asked: int
    """The rules' count, before anything capped it."""
    caps: tuple[Cap, ...]
    count: int
    notices: tuple[str, ...] = ()
    """What has changed about the metrics, once each."""
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
        """The history once the count was asked for: only then a cooldown begins, and none for no change."""
        if not self.change:
            return self.history
        if self.change > 0:
            return replace(self.history, count=self.count, raised=self.at)
        return replace(self.history, count=self.count, lowered=self.at)


# ---------------------------------------------------------------------------------------------
# Deciding


def decide(
    group: Group,
    samples: Mapping[str, Sample],
    supply: Supply,
    history: History,
    now: datetime,
    ceilings: Sequence[Ceiling] = (),
) -> Decision:
    """A group's count by its policy (`group.autoscale`).

    `samples` has every metric of the policy. The same input gives the same decision. The count is
    within the group's bounds and under every ceiling.
    """
    policy = group.autoscale
    if policy is None:
        raise ValueError(f"the group {group.name} has no policy")
    current = supply.current
    history, by_hand = _noticed(history, current, now)
    readings = tuple(
        judge(metric, samples[name], history.health.get(name), now) for name, metric in policy.metrics.items()
    )
    by_name = {reading.metric: reading for reading in readings}
    rates = _learn(policy, by_name, supply, history.rates, now) if history.rates or _learns(policy) else history.rates
    proposals = tuple(
        _propose(rule, policy, group, by_name[rule.metric], supply, rates)
        for rule in policy.rules
        if not isinstance(rule, Schedule)
    )
    if policy.function is not None:
        reading, proposal = _by_function(policy.function, policy, group, by_name, supply, now)
        readings, proposals = (*readings, reading), (*proposals, proposal)
    windows = _scheduled(policy, now)
    if not proposals:
        proposals = (_base(group, windows),)
    asked = max(proposal.count for proposal in proposals)
    entries = _remember(history.asked, asked, now, max(policy.up.stabilise, policy.down.stabilise))
    caps: list[Cap] = []
    count = _stabilised(policy, entries, asked, current, now, caps)
    count = _cooled(policy, history, count, current, now, caps)
    count = _stepped(policy, count, current, caps)
    count = _bounded(group, windows, ceilings, count, caps)
    health, notices = _health(readings, history.health, current, now)
    return Decision(
        group=group.name,
        at=now,
        supply=supply,
        readings=readings,
        proposals=proposals,
        asked=asked,
        caps=tuple(caps),
        count=count,
        notices=(*by_hand, *notices),
        history=History(
            asked=entries,
            count=current,
            raised=history.raised,
            lowered=history.lowered,
            health=health,
            rates=rates,
        ),
    )


def decide_stack(
    spec: Spec,
    samples: Mapping[str, Mapping[str, Sample]],
    supplies: Mapping[str, Supply],
    histories: Mapping[str, History],
    now: datetime,
    ceilings: Mapping[str, Sequence[Ceiling]] | None = None,
    bounds: Sequence[Bound] = (),
) -> dict[str, Decision]:
    """The decisions of all groups that have a policy, together within all bounds and the stack's limit.

    `supplies` has every group of the spec.
    """
    groups = [group for group in spec.groups.values() if group.autoscale]
    caps = {group.name: list((ceilings or {}).get(group.name, ())) for group in groups}

    def decided(group: Group) -> Decision:
        history = histories.get(group.name, History())
        return decide(group, samples[group.name], supplies[group.name], history, now, caps[group.name])

    decisions = {group.name: decided(group) for group in groups}
    for bound in (*bounds, *_limit(spec)):
        shares = _share(spec, decisions, supplies, bound)
        for group in groups:
            if shares[group.name] < decisions[group.name].count:
                caps[group.name].append(Ceiling(bound.name, shares[group.name], bound.why))
                decisions[group.name] = decided(group)
    return decisions


def _limit(spec: Spec) -> tuple[Bound, ...]:
    limit = spec.limit
    if limit is None:
        return ()
    return (
        Bound("limit", f"the stack's limit is {limit}", lambda counts: sum(counts.values()) <= limit, shrinks=True),
    )


def _share(
    spec: Spec, decisions: Mapping[str, Decision], supplies: Mapping[str, Supply], bound: Bound
) -> dict[str, int]:
    """The decided counts, made to fit: first growth goes, then, if it must, what is above the groups' minima."""
    others = {name: supply.current for name, supply in supplies.items() if name not in decisions}
    counts = {name: decision.count for name, decision in decisions.items()}
    minima = {name: min(spec.groups[name].min, count) for name, count in counts.items()}
    there = {name: min(max(supplies[name].supply, minima[name]), count) for name, count in counts.items()}
    wanted = {name: min(supplies[name].current, count) for name, count in counts.items()}
    for floors in (wanted, minima, dict.fromkeys(counts, 0)) if bound.shrinks else (there,):
        while not bound.fits({**others, **counts}):
            name = max(counts, key=lambda name: counts[name] - floors[name])
            if counts[name] <= floors[name]:
                break
            counts[name] -= 1
    return counts


def _noticed(history: History, current: int, now: datetime) -> tuple[History, tuple[str, ...]]:
    """A change by hand begins the cooldowns, so that it is not reverted at once."""
    if history.count is None or history.count == current:
        return history, ()
    text = f"the count was changed from {history.count} to {current} by something else"
    return replace(history, raised=now, lowered=now, count=current), (text,)


# ---------------------------------------------------------------------------------------------
# Judging


def judge(metric: Metric, sample: Sample, before: Health | None, now: datetime) -> Reading:
    """Whether a sample is to be believed."""
    state, error = _state(metric, sample, now)
    if state is State.OK and sample.value == 0 and _distrusted(metric, before, now):
        state, error = State.SUSPECT, "zero right after a failure"
    return Reading(metric.name, sample.value, sample.at, state, error)


def _state(metric: Metric, sample: Sample, now: datetime) -> tuple[State, str]:
    value = sample.value
    if value is None:
        return State.MISSING, sample.error or "no value"
    if math.isnan(value):
        return State.NAN, "not a number"
    if value < 0:
        return State.NEGATIVE, f"{_told(value)} is negative"
    if value > metric.highest:
        return State.ABSURD, f"{_told(value)} is above {_told(metric.highest)}"
    age = now - sample.at
    if age > metric.max_age:
        return State.STALE, f"{format_duration(age)} old"
    return State.OK, ""


def _distrusted(metric: Metric, before: Health | None, now: datetime) -> bool:
    if before is None or before.state is State.OK:
        return False
    return before.state is not State.SUSPECT or now - before.since < metric.distrust_zero


def _health(
    readings: Sequence[Reading], before: Mapping[str, Health], current: int, now: datetime
) -> tuple[Mapping[str, Health], list[str]]:
    """The metrics' states from now on, and a notice for each that changed."""
    if all(reading.metric in before and before[reading.metric].state is reading.state for reading in readings):
        return before, []
    notices: list[str] = []
    health = {}
    for reading in readings:
        known = before.get(reading.metric)
        if known and known.state is reading.state:
            health[reading.metric] = known
            continue
        health[reading.metric] = Health(reading.state, now)
        if reading.state is not State.OK:
            notices.append(f"{_kind(reading)} is {reading.state}: {reading.error}; {current} is held")
        elif known:
            value = "no opinion" if reading.value is None else _told(reading.value)
            notices.append(f"{_kind(reading)} is back: {value}")
    return health, notices


def _kind(reading: Reading) -> str:
    """A metric's name has no colon; a function's has."""
    return f"{'function' if ':' in reading.metric else 'metric'} {reading.metric}"


# ---------------------------------------------------------------------------------------------
# Rules


def _propose(
    rule: MeasuredRule, policy: Policy, group: Group, reading: Reading, supply: Supply, rates: Mapping[str, Rate]
) -> Proposal:
    if reading.state is not State.OK or reading.value is None:
        return _without(rule.name, policy, group, reading, supply)
    if isinstance(rule, Target):
        return _by_ratio(rule, reading.value, rule.value, supply)
    if isinstance(rule, Wait):
        return _by_wait(rule, reading.value, supply)
    if isinstance(rule, Steps):
        return _by_steps(rule, reading.value, supply)
    return _by_backlog(rule, reading.value, supply, rates)


def _without(rule: str, policy: Policy, group: Group, reading: Reading, supply: Supply) -> Proposal:
    what = f"{reading.metric} is {reading.state} ({reading.error})"
    if policy.on_error == "max" and group.max is not None:
        return Proposal(rule, max(group.max, supply.current), f"{what}: the max of {group.max}")
    return Proposal(rule, supply.current, f"{what}: hold")


def _by_ratio(rule: Target | Wait, value: float, goal: float, supply: Supply) -> Proposal:
    """ceil(ready * value / goal), and never fewer than are wanted while the value is above its goal."""
    current, ready = supply.current, supply.ready
    ratio = value / goal
    if not current:
        return Proposal(rule.name, 1 if value > 0 else 0, f"{rule.metric} is {_told(value)}, and there is no server")
    if not ready:
        return Proposal(rule.name, current, f"{rule.metric} is {_told(value)}, and no server is ready: hold")
    if abs(ratio - 1) <= rule.tolerance + _EPSILON:
        return Proposal(rule.name, current, f"{rule.metric} is {_told(value)}, near enough to {_told(goal)}")
    count = _ceil(ready * ratio)
    count = max(count, current) if ratio > 1 else min(count, current)
    formula = f"{ready} ready * {_told(value)} / {_told(goal)} = {_told(ready * ratio)}"
    return Proposal(rule.name, count, f"{rule.metric} is {_told(value)}: {formula}")


def _by_wait(rule: Wait, value: float, supply: Supply) -> Proposal:
    """As a ratio; but what waits gets older while servers boot, which says nothing about their number."""
    proposal = _by_ratio(rule, value, rule.within.total_seconds(), supply)
    if supply.ready < supply.current < proposal.count:
        missing = supply.current - supply.ready
        return Proposal(rule.name, supply.current, f"{rule.metric} is {_told(value)}s, and {missing} are on their way")
    return proposal


def _by_steps(rule: Steps, value: float, supply: Supply) -> Proposal:
    step = next(step for step in reversed(rule.steps) if value >= step.start)
    reached = f"{rule.metric} is {_told(value)}, at or above {_told(step.start)}"
    if not rule.relative:
        return Proposal(rule.name, step.count, f"{reached}: {step.count}")
    if step.count > 0:
        # From the ready ones: those on their way were asked for by the same step.
        return Proposal(rule.name, max(supply.current, supply.ready + step.count), f"{reached}: {step.count} more")
    if step.count < 0:
        return Proposal(rule.name, max(0, supply.current + step.count), f"{reached}: {-step.count} fewer")
    return Proposal(rule.name, supply.current, f"{reached}: no change")


def _by_backlog(rule: Backlog, value: float, supply: Supply, rates: Mapping[str, Rate]) -> Proposal:
    current = supply.current
    each = _jobs_per_server(rule, rates)
    if each is None:
        count = max(current, 1 if value > 0 else 0)
        return Proposal(rule.name, count, f"{rule.metric} is {_told(value)}, and the throughput is not learned yet")
    ratio = value / (current * each) if current else math.inf
    if current and abs(ratio - 1) <= rule.tolerance + _EPSILON:
        return Proposal(
            rule.name, current, f"{rule.metric} is {_told(value)}, near enough to {current} * {_told(each)}"
        )
    wanted = value / each
    reason = f"{rule.metric} is {_told(value)}, at {_told(each)} per server: {_told(wanted)}"
    return Proposal(rule.name, _ceil(wanted), reason)


def _by_function(
    function: Callable[[Any], object],
    policy: Policy,
    group: Group,
    readings: Mapping[str, Reading],
    supply: Supply,
    now: datetime,
) -> tuple[Reading, Proposal]:
    """What the user's function answers; judged like a metric, since it is believed as little."""
    load = Load(
        group=group.name,
        at=now,
        metrics={name: one.value if one.state is State.OK else None for name, one in readings.items()},
        current=supply.current,
        supply=supply.supply,
        ready=supply.ready,
        min=group.min,
        max=group.max,
    )
    name = str(function)
    count, state, error = _answer(function, load)
    reading = Reading(name, None if count is None else float(count), now, state, error)
    if state is not State.OK:
        return reading, _without(f"function {name}", policy, group, reading, supply)
    if count is None:
        return reading, Proposal(f"function {name}", supply.current, f"{name} has no opinion")
    return reading, Proposal(f"function {name}", count, f"{name} says {count}")


def _answer(function: Callable[[Any], object], load: Load) -> tuple[int | None, State, str]:
    try:
        answer = function(load)
    except Exception as error:
        return None, State.MISSING, str(getattr(error, "why", "")) or f"{type(error).__name__}: {error}"
    if answer is None:
        return None, State.OK, ""
    if isinstance(answer, bool) or not isinstance(answer, int):
        return None, State.NAN, f"it answered {_quoted(answer)}, which is no whole number"
    if answer < 0:
        return answer, State.NEGATIVE, f"{answer} is negative"
    if answer > _MOST:
        return None, State.ABSURD, f"it answered {_quoted(answer)}, more than {_MOST}"
    return answer, State.OK, ""


def _quoted(answer: object) -> str:
    """An answer's own text, which may be long, or not to be had."""
    try:
        return repr(answer)[:60]
    except Exception:
        return f"a {type(answer).__name__}"


def _jobs_per_server(rule: Backlog, rates: Mapping[str, Rate]) -> float | None:
    """How many waiting jobs one server is good for; None while that is still to be learned."""
    if rule.per_server is not None or rule.within is None:
        return rule.per_server
    throughput = rule.throughput
    if isinstance(throughput, Learned):
        rate = rates.get(throughput.metric)
        throughput = rate.per_server if rate and rate.per_server else throughput.initial
    return None if throughput is None else throughput * rule.within.total_seconds()


def _learns(policy: Policy) -> bool:
    return any(isinstance(rule, Backlog) and isinstance(rule.throughput, Learned) for rule in policy.rules)


def _learn(
    policy: Policy, readings: Mapping[str, Reading], supply: Supply, before: Mapping[str, Rate], now: datetime
) -> Mapping[str, Rate]:
    """The throughputs after this look at their counters."""
    rates = {}
    for rule in policy.rules:
        if not isinstance(rule, Backlog) or not isinstance(rule.throughput, Learned):
            continue
        name = rule.throughput.metric
        counter, jobs = readings[name], readings[rule.metric]
        known = before.get(name)
        if counter.state is not State.OK or counter.value is None:
            if known:
                rates[name] = known
            continue
        busy = jobs.state is State.OK and bool(jobs.value) and supply.ready > 0
        rates[name] = Rate(counter.value, now, busy, _observed(known, counter.value, busy, supply.ready, now))
    return rates


def _observed(known: Rate | None, finished: float, busy: bool, ready: int, now: datetime) -> float | None:
    if known is None:
        return None
    seconds, done = (now - known.at).total_seconds(), finished - known.finished
    if not (busy and known.busy and seconds > 0 and done > 0):  # a counter that fell was started anew
        return known.per_server
    seen = done / seconds / ready
    return seen if known.per_server is None else known.per_server + _LEARN * (seen - known.per_server)


def _base(group: Group, windows: Sequence[_Open]) -> Proposal:
    """What a policy of nothing but a schedule asks for."""
    floors = [window.min for window in windows if window.min is not None]
    if floors:
        return Proposal("schedule", max(floors), f"the schedule's min is {max(floors)}")
    return Proposal("schedule", group.count, f"no window is open: the spec's count of {group.count}")


# ---------------------------------------------------------------------------------------------
# From what is asked to what is done


def _remember(
    entries: tuple[tuple[datetime, int], ...], asked: int, now: datetime, longest: timedelta
) -> tuple[tuple[datetime, int], ...]:
    """The entries with this one, without those that no window reaches any more."""
    if not entries or entries[-1][1] != asked:
        entries = (*entries, (now, asked))
    first = now - longest
    drop = 0
    while drop + 1 < len(entries) and entries[drop + 1][0] <= first:
        drop += 1
    return entries[drop:] if drop else entries


def _stabilised(
    policy: Policy,
    entries: Sequence[tuple[datetime, int]],
    asked: int,
    current: int,
    now: datetime,
    caps: list[Cap],
) -> int:
    if asked == current:
        return asked
    window = policy.up.stabilise if asked > current else policy.down.stabilise
    if not window:
        return asked
    first = now - window
    if entries[0][0] > first:
        caps.append(Cap("stabilisation", asked, current, f"asked for less than {format_duration(window)} yet"))
        return current
    # An entry holds until the next one begins.
    values = [asked]
    for index in range(len(entries) - 1, -1, -1):
        values.append(entries[index][1])
        if entries[index][0] <= first:
            break
    count = max(current, min(values)) if asked > current else min(current, max(values))
    if count != asked:
        caps.append(Cap("stabilisation", asked, count, f"{count} is the mildest of the last {format_duration(window)}"))
    return count


def _cooled(policy: Policy, history: History, count: int, current: int, now: datetime, caps: list[Cap]) -> int:
    if count == current:
        return count
    if count > current:
        last, pause = history.raised, policy.up.cooldown
    else:
        last = max((moment for moment in (history.raised, history.lowered) if moment), default=None)
        pause = policy.down.cooldown
    if last is None or now - last >= pause:
        return count
    caps.append(Cap("cooldown", count, current, f"cooldown for {format_duration(pause - (now - last))} more"))
    return current


def _stepped(policy: Policy, count: int, current: int, caps: list[Cap]) -> int:
    step = policy.up.step if count > current else policy.down.step
    if step is None or abs(count - current) <= step:
        return count
    capped = current + step if count > current else current - step
    caps.append(Cap("step", count, capped, f"at most {step} at once"))
    return capped


@dataclass(frozen=True, slots=True)
class _Open:
    """An open window's bounds."""

    min: int | None
    max: int | None


def _scheduled(policy: Policy, now: datetime) -> tuple[_Open, ...]:
    schedules = [rule for rule in policy.rules if isinstance(rule, Schedule)]
    if not schedules:
        return ()
    from scaler.support.cron import is_open

    return tuple(
        _Open(window.min, window.max)
        for schedule in schedules
        for window in schedule.windows
        if is_open(window.cron, window.length, schedule.timezone, now)
    )


def _bounded(group: Group, windows: Sequence[_Open], ceilings: Sequence[Ceiling], count: int, caps: list[Cap]) -> int:
    """Within all bounds, whatever else was decided; of several windows the largest bounds count."""
    floor = max((window.min for window in windows if window.min is not None), default=0)
    top = max((window.max for window in windows if window.max is not None), default=None)
    count = _at_least("schedule", floor, count, caps)
    if top is not None:
        count = _at_most(Ceiling("schedule", top, "the schedule's max"), count, caps)
    count = _at_least("min", group.min, count, caps)
    if group.max is not None:
        count = _at_most(Ceiling("max", group.max, "the group's max"), count, caps)
    for ceiling in ceilings:
        count = _at_most(ceiling, count, caps)
    return count


def _at_least(name: str, floor: int, count: int, caps: list[Cap]) -> int:
    if count < floor:
        owner = "the schedule's min" if name == "schedule" else "the group's min"
        caps.append(Cap(name, count, floor, f"{owner} is {floor}"))
        return floor
    return count


def _at_most(ceiling: Ceiling, count: int, caps: list[Cap]) -> int:
    most = max(0, ceiling.most)
    if count > most:
        caps.append(Cap(ceiling.name, count, most, f"{ceiling.why}: at most {most}"))
        return most
    return count


# ---------------------------------------------------------------------------------------------
# Words


def _ceil(number: float) -> int:
    return math.ceil(number - _EPSILON)


def _told(number: float) -> str:
    return f"{number:.6g}"
