"""Where the matrices play: a stack of three servers, prepared once per cloud and copied for every scene."""

from __future__ import annotations

import copy
import itertools
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from scaler.engine import binary
from scaler.model.identity import OWN_OUTPUT
from scaler.model.ownership import Owner
from scaler.simulator import EmbeddedCloud, SimulatedWorld
from scaler.simulator.world import Thing
from tests.faults.gate import Gate
from tests.support.project import (
    VENDORS,
    Project,
    Ran,
    Vendor,
    finish,
    is_alive,
    lasting,
    wait_until,
    wrap_engine,
)

START = 3
"""Servers of the prepared stack."""

BOOT_S = 0.3
"""Long enough that a killed run can leave a server that is still starting."""


RUNS = 6
"""On a hostile cloud, a count is reached within so many runs."""

RETRIED = frozenset({0, 1, 4, 69})
"""Exit codes after which the next run may be better: an error, not confirmed in time, the cloud cannot be reached."""

SPARE = 2
"""Servers beyond the most that were asked for, on a hostile cloud: they replace those whose creation failed later."""


class ViolationError(AssertionError):
    """A promise that was not kept."""


def demand(held: object, what: str) -> None:
    """Raise ViolationError unless it holds."""
    if not held:
        raise ViolationError(what)


def _is_gone(pid: int) -> bool:
    return not is_alive(pid)


@dataclass(frozen=True)
class Operation:
    """A command whose course is disturbed, and what must be there afterwards."""

    name: str
    command: tuple[str, ...]
    after: int
    """Servers that are there when it succeeded."""
    wanted: int
    """What one plain `ensure` is asked for afterwards."""
    most: int
    """Servers that may exist at any moment."""


OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation("scale-up", ("ensure", "5", "--yes"), 5, 5, 5),
        Operation("scale-down", ("ensure", "1", "--yes"), 1, 1, START),
        Operation("reboot", ("reboot", "demo-worker-1", "demo-worker-2", "--yes"), START, START, START),
        Operation("replace", ("replace", "demo-worker-2", "--yes"), START, START, START + 1),
        Operation("destroy", ("destroy", "--yes"), 0, START, START),
    )
}


