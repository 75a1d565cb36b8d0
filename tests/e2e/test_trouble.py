"""A cloud that refuses, stays silent, or gives servers that never start."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.project import DIGITALOCEAN, HETZNER, VENDORS, Project, Vendor, finish, wait_until


@pytest.mark.acceptance("S05")
def test_created_and_never_told(project: Project) -> None:
    """Every create is carried out, and the answers are lost in four ways: at DigitalOcean a second one has four."""
    faults = [
        project.fault("accept_then_drop", "POST"),
        *(project.fault("accept_then_status", "POST", skip=n, status=500 + n + 1) for n in (1, 2, 3)),
    ]
    project.ensure("5")
    hit = 2 if project.vendor is DIGITALOCEAN else 4
    assert [project.world.fired(fault) for fault in faults] == [1] * hit + [0] * (4 - hit)
    assert len(project.agreed()) == 5
    assert len(project.asked_for) == 5
    assert len(project.world.servers(project.vendor.name)) == 5


@pytest.mark.acceptance("R09", "S05")
def test_deleted_and_never_told(project: Project) -> None:
    project.ensure("3")
    three, oldest = project.agreed(), project.by_age[0]
    lost = project.fault("accept_then_drop", "DELETE", one=True)
    gone = project.fault("accept_then_status", "DELETE", one=True, skip=1, status=503)
    project.ensure("1")
    assert (project.world.fired(lost), project.world.fired(gone)) == (1, 1)
    assert project.agreed() == {oldest: three[oldest]}


@pytest.mark.acceptance("Q01", "R07")
def test_passing_trouble_while_servers_start(hetzner: Project) -> None:
    """Boots take a moment, and meanwhile the list fails in turn: nothing is given up, nothing made twice."""
    hetzner.world.set_knobs(boot_s=2)
    faults = [
        hetzner.fault("rate_limit", "GET", skip=2, headers={"retry-after": "1"}),
        hetzner.fault("respond", "GET", skip=3, status=500),
        hetzner.fault("drop_before", "GET", skip=4),
        hetzner.fault("html_502", "GET", skip=5),
    ]
    hetzner.ensure("2")
    assert [hetzner.world.fired(fault) for fault in faults] == [1, 1, 1, 1]
    assert len(hetzner.agreed()) == 2
    assert len(hetzner.creates) == 2


@pytest.mark.acceptance("S09")
def test_429_answers_slow_a_run_and_cost_no_server(project: Project) -> None:
    soon: dict[str, Any] = {"headers": {"retry-after": "1"}}
    faults = [project.fault("rate_limit", "POST", times=2, **soon), project.fault("rate_limit", "GET", skip=2, **soon)]
    made = project.ensure("3")
    assert (made.document["outcome"], len(project.agreed())) == ("converged", 3)
    three, oldest = project.agreed(), project.by_age[0]
    faults += [project.fault("rate_limit", "DELETE", one=True, **soon), project.fault("rate_limit", "GET", **soon)]
    project.ensure("1")
    assert project.agreed() == {oldest: three[oldest]}
    assert all(project.world.fired(fault) for fault in faults)
    assert [request.status for request in project.creates].count(429) == 2
    assert len(project.creates) <= 5


@pytest.mark.acceptance("S09", "S13")
@pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
def test_interrupted_while_a_create_waits_for_the_vendors_budget(served: Project, vendor: Vendor) -> None:
    """The vendor says to come back in four minutes; whoever interrupts does not wait for that, nor is it sent then."""
    fault = served.fault("rate_limit", "POST", times=None, headers={"retry-after": "240"})
    process = served.start("ensure", "3", "--yes")
    wait_until(lambda: served.world.fired(fault), "the refusal")
    process.send_signal(signal.SIGINT)
    ran = finish(process)
    assert ran.code == 130, ran.stderr
    assert "Traceback" not in ran.stderr
    assert (served.world.fired(fault), served.machines) == (1, {})
    served.world.clear_faults()
    served.ensure("3")
    assert len(served.agreed()) == 3
    # The one that was refused, and these.
    assert len(served.asked_for) == 4


@pytest.mark.acceptance("S09")
def test_two_runs_that_share_one_budget_give_no_server_up(make_served: Callable[[Vendor], Project]) -> None:
    """Two stacks of one account, and not enough requests for both: each takes longer, and has its servers."""
    project = make_served(HETZNER)
    project.describe(limit=30)
    project.spec_path.with_name("other.yaml").write_bytes(project.spec_path.read_bytes())
    project.world.set_knobs(boot_s=1)
    project.world.set_quota("hetzner", servers=100)
    # Two a second come back: of some hundred requests, many find none.
    project.world.set_rate_limit("hetzner", per_hour=7200)
    project.world.set("bucket", [40, project.world.now])
    started = [project.start("ensure", "25", "--yes", "--stack", stack, "-o", "json") for stack in ("demo", "other")]
    for ran in [finish(process) for process in started]:
        assert ran.code == 0, ran.stderr
        assert ran.document["outcome"] == "converged"
        assert {step["action"] for step in ran.document["steps"]} == {"create"}
    assert len(project.agreed()) == 25
    assert len(project.world.servers("hetzner")) == 50
    assert project.requests("DELETE") == []
    # It took more than the account had: they waited for what came back.
    assert len(project.requests()) > 40


def test_a_plan_says_how_long_the_rate_limit_makes_it_take(make_served: Callable[[Vendor], Project]) -> None:
    project = make_served(HETZNER)
    project.describe(limit=600)
    project.world.set_quota("hetzner", servers=1000)
    project.world.set("bucket", [200, project.world.now])
    shown = project.run("preview", "500", "-o", "json").document
    assert shown["rate_wait"]["requests"] == 575
    # What is left now is not waited for, but for some that are for others of the account.
    assert 575 - 200 < shown["rate_wait"]["wait_s"] < 575 - 200 + 100
    project.world.set_rate_limit("hetzner", per_hour=3600)
    assert project.run("preview", "500", "-o", "json").document["rate_wait"] is None


def test_a_quota_of_addresses_withholds_only_the_groups_that_need_them(hetzner: Project) -> None:
    """Both groups are of one type at one place: a refused address says nothing about servers without one."""
    world = hetzner.world
    subnet = {"type": "cloud", "ip_range": "10.0.0.0/24", "network_zone": "eu-central", "gateway": "10.0.0.1"}
    world.add("hetzner", "network", "lan", {"ip_range": "10.0.0.0/16", "labels": {}, "subnets": [subnet], "routes": []})
    world.set_quota("hetzner", primary_ips=3)
    inner = {"count": 2, "networks": ["lan"], "public_ipv4": False, "public_ipv6": False}
    hetzner.describe(groups={"web": {"count": 2}, "inner": inner})

    def made() -> list[str]:
        return sorted(name.split("-")[1] for name in hetzner.machines)

    failed = hetzner.ensure(code=1)
    assert failed.document["outcome"] == "failed"
    assert made() == ["inner", "inner", "web"]
    assert "Primary IP limit exceeded" in failed.stderr

    # The next runs do not ask for what was refused, and are not held up by it.
    hetzner.world.clear_log()
    error = hetzner.ensure(code=3).error
    assert (error["code"], hetzner.changes) == ("quota", [])
    assert "public addresses" in error["message"]
    hetzner.ensure("inner=1", "web=2", code=1)
    assert made() == ["inner", "web"]


@pytest.mark.calm("which steps fail is exact")
@pytest.mark.acceptance("R10", "R11", "S08")
def test_failed_midway_and_refused_from_then_on(project: Project) -> None:
    quota = "droplets" if project.vendor is DIGITALOCEAN else "servers"
    project.world.set_quota(project.vendor.name, **{quota: 2})
    # A token that may not read the account: its quota is run into, as it always is at Hetzner.
    project.world.add_fault("respond", method="GET", path="/v2/account$", times=None, status=403, code="forbidden")
    failed = project.ensure("4", code=1)
    assert failed.document["outcome"] == "failed"
    results = [step["result"] for step in failed.document["steps"]]
    assert sorted(results) == ["done", "done", "failed", "failed"]
    assert all(step["error"] for step in failed.document["steps"] if step["result"] == "failed")
    running = failed.named("running")
    assert running == set(project.machines)
    assert failed.named("errored") == {f"demo-worker-{n}" for n in range(1, 5)} - running

    # Again and again: nothing is asked of the cloud for an hour, and what is recorded does not grow.
    project.world.clear_log()
    for _ in range(2):
        refused = project.ensure("4", code=3).error
        assert refused["code"] == "quota"
        assert "2 too many: the account allows 2" in refused["message"]
        assert len(project.state["servers"]) == 4
        assert len(project.machines) == 2
    assert project.changes == []

    project.world.set_quota(project.vendor.name, **{quota: 100})
    project.state_path.with_name("demo.shortages.json").unlink()
    project.ensure("4")
    assert len(project.agreed()) == 4
    assert len(project.state["servers"]) == 4


def unlock(project: Project, name: str) -> None:
    """Let the cloud's own action on a server come to its end, and leave the server as it is."""
    machine = project.machine(name)
    machine.body["busy_until"] = 0.0
    project.world.save(machine)


