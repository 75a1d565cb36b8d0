"""Of two or five watches, the active one is killed, stands still or is cut off, in every phase of a tick.

A phase, and not a request: nothing is changed by one question more or less, so what happens in it ends the same.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby, product
from typing import Literal, get_args

from tests.faults.gate import Moment
from tests.faults.stage import Scene, Theatre, demand
from tests.support.backends import STORES, bucket_apart
from tests.support.project import VENDORS, Project, Vendor, wait_until
from tests.support.watches import POLICY, Machine, cut, kill, stop, watches

_WATCHES = (2, 5)
"""Drawn for each cell: what befalls the active one does not depend on how many stand by."""

_TROUBLES: dict[str, Callable[[Machine, Project], None]] = {"kill": kill, "stop": stop, "late": stop, "cut": cut}
"""`late`: it stands still while its request is on its way, which arrives when another one has acted."""

_STORES = {**STORES, "s3": bucket_apart}

_CREATES = {"hetzner": 3, "digitalocean": 1}
"""Requests that create three servers."""

_Phase = Literal["look", "first", "last", "confirm"]
"""Before anything is changed; the first and the last request that creates; when all are created."""

_INTERVALS = 10
"""How long it stands still, in intervals of the watch: ten minutes, if these were of a minute."""

_MOST = 4
"""Servers that are wanted."""

_ON_THEIR_WAY = 3
"""Servers that requests on their way may make after their sender has stopped: no lease takes them back."""


@dataclass(frozen=True)
class LeaseTrouble:
    """One cell: what befalls the active one of so many watches, at which request."""

    vendor: Vendor
    store: str
    watches: int
    trouble: str
    phase: _Phase
    moment: Moment

    @property
    def id(self) -> str:
        place = f"lease/{self.vendor.name}/{self.store}"
        return f"{place}/{self.watches}/{self.trouble}/{self.phase}-{self.moment}"

    @property
    def row(self) -> str:
        """Its row in the table."""
        return f"{self.trouble} the active one of {self.watches} watches, {self.store}"

    def play(self, theatre: Theatre) -> bool:
        """Carry it out, and check that one watch acts and that the counts are exact."""
        with (
            theatre.fresh(self.vendor) as scene,
            _STORES[self.store]() as backend,
            watches(scene.project, backend) as start,
        ):
            project = scene.project
            project.describe(groups={"worker": {"count": 1, "min": 1, "max": 6, "autoscale": POLICY}})
            _want(scene, 10)
            active = start("machine1")
            wait_until(lambda: active.shown("scaler_ready") == 1, "one ready server")
            others = [start(f"machine{number}") for number in range(2, self.watches + 1)]
            wait_until(lambda: all(other.role == "standby" for other in others), "the others standing by")
            demand(active.role == "active", "the first watch does not act")
            senders = _Senders([active, *others])
            scene.gate.witness = lambda: len(scene.owned())
            scene.gate.arrival = senders.note
            self._reach(scene)
            befallen = time.monotonic()
            _TROUBLES[self.trouble](active, project)
            if self.trouble != "late":
                scene.gate.open(drop=self.trouble == "kill")
            acting = wait_until(lambda: _acting(others), "another one acting")
            print(f"{self.id}: another one acts after {time.monotonic() - befallen:.1f} s", file=sys.stderr)
            wait_until(lambda: acting.shown("scaler_ready") == _MOST, "four ready servers")
            if self.trouble == "late":
                scene.gate.open(drop=False)
            if self.trouble in ("stop", "late"):
                ticks = acting.ticks
                wait_until(lambda: acting.ticks >= ticks + _INTERVALS, "ten intervals")
            wait_until(lambda: len(scene.owned()) == _MOST, "four servers")
            active.wire.is_cut = False
            if self.trouble != "kill":
                active.come_back()
                wait_until(lambda: active.role == "standby", "the first one standing by")
            demand([each for each in others if each.role == "active"] == [acting], "another one acts now")
            _want(scene, 20)
            wait_until(lambda: acting.shown("scaler_ready") == 2, "two ready servers")
            demand(len(scene.owned()) == 2, f"{scene.owned()}, not two servers")
            self._check_course(scene, senders)
            scene.check_foreign()
        return True

    def _reach(self, scene: Scene) -> None:
        """Have the active one begin to create, and hold it in the cell's phase."""
        gate, creates = scene.gate, _CREATES[self.vendor.name]
        if self.phase != "confirm":
            nth = creates if self.phase == "last" else 1
            gate.set(nth, self.moment, changes_only=self.phase != "look")
        _want(scene, 10 * _MOST)
        if self.phase == "confirm":
            wait_until(lambda: len(scene.owned()) == _MOST, "four created servers")
            gate.set(1, self.moment)
        wait_until(gate.reached.is_set, "the request")

    def _check_course(self, scene: Scene, senders: _Senders) -> None:
        """One after the other sent what changes something, and no server too many was made for it."""
        order = [machine for machine, _ in groupby(senders.changes)]
        demand(len(order) == len(set(order)), f"they took turns in changing something: {senders.changes}")
        most = max(int(str(seen)) for seen in scene.gate.testimony)
        asked = scene.project.asked_for
        if self.trouble != "late":
            demand(len(set(asked)) == len(asked), f"made twice: {asked}")
        allowed = _MOST + (_ON_THEIR_WAY if self.trouble == "late" else 0)
        demand(most <= allowed, f"{most} servers at once")


class _Senders:
    """Which machine sent each request that changes something."""

    def __init__(self, machines: list[Machine]) -> None:
        self._machines = machines
        self.changes: list[int] = []
        """The machines' numbers, in the order of arrival."""

    def note(self, method: str, port: int) -> None:
        """Take down who sends from this port, if the request changes something."""
        if method != "GET":
            self.changes += [number for number, machine in enumerate(self._machines) if machine.is_at(port)]


def _acting(machines: list[Machine]) -> Machine | None:
    return next((machine for machine in machines if machine.role == "active"), None)


def _want(scene: Scene, jobs: int) -> None:
    (scene.project.folder / "jobs").write_text(str(jobs))


def leases(theatre: Theatre, only: str) -> Iterator[LeaseTrouble]:
    """The matrix."""
    del theatre, only
    draw = random.Random(17)
    for vendor, store, trouble, phase in product(VENDORS, _STORES, _TROUBLES, get_args(_Phase)):
        if phase == "last" and _CREATES[vendor.name] == 1:
            continue
        # A question has no other end after it than before it, and comes late to nobody's harm.
        is_question = phase in ("look", "confirm")
        if trouble == "late" and is_question:
            continue
        for moment in ("before",) if is_question or trouble == "late" else get_args(Moment):
            yield LeaseTrouble(vendor, store, draw.choice(_WATCHES), trouble, phase, moment)
