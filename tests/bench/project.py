"""One project at an embedded cloud in a process of its own, and what its commands cost."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from scaler.simulator import EmbeddedCloud, SimulatedWorld

TOKEN = "embedded" * 8
DELETE_S = 1.0
"""How long the cloud takes to delete a server."""
_SPEC = """\
cloud: hetzner
plugin: {plugin}
limit: 2000
groups:
  worker:
    count: {count}
    max: 2000
    image: ubuntu-24.04
    type: cx23
    location: fsn1
    ssh_keys: [deploy]
"""
_PHASES = ("observing", "previewing", "applying", "confirming", "recording")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one command took: it and all that it started."""

    seconds: float
    cpu_s: float
    memory_mb: float
    requests: int
    """That the cloud was asked while it ran."""
    phases: Mapping[str, float] = field(default_factory=dict)
    """Seconds in each phase of a run."""


@dataclass
class Bench:
    """A project folder, the world that its commands work on, and the rows that were measured."""

    folder: Path
    world: SimulatedWorld
    endpoint: str
    boot_s: float
    environ: dict[str, str]
    missed: int = 0
    rows: int = 0

    def describe(self, count: int = 0, plugin: str = "scaler") -> None:
        """Write the stack's spec."""
        (self.folder / "stacks" / "bench.yaml").write_text(_SPEC.format(count=count, plugin=plugin))

    def scaler(self, *arguments: str) -> Cost:
        """Run a scaler command."""
        return self.run([sys.executable, "-m", "scaler", "-C", str(self.folder), *arguments, "-o", "json"])

    def run(self, command: Sequence[str], *, cwd: Path | None = None, may_end: Sequence[int] = (0, 2)) -> Cost:
        """Run a command and measure it; SystemExit with its words if it fails."""
        asked, started = self._requests(), time.monotonic()
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environ, cwd=cwd or self.folder
        )
        assert process.stdout and process.stderr
        peaks, ended = [0.0], threading.Event()

        def watch_memory() -> None:
            while not ended.wait(0.1):
                peaks.append(_tree_mb(process.pid))

        said, marks = [], []
        with ThreadPoolExecutor(2) as pool:
            printed = pool.submit(process.stdout.read)
            pool.submit(watch_memory)
            for line in process.stderr:
                said.append(line)
                if (word := line.removeprefix("scaler: ").strip()) in _PHASES:
                    marks.append((word, time.monotonic()))
            # Also of the processes that it waited for: the engine's.
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            ended.set()
        until = time.monotonic()
        if process.returncode not in may_end:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}: {printed.result()}{''.join(said)}")
        return Cost(
            seconds=until - started,
            cpu_s=used.ru_utime + used.ru_stime,
            memory_mb=max(peaks),
            requests=self._requests() - asked,
            phases=_phases(started, marks, until),
        )

    def engine_starts(self) -> int:
        """Return how often the engine was started so far."""
        log = self.folder / "engine.log"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def row(self, what: str, measured: float, unit: str, most: float | None, cost: Cost | None = None) -> None:
        """Print one figure beside its target; of a missed one also where the time went."""
        self.rows += most is not None
        verdict = ""
        if most is not None and measured > most:
            self.missed += 1
            phases = cost.phases if cost else {}
            verdict = " ".join(["MISSED", *(f"{name} {spent:.1f}" for name, spent in phases.items())])
        target = "" if most is None else f"<= {most:g} {unit}"
        print(f"{what:58} {measured:>9.2f} {unit:9} {target:18} {verdict}".rstrip(), flush=True)

    def _requests(self) -> int:
        return sum(1 for _ in self.world.log())


@contextmanager
def bench(boot_s: float) -> Iterator[Bench]:
    """Make a project and its cloud; both are gone afterwards."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "stacks").mkdir()
        (folder / "Pulumi.yaml").write_text("name: bench\nmain: stacks\nruntime: python\n")
        file = folder / "world.sqlite"
        with EmbeddedCloud(file, profile="fast", knobs={"boot_s": boot_s, "boot_spread": 0.0, "delete_s": DELETE_S}):
            pass
        server = subprocess.Popen(
            [sys.executable, "-m", "scaler", "sim", "serve", "--world", str(file)], stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout
            exports = [server.stdout.readline() for _ in range(4)]
            endpoint = next(line.partition("=")[2].strip() for line in exports if "HCLOUD_ENDPOINT" in line)
            at = Bench(folder, SimulatedWorld(file), endpoint, boot_s, _environ(folder, endpoint))
            at.describe()
            yield at
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


def _phases(started: float, marks: Sequence[tuple[str, float]], ended: float) -> dict[str, float]:
    """Seconds in each phase, by the moments when each began."""
    if not marks:
        return {}
    phases = {"start": marks[0][1] - started}
    for (name, begun), (_, until) in zip(marks, [*marks[1:], ("", ended)], strict=True):
        phases[name] = phases.get(name, 0.0) + until - begun
    return phases


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
