"""One memory per stack: runs on throw-away machines, which share nothing but the backend."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest

from scaler.autoscale.decide import decide
from scaler.autoscale.decision import History, Sample, Supply
from scaler.autoscale.describe import decision_document
from scaler.config.spec import load
from tests.support.backends import STORES, Backend, bucket, database
from tests.support.google_storage import google_bucket
from tests.support.project import HETZNER, Project, Vendor, wait_until

_RUNS = int(os.environ.get("SCALER_TEST_RUNS", "0"))
"""Runs in fresh folders. 0: no more than until the servers are as many as they should be, and stay so."""

_MOST_RUNS = 40

_IN_DATABASE = pytest.mark.parametrize("backend", [database], ids=["postgresql"], indirect=True)
"""One store is enough where stores make no difference."""


@pytest.fixture(params=[*STORES.values(), google_bucket], ids=[*STORES, "gs"])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    with request.param() as backend:
        yield backend


@pytest.fixture
def shared(make_served: Callable[[Vendor], Project], backend: Backend) -> Project:
    project = make_served(HETZNER)
    project.environ |= backend.environ
    policy = {
        "metrics": {"jobs": {"command": {"run": ["cat", "jobs"]}}},
        "rules": [{"backlog": {"metric": "jobs", "per_server": 10}}],
        "down": {"stabilise": "6s", "cooldown": "1s"},
    }
    worker = {"count": 1, "min": 1, "max": 6, "autoscale": policy}
    project.describe(backend=backend.url, groups={"worker": worker})
    return project


def test_many_machines_decide_as_one_watch_and_know_what_the_others_did(shared: Project) -> None:
    made: list[dict[str, Any]] = []
    for run in range(_RUNS or _MOST_RUNS):
        (shared.folder / "jobs").write_text("38" if run < 3 else "12")
        arguments = ("autoscale", "--yes", "--wait", "-o", "json", "--state-dir", f"machine{run}")
        ran = shared.run(*arguments)
        assert "warning" not in ran.stderr
        made.append(ran.document["decisions"]["worker"])
        if not _RUNS and made[-1]["to"] == made[-1]["from"] == 2:
            break
    # At once to four, as many runs at four as the window is long, then down to two and not a run before.
    assert [decision["to"] for decision in made[:3]] == [4] * 3
    assert made[-1]["to"] == 2
    assert len(shared.machines) == 2
    assert made == _as_one_watch(shared, made)
    # Each server was made once.
    assert sorted(shared.asked_for) == [f"demo-worker-{number}" for number in range(1, 5)]

    # Another machine, which never ran anything.
    elsewhere = ("--state-dir", "laptop", "-o", "json")
    status = shared.run("status", *elsewhere).document
    assert {server["name"] for server in status["servers"] if server["status"] == "running"} == set(shared.machines)
    # Who only looks knows it too, and leaves no trace.
    (shared.folder / "jobs").write_text("12")
    started = len(shared.engine_runs)
    shown = shared.run("autoscale", "--preview", *elsewhere).document["decisions"]["worker"]
    assert (shown["from"], shown["to"]) == (2, 2)
    assert len(shared.engine_runs) == started, "where nothing is to be done, the stack is read without the engine"
    assert not list((shared.folder / "laptop").glob("demo*"))
    history = shared.run("history", "-n", "1000", *elsewhere).document["events"]
    decided = [event["decision"] for event in history if event["event"] == "autoscale.decided"]
    assert [(one["from"], one["to"]) for one in decided if one["from"] != one["to"]] == [(1, 4), (4, 2)]
    # Those made together may differ by a second, either way.
    gone, stays = sorted(shared.asked_for, key=lambda name: name in shared.machines)[::3]
    why = shared.run("why", gone, *elsewhere).document
    assert why["decision"]["event"] == "server.deleted"
    boots = shared.run("why", stays, *elsewhere).document
    assert boots["decision"] is not None
    told = shared.run("report", *elsewhere).document["conclusion"]
    assert told[0] == "All wanted servers are ready: worker 2 of 2."
    assert told[1].startswith("Autoscaling changed the count 2 times (1 up, 1 down).")


def _as_one_watch(project: Project, made: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What one process, which forgets nothing, decides on the same numbers at the same moments."""
    group = load(project.spec_path, "scaler").groups["worker"]
    history, decided = History(), []
    for one in made:
        read = one["metrics"]["jobs"]
        samples = {"jobs": Sample(read["value"], datetime.fromisoformat(read["at"]))}
        supply = Supply(one["from"], one["supply"], one["ready"])
        decision = decide(group, samples, supply, history, datetime.fromisoformat(one["at"]))
        history = decision.carried_out
        decided.append(decision_document(decision))
    return decided


