"""Read one source, as a tick does."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from scaler.autoscale.metrics import MetricError, MetricRead, read
from scaler.model.autoscaling import Source
from scaler.support.clock import SystemClock


def request(seconds: float = 5, **environ: str) -> MetricRead:
    return MetricRead(seconds, datetime.now(UTC), {"PATH": "/usr/bin:/bin", **environ}, Path("/"), SystemClock())


def number(source: Source, **environ: str) -> float:
    return read(source, request(5, **environ)).number


def refusal(source: Source, seconds: float = 5, **environ: str) -> str:
    with pytest.raises(MetricError) as caught:
        read(source, request(seconds, **environ))
    return str(caught.value)
