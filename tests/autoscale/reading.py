"""Read one source, as a tick does."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from scaler.autoscale.metrics import MetricError, Request, read
from scaler.support.clock import SystemClock


def request(seconds: float = 5, **environ: str) -> Request:
    return Request(seconds, datetime.now(UTC), {"PATH": "/usr/bin:/bin", **environ}, Path("/"), SystemClock())


def number(source, **environ: str) -> float:
    return read(source, request(**environ)).number


def refusal(source, seconds: float = 5, **environ: str) -> str:
    with pytest.raises(MetricError) as caught:
        read(source, request(seconds, **environ))
    return str(caught.value)
