"""What others did to our servers, and records that were lost: found, named, mended."""

from __future__ import annotations

import pytest

from tests.support.project import Project


@pytest.mark.acceptance("S02", "R06")
def test_changed_by_hand(project: Project) -> None:
    project.ensure("4")
    four = project.agreed()
    vendor, world = project.vendor, project.world
    gone, off, taken, edited = (f"demo-worker-{number}" for number in range(1, 5))
    world.vanish(vendor.name, int(four[gone]))
    world.power_off(vendor.name, int(four[off]))
    anothers = {**vendor.labels_of(project.machine(taken)), "scaler-stack": "other"}
    world.relabel(vendor.name, int(four[taken]), **vendor.owned(anothers))
    labels = vendor.labels_of(project.machine(edited))
    world.relabel(vendor.name, int(four[edited]), **vendor.owned({**labels, "note": "by-hand"}))
    project.catch_up()

    # A preview tells what `ensure` will do about it, and the engine's own preview agrees.
    preview = project.run("preview", "4", "-o", "json")
    assert {(action, server) for action, server, _ in preview.steps} >= {("forget", taken), ("power_on", off)}

    # `refresh` names it, changes no server, and says so by its exit code.
    world.clear_log()
    drift = project.run("refresh", "--detailed-exitcode", "-o", "json", code=2).document["drift"]
    assert project.changes == []
    for name in (gone, off, taken):
        assert any(name in sentence for sentence in drift), (name, drift)

    # `ensure` mends it: what is gone is replaced, what is off is switched on.
    project.ensure("4")
    mended = project.agreed()
    assert len(mended) == 4
    assert mended[off] == four[off]
    assert mended[edited] == four[edited]
    assert vendor.labels_of(project.machine(edited)) == {**labels, "note": "by-hand"}
    assert {four[gone], four[taken]}.isdisjoint(mended.values())
    # The one that carries another stack's labels is theirs, and still there.
    stranger = world.server(vendor.name, int(four[taken]))
    assert vendor.labels_of(stranger) == anothers
    assert project.ensure("4").document["outcome"] == "unchanged"


@pytest.mark.acceptance("S02")
def test_what_does_not_come_on_is_replaced(hetzner: Project) -> None:
    hetzner.ensure("2")
    two = hetzner.agreed()
    off = int(two["demo-worker-1"])
    hetzner.world.power_off(hetzner.vendor.name, off)
    hetzner.catch_up()
    fault = hetzner.world.add_fault(
        "respond", method="POST", path=f"/{off}/actions", times=None, status=422, code="refused", message="broken"
    )
    hetzner.ensure("2")
    assert hetzner.world.fired(fault) > 0
    assert len(hetzner.agreed()) == 2
    assert str(off) not in hetzner.agreed().values()


@pytest.mark.acceptance("R09")
def test_only_a_404_means_gone(hetzner: Project) -> None:
    """A list misses a server, and its own address does not answer: that is no reason to make another."""
    hetzner.ensure("2")
    two = hetzner.agreed()
    hetzner.fault("list_misses", "GET", times=None, names=["demo-worker-1"])
    for status in (401, 500):
        fault = hetzner.fault("respond", "GET", one=True, times=None, status=status)
        hetzner.run("ensure", "2", "--yes", "-o", "json", code={401: 77, 500: 69}[status])
        assert hetzner.world.fired(fault) > 0
        hetzner.world.clear_faults(fault)
    # Its own address says that it is there, whatever the list says.
    assert hetzner.ensure("2").document["outcome"] == "unchanged"
    assert hetzner.machines == two
    assert len(hetzner.creates) == 2


@pytest.mark.acceptance("S14")
@pytest.mark.one_cloud
def test_lost_and_damaged_state_files(project: Project) -> None:
    project.ensure("2")
    two, records = project.agreed(), project.records

    project.state_path.unlink()
    project.run("status", "--refresh")
    assert project.records == records
    assert project.agreed() == two

    # A damaged one stops a run before it does anything; the mending keeps what was there.
    project.state_path.write_text(damaged := '{"schema": 1, "servers": [', encoding="utf-8")
    project.world.clear_log()
    error = project.ensure("3", code=1).error
    assert error["code"] == "state_corrupt"
    assert "scaler status --refresh" in error["fix"]
    assert project.changes == []
    assert project.state_path.read_text(encoding="utf-8") == damaged
    project.run("status", "--refresh")
    assert project.records == records
    assert project.state_path.with_name("demo.json.corrupt-1").read_text(encoding="utf-8") == damaged

    # One that cannot be read at all is left alone.
    project.state_path.unlink()
    project.state_path.mkdir()
    assert project.ensure("3", code=1).error["code"] == "state_unreadable"
    assert project.machines == two
    project.state_path.rmdir()
    assert project.ensure("2").document["outcome"] == "unchanged"
    assert project.agreed() == two


@pytest.mark.acceptance("R08")
def test_servers_in_no_state_are_adopted(project: Project) -> None:
    """The whole state folder is lost, the stack's checkpoint with it: nobody knows whose they are but a person."""
    import shutil

    project.ensure("3")
    three = project.agreed()
    for lost in (project.state_dir / "pulumi", project.state_dir / "engine"):
        shutil.rmtree(lost)
    project.state_path.unlink()
    refused = project.ensure("2", code=3).error
    assert refused["code"] == "unclaimed_servers"
    assert all(f"{name} ({number})" in refused["why"] for name, number in three.items())
    ran = project.ensure("2", "--adopt")
    assert project.agreed().items() < three.items()
    assert len(project.agreed()) == 2
    assert sorted(action for action, _, _ in ran.steps) == ["adopt", "adopt", "adopt", "delete"]
    assert len(project.asked_for) == 3
