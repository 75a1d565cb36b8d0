"""A connection to Redis, alone or as a cluster, whose errors say what to change in the spec."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import RedisClusterException
from redis.retry import Retry

from scaler.autoscale.metrics import MetricError, MetricRead
from scaler.autoscale.metrics.http import secret
from scaler.autoscale.metrics.redis_limits import BoundedParser, bound
from scaler.model.autoscaling import RedisAccess


@contextmanager
def connected(access: RedisAccess, request: MetricRead) -> Iterator[Any]:
    """Open a client that returns bytes. Raise MetricError, with the server's own words, for whatever Redis refuses."""
    client: Any = None
    try:
        client = _open(access, request)
        yield client
    except redis.TimeoutError:
        raise MetricError(f"no answer within {request.seconds:g}s") from None
    except (redis.RedisError, RedisClusterException) as error:
        raise MetricError(_reason(error)) from None
    finally:
        if client is not None:
            client.close()


def _open(access: RedisAccess, request: MetricRead) -> Any:
    options: dict[str, Any] = {
        "username": access.username,
        "password": secret(access.password_env, request) if access.password_env else None,
        "socket_timeout": request.seconds,
        "socket_connect_timeout": request.seconds,
        # Redis 5 and proxies do not know HELLO, which newer protocols begin with.
        "protocol": 2,
        # Keys and ids may be any bytes.
        "encoding_errors": "surrogateescape",
    }
    if access.cluster:
        # It passes no parser on to its nodes, but what it calls for each new connection.
        return RedisCluster.from_url(access.url, retry=Retry(NoBackoff(), 0), redis_connect_func=bound, **options)
    return redis.Redis.from_url(access.url, retry=Retry(NoBackoff(), 0), parser_class=BoundedParser, **options)


def server_time(client: Any, request: MetricRead) -> float:
    """Return the server's time in seconds since 1970: delayed jobs are compared with it, not with our clock.

    A user that may only read, and some proxies, have no TIME. Then our clock must do.
    """
    try:
        answer = client.time()
    except redis.ResponseError:
        return request.clock.now().timestamp()
    if isinstance(answer, dict):  # of a cluster's nodes
        answer = next(iter(answer.values()))
    seconds, microseconds = answer
    return float(seconds) + float(microseconds) / 1e6


def _reason(error: Exception) -> str:
    text = str(error)
    if text.startswith("MOVED ") or isinstance(error, redis.exceptions.MovedError):
        return "this Redis is a cluster: add `cluster: true` to the source"
    if "Cluster mode is not enabled" in text or "cluster support disabled" in text:
        return "this Redis is not a cluster: remove `cluster: true` from the source"
    cause = error.__cause__
    return str(cause) if isinstance(error, RedisClusterException) and cause is not None else text
