"""The jobs of Forgejo Actions that wait for, or run on, runners with given labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from scaler.autoscale.metrics import MetricError, MetricRead, Value
from scaler.autoscale.metrics.http import Answer, get, secret
from scaler.model.autoscaling import ForgejoSource

_LARGEST = 16 << 20
"""Bytes of an answer, which lists all unfinished jobs."""

_STATUSES: Mapping[str, tuple[str, ...]] = {
    "all": ("waiting", "running"),
    "queued": ("waiting",),
    "running": ("running",),
}


def read(source: ForgejoSource, request: MetricRead) -> Value:
    """Return the number of jobs whose labels the runners have.

    Forgejo lists the waiting and the running jobs of a repository, an organization or the whole
    instance, in one answer without pages.
    """
    headers = {"Authorization": f"token {secret(source.token_env, request)}"}
    first, *others = (f"{source.url.rstrip('/')}/api/v1{path}" for path in _paths(source))
    labels = {"labels": ",".join(source.labels)}
    answer = get(first, labels, None, request, headers=headers, largest=_LARGEST)
    for url in others:
        if answer.status == 404:
            answer = get(url, labels, None, request, headers=headers, largest=_LARGEST)
    return Value(float(sum(1 for job in _jobs(answer) if _counts(job, source))))


def _paths(source: ForgejoSource) -> tuple[str, ...]:
    """Return where the jobs may be, the newest place first."""
    if source.repository:
        return (f"/repos/{quote(source.repository)}/actions/runners/jobs",)
    if source.organization:
        return (f"/orgs/{quote(source.organization, safe='')}/actions/runners/jobs",)
    # The second is the one before Forgejo 15.
    return "/admin/actions/runners/jobs", "/admin/runners/jobs"


def _jobs(answer: Answer) -> list[Mapping[str, Any]]:
    if answer.status in (401, 403, 404):
        raise MetricError(f"Forgejo does not show the jobs (HTTP {answer.status}): look at the name and the token")
    if answer.status != 200:
        raise MetricError(f"HTTP {answer.status}")
    try:
        jobs = json.loads(answer.body)
    except (ValueError, RecursionError):
        jobs = ""
    # Without a job the answer is null.
    jobs = [] if jobs is None else jobs
    if not isinstance(jobs, list):
        raise MetricError("the answer is not one of Forgejo's API: look at `url`")
    return jobs


def _counts(job: Mapping[str, Any], source: ForgejoSource) -> bool:
    # Asked for by labels already; checked again, because versions of Forgejo differ in what they do with them.
    needed = set(job.get("runs_on") or ())
    return bool(needed) and needed <= set(source.labels) and job.get("status") in _STATUSES[source.jobs]
