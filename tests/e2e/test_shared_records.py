"""One memory per stack: runs on throw-away machines, which share nothing but the backend."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from scaler.autoscale.decide import decide
from scaler.autoscale.decision import History, Sample, Supply
from scaler.autoscale.describe import decision_document
from scaler.config.spec import load
from tests.support.backends import Backend, bucket, container, database
from tests.support.project import HETZNER, Project, Vendor

_RUNS = 20


@pytest.fixture(params=[database, bucket, container], ids=["postgresql", "s3", "azblob"])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    with request.param() as backend:
        yield backend


@pytest.fixture
def shared(make_served: Callable[[Vendor], Project], backend: Backend) -> Project:
    project = make_served(HETZNER)
    project.environ |= backend.environ
    policy = {
        "metrics": {"jobs": {"command": {"run": ["cat", "jobs"]}}},
        "rules": [{"backlog": {"metric": "jobs", "per_server": 10}}],
        "down": {"stabilise": "10s", "cooldown": "1s"},
    }
    worker = {"count": 1, "min": 1, "max": 6, "autoscale": policy}
    project.describe(backend=backend.url, groups={"worker": worker})
    return project


def test_twenty_machines_decide_as_one_watch_and_know_what_the_others_did(shared: Project, backend: Backend) -> None:
    made: list[dict[str, Any]] = []
    for run in range(_RUNS):
        (shared.folder / "jobs").write_text("38" if run < 4 else "12")
        arguments = ("autoscale", "--yes", "--wait", "-o", "json", "--state-dir", f"machine{run}")
        ran = shared.run(*arguments)
        assert "warning" not in ran.stderr
        made.append(ran.document["decisions"]["worker"])
        if made[-1]["to"] == 2 and made[-1]["from"] == 2:
            break
        time.sleep(0.2)
    # At once to four, as many runs at four as the window is long, then down to two and not a run before.
    assert [decision["to"] for decision in made[:4]] == [4] * 4
    assert made[-1]["to"] == 2
    assert len(shared.machines) == 2
    assert made == _as_one_watch(shared, made)
    # Each server was made once.
    assert sorted(shared.asked_for) == [f"demo-worker-{number}" for number in range(1, 5)]

    # Another machine, which never ran anything.
    elsewhere = ("--state-dir", "laptop", "-o", "json")
    status = shared.run("status", *elsewhere).document
    assert {server["name"] for server in status["servers"] if server["status"] == "running"} == set(shared.machines)
    assert not (shared.folder / "laptop" / "demo.json").exists()
    history = shared.run("history", "-n", "1000", *elsewhere).document["events"]
    decided = [event["decision"] for event in history if event["event"] == "autoscale.decided"]
    assert [(one["from"], one["to"]) for one in decided if one["from"] != one["to"]] == [(1, 4), (4, 2)]
    why = shared.run("why", "demo-worker-4", *elsewhere).document
    assert why["decision"]["event"] == "server.deleted"
    boots = shared.run("why", "demo-worker-1", *elsewhere).document
    assert boots["decision"] is not None


def _as_one_watch(project: Project, made: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What one process, which forgets nothing, decides on the same numbers at the same moments."""
    group = load(project.spec_path, "scaler").groups["worker"]
    history, decided = History(), []
    for one in made:
        read = one["metrics"]["jobs"]
        samples = {"jobs": Sample(read["value"], datetime.fromisoformat(read["at"]))}
        supply = Supply(one["from"], one["supply"], one["ready"])
        decision = decide(group, samples, supply, history, datetime.fromisoformat(one["at"]))
        history = decision.carried_out
        decided.append(decision_document(decision))
    return decided
