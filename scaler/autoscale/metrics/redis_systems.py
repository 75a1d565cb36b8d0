"""The queues of known systems in Redis: where their waiting jobs are, and when the oldest was enqueued.

The layout of the keys was read from a Redis that the systems' own libraries had written to. A job
waits if it is in the queue's list, or if it is delayed, scheduled or lost and due: only a worker
moves such a job to the list, so without a server nobody would. Jobs that a worker has taken do not
count.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from scaler.autoscale.metrics import MetricError
from scaler.autoscale.metrics.moments import PER_SECOND, seconds_since_1970
from scaler.autoscale.metrics.redis_keys import moment_in
from scaler.support.values import dataclass

_MOST_READ = 10_000
"""Entries that are read one by one, where a key holds those of several queues. More of them count no more."""

_MOST_GONE = 100
"""So many entries of a list whose jobs are gone are passed over."""

_PAGE = 500
"""So many jobs are read at once, so that large ones do not fill the memory."""


@dataclass(frozen=True)
class RedisQueue:
    """One queue, and what it is read with."""

    client: Any
    prefix: str
    name: str
    now: float
    """The server's time, in seconds since 1970."""


Count = Callable[[RedisQueue], float]
Oldest = Callable[[RedisQueue], float | None]


@dataclass(frozen=True)
class System:
    """How to read the queues of one system."""

    prefix: str
    """What its keys begin with, if it is not configured otherwise."""
    queues: tuple[str, ...]
    """Its default queue; empty if it has none."""
    counts: Sequence[Count]
    oldests: Sequence[Oldest]
    paused: Callable[[RedisQueue], bool] = lambda queue: False
    """Whether no worker would take a job now."""

    marks: Sequence[str] = ()
    """Keys of which there is at least one wherever the system is used, also with empty queues."""

    def has_marks(self, queue: RedisQueue) -> bool:
        """Return whether the system is used under this prefix."""
        return any(_exist(queue, [_key(mark, queue).encode() for mark in self.marks]))

    def count(self, queue: RedisQueue) -> float:
        """Return how many jobs wait; none in a paused queue."""
        return 0.0 if self.paused(queue) else float(sum(count(queue) for count in self.counts))

    def oldest(self, queue: RedisQueue) -> float | None:
        """Return when the oldest waiting job was enqueued or became due; None if none waits."""
        if self.paused(queue):
            return None
        found = (oldest(queue) for oldest in self.oldests)
        return min((moment for moment in found if moment is not None), default=None)


# ---------------------------------------------------------------------------------------------
# What systems have in common


def _key(template: str, queue: RedisQueue) -> str:
    # At once: a prefix or a name may itself have one of these words in it.
    values = {"PREFIX": queue.prefix, "QUEUE": queue.name}
    return re.sub("PREFIX|QUEUE", lambda word: values[word[0]], template)


def _in_list(template: str) -> Count:
    return lambda queue: float(queue.client.llen(_key(template, queue)))


def _due(template: str, per_second: float) -> Count:
    """Count a sorted set's entries whose score, a time, has passed."""
    return lambda queue: float(queue.client.zcount(_key(template, queue), "-inf", queue.now * per_second))


def _first_due(template: str, per_second: float) -> Oldest:
    def oldest(queue: RedisQueue) -> float | None:
        found = queue.client.zrange(_key(template, queue), 0, 0, withscores=True)
        moment = float(found[0][1]) / per_second if found else None
        return moment if moment is not None and moment <= queue.now else None

    return oldest


def _oldest_entry(template: str, index: int, moment: Callable[[RedisQueue, bytes], float | None]) -> Oldest:
    """Return the time of a list's oldest entry, which is its first (0) or its last (-1).

    An entry without a time is the id of a job that is gone, as an expired one of RQ: then the next one counts.
    """

    def oldest(queue: RedisQueue) -> float | None:
        key = _key(template, queue)
        for place in range(_MOST_GONE):
            entry = queue.client.lindex(key, index - place if index else place)
            if entry is None:
                break
            if (found := moment(queue, entry)) is not None:
                return found
        return None

    return oldest


