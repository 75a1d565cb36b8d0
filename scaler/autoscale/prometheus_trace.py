"""Read recorded load from Prometheus, with the queries of a policy's metrics."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from scaler.autoscale.metrics import MetricError, MetricRead
from scaler.autoscale.trace import Trace
from scaler.errors import UnavailableError, UsageError
from scaler.model import Group
from scaler.model.autoscaling import FixedSource, Metric, PrometheusSource
from scaler.support.clock import Clock

_POINTS = 10_000
"""Points per query. Prometheus refuses more than 11,000."""

_TIMEOUT_S = 60.0


def fetch_trace(
    group: Group,
    *,
    since: timedelta,
    step: timedelta,
    clock: Clock,
    environ: Mapping[str, str],
    directory: Path,
) -> Trace:
    """Read the metrics of a group's policy from `since` ago until now, one value every `step`.

    Raises UsageError if a metric is not from Prometheus, and UnavailableError if Prometheus does not return it.
    """
    policy = group.autoscale
    metrics = (
        [] if policy is None else [one for one in policy.metrics.values() if not isinstance(one.source, FixedSource)]
    )
    others = [one.name for one in metrics if not isinstance(one.source, PrometheusSource)]
    if others or not metrics:
        raise UsageError(
            f"Not all metrics of {group.name} are from Prometheus.",
            why=f"others: {', '.join(others) or 'it has none'}",
            fix="Record them in a file, and pass that file.",
        )
    request = MetricRead(_TIMEOUT_S, clock.now(), environ, directory, clock)
    seconds = step.total_seconds()
    end = request.now.timestamp() // seconds * seconds
    length = int(since.total_seconds() // seconds)
    times = [end - seconds * (length - index) for index in range(length + 1)]
    return Trace(times, {one.name: _column(one, times, seconds, request) for one in metrics})


def _column(metric: Metric, times: list[float], step: float, request: MetricRead) -> list[float | None]:
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
                f"Prometheus does not return the metric {metric.name}.",
                why=str(error),
                fix=f"Check the query at {source.url}.",
            ) from None
        found |= {round((moment - times[0]) / step): value for moment, value in points}
    return [found.get(index) for index in range(len(times))]