@pytest.mark.calm("which steps fail is exact")
@pytest.mark.acceptance("S06", "Q07")
@pytest.mark.one_cloud
def test_a_server_that_never_starts_is_recorded_and_replaced_by_a_run_after_its_deadline(project: Project) -> None:
    project.fault(project.vendor.stuck, "POST")
    late = project.ensure("2", "--timeout", "3s", code=4)
    assert late.document["outcome"] == "unconfirmed"
    (stuck,) = late.named("starting")
    assert late.document["groups"]["worker"]["ready"] == 1
    assert project.records[stuck]["status"] == project.checkpoint.outputs[stuck]["status"] == "starting"

    # A later run does not count it, and has another in its place.
    project.describe(groups={"worker": {"start_within": "5s"}})
    unlock(project, stuck)
    replaced = project.ensure("2")
    assert sorted(action for action, _, _ in replaced.steps) == ["create", "delete"]
    assert any(event["event"] == "server.hanging" and event["server"] == stuck for event in project.events)
    assert len(project.agreed()) == 2
    assert stuck not in project.machines


@pytest.mark.acceptance("S06", "Q02")
@pytest.mark.one_cloud
def test_a_server_that_never_starts_is_replaced_at_its_deadline(served: Project) -> None:
    """The cloud refuses to delete it as long as it is locked: that is waited for."""
    project = served
    project.describe(groups={"worker": {"start_within": "2s"}})
    fault = project.fault(project.vendor.stuck, "POST")
    process = project.start("ensure", "2", "--yes", "-o", "json")
    refusal = wait_until(lambda: project.requests("DELETE"), "an attempt to delete it")[0]
    assert refusal.status in (422, 423)
    (stuck,) = (name for name, number in project.machines.items() if refusal.path.endswith(f"/{number}"))
    unlock(project, stuck)
    ran = finish(process)
    assert ran.code == 0, ran.stderr
    assert project.world.fired(fault) == 1
    assert len(project.creates) == 3
    assert len(project.agreed()) == 2
    assert [server for action, server, _ in ran.steps if action == "delete"] == [stuck]
    assert stuck not in project.machines
    assert [event["event"] for event in project.events if event["server"] == stuck][-1] == "server.deleted"


