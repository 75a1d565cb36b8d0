"""Servers of others that have the names which the stack would give, from the command line."""

from __future__ import annotations

import pytest

from scaler.simulator import SimulatedWorld
from scaler.simulator.things import Thing
from tests.support.project import Project, finish, wait_until


def add_others(world: SimulatedWorld, project: Project, count: int) -> list[Thing]:
    return [world.add_server(project.vendor.name, f"demo-worker-{number}") for number in range(1, count + 1)]


@pytest.mark.one_cloud
def test_w20_forty_servers_of_others_have_the_names(project: Project) -> None:
    """At Hetzner names are unique: others are given. At DigitalOcean they are not: the same ones are given."""
    others = {thing.id for thing in add_others(project.world, project, 40)}
    names = {"hetzner": ["demo-worker-41", "demo-worker-42", "demo-worker-43"]}
    wanted = names.get(project.vendor.name, ["demo-worker-1", "demo-worker-2", "demo-worker-3"])
    previewed = project.run("preview", "3", "-o", "json").steps
    assert sorted(server for _, server, _ in previewed) == wanted

    project.world.clear_log()
    project.ensure("3")
    assert sorted(project.agreed()) == wanted
    assert sorted(project.asked_for) == wanted
    assert not [request for request in project.creates if request.status not in (201, 202)]

    project.run("destroy", "--yes")
    assert {thing.id for thing in project.world.servers(project.vendor.name)} == others


def test_w20_names_that_were_taken_since_they_were_read(hetzner: Project) -> None:
    """Somebody creates forty servers between the plan and its creates: one create is refused, and no other is sent."""
    hetzner.ensure("0", "--allow-zero")
    release = hetzner.hold_engine("up")
    running = hetzner.start("ensure", "3", "--yes", "-o", "json")
    wait_until(lambda: any(operation == "up" for _, operation in hetzner.engine_runs), "an engine that begins")
    others = {thing.id for thing in add_others(hetzner.world, hetzner, 40)}
    release()
    ran = finish(running)
    assert ran.code == 0, ran.stderr
    assert sorted(hetzner.agreed()) == ["demo-worker-41", "demo-worker-42", "demo-worker-43"]
    assert [request.status for request in hetzner.creates].count(409) == 1
    assert others < {thing.id for thing in hetzner.world.servers("hetzner")}
