"""A list's or stream's length, or the age of its oldest entry."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from scaler.autoscale.metrics import MetricError, Request, Value
from scaler.autoscale.metrics.documents import value_in
from scaler.autoscale.metrics.redis_client import connected
from scaler.model.autoscaling import RedisSource


def read(source: RedisSource, request: Request) -> Value:
    """The length, or the age in seconds. A key that does not exist is an empty list: Redis has no other."""
    with connected(source, request) as client:
        kind = client.type(source.key).decode()
        if kind == "none":
            return Value(0.0)
        if kind not in ("list", "stream"):
            raise MetricError(f"{source.key} is a {kind}, not a list or a stream")
        if source.measure == "length":
            return Value(float(client.llen(source.key) if kind == "list" else client.xlen(source.key)))
        if kind == "stream":
            return Value(_age_in_stream(client, source.key))
        return Value(_age_in_list(client, source, request.now))


def _age_in_stream(client: Any, key: str) -> float:
    entries = client.xrange(key, count=1)
    if not entries:
        return 0.0
    pushed_ms = int(entries[0][0].decode().partition("-")[0])
    seconds, microseconds = client.time()
    return float(max(0, seconds + microseconds / 1e6 - pushed_ms / 1e3))


def _age_in_list(client: Any, source: RedisSource, now: datetime) -> float:
    entry = client.lindex(source.key, 0 if source.oldest == "first" else -1)
    if entry is None:
        return 0.0
    pushed = value_in(
        entry.decode(errors="replace"), "/" + source.age_field.replace("~", "~0").replace("/", "~1"), None
    ).number
    return max(0.0, (now - datetime.fromtimestamp(pushed, UTC)).total_seconds())
