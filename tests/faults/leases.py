"""Of two or five watches, the active one is killed, stands still or is cut off, at every request of a tick."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import get_args

from tests.faults.gate import Moment
from tests.faults.stage import Scene, Theatre, demand
from tests.support.backends import database
from tests.support.project import VENDORS, Project, Vendor, wait_until
from tests.support.watches import POLICY, Machine, cut, kill, stop, watches

_WATCHES = (2, 5)

_TROUBLES: dict[str, Callable[[Machine, Project], None]] = {"kill": kill, "stop": stop, "cut": cut}

_REQUESTS = 12
"""More than a tick has that creates three servers and waits for them."""


@dataclass(frozen=True)
class LeaseTrouble:
    """One cell: what befalls the active one of so many watches, at which request."""

    vendor: Vendor
    watches: int
    trouble: str
    request: int
    moment: Moment

    @property
    def id(self) -> str:
        return f"lease/{self.vendor.name}/{self.watches}/{self.trouble}/request-{self.request}-{self.moment}"

    @property
    def row(self) -> str:
        """Its row in the table."""
        return f"{self.trouble} the active one of {self.watches} watches"

    def play(self, theatre: Theatre) -> bool:
        """Carry it out, and check that one watch acts and that the counts are exact."""
        with theatre.fresh(self.vendor) as scene, database() as backend, watches(scene.project, backend) as start:
            project = scene.project
            project.describe(groups={"worker": {"count": 1, "min": 1, "max": 6, "autoscale": POLICY}})
            _want(scene, 10)
            active = start("machine1")
            wait_until(lambda: active.shown("scaler_ready") == 1, "one ready server")
            others = [start(f"machine{number}") for number in range(2, self.watches + 1)]
            wait_until(lambda: all(other.role == "standby" for other in others), "the others standing by")
            demand(active.role == "active", "the first watch does not act")
            scene.gate.witness = lambda: len(project.machines)
            scene.gate.set(self.request, self.moment)
            _want(scene, 40)
            wait_until(scene.gate.reached.is_set, "the request")
            _TROUBLES[self.trouble](active, project)
            scene.gate.open(drop=self.trouble == "kill")
            wait_until(lambda: "active" in [other.role for other in others], "another one acting")
            wait_until(lambda: len(project.machines) == 4, "four servers")
            if self.trouble == "cut":
                active.wire.is_cut = False
            if self.trouble != "kill":
                active.come_back()
                wait_until(lambda: active.role == "standby", "the first one standing by")
            acting = [other for other in others if other.role == "active"]
            demand(len(acting) == 1, f"{len(acting)} watches act")
            _want(scene, 20)
            wait_until(lambda: acting[0].shown("scaler_ready") == 2, "two ready servers")
            demand(len(project.machines) == 2, f"{project.machines}, not two servers")
            demand(len(set(project.asked_for)) == len(project.asked_for), f"made twice: {project.asked_for}")
            most = max(int(str(seen)) for seen in scene.gate.testimony)
            demand(most <= 4, f"{most} servers at once")
            scene.check_foreign()
        return True


def _want(scene: Scene, jobs: int) -> None:
    (scene.project.folder / "jobs").write_text(str(jobs))


def leases(theatre: Theatre, only: str) -> Iterator[LeaseTrouble]:
    """The matrix."""
    del theatre, only
    for vendor, number, trouble in product(VENDORS, _WATCHES, _TROUBLES):
        for request, moment in product(range(1, _REQUESTS + 1), get_args(Moment)):
            yield LeaseTrouble(vendor, number, trouble, request, moment)
