"""What people do in the vendor's console, and what the vendor does by itself: respected, from the command line."""

from __future__ import annotations

import pytest
import yaml

from tests.support.processes import HttpServer
from tests.support.project import Project


def protect_at_cloud(project: Project, name: str, *, on: bool = True) -> None:
    """Turn a server's delete protection on or off, as its owner does in the console."""
    machine = project.machine(name)
    machine.body["protected"] = on
    project.world.save(machine)


@pytest.mark.acceptance("T06")
def test_delete_protection_set_in_the_console(hetzner: Project) -> None:
    hetzner.describe(groups={"worker": {"stop": {"drain": ["./drain.sh", "{name}"], "shutdown_within": "60s"}}})
    drained = hetzner.folder / "drained"
    drain = hetzner.folder / "drain.sh"
    drain.write_text(f'#!/bin/sh\necho "$1" >> {drained}\n', encoding="utf-8")
    drain.chmod(0o755)
    hetzner.ensure("3")
    newest = hetzner.by_age[-1]
    protect_at_cloud(hetzner, newest)

    hetzner.world.clear_log()
    for command in ("replace", "stop"):
        refused = hetzner.run(command, newest, "--yes", "-o", "json", code=3).error
        assert (refused["code"], newest in refused["message"]) == ("protected", True)
        assert "delete protection" in refused["why"]
    assert hetzner.changes == []

    # Whoever set it, `status` says so, once a run has looked.
    hetzner.run("status", "--refresh")
    lines = {line.split()[0]: line for line in hetzner.run("status").stdout.splitlines() if line.startswith("demo-w")}
    assert {name for name, line in lines.items() if "at the cloud" in line} == {newest}

    hetzner.ensure("2")
    assert newest in hetzner.agreed()
    assert len(hetzner.agreed()) == 2
    assert newest not in drained.read_text(encoding="utf-8").split()

    refused = hetzner.ensure("0", "--allow-zero", code=3).error
    assert (refused["code"], newest in refused["why"]) == ("protected", True)
    refused = hetzner.run("destroy", "--yes", "-o", "json", code=3).error
    assert (refused["code"], newest in refused["message"]) == ("protected", True)
    assert len(hetzner.agreed()) == 2


@pytest.mark.acceptance("T07")
def test_group_labels_that_were_changed_and_labels_that_were_removed(project: Project) -> None:
    project.ensure("4")
    four = project.agreed()
    vendor, world = project.vendor, project.world
    unknown, emptied, stripped = (f"demo-worker-{number}" for number in range(1, 4))
    labels = {name: vendor.labels_of(project.machine(name)) for name in four}

    def relabel(name: str, changed: dict[str, str]) -> None:
        world.relabel(vendor.name, int(four[name]), **vendor.owned(changed))

    relabel(unknown, {**labels[unknown], "scaler-group": "debug"})
    relabel(emptied, {**labels[emptied], "scaler-group": ""})
    relabel(stripped, {key: value for key, value in labels[stripped].items() if key != "scaler-stack"})
    project.catch_up()

    # A refresh names what was changed, and changes no server.
    world.clear_log()
    drift = project.run("refresh", "--detailed-exitcode", "-o", "json", code=2).document["drift"]
    assert [name for name in (unknown, emptied) if any(name in line and "group label" in line for line in drift)]
    assert project.changes == []

    # Two are no supply and are left alone; the one whose tag or label is absent gets it back.
    ran = project.ensure("4")
    done = {(action, server) for action, server, _ in ran.steps}
    assert done == {("update", stripped), ("create", "demo-worker-5"), ("create", "demo-worker-6")}
    assert vendor.labels_of(project.machine(stripped)) == labels[stripped]
    assert project.ensure("4").document["outcome"] == "unchanged"
    project.ensure("0", "--allow-zero")
    assert project.machines == {name: four[name] for name in (unknown, emptied)}
    assert project.run("destroy", "--yes", "-o", "json", code=3).error["code"] == "set_aside"

    # With its label back a server is supply again.
    relabel(unknown, labels[unknown])
    relabel(emptied, labels[emptied])
    assert project.ensure("2").document["outcome"] in ("converged", "unchanged")
    assert project.agreed() == {name: four[name] for name in (unknown, emptied)}


