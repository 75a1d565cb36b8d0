"""The gitlab source against jobs as GitLab documents them (doc/api/jobs.md), valid by its published schema."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from scaler.model.autoscaling import GitlabSource
from tests.autoscale.reading import number, refusal
from tests.autoscale.vendors import PUBLISHED, checked
from tests.support import servers


def source(pages: servers.Pages, **rest: Any) -> GitlabSource:
    given = {"projects": ("shop/web",), "tags": ("docker", "gpu"), **rest}
    return GitlabSource(url=pages.url, token_env="GITLAB_TOKEN", **given)


def job(status: str, *tags: str) -> dict[str, Any]:
    return {**PUBLISHED["gitlab"]["job"], "status": status, "tag_list": list(tags)}


def serve(pages: servers.Pages, project: str, jobs: list[dict[str, Any]], size: int = 100) -> None:
    """Answer as GitLab does: only the statuses that are asked for, in pages."""

    def answer(handler: Any) -> None:
        query = parse_qs(urlsplit(handler.path).query)
        found = [one for one in jobs if one["status"] in query["scope[]"]]
        first = (int(query.get("page", ["1"])[0]) - 1) * size
        handler.send_response(200)
        if first + size < len(found):
            path = handler.path.partition("&page=")[0]
            following = f"{pages.url}{path}&page={first // size + 2}"
            handler.send_header("Link", f'<{following}>; rel="next", <{pages.url}{path}&page=1>; rel="first"')
        body = checked("gitlab", found[first : first + size]).encode()
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    pages.pages[f"/api/v4/projects/{project.replace('/', '%2F')}/jobs"] = answer


JOBS = [
    job("pending", "docker"),
    job("pending", "docker", "gpu"),
    job("running", "docker"),
    job("pending", "windows"),
    job("pending"),
    job("success", "docker"),
]


def test_jobs_that_wait_and_jobs_that_run_on_our_runners(pages: servers.Pages) -> None:
    serve(pages, "shop/web", JOBS)
    assert number(source(pages), GITLAB_TOKEN="one") == 3
    assert number(source(pages, jobs="queued"), GITLAB_TOKEN="one") == 2
    assert number(source(pages, jobs="running"), GITLAB_TOKEN="one") == 1
    assert number(source(pages, untagged=True), GITLAB_TOKEN="one") == 4
    assert number(source(pages, tags=(), untagged=True), GITLAB_TOKEN="one") == 1
    assert pages.seen[0][1]["PRIVATE-TOKEN"] == "one"


def test_all_projects_of_a_group(pages: servers.Pages) -> None:
    projects = [
        {"id": 1, "path_with_namespace": "shop/web", "jobs_enabled": True, "builds_access_level": "enabled"},
        {"id": 2, "path_with_namespace": "shop/team/api"},
        {"id": 3, "path_with_namespace": "shop/docs", "jobs_enabled": False, "builds_access_level": "disabled"},
    ]
    pages.pages["/api/v4/groups/shop/projects"] = (200, {}, json.dumps(projects))
    serve(pages, "shop/web", JOBS)
    serve(pages, "shop/team/api", JOBS)
    assert number(source(pages, projects=(), group="shop"), GITLAB_TOKEN="one") == 6
    assert "include_subgroups=true&with_shared=false&archived=false" in pages.seen[0][0]


def test_lists_of_several_pages_are_read_whole(pages: servers.Pages) -> None:
    serve(pages, "shop/web", [job("pending", "docker")] * 7, size=2)
    assert number(source(pages), GITLAB_TOKEN="one") == 7
    serve(pages, "shop/web", [job("pending", "docker")] * 21, size=1)
    words = "GitLab lists more than 2000 entries of /projects/shop%2Fweb/jobs"
    assert refusal(source(pages), 30, GITLAB_TOKEN="one") == words


@pytest.mark.parametrize(
    ("status", "headers", "body", "words"),
    [
        (401, {}, "", "GitLab refuses the token (HTTP 401)"),
        (
            404,
            {},
            "",
            "GitLab does not show /projects/shop%2Fweb/jobs: the name is wrong, or the token may not read it",
        ),
        (429, {"Retry-After": "60"}, "", "GitLab's rate limit is reached: it asks to wait for 60s"),
        (502, {}, "", "HTTP 502 of /projects/shop%2Fweb/jobs"),
        (200, {}, "<html>", "the answer is not one of GitLab's API: look at `url`"),
        (200, {"Link": '<http://169.254.169.254/x>; rel="next"'}, "[]", "the next page is of another API"),
    ],
)
def test_what_gitlab_refuses(pages: servers.Pages, status: int, headers: dict[str, str], body: str, words: str) -> None:
    pages.pages["/api/v4/projects/shop%2Fweb/jobs"] = (status, headers, body)
    assert refusal(source(pages), GITLAB_TOKEN="s3cret") == words
