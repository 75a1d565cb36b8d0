"""`make faults`: the full matrices. Prints a table, and stops at the first promise that was not kept."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Protocol

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.faults.drains import drain_kills
from tests.faults.first_runs import first_runs
from tests.faults.health import health_kills
from tests.faults.kills import kills
from tests.faults.leases import leases
from tests.faults.races import hands, races, signals
from tests.faults.rolls import roll_kills
from tests.faults.stage import Theatre
from tests.faults.troubles import troubles
from tests.support.project import Vendor


class Cell(Protocol):
    """One cell of a matrix."""

    @property
    def vendor(self) -> Vendor: ...

    @property
    def id(self) -> str: ...

    @property
    def row(self) -> str: ...

    def play(self, theatre: Theatre) -> bool:
        """Raise AssertionError for a promise that was not kept; False if the cell does not apply."""


MATRICES: dict[str, Callable[[Theatre, str], Iterable[Cell]]] = {
    "kill": kills,
    "first": first_runs,
    "drain": drain_kills,
    "health": health_kills,
    "roll": roll_kills,
    "lease": leases,
    "fault": troubles,
    "race": races,
    "hand": hands,
    "signal": signals,
}


class Tally:
    """What came of the cells so far."""

    def __init__(self, profile: str = "instant") -> None:
        self._profile = "" if profile == "instant" else f"--profile {profile} "
        self.kept: Counter[tuple[str, str]] = Counter()
        self.broken: Counter[tuple[str, str]] = Counter()
        self.inapplicable = 0
        self.done = 0

    def note(self, cell: Cell, future: Future[bool]) -> bool:
        """Count a finished cell; False for a broken promise, which is told."""
        key = (cell.row, cell.vendor.name)
        self.done += 1
        if self.done % 50 == 0:
            print(f"{self.done} done", file=sys.stderr, flush=True)
        error = future.exception()
        if error is None:
            self.kept[key] += future.result()
            self.inapplicable += not future.result()
            return True
        self.broken[key] += 1
        print(f"VIOLATED  {cell.id}\n{error!r}"[:4000], file=sys.stderr)
        print(f"reproduce: make faults ARGS='{self._profile}--only {cell.id}'\n", file=sys.stderr, flush=True)
        return False

    def print(self, elapsed_s: float) -> None:
        """The table: scenario, cloud, outcome."""
        keys = sorted({*self.kept, *self.broken})
        width = max((len(row) for row, _ in keys), default=8)
        print(f"{'scenario':{width}}  {'cloud':12}  {'kept':>5}  violated")
        for row, cloud in keys:
            if self.kept[row, cloud] or self.broken[row, cloud]:
                print(f"{row:{width}}  {cloud:12}  {self.kept[row, cloud]:>5}  {self.broken[row, cloud] or '-'}")
        print(
            f"{self.kept.total() + self.broken.total()} worlds checked, {self.broken.total()} violated, "
            f"{self.inapplicable} points without a victim, {elapsed_s:.0f} s"
        )


def main() -> int:
    """Run the chosen cells; 1 if a promise was not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", metavar="ID", help="cells whose id begins so, such as kill/hetzner")
    parser.add_argument("--most", type=int, metavar="N", help="only so many of them, of all kinds")
    parser.add_argument("--skip", type=int, default=0, metavar="N", help="without the first N, to go on where it ended")
    parser.add_argument("--jobs", type=int, default=2, help="cells at a time")
    parser.add_argument("--keep-going", action="store_true", help="go on after a violation")
    parser.add_argument("--profile", choices=("instant", "hostile"), default="instant", help="how the clouds behave")
    parser.add_argument("--speed", type=float, default=1.0, metavar="X", help="how much faster than real time goes")
    options = parser.parse_args()
    # What is started in the background of a shell ignores Ctrl-C, and so would every command under test.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    print(f"scenes are in {folder}; those of violations stay there", file=sys.stderr)
    started = time.monotonic()
    tally = Tally(options.profile)
    try:
        whole = _play(Theatre(folder, options.profile, options.speed), options, tally)
    finally:
        tally.print(time.monotonic() - started)
    return 0 if whole and tally.kept else 1


def _play(theatre: Theatre, options: argparse.Namespace, tally: Tally) -> bool:
    """Play all cells; False after a violation."""
    cells = _chosen(theatre, options.only)
    print(f"{len(cells)} cells", file=sys.stderr, flush=True)
    chosen = iter(cells[options.skip :][: options.most])
    running: dict[Future[bool], Cell] = {}
    whole = True
    with ThreadPoolExecutor(options.jobs) as pool:
        while whole or options.keep_going:
            while len(running) < options.jobs and (cell := next(chosen, None)):
                running[pool.submit(cell.play, theatre)] = cell
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                whole &= tally.note(running.pop(future), future)
    return whole


def _chosen(theatre: Theatre, only: str) -> list[Cell]:
    """All cells whose id begins with `only`, in an order that is always the same and visits everything early."""
    cells = [
        cell
        for name, matrix in MATRICES.items()
        if name.startswith(only) or only.startswith(name)
        for cell in matrix(theatre, only)
        if cell.id.startswith(only)
    ]
    random.Random(0).shuffle(cells)
    return cells


if __name__ == "__main__":
    sys.exit(main())
