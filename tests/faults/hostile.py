"""`make hostile`: random counts on a stack whose cloud is unpleasant in every way that the real ones are.

The cloud has the profile `hostile`: lists and reads lag, names and places are held until a deletion ends, requests
and actions fail. A run may fail; then the next one is to repair it. Checked are the servers of others and how
many servers there are at each request, and after each run that succeeded, everything.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.faults.stage import RETRIED, RUNS, SPARE, START, Scene, Theatre, ViolationError, demand
from tests.support.project import VENDORS, Vendor

MOST = 6
"""Servers that a run asks for at most."""


@dataclass
class Report:
    """What was done."""

    worlds: int = 0
    """Worlds in which everything was checked."""
    runs: int = 0
    repeated: int = 0
    """Runs after one that did not reach its count."""
    requests: int = 0
    hits: int = 0
    """Requests that ended with 429, 503 or a closed connection."""
    codes: dict[int, int] = field(default_factory=dict)

    def __str__(self) -> str:
        codes = ", ".join(f"{count} with {code}" for code, count in sorted(self.codes.items()))
        return (
            f"{self.worlds} worlds checked, {self.runs} runs ({codes}), {self.repeated} of them again, "
            f"{self.requests} requests, {self.hits} of them spoiled, 0 violations"
        )


def play(scene: Scene, draw: Random, counts: int, report: Report) -> None:
    """Reach so many random counts, one after the other."""
    before = START
    for _ in range(counts):
        wanted = draw.choice([count for count in range(MOST + 1) if count != before])
        reach(scene, wanted, max(before, wanted) + SPARE, report)
        before = wanted


def reach(scene: Scene, count: int, most: int, report: Report) -> None:
    """Run `ensure` until it succeeds, and check everything."""
    peaks: list[int] = []
    scene.gate.witness = lambda: peaks.append(len(scene.owned()))
    allow = ["--allow-zero"] if count == 0 else []
    for attempt in range(RUNS):
        ran = scene.run("ensure", str(count), "--yes", "--timeout", "2m", *allow)
        report.runs += 1
        report.repeated += attempt > 0
        report.codes[ran.code] = report.codes.get(ran.code, 0) + 1
        demand(ran.code in RETRIED, f"ensure {count} ended with {ran.code}:\n{ran.stderr}")
        scene.check_foreign()
        demand(max(peaks, default=0) <= most, f"{max(peaks, default=0)} servers at a time, {most} at most")
        if ran.code == 0:
            scene.check_settled(count)
            report.worlds += 1
            return
    raise ViolationError(f"{count} was not reached in {RUNS} runs; the last one:\n{ran.stderr}")


def run(theatre: Theatre, vendor: Vendor, *, seed: int, counts: int, report: Report) -> None:
    """One stack at one cloud; the theatre's profile is hostile."""
    with theatre.scene(vendor) as scene:
        scene.world.set("drawn", seed * 1_000_003)
        play(scene, Random(f"{vendor.name}/{seed}"), counts, report)
        log = scene.world.log()
        report.requests += len(log)
        report.hits += sum(bool(entry.effects) for entry in log)


def main() -> int:
    """Play; 1 if a promise was not kept."""
    vendors = {vendor.name: vendor for vendor in VENDORS}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seeds", type=int, default=5, metavar="N", help="stacks per cloud, each with a seed of its own"
    )
    parser.add_argument("--counts", type=int, default=10, metavar="N", help="counts to reach, per stack")
    parser.add_argument("--speed", type=float, default=1.0, metavar="X", help="how much faster than real time goes")
    parser.add_argument("--cloud", choices=vendors, help="only this cloud")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="hostile-"))
    print(f"the stacks are in {folder}; one stays there after a violation", file=sys.stderr)
    theatre, report = Theatre(folder, "hostile", options.speed), Report()
    for vendor in [vendors[options.cloud]] if options.cloud else VENDORS:
        for seed in range(1, options.seeds + 1):
            try:
                run(theatre, vendor, seed=seed, counts=options.counts, report=report)
            except AssertionError as error:
                print(f"VIOLATED  {vendor.name}, seed {seed}: {error}", file=sys.stderr)
                return 1
            print(f"{vendor.name}, seed {seed}: {report}", file=sys.stderr, flush=True)
    print(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
