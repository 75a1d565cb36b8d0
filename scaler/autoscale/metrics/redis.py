"""A list's or stream's length, or the age of its oldest entry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from scaler.autoscale.metrics import MetricError, Request, Value
from scaler.autoscale.metrics.documents import value_in
from scaler.autoscale.metrics.http import secret
from scaler.model.autoscaling import HorizonSource, RedisSource


@contextmanager
def connected(source: RedisSource | HorizonSource, request: Request) -> Iterator[Any]:
    """A client; what Redis refuses becomes a MetricError with its own words."""
    client = redis.Redis.from_url(
        source.url,
        username=source.username,
        password=secret(source.password_env, request) if source.password_env else None,
        socket_timeout=request.seconds,
        socket_connect_timeout=request.seconds,
        decode_responses=True,
        encoding_errors="replace",
        retry=Retry(NoBackoff(), 0),
    )
    try:
        yield client
    except redis.TimeoutError:
        raise MetricError(f"no answer within {request.seconds:g}s") from None
    except redis.RedisError as error:
        raise MetricError(str(error)) from None
    finally:
        client.close()


def read(source: RedisSource, request: Request) -> Value:
    """The length, or the age in seconds. A key that does not exist is an empty list: Redis has no other."""
    with connected(source, request) as client:
        kind = client.type(source.key)
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
    pushed_ms = int(entries[0][0].partition("-")[0])
    seconds, microseconds = client.time()
    return float(max(0, seconds + microseconds / 1e6 - pushed_ms / 1e3))


def _age_in_list(client: Any, source: RedisSource, now: datetime) -> float:
    entry = client.lindex(source.key, 0 if source.oldest == "first" else -1)
    if entry is None:
        return 0.0
    pushed = value_in(entry, "/" + source.age_field.replace("~", "~0").replace("/", "~1"), None).number
    return max(0.0, (now - datetime.fromtimestamp(pushed, UTC)).total_seconds())
