"""The kill matrix of a stack's first run: whatever outlives it, the next run is exact, or names all that is there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

from tests.faults.kills import Kill, points_of, strike
from tests.faults.stage import Operation, Scene, Theatre, demand
from tests.support.project import VENDORS

Kept = Literal["folder", "backend", "cloud"]
"""What outlives the machine of the killed run: all, the stack's backend and the cloud, or the cloud alone."""

FIRST = Operation("first", ("ensure", "3", "--yes"), 3, 3, 3)


@dataclass(frozen=True)
class FirstKill(Kill):
    """One cell: a first run is killed, and goes on with what was kept."""

    kept: Kept

    @property
    def id(self) -> str:
        return f"first/{self.vendor.name}/{self.point}/{self.victim}/{self.kept}"

    @property
    def row(self) -> str:
        return f"a first run, kill {self.victim}, the {self.kept} kept"

    def play(self, theatre: Theatre) -> bool:
        """Carry it out; False if there was nobody to kill at that point."""
        with theatre.fresh(self.vendor) as scene:
            if not strike(self, scene):
                return False
            scene.check_processes()
            scene.check_most(self.operation.most)
            _lose(scene, self.kept)
            if self.kept == "cloud" and scene.owned():
                _check_refusal(scene)
                ran = scene.run("ensure", "3", "--adopt", "--yes")
                demand(ran.code == 0, f"ensure --adopt ended with {ran.code}:\n{ran.stderr}")
                scene.check_settled(3)
            else:
                scene.settle(3)
        return True


def _lose(scene: Scene, kept: Kept) -> None:
    """Remove what does not outlive the machine."""
    state = scene.project.state_dir
    if kept == "folder" or not state.exists():
        return
    for path in state.iterdir():
        if kept == "backend" and path.name == "pulumi":
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    (scene.project.folder / "Pulumi.demo.yaml").unlink(missing_ok=True)


def _check_refusal(scene: Scene) -> None:
    """The next run changes nothing, and names every server that is there."""
    there = scene.owned()
    ran = scene.run("ensure", "3", "--yes", "-o", "json")
    demand(ran.code == 3, f"ensure beside servers of an unknown id ended with {ran.code}:\n{ran.stderr}")
    demand(ran.error["code"] == "unclaimed_servers", f"{ran.error}")
    for number, name in there.items():
        demand(f"{name} ({number})" in ran.error["why"], f"{name} ({number}) is not named: {ran.error}")
    demand(scene.owned() == there, f"{scene.owned()}, not {there}")
    scene.check_foreign()


def first_runs(theatre: Theatre, only: str) -> Iterator[FirstKill]:
    """The matrix, as far as ids begin with `only`."""
    for vendor in VENDORS:
        scope = f"first/{vendor.name}/"
        if not (scope.startswith(only) or only.startswith(scope)):
            continue
        with theatre.fresh(vendor) as scene:
            found = list(points_of(scene, FIRST))
        for (point, victims), kept in product(found, get_args(Kept)):
            yield from (FirstKill(vendor, FIRST, point, victim, kept) for victim in victims)
