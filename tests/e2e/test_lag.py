"""What a cloud denies for some seconds: servers that it accepted a moment ago, and servers that ran for an hour."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from tests.support.project import Project, finish, wait_until


def deny(project: Project, names: Sequence[str]) -> None:
    """From now on, lists miss these servers, and every address answers 404."""
    project.fault("list_misses", "GET", names=names, times=None)
    code = {"hetzner": "not_found", "digitalocean": "not_found"}[project.vendor.name]
    project.fault("respond", "GET", one=True, status=404, code=code, message="not found", times=None)


@pytest.mark.parametrize("hidden_s", [3, 8])
def test_w14_what_was_accepted_is_there_though_the_cloud_denies_it(project: Project, hidden_s: int) -> None:
    project.describe(limit=5)
    names = [f"demo-worker-{number}" for number in range(1, 4)]
    deny(project, names)
    running = project.start("ensure", "3", "--yes", "-o", "json")
    wait_until(lambda: len(project.world.servers(project.vendor.name)) == 3, "three creates")
    time.sleep(hidden_s)
    project.world.clear_faults()
    ran = finish(running)
    assert ran.code == 0, ran.stderr
    assert sorted(project.agreed()) == sorted(project.asked_for) == names
    assert len(project.world.servers(project.vendor.name)) == 3


def test_w14_what_is_denied_for_longer_than_a_minute_is_not_made_again_in_that_run(project: Project) -> None:
    """The run waits for it until its time is up; the next one goes on, and makes none twice either."""
    project.describe(limit=5)
    names = ["demo-worker-1", "demo-worker-2"]
    deny(project, names)
    first = project.run("ensure", "2", "--yes", "--timeout", "6s", "-o", "json", code=4)
    assert first.named("starting") == set(names)
    # After a minute their absence counts: most of the stack is missing then.
    again = finish(project.start("ensure", "2", "--yes", "--timeout", "3s", "-o", "json"))
    assert again.code in (3, 4), again.stderr
    project.world.clear_faults()
    project.ensure("2")
    assert sorted(project.agreed()) == sorted(project.asked_for) == names
    assert len(project.world.servers(project.vendor.name)) == 2


@pytest.mark.acceptance("T04")
def test_w6_a_fleet_that_the_cloud_denies_is_not_made_again(project: Project) -> None:
    """For longer than a run looks for it: refused. For some seconds: found again. Nothing is made or lost."""
    project.describe(limit=20)
    project.ensure("6")
    six = project.agreed()
    project.world.clear_log()
    before = project.state_path.read_bytes()
    deny(project, sorted(six))
    ran = project.ensure("6", code=3)
    assert (ran.error["code"], "6 of 6 servers are missing" in ran.error["message"]) == ("mass_loss", True)
    assert project.state_path.read_bytes() == before

    seen = len(project.lists)
    running = project.start("ensure", "6", "--yes")
    wait_until(lambda: len(project.lists) > seen, "a list")
    time.sleep(3)
    project.world.clear_faults()
    ran = finish(running)
    assert (ran.code, "6 of 6 servers are missing: looking again" in ran.stderr) == (0, True), ran.stderr
    assert project.changes == []
    assert project.agreed() == six
