"""Measure one watch that serves many stacks: whether each tick is in its interval, its memory and its descriptors.

    python -m tests.bench.many_stacks --stacks 50 --interval 60 --intervals 3

All stacks are at the embedded cloud, in the service's own process. Their loads change in turn, so that in each interval
a share of the stacks grows or shrinks. What is reported are the ticks' own records, by `/metrics`.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from scaler.engine.binary import find
from scaler.simulator import SimulatedWorld

_MOST_MB = 250
_SPEC = """\
cloud: {cloud}
endpoint: embedded
limit: 5
groups:
  worker:
    count: 1
    min: 1
    max: 5
    image: {image}
    type: {type}
    location: {location}
    autoscale:
      metrics: {{load: {{command: {{run: [cat, {load}]}}}}}}
      rules: [{{backlog: {{metric: load, per_server: 10}}}}]
      down: {{stabilise: 1s, cooldown: 1s}}
"""
_PLACES = (("hetzner", "ubuntu-24.04", "cx23", "fsn1"), ("digitalocean", "ubuntu-24-04-x64", "s-1vcpu-1gb", "fra1"))


def main() -> int:
    """Measure, print the rows, and return 1 if a tick was late or the memory is above its target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stacks", type=int, default=50)
    parser.add_argument("--interval", type=int, default=60, help="seconds")
    parser.add_argument("--intervals", type=int, default=3, help="how many are measured")
    parser.add_argument("--changing", type=int, default=10, help="in percent: stacks that change in each interval")
    parser.add_argument("--log", type=Path, help="keep what the service prints in this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _make_project(Path(folder), arguments.stacks)
        return _measure(Path(folder), arguments)


def _make_project(folder: Path, stacks: int) -> None:
    (folder / "stacks").mkdir()
    (folder / "Pulumi.yaml").write_text("name: bench\nruntime: python\nmain: stacks\n")
    world = SimulatedWorld(folder / ".scaler" / "embedded.sqlite")
    world.set_profile("fast")
    world.close()
    for number in range(stacks):
        cloud, image, type_, location = _PLACES[number % 2]
        load = folder / f"load-{number}"
        load.write_text("10")
        spec = _SPEC.format(cloud=cloud, image=image, type=type_, location=location, load=load)
        (folder / "stacks" / f"stack{number:03}.yaml").write_text(spec)


def _measure(folder: Path, arguments: argparse.Namespace) -> int:
    log = folder / "log"
    command = ["-m", "scaler", "-C", str(folder), "autoscale", "--all", "--watch", f"{arguments.interval}s"]
    environ = {**os.environ, "SCALER_ENGINE": str(find(os.environ))}
    with log.open("w") as output:
        service = subprocess.Popen(
            [sys.executable, *command, "--metrics-listen", "127.0.0.1:0"], stdout=output, stderr=output, env=environ
        )
    try:
        address = _await_address(log)
        began, peaks, rows = time.monotonic(), Counter[str](), []
        while (row := _read(address))["scaler_ready"] < arguments.stacks:
            _raise(peaks, service.pid)
            time.sleep(1)
        _print(f"all have a server after {time.monotonic() - began:.0f} s", row, service.pid)
        rows.append(row)
        began = time.monotonic()
        for interval in range(arguments.intervals):
            _change(folder, arguments, interval)
            end = began + (interval + 1) * arguments.interval
            while time.monotonic() < end:
                _raise(peaks, service.pid)
                time.sleep(0.5)
            rows.append(_read(address))
            _print(f"after {interval + 1} intervals", rows[-1], service.pid)
        peak = _status(service.pid, "VmHWM")
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(120)
    late = rows[-1]["scaler_skipped_ticks_total"]
    first = rows[0]["scaler_skipped_ticks_total"]
    print(f"intervals without a tick: {late:g}, {first:g} of them before each stack had its server")
    print(f"at the most: {peak / 1024:.0f} MB, {peaks['descriptors']} descriptors, {peaks['threads']} threads")
    print(f"ended with {service.returncode}")
    if arguments.log:
        shutil.copy(log, arguments.log)
    return int(late > 0 or peak / 1024 > _MOST_MB or service.returncode != 0)


def _raise(peaks: Counter[str], pid: int) -> None:
    """Raise what was highest so far to what is now, if that is higher."""
    peaks |= Counter(descriptors=_descriptors(pid), threads=_status(pid, "Threads"))


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _await_address(log: Path) -> str:
    while not (found := re.search(r"metrics on (\S+)", log.read_text())):
        time.sleep(0.1)
    return found[1]


def _change(folder: Path, arguments: argparse.Namespace, interval: int) -> None:
    number = max(1, arguments.stacks * arguments.changing // 100)
    for offset in range(number):
        load = folder / f"load-{(interval * number + offset) % arguments.stacks}"
        load.write_text("20" if load.read_text() == "10" else "10")


def _read(address: str) -> Mapping[str, float]:
    """Return the sums over the stacks, and the longest tick and wait."""
    with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 - on this machine
        text = answer.read().decode()
    sums: dict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "scaler_run_wait_seconds":
                sums[sample.name] = max(sums[sample.name], sample.value)
            elif sample.name == "scaler_run_duration_seconds_bucket":
                sums[f"{sample.name} {sample.labels['le']}"] += sample.value
            elif sample.name == "scaler_runs_total":
                sums[f"{sample.name} {sample.labels['outcome']}"] += sample.value
            else:
                sums[sample.name] += sample.value
    return sums


def _print(title: str, row: Mapping[str, float], pid: int) -> None:
    runs = {name.partition(" ")[2]: int(count) for name, count in row.items() if name.startswith("scaler_runs_total")}
    buckets = {
        name.partition(" ")[2]: int(count)
        for name, count in row.items()
        if name.startswith("scaler_run_duration_seconds_bucket")
    }
    cpu = sum(map(int, Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13])) / 100
    parts = [
        f"ticks {runs}, intervals without one {row['scaler_skipped_ticks_total']:g}",
        f"longest last wait {row['scaler_run_wait_seconds']:.1f} s, by length {buckets}",
        f"{row['scaler_ready']:g} of {row['scaler_wanted']:g} servers ready",
        f"{_status(pid, 'VmRSS') / 1024:.0f} MB, {_descriptors(pid)} descriptors",
        f"{_status(pid, 'Threads')} threads, {cpu:.0f} s of processor",
    ]
    print(f"{title}: {'; '.join(parts)}", flush=True)


def _status(pid: int, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M)
    assert found
    return int(found[1])


if __name__ == "__main__":
    sys.exit(main())