def test_a_group_that_was_renamed_or_removed(hetzner: Project) -> None:
    hetzner.ensure("2")
    two = hetzner.agreed()
    hetzner.run("preview", "1", "--out", "plan.json")
    spec = yaml.safe_load(hetzner.spec_path.read_text(encoding="utf-8"))
    spec["groups"] = {"jobs": spec["groups"]["worker"]}
    hetzner.spec_path.write_text(yaml.safe_dump(spec), encoding="utf-8")

    assert "renamed: worker is not in the spec any more, and jobs looks" in hetzner.run("preview", "2").stdout
    hetzner.world.clear_log()
    for counts in (["0"], ["jobs=0"]):
        assert hetzner.ensure(*counts, code=3).error["code"] == "to_zero"
    for counts in (["2"], ["jobs=2"], []):
        assert hetzner.ensure(*counts, "--max-change", "3", code=3).error["code"] == "max_change"
    assert hetzner.run("replace", "demo-worker-1", "--yes", "-o", "json", code=3).error["code"] == "removed_group"
    assert hetzner.run("apply", "plan.json", "-o", "json", code=6).error["code"] == "plan_stale"
    protect_at_cloud(hetzner, "demo-worker-1")
    refused = hetzner.ensure("2", code=3).error
    assert (refused["code"], refused["message"].startswith("demo-worker-1 cannot be removed")) == ("protected", True)
    assert hetzner.changes == []
    assert hetzner.machines == two

    protect_at_cloud(hetzner, "demo-worker-1", on=False)
    hetzner.ensure("2")
    assert hetzner.agreed().keys() == {"demo-jobs-1", "demo-jobs-2"}


def test_a_server_that_the_vendor_works_on(project: Project) -> None:
    project.ensure("2")
    two = project.agreed()
    status = {"hetzner": "migrating", "digitalocean": "archive"}[project.vendor.name]
    project.world.clear_log()
    project.world.set_status(project.vendor.name, int(two["demo-worker-1"]), status)
    project.catch_up()
    for hours in range(1, 3):
        project.world.advance(3600.0 * hours)
        ran = project.ensure("2").document
        assert (ran["outcome"], ran["steps"]) == ("unchanged", [])
        assert [line for line in ran["drift"] if line.startswith(f"demo-worker-1 ({two['demo-worker-1']}) is {status}")]
    assert project.agreed() == two
    assert project.changes == []


@pytest.mark.one_cloud
def test_servers_that_cannot_be_reached_from_here(project: Project) -> None:
    """The requests of the checks go through a proxy, which answers 503 for every server."""
    check = {"http": "http://{name}.test/health"}
    project.describe(groups={"worker": {"ready": check, "start_within": "3s"}})
    with HttpServer(503) as proxy:
        project.environ |= {"http_proxy": proxy.url, "no_proxy": "127.0.0.1,localhost"}
        for timeout in ("15s", "2s"):
            ran = project.ensure("2", "--timeout", timeout, code=4)
            assert ran.named("starting") == {"demo-worker-1", "demo-worker-2"}
            assert f"demo-worker-1 ({project.machines['demo-worker-1']}) cannot be reached from here" in ran.stderr
    two = project.machines
    assert len(project.asked_for) == len(two) == 2
    assert len([request for request in project.changes if request.method == "DELETE"]) == 0

    with HttpServer(200) as proxy:
        project.environ["http_proxy"] = proxy.url
        project.ensure("2")
        assert project.agreed() == two


def test_labels_and_tags_of_others_stay(project: Project) -> None:
    project.ensure("2")
    two = project.agreed()
    name = "demo-worker-1"
    ours = project.vendor.labels_of(project.machine(name))
    theirs = {"env": "eu", "backup": ""}
    project.world.relabel(project.vendor.name, int(two[name]), **project.vendor.owned({**ours, **theirs}))
    project.catch_up()
    project.world.clear_log()
    assert project.ensure("2").document["outcome"] == "unchanged"
    assert project.changes == []
    # A label of ours is put back, and one server more is created: theirs are still there.
    stripped = {key: value for key, value in ours.items() if key != "managed-by"}
    project.world.relabel(project.vendor.name, int(two[name]), **project.vendor.owned({**stripped, **theirs}))
    project.catch_up()
    project.ensure("3")
    assert project.vendor.labels_of(project.machine(name)) == {**ours, **theirs}
    assert project.agreed().items() > two.items()
