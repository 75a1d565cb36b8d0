"""When servers count as ready: the check of the spec, on the servers' own addresses, which are loopback ones here."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import create_server
from threading import Thread
from typing import Any

import pytest
import requests

from scaler.simulator.world import address
from tests.support.project import HETZNER, TOKEN, Project, Ran, finish, wait_until


class Services:
    """What the servers of a test run: listeners on their addresses, at one port that all have in common."""

    def __init__(self) -> None:
        self._open = ExitStack()
        with create_server(("127.0.0.1", 0)) as anywhere:
            self.port: int = anywhere.getsockname()[1]

    def close(self) -> None:
        self._open.close()

    def listen(self, where: str) -> None:
        """Accept connections."""
        self._open.enter_context(create_server((where, self.port)))

    def serve(self, where: str, answer: Callable[[str], int]) -> None:
        """Answer GETs with the status that `answer` gives for the path."""

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(answer(self.path))
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nobody reads it."""

        server = ThreadingHTTPServer((where, self.port), Handler)
        self._open.callback(server.server_close)
        self._open.callback(server.shutdown)
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def services() -> Iterator[Services]:
    services = Services()
    yield services
    services.close()


def address_of(project: Project, name: str) -> str:
    """The public address that the cloud gave a server, once there is one of this name."""
    wait_until(lambda: name in project.machines, name)
    machine = project.machine(name)
    if project.vendor.name == "digitalocean":
        return address("digitalocean", machine.id)
    return str(machine.body["ipv4"]["ip"])


def script(project: Project, name: str, text: str) -> str:
    """An executable script of the project; how its spec names it."""
    path = project.folder / name
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return f"./{name}"


def describe(project: Project, check: dict[str, Any], **group: Any) -> None:
    project.describe(groups={"worker": {"ready": check, **group}})


def names(*numbers: int) -> set[str]:
    return {f"demo-worker-{number}" for number in numbers}


@pytest.mark.one_cloud
def test_tcp_servers_are_starting_until_their_port_is_open(project: Project, services: Services) -> None:
    describe(project, {"tcp": services.port})
    # The cloud calls them running at once. That is not enough, however often they are looked at.
    for _ in range(2):
        early = project.ensure("2", "--no-wait", code=4)
        assert early.named("starting") == names(1, 2)
    counts = early.document["groups"]["worker"]
    assert (counts["wanted"], counts["before"], counts["ready"]) == (2, 2, 0)

    for name in names(1, 2):
        services.listen(address_of(project, name))
    done = project.ensure("2")
    assert done.named("running") == names(1, 2)
    assert set(project.agreed()) == names(1, 2)
    assert len(project.creates) == 2
    # A server that was ready is not asked again.
    services.close()
    assert project.ensure("2").document["outcome"] == "unchanged"


def test_http_two_good_readings_in_a_row(hetzner: Project, services: Services) -> None:
    describe(hetzner, {"http": f"http://{{ip}}:{services.port}/up/{{name}}"}, count=1)
    statuses = [200, 503, 200, 404, 200, 200]
    asked: list[str] = []

    def answer(path: str) -> int:
        asked.append(path)
        return statuses[len(asked) - 1]

    run = hetzner.start("ensure", "--yes", "-o", "json")
    services.serve(address_of(hetzner, "demo-worker-1"), answer)
    ran = finish(run)
    assert (ran.code, ran.named("running")) == (0, names(1)), ran.stderr
    assert asked == ["/up/demo-worker-1"] * len(statuses)
    assert [event["event"] for event in hetzner.events if event["server"]] == ["server.creating", "server.running"]


def test_command_runs_in_the_project_folder_until_it_ends_with_nothing_wrong(hetzner: Project) -> None:
    program = script(hetzner, "ready.sh", 'echo "$*" >> asked; [ -e open ]')
    describe(hetzner, {"command": [program, "{name}", "{ip}"], "successes": 3}, count=1)
    run = hetzner.start("ensure", "--yes", "-o", "json")
    asked = hetzner.folder / "asked"
    wait_until(lambda: asked.exists() and len(asked.read_text().splitlines()) >= 2, "two readings")
    before = len(asked.read_text().splitlines())
    (hetzner.folder / "open").touch()
    ran = finish(run)
    assert (ran.code, ran.named("running")) == (0, names(1)), ran.stderr
    lines = asked.read_text().splitlines()
    assert set(lines) == {f"demo-worker-1 {hetzner.records['demo-worker-1']['ipv4']}"}
    assert len(lines) - before in (3, 4)


