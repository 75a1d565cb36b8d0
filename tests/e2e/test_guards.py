"""What a run refuses before it changes anything, and where it goes when there is no capacity, from the command line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.project import DIGITALOCEAN, HETZNER, Project, Vendor

TYPES = {HETZNER.name: ["cx23", "cx33"], DIGITALOCEAN.name: ["s-1vcpu-1gb", "s-1vcpu-2gb"]}
LOCATIONS = {HETZNER.name: ["fsn1", "nbg1"], DIGITALOCEAN.name: ["fra1", "ams3"]}


def matrix(project: Project) -> list[tuple[str, str]]:
    """Two types at two locations, as the spec then has them."""
    types, locations = TYPES[project.vendor.name], LOCATIONS[project.vendor.name]
    image = {"image": "ubuntu-24.04" if project.vendor is HETZNER else "ubuntu-24-04-x64"}
    project.describe(groups={"worker": {"type": types, "location": locations, **image}})
    return [(kind, location) for kind in types for location in locations]


def places(project: Project) -> set[tuple[str, str]]:
    """Type and location of every server of the last run's records."""
    return {(server["type"], server["location"]) for server in project.state["servers"]}


def test_the_first_two_pairs_are_sold_out_and_the_third_gives_the_count(project: Project) -> None:
    pairs = matrix(project)
    for kind, location in pairs[:2]:
        project.world.set_capacity(project.vendor.name, kind, location, 0)
    previewed = project.run("preview", "3", "-o", "json").document
    assert previewed["groups"]["worker"]["tries"] == [f"{kind} in {location}" for kind, location in pairs[2:]]
    ran = project.ensure("3")
    assert len(project.agreed()) == 3
    assert places(project) == {pairs[2]}
    assert {(step["type"], step["location"]) for step in ran.document["steps"]} == {pairs[2]}
    assert len(project.asked_for) == 3


def test_capacity_that_ends_on_the_way_costs_a_failed_request_and_is_remembered(hetzner: Project) -> None:
    pairs = matrix(hetzner)
    hetzner.fault("respond", "POST", status=412, code="resource_unavailable")
    hetzner.ensure("3")
    assert places(hetzner) == {pairs[1]}
    assert len(hetzner.creates) == 4
    hetzner.ensure("4")
    assert places(hetzner) == {pairs[1]}
    assert len(hetzner.creates) == 5


@pytest.mark.one_cloud
def test_too_many_too_dear_too_much_at_once_and_nothing_at_all_are_refused(project: Project) -> None:
    price = 5.49 + 0.50 if project.vendor is HETZNER else 6.0
    project.ensure("2")
    two = project.agreed()
    project.world.clear_log()
    project.describe(budget={"per_month": 3 * price + 0.01})
    refusals = [
        (("11",), "above_limit", "1 above its limit of 10"),
        (("4",), "above_budget", f"{price - 0.01:.2f} above its budget"),
        (("3", "--max-change", "0"), "max_change", "1 too many"),
        (("0",), "to_zero", "2 now, 0 wanted"),
    ]
    for arguments, code, words in refusals:
        for command in (("preview",), ("ensure", "--yes")):
            error = project.run(*command, *arguments, "-o", "json", code=3).error
            assert (error["code"], words in error["message"]) == (code, True), error
            assert error["fix"]
    assert project.changes == []
    assert project.agreed() == two
    project.ensure("3", "--max-change", "1")
    project.ensure("0", "--allow-zero")
    assert project.agreed() == {}


def test_more_than_the_account_allows_is_refused_before_anything_is_created(
    make_project: Callable[[Vendor], Project],
) -> None:
    project = make_project(DIGITALOCEAN)
    project.describe(limit=100)
    project.world.set_quota("digitalocean", droplets=25)
    for command in (("preview",), ("ensure", "--yes")):
        error = project.run(*command, "30", "-o", "json", code=3).error
        assert error["code"] == "quota"
        assert "5 too many: the account allows 25" in error["message"]
    assert project.changes == []
