"""Measure scaler against the numbers to reach, and against the same work done by others.

Everything runs on this machine: the embedded cloud in a process of its own with a fixed boot time,
the real engine, the real clients. What others took is measured in the same run, as a ratio; a busy
machine makes all of them worse together.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

from tests.bench.floor import engine_s
from tests.bench.peers import by_client, by_official_plugin, by_terraform
from tests.bench.project import DELETE_S, Bench, Cost, bench
from tests.bench.targets import HELP_S, STATUS_S, targets_of

_PAGE = 50
"""Servers on one page of Hetzner's list."""


def measure_start(at: Bench) -> None:
    """The start of commands that need no run."""
    python = _median_s(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))
    for word, most in (("--help", HELP_S), ("status", STATUS_S)):
        command = [sys.executable, "-m", "scaler", "-C", str(at.folder), word]
        spent = _median_s(partial(subprocess.run, command, check=True, capture_output=True, env=at.environ))
        at.row(f"scaler {word}, over a bare interpreter", spent - python, "s", most)


def measure_size(at: Bench, size: int) -> Cost:
    """From nothing to a size, nothing to do, down to ten, and to nothing; returns the first."""
    targets = targets_of(size)
    starts = at.engine_starts()
    up = at.scaler("ensure", str(size), "--yes")
    at.row(f"ensure {size} from nothing, over a boot of {at.boot_s:g} s", up.seconds - at.boot_s, "s", None)
    at.row(f"ensure {size} from nothing", up.seconds, "s", at.boot_s + targets.over_boot_s, up)
    at.row("  requests", up.requests, "", targets.requests)
    at.row("  processor time of all processes", up.cpu_s, "s", targets.cpu_s)
    at.row("  memory of all processes", up.memory_mb, "MB", targets.memory_mb)
    at.row("  engine processes, the first with `stack init` and its version", at.engine_starts() - starts, "", 5)
    at.row("  the engine alone, with a cloud that takes no time", engine_s(size), "s", None)
    starts = at.engine_starts()
    idle = min((at.scaler("ensure", str(size), "--yes") for _ in range(3)), key=lambda cost: cost.seconds)
    at.row(f"ensure {size} with nothing to do", idle.seconds, "s", targets.idle_s, idle)
    at.row("  requests", idle.requests, "", -(-size // _PAGE))
    at.row("  engine processes", at.engine_starts() - starts, "", 0)
    if size > 10:
        down = at.scaler("ensure", "10", "--yes")
        at.row(f"from {size} to 10", down.seconds, "s", DELETE_S + targets.over_delete_s, down)
        at.row("  requests", down.requests, "", None)
    at.scaler("ensure", "0", "--yes", "--allow-zero")
    return up


def compare(at: Bench, size: int, few: int, ours: Cost) -> None:
    """What others take for the same, with ratios."""
    # Peers ask more than an hour's budget allows.
    at.world.set_rate_limit("hetzner", per_hour=1_000_000)
    loop, pool = by_client(at, few, size)
    print(f"{few} servers by the official client, one after the other: {loop:.1f} s")
    print(f"{size} servers by a pool of threads: {pool:.1f} s; scaler takes {ours.seconds / pool:.2f} times as long")
    print("  (the pool has no preview, no state, no confirmation, and no answer to a failure)")
    for title, by in (("Terraform", by_terraform), ("the official plugin", by_official_plugin)):
        for parallel in (10, size):
            costs = by(at, size, parallel)
            if isinstance(costs, str):
                print(f"not compared with {title}: {costs}")
                break
            _report(at, f"{title}, {parallel} at a time", size, costs, ours, is_tuned=parallel == size)
    at.world.set_rate_limit("hetzner")


def _report(at: Bench, title: str, size: int, costs: tuple[Cost, Cost, Cost], ours: Cost, *, is_tuned: bool) -> None:
    for what, cost in zip((f"create {size}", "nothing to do", f"{size} to 10"), costs, strict=True):
        print(f"{title}: {what} {cost.seconds:.1f} s, {cost.requests} requests, {cost.cpu_s:.1f} s of processor time")
    most = targets_of(size).of_terraform if is_tuned and title.startswith("Terraform") else None
    at.row(f"  scaler's create, as a multiple of {title}", ours.seconds / costs[0].seconds, "times", most)


def _median_s(run: Callable[[], object], times: int = 7) -> float:
    spent = []
    for _ in range(times):
        started = time.monotonic()
        run()
        spent.append(time.monotonic() - started)
    return statistics.median(spent)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--boot", type=float, default=8.0, help="seconds that a server takes to boot")
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 200, 1000])
    parser.add_argument("--few", type=int, default=5, help="servers for the peer that works one after the other")
    parser.add_argument("--compare", type=int, nargs="*", default=[50, 200], help="the sizes that others are asked for")
    options = parser.parse_args()
    with bench(options.boot) as at:
        measure_start(at)
        grown = {size: measure_size(at, size) for size in options.sizes}
        for less, more in zip(options.sizes, options.sizes[1:], strict=False):
            over = (grown[more].seconds - at.boot_s) / max(grown[less].seconds - at.boot_s, 0.01)
            at.row(f"time over the boot, {more} as a multiple of {less}", over, "times", more / less)
        for size in (size for size in options.compare if size in grown):
            compare(at, size, options.few, grown[size])
    print(f"{at.rows - at.missed} of {at.rows} targets reached")
    return 0


if __name__ == "__main__":
    sys.exit(main())