def test_servers_are_reached_at_their_private_addresses(served: Project) -> None:
    program = script(served, "ready.sh", '[ -n "$2" ] && echo "$*" >> asked')
    ready = {"command": [program, "{ip}", "{private_ip}"], "successes": 1}
    inner = {"networks": ["inner"], "public_ipv4": False, "public_ipv6": False}
    is_hetzner = served.vendor is HETZNER
    if is_hetzner:
        subnet = {"type": "cloud", "ip_range": "10.0.0.0/24", "network_zone": "eu-central"}
        requests.post(
            f"{served.vendor.endpoint_of(served.served)}/networks" if served.served else "",
            json={"name": "inner", "ip_range": "10.0.0.0/16", "subnets": [subnet]},
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=30,
        ).raise_for_status()
    served.describe(groups={"worker": {"count": 1, "ready": ready, **(inner if is_hetzner else {})}})
    served.ensure()
    record = served.records["demo-worker-1"]
    private = record["private_ip"]
    assert private.startswith("10.")
    asked = (served.folder / "asked").read_text().splitlines()
    assert set(asked) == {f"{private if is_hetzner else record['ipv4']} {private}"}
    assert private in served.run("status").stdout
    assert served.checkpoint.outputs["demo-worker-1"]["private_ip"] == private


def test_a_check_that_hangs_keeps_no_other_server_waiting(hetzner: Project, services: Services) -> None:
    """Two of three never answer their checks: the third is ready all the same, long before the run ends."""
    program = script(hetzner, "ready.sh", "case $1 in demo-worker-2) exit 0 ;; esac; sleep 1000")
    describe(hetzner, {"command": [program, "{name}"]})
    run = hetzner.start("ensure", "--yes", "--timeout", "2m")
    assert run.stderr
    assert any("demo-worker-2 running" in line for line in run.stderr)
    run.send_signal(signal.SIGTERM)
    assert finish(run).code == 143
    assert {name for name, record in hetzner.records.items() if record["status"] == "starting"} >= names(1, 3)


def hanging_reasons(ran: Ran) -> list[str]:
    return [server["error"] for server in ran.document["servers"] if server["status"] == "hanging"]


def test_a_server_that_never_gets_ready_tells_why_and_is_replaced_a_bounded_number_of_times(hetzner: Project) -> None:
    program = script(hetzner, "ready.sh", "echo the queue is not there; exit 3")
    describe(hetzner, {"command": [program]}, count=1, start_within="2s")
    failed = hetzner.ensure(code=1)
    assert len(hetzner.creates) <= 3
    assert set(hetzner.records) == set(hetzner.machines)
    reasons = hanging_reasons(failed)
    assert reasons
    for reason in reasons:
        assert reason == "starting for longer than 2s; not ready: ./ready.sh ended with 3: the queue is not there"


def test_after_a_reboot_a_server_must_pass_again(hetzner: Project, services: Services) -> None:
    describe(hetzner, {"tcp": services.port}, count=1)
    run = hetzner.start("ensure", "--yes", "-o", "json")
    where = address_of(hetzner, "demo-worker-1")
    services.listen(where)
    assert finish(run).code == 0
    services.close()
    late = hetzner.run("reboot", "demo-worker-1", "--timeout", "4s", "-o", "json", code=4)
    assert late.named("running") == set()
    events = [event["event"] for event in hetzner.events if event["server"]]
    assert events == ["server.creating", "server.running", "server.rebooting"]
    # It is on its way until its own deadline: the next run waits for it, and has no other in its place.
    services.listen(where)
    again = hetzner.ensure("1").document
    assert (again["outcome"], again["steps"]) == ("converged", [])
    assert list(hetzner.agreed()) == ["demo-worker-1"]
