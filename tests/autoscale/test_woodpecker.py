"""The woodpecker source against answers that are valid by Woodpecker's published schema."""

from __future__ import annotations

from typing import Any

import pytest

from scaler.model.autoscaling import WoodpeckerSource
from tests.autoscale.reading import number, refusal
from tests.autoscale.vendors import checked
from tests.support import servers

QUEUE = "/api/queue/info"


def source(pages: servers.Pages, **rest: Any) -> WoodpeckerSource:
    return WoodpeckerSource(url=pages.url, token_env="WOODPECKER_TOKEN", **rest)


def task(**labels: str) -> dict[str, Any]:
    own = {"platform": "linux/amd64", "repo": "woodpecker-ci/woodpecker", "empty": "", **labels}
    return {
        "id": "4696",
        "name": "build",
        "agent_id": 0,
        "labels": own,
        "dependencies": [],
        "dep_status": {},
        "run_on": None,
    }


def queue(
    pending: list[Any] | None, running: list[Any] | None = None, *, paused: bool = False
) -> tuple[int, dict[str, str], str]:
    stats = {"worker_count": 3, "pending_count": len(pending or ()), "waiting_on_deps_count": 1, "running_count": 0}
    lists = {"pending": pending, "waiting_on_deps": [task()], "running": running}
    return 200, {}, checked("woodpecker", {**lists, "stats": stats, "paused": paused})


def test_workflows_that_wait_and_workflows_that_run(pages: servers.Pages) -> None:
    pages.pages[QUEUE] = queue([task(), task()], [task()])
    assert number(source(pages), WOODPECKER_TOKEN="one") == 3, "without the one that waits for another"
    assert number(source(pages, jobs="queued"), WOODPECKER_TOKEN="one") == 2
    assert number(source(pages, jobs="running"), WOODPECKER_TOKEN="one") == 1
    assert pages.seen[0][1]["Authorization"] == "Bearer one"


def test_what_waits_in_a_paused_queue_does_not_count(pages: servers.Pages) -> None:
    pages.pages[QUEUE] = queue([task(), task()], [task()], paused=True)
    assert number(source(pages), WOODPECKER_TOKEN="one") == 1
    assert number(source(pages, jobs="queued"), WOODPECKER_TOKEN="one") == 0


@pytest.mark.parametrize(
    ("labels", "count"),
    [
        ({}, 1),
        ({"gpu": "yes"}, 2),
        ({"gpu": "*"}, 3),
        ({"gpu": "no"}, 2),
        ({"platform": "linux/arm64"}, 0),
        ({"platform": "linux/amd64", "gpu": "*"}, 3),
    ],
)
def test_workflows_for_other_agents_do_not_count(pages: servers.Pages, labels: dict[str, str], count: int) -> None:
    pages.pages[QUEUE] = queue([task(), task(gpu="yes"), task(gpu="no")])
    assert number(source(pages, labels=labels), WOODPECKER_TOKEN="one") == count


def test_an_empty_queue_is_null(pages: servers.Pages) -> None:
    pages.pages[QUEUE] = queue(None)
    assert number(source(pages), WOODPECKER_TOKEN="one") == 0


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, "", "Woodpecker does not show its queue (HTTP 401): the token must be an admin's"),
        (403, "", "Woodpecker does not show its queue (HTTP 403): the token must be an admin's"),
        (502, "", "HTTP 502"),
        (200, "<html>", "the answer is not one of Woodpecker's API: look at `url`"),
        (200, "[]", "the answer is not one of Woodpecker's API: look at `url`"),
    ],
)
def test_what_woodpecker_refuses(pages: servers.Pages, status: int, body: str, words: str) -> None:
    pages.pages[QUEUE] = (status, {}, body)
    assert refusal(source(pages), WOODPECKER_TOKEN="s3cret") == words
