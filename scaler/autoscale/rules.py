"""What each rule of a policy proposes. Pure, apart from a user's function.

A rule without an opinion proposes the current count. So one `max` over all proposals gives both:
the largest wins going up, and all must agree going down.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from scaler.autoscale.decision import Load, Proposal, Rate, Reading, SampleState, Supply
from scaler.autoscale.numbers import EPSILON, round_up, short
from scaler.model import Group
from scaler.model.autoscaling import Backlog, Learned, MeasuredRule, Policy, Schedule, Steps, Target, Wait
from scaler.support.values import dataclass

_MOST = 10_000
"""More servers than any group has: a function that returns more has a bug."""


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What the rules of one group propose from."""

    group: Group
    policy: Policy
    readings: Mapping[str, Reading]
    """By metric."""
    supply: Supply
    rates: Mapping[str, Rate]
    now: datetime


def propose(situation: Situation) -> tuple[tuple[Proposal, ...], tuple[Reading, ...]]:
    """Return the proposals of the policy's rules and function, and a reading for the function's answer.

    Schedules propose nothing: they are limits.
    """
    policy = situation.policy
    proposals = tuple(_by_rule(rule, situation) for rule in policy.rules if not isinstance(rule, Schedule))
    if policy.function is None:
        return proposals, ()
    reading, proposal = _by_function(policy.function, situation)
    return (*proposals, proposal), (reading,)


def _by_rule(rule: MeasuredRule, situation: Situation) -> Proposal:
    reading, supply = situation.readings[rule.metric], situation.supply
    if reading.state is not SampleState.OK or reading.value is None:
        return _on_error(rule.name, reading, situation)
    if isinstance(rule, Target):
        return _by_ratio(rule, reading.value, rule.value, supply)
    if isinstance(rule, Wait):
        return _by_wait(rule, reading.value, supply)
    if isinstance(rule, Steps):
        return _by_steps(rule, reading.value, supply)
    return _by_backlog(rule, reading.value, supply, situation.rates)


def _on_error(rule: str, reading: Reading, situation: Situation) -> Proposal:
    group, current = situation.group, situation.supply.current
    what = f"{reading.metric} is {reading.state} ({reading.error})"
    if situation.policy.on_error == "max" and group.max is not None:
        return Proposal(rule, max(group.max, current), f"{what}: the max of {group.max}")
    return Proposal(rule, current, f"{what}: hold")


def _by_ratio(rule: Target | Wait, value: float, goal: float, supply: Supply) -> Proposal:
    """Propose ceil(ready * value / goal), but never fewer than the current count while the value is above its goal.

    The ratio applies to the ready servers, because only these make the metric.
    """
    current, ready = supply.current, supply.ready
    ratio = value / goal
    if not current:
        return Proposal(rule.name, 1 if value > 0 else 0, f"{rule.metric} is {short(value)}, and there is no server")
    if not ready:
        return Proposal(rule.name, current, f"{rule.metric} is {short(value)}, and no server is ready: hold")
    if abs(ratio - 1) <= rule.tolerance + EPSILON:
        return Proposal(rule.name, current, f"{rule.metric} is {short(value)}, near enough to {short(goal)}")
    count = round_up(ready * ratio)
    count = max(count, current) if ratio > 1 else min(count, current)
    formula = f"{ready} ready * {short(value)} / {short(goal)} = {short(ready * ratio)}"
    return Proposal(rule.name, count, f"{rule.metric} is {short(value)}: {formula}")


def _by_wait(rule: Wait, value: float, supply: Supply) -> Proposal:
    """Propose by the ratio, but ask for no more while servers start: jobs get older in that time whatever is asked."""
    proposal = _by_ratio(rule, value, rule.within.total_seconds(), supply)
    if supply.ready < supply.current < proposal.count:
        missing = supply.current - supply.ready
        return Proposal(rule.name, supply.current, f"{rule.metric} is {short(value)}s, and {missing} are on their way")
    return proposal


