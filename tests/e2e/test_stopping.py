"""Bringing servers to rest, telling of it, and forgetting it: what a run leaves behind, and in which order."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.project import DIGITALOCEAN, HETZNER, Project, finish, is_alive, wait_until


def names(*numbers: int) -> set[str]:
    return {f"demo-worker-{number}" for number in numbers}


def script(project: Project, name: str, text: str) -> str:
    """An executable script of the project; how its spec names it."""
    path = project.folder / name
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return f"./{name}"


def draining(project: Project, text: str, **stop: Any) -> dict[str, Any]:
    """A group's `stop`, whose drain is this script, with the server's name and address."""
    return {"stop": {"drain": [script(project, "drain.sh", text), "{name}", "{ip}"], **stop}}


@contextmanager
def running(project: Project, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command at work; it does not outlast a test that fails."""
    run = project.start(*arguments)
    try:
        yield run
    finally:
        if run.poll() is None:
            run.terminate()
            run.wait(60)


def seen(run: subprocess.Popen[str], condition: Callable[[], Any], what: str) -> Any:
    """The condition's value once it holds, while the command runs."""
    value = wait_until(lambda: condition() or (run.poll() is not None and "ended"), what)
    assert value != "ended", f"{what}: never seen, the command ended with {run.returncode}: {finish(run)}"
    return value


def lines_of(project: Project, name: str) -> list[str]:
    path = project.folder / name
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def events_of(project: Project, name: str) -> list[str]:
    return [event["event"].removeprefix("server.") for event in project.events if event["server"] == name]


def reason_of(project: Project, name: str, event: str) -> str:
    (reason,) = [one["reason"] for one in project.events if (one["server"], one["event"]) == (name, event)]
    return str(reason)


# ---------------------------------------------------------------------------------------------
# Drain


@pytest.mark.acceptance("S10")
def test_one_of_five_drains_never_ends_and_holds_up_nothing_else(hetzner: Project) -> None:
    text = 'if [ "$1" = demo-worker-4 ]; then trap "" TERM; echo 3 jobs left; echo $$ > stuck; sleep 1000; fi'
    # Servers of one batch may be made in different seconds, so that another one is the oldest.
    workers = {"count": 6, "protect": ["demo-worker-1"], **draining(hetzner, text, drain_within="25s")}
    hetzner.describe(groups={"worker": workers, "web": {"count": 1}}, limit=20)
    hetzner.ensure()
    six = hetzner.machines
    hetzner.world.clear_log()

    with running(hetzner, "ensure", "worker=1", "web=3", "--yes", "-o", "json") as run:
        seen(run, lambda: set(hetzner.machines) & set(six) == {"demo-web-1"} | names(1, 4), "four gone")
        # At this moment the fifth is still draining, and the other group has what it wanted.
        (stuck,) = lines_of(hetzner, "stuck")
        assert is_alive(int(stuck))
        assert {"demo-web-1", "demo-web-2", "demo-web-3"} <= set(hetzner.machines)
        ran = finish(run)
    assert (ran.code, ran.document["outcome"]) == (0, "converged"), ran.stderr
    assert set(hetzner.agreed()) == {"demo-worker-1", "demo-web-1", "demo-web-2", "demo-web-3"}
    wait_until(lambda: not is_alive(int(stuck)), "the drain's end")
    words = "the drain command did not end within 25s: 3 jobs left"
    assert f"demo-worker-4: {words}" in ran.stderr
    assert reason_of(hetzner, "demo-worker-4", "server.deleting").endswith(f"; {words}")
    deleted = [request.path.rpartition("/")[2] for request in hetzner.requests("DELETE")]
    assert deleted[-1] == six["demo-worker-4"]
    assert len(deleted) == len(set(deleted)) == 5


def test_drains_run_in_the_project_folder_once_per_server_that_serves(hetzner: Project) -> None:
    check = {"command": [script(hetzner, "ready.sh", '[ "$1" != demo-worker-4 ]'), "{name}"]}
    hetzner.describe(
        groups={
            "worker": {"ready": check, "protect": ["demo-worker-1"], **draining(hetzner, 'echo "$PWD $*" >> drained')}
        }
    )
    hetzner.ensure("3")
    hetzner.ensure("4", "--no-wait", code=4)
    addresses = {name: record["ipv4"] for name, record in hetzner.records.items()}
    ran = hetzner.ensure("1")
    # The one that never got ready has nothing to finish.
    assert {server for action, server, _ in ran.steps if action == "delete"} == names(2, 3, 4)
    assert sorted(lines_of(hetzner, "drained")) == [
        f"{hetzner.folder} {name} {addresses[name]}" for name in sorted(names(2, 3))
    ]


