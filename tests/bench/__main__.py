"""Measure scaler against the numbers to reach, and against the same work done by plain client code.

Everything runs on this machine: the embedded cloud in a process of its own with a fixed boot time,
the real engine, the real clients. Figures are ratios of one run; a busy machine makes all of them
worse together.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from scaler.simulator import EmbeddedCloud

TOKEN = "embedded" * 8
SPEC = """\
cloud: hetzner
limit: 500
groups:
  worker:
    count: 0
    max: 500
    image: {{selector: "role=worker"}}
    type: cx23
    location: fsn1
    ssh_keys: [deploy]
"""


@dataclass
class Timing:
    """One command: how long it took, in which phases, and what it printed."""

    seconds: float
    phases: dict[str, float]
    document: dict[str, object]
    peak_mb: float


@dataclass
class Bench:
    """One project at one embedded cloud in a process of its own."""

    folder: Path
    world: Path
    environ: dict[str, str]
    rows: list[tuple[str, str, str, str]] = field(default_factory=list)

    def scaler(self, *arguments: str) -> Timing:
        """Run a scaler command with `-o json`, noting when each of its phases began."""
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "scaler", "-C", str(self.folder), *arguments, "-o", "json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environ,
        )
        marks: list[tuple[str, float]] = []
        assert process.stderr and process.stdout
        peaks = [0.0]
        ended_event = threading.Event()

        def watch_memory() -> None:
            while not ended_event.wait(0.1):
                peaks.append(_tree_mb(process.pid))

        with ThreadPoolExecutor(2) as pool:
            printed = pool.submit(process.stdout.read)
            pool.submit(watch_memory)
            for line in process.stderr:
                word = line.removeprefix("scaler: ").strip()
                if word in ("observing", "previewing", "applying", "confirming", "recording"):
                    marks.append((word, time.monotonic()))
            process.wait()
            ended_event.set()
            text = printed.result()
        ended = time.monotonic()
        if process.returncode not in (0, 2):
            raise SystemExit(f"scaler {' '.join(arguments)} ended with {process.returncode}: {text}")
        phases = {"start": (marks[0][1] if marks else ended) - started}
        for (name, begun), (_, until) in zip(marks, [*marks[1:], ("", ended)], strict=True):
            phases[name] = phases.get(name, 0.0) + until - begun
        return Timing(ended - started, phases, json.loads(text) if text.strip() else {}, max(peaks))

    def engine_starts(self) -> int:
        log = self.folder / "engine.log"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def row(self, what: str, measured: str, target: str, reached: bool, phases: dict[str, float] | None = None) -> None:
        where = "" if reached or not phases else "  ".join(f"{name} {spent:.1f}s" for name, spent in phases.items())
        self.rows.append((what, measured, target, "reached" if reached else f"MISSED  {where}".rstrip()))
        print(f"{what:46} {measured:>30}   target {target:24} {self.rows[-1][3]}", flush=True)


@contextmanager
def bench(boot_s: float) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "stacks").mkdir()
        (folder / "Pulumi.yaml").write_text("name: bench\nmain: stacks\nruntime: python\n")
        (folder / "stacks" / "bench.yaml").write_text(SPEC.format())
        world = folder / "world.sqlite"
        with EmbeddedCloud(world, profile="fast", knobs={"boot_s": boot_s, "boot_spread": 0.0}):
            pass
        server = subprocess.Popen(
            [sys.executable, "-m", "scaler", "sim", "serve", "--world", str(world)], stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout
            exports = [server.stdout.readline() for _ in range(4)]
            endpoint = next(line.partition("=")[2].strip() for line in exports if "HCLOUD_ENDPOINT" in line)
            yield Bench(folder, world, _environ(folder, endpoint))
        finally:
            server.terminate()
            server.wait(10)


def _environ(folder: Path, endpoint: str) -> dict[str, str]:
    """The environment of the measured commands: the engine is started through a line that counts."""
    from scaler.engine import binary

    wrapper = folder / "pulumi"
    real = binary.find(os.environ)
    wrapper.write_text(f'#!/bin/sh\necho "$@" >> {folder}/engine.log\nexec {real} "$@"\n')
    wrapper.chmod(0o755)
    return {
        **{key: value for key, value in os.environ.items() if key != "CI"},
        "SCALER_ENGINE": str(wrapper),
        "HCLOUD_ENDPOINT": endpoint,
        "HCLOUD_TOKEN": TOKEN,
        "PULUMI_HOME": str(folder / "home"),
    }


def median_s(run: Callable[[], object], times: int = 7) -> float:
    spent = []
    for _ in range(times):
        started = time.monotonic()
        run()
        spent.append(time.monotonic() - started)
    return statistics.median(spent)


def measure_start(at: Bench) -> None:
    python = median_s(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))
    for words, most in ((["--help"], 0.15), (["status"], 0.3)):
        command = [sys.executable, "-m", "scaler", "-C", str(at.folder), *words]
        spent = median_s(partial(subprocess.run, command, check=True, capture_output=True, env=at.environ))
        over = spent - python
        at.row(f"scaler {words[0]}, over a bare interpreter", f"{over:.3f} s", f"<= {most} s", over <= most)


def measure_scaling(at: Bench, boot_s: float, sizes: list[int]) -> dict[int, float]:
    """From nothing to each size, nothing to do, down to 10, down to none."""
    grown = {}
    for size in sizes:
        before = at.engine_starts()
        up = at.scaler("ensure", str(size), "--yes")
        grown[size] = up.seconds
        extra = 3 if size <= 50 else 8
        at.row(
            f"ensure {size} from nothing",
            f"{up.seconds:.1f} s (boot {boot_s:.1f})",
            f"<= boot + {extra} s",
            up.seconds <= boot_s + extra,
            up.phases,
        )
        per_server = _requests(up)["total"] / size
        at.row("  requests per server", f"{per_server:.2f}", "<= 2.5", per_server <= 2.5)
        starts = at.engine_starts() - before
        at.row("  engine processes, the first with `stack init`", str(starts), "<= 3 (+1)", starts <= 4)
        if size >= 200:
            at.row("  memory of scaler and engine together", f"{up.peak_mb:.0f} MB", "<= 300 MB", up.peak_mb <= 300)
        before = at.engine_starts()
        idle = min((at.scaler("ensure", str(size), "--yes") for _ in range(3)), key=lambda timing: timing.seconds)
        pages = -(-size // 50)
        at.row("  ensure with nothing to do", f"{idle.seconds:.2f} s", "<= 0.5 s", idle.seconds <= 0.5, idle.phases)
        listed = _requests(idle)["total"]
        at.row(
            "  its requests, and engine processes",
            f"{listed}, {at.engine_starts() - before}",
            f"{pages}, 0",
            listed == pages and at.engine_starts() == before,
        )
        down = at.scaler("ensure", "10", "--yes")
        at.row(
            f"  from {size} down to 10",
            f"{down.seconds:.1f} s",
            "<= the cloud's delete + 3 s",
            down.seconds <= 1.5 + 3,
            down.phases,
        )
        at.scaler("ensure", "0", "--yes", "--allow-zero")
    return grown


def measure_peers(at: Bench, boot_s: float, size: int, few: int, ours: float) -> None:
    """The same servers by the official client: one after the other, and by a pool of threads."""
    from hcloud import Client
    from hcloud.images import Image
    from hcloud.server_types import ServerType

    client = Client(TOKEN, at.environ["HCLOUD_ENDPOINT"])

    def create(number: int) -> object:
        made = client.servers.create(f"peer-{number}", ServerType(name="cx23"), Image(name="ubuntu-24.04"))
        for action in [made.action, *made.next_actions]:
            action.wait_until_finished()
        return made.server

    def timed(run: Callable[[], list[Any]]) -> float:
        started = time.monotonic()
        servers = run()
        spent = time.monotonic() - started
        for server in servers:
            client.servers.delete(server)
        return spent

    ours_few = at.scaler("ensure", str(few), "--yes").seconds
    at.scaler("ensure", "0", "--yes", "--allow-zero")
    loop = timed(lambda: [create(number) for number in range(few)])
    print(
        f"{few} servers: one after the other {loop:.1f} s, scaler {ours_few:.1f} s: {loop / ours_few:.1f} times as fast"
    )
    with ThreadPoolExecutor(size) as pool:
        # Other numbers: the cloud gives a name free when its server's deletion has ended.
        threads = timed(lambda: list(pool.map(create, range(few, few + size))))
    print(
        f"{size} servers: a pool of {size} threads {threads:.1f} s, scaler {ours:.1f} s: ratio {threads / ours:.2f} "
        "(the pool has no preview, no state, no confirmation, and no answer to a failure)"
    )


def _requests(timing: Timing) -> dict[str, int]:
    requests = timing.document["requests"]
    assert isinstance(requests, dict)
    return requests


def _tree_mb(pid: int) -> float:
    """Resident memory of a process and all it started, in MB."""
    parents: dict[int, int] = {}
    sizes: dict[int, float] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(folder.name)] = int(fields[1])
        sizes[int(folder.name)] = int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(sizes.get(member, 0.0) for member in family)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--boot", type=float, default=8.0, help="seconds that a server takes to boot")
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 200])
    parser.add_argument("--few", type=int, default=5, help="servers for the peer that works one after the other")
    options = parser.parse_args()
    with bench(options.boot) as at:
        measure_start(at)
        grown = measure_scaling(at, options.boot, options.sizes)
        size = options.sizes[0]
        measure_peers(at, options.boot, size, options.few, grown[size])
        missed = [row for row in at.rows if row[3].startswith("MISSED")]
    print(f"{len(at.rows) - len(missed)} of {len(at.rows)} targets reached")
    return 0


if __name__ == "__main__":
    sys.exit(main())
