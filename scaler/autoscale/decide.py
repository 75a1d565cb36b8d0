"""Decide the count of each group from its load. Pure: samples, supply and history in, a `Decision` with reasons out.

```text
samples ─► judge ─► each rule proposes ─► the largest ─► stabilise ─► cool down ─► step ─► bounds ─► count
             │ not usable: hold the current count, or the group's max
```

Rules compare with the *wanted* count, so that servers that are starting are never asked for
again. Ratios apply to the *ready* servers, because only these make the metric.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from scaler.autoscale.decision import Bound, Ceiling, Decision, History, Load, Proposal, Reading, Sample, Supply
from scaler.autoscale.judge import judge, update_health
from scaler.autoscale.limits import Limiter, OpenWindow, open_windows, remember_ask
from scaler.autoscale.rules import Situation, propose
from scaler.autoscale.throughput import learns, update_rates
from scaler.model import Group, Spec
from scaler.model.autoscaling import Policy

__all__ = ["Load", "decide", "decide_stack"]


def decide(
    group: Group,
    samples: Mapping[str, Sample],
    supply: Supply,
    history: History,
    now: datetime,
    ceilings: Sequence[Ceiling] = (),
) -> Decision:
    """Decide a group's count by its policy (`group.autoscale`).

    `samples` must have every metric of the policy. The same input gives the same decision. The
    count is within the group's bounds and under every ceiling.
    """
    policy = group.autoscale
    if policy is None:
        raise ValueError(f"the group {group.name} has no policy")
    current = supply.current
    history, changed_elsewhere = _notice_change(history, current, now)
    metrics = _judge_all(policy, samples, history, now)
    rates = history.rates
    if rates or learns(policy):
        rates = update_rates(policy, metrics, supply, rates, now)
    situation = Situation(group=group, policy=policy, readings=metrics, supply=supply, rates=rates, now=now)
    proposals, answers = propose(situation)
    windows = open_windows(policy, now)
    proposals = proposals or (_by_schedule(group, windows),)
    readings = (*metrics.values(), *answers)
    asked = max(proposal.count for proposal in proposals)
    asks = remember_ask(history.asked, asked, now, max(policy.up.stabilise, policy.down.stabilise))
    count, caps = Limiter(
        group=group,
        policy=policy,
        history=history,
        asks=asks,
        current=current,
        now=now,
        windows=windows,
        ceilings=ceilings,
    ).apply(asked)
    health, notices = update_health(readings, history.health, current, now)
    return Decision(
        group=group.name,
        at=now,
        supply=supply,
        readings=readings,
        proposals=proposals,
        asked=asked,
        caps=caps,
        count=count,
        notices=(*changed_elsewhere, *notices),
        history=replace(history, asked=asks, count=current, meant=None, health=health, rates=rates),
    )


def _judge_all(policy: Policy, samples: Mapping[str, Sample], history: History, now: datetime) -> dict[str, Reading]:
    return {
        name: judge(metric, samples[name], history.health.get(name), now) for name, metric in policy.metrics.items()
    }


def _notice_change(history: History, current: int, now: datetime) -> tuple[History, tuple[str, ...]]:
    """Start the cooldowns after a change by something else, so that it is not reverted at once; see `Limiter`."""
    if history.count is None or current in (history.count, history.meant):
        return history.changed_to(current, now), ()
    text = f"the count was changed from {history.count} to {current} by something else"
    return replace(history, raised=now, lowered=now, by_hand=now, count=current), (text,)


def _by_schedule(group: Group, windows: Sequence[OpenWindow]) -> Proposal:
    """Return the proposal of a policy that has only a schedule."""
    floors = [window.min for window in windows if window.min is not None]
    if floors:
        return Proposal("schedule", max(floors), f"the schedule's min is {max(floors)}")
    return Proposal("schedule", group.count, f"no window is open: the spec's count of {group.count}")


# ---------------------------------------------------------------------------------------------
# All groups together


def decide_stack(
    spec: Spec,
    samples: Mapping[str, Mapping[str, Sample]],
    supplies: Mapping[str, Supply],
    histories: Mapping[str, History],
    now: datetime,
    ceilings: Mapping[str, Sequence[Ceiling]] | None = None,
    bounds: Sequence[Bound] = (),
) -> dict[str, Decision]:
    """Decide all groups that have a policy, together within all bounds and the stack's limit.

    `supplies` must have every group of the spec.
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
    """Reduce the decided counts until they fit: first the growth, then, if needed, what is above the groups' minima."""
    others = {name: supply.current for name, supply in supplies.items() if name not in decisions}
    counts = {name: decision.count for name, decision in decisions.items()}
    minima = {name: min(spec.groups[name].min, count) for name, count in counts.items()}
    existing = {name: min(max(supplies[name].supply, minima[name]), count) for name, count in counts.items()}
    wanted = {name: min(supplies[name].current, count) for name, count in counts.items()}
    for floors in (wanted, minima, dict.fromkeys(counts, 0)) if bound.shrinks else (existing,):
        while not bound.fits({**others, **counts}):
            name = max(counts, key=lambda name: counts[name] - floors[name])
            if counts[name] <= floors[name]:
                break
            counts[name] -= 1
    return counts
