"""Read Laravel Horizon's queues from Redis: the jobs that wait, and the seconds until they are done.

Horizon's wait (`WaitTimeCalculator`) is the number of waiting jobs, times the queue's mean run time,
over the worker processes of all supervisors that work on the queue. A scaler must not read "no load"
where Horizon shows 0, so this differs from Horizon as follows:

- Every five minutes `horizon:snapshot` deletes the measured run time. Then the newest snapshot that
  has a run time is used (a snapshot without a finished job stores `false`), else the spec's `runtime`.
- A queue without a supervisor has the wait of one process. Horizon does not list it.
- Delayed jobs that are due, and reserved ones that have expired, count. Only a worker moves them to
  the queue, so without a server nobody would.
- The wait is not rounded: 0.4 s is not 0.

Everything is read in two batches.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from scaler.autoscale.metrics import MetricError, MetricRead, Value
from scaler.autoscale.metrics.php_values import unserialized
from scaler.autoscale.metrics.redis_client import connected, server_time
from scaler.model.autoscaling import HorizonSource
from scaler.support.values import dataclass

_SNAPSHOTS = 200
"""The newest snapshots that are read. Horizon keeps 24 for each queue if it is not configured otherwise."""

_MARKS = ("recent_jobs", "measured_queues", "supervisors")
"""Keys of which Horizon has at least one as soon as a job was pushed."""


Answers = Mapping[tuple[str, str], Any]
"""By command and key."""


@dataclass(frozen=True)
class _Queue:
    """One queue, as found in Redis."""

    waiting: int
    runtime_ms: float
    """The mean run time of a job."""


@dataclass(frozen=True)
class _Layout:
    """The keys of an application, in all forms that they may have."""

    source: HorizonSource
    names: Sequence[str]
    """The queues of the spec, one by one."""

    @classmethod
    def of(cls, source: HorizonSource) -> Self:
        return cls(source, sorted({name for entry in source.queues for name in _members(entry)}))

    @property
    def prefixes(self) -> Sequence[str]:
        """On a cluster, newer versions of Horizon put the prefix in braces, so that all its keys are in one slot."""
        prefix = self.source.prefix
        return (prefix, f"{{{prefix}}}") if self.source.cluster and "{" not in prefix else (prefix,)

    @property
    def marks(self) -> Sequence[str]:
        return [prefix + mark for prefix in self.prefixes for mark in _MARKS]

    def lists(self, name: str) -> Sequence[str]:
        """Return the possible keys of a queue's list. On a cluster, Laravel puts the name in braces."""
        return [f"{self.source.queue_prefix}queues:{form}" for form in _forms(name)]

    def measured(self, name: str) -> Sequence[str]:
        return [f"{prefix}queue:{form}" for prefix in self.prefixes for form in _forms(name)]

    def snapshots(self, name: str) -> Sequence[str]:
        return [f"{prefix}snapshot:queue:{form}" for prefix in self.prefixes for form in _forms(name)]


def _forms(name: str) -> Sequence[str]:
    return name, f"{{{name}}}"


def _members(entry: str) -> frozenset[str]:
    """Return the queues of a comma list, without the braces of a cluster."""
    return frozenset(name.strip().removeprefix("{").removesuffix("}") for name in entry.split(","))


def read(source: HorizonSource, request: MetricRead) -> Value:
    """Return the sum of the queues' waiting jobs, or the longest of their waits in seconds."""
    layout = _Layout.of(source)
    with connected(source, request) as client:
        answers, supervisors = _read_all(client, layout, request)
    queues = {
        name: _Queue(_waiting(layout, answers, name), _runtime_ms(layout, answers, name)) for name in layout.names
    }
    _require_horizon(layout, answers, queues)
    waiting = {f"jobs of {name}": float(queue.waiting) for name, queue in queues.items()}
    if source.measure == "pending":
        return Value(sum(waiting.values()), parts=waiting)
    processes = _processes(source, supervisors)
    parts = {
        **waiting,
        **{f"run time of {name}, s": queue.runtime_ms / 1000 for name, queue in queues.items()},
        **{f"processes of {', '.join(sorted(names))}": float(count) for names, count in processes.items()},
    }
    return Value(max(_waits(source.queues, queues, processes)), parts=parts)


# ---------------------------------------------------------------------------------------------
# Reading


def _read_all(client: Any, layout: _Layout, request: MetricRead) -> tuple[Answers, Mapping[str, bytes | None]]:
    """Read everything in two batches. Return the answers, and the processes of each supervisor by its key."""
    lists = [key for name in layout.names for key in layout.lists(name)]
    measured = [key for name in layout.names for key in layout.measured(name)]
    snapshots = [key for name in layout.names for key in layout.snapshots(name)]
    first = _ask(
        client,
        [
            *(("zrange", f"{prefix}supervisors", 0, -1) for prefix in layout.prefixes),
            *(("exists", key) for key in layout.marks),
            *(("llen", key) for key in lists),
            *(("hget", key, "runtime") for key in measured),
            *(("zrevrange", key, 0, _SNAPSHOTS - 1) for key in snapshots),
        ],
    )
    now = server_time(client, request)
    supervisors = [
        f"{prefix}supervisor:{_name(stored, f'{prefix}supervisors')}"
        for prefix in layout.prefixes
        for stored in first["zrange", f"{prefix}supervisors"]
    ]
    second = _ask(
        client,
        [
            *(("zcount", f"{key}:{part}", "-inf", now) for key in lists for part in ("delayed", "reserved")),
            *(("hget", key, "processes") for key in supervisors),
        ],
    )
    return {**first, **second}, {key: second["hget", key] for key in supervisors}