@pytest.mark.acceptance("S06")
def test_bounded_replacement_within_one_run(hetzner: Project) -> None:
    """Every server is stuck, and cannot even be deleted: new ones are made a bounded number of times."""
    hetzner.describe(groups={"worker": {"start_within": "1s"}})
    fault = hetzner.fault(hetzner.vendor.stuck, "POST", times=None)
    ran = finish(hetzner.start("ensure", "1", "--yes", "--timeout", "60s"))
    # It gives up, or has no time left to wait for the locked ones.
    assert ran.code in (1, 4), ran.stderr
    assert "hang" in ran.stdout + ran.stderr
    assert 1 < hetzner.world.fired(fault) <= 6
    assert "hanging" in {record["status"] for record in hetzner.records.values()} <= {"hanging", "starting"}
    assert set(hetzner.records) == set(hetzner.machines)


@pytest.mark.calm("the fault is for one action")
def test_a_server_that_was_made_without_its_network_is_named(hetzner: Project) -> None:
    subnet = {"type": "cloud", "ip_range": "10.0.0.0/24", "network_zone": "eu-central", "gateway": "10.0.0.1"}
    lan = {"ip_range": "10.0.0.0/16", "labels": {}, "subnets": [subnet], "routes": []}
    hetzner.world.add("hetzner", "network", "lan", lan)
    hetzner.describe(groups={"worker": {"count": 2, "networks": ["lan"]}})
    hetzner.fault("action_error", "POST", command="attach_to_network")

    failed = hetzner.ensure(code=1)

    named = re.search(r"(demo-worker-[12]) was made without the network", failed.stderr)
    assert named, failed.stderr
    hetzner.run("replace", named[1], "--yes")
    servers = hetzner.run("status", "--refresh", "-o", "json").document["servers"]
    assert [server["outdated"] for server in servers if server["status"] == "running"] == [None, None]