def _in_hash(queue: RedisQueue, key: str, fields: Sequence[bytes]) -> Iterator[bytes]:
    """Yield the values of a hash's fields, without those that are gone."""
    for start in range(0, len(fields), _PAGE):
        values = queue.client.hmget(key, fields[start : start + _PAGE])
        yield from (value for value in values if value is not None)


def _exist(queue: RedisQueue, keys: Sequence[bytes]) -> list[bool]:
    """Return for each key whether it exists, in one round trip."""
    pipeline = queue.client.pipeline(transaction=False)
    for key in keys:
        pipeline.exists(key)
    return [bool(there) for there in pipeline.execute()] if keys else []


def _key_exists(template: str) -> Callable[[RedisQueue], bool]:
    return lambda queue: bool(queue.client.exists(_key(template, queue)))


def _in_record(template: str, field: str, unit: str | None = None) -> Callable[[RedisQueue, bytes], float | None]:
    """Read the time from a field of the job's hash. A job that was deleted meanwhile has none."""

    def moment(queue: RedisQueue, id: bytes) -> float | None:
        name = _key(template, queue) + id.decode(errors="surrogateescape")
        value = queue.client.hget(name, field)
        return None if value is None else seconds_since_1970(value, unit, f"{field} of {name}")

    return moment


# ---------------------------------------------------------------------------------------------
# Sidekiq: `schedule` and `retry` hold the jobs of all queues


def _sidekiq_due(queue: RedisQueue) -> Iterable[float]:
    for name in ("schedule", "retry"):
        for start in range(0, _MOST_READ, _PAGE):
            entries = queue.client.zrangebyscore(
                f"{queue.prefix}{name}", "-inf", queue.now, start=start, num=_PAGE, withscores=True
            )
            for entry, score in entries:
                if _fields(entry).get("queue") == queue.name:
                    yield float(score)
            if len(entries) < _PAGE:
                break