@pytest.mark.acceptance("S10")
@pytest.mark.one_cloud
def test_a_failed_drain_keeps_its_server_where_the_spec_says_so_and_the_run_says_it(project: Project) -> None:
    project.describe(groups={"worker": draining(project, "exit 0", on_drain_failure="keep", shutdown_within="1m")})
    project.ensure()
    three = project.agreed()
    oldest, other, youngest = project.by_age
    script(project, "drain.sh", f'if [ "$1" = {youngest} ]; then echo cannot reach the queue >&2; exit 7; fi')
    words = "the drain command ended with 7: cannot reach the queue"

    failed = project.ensure("1", code=1)
    assert failed.document["outcome"] == "failed"
    counts = failed.document["groups"]["worker"]
    assert (counts["wanted"], counts["before"], counts["ready"]) == (1, 3, 2)
    (kept,) = [step for step in failed.document["steps"] if step["result"] == "failed"]
    assert (kept["server"], kept["error"]) == (youngest, words)
    assert f"{youngest} was kept" in failed.stderr
    assert project.agreed() == {name: three[name] for name in three if name != other}
    assert project.machine(youngest).status(project.world.now) in ("running", "active")

    # The drain is mended: the next run ends what this one could not.
    script(project, "drain.sh", "exit 0")
    project.ensure("1")
    assert project.agreed() == {oldest: three[oldest]}


@pytest.mark.acceptance("T09")
@pytest.mark.parametrize(
    ("vendor", "number", "code"),
    [(HETZNER, signal.SIGTERM, 143), (DIGITALOCEAN, signal.SIGHUP, 129), (DIGITALOCEAN, signal.SIGKILL, -9)],
    ids=["hetzner-SIGTERM", "digitalocean-SIGHUP", "digitalocean-SIGKILL"],
)
def test_a_drain_outlives_its_run_and_the_next_one_finds_its_result(
    project: Project, number: signal.Signals, code: int
) -> None:
    text = "echo $$ >> pids; while [ ! -e over ]; do sleep 0.05; done; echo done >> drained"
    project.describe(groups={"worker": {"count": 2, **draining(project, text, drain_within="1h")}})
    project.ensure()
    two = project.agreed()
    oldest, youngest = project.by_age
    with running(project, "ensure", "1", "--yes", "-o", "json") as run:
        (pid,) = seen(run, lambda: lines_of(project, "pids"), "the drain")
        seen(run, lambda: project.checkpoint.outputs[youngest].get("drain"), "the drain in the stack")
        run.send_signal(number)
        assert finish(run).code == code
    assert is_alive(int(pid))
    assert project.machines == two

    # Meanwhile others do what they are for, one-shot as from cron, and nobody is locked out.
    project.world.clear_log()
    assert project.ensure("1", "--no-wait", code=4).document["steps"] == []
    assert project.changes == []
    shown = project.records[youngest]
    assert (shown["status"], shown["drain"]["stage"]) == ("stopping", "draining")
    assert "draining until" in project.run("status").stdout
    (project.folder / "over").touch()
    project.ensure("1")
    assert lines_of(project, "drained") == ["done"]
    assert project.agreed() == {oldest: two[oldest]}
    assert events_of(project, youngest)[2:] == ["stopping", "draining", "deleting", "deleted"]


@pytest.mark.acceptance("T10")
@pytest.mark.one_cloud
def test_a_draining_server_is_taken_back_before_a_new_one_is_created(project: Project) -> None:
    stop = draining(project, "echo $$ >> pids; sleep 1000")["stop"]
    stop["resume"] = [script(project, "resume.sh", 'echo "$1" >> resumed'), "{name}"]
    project.describe(groups={"worker": {"count": 2, "stop": stop}})
    project.ensure()
    two = project.agreed()
    _, youngest = project.by_age
    project.ensure("1", "--no-wait", code=4)
    (pid,) = wait_until(lambda: lines_of(project, "pids"), "the drain")
    project.world.clear_log()
    assert [step[:2] for step in project.run("preview", "2", "-o", "json").steps] == [("resume", youngest)]
    ran = project.ensure("2")
    assert [step[:2] for step in ran.steps] == [("resume", youngest)]
    assert (lines_of(project, "resumed"), project.changes, project.agreed()) == ([youngest], [], two)
    assert not is_alive(int(pid))
    assert events_of(project, youngest)[2:] == ["stopping", "draining", "resumed"]


