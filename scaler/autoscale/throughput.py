"""Learn how many jobs a server does, from a metric that counts finished jobs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from scaler.autoscale.decision import Rate, Reading, SampleState, Supply
from scaler.model.autoscaling import Backlog, Learned, Policy

_NEWEST_SHARE = 0.2
"""The weight of the newest observation in the moving average."""


def learns(policy: Policy) -> bool:
    """Return whether any rule of the policy learns its throughput."""
    return any(isinstance(rule, Backlog) and isinstance(rule.throughput, Learned) for rule in policy.rules)


def update_rates(
    policy: Policy, readings: Mapping[str, Reading], supply: Supply, before: Mapping[str, Rate], now: datetime
) -> Mapping[str, Rate]:
    """Return the learned throughputs after these readings of their counters, by the counters' metrics."""
    rates = {}
    for rule in policy.rules:
        if not isinstance(rule, Backlog) or not isinstance(rule.throughput, Learned):
            continue
        name = rule.throughput.metric
        counter, jobs = readings[name], readings[rule.metric]
        known = before.get(name)
        if counter.state is not SampleState.OK or counter.value is None:
            if known:
                rates[name] = known
            continue
        busy = jobs.state is SampleState.OK and bool(jobs.value) and supply.ready > 0
        rates[name] = Rate(counter.value, now, busy, _per_server(known, counter.value, busy, supply.ready, now))
    return rates


def _per_server(known: Rate | None, finished: float, busy: bool, ready: int, now: datetime) -> float | None:
    if known is None:
        return None
    seconds, done = (now - known.at).total_seconds(), finished - known.finished
    if not (busy and known.busy and seconds > 0 and done > 0):  # a counter that fell was restarted
        return known.per_server
    observed = done / seconds / ready
    return observed if known.per_server is None else known.per_server + _NEWEST_SHARE * (observed - known.per_server)
