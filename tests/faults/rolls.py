"""A roll is killed at every step of its canary, its waves and its way back; the next `roll` or `ensure` goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

from tests.faults.gate import Moment
from tests.faults.kills import STAGES, VICTIMS, EnginePoint, Kill, Point, RequestPoint, Victim, strike
from tests.faults.stage import START, Operation, Scene, Theatre, demand
from tests.support.project import VENDORS, Vendor
from tests.support.watching import Watched, watched

_SURGE = 2
_PACE = ("--surge", str(_SURGE), "--bake", "1s", "--yes")

FORWARD = Operation("forward", ("roll", *_PACE), START, START, START + _SURGE)
BACK = Operation("back", ("roll", "--rollback", *_PACE), START, START, START + _SURGE)
_WAYS = (FORWARD, BACK)
"""Forward: a canary and a wave of two. Back: a wave of two and one of one."""

Next = Literal["roll", "ensure"]
"""What is run after the kill. `ensure` finishes the open wave only, and the same roll is run after it."""


@dataclass(frozen=True)
class RollKill:
    """One cell: who is killed at a point of a roll, and what is run then."""

    vendor: Vendor
    way: Operation
    point: Point
    victim: Victim
    next: Next

    @property
    def id(self) -> str:
        return f"roll/{self.vendor.name}/{self.way.name}/{self.point}/{self.victim}/{self.next}"

    @property
    def row(self) -> str:
        """Its row in the table."""
        return f"kill {self.victim} in a roll {self.way.name}, then {self.next}"

    def play(self, theatre: Theatre) -> bool:
        """Carry it out, and check the world at all times; False if there was nobody to kill at that point."""
        with theatre.scene(self.vendor) as scene:
            meant = _prepare(scene, self.way)
            # What is being deleted is there for its cloud, and for nobody else.
            with watched(scene.project.folder.parent / "world.db", scene.vendor, leaving=False) as seen:
                if not strike(Kill(self.vendor, self.way, self.point, self.victim), scene):
                    return False
                if self.next == "ensure":
                    scene.settle(START)
                    demand(not _record(scene).get("size"), "ensure left the wave open")
                scene.reach(*self.way.command)
            scene.check_settled(START)
            _check_end(scene, meant, seen)
        return True


def roll_kills(theatre: Theatre, only: str) -> Iterator[RollKill]:
    """The matrix, as far as ids begin with `only`: an undisturbed roll tells its points."""
    for vendor, way in product(VENDORS, _WAYS):
        scope = f"roll/{vendor.name}/{way.name}/"
        if not (scope.startswith(only) or only.startswith(scope)):
            continue
        for point, victims in _points(theatre, vendor, way):
            for victim, then in product(victims, get_args(Next)):
                yield RollKill(vendor, way, point, victim, then)


def _points(theatre: Theatre, vendor: Vendor, way: Operation) -> Iterator[tuple[Point, tuple[Victim, ...]]]:
    """Every change that an undisturbed roll asks the cloud for, every stage of its engines, and its looks between."""
    with theatre.scene(vendor) as scene:
        _prepare(scene, way)
        scene.reach(*way.command)
        requests = scene.project.requests()
        processes = [name for _, name in scene.project.engine_runs]
    changes = sum(request.method != "GET" for request in requests)
    for number, moment in product(range(1, changes + 1), get_args(Moment)):
        yield RequestPoint(number, moment, changes_only=True), VICTIMS
    for process, times in Counter(processes).items():
        stages = STAGES if process in ("up", "refresh") else STAGES[:1]
        for nth, stage in product(range(1, times + 1), stages):
            # Only the first one can be held before it begins.
            if nth == 1 or stage != "start":
                yield EnginePoint(process, stage, nth), VICTIMS
    for number in range(1, len(requests) + 1):
        yield RequestPoint(number, "before"), ("scaler",)


def _prepare(scene: Scene, way: Operation) -> str:
    """Give the scene something to roll, or to roll back; return the image that all servers are to have."""
    (old,) = _images(scene)
    newer = str(scene.world.add_snapshot(scene.vendor.name, "newer", labels={"role": "worker"}, disk=20).id)
    if way is FORWARD:
        return newer
    scene.reach("roll", "--canary", "0", "--surge", str(START), "--bake", "0s", "--yes")
    demand(set(_images(scene)) == {newer}, f"not rolled: {_images(scene)}")
    scene.world.clear_log()
    (scene.project.folder / "engine.log").unlink()
    return old


def _check_end(scene: Scene, meant: str, seen: Watched) -> None:
    """All are new; on a calm cloud each was made once, and at no time were there too few or too many."""
    demand(set(_images(scene)) == {meant}, f"images {_images(scene)}, not {meant}")
    record = _record(scene)
    demand(record["state"] == "done", f"the roll is {record['state']}: {record['error']}")
    if not scene.is_calm:
        return
    made = scene.project.asked_for
    demand(len(made) == START, f"made more than once: {made}")
    demand(max(seen.there) <= START + _SURGE, f"{max(seen.there)} servers at once")
    demand(min(seen.running) >= START, f"only {min(seen.running)} servers ran")


def _record(scene: Scene) -> dict[str, object]:
    """The roll as it is recorded; empty if the run was killed before it recorded one."""
    record: dict[str, object] = scene.project.state["orders"].get("rolls", {}).get("worker", {})
    return record


def _images(scene: Scene) -> Counter[str]:
    return Counter(server["image"] for server in scene.project.records.values())
