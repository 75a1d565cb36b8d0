"""Droplets of a kind are asked for together: the same servers in few requests, whatever becomes of a request."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.project import DIGITALOCEAN, Project, finish

MOST = 6
"""Create requests for 25: the first server alone, 24 by tens, and two more for threads that come late."""


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    made = make_project(DIGITALOCEAN)
    made.describe(limit=30)
    return made


def test_25_servers_are_a_few_requests(project: Project) -> None:
    ran = project.ensure("25")
    assert len(project.agreed()) == 25
    assert sorted(project.asked_for) == sorted(project.machines)
    assert len(project.creates) == ran.document["requests"]["create"] <= MOST


@pytest.mark.acceptance("R10", "S08")
def test_what_the_account_still_has_room_for_is_made(project: Project) -> None:
    for number in range(20):
        project.world.add_server("digitalocean", f"other-{number}")
    project.world.set_quota("digitalocean", droplets=25)
    # A token that may not read the account: its quota is run into.
    project.world.add_fault("respond", method="GET", path="/v2/account$", times=None, status=403, code="forbidden")
    failed = project.ensure("12", code=1)
    assert len(project.machines) == 5
    assert failed.named("running") == set(project.machines)

    project.world.set_quota("digitalocean", droplets=100)
    project.state_path.with_name("demo.shortages.json").unlink()
    project.ensure("12")
    assert len(project.agreed()) == 12


@pytest.mark.acceptance("S05")
def test_the_answer_to_a_bundle_is_lost(project: Project) -> None:
    fault = project.fault("accept_then_drop", "POST", skip=1)
    project.ensure("12")
    assert project.world.fired(fault) == 1
    assert len(project.agreed()) == 12
    assert len(project.asked_for) == 12


@pytest.mark.acceptance("S05")
def test_a_bundle_is_lost_before_it_is_carried_out(project: Project) -> None:
    """Nobody can tell at once: the run may fail, and the next one makes what is missing."""
    fault = project.fault("drop_before", "POST", skip=1)
    assert finish(project.start("ensure", "12", "--yes")).code in (0, 1)
    assert len(project.machines) <= 12
    assert project.world.fired(fault) == 1
    project.ensure("12")
    assert len(project.agreed()) == 12
