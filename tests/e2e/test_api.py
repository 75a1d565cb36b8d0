"""The library: the examples of its page as a program of a user, and the values that it returns."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest

from scaler import Scaler
from scaler.errors import LimitError, LockedError, StalePlanError, UsageError
from scaler.records.run_lock import RunLock
from scaler.support.clock import SystemClock
from tests.support.project import ROOT, Project

PAGE = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def program(project: Project, text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", text],
        cwd=project.folder,
        env=project.environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_examples_of_the_page_run_as_they_stand(hetzner: Project) -> None:
    assert len(EXAMPLES) >= 8
    done = program(hetzner, "\n".join(EXAMPLES))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[:3] == [
        "create demo-worker-1 because worker wants 2, has 0",
        "create demo-worker-2 because worker wants 2, has 0",
        "converged 2 ready",
    ]
    assert [line.split()[:2] for line in lines[3:6]] == [[f"demo-worker-{n}", "running"] for n in (1, 2, 3)]
    assert lines[-1].startswith("refused: above_limit ")
    assert hetzner.machines == {}
    assert sum(event["event"] == "run.started" for event in hetzner.events) == sum(
        event["event"] == "run.finished" for event in hetzner.events
    )


@pytest.mark.acceptance("S01")
def test_results_and_errors_are_values(hetzner: Project, capfd: pytest.CaptureFixture[str]) -> None:
    stack = Scaler(hetzner.folder, environ=hetzner.environ)
    assert stack.stack == "demo"
    assert stack.status() is None
    planned = stack.plan({"worker": 2})
    result = stack.ensure(2)
    assert [report.step for report in result.steps] == [report.step for report in planned.steps]
    assert (result.outcome, result.groups["worker"].ready, result.failures) == ("converged", 2, ())
    state = stack.status()
    assert state is not None
    assert {server.name: server.id for server in state.servers} == hetzner.agreed()

    assert stack.ensure(2, expect_current=2).outcome == "unchanged"
    for wrong in (-1, 2.5, True, "2", 10_001):
        with pytest.raises(UsageError):
            stack.ensure(wrong)  # type: ignore[arg-type]
        with pytest.raises(UsageError):
            stack.increase(wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        stack.decrease(0)
    with pytest.raises(UsageError, match="no group 'othr'"):
        stack.increase(group="othr")
    with pytest.raises(LimitError):
        stack.increase(100)
    with pytest.raises(UsageError, match="no stack"):
        Scaler(hetzner.folder, "prod", environ=hetzner.environ)
    assert len(hetzner.agreed()) == 2
    # A library prints nothing.
    assert capfd.readouterr() == ("", "")


def test_a_roll_goes_forward_and_back(hetzner: Project) -> None:
    def images() -> set[str]:
        return {server["image"] for server in hetzner.records.values()}

    stack = Scaler(hetzner.folder, environ=hetzner.environ, lock_timeout=timedelta(seconds=1))
    stack.ensure(2)
    old = images()
    hetzner.world.add_snapshot("hetzner", "newer", labels={"role": "worker"}, disk=20)
    pace: dict[str, Any] = {"surge": 2, "canary": 0, "bake": timedelta(seconds=1)}
    (schedule,) = stack.plan_roll("worker", **pace).schedules
    assert ([wave.size for wave in schedule.waves], schedule.most, schedule.fewest) == ([2], 4, 2)
    with pytest.raises(LimitError, match="create and delete 4 servers together"):
        stack.roll(max_change=3, **pace)
    with RunLock(hetzner.state_dir, "demo.roll").held("roll", SystemClock(), within=timedelta(0), note=print):
        with pytest.raises(LockedError):
            stack.roll(**pace)
        assert images() == old
    given = ("--surge", "2", "--canary", "0", "--bake", "1s")
    hetzner.run("roll", "--preview", "--out", "roll.json", *given)
    assert stack.apply(hetzner.folder / "roll.json").outcome == "converged"
    assert images().isdisjoint(old)
    with pytest.raises(StalePlanError):
        stack.apply(hetzner.folder / "roll.json")
    assert stack.abandon_roll().outcome in ("converged", "unchanged")
    assert stack.roll_back("worker").outcome == "converged"
    assert images() == old
    assert len(hetzner.agreed()) == 2
    for wrong in ({"surge": 0}, {"surge": -1}, {"group": "x"}):
        with pytest.raises(UsageError):
            stack.roll(**wrong)


def test_import_scaler_is_light(hetzner: Project) -> None:
    done = program(hetzner, "import scaler, sys; print(*sys.modules, scaler.__version__)")
    assert not {"click", "yaml", "pulumi", "pydantic", "scaler.api"} & set(done.stdout.split())
    assert program(hetzner, "import scaler; scaler.Scalar").returncode == 1


def test_times_are_seconds_or_timedeltas(hetzner: Project) -> None:
    stack = Scaler(hetzner.folder, environ=hetzner.environ, lock_timeout=30)
    assert stack.ensure(1, timeout=600).outcome == "converged"
    for wrong in ("10m", True, float("nan")):
        with pytest.raises(UsageError, match="no length of time"):
            stack.ensure(1, timeout=wrong)  # type: ignore[arg-type]
    for call in (stack.ensure, stack.increase, stack.destroy, stack.reboot, stack.abandon_roll):
        for nothing in (-5, timedelta(seconds=-1), 0):
            with pytest.raises(UsageError, match=r"negative|more than 0"):
                call(timeout=nothing)
    for limits in ({"max_change": -1}, {"expect_current": -1}, {"max_change": True}, {"max_change": 1.5}):
        with pytest.raises(UsageError, match="must be 0 or more"):
            stack.ensure(1, **limits)
    with pytest.raises(UsageError, match="negative"):
        Scaler(hetzner.folder, lock_timeout=-1)
    with pytest.raises(UsageError, match="keep must be 1 or more"):
        stack.snapshot("demo-worker-1", keep=0)
    # What a snapshot would be, and the servers that no run has taken in.
    taken = stack.snapshot("demo-worker-1", labels={"role": "worker"}, apply=False)
    assert (taken.outcome, taken.server, taken.snapshot) == ("planned", "demo-worker-1", None)
    labels = hetzner.vendor.labels_of(hetzner.machine("demo-worker-1"))
    hetzner.world.add_server("hetzner", "demo-worker-7", labels=labels)
    assert [server.name for server in stack.orphans()] == ["demo-worker-7"]
    assert stack.delete_orphans().outcome == "converged"
    assert list(hetzner.machines) == ["demo-worker-1"]
    with pytest.raises(UsageError, match="no length of time"):
        Scaler(hetzner.folder, steal_after="1h")  # type: ignore[arg-type]


def test_a_plan_file_is_applied_as_it_was_reviewed_and_never_again(hetzner: Project) -> None:
    hetzner.run("preview", "2", "--out", "plan.json")
    stack = Scaler(hetzner.folder, environ=hetzner.environ)
    with pytest.raises(StalePlanError):
        stack.apply(hetzner.folder / "plan.json", max_age=0)
    result = stack.apply(hetzner.folder / "plan.json")
    assert (result.outcome, result.groups["worker"].ready) == ("converged", 2)
    with pytest.raises(StalePlanError):
        stack.apply(hetzner.folder / "plan.json")


def test_autoscale_decides_and_why_and_history_tell_of_it(hetzner: Project) -> None:
    autoscale = {
        "metrics": {"jobs": {"command": {"run": ["echo", "25"]}}},
        "rules": [{"backlog": {"metric": "jobs", "per_server": 10}}],
    }
    hetzner.describe(groups={"worker": {"min": 0, "max": 5, "count": 0, "autoscale": autoscale}})
    stack = Scaler(hetzner.folder, environ=hetzner.environ)
    preview = stack.autoscale(apply=False)
    assert (preview.decisions["worker"].count, preview.outcome) == (3, "planned")
    assert hetzner.machines == {}
    done = stack.autoscale(wait=True, timeout=600)
    assert done.result is not None
    assert (done.decisions["worker"].count, done.result.groups["worker"].ready) == (3, 3)
    assert len(hetzner.agreed()) == 3

    found = stack.why("demo-worker-2")
    assert found.decision is not None
    assert found.decision.cause == "autoscale (library)"
    events = stack.history("demo-worker-2")
    assert [event.event for event in events] == ["server.creating", "server.running"]
    assert len(stack.history()) > len(events)
    with pytest.raises(UsageError, match="no events of a server nope"):
        stack.history("nope")
    with pytest.raises(UsageError, match="no records of a server demo-worker-9"):
        stack.why("demo-worker-9")
    hetzner.describe()
    with pytest.raises(UsageError, match="No group of demo has an autoscale block") as error:
        Scaler(hetzner.folder, environ=hetzner.environ).autoscale()
    assert error.value.fix
