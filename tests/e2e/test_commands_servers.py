"""The commands for more, fewer, and single servers: what they leave behind at the cloud and on record."""

from __future__ import annotations

import pytest

from tests.support.project import Project, Ran


def names(*numbers: int) -> set[str]:
    return {f"demo-worker-{number}" for number in numbers}


def reboots(project: Project, name: str) -> int:
    """How often the cloud was asked to reboot a server, and agreed."""
    path = f"{project.vendor.collection}/{project.machine(name).id}/actions"
    actions = [*project.requests("POST", f"{path}/reboot"), *project.requests("POST", path)]
    return sum(1 for request in actions if request.status and request.status < 300)


def events_of(project: Project, name: str) -> list[str]:
    return [event["event"] for event in project.events if event["server"] == name]


def run(project: Project, *arguments: str, code: int = 0) -> Ran:
    return project.run(*arguments, "-o", "json", code=code)


# ---------------------------------------------------------------------------------------------
# Relative counts


@pytest.mark.acceptance("P01", "P02", "P03", "P04", "P05")
@pytest.mark.one_cloud
def test_increase_and_decrease(project: Project) -> None:
    counts = []
    for command in (["increase"], ["increase", "2"], ["decrease"], ["increase"], ["decrease", "2"]):
        ran = run(project, *command, "--yes")
        assert ran.document["outcome"] == "converged"
        counts.append(len(project.agreed()))
    assert counts == [1, 3, 2, 3, 1]
    assert run(project, "decrease", "6", "--yes", code=3).error["code"] == "to_zero"
    ran = run(project, "decrease", "6", "--yes", "--allow-zero")
    assert "6 servers of worker are to be removed, and there are 1" in ran.stderr
    assert project.agreed() == {}
    assert run(project, "decrease", "--yes").document["outcome"] == "unchanged"


@pytest.mark.acceptance("P07")
def test_increase_of_one_group_leaves_the_other(hetzner: Project) -> None:
    hetzner.describe(groups={"worker": {"count": 1}, "other": {"count": 1}})
    hetzner.ensure()
    unclear = run(hetzner, "increase", "--yes", code=64).error
    assert "worker, other" in unclear["why"]
    assert "--group" in unclear["fix"]
    assert "other" in run(hetzner, "increase", "--group", "othr", "--yes", code=64).error["fix"]
    run(hetzner, "increase", "--group", "other", "--yes")
    assert set(hetzner.agreed()) == {"demo-worker-1", "demo-other-1", "demo-other-2"}


@pytest.mark.acceptance("R01", "R02")
def test_no_change_and_negative_ones_are_refused(hetzner: Project) -> None:
    hetzner.ensure("2")
    two = hetzner.agreed()
    hetzner.world.clear_log()
    for command in ("increase", "decrease"):
        for wrong in ("0", "-1", "x", "1.5", "99999999999999999999"):
            assert run(hetzner, command, wrong, "--yes", code=64).error["fix"]
    assert run(hetzner, "increase", code=64).error["code"] == "consent_missing"
    assert hetzner.requests() == []
    assert hetzner.agreed() == two


@pytest.mark.acceptance("Q03", "Q04")
def test_beyond_the_bounds_is_refused_and_told(hetzner: Project) -> None:
    hetzner.describe(limit=3, groups={"worker": {"count": 2, "min": 1, "max": 2}})
    hetzner.ensure("2")
    two = hetzner.agreed()
    assert run(hetzner, "increase", "--yes", code=3).error["code"] == "above_max"
    assert run(hetzner, "decrease", "2", "--yes", code=3).error["code"] == "below_min"
    hetzner.describe(limit=2, groups={"worker": {"count": 2}})
    assert run(hetzner, "increase", "--yes", code=3).error["code"] == "above_limit"
    assert hetzner.agreed() == two
    hits = [event for event in hetzner.events if event["event"] == "limit.hit"]
    assert [event["cause"] for event in hits] == [
        "increase 1 --group worker",
        "decrease 2 --group worker",
        "increase 1 --group worker",
    ]
    assert all(event["reason"] for event in hits)
    # Who has too many may always have fewer.
    hetzner.describe(limit=1, groups={"worker": {"count": 1, "max": 1}})
    run(hetzner, "decrease", "--yes")
    assert len(hetzner.agreed()) == 1


@pytest.mark.acceptance("Q03")
def test_the_account_s_limit_is_an_event_too(hetzner: Project) -> None:
    hetzner.world.set_quota("hetzner", servers=2)
    run(hetzner, "increase", "3", "--yes", code=1)
    assert len(hetzner.machines) == 2
    assert [event["event"] for event in hetzner.events].count("limit.hit") == 1


def test_increase_only_if_so_many_are_there(hetzner: Project) -> None:
    hetzner.ensure("2")
    assert run(hetzner, "increase", "--expect-current", "3", "--yes", code=3).error["code"] == "unexpected_count"
    run(hetzner, "increase", "--expect-current", "2", "--yes")
    assert len(hetzner.agreed()) == 3


