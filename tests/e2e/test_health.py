"""Servers in service that stop working: checked, told of, and replaced, by the real command line and engine."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from socket import socket
from threading import Event, Thread
from typing import Any

import pytest

from tests.support.processes import HttpServer
from tests.support.project import Project, Ran, finish, wait_until


def checked(project: Project, **group: Any) -> None:
    """Describe a group of which every server is checked whose name is not in a file of the project."""
    for name, text in (
        ("healthy.sh", '[ ! -e "ill-$1" ] || { echo "disk full"; exit 1; }'),
        ("drain.sh", "echo $1 >> drained"),
    ):
        path = project.folder / name
        path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        path.chmod(0o755)
    healthy = {"command": ["./healthy.sh", "{name}"], "every": "1s", "failures": 2}
    worker = {"healthy": healthy, "stop": {"drain": ["./drain.sh", "{name}"]}, **group}
    project.describe(groups={"worker": worker})


def again(project: Project, *arguments: str, code: int = 0) -> Ran:
    """Run a command when the pause between two checks is over."""
    time.sleep(1.1)
    return project.run(*arguments, code=code)


@pytest.mark.acceptance("T11")
def test_an_unhealthy_server_is_replaced_once_with_the_new_one_first(project: Project) -> None:
    checked(project, count=3)
    project.ensure()
    three = project.agreed()
    (project.folder / "ill-demo-worker-2").touch()
    project.world.clear_log()

    # Two one-shot commands: the second one goes on counting.
    again(project, "refresh")
    record = project.records["demo-worker-2"]
    assert (record["status"], record["health"]["failures"], record["health"]["problem"]) == (
        "running",
        1,
        "./healthy.sh ended with 1: disk full",
    )
    assert project.checkpoint.outputs["demo-worker-2"]["health"]["failures"] == 1, "also for runs elsewhere"
    told = again(project, "refresh", "--detailed-exitcode", code=2)
    words = "./healthy.sh ended with 1: disk full (2 checks in a row failed)"
    assert f"demo-worker-2 ({three['demo-worker-2']}) is unhealthy: {words}" in told.stdout
    assert project.changes == [], "refresh changes no server"
    shown = project.run("status").stdout
    assert "unhealthy" in shown and words in shown and "2 of 3 ready" in shown
    assert words in project.run("why", "demo-worker-2").stdout
    assert "server.unhealthy" in project.run("history").stdout

    preview = project.run("preview", "-o", "json")
    steps = [(step["action"], step["server"], step["reason"]) for step in preview.document["steps"]]
    assert steps == [
        ("create", "demo-worker-4", f"instead of demo-worker-2, unhealthy: {words}"),
        ("delete", "demo-worker-2", f"unhealthy: {words}"),
    ]
    assert f"unhealthy: {words}" in project.run("preview", "-o", "markdown").stdout.replace("\\", "")

    ran = project.ensure()
    assert [step[:2] for step in ran.steps] == [("create", "demo-worker-4"), ("delete", "demo-worker-2")]
    assert (project.folder / "drained").read_text() == "demo-worker-2\n"
    methods = [request.method for request in project.changes]
    assert methods.index("POST") < methods.index("DELETE")
    left = project.agreed()
    assert {name: left[name] for name in ("demo-worker-1", "demo-worker-3")} == {
        name: three[name] for name in ("demo-worker-1", "demo-worker-3")
    }
    assert set(left) == {"demo-worker-1", "demo-worker-3", "demo-worker-4"}
    events = [event["event"] for event in project.events if event["server"] == "demo-worker-2"]
    assert events == [
        f"server.{name}" for name in ("creating", "running", "unhealthy", "stopping", "draining", "deleting", "deleted")
    ]
    project.world.clear_log()
    assert again(project, "ensure", "3", "--yes", "-o", "json").document["outcome"] == "unchanged"
    assert project.changes == []


@pytest.mark.acceptance("T11")
def test_of_all_that_fail_at_once_one_goes_and_the_rest_is_held_with_a_warning(hetzner: Project) -> None:
    with HttpServer(500) as endpoint:
        healthy = {"http": f"{endpoint.url}/{{name}}", "every": "1s", "failures": 2, "at_most": "50%"}
        hetzner.describe(groups={"worker": {"count": 4, "healthy": healthy}}, limit=20)
        hetzner.ensure()
        four = hetzner.agreed()
        outcomes = [again(hetzner, "ensure", "4", "--yes", "-o", "json", code=code) for code in (0, 4, 4)]
        held = outcomes[1].document["held"]["worker"]
        assert len(held["servers"]) == 3
        assert held["why"].startswith("while no server of the group passes, only 1 goes within an hour")
        assert len(set(four.values()) - set(hetzner.machines.values())) == 1
        assert len(hetzner.machines) == 4
        text = again(hetzner, "ensure", "4", "--yes", code=4).stdout
        assert text.count("the check, the network or this machine may be wrong") == 1
        # Each is checked on its own.
        assert {path for _, path, _ in endpoint.asked} >= {f"/{name}" for name in four}
    # A check that hangs here, or cannot be carried out, tells nothing of any server.
    before = hetzner.machines
    for name, text in (("hangs.sh", "#!/bin/sh\nexec sleep 60\n"), ("broken.sh", "#!/no/such/interpreter\n")):
        (hetzner.folder / name).write_text(text, encoding="utf-8")
        (hetzner.folder / name).chmod(0o755)
        check = {"command": [f"./{name}"], "every": "1s", "failures": 1}
        hetzner.describe(groups={"worker": {"count": 4, "healthy": check}}, limit=20)
        ran = again(hetzner, "ensure", "4", "--yes", "-o", "json", code=4)
        assert ran.document["unchecked"]["worker"].startswith("none of its servers can be checked from here")
        assert hetzner.machines == before


@pytest.mark.acceptance("T11")
def test_ticks_replace_an_unhealthy_server_without_waiting_for_anything(hetzner: Project) -> None:
    rule = {"steps": {"metric": "load", "table": [{"from": 0, "count": 2}]}}
    autoscale = {"metrics": {"load": {"fixed": 1}}, "rules": [rule]}
    checked(hetzner, count=2, min=2, max=4, autoscale=autoscale)
    hetzner.ensure()
    two = hetzner.agreed()
    (hetzner.folder / "ill-demo-worker-1").touch()

    def ticked() -> bool:
        time.sleep(1.1)
        ran = hetzner.start("autoscale", "--yes")
        ran.communicate()
        assert ran.returncode in (0, 4)
        assert len(hetzner.machines) >= 2
        return "demo-worker-1" not in hetzner.machines

    wait_until(ticked, "the end of the unhealthy server")
    left = hetzner.machines
    assert left["demo-worker-2"] == two["demo-worker-2"]
    assert set(left) == {"demo-worker-2", "demo-worker-3"}
    events = [event["event"] for event in hetzner.events if event["server"] in ("demo-worker-1", "demo-worker-3")]
    assert events.count("server.unhealthy") == events.count("server.draining") == 1
    assert events.index("server.running", 2) < events.index("server.stopping"), "the new one was ready before"


class Hanging(ThreadingHTTPServer):
    """Answers 200 until it hangs: then it reads requests, and says nothing until the other side leaves."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _HangingHandler)
        self.hangs = Event()
        self.held: set[int] = set()
        self._numbers = count()
        Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def hold(self, connection: socket) -> None:
        number = next(self._numbers)
        self.held.add(number)
        with suppress(OSError):
            connection.recv(1)
        self.held.discard(number)


