"""Judge samples: which values are used, and what has changed about a metric. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime

from scaler.autoscale.decision import MetricHealth, Reading, Sample, SampleState
from scaler.autoscale.numbers import short
from scaler.model.autoscaling import Metric
from scaler.support.clock import CLOCK_SKEW
from scaler.support.durations import format_duration


def judge(metric: Metric, sample: Sample, before: MetricHealth | None, now: datetime) -> Reading:
    """Return the sample with its state. `before` is the metric's state so far."""
    state, error = _state(metric, sample, now)
    if state is SampleState.OK and sample.value == 0 and _distrusts_zero(metric, before, now):
        state, error = SampleState.SUSPECT, "zero right after a failure"
    return Reading(metric.name, sample.value, sample.at, state, error)


def _state(metric: Metric, sample: Sample, now: datetime) -> tuple[SampleState, str]:
    value = sample.value
    if value is None:
        return SampleState.MISSING, sample.error or "no value"
    if math.isnan(value):
        return SampleState.NAN, "not a number"
    if value < 0:
        return SampleState.NEGATIVE, f"{short(value)} is negative"
    if value > metric.highest:
        return SampleState.ABSURD, f"{short(value)} is above {short(metric.highest)}"
    age = now - sample.at
    if age > metric.max_age:
        return SampleState.STALE, f"{format_duration(age)} old"
    # It is read after `now`, within the metric's time limit.
    if -age > metric.timeout + CLOCK_SKEW:
        return SampleState.STALE, f"dated {format_duration(-age)} in the future"
    return SampleState.OK, ""


def _distrusts_zero(metric: Metric, before: MetricHealth | None, now: datetime) -> bool:
    if before is None or before.state is SampleState.OK:
        return False
    return before.state is not SampleState.SUSPECT or now - before.since < metric.distrust_zero


def update_health(
    readings: Sequence[Reading], before: Mapping[str, MetricHealth], current: int, now: datetime
) -> tuple[Mapping[str, MetricHealth], tuple[str, ...]]:
    """Return the new states of the metrics, and a notice for each that changed."""
    if all(reading.metric in before and before[reading.metric].state is reading.state for reading in readings):
        return before, ()
    notices: list[str] = []
    health = {}
    for reading in readings:
        known = before.get(reading.metric)
        if known and known.state is reading.state:
            health[reading.metric] = known
            continue
        health[reading.metric] = MetricHealth(reading.state, now)
        if reading.state is not SampleState.OK:
            notices.append(f"{_label(reading)} is {reading.state}: {reading.error}; {current} is held")
        elif known:
            value = "no opinion" if reading.value is None else short(reading.value)
            notices.append(f"{_label(reading)} is back: {value}")
    return health, tuple(notices)


def _label(reading: Reading) -> str:
    """Return the kind and name. Only the names of functions contain a colon."""
    return f"{'function' if ':' in reading.metric else 'metric'} {reading.metric}"
