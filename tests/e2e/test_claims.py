"""Whose servers these are: two folders with the same names, a tag that is deleted, a claim by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from scaler.model.ownership import ID
from tests.support.project import DIGITALOCEAN, HETZNER, TOKEN, Project


def ids(project: Project) -> set[str]:
    """The ids that the servers carry."""
    return {project.vendor.labels_of(thing).get(ID, "") for thing in project.world.servers(project.vendor.name)}


def own_id(project: Project) -> str:
    """The stack's id: state file and stack must say the same."""
    recorded = project.state["identity"]["id"]
    assert project.checkpoint.outputs["scaler"]["identity"]["id"] == recorded
    assert isinstance(recorded, str)
    return recorded


@pytest.mark.acceptance("T03")
@pytest.mark.one_cloud
def test_two_folders_with_the_same_names(served: Project, tmp_path: Path, engine: Path, cache: Path) -> None:
    first, second = served, Project(tmp_path / "second", served.vendor, engine, cache, served.served)
    first.ensure("2")
    ours = first.agreed()
    assert ids(first) == {own_id(first)}
    # The id was in the create requests: nothing else that changes something was sent.
    assert {request.method for request in first.changes} == {"POST"}
    assert {request.path for request in first.changes} == {first.vendor.collection}
    # One more engine process for a stack's first run: after `stack init` one that saves the id.
    assert [name for _, name in first.engine_runs] == ["stack", "refresh", "up", "refresh"]

    asked = len(first.changes)
    for command in (("ensure", "2", "--yes"), ("preview", "2"), ("status", "--refresh")):
        refused = second.run(*command, "-o", "json", code=3).error
        assert refused["code"] == "unclaimed_servers"
        for name, number in ours.items():
            assert f"{name} ({number}), of the stack with the id {own_id(first)}, " in refused["why"]
    assert not second.state_path.exists()
    left = second.run("destroy", "--yes")
    assert all(f"left alone: {name}" in left.stderr for name in ours)
    assert (len(first.changes), first.machines) == (asked, ours)

    second.run("ensure", "2", "--adopt", "--yes")
    assert second.agreed() == ours
    assert ids(second) == {own_id(second)}
    assert own_id(second) != own_id(first)
    assert second.ensure("2").document["outcome"] == "unchanged"

    asked = len(first.changes)
    for command in (("ensure", "3", "--yes"), ("refresh", "-q"), ("reboot", "--yes")):
        assert first.run(*command, "-o", "json", code=3).error["code"] == "unclaimed_servers"
    assert len(first.changes) == asked
    assert {event["event"] for event in first.events} >= {"identity.refused"}


def test_a_claim_by_name(make_served: object, tmp_path: Path, engine: Path, cache: Path) -> None:
    first: Project = make_served(HETZNER)  # type: ignore[operator]
    second = Project(tmp_path / "second", HETZNER, engine, cache, first.served)
    first.ensure("2")
    claimed = second.run("adopt", "demo-worker-2", "--yes", "-o", "json")
    assert [step[:2] for step in claimed.steps] == [("adopt", "demo-worker-2")]
    assert set(second.records) == {"demo-worker-2"}
    labels = {thing.name: HETZNER.labels_of(thing)[ID] for thing in first.world.servers("hetzner")}
    assert labels == {"demo-worker-1": own_id(first), "demo-worker-2": own_id(second)}


def test_tags_that_are_deleted_in_the_console_disown_nobody(make_served: object) -> None:
    project: Project = make_served(DIGITALOCEAN)  # type: ignore[operator]
    assert project.served
    project.ensure("2")
    before, stack_id = project.agreed(), own_id(project)
    deleted = {"scaler-stack:demo", f"{ID}:{stack_id}"}
    for tag in deleted:
        url = f"{DIGITALOCEAN.endpoint_of(project.served)}/v2/tags/{tag}"
        assert requests.delete(url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10).status_code == 204
    created = len(project.creates)
    ran = project.ensure("2")
    assert {step[0] for step in ran.steps} == {"update"}
    assert project.agreed() == before
    assert (len(project.creates), ids(project)) == (created, {stack_id})
    assert all(deleted <= set(thing.body["tags"]) for thing in project.world.servers("digitalocean"))
    assert project.ensure("2").document["outcome"] == "unchanged"
