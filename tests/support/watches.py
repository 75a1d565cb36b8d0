"""Watches of one stack on several machines, which share nothing but a backend, and what befalls them."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import requests

from tests.support.backends import Backend
from tests.support.project import Project, wait_until

_INTERVAL = "3s"

POLICY = {
    "metrics": {"jobs": {"command": {"run": ["cat", "jobs"]}}},
    "rules": [{"backlog": {"metric": "jobs", "per_server": 10}}],
    "down": {"stabilise": "2s", "cooldown": "1s"},
}
"""A server for each ten of what the file `jobs` says."""


class Wire:
    """A way to the backend that can be cut: then nothing arrives until it is whole again, and nothing is refused."""

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

    def come_back(self) -> None:
        """Go on where it stood still."""
        self.process.send_signal(signal.SIGCONT)

    def is_at(self, port: int) -> bool:
        """Whether its process has a connection on loopback that begins at this port."""
        inodes = {
            words[9]
            for words in map(str.split, Path("/proc/net/tcp").read_text().splitlines())
            if words[1] == f"0100007F:{port:04X}"
        }
        with suppress(OSError):
            held = {str(file.readlink()) for file in Path(f"/proc/{self.process.pid}/fd").iterdir()}
            return any(f"socket:[{inode}]" in held for inode in inodes)
        return False

    @property
    def role(self) -> str | None:
        """`active` or `standby`; None if it does not say."""
        with suppress(requests.RequestException):
            answer: dict[str, Any] = requests.get(f"{self.address}/healthz", timeout=2).json()
            return str(answer["role"])
        return None

    def shown(self, name: str) -> float | None:
        """The sum of what this metric says; None if there is nothing yet."""
        with suppress(requests.RequestException):
            text = requests.get(f"{self.address}/metrics", timeout=2).text
            found = re.findall(rf"^{name}\{{.*\}} ([0-9.]+)$", text, re.M)
            return sum(map(float, found)) if found else None
        return None

    @property
    def ticks(self) -> float:
        """How many ticks have ended."""
        return self.shown("scaler_runs_total") or 0


@contextmanager
def watches(project: Project, backend: Backend) -> Iterator[Callable[..., Machine]]:
    """What starts a watch on another machine, with a state folder of this name."""
    made: list[Machine] = []

    def start(name: str, *more: str) -> Machine:
        wire = Wire(backend.port)
        arguments = ("autoscale", "--watch", _INTERVAL, "--metrics-listen", "127.0.0.1:0", "--state-dir", name, *more)
        url = backend.url.replace(f":{backend.port}", f":{wire.port}")
        environ = {**backend.environ, "PULUMI_BACKEND_URL": url}
        log = (project.folder / f"{name}.log").open("w")
        process = project.start(*arguments, environ=environ, within=_host(name), stderr=log, stdout=log)
        log.close()
        read = (project.folder / f"{name}.log").read_text
        address = wait_until(lambda: re.search(r"http://[0-9.:]+", read()), "its address")
        made.append(Machine(process, address[0], wire))
        return made[-1]

    try:
        yield start
    finally:
        for machine in made:
            machine.process.send_signal(signal.SIGCONT)
            machine.process.kill()
            machine.process.communicate()
            machine.wire.close()
        for pid, _ in project.engine_runs:
            _kill_engine(pid, project)


@cache
def _can_name_hosts() -> bool:
    return subprocess.run(["unshare", "--uts", "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0


def _host(name: str) -> tuple[str, ...]:
    """Return what starts a command on a host of this name, so that nobody else can tell which processes live there.

    Where that is not allowed, all machines have the name of this one.
    """
    return ("unshare", "--uts", "sh", "-c", f'hostname {name}; exec "$@"', "sh") if _can_name_hosts() else ()


def kill(machine: Machine, project: Project) -> None:
    """The machine dies, and the engine on it."""
    machine.process.kill()
    machine.process.communicate()
    _kill_engine(project.engine_runs[-1][0], project)


def _kill_engine(pid: int, project: Project) -> None:
    """Kill this engine, unless it has ended: its number may be that of another process by now."""
    with suppress(OSError):
        environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        if f"ENGINE_LOG={project.environ['ENGINE_LOG']}".encode() in environ:
            os.kill(pid, signal.SIGKILL)


def stop(machine: Machine, project: Project) -> None:
    """The machine stands still."""
    machine.process.send_signal(signal.SIGSTOP)


def cut(machine: Machine, project: Project) -> None:
    """The machine does not reach the backend any more."""
    machine.wire.is_cut = True