# ---------------------------------------------------------------------------------------------
# Rebooting


@pytest.mark.calm("a power action that fails half-way is another reboot")
@pytest.mark.acceptance("P08", "P15", "Q15")
def test_reboot(project: Project) -> None:
    project.ensure("2")
    two = project.agreed()
    project.world.set_knobs(power_s=300)
    asked = run(project, "reboot", "demo-worker-1", "--no-wait", code=4)
    (server,) = [server for server in asked.document["servers"] if server["name"] == "demo-worker-1"]
    assert (server["status"], server["reboot_asked"]) == ("rebooting", False)
    project.world.advance(300)
    project.world.set_knobs(power_s=1)
    done = run(project, "reboot", "demo-worker-2")
    assert [(step["action"], step["server"], step["result"]) for step in done.document["steps"]] == [
        ("reboot", "demo-worker-2", "done")
    ]
    assert project.agreed() == two
    assert (reboots(project, "demo-worker-1"), reboots(project, "demo-worker-2")) == (1, 1)
    assert events_of(project, "demo-worker-2")[-2:] == ["server.rebooting", "server.running"]


@pytest.mark.acceptance("P09", "P12", "P13")
def test_a_reboot_asked_for_while_starting(project: Project) -> None:
    project.world.set_knobs(boot_s=600, power_s=1)
    starting = project.ensure("1", "--no-wait", code=4)
    assert starting.named("starting") == names(1)
    asked = run(project, "reboot", "demo-worker-1", "--no-wait", code=4)
    assert asked.named("starting") == names(1)
    assert asked.document["servers"][0]["reboot_asked"] is True
    assert project.checkpoint.outputs["demo-worker-1"]["reboot_asked"] is True
    assert reboots(project, "demo-worker-1") == 0
    # Whatever run comes next does it; even when the state file is lost.
    project.state_path.unlink()
    project.world.advance(600)
    project.ensure("1")
    assert reboots(project, "demo-worker-1") == 1
    assert project.records["demo-worker-1"]["reboot_asked"] is False
    assert project.agreed().keys() == names(1)
    entered = events_of(project, "demo-worker-1")
    assert entered[-2:] == ["server.rebooting", "server.running"]


@pytest.mark.acceptance("P10", "P16")
@pytest.mark.one_cloud
def test_reboot_twice_in_a_row(project: Project) -> None:
    project.ensure("1")
    project.world.set_knobs(power_s=300)
    first = run(project, "reboot", "demo-worker-1", "--no-wait", code=4).document["servers"][0]
    assert (first["status"], first["reboot_asked"]) == ("rebooting", False)
    second = run(project, "reboot", "demo-worker-1", "--no-wait", code=4).document["servers"][0]
    assert (second["status"], second["reboot_asked"]) == ("rebooting", True)
    assert reboots(project, "demo-worker-1") == 1
    project.world.advance(300)
    project.world.set_knobs(power_s=0)
    project.ensure("1")
    assert reboots(project, "demo-worker-1") == 2
    assert project.records["demo-worker-1"]["status"] == "running"
    assert project.records["demo-worker-1"]["reboot_asked"] is False


@pytest.mark.acceptance("Q09")
def test_reboot_of_one_group(hetzner: Project) -> None:
    hetzner.describe(groups={"worker": {"count": 2}, "other": {"count": 1}})
    hetzner.ensure()
    assert run(hetzner, "reboot", "--group", "worker", code=64).error["code"] == "consent_missing"
    run(hetzner, "reboot", "--group", "worker", "--yes")
    counted = {name: reboots(hetzner, name) for name in hetzner.agreed()}
    assert counted == {"demo-worker-1": 1, "demo-worker-2": 1, "demo-other-1": 0}
    run(hetzner, "reboot", "--yes")
    assert {name: reboots(hetzner, name) for name in hetzner.agreed()} == {
        "demo-worker-1": 2,
        "demo-worker-2": 2,
        "demo-other-1": 1,
    }


@pytest.mark.acceptance("Q06")
def test_a_refused_reboot_is_told_and_one_that_found_the_cloud_busy_is_done(hetzner: Project) -> None:
    hetzner.ensure("1")
    path = "/actions/reboot$"
    hetzner.world.add_fault("respond", method="POST", path=path, status=423, code="locked", message="busy")
    run(hetzner, "reboot", "demo-worker-1")
    assert reboots(hetzner, "demo-worker-1") == 1
    hetzner.world.add_fault("respond", method="POST", path=path, status=422, code="unsupported", message="not this one")
    failed = run(hetzner, "reboot", "demo-worker-1", code=1)
    (step,) = failed.document["steps"]
    assert step["result"] == "failed"
    assert "not this one" in step["error"]
    (errored,) = [event for event in hetzner.events if event["event"] == "server.errored"]
    assert "not this one" in errored["reason"]
    # It runs all the same, and that is what counts.
    assert set(hetzner.agreed()) == names(1)