# ---------------------------------------------------------------------------------------------
# Shutdown


def powers(project: Project) -> list[str]:
    """The requests by which servers were stopped and removed, in order."""
    words = []
    for request in project.changes:
        kind = json.loads(request.body or "{}").get("type") or request.path.rpartition("/")[2]
        words.append("delete" if request.method == "DELETE" else kind.replace("power_off", "poweroff"))
    return words


@pytest.mark.acceptance("Q15")
def test_shutdown_comes_before_the_delete_and_every_status_is_told(project: Project) -> None:
    project.describe(groups={"worker": {"count": 1, "stop": {"shutdown_within": "1m"}}})
    project.ensure()
    project.world.clear_log()
    project.ensure("0", "--allow-zero")
    assert powers(project) == ["shutdown", "delete"]
    assert events_of(project, "demo-worker-1") == [
        "creating",
        "running",
        "stopping",
        "stopped",
        "deleting",
        "deleted",
    ]


def test_an_ignored_shutdown_ends_with_the_power_cut_and_is_told(project: Project) -> None:
    project.describe(groups={"worker": {"count": 1, "stop": {"shutdown_within": "2s"}}})
    project.ensure()
    project.world.add_fault("shutdown_ignored", method="POST", times=None)
    project.world.clear_log()
    ran = project.ensure("0", "--allow-zero")
    assert powers(project) == ["shutdown", "poweroff", "delete"]
    assert "demo-worker-1: did not shut down within 2s" in ran.stderr
    assert reason_of(project, "demo-worker-1", "server.deleting").endswith("; did not shut down within 2s")
    assert project.agreed() == {}


# ---------------------------------------------------------------------------------------------
# Telling


@pytest.fixture
def mute_port() -> Iterator[int]:
    """A port where connections are taken and nothing is ever answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield int(listener.getsockname()[1])


def test_a_webhook_that_hangs_and_a_command_that_fails_change_no_result(hetzner: Project, mute_port: int) -> None:
    told = script(hetzner, "tell.sh", "cat >> told")
    hetzner.describe(
        notify=[
            {"url": f"http://127.0.0.1:{mute_port}/hook"},
            {"command": [script(hetzner, "broken.sh", "cat; exit 9")], "events": ["server.*"]},
            {"command": [told], "events": ["*"]},
        ]
    )
    for count, outcome in (("2", "converged"), ("1", "converged")):
        ran = hetzner.ensure(count)
        assert ran.document["outcome"] == outcome
        assert len(hetzner.agreed()) == int(count)
    assert "could not be sent to 127.0.0.1" in ran.stderr
    assert "could not be sent to ./broken.sh: ended with 9" in ran.stderr
    # Who listens was told everything, in the order of the log.
    documents = [json.loads(line) for line in lines_of(hetzner, "told")]
    assert [{key: one[key] for key in one if key not in ("schema", "stack")} for one in documents] == hetzner.events
    assert {(one["schema"], one["stack"]) for one in documents} == {(1, "demo")}


# ---------------------------------------------------------------------------------------------
# Forgetting


@pytest.mark.acceptance("Q10")
def test_records_of_deleted_servers_go_after_their_retention_and_no_others(hetzner: Project) -> None:
    def recorded() -> dict[str, str]:
        return {server["name"]: server["status"] for server in hetzner.state["servers"]}

    hetzner.describe(retention="1h")
    hetzner.ensure("3")
    oldest, *others = hetzner.by_age
    hetzner.ensure("1")
    kept = {oldest: "running", **dict.fromkeys(others, "deleted")}
    hetzner.run("status", "--refresh")
    assert recorded() == kept

    # A longer retention keeps what is old, a shorter one does not; what runs stays, however old.
    state = hetzner.state
    for server in state["servers"]:
        server["since"] = "2020-01-01T00:00:00Z"
    hetzner.state_path.write_text(json.dumps(state), encoding="utf-8")
    hetzner.describe(retention="3650d")
    hetzner.run("status", "--refresh")
    assert recorded() == kept
    hetzner.describe(retention="1h")
    hetzner.run("status", "--refresh")
    assert recorded() == {oldest: "running"}
    hetzner.ensure("1")
    assert recorded() == {oldest: "running"}