class _HangingHandler(BaseHTTPRequestHandler):
    server: Hanging

    def do_GET(self) -> None:
        if self.server.hangs.is_set():
            self.server.hold(self.connection)
            return
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


@pytest.mark.server
@pytest.mark.acceptance("T11")
def test_a_watch_ticks_on_while_checks_hang(hetzner: Project) -> None:
    """While one and the same check hangs, the servers are listed again and again."""
    endpoint = Hanging()
    healthy = {"http": f"http://127.0.0.1:{endpoint.server_port}/{{name}}", "every": "1s"}
    policy = {
        "metrics": {"jobs": {"command": {"run": ["echo", "30"]}}},
        "rules": [{"backlog": {"metric": "jobs", "per_server": 10}}],
    }
    worker = {"count": 3, "min": 3, "max": 3, "healthy": healthy, "autoscale": policy}
    hetzner.describe(groups={"worker": worker})
    hetzner.ensure("3")
    three = hetzner.agreed()
    endpoint.hangs.set()
    watch = hetzner.start("autoscale", "--watch", "1s")
    since: dict[int, int] = {}

    def is_outlasted() -> bool:
        lists = len(hetzner.lists)
        return max((lists - since.setdefault(number, lists) for number in set(endpoint.held)), default=0) >= 2

    try:
        wait_until(is_outlasted, "two ticks while one check hangs")
    finally:
        watch.send_signal(signal.SIGTERM)
        ended = finish(watch)
        endpoint.shutdown()
        endpoint.server_close()
    assert ended.code == 0, ended.stderr
    assert hetzner.agreed() == three, "nobody can tell from here that they are ill"
