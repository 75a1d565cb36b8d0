"""`scaler snapshot`: made once, found by the spec, and the old ones go; at each cloud, with the real clients."""

from __future__ import annotations

import subprocess
import time

import pytest

from scaler.simulator.world import Thing
from tests.support.project import Project, wait_until

MAKE = {"hetzner": "/v1/servers/[0-9]+/actions/create_image$", "digitalocean": "/v2/droplets/[0-9]+/actions$"}

NAMES = ("demo-worker-1", "demo-worker-2")


def snapshots(project: Project) -> dict[str, Thing]:
    """The snapshots that were made of servers, by id."""
    found = project.world.things(project.vendor.name, "snapshot")
    return {str(thing.id): thing for thing in found if thing.body["source"]}


def labels_of(project: Project, snapshot: Thing) -> object:
    return snapshot.body["labels"] if project.vendor.name == "hetzner" else snapshot.body["tags"]


def told(project: Project) -> list[str]:
    return [event["event"] for event in project.events if event["event"].startswith("snapshot.")]


def test_the_spec_finds_it_and_the_old_ones_go(project: Project) -> None:
    project.ensure("1")
    planned = project.run("snapshot", "demo-worker-1", "--preview", "-o", "json").document
    assert (planned["outcome"], planned["snapshot"]["id"]) == ("planned", None)
    assert not snapshots(project)
    assert told(project) == []

    first = project.run("snapshot", "demo-worker-1", "--yes", "-o", "json").document
    assert first["outcome"] == "converged"
    ((number, made),) = snapshots(project).items()
    assert first["snapshot"]["id"] == number
    is_hetzner = project.vendor.name == "hetzner"
    assert labels_of(project, made) == ({"role": "worker"} if is_hetzner else ["role:worker"])
    assert told(project) == ["snapshot.creating", "snapshot.created"]
    assert project.state["orders"]["operations"] == []

    project.ensure("2")
    assert project.records["demo-worker-2"]["image"] == number
    project.run("snapshot", "demo-worker-1", "--yes")
    time.sleep(1.1)  # The newest of two of the same second is either.
    options = ("--label", "role=worker", "--keep", "1")
    planned = project.run("snapshot", "demo-worker-2", *options, "--preview", "-o", "json").document
    last = project.run("snapshot", "demo-worker-2", *options, "--yes", "-o", "json").document
    # The golden image and the first snapshot have servers; the second has none.
    assert [one["id"] for one in last["deleted"]] == [one for one in snapshots_before(last) if one not in (number,)]
    assert {one["id"]: one["reason"] for one in last["kept"]}[number] == "servers were made from it"
    assert set(snapshots(project)) == {number, last["snapshot"]["id"]}
    # When it was planned, new servers were made from what is the second newest now.
    assert {one["id"] for one in planned["kept"]} >= {one["id"] for one in last["kept"]}
    assert told(project)[-1] == "snapshot.deleted"


def snapshots_before(document: dict[str, list[dict[str, str]]]) -> list[str]:
    """The ids that the document says were deleted, in the order of their names, which have their time."""
    return [one["id"] for one in sorted(document["deleted"], key=lambda one: one["name"])]


def test_a_server_is_off_meanwhile_and_in_service_again(project: Project) -> None:
    project.ensure("2")
    made = project.run("snapshot", "demo-worker-1", "--power-off", "--yes", "-o", "json").document
    assert made["outcome"] == "converged"
    assert set(snapshots(project)) == {made["snapshot"]["id"]}
    assert set(project.agreed()) == set(NAMES)
    ours = [event["event"] for event in project.events if event["server"] == "demo-worker-1"]
    assert ours[-4:] == ["server.stopped", "snapshot.creating", "snapshot.created", "server.running"]


def test_a_lost_answer_makes_no_second_snapshot(project: Project) -> None:
    project.ensure("1")
    project.world.add_fault("accept_then_drop", method="POST", path=MAKE[project.vendor.name], times=1)
    made = project.run("snapshot", "demo-worker-1", "--yes", "-o", "json").document
    assert made["outcome"] == "converged"
    assert set(snapshots(project)) == {made["snapshot"]["id"]}


@pytest.mark.parametrize("power", [(), ("--power-off",)], ids=["on", "off"])
def test_a_killed_one_is_gone_on_with(served: Project, power: tuple[str, ...]) -> None:
    served.ensure("1")
    command = ("snapshot", "demo-worker-1", *power, "--yes", "-o", "json")
    path = MAKE[served.vendor.name]
    # At DigitalOcean, the request that switches it off goes to the same address.
    skip = int(bool(power) and served.vendor.name == "digitalocean")
    served.world.add_fault("accept_then_hang", method="POST", path=path, skip=skip, seconds=600)
    run = served.start(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: snapshots(served), "the snapshot")
    run.kill()
    run.communicate()
    served.world.clear_faults()
    assert [operation["command"] for operation in served.state["orders"]["operations"]] == [
        " ".join(command[: 2 + len(power)])
    ]
    # Others go on meanwhile, and forget nothing: they power the server on, too.
    served.ensure("1")
    went_on = served.run(*command)
    assert "going on with" in went_on.stderr
    assert set(snapshots(served)) == {went_on.document["snapshot"]["id"]}
    assert served.state["orders"]["operations"] == []
    assert set(served.agreed()) == {"demo-worker-1"}


def test_one_that_fails_leaves_nothing(project: Project) -> None:
    project.ensure("1")
    project.world.add_fault("action_error", method="POST", path=MAKE[project.vendor.name], times=1)
    failed = project.run("snapshot", "demo-worker-1", "--yes", "-o", "json", code=1).document
    assert (failed["outcome"], [each["code"] for each in failed["failures"]]) == ("failed", ["snapshot_failed"])
    assert not snapshots(project)
    assert told(project) == ["snapshot.creating", "snapshot.failed"]
    assert project.state["orders"]["operations"] == []
    assert project.run("snapshot", "demo-worker-1", "--yes", "-o", "json").document["outcome"] == "converged"


def test_one_that_takes_longer_is_gone_on_with(hetzner: Project) -> None:
    hetzner.ensure("1")
    hetzner.world.set_knobs("hetzner", snapshot_s_per_gb=3.0)
    command = ("snapshot", "demo-worker-1", "--yes", "-o", "json")
    late = hetzner.run(*command, "--timeout", "1s", code=4).document
    assert late["outcome"] == "unconfirmed"
    done = hetzner.run(*command).document
    assert (done["outcome"], done["snapshot"]) == ("converged", late["snapshot"])


def test_what_it_is_not_for(hetzner: Project) -> None:
    hetzner.ensure("1")
    assert hetzner.run("snapshot", "demo-worker-9", "--yes", "-o", "json", code=64).error["code"] == "usage"
    assert hetzner.run("snapshot", "demo-worker-1", "-o", "json", code=64).error["code"] == "consent_missing"
    assert "no label" in hetzner.run("snapshot", "demo-worker-1", "--label", "=x", "--yes", code=64).stderr
    hetzner.describe(groups={"worker": {"image": "ubuntu-24.04"}})
    unknown = hetzner.run("snapshot", "demo-worker-1", "--yes", "-o", "json", code=64).error
    assert "--label" in unknown["fix"]
    elsewhere = hetzner.run("snapshot", "demo-worker-1", "--label", "role=web", "--yes", code=0)
    assert not snapshots(hetzner)[elsewhere.stdout.split("(")[1].split(")")[0]].body["labels"].keys() - {"role"}
