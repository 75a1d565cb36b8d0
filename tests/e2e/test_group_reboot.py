"""`scaler reboot --group`: a quarter of the group at a time, each ready again before the next."""

from __future__ import annotations

import signal
from collections import Counter

import pytest

from tests.e2e.test_commands_servers import reboots
from tests.support.project import Project, finish, wait_until

COMMAND = ("reboot", "--group", "worker", "--yes", "-o", "json")

EIGHT = {"worker": {"count": 8}}


def rebooted(project: Project) -> Counter[str]:
    """How often the cloud was asked to reboot each server, by its name."""
    return Counter({name: reboots(project, name) for name in project.machines})


def wait_for_reboots(project: Project, count: int) -> None:
    """Wait until so many servers were asked to reboot and the records say so; no more are while those are away."""
    wait_until(lambda: rebooted(project).total() == count, f"{count} reboots")
    wait_until(
        lambda: sum(record["status"] == "rebooting" for record in project.records.values()) == 2, "both in the records"
    )
    seen = len(project.lists)
    wait_until(lambda: len(project.lists) > seen + 2, "some looks")
    assert rebooted(project).total() == count


@pytest.mark.calm("how many reboots are under way is exact")
@pytest.mark.acceptance("P15")
@pytest.mark.one_cloud
def test_a_quarter_of_a_group_is_away_at_a_time(project: Project) -> None:
    project.describe(groups=EIGHT)
    project.ensure()
    eight = project.agreed()
    project.world.set_knobs(power_s=300)
    running = project.start(*COMMAND)
    for asked in (2, 4, 6, 8):
        wait_for_reboots(project, asked)
        project.world.advance(300)
    ran = finish(running)
    assert (ran.code, ran.document["outcome"]) == (0, "converged"), ran.stderr
    assert rebooted(project) == dict.fromkeys(eight, 1)
    assert project.agreed() == eight


@pytest.mark.calm("how many reboots are under way is exact")
@pytest.mark.acceptance("P15")
@pytest.mark.parametrize("command", [COMMAND, ("ensure", "--yes", "-o", "json")], ids=["reboot", "ensure"])
def test_a_killed_one_goes_on_and_reboots_none_twice(hetzner: Project, command: tuple[str, ...]) -> None:
    hetzner.describe(groups=EIGHT)
    hetzner.ensure()
    eight = hetzner.agreed()
    hetzner.world.set_knobs(power_s=300)
    killed = hetzner.start(*COMMAND)
    wait_for_reboots(hetzner, 2)
    hetzner.world.advance(300)
    wait_for_reboots(hetzner, 4)
    killed.send_signal(signal.SIGKILL)
    finish(killed)
    hetzner.world.advance(300)
    hetzner.world.set_knobs(power_s=0)
    ran = hetzner.run(*command)
    assert rebooted(hetzner) == dict.fromkeys(eight, 1), ran.stderr
    assert hetzner.agreed() == eight
    assert hetzner.state["orders"]["operations"] == []


@pytest.mark.calm("how many reboots are under way is exact")
def test_all_at_once_when_asked_for(hetzner: Project) -> None:
    hetzner.ensure("5")
    hetzner.world.set_knobs(power_s=300)
    hetzner.run(*COMMAND, "--at-once", "--no-wait", code=4)
    assert rebooted(hetzner).total() == 5
