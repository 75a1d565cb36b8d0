"""The gitea source against answers that are valid by Gitea's published schema."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from scaler.model.autoscaling import GiteaSource
from tests.autoscale.reading import number, refusal
from tests.autoscale.vendors import checked
from tests.support import servers

pytestmark = pytest.mark.server

ORGANIZATION = "/api/v1/orgs/shop/actions/jobs"


def source(pages: servers.Pages, **rest: Any) -> GiteaSource:
    given = {"organization": "shop", "labels": ("docker", "gpu"), **rest}
    return GiteaSource(url=pages.url, token_env="GITEA_TOKEN", **given)


def serve(pages: servers.Pages, path: str, *jobs: tuple[str, tuple[str, ...]], most: int = 50) -> None:
    """Answer as `ListJobs` of Gitea's routers/api/v1/shared/action.go does, with at most so many entries a page."""
    entries = [
        {"id": index, "name": "build", "status": status, "labels": list(labels), "created_at": "2026-11-28T10:00:00Z"}
        for index, (status, labels) in enumerate(jobs)
    ]

    def answer(handler: Any) -> None:
        query = parse_qs(urlsplit(handler.path).query)
        found = [entry for entry in entries if entry["status"] in query["status"]]
        size = min(most, int(query["limit"][0]))
        first = (int(query["page"][0]) - 1) * size
        body = checked("gitea", {"jobs": found[first : first + size], "total_count": len(found)}).encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    pages.pages[path] = answer


JOBS = (
    ("queued", ("docker",)),
    ("queued", ("docker", "gpu")),
    ("in_progress", ("docker",)),
    ("queued", ("arm",)),
    ("waiting", ("docker",)),
    ("queued", ()),
)


def test_jobs_that_wait_and_jobs_that_run_on_our_runners(pages: servers.Pages) -> None:
    serve(pages, ORGANIZATION, *JOBS)
    assert number(source(pages), GITEA_TOKEN="one") == 3
    assert number(source(pages, jobs="queued"), GITEA_TOKEN="one") == 2
    assert number(source(pages, jobs="running"), GITEA_TOKEN="one") == 1
    path, headers = pages.seen[0]
    assert path == f"{ORGANIZATION}?status=queued&status=in_progress&page=1&limit=50"
    assert headers["Authorization"] == "token one"


@pytest.mark.parametrize(
    ("scope", "path"),
    [
        ({"organization": None, "repository": "shop/web"}, "/api/v1/repos/shop/web/actions/jobs"),
        ({"organization": None}, "/api/v1/admin/actions/jobs"),
    ],
)
def test_a_repository_or_the_instance(pages: servers.Pages, scope: dict[str, str | None], path: str) -> None:
    serve(pages, path, *JOBS)
    assert number(source(pages, **scope), GITEA_TOKEN="one") == 3


def test_lists_of_several_pages_are_read_whole(pages: servers.Pages) -> None:
    serve(pages, ORGANIZATION, *[("queued", ("docker",))] * 7, most=3)
    assert number(source(pages), GITEA_TOKEN="one") == 7
    serve(pages, ORGANIZATION, *[("queued", ("docker",))] * 41, most=1)
    assert refusal(source(pages), 30, GITEA_TOKEN="one") == "Gitea lists more than 40 unfinished jobs"
    serve(pages, ORGANIZATION)
    assert number(source(pages), GITEA_TOKEN="one") == 0


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, "{}", "Gitea does not show the jobs (HTTP 401): look at the token"),
        (404, "{}", "Gitea does not show the jobs (HTTP 404): the name is wrong, or it is older than 1.25"),
        (502, "{}", "HTTP 502"),
        (200, "<html>", "the answer is not one of Gitea's API: look at `url`"),
        (200, "[]", "the answer is not one of Gitea's API: look at `url`"),
        (200, '{"jobs": []}', "the answer is not one of Gitea's API: look at `url`"),
    ],
)
def test_what_gitea_refuses(pages: servers.Pages, status: int, body: str, words: str) -> None:
    pages.pages[ORGANIZATION] = (status, {}, body)
    assert refusal(source(pages), GITEA_TOKEN="s3cret") == words
