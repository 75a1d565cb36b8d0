"""Several at once: runs against runs, runs against a person's hand, runs against a signal."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

from scaler.model.ownership import Owner
from tests.faults.gate import Moment
from tests.faults.stage import OPERATIONS, START, Operation, Scene, Theatre, demand
from tests.support.project import VENDORS, Ran, Vendor, finish, is_alive, wait_until

# ---------------------------------------------------------------------------------------------
# Runs against runs


@dataclass(frozen=True)
class Contest:
    """Commands that are started at once on one stack."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    ends: frozenset[int]
    """How many servers there may be when all have ended."""
    creates: int | None
    """Servers that may be asked for at most; None: any number."""


CONTESTS = (
    *(Contest(f"{count} ensure", (("ensure", "5", "--yes"),) * count, frozenset({5}), 2) for count in (2, 4, 10)),
    Contest("ensure 5, ensure 1", (("ensure", "5", "--yes"), ("ensure", "1", "--yes")), frozenset({1, 5}), 4),
    Contest("ensure, destroy", (("ensure", "5", "--yes"), ("destroy", "--yes")), frozenset({0, 5}), 5),
    Contest("ensure, refresh", (("ensure", "5", "--yes"), ("refresh",)), frozenset({5}), 2),
    Contest("ensure, replace", (("ensure", "3", "--yes"), ("replace", "demo-worker-2", "--yes")), frozenset({3}), 1),
    Contest("ensure, reboot", (("ensure", "5", "--yes"), ("reboot", "demo-worker-1")), frozenset({5}), 2),
)


@dataclass(frozen=True)
class Race:
    """One contest at one cloud: all on one machine, or every second one on another that shares the backend."""

    vendor: Vendor
    contest: Contest
    elsewhere: bool

    @property
    def id(self) -> str:
        return f"race/{self.vendor.name}/{self.contest.name}/{'two machines' if self.elsewhere else 'one machine'}"

    @property
    def row(self) -> str:
        """Its row in the table."""
        return f"race {self.contest.name}, {'two machines' if self.elsewhere else 'one machine'}"

    def play(self, theatre: Theatre) -> bool:
        """Let them run, and check the world."""
        with theatre.scene(self.vendor) as scene:
            project, contest = scene.project, self.contest
            project.describe(backend=f"file://{project.state_dir / 'pulumi'}")
            other = ("--state-dir", str(project.folder / "other"))
            processes = [
                project.start(*command, *(other if self.elsewhere and number % 2 else ()))
                for number, command in enumerate(contest.commands)
            ]
            runs = [finish(process) for process in processes]
            told = "\n".join(
                f"{' '.join(c)}: {ran.code}\n{ran.stderr}" for c, ran in zip(contest.commands, runs, strict=True)
            )
            for ran in runs:
                scene.check_end(ran, {0, 5})
            scene.check_most(max(contest.ends))
            has_won = any(ran.code == 0 for ran in runs)
            demand(has_won or not scene.is_calm, told)
            demand(not scene.is_calm or len(scene.owned()) in contest.ends, f"{len(scene.owned())} servers, {told}")
            demand(
                contest.creates is None or not scene.is_calm or len(project.asked_for) <= contest.creates,
                f"{len(project.asked_for)} creates, {told}",
            )
            scene.settle(START)
        return True


# ---------------------------------------------------------------------------------------------
# A run against a person's hand


def _delete(scene: Scene, id: int) -> None:
    scene.world.vanish(scene.vendor.name, id)


def _switch_off(scene: Scene, id: int) -> None:
    scene.world.power_off(scene.vendor.name, id)


def _relabel(scene: Scene, id: int) -> None:
    labels = Owner("scaler", "other").group_labels("worker", "0")
    scene.world.relabel(scene.vendor.name, id, **scene.vendor.owned(labels))


def _rename(scene: Scene, id: int) -> None:
    scene.world.rename(scene.vendor.name, id, "renamed")


HANDS: dict[str, Callable[[Scene, int], None]] = {
    "deletes": _delete,
    "switches off": _switch_off,
    "relabels": _relabel,
    "renames": _rename,
}