@pytest.mark.acceptance("Q13")
@pytest.mark.parametrize("command", ["stop", "reboot"])
def test_only_a_server_that_runs(hetzner: Project, command: str) -> None:
    hetzner.ensure("2")
    hetzner.world.power_off("hetzner", int(hetzner.machines["demo-worker-2"]))
    hetzner.catch_up()
    hetzner.world.clear_log()
    options = ["--yes"] if command == "stop" else []
    error = run(hetzner, command, "demo-worker-1", "demo-worker-2", *options, code=64).error
    assert "demo-worker-2" in error["message"]
    assert "stopped" in error["message"]
    assert "demo-worker-" in run(hetzner, command, "demo-worker-7", *options, code=64).error["fix"]
    assert hetzner.changes == []


# ---------------------------------------------------------------------------------------------
# Single servers


@pytest.mark.acceptance("P14", "Q15")
@pytest.mark.one_cloud
def test_stop_goes_through_every_status(project: Project) -> None:
    project.describe(groups={"worker": {"stop": {"shutdown_within": "30s"}}})
    project.ensure("3")
    three = project.agreed()
    project.world.set_knobs(shutdown_s=2, delete_s=1, visible_after_delete_s=1)
    stopped = run(project, "stop", "demo-worker-2", "--yes")
    assert [(step["action"], step["server"]) for step in stopped.document["steps"]] == [("delete", "demo-worker-2")]
    assert project.agreed() == {name: three[name] for name in names(1, 3)}
    assert events_of(project, "demo-worker-2") == [
        f"server.{status}" for status in ("creating", "running", "stopping", "stopped", "deleting", "deleted")
    ]
    # It stays so: the next run does not make up for it.
    assert run(project, "increase", "--yes").document["groups"]["worker"] == {"wanted": 3, "before": 2, "ready": 3}


def test_stop_touches_no_other_server(hetzner: Project) -> None:
    hetzner.ensure("3")
    three = hetzner.agreed()
    hetzner.world.power_off("hetzner", int(three["demo-worker-3"]))
    hetzner.catch_up()
    stopped = run(hetzner, "stop", "demo-worker-1", "--yes")
    assert [step["server"] for step in stopped.document["steps"]] == ["demo-worker-1"]
    assert hetzner.machines.keys() == names(2, 3)
    assert hetzner.records["demo-worker-3"]["status"] == "stopped"


@pytest.mark.one_cloud
def test_replace_makes_the_new_one_first(project: Project) -> None:
    project.ensure("2")
    two = project.agreed()
    ran = run(project, "replace", "demo-worker-1", "--yes")
    assert [(step["action"], step["server"]) for step in ran.document["steps"]] == [
        ("create", "demo-worker-3"),
        ("delete", "demo-worker-1"),
    ]
    after = project.agreed()
    assert after.keys() == names(2, 3)
    assert after["demo-worker-2"] == two["demo-worker-2"]
    entered = [(event["event"], event["server"]) for event in project.events]
    assert entered.index(("server.running", "demo-worker-3")) < entered.index(("server.deleting", "demo-worker-1"))


def test_replace_of_one_that_is_off(hetzner: Project) -> None:
    hetzner.ensure("2")
    hetzner.world.power_off("hetzner", int(hetzner.machines["demo-worker-2"]))
    hetzner.catch_up()
    run(hetzner, "replace", "demo-worker-2", "--yes")
    assert hetzner.agreed().keys() == names(1, 3)


@pytest.mark.one_cloud
def test_protect_is_kept_in_the_stack(project: Project) -> None:
    project.ensure("3")
    three = project.agreed()
    run(project, "protect", "demo-worker-3", "demo-worker-2")
    assert project.checkpoint.outputs["demo-worker-3"]["protected"] is True
    project.state_path.unlink()
    run(project, "decrease", "--yes")
    assert project.agreed().keys() == names(2, 3)
    for command in ("stop", "replace"):
        refused = run(project, command, "demo-worker-3", "--yes", code=3).error
        assert refused["code"] == "protected"
        assert "scaler unprotect demo-worker-3" in refused["fix"]
    assert run(project, "decrease", "--yes", code=3).error["code"] == "protected"
    assert project.agreed().items() <= three.items()

    run(project, "unprotect", "demo-worker-3")
    run(project, "decrease", "--yes")
    assert project.agreed().keys() == names(2)
    assert run(project, "protect", "demo-worker-2").document["outcome"] == "unchanged"


def test_what_the_spec_protects_is_unprotected_there(hetzner: Project) -> None:
    hetzner.describe(groups={"worker": {"protect": ["demo-worker-2"]}})
    hetzner.ensure("2")
    refused = run(hetzner, "unprotect", "demo-worker-2", code=64).error
    assert refused["code"] == "protected_by_spec"
    assert "groups.worker.protect" in refused["why"]
    assert run(hetzner, "stop", "demo-worker-2", "--yes", code=3).error["code"] == "protected"
    run(hetzner, "decrease", "--yes")
    assert hetzner.agreed().keys() == names(2)
