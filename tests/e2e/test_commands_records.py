"""What happened, why, what is in no state, who holds the stack, and what nobody needs any more."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.project import Project, finish, wait_until


def document(project: Project, *arguments: str, code: int = 0) -> dict[str, Any]:
    return project.run(*arguments, "-o", "json", code=code).document


# ---------------------------------------------------------------------------------------------
# history and why


def test_history_tells_every_run_with_its_start_and_its_end(hetzner: Project) -> None:
    assert hetzner.run("history").stdout.startswith("Nothing has happened yet. To make the servers")
    hetzner.ensure("2")
    _, youngest = hetzner.by_age
    hetzner.run("decrease", "--yes")
    hetzner.ensure("11", code=3)
    hetzner.run("preview", "5")
    events = document(hetzner, "history")["events"]
    assert events == hetzner.events
    around = [(event["event"], event["cause"]) for event in events if event["event"].startswith("run.")]
    assert around == [
        (f"run.{end}", cause)
        for cause in ("ensure worker=2", "decrease 1 --group worker", "ensure worker=11")
        for end in ("started", "finished")
    ]
    results = [event["result"] for event in events if event["event"] == "run.finished"]
    assert [result["outcome"] for result in results] == ["converged", "converged", "refused"]
    assert results[0]["groups"] == {"worker": {"wanted": 2, "before": 0, "ready": 2}}
    assert results[0]["requests"]["create"] == 2

    own = document(hetzner, "history", "--server", youngest)["events"]
    assert [event["event"] for event in own] == [
        "server.creating",
        "server.running",
        "server.deleting",
        "server.deleted",
    ]
    assert document(hetzner, "history", "--server", youngest, "-n", "1")["events"] == own[-1:]
    assert yaml.safe_load(hetzner.run("history", "-o", "yaml").stdout)["events"] == events
    assert f"| server.deleted | {youngest} |" in hetzner.run("history", "-o", "markdown").stdout
    table = hetzner.run("history").stdout.splitlines()
    assert table[0].split() == ["AT", "EVENT", "SERVER", "FROM", "TO", "REASON", "CAUSE"]
    assert len(table) == len(events) + 1


def test_why_names_the_decision_its_numbers_and_its_deadline(hetzner: Project) -> None:
    hetzner.ensure("3")
    why = document(hetzner, "why", "demo-worker-3")
    assert why["record"]["status"] == "running"
    assert why["decision"]["reason"] == "worker wants 3, has 0"
    assert why["run"]["cause"] == "ensure worker=3"
    assert why["run"]["groups"] == {"worker": {"wanted": 3, "before": 0, "ready": 3}}
    assert why["run"]["requests"]["create"] == 3
    assert why["run"]["outcome"] == "converged"
    assert why["deadline"] == {"seconds": 600.0, "why": "start_within of the spec"}
    assert [event["to"] for event in why["transitions"]] == ["new", "running"]

    *_, youngest = hetzner.by_age
    hetzner.ensure("1")
    gone = document(hetzner, "why", youngest)
    assert gone["decision"]["reason"] == "worker wants 1, has 3: newest first"
    assert gone["run"]["groups"] == {"worker": {"wanted": 1, "before": 3, "ready": 1}}
    # Five boots were seen by then: the deadline is learned.
    hetzner.ensure("4")
    assert document(hetzner, "why", "demo-worker-1")["deadline"]["seconds"] == 120
    text = hetzner.run("why", "demo-worker-4").stdout
    for part in ("worker wants 4, has 1", "`ensure worker=4`", "wanted 4, before 1, ready 4", "learned from 6 boots"):
        assert part in text
    assert "| why | worker wants 4, has 1 |" in hetzner.run("why", "demo-worker-4", "-o", "markdown").stdout
    assert "demo-worker" in document(hetzner, "why", "demo-worker-99", code=64)["error"]["fix"]


def test_why_of_a_server_whose_run_was_killed(hetzner: Project) -> None:
    hetzner.ensure("1")
    before = len(hetzner.engine_runs)
    release = hetzner.hold_engine("refresh")
    run = hetzner.start("ensure", "2", "--yes", start_new_session=True)
    wait_until(lambda: any(word == "refresh" for _, word in hetzner.engine_runs[before:]), "the record step")
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    release()
    why = document(hetzner, "why", "demo-worker-2")
    assert why["decision"]["reason"] == "worker wants 2, has 1"
    assert why["run"]["started"] is not None
    assert why["run"]["finished"] is None
    assert "not finished: the run is still going on, or was killed" in hetzner.run("why", "demo-worker-2").stdout


# ---------------------------------------------------------------------------------------------
# orphans


def lose_the_stack(project: Project) -> None:
    """The backend is gone; the state file knows the stack's id and its servers."""
    for lost in (project.state_dir / "pulumi", project.state_dir / "engine"):
        shutil.rmtree(lost)


