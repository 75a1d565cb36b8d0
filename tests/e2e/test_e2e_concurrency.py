"""Two runs at once: on one machine, and on two that share the stack's backend."""

from __future__ import annotations

import json
import os
import signal

import pytest
from e2e_project import HETZNER, Project, Vendor, finish, wait_until


@pytest.mark.parametrize("vendor", [HETZNER], ids=lambda vendor: vendor.name)
@pytest.mark.parametrize("elsewhere", [False, True], ids=["one_machine", "two_machines"])
def test_r03_s11_two_runs_at_once(served: Project, vendor: Vendor, elsewhere: bool) -> None:
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


@pytest.mark.parametrize("vendor", [HETZNER], ids=lambda vendor: vendor.name)
def test_r03_s11_a_run_that_may_not_wait_says_who_is_in_the_way(served: Project, vendor: Vendor) -> None:
    """The lock file of this machine, and the engine's own for a run on another one."""
    project = served
    project.ensure("1")
    project.world.clear_log()
    fault = project.fault("hang_forever", "GET", skip=1)
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
    # Both locks were left behind, and are in nobody's way.
    project.ensure("2")
    assert len(project.agreed()) == 2


def test_s11_a_stack_that_another_run_is_making_is_waited_for(hetzner: Project) -> None:
    """Runs that make the stack at once see each other's lock: that is no failure of the engine."""
    locks = hetzner.state_dir / "pulumi" / ".pulumi" / "locks" / "organization" / "scaler" / "demo"
    locks.mkdir(parents=True)
    lock = {"pid": 1, "username": "ci", "hostname": "elsewhere", "timestamp": "2026-11-24T23:00:00Z"}
    (locks / "made-elsewhere.json").write_text(json.dumps(lock), encoding="utf-8")
    error = hetzner.run("ensure", "1", "--yes", "--lock-timeout", "0s", "-o", "json", code=5).error
    assert "ci@elsewhere" in error["why"]

    waiting = hetzner.start("ensure", "1", "--yes")
    wait_until(lambda: len(hetzner.engine_runs) > 2, "a second attempt")
    (locks / "made-elsewhere.json").unlink()
    assert finish(waiting).code == 0
    assert len(hetzner.agreed()) == 1
