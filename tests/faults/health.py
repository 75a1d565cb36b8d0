"""A run is killed at every point of a replacement for health; one `ensure` ends it, and nobody else is lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from tests.faults.kills import Kill, Point, Victim, note_what_lasts, points_of_last, strike
from tests.faults.stage import START, Operation, Scene, Theatre, demand
from tests.support.project import VENDORS, Vendor, is_alive, wait_until

REPLACEMENT = Operation("health", ("ensure", str(START), "--yes"), START, START, START + 1)

_ILL = "demo-worker-2"

_CHECK = f"""#!/bin/sh
echo "$1 is not well" && [ "$1" != {_ILL} ]
"""

_DRAIN = """#!/bin/sh
echo $$ >> pids
sleep 0.3
"""


@dataclass(frozen=True)
class HealthKill:
    """One cell: who is killed at a point of a run that replaces an unhealthy server."""

    vendor: Vendor
    point: Point
    victim: Victim

    @property
    def id(self) -> str:
        return f"health/{self.vendor.name}/{self.point}/{self.victim}"

    @property
    def row(self) -> str:
        """Its row in the table."""
        return f"kill {self.victim} while an unhealthy server is replaced"

    def play(self, theatre: Theatre) -> bool:
        """Carry it out, and check the world after one `ensure`; False if there was nobody to kill at that point."""
        with theatre.scene(self.vendor) as scene:
            _describe(scene)
            if not strike(Kill(self.vendor, REPLACEMENT, self.point, self.victim), scene):
                return False
            scene.check_most(REPLACEMENT.most)
            _check_in_place(scene)
            scene.settle(START)
            _check_left(scene)
        return True


def health_kills(theatre: Theatre, only: str) -> Iterator[HealthKill]:
    """The matrix, as far as ids begin with `only`: an undisturbed run tells its points."""
    for vendor in VENDORS:
        scope = f"health/{vendor.name}/"
        if not (scope.startswith(only) or only.startswith(scope)):
            continue
        with theatre.scene(vendor) as scene:
            _describe(scene)
            note_what_lasts(scene)
            scene.reach(*REPLACEMENT.command)
            points = list(points_of_last(scene))
        for point, victims in points:
            yield from (HealthKill(vendor, point, victim) for victim in victims)


def _describe(scene: Scene) -> None:
    for name, text in (("healthy.sh", _CHECK), ("drain.sh", _DRAIN)):
        path = scene.project.folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
    healthy = {"command": ["./healthy.sh", "{name}"], "every": "1s", "failures": 1}
    scene.project.describe(groups={"worker": {"healthy": healthy, "stop": {"drain": ["./drain.sh"]}}})


def _check_in_place(scene: Scene) -> None:
    """Nobody goes before there is another one: as many machines exist as are wanted, whenever the run was killed."""
    demand(len(scene.owned()) >= START, f"only {scene.owned()} are left, {START} wanted")


def _check_left(scene: Scene) -> None:
    """The unhealthy server is gone, all others are those from before, and no process of its drain is left."""
    owned = {str(number) for number in scene.owned()}
    ill = scene.first[_ILL]
    demand(ill not in owned, f"{_ILL} ({ill}) is still there")
    others = set(scene.first.values()) - {ill}
    demand(others <= owned, f"healthy servers were replaced: {others - owned}")
    path = scene.project.folder / "pids"
    for pid in map(int, path.read_text(encoding="utf-8").split()) if path.exists() else ():
        wait_until(partial(_is_gone, pid), f"the end of the drain's process {pid}")
    files = list((scene.project.state_dir / "demo.drains").glob("*.json"))
    demand(not files, f"drains are remembered: {files}")


def _is_gone(pid: int) -> bool:
    return not is_alive(pid)
