"""Servers that are no longer as the spec says (R13), and the order in which servers go."""

from __future__ import annotations

import pytest

from tests.support.project import Project, wait_until

PROTECTED = ("demo-worker-9", "demo-worker-10")


@pytest.mark.acceptance("R13")
def test_a_changed_spec_shows_as_a_difference_and_changes_no_server(hetzner: Project) -> None:
    hetzner.ensure("2")
    before = hetzner.machines
    hetzner.describe(groups={"worker": {"ssh_keys": []}})
    shown = hetzner.run("preview", "2", "-o", "json").document
    assert shown["outdated"] == dict.fromkeys(before, "other user data or keys")
    assert shown["steps"] == []
    hetzner.ensure("2")
    assert hetzner.machines == before


@pytest.mark.one_cloud
def test_status_says_which_servers_are_outdated_and_why(project: Project) -> None:
    project.ensure("1")
    project.world.add_snapshot(project.vendor.name, "newer", labels={"role": "worker"}, disk=20)
    project.ensure("2")
    assert "is outdated" not in project.run("status").stdout
    old, new = (project.records[f"demo-worker-{number}"]["image"] for number in (1, 2))
    shown = {"demo-worker-1": f"image {old}, not {new}"}
    assert project.run("preview", "2", "-o", "json").document["outdated"] == shown
    project.run("status", "--refresh")
    assert f"demo-worker-1 is outdated: {shown['demo-worker-1']}" in project.run("status").stdout
    assert project.records["demo-worker-1"]["outdated"] == shown["demo-worker-1"]
    assert project.records["demo-worker-2"]["outdated"] is None


def test_of_ten_the_right_four_go(hetzner: Project) -> None:
    """Two are protected, one hangs, one is of an outdated image: six are wanted."""
    hetzner.ensure("1")
    hetzner.world.add_snapshot("hetzner", "newer", labels={"role": "worker"})
    hetzner.ensure("10")
    hetzner.run("protect", *PROTECTED)
    hetzner.describe(groups={"worker": {"start_within": "1s"}})
    hetzner.world.set_status("hetzner", hetzner.machine("demo-worker-5").id, "starting")

    def hangs() -> bool:
        hetzner.run("status", "--refresh")
        return bool(hetzner.records["demo-worker-5"]["status"] == "hanging")

    wait_until(hangs, "demo-worker-5 hangs")

    previewed = hetzner.run("preview", "6", "-o", "json").steps
    others = [name for name in hetzner.by_age if name not in ("demo-worker-1", "demo-worker-5", *PROTECTED)]
    going = ["demo-worker-5", "demo-worker-1", others[-1], others[-2]]
    assert [(action, name) for action, name, _ in previewed] == [("delete", name) for name in going]
    taken = hetzner.ensure("6")
    assert taken.steps == previewed
    assert taken.named("running") == {*others[:-2], *PROTECTED}
    assert set(hetzner.agreed()) == taken.named("running")