@pytest.mark.acceptance("R08")
@pytest.mark.one_cloud
def test_orphans_are_listed_adopted_and_deleted(project: Project) -> None:
    foreign = project.world.add_server(project.vendor.name, "demo-worker-8")
    project.ensure("3")
    three = project.agreed()
    assert document(project, "orphans")["orphans"] == []
    lose_the_stack(project)
    project.world.clear_log()
    listed = document(project, "orphans")["orphans"]
    assert {server["name"]: server["id"] for server in listed} == three
    assert project.changes == []
    assert document(project, "orphans", "--adopt", code=64)["error"]["code"] == "consent_missing"

    adopted = document(project, "orphans", "--adopt", "--yes")
    assert [step["action"] for step in adopted["steps"]] == ["adopt"] * 3
    assert project.agreed() == three

    lose_the_stack(project)
    deleted = document(project, "orphans", "--delete", "--yes")
    assert sorted(step["action"] for step in deleted["steps"]) == ["adopt"] * 3 + ["delete"] * 3
    assert project.agreed() == {}
    assert project.world.servers(project.vendor.name) == [foreign]


def test_orphans_that_are_off_go_and_servers_of_the_stack_stay(hetzner: Project) -> None:
    hetzner.ensure("2")
    two = hetzner.agreed()
    labels = hetzner.vendor.labels_of(hetzner.machine("demo-worker-1"))
    hetzner.world.add_server("hetzner", "demo-worker-5", labels=labels, status="off")
    hetzner.world.add_server("hetzner", "demo-worker-6", labels=labels)
    text = hetzner.run("orphans").stdout
    assert [line.split()[0] for line in text.splitlines()] == ["NAME", "demo-worker-5", "demo-worker-6"]
    assert "| demo-worker-5 |" in hetzner.run("orphans", "-o", "markdown").stdout
    document(hetzner, "orphans", "--delete", "--yes")
    assert hetzner.agreed() == two


# ---------------------------------------------------------------------------------------------
# unlock


def engine_lock(project: Project, *, host: str, pid: int) -> Path:
    folder = project.state_dir / "pulumi" / ".pulumi" / "locks" / "organization" / "scaler" / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / "1234.json"
    facts = {"pid": pid, "username": "ci", "hostname": host, "timestamp": "2026-11-24T22:10:00Z"}
    lock.write_text(json.dumps(facts), encoding="utf-8")
    return lock


def test_unlock_removes_the_locks_of_the_dead_and_no_others(hetzner: Project) -> None:
    assert hetzner.run("unlock", "--yes").stdout == "No lock.\n"
    dead = subprocess.Popen(["/bin/true"])
    dead.wait()
    lock = engine_lock(hetzner, host=socket.gethostname(), pid=dead.pid)
    asked = document(hetzner, "unlock", code=64)["error"]
    assert asked["code"] == "consent_missing"
    assert f"process {dead.pid}" in asked["why"]
    assert lock.exists()
    removed = document(hetzner, "unlock", "--yes")["removed"]
    assert [item["kind"] for item in removed] == ["engine"]
    assert not lock.exists()

    # Whether somebody on another machine is alive cannot be seen.
    elsewhere = engine_lock(hetzner, host="build-7", pid=1)
    held = document(hetzner, "unlock", "--yes", code=5)["error"]
    assert "build-7" in held["why"]
    assert "--force" in held["fix"]
    assert elsewhere.exists()
    document(hetzner, "unlock", "--yes", "--force")
    assert not elsewhere.exists()


def test_unlock_of_a_run_that_is_at_work(hetzner: Project) -> None:
    release = hetzner.hold_engine("up")
    run = hetzner.start("ensure", "1", "--yes", "-o", "json")
    wait_until(lambda: any(word == "up" for _, word in hetzner.engine_runs), "the up")
    held = document(hetzner, "unlock", "--yes", code=5)["error"]
    assert "`ensure worker=1`" in held["why"]
    release()
    assert finish(run).code == 0
    assert len(hetzner.agreed()) == 1


def test_a_killed_run_leaves_no_lock_but_a_note(hetzner: Project) -> None:
    release = hetzner.hold_engine("up")
    run = hetzner.start("ensure", "1", "--yes")
    wait_until(lambda: any(word == "up" for _, word in hetzner.engine_runs), "the up")
    run.kill()
    run.communicate()
    release()
    (removed,) = [item for item in document(hetzner, "unlock", "--yes", "--force")["removed"] if item["kind"] == "run"]
    assert "`ensure worker=1`" in removed["holder"]
    assert not (hetzner.state_dir / "demo.lock.json").exists()


