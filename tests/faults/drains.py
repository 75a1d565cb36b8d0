"""Drains are killed, with or without the scaler that began them: one `ensure` ends what they left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args

from scaler.model.ownership import carries
from tests.faults.stage import Scene, Theatre, demand
from tests.support.project import VENDORS, Vendor, finish, is_alive, wait_until

DrainVictim = Literal["scaler", "watcher", "command", "scaler+watcher", "all"]

DrainStage = Literal["begun", "ended"]
"""While the drain commands work; or when they have ended, and nobody has seen that yet."""

LabelStage = Literal["asked", "carried-out"]
"""When the requests that take labels off are sent; or when one was carried out, and its answer has not come."""

_COUNT, _LEFT = 3, 1

_SCRIPT = """#!/bin/sh
echo $$ >> pids
sleep 1000 & echo $! >> pids
while [ ! -e over ]; do sleep 0.05; done
"""


@dataclass(frozen=True)
class DrainKill:
    """One cell: who is killed at a stage of the drains of a scale-down, and whether the run waits for them."""

    vendor: Vendor
    stage: DrainStage
    victim: DrainVictim
    waits: bool

    @property
    def id(self) -> str:
        return f"drain/{self.vendor.name}/{self.stage}/{self.victim}/{'waits' if self.waits else 'no-wait'}"

    @property
    def row(self) -> str:
        """Its row in the table."""
        return f"kill {self.victim} when drains have {self.stage}"

    def play(self, theatre: Theatre) -> bool:
        """Carry it out, and check the world after one `ensure`."""
        with theatre.scene(self.vendor) as scene:
            _describe(scene)
            options = () if self.waits else ("--no-wait",)
            with (scene.project.folder / "stderr").open("w") as errors:
                run = scene.project.start(
                    "ensure", str(_LEFT), "--yes", *options, stdout=subprocess.DEVNULL, stderr=errors
                )
            wait_until(lambda: len(_drains(scene)) == _COUNT - _LEFT, "the drains")
            wait_until(lambda: len(_pids(scene)) == 2 * (_COUNT - _LEFT), "their commands")
            self._strike(scene, run)
            (scene.project.folder / "over").touch()
            if run.poll() is None:
                finish(run)
            scene.settle(_LEFT)
            _check_left(scene)
        return True

    def _strike(self, scene: Scene, run: subprocess.Popen[str]) -> None:
        drains = _drains(scene)
        if not self.waits:
            finish(run)
        if self.stage == "ended":
            # The run must not see their end before it is killed.
            run.send_signal(signal.SIGSTOP)
            (scene.project.folder / "over").touch()
            wait_until(lambda: all(_has_result(file) for file in _files(scene)), "their results")
        if self.victim in ("scaler", "scaler+watcher", "all"):
            run.kill()
            finish(run)
        for watcher, command in drains:
            if self.victim in ("watcher", "scaler+watcher", "all"):
                _kill(watcher)
            if self.victim in ("command", "all"):
                _kill(command)
        if run.poll() is None:
            run.send_signal(signal.SIGCONT)


@dataclass(frozen=True)
class LabelKill:
    """One cell: scaler is killed while it takes `in_service` off servers that are to drain."""

    vendor: Vendor
    stage: LabelStage

    @property
    def id(self) -> str:
        return f"drain/{self.vendor.name}/{self.stage}"

    @property
    def row(self) -> str:
        """Its row in the table."""
        return f"kill scaler when its label requests are {self.stage}"

    def play(self, theatre: Theatre) -> bool:
        """Carry it out, and check after one `ensure`: who stays is labelled, and each other was drained once."""
        is_hetzner = self.vendor.name == "hetzner"
        method = "PUT" if is_hetzner else "DELETE"
        path = "/v1/servers/[0-9]+$" if is_hetzner else "/v2/tags/lb:web/resources$"
        with theatre.scene(self.vendor) as scene:
            _describe(scene, in_service={"label": "lb=web"})
            scene.settle(_COUNT)
            demand(_labelled(scene) == set(scene.project.machines), "not all are in service")
            effect = "hang_forever" if self.stage == "asked" else "accept_then_hang"
            more = {} if self.stage == "asked" else {"seconds": 600}
            scene.world.add_fault(effect, method=method, path=path, times=9, **more)
            run = scene.project.start("ensure", str(_LEFT), "--yes", stderr=subprocess.DEVNULL)
            wait_until(lambda: _stages(scene) == {"unlabelling"}, "servers that are to drain")
            if self.stage == "carried-out":
                wait_until(lambda: len(_labelled(scene)) < _COUNT, "a label that is off")
            run.kill()
            finish(run)
            demand(not _pids(scene), "a server drains that may get work")
            scene.world.clear_faults()
            (scene.project.folder / "over").touch()
            scene.settle(_LEFT)
            demand(_labelled(scene) == set(scene.project.machines), f"in service: {_labelled(scene)}")
            demand(len(_pids(scene)) == 2 * (_COUNT - _LEFT), "not each drained once")
            _check_left(scene)
        return True


def _labelled(scene: Scene) -> set[str]:
    machines = scene.world.servers(scene.vendor.name)
    return {machine.name or "" for machine in machines if carries(scene.vendor.labels_of(machine), ("lb", "web"))}


def _stages(scene: Scene) -> set[str]:
    return {record["drain"]["stage"] for record in scene.project.records.values() if record["drain"]}


def drain_kills(theatre: Theatre, only: str) -> Iterator[DrainKill | LabelKill]:
    """The matrix, as far as ids begin with `only`."""
    del theatre
    for cell in (LabelKill(vendor, stage) for vendor, stage in product(VENDORS, get_args(LabelStage))):
        if cell.id.startswith(only) or only.startswith(cell.id):
            yield cell
    for vendor, stage, victim, waits in product(VENDORS, get_args(DrainStage), get_args(DrainVictim), (True, False)):
        kill = DrainKill(vendor, stage, victim, waits)
        if kill.id.startswith(only) or only.startswith(kill.id):
            yield kill


def _describe(scene: Scene, **group: Any) -> None:
    script = scene.project.folder / "drain.sh"
    script.write_text(_SCRIPT, encoding="utf-8")
    script.chmod(0o755)
    stop = {"drain": ["./drain.sh"], "drain_within": "1h"}
    scene.project.describe(groups={"worker": {"stop": stop, **group}})


def _check_left(scene: Scene) -> None:
    """No process of a drain is left, and nothing to remember one by."""
    for pid in _pids(scene):
        wait_until(partial(_is_gone, pid), f"the end of the drain's process {pid}")
    demand(not _files(scene), f"drains are remembered: {_files(scene)}")


def _is_gone(pid: int) -> bool:
    return not is_alive(pid)


def _files(scene: Scene) -> list[Path]:
    return sorted((scene.project.state_dir / "demo.drains").glob("*.json"))


def _has_result(file: Path) -> bool:
    return json.loads(file.read_text(encoding="utf-8")).get("result") is not None


def _drains(scene: Scene) -> list[tuple[int, int]]:
    """The processes that watch drains, each with its command's."""
    groups = [json.loads(file.read_text(encoding="utf-8")).get("group") for file in _files(scene)]
    return [(_parent(group), group) for group in groups if group]


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])


def _pids(scene: Scene) -> list[int]:
    """The processes of drain commands, and their children."""
    path = scene.project.folder / "pids"
    return [int(line) for line in path.read_text(encoding="utf-8").split()] if path.exists() else []


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