@pytest.mark.calm("the fault is for one action")
def test_a_deletion_that_fails_is_asked_for_again_at_once(project: Project) -> None:
    """The cloud accepts it and fails: nothing is waited for that will not come."""
    project.world.set_knobs(delete_s=0.5, visible_after_delete_s=0.5)
    project.ensure("3")
    fault = project.fault("action_error", "DELETE", one=True)
    ran = project.ensure("2", "--timeout", "60s")
    assert project.world.fired(fault) == 1
    assert re.search(r"the deletion of demo-worker-\d failed at the cloud", ran.stderr), ran.stderr
    assert len(project.agreed()) == 2


@pytest.mark.calm("the faults are for these actions")
def test_deletions_that_always_fail_end_the_run_with_the_cloud_s_words(project: Project) -> None:
    project.ensure("2")
    fault = project.fault("action_error", "DELETE", one=True, times=None)
    ran = project.ensure("1", "--timeout", "120s", code=1)
    assert 2 <= project.world.fired(fault) <= 4
    assert re.search(r"The deletion of demo-worker-\d failed at the cloud", ran.stderr), ran.stderr
    assert len(project.machines) == 2
    project.world.clear_faults()
    project.ensure("1")
    assert len(project.agreed()) == 1


@pytest.mark.calm("the fault is for one action")
def test_a_deletion_that_failed_after_the_run_is_known_to_the_next_one(project: Project) -> None:
    project.ensure("2")
    project.world.set_knobs(delete_s=60, visible_after_delete_s=60)
    fault = project.fault("action_error", "DELETE", one=True)
    project.run("ensure", "1", "--yes", "--no-wait", code=4)
    assert project.world.fired(fault) == 1
    project.world.set_knobs(delete_s=0, visible_after_delete_s=0)
    project.world.advance(61)
    assert len(project.machines) == 2
    project.ensure("1", "--timeout", "60s")
    assert len(project.agreed()) == 1


@pytest.mark.calm("the fault is for one action")
def test_a_reboot_that_fails_is_no_reboot(project: Project) -> None:
    project.ensure("2")
    path = "/actions/reboot$" if project.vendor is HETZNER else "/actions$"
    fault = project.world.add_fault("action_error", method="POST", path=path)
    ran = project.run("reboot", "demo-worker-1", "demo-worker-2", "--yes", code=1)
    assert project.world.fired(fault) == 1
    assert re.search(r"The reboot of demo-worker-\d failed at the cloud", ran.stderr), ran.stderr
    assert {record["status"] for record in project.records.values()} == {"running"}
    project.run("reboot", "demo-worker-1", "--yes")
