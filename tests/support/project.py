"""A project folder as a user has it, the real command line as a process, and a look at what came of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from scaler.engine.backend import LocalBackend
from scaler.engine.checkpoint import Checkpoint
from scaler.model.identity import OWN_OUTPUT
from scaler.model.ownership import Owner, decode_tags
from scaler.simulator import EmbeddedCloud, SimulatedWorld
from scaler.simulator.profiles import CloudName
from scaler.simulator.world import LoggedRequest, Thing
from tests.support import launcher
from tests.support.profile import IS_CALM, REPEATED, REPEATS, require_calm, set_profile

ROOT = Path(__file__).parents[2]
TOKEN = "s3cr3t" + "7" * 58
"""Hetzner's clients want 64 characters."""

_DEADLINE_S = 300.0
"""No test waits longer for anything; it fails instead."""

_AT_ONCE = ("currency", "price_per_hour", "price_per_month", "health", "outdated", "in_service")
"""What a look or a run's end has learned: in the state file at once, and in the outputs with the next change."""

_WRAPPER = """#!/bin/sh
# The engine, with each start written down; `hold` names the operation that waits until the file is gone.
printf '%s %s\\n' "$$" "$*" >> "$ENGINE_LOG"
env >> "$ENGINE_LOG.environ"
while [ -e "$ENGINE_LOG.hold" ] && case " $* " in *" $(cat "$ENGINE_LOG.hold") "*) true ;; *) false ;; esac
do sleep 0.02; done
exec {engine} "$@"
"""


@dataclass(frozen=True)
class Vendor:
    """What differs between the clouds as seen from outside."""

    name: CloudName
    type: str
    location: str
    collection: str
    """The path of all machines."""
    stuck: str
    """The fault by which a machine never starts."""
    token: str
    endpoint: str
    """The variable that names another endpoint."""

    def labels_of(self, machine: Thing) -> dict[str, str]:
        return machine.body["labels"] if self.name == "hetzner" else decode_tags(machine.body["tags"])

    def endpoint_of(self, cloud: EmbeddedCloud) -> str:
        return cloud.hetzner_endpoint if self.name == "hetzner" else cloud.digitalocean_endpoint

    def owned(self, labels: Mapping[str, str]) -> dict[str, Any]:
        """How `SimulatedWorld.add_server` and `SimulatedWorld.relabel` take labels."""
        from scaler.model.ownership import encode_tags

        return {"labels": dict(labels)} if self.name == "hetzner" else {"tags": encode_tags(labels)}


HETZNER = Vendor("hetzner", "cx23", "fsn1", "/v1/servers", "stuck_initializing", "HCLOUD_TOKEN", "HCLOUD_ENDPOINT")
DIGITALOCEAN = Vendor(
    "digitalocean",
    "s-1vcpu-1gb",
    "fra1",
    "/v2/droplets",
    "stuck_new",
    "DIGITALOCEAN_TOKEN",
    "DIGITALOCEAN_API_URL",
)
VENDORS = (HETZNER, DIGITALOCEAN)


