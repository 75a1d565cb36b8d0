"""Servers that are no longer as the spec says (R13), and the order in which servers go."""

from __future__ import annotations

from e2e_project import Project, wait_until


def test_r13_a_changed_spec_shows_as_a_difference_and_changes_no_server(hetzner: Project) -> None:
    hetzner.ensure("2")
    before = hetzner.machines
    hetzner.describe(groups={"worker": {"ssh_keys": []}})
    shown = hetzner.run("preview", "2", "-o", "json").document
    assert shown["outdated"] == dict.fromkeys(before, "other user data or keys")
    assert shown["steps"] == []
    hetzner.ensure("2")
    assert hetzner.machines == before


def test_of_ten_the_right_four_go(hetzner: Project) -> None:
    """Two are protected, one hangs, one is of an outdated image: six are wanted."""
    hetzner.ensure("1")
    hetzner.world.add_snapshot("hetzner", "newer", labels={"role": "worker"})
    hetzner.ensure("10")
    hetzner.run("protect", "demo-worker-9", "demo-worker-10")
    hetzner.describe(groups={"worker": {"start_within": "1s"}})
    hetzner.world.set_status("hetzner", hetzner.machine("demo-worker-5").id, "unknown")

    def hangs() -> bool:
        hetzner.run("status", "--refresh")
        return hetzner.records["demo-worker-5"]["status"] == "hanging"

    wait_until(hangs, "demo-worker-5 hangs")

    previewed = hetzner.run("preview", "6", "-o", "json").steps
    assert [(action, name) for action, name, _ in previewed] == [
        ("delete", "demo-worker-5"),
        ("delete", "demo-worker-1"),
        ("delete", "demo-worker-8"),
        ("delete", "demo-worker-7"),
    ]
    taken = hetzner.ensure("6")
    assert taken.steps == previewed
    assert taken.named("running") == {f"demo-worker-{number}" for number in (2, 3, 4, 6, 9, 10)}
    assert set(hetzner.agreed()) == taken.named("running")
