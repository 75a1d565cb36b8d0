"""The forgejo source against answers that are valid by Forgejo's published schema."""

from __future__ import annotations

from typing import Any

import pytest

from scaler.model.autoscaling import ForgejoSource
from tests.autoscale.reading import number, refusal
from tests.autoscale.vendors import checked
from tests.support import servers

ORGANIZATION = "/api/v1/orgs/shop/actions/runners/jobs"


def source(pages: servers.Pages, **rest: Any) -> ForgejoSource:
    given = {"organization": "shop", "labels": ("docker", "gpu"), **rest}
    return ForgejoSource(url=pages.url, token_env="FORGEJO_TOKEN", **given)


def job(status: str, *labels: str) -> dict[str, object]:
    """A job with the fields of Forgejo's `ActionRunJob`."""
    return {
        "id": 7,
        "repo_id": 1,
        "owner_id": 2,
        "name": "build",
        "needs": None,
        "runs_on": list(labels),
        "task_id": 0,
        "status": status,
    }


def test_jobs_that_wait_and_jobs_that_run_on_our_runners(pages: servers.Pages) -> None:
    jobs = [job("waiting", "docker"), job("waiting", "docker", "gpu"), job("running", "docker"), job("waiting", "arm")]
    pages.pages[ORGANIZATION] = (200, {}, checked("forgejo", jobs))
    assert number(source(pages), FORGEJO_TOKEN="one") == 3
    assert number(source(pages, jobs="queued"), FORGEJO_TOKEN="one") == 2
    assert number(source(pages, jobs="running"), FORGEJO_TOKEN="one") == 1
    assert number(source(pages, labels=("docker",)), FORGEJO_TOKEN="one") == 2
    path, headers = pages.seen[0]
    assert path == f"{ORGANIZATION}?labels=docker%2Cgpu"
    assert headers["Authorization"] == "token one"


@pytest.mark.parametrize(
    ("scope", "path"),
    [
        ({"organization": "shop"}, ORGANIZATION),
        ({"organization": None, "repository": "shop/web"}, "/api/v1/repos/shop/web/actions/runners/jobs"),
        ({"organization": None}, "/api/v1/admin/actions/runners/jobs"),
        ({"organization": None}, "/api/v1/admin/runners/jobs"),
    ],
)
def test_a_repository_an_organization_or_the_instance(
    pages: servers.Pages, scope: dict[str, str | None], path: str
) -> None:
    pages.pages[path] = (200, {}, checked("forgejo", [job("waiting", "docker")]))
    assert number(source(pages, **scope), FORGEJO_TOKEN="one") == 1


def test_no_job_is_null(pages: servers.Pages) -> None:
    pages.pages[ORGANIZATION] = (200, {}, "null")
    assert number(source(pages), FORGEJO_TOKEN="one") == 0


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, "{}", "Forgejo does not show the jobs (HTTP 401): look at the name and the token"),
        (404, "{}", "Forgejo does not show the jobs (HTTP 404): look at the name and the token"),
        (502, "{}", "HTTP 502"),
        (200, "<html>", "the answer is not one of Forgejo's API: look at `url`"),
        (200, '{"a": 1}', "the answer is not one of Forgejo's API: look at `url`"),
        (200, "{}", "the answer is not one of Forgejo's API: look at `url`"),
    ],
)
def test_what_forgejo_refuses(pages: servers.Pages, status: int, body: str, words: str) -> None:
    pages.pages[ORGANIZATION] = (status, {}, body)
    assert refusal(source(pages), FORGEJO_TOKEN="s3cret") == words
