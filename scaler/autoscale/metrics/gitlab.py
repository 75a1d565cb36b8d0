"""The jobs of GitLab CI that wait for, or run on, runners with given tags."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

from scaler.autoscale.metrics import MetricError, MetricRead, Value
from scaler.autoscale.metrics.at_once import at_once
from scaler.autoscale.metrics.http import Answer, get, next_page, secret
from scaler.model.autoscaling import GitlabSource

_AT_ONCE = 8
_PAGES = 20
_LARGEST = 16 << 20

_SCOPES: Mapping[str, tuple[str, ...]] = {
    "all": ("pending", "running"),
    "queued": ("pending",),
    "running": ("running",),
}


def read(source: GitlabSource, request: MetricRead) -> Value:
    """Return the number of jobs whose tags the runners have, in all projects.

    GitLab has no list of the waiting jobs of a group, so this asks each project.
    """
    ask = partial(_list, source, request, secret(source.token_env, request))
    projects = source.projects or _projects(ask, source)
    counts = at_once(lambda project: float(_count(ask, source, project)), projects, _AT_ONCE, "gitlab")
    parts = dict(zip(projects, counts, strict=True))
    return Value(sum(counts), parts={name: count for name, count in parts.items() if count})


def _projects(ask: Any, source: GitlabSource) -> tuple[str, ...]:
    """Return the group's own projects. One whose CI is switched off refuses to list its jobs."""
    path = f"/groups/{quote(source.group or '', safe='')}/projects"
    entries = ask(f"{path}?include_subgroups=true&with_shared=false&archived=false&per_page=100")
    return tuple(
        str(entry["path_with_namespace"])
        for entry in entries
        if entry.get("builds_access_level") != "disabled" and entry.get("jobs_enabled") is not False
    )


def _count(ask: Any, source: GitlabSource, project: str) -> int:
    scopes = "".join(f"&scope[]={scope}" for scope in _SCOPES[source.jobs])
    jobs = ask(f"/projects/{quote(project, safe='')}/jobs?per_page=100{scopes}")
    return sum(1 for job in jobs if _fits(job.get("tag_list") or (), source))


def _fits(tags: Any, source: GitlabSource) -> bool:
    """Return whether runners with the spec's tags can take a job. One without tags needs runners for such jobs."""
    return set(tags) <= set(source.tags) if tags else source.untagged


def _list(source: GitlabSource, request: MetricRead, token: str, path: str) -> Iterator[Mapping[str, Any]]:
    """Yield the entries of a list, page by page."""
    api = f"{source.url.rstrip('/')}/api/v4"
    url: str | None = api + path
    for _ in range(_PAGES):
        if url is None:
            return
        answer = get(url, {}, None, request, headers={"PRIVATE-TOKEN": token}, largest=_LARGEST)
        yield from _entries(answer, path.partition("?")[0])
        url = next_page(answer.headers.get("Link", ""), api)
    raise MetricError(f"GitLab lists more than {_PAGES * 100} entries of {path.partition('?')[0]}")


def _entries(answer: Answer, path: str) -> list[Mapping[str, Any]]:
    if answer.status == 401:
        raise MetricError("GitLab refuses the token (HTTP 401)")
    if answer.status in (403, 404):
        raise MetricError(f"GitLab does not show {path}: the name is wrong, or the token may not read it")
    if answer.status == 429:
        after = answer.headers.get("Retry-After", "some ")
        raise MetricError(f"GitLab's rate limit is reached: it asks to wait for {after}s")
    if answer.status != 200:
        raise MetricError(f"HTTP {answer.status} of {path}")
    try:
        entries = json.loads(answer.body)
    except (ValueError, RecursionError):
        entries = None
    if not isinstance(entries, list):
        raise MetricError("the answer is not one of GitLab's API: look at `url`")
    return entries
