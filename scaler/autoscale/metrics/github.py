"""The jobs of GitHub Actions that wait for, or run on, runners with given labels.

GitHub has no list of waiting jobs, so this asks each repository for its unfinished runs, and each
run for its jobs. Answers are kept with their ETags for the next tick: an answer that has not
changed costs nothing of the rate limit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import quote

from scaler.autoscale.metrics import MetricError, MetricRead, Value
from scaler.autoscale.metrics.at_once import at_once
from scaler.autoscale.metrics.http import Answer, get, next_page, post, secret
from scaler.model.autoscaling import GithubSource
from scaler.support.clock import parse_time, time_at
from scaler.support.values import dataclass

_AT_ONCE = 8
_PAGES = 20
"""Pages of 100 entries that are read of one list."""

_RENEWED_BEFORE = timedelta(minutes=5)
"""A token of an app is renewed this long before it expires."""

_UNFINISHED = ("queued", "in_progress")
_STATUSES: Mapping[str, tuple[str, ...]] = {
    "all": ("queued", "in_progress"),
    "queued": ("queued",),
    "running": ("in_progress",),
}


def read(source: GithubSource, request: MetricRead) -> Value:
    """Return the number of jobs whose labels the runners have, in all repositories."""
    token = _token(source, request)
    kept = request.cache.get(source)
    # Another token may see something else, so its answers begin anew.
    before = kept.answers if isinstance(kept, _Kept) and kept.token == token else {}
    api = _Api(source, request, token, before)
    repositories = source.repositories or _repositories(api.entries, source.organization or "")
    runs = at_once(partial(_runs, api.entries), repositories, _AT_ONCE, "github")
    of_runs = [(name, run) for name, found in zip(repositories, runs, strict=True) for run in found]
    counts = at_once(lambda one: _count(api.entries, source, *one), of_runs, _AT_ONCE, "github")
    # Only what was asked now: a run that is over is not asked for again.
    request.cache[source] = _Kept(token, api.answers)
    parts = dict.fromkeys(repositories, 0.0)
    for (name, _), count in zip(of_runs, counts, strict=True):
        parts[name] += count
    return Value(sum(parts.values()), parts={name: count for name, count in parts.items() if count})


Ask = Callable[[str, str], Iterator[Mapping[str, Any]]]
"""Yields the entries of a list, by its path and the key of the entries."""


def _repositories(ask: Ask, organization: str) -> tuple[str, ...]:
    found = ask(f"/orgs/{quote(organization, safe='')}/repos?per_page=100", "")
    return tuple(str(entry["full_name"]) for entry in found if not entry.get("archived") and not entry.get("disabled"))


def _runs(ask: Ask, repository: str) -> set[int]:
    """Return the ids of the unfinished runs. A run that moves from one list to the other meanwhile is in both."""
    paths = (f"/repos/{quote(repository)}/actions/runs?per_page=100&status={status}" for status in _UNFINISHED)
    return {int(run["id"]) for path in paths for run in ask(path, "workflow_runs")}


def _count(ask: Ask, source: GithubSource, repository: str, run: int) -> int:
    jobs = ask(f"/repos/{quote(repository)}/actions/runs/{run}/jobs?per_page=100&filter=latest", "jobs")
    return sum(1 for job in jobs if job.get("status") in _STATUSES[source.jobs] and _fits(job, source.labels))


def _fits(job: Mapping[str, Any], labels: Iterable[str]) -> bool:
    """Return whether runners with these labels can take the job. GitHub ignores the case of labels."""
    needed = {str(label).lower() for label in job.get("labels") or ()}
    return bool(needed) and needed <= {"self-hosted", *(label.lower() for label in labels)}


# ---------------------------------------------------------------------------------------------
# Requests


@dataclass(frozen=True)
class _Page:
    """One page of a list, with its ETag."""

    etag: str
    body: str
    link: str


@dataclass(frozen=True)
class _Kept:
    """The pages of one tick, for the next one."""

    token: str
    answers: Mapping[str, _Page]
    """By their address."""


@dataclass(frozen=True)
class _Api:
    """Reads lists of the API, each page only if it has changed since the last tick."""

    source: GithubSource
    request: MetricRead
    token: str
    before: Mapping[str, _Page]
    answers: dict[str, _Page] = field(default_factory=dict)
    """The pages of this tick."""

    def entries(self, path: str, key: str) -> Iterator[Mapping[str, Any]]:
        """Yield the entries of a list, page by page."""
        url: str | None = self.source.api.rstrip("/") + path
        for _ in range(_PAGES):
            if url is None:
                return
            page = self._page(url)
            yield from _entries(page.body, key)
            url = next_page(page.link, self.source.api)
        raise MetricError(f"GitHub lists more than {_PAGES * 100} entries of {path.partition('?')[0]}")

    def _page(self, url: str) -> _Page:
        known = self.before.get(url)
        headers = _headers(self.token) | ({"If-None-Match": known.etag} if known and known.etag else {})
        answer = get(url, {}, None, self.request, headers=headers, largest=_LARGEST)
        if answer.status != 304 or known is None:
            _require_success(answer, url.removeprefix(self.source.api).partition("?")[0])
            known = _Page(answer.headers.get("ETag", ""), answer.body, answer.headers.get("Link", ""))
        self.answers[url] = known
        return known


def _entries(body: str, key: str) -> list[Mapping[str, Any]]:
    try:
        document = json.loads(body)
        entries = document[key] if key else document
    except (ValueError, KeyError, TypeError, RecursionError):
        entries = None
    if not isinstance(entries, list):
        raise MetricError("the answer is not one of GitHub's API: look at `api`")
    return entries


_LARGEST = 16 << 20
"""Bytes of an answer: a hundred runs are some megabytes."""


def _headers(token: str) -> dict[str, str]:
    return {
        "Accept": "application/vnd.github+json",
        "Authorization": f"Bearer {token}",
        "X-GitHub-Api-Version": "2022-11-28",
    }


def _require_success(answer: Answer, path: str) -> None:
    if answer.status in (403, 429):
        _require_budget(answer)
    if answer.status == 401:
        raise MetricError("GitHub refuses the credentials (HTTP 401)")
    if answer.status in (403, 404):
        raise MetricError(f"GitHub does not show {path}: the name is wrong, or the credentials may not read it")
    if answer.status not in (200, 201):
        raise MetricError(f"HTTP {answer.status} of {path}")


def _require_budget(answer: Answer) -> None:
    """Raise MetricError if a rate limit refused the request."""
    if after := answer.headers.get("Retry-After"):
        raise MetricError(f"GitHub's rate limit is reached: it asks to wait for {after}s")
    if answer.headers.get("X-RateLimit-Remaining") == "0":
        reset = int(answer.headers.get("X-RateLimit-Reset", "0"))
        moment = time_at(reset)
        raise MetricError(f"GitHub's rate limit is reached: it begins anew at {moment:%H:%M} UTC")


# ---------------------------------------------------------------------------------------------
# Credentials


@dataclass(frozen=True)
class _Token:
    text: str
    until: datetime


def _token(source: GithubSource, request: MetricRead) -> str:
    """Return the token of the spec, or of the app's installation, which lives for an hour."""
    if source.app is None:
        return secret(source.token_env or "", request)
    place = (source, "token")
    kept = request.cache.get(place)
    if isinstance(kept, _Token) and request.now < kept.until - _RENEWED_BEFORE:
        return kept.text
    url = f"{source.api.rstrip('/')}/app/installations/{source.app.installation}/access_tokens"
    answer = post(url, request, headers=_headers(_signed(source, request)))
    _require_success(answer, f"the installation {source.app.installation} of the app {source.app.id}")
    document = json.loads(answer.body)
    made = _Token(document["token"], parse_time(document["expires_at"]))
    request.cache[place] = made
    return made.text


def _signed(source: GithubSource, request: MetricRead) -> str:
    """Return the app's own token (a JWT), by which it asks for one of its installation."""
    import jwt

    assert source.app is not None  # noqa: S101 - the caller has looked
    key = secret(source.app.key_env, request).replace("\\n", "\n")
    now = int(request.now.timestamp())
    # A minute back, since GitHub refuses a token from the future.
    claims = {"iat": now - 60, "exp": now + 540, "iss": source.app.id}
    try:
        return jwt.encode(claims, key, algorithm="RS256")
    except (ValueError, TypeError, jwt.PyJWTError):
        raise MetricError(f"{source.app.key_env} holds no private key") from None