@dataclass
class Scene:
    """One copy of the prepared stack, its cloud, and what it looked like at first."""

    project: Project
    gate: Gate
    foreign: Mapping[int, Any]
    first: Mapping[str, str]
    """Name → id of our servers."""
    is_calm: bool = True
    """Whether the cloud does only wrong what the scene makes it do wrong."""
    given_back: set[int] = field(default_factory=set)
    """Ids of servers that somebody made ours by hand: their names may have been given to others meanwhile."""

    @property
    def vendor(self) -> Vendor:
        return self.project.vendor

    @property
    def world(self) -> SimulatedWorld:
        return self.project.world

    @property
    def lag_s(self) -> float:
        """How far the cloud's lists and reads lag at most, in its own seconds."""
        knobs = self.world.knobs(self.vendor.name)
        return max(knobs.list_lag_s, knobs.read_lag_s)

    def run(self, *arguments: str, environ: Mapping[str, str] | None = None) -> Ran:
        """Run `scaler ...` to its end, whatever that is."""
        return finish(self.project.start(*arguments, environ=environ))

    def check_end(self, ran: Ran, codes: Collection[int]) -> None:
        """The run has ended with one of these codes; on a hostile cloud also with one that the next run mends."""
        allowed = set(codes) if self.is_calm else {*codes, *RETRIED}
        demand(ran.code in allowed, f"exit {ran.code}, not {set(codes)}:\n{ran.stdout}\n{ran.stderr}")

    def check_most(self, most: int, ran: Ran | None = None) -> None:
        """No more than `most` servers exist, and on a hostile cloud those that replace failed ones."""
        ours = [thing for thing in self._servers() if self._is_ours(thing)]
        there = ours if self.is_calm else [thing for thing in ours if thing.gone is None]
        told = f":\n{ran.stderr}" if ran else ""
        demand(len(there) <= most + (0 if self.is_calm else SPARE), f"{len(there)} servers, {most} at most{told}")

    def reach(self, *command: str) -> Ran:
        """Run `scaler ...` until it succeeds: at once, or on a hostile cloud within `RUNS` runs."""
        for _ in range(1 if self.is_calm else RUNS):
            ran = self.run(*command)
            if ran.code == 0:
                return ran
            self.check_end(ran, {0})
        raise ViolationError(f"{' '.join(command)} ended with {ran.code}:\n{ran.stderr}")

    def check_foreign(self) -> None:
        """Servers of others are as they were."""
        foreign = self._foreign()
        demand(foreign == self.foreign, f"servers of others were touched: {foreign}, {self.foreign}")

    def check_settled(self, count: int, kept: Collection[str] = ()) -> None:
        """Exactly `count` servers; cloud, stack, outputs and state file say the same; nothing is left in the way.

        Beside them those that are `kept`, off, for their paid hour.
        """
        project = self.project
        if not self.is_calm:
            wait_until(lambda: len(self.owned()) <= count + len(kept), "the end of what was deleted")
        self.check_foreign()
        owned, checkpoint = self.owned(), project.checkpoint
        resources = {resource.name: resource.id for resource in checkpoint.resources}
        outputs = {name: value for name, value in checkpoint.outputs.items() if name != OWN_OUTPUT}
        demand(len(owned) == count + len(kept), f"{len(owned)} servers, not {count}: {owned}, {kept} kept")
        made = [name for number, name in owned.items() if number not in self.given_back]
        demand(len(set(made)) == len(made), f"two servers of one name: {owned}")
        demand(set(resources.values()) == set(map(str, owned)), f"the stack has {resources}, the cloud {owned}")
        demand({name: output["id"] for name, output in outputs.items()} == resources, f"outputs {outputs}, {resources}")
        demand(lasting(project.records) == lasting(outputs), f"state file {project.records}, outputs {outputs}")
        statuses = {output["status"] for name, output in outputs.items() if name not in kept}
        demand(statuses <= {"running"}, f"statuses {statuses}")
        demand(not checkpoint.pending, f"pending operations: {checkpoint.pending}")
        demand(not self.locks(), f"a lock was left: {self.locks()}")
        demand(not (project.state_dir / "demo.lock.json").exists(), "the local lock's note was left")
        self.check_processes()

    def check_processes(self) -> None:
        """No engine process outlives its run for long."""
        for pid, operation in self.project.engine_runs:
            wait_until(partial(_is_gone, pid), f"the end of engine process {pid} ({operation})")

    def locks(self) -> list[Path]:
        """The engine's locks on the stack."""
        return sorted((self.project.state_dir / "pulumi" / ".pulumi" / "locks").rglob("*.json"))

    def settle(self, count: int) -> Ran:
        """One plain `ensure`, or on a hostile cloud as many as it takes, and its world."""
        ran = self.reach("ensure", str(count), "--yes")
        self.check_settled(count)
        return ran

    def owned(self) -> dict[int, str]:
        """Id → name of our servers in the cloud."""
        return {thing.id: thing.name or "" for thing in self._servers() if self._is_ours(thing)}

    def _foreign(self) -> dict[int, Any]:
        return {thing.id: (thing.name, thing.body) for thing in self._servers() if not self._is_ours(thing)}

    def _servers(self) -> list[Thing]:
        return self.world.servers(self.vendor.name)

    def _is_ours(self, thing: Thing) -> bool:
        return Owner("scaler", "demo").owns(self.vendor.labels_of(thing))


