"""What is asked of a stack, as every machine with its backend sees it: pauses, repeats, and protection meanwhile."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.e2e.conftest import Make
from tests.support.project import HETZNER, Project, finish, wait_until

FOLLOWING = {
    "metrics": {"jobs": {"command": {"run": ["echo", "30"]}}},
    "rules": [{"backlog": {"metric": "jobs", "per_server": 10}}],
}


@pytest.fixture
def project(make_served: Make) -> Project:
    """A project whose cloud and backend another machine can reach too."""
    return make_served(HETZNER)


@pytest.fixture
def elsewhere(tmp_path: Path) -> tuple[str, str]:
    """The option of a machine with the same backend and records of its own."""
    return ("--state-dir", str(tmp_path / "elsewhere"))


def started(project: Project) -> int:
    """How many runs have begun."""
    return sum(event["event"] == "run.started" for event in project.events)


@pytest.mark.acceptance("T13")
def test_a_watch_elsewhere_stays_away_after_destroy(project: Project, elsewhere: tuple[str, str]) -> None:
    project.describe(groups={"worker": {"count": 1, "max": 5, "autoscale": FOLLOWING}})
    project.ensure("1")
    tick = ("autoscale", "--yes", "-o", "json", *elsewhere)
    assert project.run(*tick).document["decisions"]["worker"]["to"] == 3
    project.run("destroy", "--yes")
    assert "autoscaling is paused until `scaler resume` by `scaler destroy`" in project.run("status").stdout
    before = len(project.changes)
    paused = project.run(*tick).document
    assert (paused["pause"]["by"], paused["result"], paused["decisions"]["worker"]["to"]) == ("destroy", None, 0)
    assert "autoscaling is paused" in project.run("why", "demo-worker-1").stdout
    assert (project.machines, len(project.changes)) == ({}, before)
    assert project.run("resume", "-o", "json", *elsewhere).document["pause"] is None
    resumed = project.run(*tick).document
    assert (resumed["pause"], resumed["decisions"]["worker"]["to"]) == (None, 0)
    assert "kept for" in resumed["decisions"]["worker"]["reason"]
    project.run("pause", "--for", "1h", "--reason", "a migration")
    assert "a migration" in project.run("status", "--refresh", *elsewhere).stdout
    project.ensure("1")
    assert project.run(*tick).document["pause"]["reason"] == "a migration"
    events = [event["event"] for event in project.events if event["event"].startswith("autoscale.")]
    assert events == ["autoscale.paused", "autoscale.resumed", "autoscale.paused"]


@pytest.mark.acceptance("S13")
def test_a_replace_that_is_interrupted_again_and_again_ends_at_its_count(project: Project) -> None:
    """W16."""
    project.ensure("2")
    first = project.machines
    for runs in (2, 3, 4):
        running = project.start("replace", "demo-worker-1", "--yes")
        wait_until(lambda: started(project) == runs and len(project.creates) == 3, "the run")  # noqa: B023
        running.send_signal(signal.SIGTERM)
        assert finish(running).code == 143
    ran = project.run("replace", "demo-worker-1", "--yes", "-o", "json")
    assert "has not finished, and this goes on with it" in ran.stderr
    assert (len(project.machines), len(project.creates), project.state["wanted"]) == (2, 3, {"worker": 2})
    assert first["demo-worker-1"] not in project.machines.values()
    assert project.state["orders"]["operations"] == []


def test_protection_from_elsewhere_wins_over_a_drain(project: Project, elsewhere: tuple[str, str]) -> None:
    """W17."""
    let = project.folder / "go-on"
    drain = ["sh", "-c", f"touch {project.folder}/draining; while [ ! -e {let} ]; do sleep 0.1; done"]
    project.describe(groups={"worker": {"count": 3, "stop": {"drain": drain}}})
    project.ensure("3")
    before = project.machines
    running = project.start("ensure", "2", "--yes", "-o", "json")
    wait_until((project.folder / "draining").exists, "the drain")
    project.run("protect", "demo-worker-3", *elsewhere)
    let.touch()
    ran = finish(running)
    # The run says that the server which it had chosen stays; another goes in its place.
    assert (ran.code, "demo-worker-3: it was protected meanwhile" in ran.stderr) == (0, True), ran.stderr
    left = project.agreed()
    assert (len(left), left.get("demo-worker-3")) == (2, before["demo-worker-3"])
    assert project.records["demo-worker-3"]["protected"]

    # Where no other may go, the run says so. One that can be taken back is.
    resume = ["sh", "-c", f"echo $0 >> {project.folder}/resumed", "{name}"]
    project.describe(groups={"worker": {"count": 2, "stop": {"drain": drain, "resume": resume}}})
    let.unlink()
    project.ensure("1", "--no-wait", code=4)
    (draining,) = [name for name, server in project.records.items() if server["status"] == "stopping"]
    project.run("protect", draining, *elsewhere)
    ran = project.ensure("1", code=1)
    assert "protected servers are in the way" in ran.stderr
    assert (project.folder / "resumed").read_text(encoding="utf-8").split() == [draining]
    assert project.agreed() == left
    let.touch()