@dataclass(frozen=True)
class Meddling:
    """A person does something to the first server right before one of the run's requests is carried out."""

    vendor: Vendor
    operation: Operation
    hand: str
    number: int
    server: str = "demo-worker-1"

    @property
    def id(self) -> str:
        return f"hand/{self.vendor.name}/{self.operation.name}/{self.hand}/{self.number}"

    @property
    def row(self) -> str:
        """Its row in the table."""
        return f"a hand {self.hand} a server during {self.operation.name}"

    def play(self, theatre: Theatre) -> bool:
        """Meddle, and check the world; False if the run sends fewer requests."""
        with theatre.scene(self.vendor) as scene:
            # A server that is switched off in its reboot is given up after this.
            scene.project.describe(groups={"worker": {"start_within": "8s"}})
            scene.gate.set(self.number, "before")
            process = _start(scene, self.operation)
            if not _arrive(scene, process):
                return False
            there = int(scene.first[self.server]) in scene.owned()
            protected = there and self.hand == "relabels" and self._is_look(scene)
            if there:
                HANDS[self.hand](scene, int(scene.first[self.server]))
                scene.foreign = scene._foreign()
            scene.gate.open(drop=False)
            ran = _finish(scene, process)
            # What a hostile cloud's lists do not show yet, no run can know.
            time.sleep(0 if scene.is_calm else scene.lag_s / theatre.speed)
            scene.check_end(ran, {0, 1, 4})
            demand("internal error" not in ran.stderr, ran.stderr)
            scene.check_most(self.operation.most, ran)
            if protected:
                scene.check_foreign()
            scene.foreign = scene._foreign()
            scene.settle(self.operation.wanted)
        return there

    def _is_look(self, scene: Scene) -> bool:
        """Whether the held request is a list, sent before anything was changed: then the run must see what was done.

        On a hostile cloud it does not: lists lag.
        """
        return scene.is_calm and not scene.project.changes and scene.gate.held == ("GET", scene.vendor.collection)


# ---------------------------------------------------------------------------------------------
# A run against a signal


@dataclass(frozen=True)
class Signalled:
    """A signal arrives while one of the run's requests is under way."""

    vendor: Vendor
    operation: Operation
    signal: signal.Signals
    number: int
    moment: Moment

    @property
    def id(self) -> str:
        return f"signal/{self.vendor.name}/{self.operation.name}/{self.signal.name}/{self.number}-{self.moment}"

    @property
    def row(self) -> str:
        """Its row in the table."""
        return f"{self.signal.name} during {self.operation.name}"

    def play(self, theatre: Theatre) -> bool:
        """Send it, and check the end and the world; False if the run sends fewer requests."""
        with theatre.scene(self.vendor) as scene:
            scene.gate.set(self.number, self.moment)
            process = _start(scene, self.operation)
            if not _arrive(scene, process):
                return False
            process.send_signal(self.signal)
            scene.gate.open(drop=False)
            ran = _finish(scene, process)
            demand(ran.code == 128 + self.signal, f"exit {ran.code}, not {128 + self.signal}:\n{ran.stderr}")
            demand("Traceback" not in ran.stderr, ran.stderr)
            living = [pid for pid, _ in scene.project.engine_runs if is_alive(pid)]
            demand(not living, f"engine processes {living} were left:\n{ran.stderr}")
            demand(not scene.locks(), f"locks were left: {scene.locks()}\n{ran.stderr}")
            demand(not (scene.project.state_dir / "demo.lock.json").exists(), "the local lock's note was left")
            scene.check_most(self.operation.most, ran)
            scene.settle(self.operation.wanted)
        return True


# ---------------------------------------------------------------------------------------------


def races(theatre: Theatre, only: str) -> Iterator[Race]:
    """Every contest, at each cloud, on one machine and on two."""
    for contest, elsewhere, vendor in product(CONTESTS, (False, True), VENDORS):
        yield Race(vendor, contest, elsewhere)


def hands(theatre: Theatre, only: str) -> Iterator[Meddling]:
    """Every hand, in every operation, before every second request."""
    for operation, hand, vendor, number in product(OPERATIONS.values(), HANDS, VENDORS, range(2, 15, 2)):
        yield Meddling(vendor, operation, hand, number)


def signals(theatre: Theatre, only: str) -> Iterator[Signalled]:
    """Both signals, in every operation, while every request is under way."""
    numbers = enumerate(product(OPERATIONS.values(), range(1, 15)))
    for (turn, (operation, number)), vendor in product(numbers, VENDORS):
        kinds = (signal.SIGINT, signal.SIGTERM)
        moments: tuple[Moment, Moment] = ("before", "after")
        yield Signalled(vendor, operation, kinds[turn % 2], number, moments[turn // 2 % 2])


def _start(scene: Scene, operation: Operation) -> subprocess.Popen[str]:
    with (scene.project.folder / "stderr").open("w") as stderr:
        return scene.project.start(*operation.command, stdout=subprocess.DEVNULL, stderr=stderr)


def _arrive(scene: Scene, process: subprocess.Popen[str]) -> bool:
    """Wait until the request is held; False if the run ended before."""
    wait_until(lambda: scene.gate.reached.is_set() or process.poll() is not None, "the request, or the run's end")
    return scene.gate.reached.is_set()


def _finish(scene: Scene, process: subprocess.Popen[str]) -> Ran:
    ran = finish(process)
    return Ran(ran.code, "", (scene.project.folder / "stderr").read_text(encoding="utf-8"))
