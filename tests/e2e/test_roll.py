"""A new image for the whole fleet: `scaler roll` with the real engine, at each cloud."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from datetime import timedelta
from typing import Any

import pytest

from scaler.records.run_lock import RunLock
from scaler.support.clock import SystemClock
from tests.support.backends import database
from tests.support.project import DIGITALOCEAN, HETZNER, Project, Vendor, finish, wait_until
from tests.support.watching import Watched, watched

FAST = ("--bake", "1s", "--yes", "-o", "json")


def watching(project: Project) -> AbstractContextManager[Watched]:
    """Look at the project's embedded cloud; what is being deleted counts."""
    return watched(project.state_dir / "embedded.sqlite", project.vendor, leaving=True)


def fleet(project: Project, count: int, **spec: object) -> None:
    """Make a fleet, and a newer image."""
    project.describe(limit=30, groups={"worker": {"start_within": "20s", **spec}})
    project.ensure(str(count))
    project.world.add_snapshot(project.vendor.name, "newer", labels={"role": "worker"}, disk=20)


def roll(project: Project, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Roll to the end, however long that takes beside other tests."""
    process = project.start("roll", *arguments, *FAST)
    output, errors = process.communicate(timeout=600)
    assert process.returncode == code, errors
    document: dict[str, Any] = json.loads(output)
    return document


def applied(project: Project, plan: str) -> dict[str, Any]:
    """Carry out the plan of a roll to its end."""
    process = project.start("apply", plan, "-o", "json")
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    document: dict[str, Any] = json.loads(output)
    return document


def images(project: Project) -> dict[str, int]:
    """How many servers have each image."""
    found = [server["image"] for server in project.records.values()]
    return {image: found.count(image) for image in sorted(set(found))}


@pytest.mark.acceptance("T15")
@pytest.mark.parametrize(("at", "count"), [(HETZNER, 20), (DIGITALOCEAN, 6)], ids=["hetzner-20", "digitalocean-6"])
def test_a_fleet_is_never_smaller_than_before_nor_larger_by_more_than_the_surge(
    make_project: Callable[[Vendor], Project], at: Vendor, count: int
) -> None:
    project, surge = make_project(at), 3
    fleet(project, count)
    (old,) = images(project)
    pace = ("--surge", str(surge), "--bake", "1s")
    shown = project.run("roll", *pace, "--preview", "--out", "plan.json", "-o", "json").document
    assert len(shown["outdated"]) == count
    assert [step["action"] for step in shown["steps"]] == ["create"]
    assert images(project) == {old: count}
    schedule = shown["schedules"]["worker"]
    assert (schedule["outdated"], schedule["most"], schedule["fewest"]) == (count, count + surge, count)
    # The canary has a wave of its own.
    number_of_waves = 1 + math.ceil((count - 1) / surge)
    assert schedule["takes_s"] >= number_of_waves * schedule["boot_s"]
    with watching(project) as seen:
        # A plan that was reviewed is carried out to its last wave.
        result = roll(project, "--surge", str(surge)) if at is HETZNER else applied(project, "plan.json")
    assert result["outcome"] == "converged"
    assert (min(seen.running), max(seen.there)) == (count, count + surge)
    waves = [event["reason"] for event in project.events if event["event"] == "roll.wave"]
    sizes = [wave["size"] for wave in schedule["waves"]]
    assert waves == [f"worker: wave {number}: {size} to replace" for number, size in enumerate(sizes, start=1)]
    (new,) = images(project)
    assert new != old
    assert len(project.agreed()) == count
    record = project.state["orders"]["rolls"]["worker"]
    assert (record["state"], record["waves"], len(record["replaced"])) == ("done", number_of_waves, count)
    assert roll(project)["outcome"] == "unchanged"


NEVER_READY = {"ready": {"command": ["./check.sh", "{ip}"]}}
UNHEALTHY = {"healthy": {"command": ["./check.sh", "{ip}"], "every": "1s", "failures": 2}}
"""Ready, and then bad: the bake of `FAST` may end before the second check."""

TROUBLES = pytest.mark.parametrize(
    ("at", "check"), [(HETZNER, NEVER_READY), (DIGITALOCEAN, UNHEALTHY)], ids=["never-ready", "unhealthy-in-the-bake"]
)


def admit(project: Project, more: int) -> None:
    """Let the servers that are there pass `check.sh`, and so many new ones; without the folder `good`, all pass."""
    addresses = [server["ipv4"] for server in project.records.values()]
    for address in addresses:
        (project.folder / "good" / address).mkdir(parents=True)
    (project.folder / "check.sh").write_text(CHECK.format(most=len(addresses) + more), encoding="utf-8")
    (project.folder / "check.sh").chmod(0o755)


CHECK = """#!/bin/sh
[ -d good ] || exit 0
[ -d "good/$1" ] && exit 0
[ "$(ls good | wc -l)" -lt {most} ] && mkdir -p "good/$1"
"""


@pytest.mark.acceptance("T15")
@TROUBLES
def test_the_canary_is_all_that_a_bad_image_costs(
    make_project: Callable[[Vendor], Project], at: Vendor, check: dict[str, Any]
) -> None:
    project = make_project(at)
    fleet(project, 3)
    (old,) = images(project)
    admit(project, 0)
    project.describe(limit=30, groups={"worker": {"start_within": "5s" if at is HETZNER else "20s", **check}})
    with watching(project) as seen:
        failed = roll(project, code=1)
    assert "roll_failed" in {failure["code"] for failure in failed["failures"]}
    assert (min(seen.running), max(seen.there)) == (3, 4)
    assert images(project) == {old: 3}
    assert len(project.agreed()) == 3
    record = project.state["orders"]["rolls"]["worker"]
    assert (record["state"], record["waves"]) == ("failed", 1)
    assert ("is unhealthy" if check is UNHEALTHY else "is hanging") in record["error"]
    project.describe(limit=30)
    project.ensure("4")
    assert images(project) == {old: 4}


@pytest.mark.acceptance("T15")
@TROUBLES
def test_a_rollback_after_a_failure_in_the_third_wave_ends_with_all_on_the_old_image(
    make_served: Callable[[Vendor], Project], at: Vendor, check: dict[str, Any]
) -> None:
    served = make_served(at)
    count, surge = (20, 7) if at is HETZNER else (6, 2)
    fleet(served, count)
    (old,) = images(served)
    admit(served, 1 + surge)
    served.describe(limit=30, groups={"worker": {"start_within": "40s", **check}})
    with watched(served.folder.parent / "world.db", at, leaving=True) as seen:
        failed = roll(served, "--canary", "1", "--surge", str(surge), code=1)
        assert "roll_failed" in {failure["code"] for failure in failed["failures"]}
        assert served.state["orders"]["rolls"]["worker"]["waves"] == 3
        assert images(served)[old] == count - 1 - surge
        assert sum(images(served).values()) == count
        (served.folder / "good").rename(served.folder / "was-good")
        roll(served, "--rollback", "--surge", str(surge))
    assert images(served) == {old: count}
    assert (min(seen.running), max(seen.there)) == (count, count + surge)
    assert sum(server["status"] == "running" for server in served.records.values()) == count
    assert len(served.agreed()) == count


def test_a_roll_that_succeeded_is_rolled_back(hetzner: Project) -> None:
    fleet(hetzner, 4)
    (old,) = images(hetzner)
    roll(hetzner, "--canary", "2", "--surge", "2")
    (new,) = images(hetzner)
    assert new != old
    with watching(hetzner) as seen:
        roll(hetzner, "--rollback", "--surge", "2")
    assert (min(seen.running), max(seen.there)) == (4, 6)
    assert images(hetzner) == {old: 4}
    assert len(hetzner.agreed()) == 4
    # The image of the spec stays out of use.
    hetzner.ensure("5")
    assert images(hetzner) == {old: 5}


def test_another_type_in_the_spec_is_rolled_out_the_same_way(hetzner: Project) -> None:
    hetzner.describe(groups={"worker": {}})
    hetzner.ensure("2")
    hetzner.describe(groups={"worker": {"type": "cpx22", "roll": {"surge": 2, "canary": 0, "bake": "1s"}}})
    hetzner.run("roll", "--yes")
    assert {server["type"] for server in hetzner.records.values()} == {"cpx22"}
    assert len(hetzner.agreed()) == 2


def test_an_ensure_without_numbers_rolls_by_itself_but_not_beside_another_roll(hetzner: Project) -> None:
    pace = {"surge": 2, "canary": 0, "bake": "1s"}
    hetzner.describe(groups={"worker": {"count": 2, "image_changes": "roll", "roll": pace}})
    hetzner.run("ensure", "--yes")
    (old,) = images(hetzner)
    hetzner.world.add_snapshot("hetzner", "newer", labels={"role": "worker"}, disk=20)
    assert hetzner.run("ensure", "2", "--yes", "-o", "json").document["outcome"] == "unchanged"
    with RunLock(hetzner.state_dir, "demo.roll").held("roll", SystemClock(), within=timedelta(0), note=print):
        beside = hetzner.run("ensure", "--yes", "-o", "json")
    assert "another roll of this stack goes on: this run begins none" in beside.stderr
    assert images(hetzner) == {old: 2}
    hetzner.run("ensure", "--yes")
    assert list(images(hetzner).values()) == [2]
    assert old not in images(hetzner)
    assert len(hetzner.agreed()) == 2
    told = [event for event in hetzner.events if event["event"].startswith("roll.")]
    assert [event["event"] for event in told] == ["roll.started", "roll.wave", "roll.finished"]
    shown = hetzner.run("why", told[-1]["server"] or "demo-worker-3").stdout
    assert "worker: wave 1: 2 to replace" in shown


def test_a_second_roll_waits_or_says_that_the_stack_is_locked(hetzner: Project) -> None:
    fleet(hetzner, 1)
    first = hetzner.start("roll", "--bake", "30s", "--yes")
    wait_until(lambda: "rolls" in hetzner.state["orders"], "the roll has begun")
    refused = hetzner.run("roll", *FAST, "--lock-timeout", "1s", code=5)
    assert refused.error["code"] == "locked"
    first.kill()
    first.communicate()
    # What ends a roll is not kept from it by another one that is dead.
    assert hetzner.run("roll", "--abandon", *FAST).document["outcome"] == "converged"
    assert hetzner.state["orders"]["rolls"]["worker"]["state"] == "abandoned"
    assert len(hetzner.agreed()) == 1


@pytest.mark.parametrize("place", ["file", "database"])
def test_a_second_roll_on_another_machine_waits_or_says_that_the_stack_is_locked(
    make_served: Callable[[Vendor], Project], place: str
) -> None:
    project, elsewhere = make_served(HETZNER), ("--state-dir", "elsewhere")
    with ExitStack() as stack:
        backend = {"backend": stack.enter_context(database()).url} if place == "database" else {}
        project.describe(groups={"worker": {"roll": {"bake": "5s", "canary": 0}}}, **backend)
        project.ensure("2")
        project.world.add_snapshot("hetzner", "newer", labels={"role": "worker"}, disk=20)
        project.world.clear_log()
        first = project.start("roll", "--yes")
        wait_until(lambda: "rolls" in project.state["orders"], "the roll has begun")
        refused = project.run("roll", "--yes", "--lock-timeout", "1s", "-o", "json", *elsewhere, code=5)
        assert (refused.error["code"], "process" in refused.error["why"]) == ("locked", True)
        second = project.run("roll", "--yes", "-o", "json", *elsewhere)
        assert "waiting for another roll of demo" in second.stderr
        assert second.document["outcome"] == "unchanged"
        assert finish(first).code == 0
        assert len(project.asked_for) == 2
        assert list(images(project).values()) == [2]
        assert len(project.machines) == 2


@pytest.mark.acceptance("T15")
@pytest.mark.parametrize(
    ("at", "count", "is_killed"), [(HETZNER, 10, False), (DIGITALOCEAN, 4, True)], ids=["waits", "killed"]
)
def test_a_count_that_grows_in_the_middle_of_a_roll_ends_exact_and_all_new(
    make_project: Callable[[Vendor], Project], at: Vendor, count: int, is_killed: bool
) -> None:
    project, more = make_project(at), count + 2
    fleet(project, count)
    (old,) = images(project)
    pace = ("--surge", "3", "--canary", "0")
    first = project.start("roll", *pace, "--bake", "4s", "--yes")
    wait_until(lambda: len(project.records) > count, "new servers")
    if is_killed:
        first.kill()
        first.communicate()
    project.run("ensure", str(more), "--yes", "--lock-timeout", "5m")
    if not is_killed:
        ended = finish(first)
        assert ended.code == 0, ended.stderr
    with watching(project) as seen:
        roll(project, *pace)
    assert max(seen.there, default=more) <= more + 3
    (new,) = images(project)
    assert new != old
    assert len(project.agreed()) == more
    assert project.state["orders"]["rolls"]["worker"]["state"] == "done"
