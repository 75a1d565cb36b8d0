"""The kill matrix: scaler, the engine, or both are killed at every point of an operation; one `ensure` mends it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal, get_args

from tests.faults.gate import Moment
from tests.faults.stage import OPERATIONS, RETRIED, Operation, Scene, Theatre, demand
from tests.support.project import VENDORS, Ran, Vendor, finish, is_alive

Victim = Literal["scaler", "engine", "both"]
VICTIMS: tuple[Victim, ...] = ("scaler", "engine", "both")

Stage = Literal["start", "locked", "saved", "unlocked"]
STAGES: tuple[Stage, ...] = ("start", "locked", "saved", "unlocked")
"""Of an engine process: not yet begun, holding the stack's lock, its state just saved, its lock just gone."""

_DEADLINE_S = 300.0


@dataclass(frozen=True)
class RequestPoint:
    """Before or after the cloud carries out the n-th request of the run, or the n-th that changes something."""

    number: int
    moment: Moment
    changes_only: bool = False

    def __str__(self) -> str:
        return f"{'change' if self.changes_only else 'request'}-{self.number}-{self.moment}"


@dataclass(frozen=True)
class EnginePoint:
    """A stage of an engine process of the run: the n-th one of this operation (`up`, `refresh`)."""

    operation: str
    stage: Stage
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.operation}{'' if self.nth == 1 else self.nth}-{self.stage}"


Point = RequestPoint | EnginePoint


@dataclass(frozen=True)
class Kill:
    """One cell of the matrix."""

    vendor: Vendor
    operation: Operation
    point: Point
    victim: Victim

    @property
    def id(self) -> str:
        return f"kill/{self.vendor.name}/{self.operation.name}/{self.point}/{self.victim}"

    @property
    def row(self) -> str:
        """Its row in the table."""
        kind = "at a request" if isinstance(self.point, RequestPoint) else "at the engine's work"
        return f"kill {self.victim} {kind}, {self.operation.name}"

    def play(self, theatre: Theatre) -> bool:
        """Carry it out, and check the world after one `ensure`; False if there was nobody to kill at that point."""
        with theatre.scene(self.vendor) as scene:
            if not strike(self, scene):
                return False
            scene.check_most(self.operation.most)
            scene.settle(self.operation.wanted)
        return True


def points(theatre: Theatre, vendor: Vendor, operation: Operation) -> Iterator[tuple[Point, tuple[Victim, ...]]]:
    """Every point of an undisturbed operation, and who can be killed at it."""
    with theatre.scene(vendor) as scene:
        yield from points_of(scene, operation)


def points_of(scene: Scene, operation: Operation) -> Iterator[tuple[Point, tuple[Victim, ...]]]:
    """Every point of the operation in this scene."""
    scene.gate.witness = lambda: _living_engine(scene)
    scene.reach(*operation.command)
    engines, processes = [engine for _, engine in scene.gate.testimony], [name for _, name in scene.project.engine_runs]
    scene.settle(operation.wanted)
    for number, engine in enumerate(engines, start=1):
        for moment in get_args(Moment):
            yield RequestPoint(number, moment), VICTIMS if engine else ("scaler",)
    for process, times in Counter(processes).items():
        for stage in STAGES if process in ("up", "refresh") else STAGES[:1]:
            yield EnginePoint(process, stage), VICTIMS
        for nth, stage in product(range(2, times + 1), STAGES[1:]):
            yield EnginePoint(process, stage, nth), VICTIMS


def note_what_lasts(scene: Scene) -> None:
    """Note at each request from now on what would outlast a kill, for `points_of_last`."""
    scene.gate.testimony.clear()
    scene.gate.witness = lambda: _durable(scene)


def points_of_last(scene: Scene) -> Iterator[tuple[Point, tuple[Victim, ...]]]:
    """Every change that the last run asked the cloud for, every stage of its engines, and its looks between.

    Of several looks between which nothing was done that outlasts a kill, only the first is another point.
    """
    requests, processes = list(scene.gate.testimony), [name for _, name in scene.project.engine_runs]
    changes = sum(method != "GET" for method, _ in requests)
    for number, moment in product(range(1, changes + 1), get_args(Moment)):
        yield RequestPoint(number, moment, changes_only=True), VICTIMS
    for process, times in Counter(processes).items():
        stages = STAGES if process in ("up", "refresh") else STAGES[:1]
        for nth, stage in product(range(1, times + 1), stages):
            # Only the first one can be held before it begins.
            if nth == 1 or stage != "start":
                yield EnginePoint(process, stage, nth), VICTIMS
    seen: set[object] = set()
    for number, (method, lasting) in enumerate(requests, start=1):
        if method != "GET":
            seen.clear()
        elif lasting not in seen:
            yield RequestPoint(number, "before"), ("scaler",)
        seen.add(lasting)


