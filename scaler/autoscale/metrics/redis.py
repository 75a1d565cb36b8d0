"""Read what waits in Redis: keys of any kind, or the queues of a known system."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from scaler.autoscale.metrics import MetricError, MetricRead, Value
from scaler.autoscale.metrics.at_once import at_once
from scaler.autoscale.metrics.redis_client import connected, server_time
from scaler.autoscale.metrics.redis_keys import count_key, oldest_in_key
from scaler.autoscale.metrics.redis_systems import SYSTEMS, RedisQueue
from scaler.model.autoscaling import RedisSource
from scaler.support.text import quoted

_MOST_KEYS = 1_000
_AT_ONCE = 8

Measured = Mapping[str, Callable[[], float | None]]
"""By key or queue: what returns its count, or the time of its oldest entry."""


def read(source: RedisSource, request: MetricRead) -> Value:
    """Return the number of entries of all keys or queues, or the age in seconds of the oldest entry."""
    with connected(source, request) as client:
        now = server_time(client, request)
        parts = _by_queue(client, source, now) if source.system else _by_key(client, source, request, now)
        values = _measured(parts)
    if source.measure == "length":
        counts = {name: value or 0.0 for name, value in values.items()}
        return Value(sum(counts.values()), parts=counts)
    # An empty queue has no oldest entry: nothing waits, so the age is 0.
    ages = {name: 0.0 if moment is None else max(0.0, now - moment) for name, moment in values.items()}
    return Value(max(ages.values(), default=0.0), parts=ages)


def _measured(parts: Measured) -> Mapping[str, float | None]:
    """Read all keys or queues, several at once: each takes some round trips."""
    if len(parts) == 1:
        return {name: measure() for name, measure in parts.items()}
    found = at_once(lambda measure: measure(), parts.values(), _AT_ONCE, "redis")
    return dict(zip(parts, found, strict=True))


def _by_queue(client: Any, source: RedisSource, now: float) -> Measured:
    system = SYSTEMS[source.system or ""]
    queues = [
        RedisQueue(client, system.prefix if source.prefix is None else source.prefix, name, now)
        for name in source.queues or system.queues
    ]
    if source.missing == "error":
        _require_all(source, queues, [queue for queue in queues if not system.has_marks(queue)])
    measure = system.count if source.measure == "length" else system.oldest
    return {queue.name: partial(measure, queue) for queue in queues}


def _require_all(source: RedisSource, queues: Sequence[RedisQueue], missing: Sequence[RedisQueue]) -> None:
    """Raise MetricError if queues are missing: a name that is misspelt would count 0 beside the others."""
    if not missing:
        return
    which = "these queues" if len(missing) == len(queues) else f"the queue {quoted(missing[0].name)}"
    raise MetricError(
        f"there is nothing of {source.system} with {which}: compare `queues`, `prefix`, and the database at "
        "the end of `url`, with those of the application"
    )


def _by_key(client: Any, source: RedisSource, request: MetricRead, now: float) -> Measured:
    measure = count_key if source.measure == "length" else oldest_in_key
    return {key: partial(measure, client, key, source, now) for key in _keys(client, source, request)}


def _keys(client: Any, source: RedisSource, request: MetricRead) -> list[str]:
    if source.match is None:
        return [source.key] if source.key is not None else list(source.keys)
    found: set[str] = set()
    deadline = request.clock.monotonic() + request.seconds
    for key in client.scan_iter(match=source.match, count=1_000):
        found.add(key.decode(errors="surrogateescape"))
        if request.clock.monotonic() > deadline:
            raise MetricError(f"looking for {source.match} takes longer than {request.seconds:g}s: name the keys")
        if len(found) > _MOST_KEYS:
            raise MetricError(f"more than {_MOST_KEYS} keys match {source.match}")
    if not found and source.missing == "error":
        raise MetricError(f"no key matches {source.match}")
    return sorted(found)