def _move(folder: Path, old: str, new: str) -> None:
    """Make the records and checkpoints name the address of this scene's cloud: a stack is recognised by it."""
    for file in folder.rglob("*.json*"):  # The engine's copies of the checkpoint, `.json.bak`, too.
        text = file.read_text(encoding="utf-8")
        if old in text:
            file.write_text(text.replace(old, new), encoding="utf-8")


class Theatre:
    """Prepares a stack per cloud, and makes scenes of it, whose clouds have the profile `profile`."""

    def __init__(self, folder: Path, profile: str = "instant", speed: float = 1.0) -> None:
        """`speed`: how much faster than real time goes in the scenes' clouds."""
        self.folder = folder
        self.profile = profile
        self.speed = speed
        self._cache = folder / "cache"
        self._engine = wrap_engine(binary.find(os.environ), folder)
        self._numbers = itertools.count(1)
        self._addresses: dict[str, str] = {}
        """Where the cloud of each prepared stack was served."""
        self._prepared = {vendor.name: self._prepare(vendor) for vendor in VENDORS}

    def on(self, profile: str, speed: float) -> Theatre:
        """The same prepared stacks, for scenes on clouds with another profile."""
        other = copy.copy(self)
        other.profile, other.speed = profile, speed
        return other

    def _prepare(self, vendor: Vendor) -> Path:
        folder = self.folder / f"prepared-{vendor.name}"
        with EmbeddedCloud(folder / "world.db") as served:
            self._addresses[vendor.name] = served.url
            project = Project(folder / "project", vendor, self._engine, self._cache, served)
            served.world.add_server(vendor.name, "demo-worker-99")
            others = vendor.owned(Owner("scaler", "other").group_labels("worker", "0"))
            served.world.add_server(vendor.name, "other-worker-1", **others)
            project.ensure(str(START))
            project.agreed()
            served.world.clear_log()
        (project.folder / "engine.log").unlink()
        return folder

    @contextmanager
    def fresh(self, vendor: Vendor) -> Iterator[Scene]:
        """A folder without a stack on a calm cloud, beside servers of others; it stays if the block raises."""
        folder = self.folder / f"scene-{next(self._numbers)}"
        gate = Gate()
        with EmbeddedCloud(folder / "world.db", middleware=gate.around) as served:
            project = Project(folder / "project", vendor, self._engine, self._cache, served)
            served.world.add_server(vendor.name, "demo-worker-99")
            others = vendor.owned(Owner("scaler", "other").group_labels("worker", "0"))
            served.world.add_server(vendor.name, "other-worker-1", **others)
            served.world.set_knobs(boot_s=BOOT_S, power_s=0.1, visible_after_delete_s=0.2)
            scene = Scene(project, gate, {}, {})
            scene.foreign = scene._foreign()
            yield scene
        shutil.rmtree(folder)

    @contextmanager
    def scene(self, vendor: Vendor) -> Iterator[Scene]:
        """A copy of the prepared stack; its folder stays if the block raises."""
        number = next(self._numbers)
        folder = self.folder / f"scene-{number}"
        shutil.copytree(self._prepared[vendor.name], folder, ignore=shutil.ignore_patterns("project"))
        gate = Gate()
        with EmbeddedCloud(folder / "world.db", middleware=gate.around) as served:
            project = Project(folder / "project", vendor, self._engine, self._cache, served)
            prepared = self._prepared[vendor.name] / "project"
            shutil.copytree(prepared, project.folder, dirs_exist_ok=True)
            _move(project.folder, self._addresses[vendor.name], served.url)
            scene = Scene(project, gate, {}, project.machines, is_calm=self.profile != "hostile")
            served.world.set_profile(self.profile)
            if scene.is_calm:
                served.world.set_knobs(boot_s=BOOT_S, power_s=0.1, visible_after_delete_s=0.2)
            served.world.set("drawn", number * 1_000_003)
            if self.speed != 1:
                served.world.set_speed(self.speed)
            scene.foreign = scene._foreign()
            yield scene
        shutil.rmtree(folder)