def _ask(client: Any, commands: Sequence[tuple[Any, ...]]) -> Answers:
    """Send commands in one round trip. Return the answers by command and key."""
    pipeline = client.pipeline(transaction=False)
    for command, *arguments in commands:
        getattr(pipeline, command)(*arguments)
    answers = pipeline.execute()
    return {(command[0], command[1]): answer for command, answer in zip(commands, answers, strict=True)}


# ---------------------------------------------------------------------------------------------
# What the records say


def _waiting(layout: _Layout, answers: Answers, name: str) -> int:
    return sum(
        int(answers["llen", key]) + int(answers["zcount", f"{key}:delayed"]) + int(answers["zcount", f"{key}:reserved"])
        for key in layout.lists(name)
    )


def _runtime_ms(layout: _Layout, answers: Answers, name: str) -> float:
    """Return the mean run time: the measured one, else the newest snapshot's that has one, else the spec's."""
    for key in layout.measured(name):
        if runtime := _number(answers["hget", key], key):
            return runtime
    for key in layout.snapshots(name):
        for snapshot in answers["zrevrange", key]:
            if runtime := _number(_document(snapshot, key).get("runtime"), key):
                return runtime
    return layout.source.runtime.total_seconds() * 1000


def _processes(source: HorizonSource, supervisors: Mapping[str, bytes | None]) -> Mapping[frozenset[str], int]:
    """Return the worker processes of all live supervisors on the spec's connection, by the queues they work on.

    A supervisor's record expires in Redis 30 s after it was last written. One without a record is gone.
    """
    totals: dict[frozenset[str], int] = {}
    for key, stored in supervisors.items():
        if stored is None:
            continue
        for pool, number in _document(stored, key).items():
            connection, _, entry = pool.partition(":")
            if connection == source.connection:
                members = _members(entry)
                totals[members] = totals.get(members, 0) + int(number)
    return totals


def _waits(
    listed: Sequence[str], queues: Mapping[str, _Queue], processes: Mapping[frozenset[str], int]
) -> Iterable[float]:
    """Yield the wait of each pool, in seconds: of the queues that the same supervisors work on, or of a comma list."""
    pools: dict[object, tuple[int, set[str]]] = {}
    for entry in listed:
        members = _members(entry)
        serving = frozenset(names for names in processes if names & members)
        workers = sum(processes[names] for names in serving)
        pools.setdefault(serving or entry, (workers, set()))[1].update(members)
    for workers, names in pools.values():
        yield sum(queues[name].waiting * queues[name].runtime_ms for name in names) / max(1, workers) / 1000


def require_horizon(source: HorizonSource, request: MetricRead) -> None:
    """Raise MetricError if Horizon has no keys where the spec says that they are."""
    layout = _Layout.of(source)
    with connected(source, request) as client:
        answers = _ask(client, [("exists", key) for key in layout.marks])
    if not any(answers.values()):
        raise MetricError(
            f"there is nothing of Horizon under the prefix {source.prefix!r}: compare `prefix`, and the database at "
            "the end of `url`, with those of the application"
        )


def _require_horizon(layout: _Layout, answers: Answers, queues: Mapping[str, _Queue]) -> None:
    """Raise MetricError if jobs wait where Horizon has no keys: the prefix or the database is wrong."""
    if any(answers["exists", key] for key in layout.marks) or not any(queue.waiting for queue in queues.values()):
        return
    raise MetricError(
        f"jobs wait, but there is nothing of Horizon under the prefix {layout.source.prefix!r}: compare `prefix`, "
        "and the database at the end of `url`, with those of the application"
    )


# ---------------------------------------------------------------------------------------------
# Values


def _document(stored: bytes, key: str) -> Mapping[str, Any]:
    """Return a JSON object; PHP writes an empty one as a list."""
    try:
        document = json.loads(unserialized(stored))
    except ValueError:
        raise _unreadable(key) from None
    return document if isinstance(document, dict) else {}


def _name(stored: bytes, key: str) -> str:
    """Return the name of a supervisor. A compressed one has bytes that no name has."""
    try:
        name = unserialized(stored).decode()
    except UnicodeDecodeError:
        raise _unreadable(key) from None
    if not name.isprintable():
        raise _unreadable(key)
    return name


def _number(stored: object, key: str) -> float | None:
    """Return a number; None for what PHP writes as false, null or nothing."""
    if isinstance(stored, bytes):
        stored = unserialized(stored)
    if stored is None or stored is False or stored == b"":
        return None
    try:
        return float(stored)  # type: ignore[arg-type] # whatever JSON held
    except (TypeError, ValueError):
        raise _unreadable(key) from None


def _unreadable(key: str) -> MetricError:
    return MetricError(
        f"{key} cannot be read: the application's Redis options set a `serializer` or a `compression` that is not "
        "known here. `serializer` may be php, igbinary or json, and `compression` must be none"
    )