@_IN_DATABASE
@pytest.mark.calm("which deletes were answered depends on those that fail")
def test_what_a_killed_machine_meant_to_delete_is_no_loss_to_another(shared: Project) -> None:
    shared.ensure("5")
    hanging = shared.fault("hang_forever", "DELETE", one=True, skip=3, times=None)
    process = shared.start("ensure", "1", "--yes")
    try:
        wait_until(lambda: shared.world.fired(hanging), "a delete that hangs")
        wait_until(lambda: len(shared.machines) == 2, "three that are gone")
    finally:
        process.kill()
        process.communicate()
        # It may have ended by itself, without the plugin.
        with suppress(ProcessLookupError):
            os.kill(shared.engine_runs[-1][0], signal.SIGKILL)
    shared.world.clear_faults()
    # Its disk is gone too: all that another machine has is the backend, in which the engine holds five servers.
    elsewhere = ("--state-dir", "elsewhere")
    meant = shared.run("status", "-o", "json", *elsewhere).document["servers"]
    assert [server["status"] for server in meant].count("deleting") == 4
    shared.run("unlock", "--force", "--yes", *elsewhere)
    done = shared.run("ensure", "1", "--yes", "-o", "json", *elsewhere).document
    assert done["outcome"] == "converged"
    assert len(shared.machines) == 1
    assert len(shared.asked_for) == 5


@pytest.mark.parametrize("backend", [database, bucket], ids=["postgresql", "s3"], indirect=True)
def test_the_shared_log_is_replayed_elsewhere_and_pruned(shared: Project) -> None:
    # The first machine has a winter of events that nobody shares yet.
    old = [
        {"event": "drift.found", "at": f"2026-01-01T{number // 60:02}:{number % 60:02}:00Z", "reason": "x" * 400}
        for number in range(1400)
    ]
    (shared.folder / "machine0").mkdir()
    lines = (json.dumps(event) + "\n" for event in old)
    (shared.folder / "machine0" / "demo.events.jsonl").write_text("".join(lines), encoding="utf-8")
    for run, jobs in enumerate(("12", "38")):
        (shared.folder / "jobs").write_text(jobs)
        shared.run("autoscale", "--yes", "--wait", "--state-dir", f"machine{run}")
    assert len(shared.machines) == 4

    elsewhere = ("--state-dir", "laptop", "-o", "json")
    replayed = shared.run("simulate", "--metrics", "recorded", "--price", "0.01", *elsewhere).document
    (simulation,) = replayed["simulations"]
    measured = [decision["metrics"]["jobs"]["value"] for decision in simulation["decisions"]]
    assert (measured[0], measured[-1]) == (12, 38)
    assert simulation["servers"]["most"] == 4

    def logged() -> tuple[int, list[str]]:
        """How many of the old events are there, and the others."""
        events = shared.run("history", "-n", "10000", *elsewhere).document["events"]
        names = [event["event"] for event in events]
        return names.count("drift.found"), [name for name in names if name != "drift.found"]

    number, young = logged()
    assert number == len(old)
    assert young.count("server.running") == 4
    assert shared.run("prune", "--preview", "--older-than", "1d", *elsewhere).document["removed"]["events"] == 1
    assert logged() == (number, young)
    assert shared.run("prune", "--older-than", "1d", *elsewhere).document["removed"]["events"] == 1
    # The last ones stay, however old, since the next run learns from them.
    left, still = logged()
    assert 0 < left < number / 2
    assert still == young
    assert shared.run("prune", "--older-than", "1d", *elsewhere).document["removed"]["events"] == 0
    # A machine that remembers the log as it was does not bring it back.
    shared.run("ensure", "worker=2", "--yes", "--state-dir", "machine0")
    assert logged()[0] <= left


@_IN_DATABASE
def test_a_machine_that_cannot_share_says_so_and_goes_on(shared: Project, backend: Backend) -> None:
    shared.ensure("2")
    nowhere = backend.url.replace("127.0.0.1", "127.0.0.2")
    spec = shared.spec_path.read_text()
    shared.spec_path.write_text(spec.replace(backend.url, nowhere))
    here = shared.run("status", "-o", "json")
    assert {server["name"] for server in here.document["servers"]} == set(shared.machines)
    assert "the shared records could not be read; this folder shows its own" in here.stderr
    shared.spec_path.write_text(spec)
    assert shared.run("status").stderr == ""


@_IN_DATABASE
@pytest.mark.calm("which deletes were answered depends on those that fail")
def test_who_waits_for_the_lock_forgets_nothing_that_its_holder_means_to_delete(shared: Project) -> None:
    shared.ensure("5")
    meant = shared.by_age[1:]
    hanging = shared.fault("hang_forever", "DELETE", one=True, times=None)
    process = shared.start("ensure", "1", "--yes")
    try:
        wait_until(lambda: shared.world.fired(hanging), "deletes that hang")
        engine = next(pid for pid, operation in reversed(shared.engine_runs) if operation == "up")
        # Another machine sees all five run, wants three of them, waits for the lock, gives up, and shares that.
        shared.run("ensure", "3", "--yes", "--lock-timeout", "1s", "--state-dir", "second", code=5)
    finally:
        process.kill()
        process.communicate()
        with suppress(ProcessLookupError):
            os.kill(engine, signal.SIGKILL)
    # The requests arrived, and nobody heard their answers.
    for name in meant:
        shared.world.vanish("hetzner", shared.machine(name).id)
    shared.world.clear_faults()
    elsewhere = ("--state-dir", "third")
    shared.run("unlock", "--force", "--yes", *elsewhere)
    # It is no loss of most of the stack, and nothing is replaced for it.
    shared.run("ensure", "1", "--yes", *elsewhere)
    assert len(shared.machines) == 1
    assert len(shared.asked_for) == 5
    events = shared.run("history", "-n", "1000", "-o", "json", *elsewhere).document["events"]
    assert {event["server"] for event in events if event["event"] == "server.deleted"} == set(meant)