def _fields(entry: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(entry)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


# ---------------------------------------------------------------------------------------------
# Celery: messages that a lost worker did not acknowledge are in `unacked` with those of all queues

_VISIBILITY_S = 3600
"""Celery's `visibility_timeout`: after it, a worker restores a message that was not acknowledged."""


def _celery_lists(queue: RedisQueue) -> float:
    names = [queue.name, *(f"{queue.name}\x06\x16{priority}" for priority in (3, 6, 9))]
    return float(sum(queue.client.llen(queue.prefix + name) for name in names))


def _celery_lost(queue: RedisQueue) -> float:
    expired = queue.client.zrangebyscore(
        f"{queue.prefix}unacked_index", "-inf", queue.now - _VISIBILITY_S, start=0, num=_MOST_READ
    )
    messages = _in_hash(queue, f"{queue.prefix}unacked", expired)
    return float(sum(1 for message in messages if _routing_key(message) == queue.name))


def _routing_key(message: bytes) -> str | None:
    try:
        _, _, routing_key = json.loads(message)
    except (ValueError, TypeError):
        return None
    return routing_key if isinstance(routing_key, str) else None


def _no_age(queue: RedisQueue) -> float | None:
    raise MetricError(f"the messages of Celery have no time, so {queue.name} has no age: measure its length")


# ---------------------------------------------------------------------------------------------
# Dramatiq: delayed messages are in a queue of their own, with their time inside


def _dramatiq_due(queue: RedisQueue) -> Iterable[float]:
    key = f"{queue.prefix}:{queue.name}.DQ"
    ids = [*queue.client.lrange(key, 0, _MOST_READ - 1), *_dramatiq_taken_by_the_dead(queue, f"{queue.name}.DQ")]
    for message in _in_hash(queue, f"{key}.msgs", ids):
        eta = _fields(message).get("options", {}).get("eta", 0)
        if eta / 1e3 <= queue.now:
            yield eta / 1e3


_HEARTBEAT_S = 60
"""Dramatiq's `heartbeat_timeout`: after it, another worker puts back what a worker had taken."""


def _dramatiq_taken_by_the_dead(queue: RedisQueue, name: str) -> list[bytes]:
    """Return the ids of a queue's messages that workers without a heartbeat have not acknowledged."""
    dead = queue.client.zrangebyscore(
        f"{queue.prefix}:__heartbeats__", "-inf", (queue.now - _HEARTBEAT_S) * 1e3, start=0, num=_MOST_READ
    )
    pipeline = queue.client.pipeline(transaction=False)
    for worker in dead:
        pipeline.srandmember(f"{queue.prefix}:__acks__.".encode() + worker + f".{name}".encode(), _MOST_READ)
    return [message for ids in pipeline.execute() for message in ids][:_MOST_READ] if dead else []


def _dramatiq_lost(queue: RedisQueue) -> Iterable[float]:
    """Yield when the messages were enqueued that a dead worker has taken."""
    ids = _dramatiq_taken_by_the_dead(queue, queue.name)
    for message in _in_hash(queue, f"{queue.prefix}:{queue.name}.msgs", ids):
        yield moment_in(message, "message_timestamp", "ms", f"the message of {queue.name}")


def _dramatiq_moment(queue: RedisQueue, id: bytes) -> float | None:
    message = queue.client.hget(f"{queue.prefix}:{queue.name}.msgs", id)
    return None if message is None else moment_in(message, "message_timestamp", "ms", f"the message of {queue.name}")


# ---------------------------------------------------------------------------------------------
# RQ: jobs that a dead worker has begun are in the registry `wip` with those that run; a worker retries or fails them


def _rq_lost(queue: RedisQueue) -> list[float]:
    """Return since when jobs wait that a worker should try again, because their first one is dead."""
    entries = queue.client.zrangebyscore(
        f"{queue.prefix}wip:{queue.name}", "-inf", queue.now, start=0, num=_MOST_READ, withscores=True
    )
    pipeline = queue.client.pipeline(transaction=False)
    for entry, _ in entries:
        # Since RQ 2, the entry is the job's id and that of its execution.
        pipeline.hmget(f"{queue.prefix}job:".encode() + entry.partition(b":")[0], "status", "retries_left")
    records = pipeline.execute() if entries else []
    return [
        float(score)
        for (_, score), (status, retries) in zip(entries, records, strict=True)
        if status == b"started" and retries and retries.isdigit() and int(retries) > 0
    ]


# ---------------------------------------------------------------------------------------------
# BullMQ and arq


def _bull_waiting(queue: RedisQueue) -> float:
    """Count the waiting jobs, without the marker that versions before 5 put into an empty list."""
    key = f"{queue.prefix}:{queue.name}:wait"
    length = int(queue.client.llen(key))
    if length > 1:
        return float(length)
    return float(sum(1 for job in queue.client.lrange(key, 0, 0) if not job.startswith(b"0:")))


def _bull_prioritized(queue: RedisQueue) -> float:
    return float(queue.client.zcard(f"{queue.prefix}:{queue.name}:prioritized"))


def _bull_oldest_prioritized(queue: RedisQueue) -> float | None:
    jobs = queue.client.zrange(f"{queue.prefix}:{queue.name}:prioritized", 0, 99)
    moments = (_in_record("PREFIX:QUEUE:", "timestamp", "ms")(queue, job) for job in jobs)
    return min((moment for moment in moments if moment is not None), default=None)


def _bull_stalled(queue: RedisQueue) -> list[bytes]:
    """Return the active jobs whose lock has expired: their worker is dead, and another one puts them back."""
    key = f"{queue.prefix}:{queue.name}:"
    jobs = queue.client.lrange(f"{key}active", 0, _MOST_READ - 1)
    locked = _exist(queue, [key.encode() + job + b":lock" for job in jobs])
    return [job for job, is_locked in zip(jobs, locked, strict=True) if not is_locked]


def _bull_oldest_stalled(queue: RedisQueue) -> float | None:
    moments = (_in_record("PREFIX:QUEUE:", "timestamp", "ms")(queue, job) for job in _bull_stalled(queue)[-100:])
    return min((moment for moment in moments if moment is not None), default=None)


def _bull_paused(queue: RedisQueue) -> bool:
    """Return whether the queue is paused, as BullMQ (`meta`) or Bull (`meta-paused`) writes it."""
    key = f"{queue.prefix}:{queue.name}:meta"
    return bool(queue.client.hexists(key, "paused") or queue.client.exists(f"{key}-paused"))


def _arq_waiting(queue: RedisQueue) -> list[float]:
    """Return the times of the due jobs that no worker has taken; a taken one stays in the sorted set until its end."""
    due = queue.client.zrangebyscore(
        queue.prefix + queue.name, "-inf", queue.now * 1e3, start=0, num=_MOST_READ, withscores=True
    )
    taken = _exist(queue, [b"arq:in-progress:" + job for job, _ in due])
    return [score / 1e3 for (_, score), is_taken in zip(due, taken, strict=True) if not is_taken]


# ---------------------------------------------------------------------------------------------
# asynq: tasks of a group wait in a sorted set of their own until a server joins them to one task


def _asynq_groups(queue: RedisQueue, ask: Callable[[Any, bytes], Any]) -> list[Any]:
    """Return the answer to one command for each group's sorted set, whose scores are when a task was added."""
    names = queue.client.srandmember(_key("PREFIX:{QUEUE}:groups", queue), _MOST_READ)
    pipeline = queue.client.pipeline(transaction=False)
    for name in names:
        ask(pipeline, _key("PREFIX:{QUEUE}:g:", queue).encode() + name)
    return list(pipeline.execute()) if names else []


def _asynq_grouped(queue: RedisQueue) -> float:
    return float(sum(_asynq_groups(queue, lambda pipeline, key: pipeline.zcard(key))))


def _asynq_oldest_grouped(queue: RedisQueue) -> float | None:
    firsts = _asynq_groups(queue, lambda pipeline, key: pipeline.zrange(key, 0, 0, withscores=True))
    return min((float(score) for first in firsts for _, score in first), default=None)


# ---------------------------------------------------------------------------------------------
# Laravel without Horizon

_LARAVEL = ("PREFIXqueues:QUEUE", "PREFIXqueues:{QUEUE}")
"""The forms of a queue's key. For a cluster, an application puts the name in braces."""


def _laravel_moment(queue: RedisQueue, entry: bytes) -> float | None:
    fields = _fields(entry)
    value = fields.get("createdAt", fields.get("pushedAt"))
    if value is None:
        raise MetricError(
            f"the jobs of {queue.name} hold no time: Laravel writes createdAt since version 13. Measure the length"
        )
    return seconds_since_1970(value, None, f"the time of a job of {queue.name}")


SYSTEMS: Mapping[str, System] = {
    "sidekiq": System(
        prefix="",
        queues=("default",),
        counts=(_in_list("PREFIXqueue:QUEUE"), lambda queue: float(len(list(_sidekiq_due(queue))))),
        oldests=(
            _oldest_entry(
                "PREFIXqueue:QUEUE",
                -1,
                lambda queue, entry: moment_in(entry, "enqueued_at", None, f"a job of {queue.name}"),
            ),
            lambda queue: min(_sidekiq_due(queue), default=None),
        ),
        marks=("PREFIXqueues", "PREFIXprocesses", "PREFIXstat:processed"),
    ),
    "celery": System(
        prefix="",
        queues=("celery",),
        counts=(_celery_lists, _celery_lost),
        oldests=(_no_age,),
        marks=("PREFIX_kombu.binding.QUEUE",),
    ),
    "rq": System(
        prefix="rq:",
        queues=("default",),
        counts=(
            _in_list("PREFIXqueue:QUEUE"),
            _due("PREFIXscheduled:QUEUE", PER_SECOND["s"]),
            lambda queue: float(len(_rq_lost(queue))),
        ),
        oldests=(
            _oldest_entry("PREFIXqueue:QUEUE", 0, _in_record("PREFIXjob:", "enqueued_at")),
            _first_due("PREFIXscheduled:QUEUE", PER_SECOND["s"]),
            lambda queue: min(_rq_lost(queue), default=None),
        ),
        paused=_key_exists("PREFIXsuspended"),
        marks=("PREFIXqueues", "PREFIXworkers"),
    ),
    "bullmq": System(
        prefix="bull",
        queues=(),
        counts=(
            _bull_waiting,
            _bull_prioritized,
            _due("PREFIX:QUEUE:delayed", PER_SECOND["ms"] * 4096),
            lambda queue: float(len(_bull_stalled(queue))),
        ),
        oldests=(
            _oldest_entry("PREFIX:QUEUE:wait", -1, _in_record("PREFIX:QUEUE:", "timestamp", "ms")),
            _bull_oldest_prioritized,
            _first_due("PREFIX:QUEUE:delayed", PER_SECOND["ms"] * 4096),
            _bull_oldest_stalled,
        ),
        paused=_bull_paused,
        marks=("PREFIX:QUEUE:meta", "PREFIX:QUEUE:id"),
    ),
    "dramatiq": System(
        prefix="dramatiq",
        queues=("default",),
        counts=(
            _in_list("PREFIX:QUEUE"),
            lambda queue: float(len(list(_dramatiq_due(queue)))),
            lambda queue: float(len(list(_dramatiq_lost(queue)))),
        ),
        oldests=(
            _oldest_entry("PREFIX:QUEUE", 0, _dramatiq_moment),
            lambda queue: min(_dramatiq_due(queue), default=None),
            lambda queue: min(_dramatiq_lost(queue), default=None),
        ),
        marks=("PREFIX:__heartbeats__",),
    ),
    "arq": System(
        prefix="",
        queues=("arq:queue",),
        counts=(lambda queue: float(len(_arq_waiting(queue))),),
        oldests=(lambda queue: min(_arq_waiting(queue), default=None),),
    ),
    "asynq": System(
        prefix="asynq",
        queues=("default",),
        counts=(
            _in_list("PREFIX:{QUEUE}:pending"),
            _due("PREFIX:{QUEUE}:scheduled", PER_SECOND["s"]),
            _due("PREFIX:{QUEUE}:retry", PER_SECOND["s"]),
            _due("PREFIX:{QUEUE}:lease", PER_SECOND["s"]),
            _asynq_grouped,
        ),
        oldests=(
            _oldest_entry("PREFIX:{QUEUE}:pending", -1, _in_record("PREFIX:{QUEUE}:t:", "pending_since", "ns")),
            _first_due("PREFIX:{QUEUE}:scheduled", PER_SECOND["s"]),
            _first_due("PREFIX:{QUEUE}:retry", PER_SECOND["s"]),
            _first_due("PREFIX:{QUEUE}:lease", PER_SECOND["s"]),
            _asynq_oldest_grouped,
        ),
        paused=_key_exists("PREFIX:{QUEUE}:paused"),
        marks=("PREFIX:queues",),
    ),
    "laravel": System(
        prefix="laravel_database_",
        queues=("default",),
        counts=(
            *(_in_list(key) for key in _LARAVEL),
            *(_due(f"{key}:delayed", PER_SECOND["s"]) for key in _LARAVEL),
            *(_due(f"{key}:reserved", PER_SECOND["s"]) for key in _LARAVEL),
        ),
        oldests=(
            *(_oldest_entry(key, 0, _laravel_moment) for key in _LARAVEL),
            *(_first_due(f"{key}:delayed", PER_SECOND["s"]) for key in _LARAVEL),
            *(_first_due(f"{key}:reserved", PER_SECOND["s"]) for key in _LARAVEL),
        ),
    ),
}
