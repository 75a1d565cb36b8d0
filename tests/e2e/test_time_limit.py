"""`--timeout` ends a run whatever it waits for, and the next run goes on."""

from __future__ import annotations

import fcntl
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from scaler.support.clock import SystemClock, format_time
from tests.support.project import Project

SOON = ("--timeout", "5s")

LATER = {"retry-after": "240"}


@contextmanager
def held_by_another_run(project: Project) -> Iterator[None]:
    project.state_dir.mkdir(exist_ok=True)
    with (project.state_dir / "demo.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def held_by_another_engine(project: Project) -> Iterator[None]:
    """Put the lock of an engine of another machine, of which nobody here can say whether it lives."""
    lock = project.state_dir / "pulumi/.pulumi/locks/organization/scaler/demo/0b1c.json"
    lock.parent.mkdir(parents=True, exist_ok=True)
    since = format_time(SystemClock().now())
    document = {"pid": 1, "username": "me", "hostname": f"not-{socket.gethostname()}", "timestamp": since}
    lock.write_text(json.dumps(document), encoding="utf-8")
    yield
    lock.unlink()


@pytest.mark.parametrize("held", [held_by_another_run, held_by_another_engine])
def test_a_lock_is_waited_for_no_longer_than_the_run_may_take(hetzner: Project, held: type) -> None:
    hetzner.ensure("1")
    with held(hetzner):
        ran = hetzner.ensure("2", *SOON, code=5)
    assert "raise --timeout" in ran.error["fix"]
    assert len(hetzner.agreed()) == 1
    hetzner.ensure("2")


@pytest.mark.calm("which requests fail is exact")
@pytest.mark.one_cloud
def test_a_cloud_that_says_to_come_back_later_is_left_in_time(project: Project) -> None:
    fault = project.fault("rate_limit", "GET", times=None, headers=LATER)
    ran = project.ensure("2", *SOON, code=4)
    assert (ran.error["code"], "--timeout 5s" in ran.error["fix"]) == ("time_up", True), ran.error
    assert project.world.fired(fault)
    assert project.changes == []
    project.world.clear_faults()
    project.ensure("2")
    assert len(project.agreed()) == 2


@pytest.mark.calm("which requests fail is exact")
@pytest.mark.one_cloud
def test_creates_that_must_wait_are_left_to_the_next_run(project: Project) -> None:
    project.fault("rate_limit", "POST", times=None, headers=LATER)
    ran = project.ensure("2", *SOON, code=4)
    assert "it goes on from what is there" in ran.stdout + ran.stderr
    project.world.clear_faults()
    project.ensure("2")
    assert len(project.agreed()) == len(project.world.servers(project.vendor.name)) == 2


@pytest.mark.calm("which requests fail is exact")
@pytest.mark.one_cloud
def test_answers_that_do_not_come_end_with_the_time(project: Project) -> None:
    """Neither a list nor a create is asked for again and again."""
    project.fault("hang_forever", "GET", times=None)
    ran = project.ensure("1", *SOON, code=4)
    assert ran.error["code"] == "time_up"
    project.world.clear_faults()
    lost = project.fault("hang_forever", "POST", times=None)
    hurried = {"SCALER_HTTP_TIMEOUT": "2s"}
    project.run("ensure", "1", "--yes", "--timeout", "1s", environ=hurried, code=4)
    assert project.world.fired(lost) == 1
    project.world.clear_faults()
    project.ensure("1")
    assert len(project.agreed()) == len(project.world.servers(project.vendor.name)) == 1


@pytest.mark.calm("which requests fail is exact")
@pytest.mark.one_cloud
def test_a_run_without_the_time_to_prove_a_loss_changes_nothing(project: Project) -> None:
    project.ensure("3")
    three = project.agreed()
    project.world.clear_log()
    project.fault("list_misses", "GET", names=[project.by_age[0]], times=None)
    project.fault("respond", "GET", one=True, status=404, code="not_found", message="not found", times=None)
    ran = project.ensure("3", *SOON, code=4)
    assert (ran.error["code"], "1 of 3 servers are missing" in ran.error["message"]) == ("time_up", True), ran.error
    assert project.changes == []
    project.world.clear_faults()
    project.ensure("3")
    assert project.agreed() == three