def _by_steps(rule: Steps, value: float, supply: Supply) -> Proposal:
    step = next(step for step in reversed(rule.steps) if value >= step.start)
    reached = f"{rule.metric} is {short(value)}, at or above {short(step.start)}"
    if not rule.relative:
        return Proposal(rule.name, step.count, f"{reached}: {step.count}")
    if step.count > 0:
        # Add to the ready servers: those that are starting were asked for by the same step.
        return Proposal(rule.name, max(supply.current, supply.ready + step.count), f"{reached}: {step.count} more")
    if step.count < 0:
        return Proposal(rule.name, max(0, supply.current + step.count), f"{reached}: {-step.count} fewer")
    return Proposal(rule.name, supply.current, f"{reached}: no change")


def _by_backlog(rule: Backlog, value: float, supply: Supply, rates: Mapping[str, Rate]) -> Proposal:
    current = supply.current
    each = _jobs_per_server(rule, rates)
    if each is None:
        count = max(current, 1 if value > 0 else 0)
        return Proposal(rule.name, count, f"{rule.metric} is {short(value)}, and the throughput is not learned yet")
    ratio = value / (current * each) if current else math.inf
    if current and abs(ratio - 1) <= rule.tolerance + EPSILON:
        return Proposal(
            rule.name, current, f"{rule.metric} is {short(value)}, near enough to {current} * {short(each)}"
        )
    wanted = value / each
    reason = f"{rule.metric} is {short(value)}, at {short(each)} per server: {short(wanted)}"
    return Proposal(rule.name, round_up(wanted), reason)


def _jobs_per_server(rule: Backlog, rates: Mapping[str, Rate]) -> float | None:
    """Return how many waiting jobs one server is for; None while that is not learned yet."""
    if rule.per_server is not None or rule.within is None:
        return rule.per_server
    throughput = rule.throughput
    if isinstance(throughput, Learned):
        rate = rates.get(throughput.metric)
        throughput = rate.per_server if rate and rate.per_server else throughput.initial
    return None if throughput is None else throughput * rule.within.total_seconds()


# ---------------------------------------------------------------------------------------------
# A user's function


def _by_function(function: Callable[[Any], object], situation: Situation) -> tuple[Reading, Proposal]:
    """Call the user's function. Its answer is judged like a metric, because it can be as wrong."""
    group, supply = situation.group, situation.supply
    load = Load(
        group=group.name,
        at=situation.now,
        metrics={name: one.value if one.state is SampleState.OK else None for name, one in situation.readings.items()},
        current=supply.current,
        supply=supply.supply,
        ready=supply.ready,
        min=group.min,
        max=group.max,
    )
    name = str(function)
    count, state, error = _answer(function, load)
    reading = Reading(name, None if count is None else float(count), situation.now, state, error)
    if state is not SampleState.OK:
        return reading, _on_error(f"function {name}", reading, situation)
    if count is None:
        return reading, Proposal(f"function {name}", supply.current, f"{name} has no opinion")
    return reading, Proposal(f"function {name}", count, f"{name} says {count}")


def _answer(function: Callable[[Any], object], load: Load) -> tuple[int | None, SampleState, str]:
    try:
        answer = function(load)
    except Exception as error:
        return None, SampleState.MISSING, str(getattr(error, "why", "")) or f"{type(error).__name__}: {error}"
    if answer is None:
        return None, SampleState.OK, ""
    if isinstance(answer, bool) or not isinstance(answer, int):
        return None, SampleState.NAN, f"it answered {_quoted(answer)}, which is no whole number"
    if answer < 0:
        return answer, SampleState.NEGATIVE, f"{answer} is negative"
    if answer > _MOST:
        return None, SampleState.ABSURD, f"it answered {_quoted(answer)}, more than {_MOST}"
    return answer, SampleState.OK, ""


def _quoted(answer: object) -> str:
    """Return the start of an answer's `repr`, which may be long or may fail."""
    try:
        return repr(answer)[:60]
    except Exception:
        return f"a {type(answer).__name__}"
