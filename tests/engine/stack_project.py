"""A stack on the real engine and the embedded cloud, used by the tests and by the processes that they kill."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from scaler.clouds import Cloud
from scaler.clouds.registry import open_cloud
from scaler.config.spec import load
from scaler.engine import binary as engine_binary
from scaler.engine.backend import LocalBackend, absolute_url
from scaler.engine.checkpoint import Checkpoint
from scaler.engine.events import Ran
from scaler.engine.plugin.operation import Operation
from scaler.engine.plugin.server import serve
from scaler.engine.process import Engine
from scaler.engine.settings import EngineSettings
from scaler.engine.stack import PulumiStack
from scaler.model import Applied, Change, Declared, Machine, MachineRequest, Permits, Server, Spec
from scaler.model.lifecycle import Phase, Status
from scaler.model.ownership import GROUP
from scaler.planning.template import existing_server
from scaler.support.clock import Clock, SystemClock

TOKEN = "s3cr3t" + "7" * 58
STACK = "demo"

_SPEC = """\
cloud: {cloud}
plugin: scaler
groups:
  worker:
    count: 3
    image: {image}
    type: {type}
    location: {location}
    user_data_inline: "#cloud-config"
"""
_CLOUDS = {
    "hetzner": {"image": "ubuntu-24.04", "type": "cx23", "location": "fsn1"},
    "digitalocean": {"image": "ubuntu-24-04-x64", "type": "s-1vcpu-1gb", "location": "fra1"},
}
_PACKAGES = {"hetzner": "hcloud", "digitalocean": "digitalocean"}


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Return when it is so; fail after a time in which it must have become so."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


@dataclass
class Project:
    """A project folder, and one run's adapters for its stack."""

    directory: Path
    endpoint: str
    cloud_name: Literal["hetzner", "digitalocean"] = "hetzner"
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    clock: Clock = field(default_factory=SystemClock)
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Other settings of the engine than a run has."""

    def __post_init__(self) -> None:
        (self.directory / "stacks").mkdir(parents=True, exist_ok=True)
        (self.directory / "Pulumi.yaml").write_text("name: scaler\nruntime: python\nmain: stacks\n")
        spec = self.directory / "stacks" / f"{STACK}.yaml"
        if not spec.exists():
            spec.write_text(_SPEC.format(cloud=self.cloud_name, **_CLOUDS[self.cloud_name]))
        self.spec: Spec = load(spec, "scaler")
        self.cloud: Cloud = open_cloud(
            self.cloud_name,
            endpoint=self.endpoint,
            environ={"HCLOUD_TOKEN": TOKEN, "DIGITALOCEAN_TOKEN": TOKEN},
            clock=self.clock,
        )
        self.backend_url = absolute_url("file://.scaler/pulumi", self.directory)
        backend = LocalBackend.at(self.backend_url, "scaler", STACK)
        assert backend is not None
        self.backend: LocalBackend = backend
        self.engine = self.open_engine()
        self.stack = PulumiStack(self.spec, lambda: self.engine, self.backend, self.cloud, self.clock)

    def open_engine(self, **settings: Any) -> Engine:
        binary = engine_binary.find(self.environ)
        fixed = {
            "binary": binary,
            "version": engine_binary.version_of(binary, self.environ),
            "project": "scaler",
            "stack": STACK,
            "directory": self.directory,
            "backend": self.backend_url,
            "home": self.directory / ".scaler" / "engine",
            "environ": self.environ,
            "package": _PACKAGES[self.cloud_name],
            "deadline": timedelta(seconds=60),
        }
        return Engine(EngineSettings(**{**fixed, **self.settings, **settings}), self.clock)

    # -- changes -------------------------------------------------------------------------------

    def request(self, name: str, **changed: Any) -> MachineRequest:
        made_of = _CLOUDS[self.cloud_name]
        request = MachineRequest(
            name=name,
            type=made_of["type"],
            location=made_of["location"],
            image=made_of["image"],
            labels=self.spec.owner.group_labels("worker", "abc"),
            user_data="#cloud-config",
        )
        return dataclasses.replace(request, **changed)

    def change(
        self,
        names: Iterable[str],
        permits: Permits | None = None,
        *,
        requests: Mapping[str, MachineRequest] | None = None,
        refresh: bool = False,
    ) -> Change:
        """Declare these names, as the world is now; unless told otherwise, all that this takes is permitted."""
        machines = {machine.id: machine for machine in self.cloud.list_owned(self.spec.owner)}
        held = {name: entry.id for name, entry in self.stack.read().entries.items()}
        wanted = list(names)
        requests = requests or {}
        alive = {name: number for name, number in held.items() if number in machines}
        everything = Permits(
            create=frozenset(wanted) - frozenset(alive),
            delete={name: number for name, number in held.items() if name not in wanted},
        )
        return Change(
            declared=tuple(
                Declared(name, "worker", self._declared(name, alive, machines, requests), name in alive)
                for name in wanted
            ),
            permits=everything if permits is None else permits,
            outputs={name: self.record_of(name, None) for name in wanted},
            expected=frozenset(machines),
            refresh=refresh,
        )

    def _declared(
        self,
        name: str,
        alive: Mapping[str, str],
        machines: Mapping[str, Machine],
        requests: Mapping[str, MachineRequest],
    ) -> MachineRequest:
        if name in requests:
            return requests[name]
        return (
            existing_server(self.spec, machines[alive[name]], "worker", self.spec.owner)
            if name in alive
            else self.request(name)
        )

    def scale(self, names: Iterable[str], **options: Any) -> Applied:
        """Declare and apply."""
        return self.stack.apply(self.change(names, **options))

    def record(self) -> Mapping[str, Server]:
        return self.stack.record(
            lambda machines: {machine.name: self.record_of(machine.name, machine) for machine in machines}
        )

    def record_of(self, name: str, machine: Machine | None) -> Server:
        """A record as the run would make it, of a machine or of a name that has none yet."""
        if machine is None:
            return Server(name=name, group="worker", id=None, status=Status.NEW, since=datetime(2026, 1, 1, tzinfo=UTC))
        return Server(
            name=name,
            group=machine.labels[GROUP],
            id=machine.id,
            status=Status.RUNNING if machine.phase is Phase.RUNNING else Status.STARTING,
            since=datetime(2026, 1, 1, tzinfo=UTC),
            type=machine.type,
            location=machine.location,
            image=machine.image,
        )

    @contextmanager
    def serving(self) -> Iterator[int]:
        """The plugin for an operation that may change nothing; yields its port."""
        with serve(Operation(self.cloud, self.spec.owner, Permits()), workers=4, clock=self.clock) as provider:
            self.engine.on_start(provider.peers.admit)
            yield provider.port

    def typed(self, operation: Literal["preview", "up"], program: Callable[[], None], permits: Permits) -> Ran:
        """Run a program of typed classes, through the SDK's own host of programs, as plain `pulumi` would."""
        with serve(Operation(self.cloud, self.spec.owner, permits), workers=4, clock=self.clock) as provider:
            self.engine.on_start(provider.peers.admit)
            run = getattr(self.engine._stack, operation)
            return self.engine._retried(
                provider.port, lambda report: run(program=program, on_event=report.receive, color="never")
            )

    # -- looks ---------------------------------------------------------------------------------

    def checkpoint(self) -> Checkpoint:
        return self.backend.checkpoint()

    def held(self) -> dict[str, str]:
        """Name → id of the servers in the engine's state."""
        return {resource.name: resource.id for resource in self.checkpoint().resources}

    def machines(self) -> dict[str, str]:
        """Name → id of our machines in the cloud."""
        return {machine.name: machine.id for machine in self.cloud.list_owned(self.spec.owner)}

    def lock_file(self, pid: int, host: str) -> Path:
        """Lock the stack in somebody's name, as the engine does."""
        path = self.backend.root / "locks" / "organization" / "scaler" / STACK / "0b5e2c8e-test.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        holder = {"pid": pid, "username": "ann", "hostname": host, "timestamp": "2026-11-24T22:10:00.123456789+01:00"}
        path.write_text(json.dumps(holder))
        return path


def names(count: int) -> Sequence[str]:
    return [f"demo-worker-{number + 1}" for number in range(count)]
