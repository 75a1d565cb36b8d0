"""The jobs of Gitea Actions that wait for, or run on, runners with given labels."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from scaler.autoscale.metrics import MetricError, MetricRead, Value
from scaler.autoscale.metrics.http import Answer, get, secret
from scaler.model.autoscaling import GiteaSource

_LARGEST = 16 << 20
_PAGE = 50
"""Gitea gives no more entries at once if it is not configured otherwise (`MAX_RESPONSE_ITEMS`)."""
_PAGES = 40

_STATUSES: Mapping[str, tuple[str, ...]] = {
    "all": ("queued", "in_progress"),
    "queued": ("queued",),
    "running": ("in_progress",),
}
"""Gitea's own `waiting` is a job that waits for other jobs: no runner would take it."""


def read(source: GiteaSource, request: MetricRead) -> Value:
    """Return the number of jobs whose labels the runners have."""
    statuses = _STATUSES[source.jobs]
    # A job that moves to another page meanwhile would be counted twice without its id.
    counts = {job.get("id"): 1.0 for job in _jobs(source, request, statuses) if _fits(job, source, statuses)}
    return Value(sum(counts.values()))


def _fits(job: Mapping[str, Any], source: GiteaSource, statuses: tuple[str, ...]) -> bool:
    needed = set(job.get("labels") or ())
    return bool(needed) and needed <= set(source.labels) and job.get("status") in statuses


def _jobs(source: GiteaSource, request: MetricRead, statuses: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    """Yield the unfinished jobs, page by page."""
    headers = {"Authorization": f"token {secret(source.token_env, request)}"}
    url = f"{source.url.rstrip('/')}/api/v1{_path(source)}?" + "&".join(f"status={status}" for status in statuses)
    seen = 0
    for page in range(1, _PAGES + 1):
        parameters = {"page": str(page), "limit": str(_PAGE)}
        entries, total = _page(get(url, parameters, None, request, headers=headers, largest=_LARGEST))
        yield from entries
        seen += len(entries)
        # By the total, and not by the size of the page: an instance may have smaller ones.
        if not entries or seen >= total:
            return
    raise MetricError(f"Gitea lists more than {seen} unfinished jobs")


def _path(source: GiteaSource) -> str:
    if source.repository:
        return f"/repos/{quote(source.repository)}/actions/jobs"
    if source.organization:
        return f"/orgs/{quote(source.organization, safe='')}/actions/jobs"
    return "/admin/actions/jobs"


def _page(answer: Answer) -> tuple[list[Mapping[str, Any]], int]:
    if answer.status in (401, 403):
        raise MetricError(f"Gitea does not show the jobs (HTTP {answer.status}): look at the token")
    if answer.status == 404:
        raise MetricError("Gitea does not show the jobs (HTTP 404): the name is wrong, or it is older than 1.25")
    if answer.status != 200:
        raise MetricError(f"HTTP {answer.status}")
    try:
        document = json.loads(answer.body)
        jobs, total = document["jobs"] or [], int(document["total_count"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise MetricError("the answer is not one of Gitea's API: look at `url`") from None
    return jobs, total
