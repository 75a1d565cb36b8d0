"""Whether a zero may come from a wrong place: another prefix, database or name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from scaler.autoscale.metrics import MetricError, MetricRead, read
from scaler.model.autoscaling import HorizonSource, Metric, RedisSource
from scaler.support.clock import Clock


def why_empty(metric: Metric, environ: Mapping[str, str], directory: Path, clock: Clock) -> str | None:
    """Return why a source that says 0 may look at the wrong place; None if there is no sign of it."""
    source = metric.source
    request = MetricRead(metric.timeout.total_seconds(), clock.now(), environ, directory, clock)
    try:
        if isinstance(source, RedisSource) and source.system not in ("arq", "laravel"):
            read(replace(source, missing="error"), request)
        elif isinstance(source, HorizonSource):
            from scaler.autoscale.metrics.horizon import require_horizon

            require_horizon(source, request)
    except MetricError as error:
        return str(error)
    return None
