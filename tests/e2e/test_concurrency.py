"""Two runs at once: on one machine, and on two that share the stack's backend."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scaler.support.clock import format_time
from tests.support.project import HETZNER, Project, Vendor, finish, is_alive, wait_until


@pytest.mark.acceptance("R03", "S11")
@pytest.mark.parametrize("vendor", [HETZNER], ids=lambda vendor: vendor.name)
@pytest.mark.parametrize("elsewhere", [False, True], ids=["one_machine", "two_machines"])
def test_two_runs_at_once(served: Project, vendor: Vendor, elsewhere: bool) -> None:
    project = served
    project.describe(backend=f"file://{project.state_dir / 'pulumi'}")
    other = ("--state-dir", str(project.folder / "other")) if elsewhere else ()
    processes = [
        project.start("ensure", "3", "--yes", "-o", "json"),
        project.start("ensure", "3", "--yes", "-o", "json", *other),
    ]
    runs = [finish(process) for process in processes]
    assert {ran.code for ran in runs} <= {0, 5}, "\n".join(ran.stdout + ran.stderr for ran in runs)
    assert 0 in {ran.code for ran in runs}
    assert len(project.world.servers(vendor.name)) == 3
    assert len(project.creates) == 3
    project.ensure("3")
    assert len(project.agreed()) == 3


@pytest.mark.acceptance("R03", "S11")
@pytest.mark.parametrize("vendor", [HETZNER], ids=lambda vendor: vendor.name)
def test_a_run_that_may_not_wait_says_who_is_in_the_way(served: Project, vendor: Vendor) -> None:
    """The lock file of this machine, and the engine's own for a run on another one."""
    project = served
    project.ensure("1")
    project.world.clear_log()
    # After the first look, and the names that others have.
    fault = project.fault("hang_forever", "GET", skip=2)
    first = project.start("ensure", "2", "--yes")
    try:
        wait_until(lambda: project.world.fired(fault), "the first look under the stack's lock")
        engine, _ = project.engine_runs[-1]
        here = project.run("ensure", "3", "--yes", "--lock-timeout", "1s", "-o", "json", code=5)
        assert "ensure worker=2" in here.error["why"]
        assert str(first.pid) in here.error["why"]
        project.describe(backend=f"file://{project.state_dir / 'pulumi'}")
        other = ("--state-dir", str(project.folder / "other"))
        elsewhere = project.run("ensure", "3", "--yes", "--lock-timeout", "1s", "-o", "json", *other, code=5)
        assert str(engine) in elsewhere.error["why"]
        assert project.creates == []
    finally:
        first.kill()
        first.communicate()
    os.kill(engine, signal.SIGKILL)
    # Both locks were left behind, and are in nobody's way. Nor are attributes that the engine was about to write.
    (project.state_dir / "pulumi" / ".pulumi" / "stacks" / "scaler" / "demo.json.attrs").write_bytes(b"")
    project.ensure("2")
    assert len(project.agreed()) == 2


def lock_of(project: Project, host: str, pid: int, since: str) -> Path:
    """The engine's lock on the stack, as a run on some machine has it."""
    folder = project.state_dir / "pulumi" / ".pulumi" / "locks" / "organization" / "scaler" / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"of-{host}.json"
    lock = {"pid": pid, "username": "ci", "hostname": host, "timestamp": since}
    path.write_text(json.dumps(lock), encoding="utf-8")
    return path


def ago(minutes: int) -> str:
    return format_time(datetime.now(UTC) - timedelta(minutes=minutes))


@pytest.mark.acceptance("S11")
def test_a_stack_that_another_run_is_making_is_waited_for(hetzner: Project) -> None:
    """Runs that make the stack at once see each other's lock: that is no failure of the engine."""
    lock = lock_of(hetzner, "elsewhere", 1, "2026-11-24T23:00:00Z")
    error = hetzner.run("ensure", "1", "--yes", "--lock-timeout", "0s", "-o", "json", code=5).error
    assert "ci@elsewhere" in error["why"]

    before = len(hetzner.engine_runs)
    waiting = hetzner.start("ensure", "1", "--yes")
    # The engine has met the lock; who waits then starts none for each look.
    wait_until(lambda: [pid for pid, _ in hetzner.engine_runs[before:] if not is_alive(pid)], "an attempt")
    lock.unlink()
    assert finish(waiting).code == 0
    assert len(hetzner.agreed()) == 1


def test_a_lock_of_another_machine_is_taken_away_only_when_it_is_so_old(hetzner: Project, tmp_path: Path) -> None:
    ensure = ("ensure", "1", "--yes", "-o", "json", "--lock-timeout", "0s")
    lock = lock_of(hetzner, "elsewhere", 1, ago(50))
    for command in (ensure, (*ensure, "--steal-after", "1h")):
        error = hetzner.run(*command, code=5).error
        assert re.search(r"ci@elsewhere, process 1, since \S+, for 50m", error["why"])
        assert "--steal-after" in error["fix"]
        assert lock.exists()
    assert hetzner.machines == {}
    # By a variable, as a pipeline sets it. What was taken away, and from whom, is said.
    stolen = hetzner.run(*ensure, environ={"SCALER_STEAL_AFTER": "45m"})
    assert re.search(r"took the stack's lock from ci@elsewhere, process 1, since \S+, for 50m", stolen.stderr)
    assert not lock.exists()
    assert len(hetzner.agreed()) == 1

    # An engine of this machine that lives is never dead, however old its lock.
    (tmp_path / "pulumi").symlink_to(shutil.which("sleep") or "sleep")
    with subprocess.Popen([tmp_path / "pulumi", "600"]) as living:
        lock = lock_of(hetzner, socket.gethostname(), living.pid, ago(90))
        refused = hetzner.run("ensure", "2", *ensure[2:], "--steal-after", "1m", code=5)
        living.kill()
    assert "for 1h30m" in refused.error["why"]
    hetzner.ensure("2")
    assert not lock.exists()
    assert len(hetzner.agreed()) == 2