def _durable(scene: Scene) -> object:
    """Return what a kill leaves: the files of the stack as they are, and the engine's."""
    files = []
    for path in scene.project.state_dir.rglob("*"):
        with suppress(FileNotFoundError):
            files.append((path, path.stat().st_ino, path.stat().st_mtime_ns))
    return frozenset(files), len(scene.project.engine_runs)


def kills(theatre: Theatre, only: str) -> Iterator[Kill]:
    """The matrix, as far as ids begin with `only`: an undisturbed run of each operation tells its points."""
    for vendor, operation in product(VENDORS, OPERATIONS.values()):
        scope = f"kill/{vendor.name}/{operation.name}/"
        if not (scope.startswith(only) or only.startswith(scope)):
            continue
        for point, victims in points(theatre, vendor, operation):
            yield from (Kill(vendor, operation, point, victim) for victim in victims)


def strike(kill: Kill, scene: Scene) -> bool:
    """Start the operation, kill the victim at the point, and wait for the end; False if nobody was there to kill."""
    point = kill.point
    if isinstance(point, RequestPoint):
        scene.gate.set(point.number, point.moment, changes_only=point.changes_only)
    release = None
    if isinstance(point, EnginePoint) and point.stage == "start":
        release = scene.project.hold_engine(point.operation)
    with (scene.project.folder / "stderr").open("w") as errors:
        process = scene.project.start(*kill.operation.command, stdout=subprocess.DEVNULL, stderr=errors)
    if isinstance(point, RequestPoint):
        arrived = _at_request(scene, point, process)
    else:
        arrived = _at_engine(scene, point, process)
    engine = _living_engine(scene)
    hit = arrived and (engine is not None or kill.victim == "scaler")
    if hit and kill.victim in ("scaler", "both"):
        process.kill()
    if hit and kill.victim in ("engine", "both") and engine is not None:
        _kill_process(engine)
    if release:
        release()
    scene.gate.open(drop=hit and kill.victim != "engine")
    survivor = finish(process)
    if hit and kill.victim == "engine":
        _check_told(scene, survivor)
    return hit


def _check_told(scene: Scene, survivor: Ran) -> None:
    """A scaler whose engine was killed either went on and succeeded, or says what happened."""
    words = (scene.project.folder / "stderr").read_text(encoding="utf-8")
    demand(
        survivor.code in ((0, 1, 4) if scene.is_calm else RETRIED),
        f"scaler ended with {survivor.code} when its engine was killed:\n{words}",
    )
    demand("internal error" not in words, f"scaler ended on an error of its own:\n{words}")


# ---------------------------------------------------------------------------------------------
# Arriving at a point


def _at_request(scene: Scene, point: RequestPoint, process: subprocess.Popen[str]) -> bool:
    """Wait until the request is held; False if the run ended before."""
    while not scene.gate.reached.wait(0.01):
        if process.poll() is not None:
            return False
    return True


def _at_engine(scene: Scene, point: EnginePoint, process: subprocess.Popen[str]) -> bool:
    """Wait until the engine's files say that the stage has come; False if the run ended before."""
    before = _saved(scene)
    held = False
    end = time.monotonic() + _DEADLINE_S
    while time.monotonic() < end:
        if process.poll() is not None:
            return False
        if [operation for _, operation in scene.project.engine_runs].count(point.operation) >= point.nth:
            locked = bool(scene.locks())
            held = held or locked
            if _has_come(point.stage, locked, held, _saved(scene) != before):
                return True
        elif point.stage == "saved":
            before = _saved(scene)
        time.sleep(0.0005)
    return False


def _has_come(stage: Stage, locked: bool, held: bool, saved: bool) -> bool:
    match stage:
        case "start":
            return True
        case "locked":
            return locked
        case "saved":
            return saved
        case "unlocked":
            return held and not locked


def _saved(scene: Scene) -> object:
    """Changes whenever the engine saves its state: it replaces the file."""
    path = scene.project.state_dir / "pulumi" / ".pulumi" / "stacks" / "scaler" / "demo.json"
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def _living_engine(scene: Scene) -> int | None:
    """The engine process that runs now, if one does."""
    living = [pid for pid, _ in scene.project.engine_runs if is_alive(pid) and _is_ours(pid)]
    return living[-1] if living else None


def _is_ours(pid: int) -> bool:
    """Whether the process is an engine, or the wrapper that is about to become it, and no later one of this number."""
    try:
        return b"pulumi" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _kill_process(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