def lasting(records: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The servers' records without what may be in the state file alone."""
    return {
        name: {key: value for key, value in record.items() if key not in _AT_ONCE} for name, record in records.items()
    }


def wrap_engine(engine: Path, folder: Path) -> Path:
    """An executable that is the engine, and tells of each start."""
    wrapper = folder / "pulumi"
    wrapper.write_text(_WRAPPER.replace("{engine}", str(engine)), encoding="utf-8")
    wrapper.chmod(0o755)
    return wrapper


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """The condition's value once it holds; fails when it never does."""
    end = time.monotonic() + _DEADLINE_S
    while not (value := condition()):
        assert time.monotonic() < end, f"never seen: {what}"
        time.sleep(0.01)
    return value


@dataclass(frozen=True)
class Ran:
    """A finished command."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """What `-o json` printed: standard output is that and nothing else."""
        document: dict[str, Any] = json.loads(self.stdout)
        return document

    @property
    def error(self) -> dict[str, str]:
        assert set(self.document) == {"schema", "error"}
        error: dict[str, str] = self.document["error"]
        return error

    @property
    def steps(self) -> list[tuple[str, str, str]]:
        return [(step["action"], step["server"], step["reason"]) for step in self.document["steps"]]

    def named(self, status: str) -> set[str]:
        """The servers of the result in a status."""
        return {server["name"] for server in self.document["servers"] if server["status"] == status}


@dataclass
class Project:
    """A project folder with one stack, `demo`, and the cloud that it is about."""

    folder: Path
    vendor: Vendor
    engine: Path
    cache: Path
    served: EmbeddedCloud | None = None
    """A cloud of its own outside of scaler's process; None: the embedded one, in it."""
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "stacks").mkdir(parents=True)
        (self.folder / "Pulumi.yaml").write_bytes((ROOT / "Pulumi.yaml").read_bytes())
        (self.folder / "stacks" / "__main__.py").write_bytes((ROOT / "stacks" / "__main__.py").read_bytes())
        self.world = self.served.world if self.served else SimulatedWorld(self.state_dir / "embedded.sqlite")
        set_profile(self.world)
        self.environ = {
            **launcher.ENVIRON,
            "HOME": str(self.folder / "home"),
            "XDG_CACHE_HOME": str(self.cache),
            "SCALER_ENGINE": str(self.engine),
            "ENGINE_LOG": str(self._engine_log),
        }
        if self.served:
            self.environ |= {self.vendor.endpoint: self.vendor.endpoint_of(self.served), self.vendor.token: TOKEN}
        self.describe()

    def close(self) -> None:
        if not self.served:
            self.world.close()

    # -- the spec ------------------------------------------------------------------------------

    def describe(self, *, groups: Mapping[str, Mapping[str, Any]] | None = None, **top: Any) -> None:
        """Write the spec: what is not said has a value that works."""
        usual = {
            "count": 3,
            "image": {"selector": "role=worker"},
            "type": self.vendor.type,
            "location": self.vendor.location,
            "ssh_keys": ["deploy"],
        }
        spec: dict[str, Any] = {"cloud": self.vendor.name, "limit": 10}
        if not self.served:
            spec["endpoint"] = "embedded"
        spec |= top
        spec["groups"] = {name: {**usual, **group} for name, group in (groups or {"worker": {}}).items()}
        self.spec_path.write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")

    # -- the command line ----------------------------------------------------------------------

    def start(
        self,
        *arguments: str,
        environ: Mapping[str, str] | None = None,
        within: Sequence[str] = (),
        **settings: Any,
    ) -> subprocess.Popen[str]:
        """Start `scaler ...` in the project's folder, with nobody to ask, by the command `within` if there is one."""
        settings = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            **settings,
        }
        env = {**self.environ, **(environ or {})}
        if within:
            command = [*within, sys.executable, "-m", "scaler", *arguments]
            return subprocess.Popen(command, cwd=self.folder, env=env, **settings)
        return launcher.start(arguments, cwd=self.folder, env=env, **settings)

    def run(self, *arguments: str, code: int = 0, environ: Mapping[str, str] | None = None) -> Ran:
        """Run `scaler ...` to its end; it must end with `code`, on a hostile cloud after some more runs at most."""
        ran = finish(self.start(*arguments, environ=environ))
        for _ in range(REPEATS):
            if ran.code == code or ran.code not in REPEATED:
                break
            ran = finish(self.start(*arguments, environ=environ))
        assert ran.code == code, f"exit {ran.code}, not {code}, of scaler {arguments}\n{ran.stdout}\n{ran.stderr}"
        return ran

    def ensure(self, *arguments: str, code: int = 0) -> Ran:
        """`scaler ensure ... --yes -o json`."""
        return self.run("ensure", *arguments, "--yes", "-o", "json", code=code)

    # -- what came of it -----------------------------------------------------------------------

    @property
    def spec_path(self) -> Path:
        return self.folder / "stacks" / "demo.yaml"

    @property
    def state_dir(self) -> Path:
        return self.folder / ".scaler"

    @property
    def state_path(self) -> Path:
        return self.state_dir / "demo.json"

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.state_path.read_text(encoding="utf-8"))
        return state

    @property
    def records(self) -> dict[str, dict[str, Any]]:
        """The state file's servers that are not deleted, by name."""
        return {server["name"]: server for server in self.state["servers"] if server["status"] != "deleted"}

    @property
    def by_age(self) -> list[str]:
        """The names of the recorded servers, oldest first: those made together may differ by a second, either way."""
        records = self.records

        def age(name: str) -> tuple[str, int]:
            return records[name]["created"], int(name.rpartition("-")[2])

        return sorted(records, key=age)

    @property
    def events(self) -> list[dict[str, Any]]:
        lines = (self.state_dir / "demo.events.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    @property
    def checkpoint(self) -> Checkpoint:
        """The stack as the engine saved it, read without scaler's run."""
        backend = LocalBackend.at(f"file://{self.state_dir / 'pulumi'}", "scaler", "demo")
        assert backend
        return backend.checkpoint()

    @property
    def machines(self) -> dict[str, str]:
        """Name → id of what carries our labels in the cloud; no name may be there twice."""
        owner = Owner("scaler", "demo")
        ours = [thing for thing in self.world.servers(self.vendor.name) if owner.owns(self.vendor.labels_of(thing))]
        names = [thing.name or "" for thing in ours]
        assert len(names) == len(set(names)), f"two machines of one name: {names}"
        return {thing.name or "": str(thing.id) for thing in ours}

    def machine(self, name: str) -> Thing:
        (found,) = self.world.find(self.vendor.name, "server", name)
        return found

    def agreed(self, *, off: Collection[str] = ()) -> dict[str, str]:
        """Name → id of the servers: cloud, state file, stack outputs and resources must say the same.

        All run but those that are named to be off. On a hostile cloud the outputs may learn some of it later.
        """
        machines = self.machines
        resources = {resource.name: resource.id for resource in self.checkpoint.resources}
        outputs = {name: value for name, value in self.checkpoint.outputs.items() if name != OWN_OUTPUT}
        assert resources == machines
        assert {name: server["id"] for name, server in outputs.items()} == machines
        compared = dict if IS_CALM else lasting
        recorded, exported = compared(self.records), compared(outputs)
        assert recorded == exported, f"state file {recorded}, outputs {exported}"
        statuses = {name: server["status"] for name, server in outputs.items()}
        assert statuses == {name: "stopped" if name in off else "running" for name in machines}
        assert self.checkpoint.pending == ()
        return machines

    def agrees(self) -> bool:
        """Whether `agreed` holds: while a watch runs, once its ticks have seen the end of what they began."""
        try:
            self.agreed()
        except AssertionError:
            return False
        return True

    def catch_up(self) -> None:
        """Let time pass until the cloud's lists show what was done by hand: none on a calm cloud."""
        knobs = self.world.knobs(self.vendor.name)
        self.world.advance(max(knobs.list_lag_s, knobs.read_lag_s))

    def requests(self, method: str = "", path: str = "") -> list[LoggedRequest]:
        """The requests that reached the cloud, oldest first: of a method, at exactly this path."""
        require_calm("how many requests are sent depends on those that fail")
        return [
            request
            for request in self.world.log()
            if request.cloud == self.vendor.name and method in ("", request.method) and path in ("", request.path)
        ]

    @property
    def creates(self) -> list[LoggedRequest]:
        return self.requests("POST", self.vendor.collection)

    @property
    def asked_for(self) -> list[str]:
        """The names in the create requests, oldest first: at DigitalOcean one request may have ten of them."""
        return [name for request in self.creates for name in request.names]

    @property
    def changes(self) -> list[LoggedRequest]:
        """The requests that ask the cloud to change something."""
        return [request for request in self.requests() if request.method != "GET"]

    @property
    def lists(self) -> list[LoggedRequest]:
        return self.requests("GET", self.vendor.collection)

    def fault(self, effect: str, method: str, *, one: bool = False, **more: Any) -> int:
        """Order a failure of requests about all machines, or (`one`) about a single one."""
        path = f"{self.vendor.collection}/[0-9]+$" if one else f"{self.vendor.collection}$"
        return self.world.add_fault(effect, method=method, path=path, **more)

    # -- the engine ----------------------------------------------------------------------------

    @property
    def _engine_log(self) -> Path:
        return self.folder / "engine.log"

    @property
    def engine_runs(self) -> list[tuple[int, str]]:
        """Process id and operation of each engine process so far."""
        if not self._engine_log.exists():
            return []
        lines = [line.split() for line in self._engine_log.read_text(encoding="utf-8").splitlines()]
        runs = [(int(line[0]), next(word for word in line[1:] if not word.startswith("-"))) for line in lines]
        return [(pid, word) for pid, word in runs if word != "version"]

    def hold_engine(self, operation: str) -> Callable[[], None]:
        """Let the engine wait before this operation (`up`, `refresh`) until the returned function is called."""
        hold = self._engine_log.with_name("engine.log.hold")
        hold.write_text(operation, encoding="utf-8")
        return hold.unlink


def finish(process: subprocess.Popen[str]) -> Ran:
    """Wait for a command's end."""
    try:
        stdout, stderr = process.communicate(timeout=_DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return Ran(process.returncode, stdout, stderr)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that nobody waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def everything_written(folder: Path) -> bytes:
    """The content of all files under a folder."""
    files = [Path(root) / name for root, _, names in os.walk(folder) for name in names]
    return b"\n".join(path.read_bytes() for path in files if path.is_file())
