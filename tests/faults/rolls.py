"""A roll is killed at every step of its canary, its waves and its way back; the next `roll` or `ensure` goes on.

So is one that begins by itself, in an `ensure` without numbers or in any of the ticks that it takes.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, get_args

from tests.faults.kills import Kill, Point, Victim, note_what_lasts, points_of_last, strike
from tests.faults.stage import START, Operation, Scene, Theatre, demand
from tests.support.project import VENDORS, Vendor
from tests.support.watching import Watched, watched

_SURGE = 2
_BAKE_S = 1
_PACE = ("--surge", str(_SURGE), "--bake", f"{_BAKE_S}s", "--yes")

FORWARD = Operation("forward", ("roll", *_PACE), START, START, START + _SURGE)
BACK = Operation("back", ("roll", "--rollback", *_PACE), START, START, START + _SURGE)
ITSELF = Operation("itself", ("ensure", "--yes"), START, START, START + _SURGE)
TICKS = Operation("ticks", ("autoscale", "--yes"), START, START, START + _SURGE)
_WAYS = (FORWARD, BACK, ITSELF, TICKS)
"""Forward and by itself: a canary and a wave of two. Back: a wave of two and one of one."""

_MOST_TICKS = 40

_SCALED: dict[str, dict[str, Any]] = {
    "itself": {},
    "ticks": {
        "min": START,
        "max": START,
        "autoscale": {
            "metrics": {"jobs": {"command": {"run": ["echo", "30"]}}},
            "rules": [{"backlog": {"metric": "jobs", "per_server": 10}}],
        },
    },
}
"""What the spec says beside `image_changes: roll`."""

Next = Literal["roll", "ensure"]
"""What is run after the kill: the same again, or `ensure 3`, which finishes the open wave only, and then the same."""


@dataclass(frozen=True)
class RollKill:
    """One cell: who is killed at a point of a roll, and what is run then."""

    vendor: Vendor
    way: Operation
    point: Point
    victim: Victim
    next: Next
    tick: int = 1
    """Which tick is killed, where the roll goes on tick by tick."""

    @property
    def id(self) -> str:
        way = f"{self.way.name}-{self.tick}" if self.way is TICKS else self.way.name
        return f"roll/{self.vendor.name}/{way}/{self.point}/{self.victim}/{self.next}"

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
                for _ in range(1, self.tick):
                    _tick(scene, self.way)
                    _forget_engines(scene)
                if not strike(Kill(self.vendor, self.way, self.point, self.victim), scene):
                    return False
                if self.next == "ensure":
                    scene.settle(START)
                    demand(not _record(scene).get("size"), "ensure left the wave open")
                _finish(scene, self.way)
            scene.check_settled(START)
            _check_end(scene, meant, seen)
        return True


def roll_kills(theatre: Theatre, only: str) -> Iterator[RollKill]:
    """The matrix, as far as ids begin with `only`: an undisturbed roll tells its points."""
    for vendor, way in product(VENDORS, _WAYS):
        scope = f"roll/{vendor.name}/{way.name}"
        if not (scope.startswith(only) or only.startswith(scope)):
            continue
        with theatre.scene(vendor) as scene:
            _prepare(scene, way)
            for tick in range(1, _MOST_TICKS):
                note_what_lasts(scene)
                (_tick if way is TICKS else _finish)(scene, way)
                for point, victims in points_of_last(scene):
                    # Itself, the requests and the engines are those of forward, where each is killed alone as well.
                    whom = ("both",) if way is ITSELF and "both" in victims else victims
                    for victim, then in product(whom, get_args(Next)):
                        yield RollKill(vendor, way, point, victim, then, tick)
                if _record(scene).get("state") == "done":
                    break
                _forget_past(scene)


def _prepare(scene: Scene, way: Operation) -> str:
    """Give the scene something to roll, or to roll back; return the image that all servers are to have."""
    (old,) = _images(scene)
    if way in (ITSELF, TICKS):
        pace = {"surge": _SURGE, "bake": f"{_BAKE_S}s"}
        scene.project.describe(groups={"worker": {"image_changes": "roll", "roll": pace, **_SCALED[way.name]}})
    newer = str(scene.world.add_snapshot(scene.vendor.name, "newer", labels={"role": "worker"}, disk=20).id)
    if way is not BACK:
        return newer
    scene.reach("roll", "--canary", "0", "--surge", str(START), "--bake", "0s", "--yes")
    demand(set(_images(scene)) == {newer}, f"not rolled: {_images(scene)}")
    _forget_past(scene)
    return old


def _forget_past(scene: Scene) -> None:
    """Count requests and engines from now on."""
    scene.world.clear_log()
    _forget_engines(scene)


def _forget_engines(scene: Scene) -> None:
    (scene.project.folder / "engine.log").unlink(missing_ok=True)


def _tick(scene: Scene, way: Operation) -> None:
    """Tick once, when what began in the last tick has come to its end in the cloud, and has baked."""
    time.sleep(_BAKE_S)
    scene.reach(*way.command)


def _finish(scene: Scene, way: Operation) -> None:
    """Carry the roll to its end."""
    if way is not TICKS:
        scene.reach(*way.command)
        return
    for _ in range(_MOST_TICKS):
        if _record(scene).get("state") == "done":
            return
        _tick(scene, way)


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
