"""Two watches of one stack, on two machines that share nothing but the backend: one acts, and the other takes over."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.support.backends import Database, database
from tests.support.project import HETZNER, Project, Vendor, finish, wait_until

_INTERVAL = "3s"


class Wire:
    """A way to the database that can be cut: then nothing arrives until it is whole again, and nothing is refused."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.is_cut = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.is_cut = False
        for end in (self._listener, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                self._ends += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._copy, args=(one, other), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                while self.is_cut:
                    time.sleep(0.05)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@dataclass
class Machine:
    process: subprocess.Popen[str]
    address: str
    wire: Wire

    @property
    def role(self) -> str | None:
        """`active` or `standby`; None if it does not say."""
        with suppress(requests.RequestException):
            answer: dict[str, Any] = requests.get(f"{self.address}/healthz", timeout=2).json()
            return str(answer["role"])
        return None

    def shown(self, name: str) -> float | None:
        with suppress(requests.RequestException):
            found = re.search(
                rf"^{name}\{{.*\}} ([0-9.]+)$", requests.get(f"{self.address}/metrics", timeout=2).text, re.M
            )
            return float(found[1]) if found else None
        return None


@pytest.fixture
def backend() -> Iterator[Database]:
    with database() as backend:
        yield backend


@pytest.fixture
def project(make_served: Callable[[Vendor], Project]) -> Project:
    project = make_served(HETZNER)
    policy = {
        "metrics": {"jobs": {"command": {"run": ["cat", "jobs"]}}},
        "rules": [{"backlog": {"metric": "jobs", "per_server": 10}}],
        "down": {"stabilise": "2s", "cooldown": "1s"},
    }
    project.describe(groups={"worker": {"count": 1, "min": 1, "max": 6, "autoscale": policy}})
    (project.folder / "jobs").write_text("10")
    return project


@pytest.fixture
def start(project: Project, backend: Database) -> Iterator[Callable[..., Machine]]:
    """What starts a watch on another machine."""
    made: list[Machine] = []
    port = urlsplit(backend.url).port
    assert port

    def start(name: str, *more: str) -> Machine:
        wire = Wire(port)
        arguments = ("autoscale", "--watch", _INTERVAL, "--metrics-listen", "127.0.0.1:0", "--state-dir", name, *more)
        environ = {"PULUMI_BACKEND_URL": backend.url.replace(str(port), str(wire.port))}
        log = (project.folder / f"{name}.log").open("w")
        process = project.start(*arguments, environ=environ, stderr=log, stdout=log)
        log.close()
        read = (project.folder / f"{name}.log").read_text
        address = wait_until(lambda: re.search(r"http://[0-9.:]+", read()), "its address")
        made.append(Machine(process, address[0], wire))
        return made[-1]

    yield start
    for machine in made:
        machine.process.send_signal(signal.SIGCONT)
        machine.process.kill()
        machine.process.communicate()
        machine.wire.close()
    for pid, _ in project.engine_runs:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _kill(machine: Machine, project: Project) -> None:
    machine.process.kill()
    machine.process.communicate()
    with suppress(ProcessLookupError):
        os.kill(project.engine_runs[-1][0], signal.SIGKILL)


def _stop(machine: Machine, project: Project) -> None:
    machine.process.send_signal(signal.SIGSTOP)


def _cut(machine: Machine, project: Project) -> None:
    machine.wire.is_cut = True


@pytest.mark.calm("the exact requests depend on those that fail")
@pytest.mark.parametrize(
    ("trouble", "in_a_tick"),
    [(_kill, False), (_kill, True), (_stop, True), (_cut, True)],
    ids=["killed_between_ticks", "killed_in_a_create", "stopped_in_a_create", "cut_off_in_a_create"],
)
def test_another_watch_takes_over_and_the_count_is_exact(
    project: Project,
    start: Callable[[str], Machine],
    trouble: Callable[[Machine, Project], None],
    in_a_tick: bool,
) -> None:
    first = start("first")
    wait_until(lambda: first.shown("scaler_ready") == 1, "one ready server")
    second = start("second")
    wait_until(lambda: second.role == "standby", "a second watch that stands by")
    assert first.role == "active"
    assert (first.shown("scaler_active"), second.shown("scaler_active")) == (1, 0)

    if in_a_tick:
        hanging = project.fault("hang_forever", "POST", skip=1)
        (project.folder / "jobs").write_text("40")
        wait_until(lambda: project.world.fired(hanging), "a create that hangs")
    trouble(first, project)
    (project.folder / "jobs").write_text("40")
    wait_until(lambda: second.role == "active", "the other one acting")
    wait_until(lambda: second.shown("scaler_ready") == 4, "four ready servers")
    assert len(project.machines) == 4

    # The first one comes back, in the middle of its tick.
    project.world.clear_faults()
    first.wire.is_cut = False
    if trouble is not _kill:
        first.process.send_signal(signal.SIGCONT)
        wait_until(lambda: first.role == "standby", "the first one standing by")
    # The memory is the first one's, so neither takes the other's count for a person's.
    (project.folder / "jobs").write_text("20")
    wait_until(lambda: second.shown("scaler_ready") == 2, "two ready servers")
    assert second.role == "active"
    assert len(project.machines) == 2
    assert len(project.world.servers(project.vendor.name)) == 2
    assert "by hand" not in (project.folder / "second.log").read_text()


def test_a_watch_that_ends_hands_over_at_once(project: Project, start: Callable[[str], Machine]) -> None:
    first = start("first")
    wait_until(lambda: first.shown("scaler_ready") == 1, "one ready server")
    second = start("second")
    wait_until(lambda: second.role == "standby", "a second watch that stands by")
    first.process.send_signal(signal.SIGTERM)
    assert finish(first.process).code == 0
    wait_until(lambda: second.role == "active", "the other one acting")
    text = (project.folder / "second.log").read_text()
    assert re.search(r"standby: process \d+ on \S+ acts", text)
    wait_until(lambda: "active: this watch acts now" in (project.folder / "second.log").read_text(), "that it says so")


@pytest.mark.calm("the counts of the ticks depend on what the cloud refuses")
def test_another_service_takes_over_each_stack_and_the_counts_are_exact(
    project: Project, start: Callable[..., Machine]
) -> None:
    for stack in ("one", "two"):
        spec = project.spec_path.read_text().replace("- jobs", f"- jobs-{stack}")
        (project.folder / "stacks" / f"{stack}.yaml").write_text(spec)
        (project.folder / f"jobs-{stack}").write_text("10")
    project.spec_path.unlink()

    def names() -> list[str]:
        return sorted(str(server.name) for server in project.world.servers(project.vendor.name))

    def roles(machine: Machine) -> dict[str, str]:
        with suppress(requests.RequestException):
            stacks = requests.get(f"{machine.address}/healthz", timeout=2).json()["stacks"]
            return {name: facts["role"] for name, facts in stacks.items()}
        return {}

    first = start("first", "--all")
    wait_until(lambda: names() == ["one-worker-1", "two-worker-1"], "a server of each stack")
    second = start("second", "--all")
    wait_until(lambda: roles(second) == {"one": "standby", "two": "standby"}, "a second service that stands by")
    assert roles(first) == {"one": "active", "two": "active"}
    _kill(first, project)
    (project.folder / "jobs-two").write_text("30")
    wait_until(lambda: roles(second) == {"one": "active", "two": "active"}, "the other one acting for both")
    grown = ["one-worker-1", "two-worker-1", "two-worker-2", "two-worker-3"]
    wait_until(lambda: names() == grown, "three servers of the second stack")
