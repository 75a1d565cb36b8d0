"""Laravel Horizon's queues on Redis: pending jobs, and the seconds they wait as Horizon works them out.

Horizon's time to clear a queue (`WaitTimeCalculator`) is: jobs ready now, times the queue's mean
run time, over the processes of all live supervisors that work on it; rounded to whole seconds.
Three cases differ here, since a scaler must not take them for "no load". Every five minutes
`horizon:snapshot` deletes the measured run time, and Horizon tells 0 until the next job is done:
here the last snapshot's stands in. Where no job has ever run, Horizon tells 0 too: here the spec
says what to assume. And a queue without a supervisor is in Horizon's list no more: here it waits
as for one process.
"""

from __future__ import annotations

import json
import math
from typing import Any

from scaler.autoscale.metrics import Request, Value
from scaler.autoscale.metrics.redis import connected
from scaler.model.autoscaling import HorizonSource

_ALIVE_S = 29
"""Horizon takes a supervisor that has not told of itself for longer as gone."""


def read(source: HorizonSource, request: Request) -> Value:
    """The sum of the queues' pending jobs, or the longest of their waits in seconds."""
    with connected(source, request) as client:
        if source.measure == "pending":
            return Value(float(sum(_pending(client, source, queue) for queue in source.queues)))
        processes = _processes(client, source)
        return Value(max(_wait(client, source, queue, processes) for queue in source.queues))


def _wait(client: Any, source: HorizonSource, queue: str, processes: dict[str, int]) -> float:
    """Seconds; `queue` may be several with commas between them, as a supervisor without balancing has it."""
    milliseconds = sum(
        pending * _runtime(client, source, name)
        for name in queue.split(",")
        if (pending := _pending(client, source, name))
    )
    workers = processes.get(f"{source.connection}:{queue}", 0)
    # PHP rounds halves up.
    return float(math.floor(milliseconds / max(1, workers) / 1000 + 0.5))


def _pending(client: Any, source: HorizonSource, queues: str) -> int:
    return sum(_length(client, source, name) for name in queues.split(","))


def _length(client: Any, source: HorizonSource, queue: str) -> int:
    plain, tagged = (f"{source.queue_prefix}queues:{name}" for name in (queue, f"{{{queue}}}"))
    # On a cluster Laravel puts the name in braces.
    return int(client.llen(plain)) or int(client.llen(tagged))


def _runtime(client: Any, source: HorizonSource, queue: str) -> float:
    """The mean run time in milliseconds; while no job has ever run, what the spec assumes."""
    measured = client.hget(f"{source.prefix}queue:{queue}", "runtime")
    if not measured:
        [*_, last] = client.zrange(f"{source.prefix}snapshot:queue:{queue}", -1, -1) or [None]
        measured = _fields(last).get("runtime") if last else None
    return float(measured) if measured else source.runtime.total_seconds() * 1000


def _processes(client: Any, source: HorizonSource) -> dict[str, int]:
    """Worker processes of all live supervisors, by connection and queue (`redis:default`)."""
    seconds, _ = client.time()
    totals: dict[str, int] = {}
    for name in client.zrangebyscore(f"{source.prefix}supervisors", seconds - _ALIVE_S, "+inf"):
        told = client.hget(f"{source.prefix}supervisor:{name}", "processes")
        for queue, number in _fields(told).items():
            totals[queue] = totals.get(queue, 0) + int(number)
    return totals


def _fields(text: str | None) -> dict[str, Any]:
    """A JSON object; PHP writes an empty one as a list."""
    try:
        document = json.loads(text or "{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
