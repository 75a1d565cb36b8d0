"""The values of metrics in a simulation: from the trace's columns, or from the queue model."""

from __future__ import annotations

from collections.abc import Callable

from scaler.autoscale.queue_model import Queue
from scaler.autoscale.trace import SERVERS, Trace
from scaler.errors import UsageError
from scaler.model.autoscaling import (
    Backlog,
    FixedSource,
    HorizonSource,
    Learned,
    Metric,
    Policy,
    RedisSource,
    Rule,
    Schedule,
    SqsSource,
    Target,
    Wait,
)

ARRIVALS = "arrivals"
"""The column with the jobs that arrived per second. With it, the queue is modelled."""

Feed = Callable[[int, int], float | None]
"""Returns a metric's value at a step of the trace, with so many servers ready."""


def queue_of(trace: Trace, policy: Policy, throughput: float | None) -> Queue | None:
    """Return the modelled queue; None if the trace has no arrivals.

    `throughput` is in jobs per second and server; None takes the policy's. Raises UsageError if
    there is neither.
    """
    if ARRIVALS not in trace.columns:
        return None
    throughput = throughput or _throughput(policy)
    if throughput is None:
        raise UsageError(
            "The trace has arrivals, but it is not known how many jobs a server does.",
            fix="Give --throughput JOBS_PER_SECOND.",
        )
    return Queue(throughput)


def feed_of(metric: Metric, policy: Policy, trace: Trace, queue: Queue | None) -> Feed:
    """Return the feed of a metric. Raise UsageError if the trace has neither its column nor arrivals."""
    if isinstance(metric.source, FixedSource):
        value = metric.source.value
        return lambda step, ready: value
    if metric.name in trace.columns:
        return _recorded(metric.name, policy, trace)
    if queue is None:
        raise UsageError(
            f"The trace has no column for the metric {metric.name}.",
            why=f"it has {', '.join(trace.columns)}",
            fix=f"Name a column {metric.name}; or give {ARRIVALS}, the jobs that arrive per second, to model it.",
        )
    return _by_source(metric, queue) or _by_rule(metric.name, policy, queue)


def _throughput(policy: Policy) -> float | None:
    for rule in policy.rules:
        if isinstance(rule, Backlog):
            known = rule.throughput.initial if isinstance(rule.throughput, Learned) else rule.throughput
            if known:
                return known
    return None


def _recorded(name: str, policy: Policy, trace: Trace) -> Feed:
    values = trace.columns[name]
    servers = trace.columns.get(SERVERS)
    average = any(isinstance(rule, Target | Wait) and rule.metric == name for rule in policy.rules)
    if servers is None or not average:
        return lambda step, ready: values[step]

    def corrected(step: int, ready: int) -> float | None:
        """Return the average that the same load has on another number of servers."""
        value, recorded = values[step], servers[step]
        return None if value is None or recorded is None else value * max(1.0, recorded) / max(1, ready)

    return corrected


def _by_source(metric: Metric, queue: Queue) -> Feed | None:
    """Return the feed if the source says what it measures of a queue."""
    source = metric.source
    if isinstance(source, RedisSource | SqsSource):
        return (lambda step, ready: queue.oldest()) if source.measure == "age" else (lambda step, ready: queue.backlog)
    if isinstance(source, HorizonSource) and source.measure == "wait":
        return lambda step, ready: queue.time_to_clear(ready)
    return None


def _by_rule(name: str, policy: Policy, queue: Queue) -> Feed:
    """Return the feed by the rule that reads the metric."""
    rule = next((rule for rule in policy.rules if _reads(rule, name)), None)
    if isinstance(rule, Wait):
        return lambda step, ready: queue.time_to_clear(ready)
    if isinstance(rule, Target):
        # A value of at most 1 is a share, a larger one a percentage.
        full = 1.0 if rule.value <= 1 else 100.0
        return lambda step, ready: full * queue.busy
    if rule is not None or (policy.function is not None and not _learned_from(name, policy)):
        return lambda step, ready: queue.backlog
    # No rule reads it directly: it is a counter that a throughput is learned from.
    return lambda step, ready: queue.total_done


def _reads(rule: Rule, name: str) -> bool:
    return not isinstance(rule, Schedule) and rule.metric == name


def _learned_from(name: str, policy: Policy) -> bool:
    return any(
        isinstance(rule, Backlog) and isinstance(rule.throughput, Learned) and rule.throughput.metric == name
        for rule in policy.rules
    )
