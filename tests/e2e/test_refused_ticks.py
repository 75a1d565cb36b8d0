"""Ticks in a world that is not the stack's: they hold, and say so once, one by one and in a watch."""

from __future__ import annotations

import signal

import pytest

from scaler.model.ownership import Owner
from tests.support.project import Project, finish, wait_until

FOLLOWING = {
    "metrics": {"jobs": {"command": {"run": ["echo", "30"]}}},
    "rules": [{"backlog": {"metric": "jobs", "per_server": 10}}],
}


def identities(project: Project) -> list[tuple[str, str]]:
    """Each event about the stack's identity, with the code of a refusal."""
    found = [event for event in project.events if event["event"].startswith("identity.")]
    return [(event["event"], (event.get("reason") or "").partition(":")[0]) for event in found]


@pytest.mark.acceptance("T01")
@pytest.mark.one_cloud
def test_refused_ticks_hold_and_say_so_once(project: Project) -> None:
    vendor, world = project.vendor, project.world
    project.describe(groups={"worker": {"count": 2, "max": 5, "autoscale": FOLLOWING}})
    project.ensure("2")
    two = project.machines
    stranger = world.add_server(
        vendor.name, "others", **vendor.owned(Owner("scaler", "demo").group_labels("worker", ""))
    )
    world.clear_log()
    for command in (("autoscale", "--yes"), ("autoscale", "--yes"), ("ensure", "5", "--yes"), ("autoscale", "--yes")):
        assert project.run(*command, "-o", "json", code=3).error["code"] == "unclaimed_servers"
    assert identities(project) == [("identity.refused", "unclaimed_servers")]

    watch = project.start("autoscale", "--watch", "1s")
    seen = len(project.lists)
    wait_until(lambda: len(project.lists) > seen + 2, "three ticks")
    assert project.changes == []
    assert project.records.keys() == two.keys()
    world.vanish(vendor.name, stranger.id)
    wait_until(lambda: len(project.machines) == 3, "a tick that acts")
    watch.send_signal(signal.SIGTERM)
    ran = finish(watch)
    assert ran.code == 0
    assert ran.stderr.count("Error:") == 1
    assert "all is well again" in ran.stderr
    assert identities(project) == [("identity.refused", "unclaimed_servers"), ("identity.recognised", "")]

    # Another refusal is another event.
    settings = project.folder / "Pulumi.yaml"
    settings.write_text(settings.read_text(encoding="utf-8").replace("name: scaler", "name: moved"), encoding="utf-8")
    for _ in range(2):
        assert project.run("autoscale", "--yes", "-o", "json", code=3).error["code"] == "identity_moved"
    assert identities(project)[2:] == [("identity.refused", "identity_moved")]
