"""A fluid model of a queue and the servers that work on it.

Jobs arrive at a recorded rate, wait in one queue, and each ready server finishes `throughput` of
them per second. Waiting times are exact for this model: a job that arrives as the n-th is started
when n jobs are done.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import field

from scaler.support.values import dataclass


@dataclass
class Queue:
    """The queue with its history, and what a metric would measure of it."""

    throughput: float
    """Jobs per second and server."""
    backlog: float = 0.0
    start: float = 0.0
    """The time when the first step began."""
    ends: list[float] = field(default_factory=list)
    """The times when steps ended, in seconds."""
    arrived: list[float] = field(default_factory=list)
    """All jobs that had arrived at these times."""
    done: list[float] = field(default_factory=list)
    busy: float = 0.0
    """The share of the last step's capacity that was used, 0 to 1."""

    def advance(self, start: float, seconds: float, rate: float, ready: int) -> None:
        """Let `seconds` pass, with `rate` jobs arriving per second and `ready` servers."""
        if not self.ends:
            self.start = start
        arrived = rate * seconds
        capacity = ready * self.throughput * seconds
        served = min(self.backlog + arrived, capacity)
        self.backlog = max(0.0, self.backlog + arrived - served)
        self.busy = served / capacity if capacity else float(self.backlog > 0)
        self.ends.append(start + seconds)
        self.arrived.append(self.total_arrived + arrived)
        self.done.append(self.total_done + served)

    @property
    def total_arrived(self) -> float:
        return self.arrived[-1] if self.arrived else 0.0

    @property
    def total_done(self) -> float:
        return self.done[-1] if self.done else 0.0

    def time_to_clear(self, ready: int) -> float:
        """Return the seconds until the queue would be empty without more arrivals. Horizon calls this the wait."""
        return self.backlog / (max(1, ready) * self.throughput)

    def oldest(self) -> float:
        """Return the age in seconds of the oldest job."""
        if self.backlog <= 0:
            return 0.0
        index = bisect_left(self.arrived, self.total_done + 1e-9)
        return self.ends[-1] - _crossing(self, self.arrived, index, self.total_done)


@dataclass(frozen=True)
class Waits:
    """A summary of the waiting times of all jobs, in seconds."""

    mean: float
    p95: float
    worst: float


def waits(queue: Queue) -> tuple[Waits, list[float]]:
    """Return the summary, and the waiting time of the jobs that arrived in each step.

    Jobs that were not started by the end count with the time until then.
    """
    each: list[float] = []
    weights: list[float] = []
    index, before = 0, 0.0
    for end, arrived in zip(queue.ends, queue.arrived, strict=True):
        while index < len(queue.done) and queue.done[index] < arrived - 1e-9:
            index += 1
        started = _crossing(queue, queue.done, index, arrived) if index < len(queue.done) else queue.ends[-1]
        each.append(max(0.0, started - end))
        weights.append(arrived - before)
        before = arrived
    return _summary(each, weights), each


def late(queue: Queue, by_step: Sequence[float], longest_s: float) -> float:
    """Return how many jobs waited longer than this; `by_step` is what `waits` returns."""
    before, number = 0.0, 0.0
    for wait, arrived in zip(by_step, queue.arrived, strict=True):
        number += arrived - before if wait > longest_s else 0.0
        before = arrived
    return number


def _crossing(queue: Queue, totals: Sequence[float], index: int, level: float) -> float:
    """Return the time within step `index` when a total reached a level."""
    start, low = (queue.ends[index - 1], totals[index - 1]) if index else (queue.start, 0.0)
    end, high = queue.ends[index], totals[index]
    return start + (end - start) * (level - low) / (high - low) if high > low else end


def _summary(each: Sequence[float], weights: Sequence[float]) -> Waits:
    total = sum(weights)
    if total <= 0:
        return Waits(0.0, 0.0, 0.0)
    mean = sum(wait * weight for wait, weight in zip(each, weights, strict=True)) / total
    below, p95 = 0.0, 0.0
    for wait, weight in sorted(zip(each, weights, strict=True)):
        below += weight
        p95 = wait
        if below >= 0.95 * total:
            break
    worst = max(wait for wait, weight in zip(each, weights, strict=True) if weight > 0)
    return Waits(mean, p95, worst)
