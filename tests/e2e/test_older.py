"""What an older version left behind opens, and goes on as if nothing had happened."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from scaler.simulator import SimulatedWorld
from tests.support.project import Project, Vendor

OLDER = Path(__file__).parent / "older"


@pytest.fixture
def older(make_project: Callable[[Vendor], Project], vendor: Vendor) -> Project:
    """A project as the older version left it: two servers, with user data."""
    project, left = make_project(vendor), OLDER / vendor.name
    project.world.close()
    shutil.rmtree(project.state_dir)
    shutil.copytree(left / "state", project.state_dir)
    shutil.copy(left / "demo.yaml", project.spec_path)
    shutil.copy(left / "engine-settings.yaml", project.folder / "Pulumi.demo.yaml")
    with sqlite3.connect(project.state_dir / "embedded.sqlite") as world:
        world.executescript((left / "world.sql").read_text(encoding="utf-8"))
    world.close()
    project.world = SimulatedWorld(project.state_dir / "embedded.sqlite")
    project.world.set_profile("instant")
    return project


@pytest.mark.one_cloud
def test_the_state_of_an_older_version_goes_on(older: Project) -> None:
    before = {server["name"]: server["id"] for server in json.loads(older.state_path.read_text())["servers"]}
    assert len(before) == 2
    assert older.machines == before
    shown = older.run("status", "-o", "json").document
    assert {(server["id"], server["status"]) for server in shown["servers"]} == {
        (number, "running") for number in before.values()
    }
    assert {event["event"] for event in older.events} >= {"server.creating", "server.running"}

    # The same number: the servers get the stack's id, and nothing else; none is replaced.
    given = older.ensure("2")
    assert [step[:2] for step in given.steps] == [("update", "demo-worker-1"), ("update", "demo-worker-2")]
    stack_id = older.state["identity"]["id"]
    assert [older.vendor.labels_of(older.machine(name))["scaler-id"] for name in before] == [stack_id] * 2
    assert {request.method for request in older.changes} <= {"PUT", "POST"}
    asked = len(older.changes)
    older.run("refresh", "--detailed-exitcode")
    assert older.ensure("2").document["outcome"] == "unchanged"
    assert len(older.changes) == asked
    assert older.agreed() == before

    grown = older.ensure("3")
    assert grown.steps == [("create", "demo-worker-3", "worker wants 3, has 2")]
    after = older.agreed()
    assert {name: after[name] for name in before} == before
    # Its user data was saved as it is. What is made now is encrypted, and the difference is none to the engine.
    saved = {resource.name: resource.inputs["userData"] for resource in older.checkpoint.resources}
    assert saved["demo-worker-1"] == "#cloud-config\n# of an older version\n"
    assert "ciphertext" in saved["demo-worker-3"]
    assert older.ensure("3").document["outcome"] == "unchanged"

    told = [event["event"] for event in older.run("history", "-n", "100", "-o", "json").document["events"]]
    assert told.count("server.creating") == 3
    older.ensure("1")
    assert len(older.agreed()) == 1
    older.run("destroy", "--yes")
    assert older.agreed() == {}