# ---------------------------------------------------------------------------------------------
# prune


def test_a_run_keeps_the_engine_s_last_hundred_copies_and_logs(hetzner: Project) -> None:
    hetzner.ensure("1")
    history = hetzner.state_dir / "pulumi" / ".pulumi" / "history" / "scaler" / "demo"
    logs = hetzner.state_dir / "engine" / "logs"
    for number in range(120):
        (history / f"demo-{number:019}.history.json").touch()
        older = logs / f"{number}.log"
        older.touch()
        os.utime(older, (number, number))
    newest = {path.name.partition(".")[0] for path in history.iterdir() if not path.name.startswith("demo-00")}

    # A run that starts no engine has nothing to tidy.
    hetzner.ensure("1")
    assert len(list(logs.iterdir())) > 120
    hetzner.ensure("2")
    kept = {path.name.partition(".")[0] for path in history.iterdir()}
    assert len(kept) == len(list(logs.iterdir())) == 100
    assert newest < kept
    assert not (logs / "0.log").exists()
    assert len(hetzner.agreed()) == 2


@pytest.mark.acceptance("Q10")
def test_prune_removes_what_is_old_and_nothing_else(hetzner: Project, tmp_path: Path) -> None:
    hetzner.ensure("2")
    hetzner.ensure("1")
    one = hetzner.agreed()
    temporary = tmp_path / "tmp"
    left = temporary / "automation-logs-up-x" / "eventlog.txt"
    left.parent.mkdir(parents=True)
    left.touch()
    other = temporary / "other" / "eventlog.txt"
    other.parent.mkdir()
    other.touch()
    hetzner.environ["TMPDIR"] = str(temporary)
    history = hetzner.state_dir / "pulumi" / ".pulumi" / "history" / "scaler" / "demo"
    logs = hetzner.state_dir / "engine" / "logs"
    before = sorted(history.iterdir())
    newest = before[-1].name.partition(".")[0]
    assert document(hetzner, "prune")["removed"] == {"records": 0, "events": 0, "history": 0, "logs": 0, "temporary": 0}

    long_ago = time.time() - 8 * 86_400
    for path in (*history.iterdir(), *logs.iterdir(), left, other):
        os.utime(path, (long_ago, long_ago))
    fresh = logs / "fresh.log"
    fresh.touch()
    state = hetzner.state
    for server in state["servers"]:
        server["since"] = "2020-01-01T00:00:00Z"
    hetzner.state_path.write_text(json.dumps(state), encoding="utf-8")

    told = document(hetzner, "prune", "--preview")
    assert sorted(history.iterdir()) == before
    assert len(hetzner.state["servers"]) == 2
    pruned = document(hetzner, "prune")
    assert pruned["removed"] == told["removed"]
    assert pruned["removed"]["records"] == 1
    assert pruned["removed"]["temporary"] == 1
    # The last operation's copies stay, and so does everything that is young or somebody else's.
    assert {path.name.partition(".")[0] for path in history.iterdir()} == {newest}
    assert pruned["removed"]["history"] == len(before) - len(list(history.iterdir()))
    assert list(logs.iterdir()) == [fresh]
    assert not left.parent.exists()
    assert other.exists()
    assert [server["name"] for server in hetzner.state["servers"]] == list(one)

    # The engine does not miss it.
    hetzner.ensure("2")
    assert hetzner.agreed().items() > one.items()


# ---------------------------------------------------------------------------------------------
# Completion


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("scaler remove ", {"demo-worker-1", "demo-worker-2"}),
        ("scaler stop demo-worker-1 ", {"demo-worker-2"}),
        ("scaler reboot --group ", {"worker"}),
        ("scaler why demo-w", {"demo-worker-1", "demo-worker-2"}),
        ("scaler increase --stack ", {"demo"}),
    ],
)
def test_completion_of_names(hetzner: Project, typed: str, offered: set[str]) -> None:
    state = {
        "schema": 1,
        "stack": "demo",
        "project": "scaler",
        "cloud": "hetzner",
        "serial": 1,
        "updated": "2026-11-24T22:10:00Z",
        "wanted": {"worker": 2},
        "servers": [
            {"name": f"demo-worker-{n}", "group": "worker", "status": status, "since": "2026-11-24T22:10:00Z"}
            for n, status in ((1, "running"), (2, "starting"), (3, "deleted"))
        ],
    }
    hetzner.state_path.write_text(json.dumps(state), encoding="utf-8")
    words = typed.split(" ")
    environ = {"_SCALER_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    done = hetzner.run(environ=environ)
    assert {line.partition(",")[2] for line in done.stdout.split()} == offered
