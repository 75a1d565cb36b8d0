"""Two policies simulated on the same load, for the tests of what is shown of simulations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from scaler.autoscale.simulate import Setting, Simulation, compare
from scaler.autoscale.trace import Trace
from scaler.model import Price
from scaler.model.autoscaling import Backlog, Direction, HttpSource, Rule, Target
from tests.autoscale.load import START, group, policy

SETTING = Setting(cloud="hetzner", throughput=2.0, price=Price("EUR", Decimal("0.0088")))


def rising_and_falling() -> Trace:
    """Arrivals of some eight hours."""
    arrivals = [max(0.0, 8 + 7 * math.sin(index / 300)) for index in range(3000)]
    return Trace([START.timestamp() + 10 * index for index in range(3000)], {"arrivals": arrivals})


def by_load_and_by_queue(trace: Trace, setting: Setting = SETTING) -> Sequence[Simulation]:
    """Simulations of two rules, one with a name that is no good in HTML."""
    rules: dict[str, Rule] = {
        "by <load>": Target(metric="cpu", value=70),
        "by queue": Backlog(metric="jobs", within=timedelta(minutes=1), throughput=2.0),
    }
    groups = {}
    for name, rule in rules.items():
        made = policy(rule, down=Direction(stabilise=timedelta(minutes=10)))
        metrics = {key: replace(one, source=HttpSource(url="http://x/")) for key, one in made.metrics.items()}
        groups[name] = group(replace(made, metrics=metrics), min=1)
    return compare(groups, trace, setting)
