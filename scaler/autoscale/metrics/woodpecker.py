"""The workflows that wait for, or run on, agents of Woodpecker with given labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from scaler.autoscale.metrics import MetricError, MetricRead, Value
from scaler.autoscale.metrics.http import Answer, get
from scaler.model.autoscaling import WoodpeckerSource

_LARGEST = 16 << 20
"""Bytes of an answer, which lists all unfinished workflows."""

_LISTS: Mapping[str, tuple[str, ...]] = {
    "all": ("pending", "running"),
    "queued": ("pending",),
    "running": ("running",),
}

_OF_EVERY_AGENT = ("backend", "hostname", "org-id", "platform", "repo")
"""Labels that every agent has by itself. They matter only if the spec names them."""


def read(source: WoodpeckerSource, request: MetricRead) -> Value:
    """Return the number of workflows whose labels the agents have.

    Those that wait for others do not count. While the queue is paused, nothing that waits does.
    """
    answer = get(f"{source.url.rstrip('/')}/api/queue/info", {}, source.token_env, request, largest=_LARGEST)
    queue = _queue(answer)
    found = {name: queue.get(name) or [] for name in _LISTS[source.jobs]}
    if queue.get("paused") is True and "pending" in found:
        found["pending"] = []
    counts = {
        name: float(sum(1 for task in tasks if _fits(task.get("labels") or {}, source.labels)))
        for name, tasks in found.items()
    }
    return Value(sum(counts.values()), parts=counts)


def _queue(answer: Answer) -> Mapping[str, Any]:
    if answer.status in (401, 403):
        raise MetricError(f"Woodpecker does not show its queue (HTTP {answer.status}): the token must be an admin's")
    if answer.status != 200:
        raise MetricError(f"HTTP {answer.status}")
    try:
        queue = json.loads(answer.body)
    except (ValueError, RecursionError):
        queue = None
    if not isinstance(queue, dict) or "stats" not in queue:
        raise MetricError("the answer is not one of Woodpecker's API: look at `url`")
    return queue


def _fits(needed: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Return whether agents with these labels can take a workflow. An agent's value * is any."""
    return all(
        labels[key] in ("*", value) if key in labels else key in _OF_EVERY_AGENT
        for key, value in needed.items()
        if value
    )
