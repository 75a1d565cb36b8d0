"""Recorded load from where it is recorded anyway: the policy's own Prometheus queries, over a while."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from scaler.autoscale.metrics import MetricError, Request
from scaler.autoscale.trace import Trace
from scaler.errors import UnavailableError, UsageError
from scaler.model import Group
from scaler.model.autoscaling import FixedSource, Metric, PrometheusSource
from scaler.support.clock import Clock

_POINTS = 10_000
"""Prometheus gives at most 11,000 points at once."""

_TIMEOUT_S = 60.0


def record(
    group: Group,
    *,
    since: timedelta,
    step: timedelta,
    clock: Clock,
    environ: Mapping[str, str],
    directory: Path,
) -> Trace:
    """The metrics of a group's policy from `since` until now, `step` apart.

    UsageError if they are not Prometheus'; UnavailableError if it does not give them.
    """
    policy = group.autoscale
    metrics = (
        [] if policy is None else [one for one in policy.metrics.values() if not isinstance(one.source, FixedSource)]
    )
    others = [one.name for one in metrics if not isinstance(one.source, PrometheusSource)]
    if others or not metrics:
        raise UsageError(
            f"Not all metrics of {group.name} are Prometheus'.",
            why=f"others: {', '.join(others) or 'it has none'}",
            fix="Record them in a file, and give that.",
        )
    request = Request(_TIMEOUT_S, clock.now(), environ, directory, clock)
    seconds = step.total_seconds()
    end = request.now.timestamp() // seconds * seconds
    length = int(since.total_seconds() // seconds)
    times = [end - seconds * (length - index) for index in range(length + 1)]
    return Trace(times, {one.name: _column(one, times, seconds, request) for one in metrics})


def _column(metric: Metric, times: list[float], step: float, request: Request) -> list[float | None]:
    from scaler.autoscale.metrics.prometheus import query_range

    found: dict[int, float] = {}
    source = metric.source
    if not isinstance(source, PrometheusSource):
        raise TypeError(metric.name)
    for first in range(0, len(times), _POINTS):
        part = times[first : first + _POINTS]
        try:
            points = query_range(source, part[0], part[-1], step, request)
        except MetricError as error:
            if "no series" in str(error):
                continue
            raise UnavailableError(
                f"Prometheus does not give the metric {metric.name}.", why=str(error), fix=f"Look at {source.url}."
            ) from None
        found |= {round((moment - times[0]) / step): value for moment, value in points}
    return [found.get(index) for index in range(len(times))]
