"""Nothing that a run started outlives it, whatever ends it, except a drain, which is meant to."""

from __future__ import annotations

import os
import signal
import subprocess
from functools import partial
from pathlib import Path

import pytest

from tests.commands.test_main import CLEAN, probe_command
from tests.support.processes import is_alive, wait_until

HOOKS = ("ready", "healthy", "metric", "notify", "drained")

BODY = """
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from scaler.hooks.drains import DrainProcesses
from scaler.hooks.health import HealthChecker
from scaler.hooks.notify import Notifier
from scaler.hooks.processes import ask_command
from scaler.hooks.readiness import ReadinessChecker
from scaler.model import Drain, NotifyTarget, Readiness, Server, StopPolicy
from scaler.model.lifecycle import Status
from scaler.support.clock import SystemClock
from scaler.support.guardian import guarded

folder, clock = Path.cwd(), SystemClock()

def command(name):
    # Children in the command's own group, and in one of their own.
    text = f"sleep 600 & echo $! > {name}.child; timeout 600 sleep 600 & echo $! > {name}.other; "
    return ("sh", "-c", f"{text} echo $$ > {name}.new; mv {name}.new {name}; wait")

now = clock.now()
server = Server(name="prod-worker-1", group="worker", id="7", status=Status.RUNNING, since=now, ipv4="127.0.0.1")
leaving = replace(server, drain=Drain(since=now, until=now + timedelta(minutes=10)))
drains = DrainProcesses(folder / "drains", folder, clock)
drains.announce([leaving])
drains.start([(leaving, StopPolicy(drain=command("drain")))])

how = {name: Readiness(kind="command", command=command(name)) for name in ("ready", "healthy")}
readiness = ReadinessChecker(clock, folder)
notifier = Notifier("prod", [NotifyTarget(command=command("notify"))], folder=folder, warn=print, linger_s=0)
notifier.send([{"event": "run.started"}])
for work in (
    lambda: readiness.is_ready(how["ready"], server),
    lambda: HealthChecker(folder).check([(how["healthy"], server)]),
    lambda: ask_command(command("metric"), folder, 600, largest=10),
):
    threading.Thread(target=work, daemon=True).start()
def note():
    names, seen = ("ready", "healthy", "metric", "notify", "drained"), frozenset()
    files = [folder / name for name in names]
    while not all(file.exists() for file in files) or not {int(file.read_text()) for file in files} <= seen:
        seen |= guarded()
        time.sleep(0.05)
    (folder / "guarded").touch()

threading.Thread(target=note, daemon=True).start()
try:
    drains.start([(leaving, StopPolicy(drain=command("drained"), drained=("true",)))])
finally:
    notifier.close()
"""


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_command_outlives_the_run_but_a_drain(tmp_path: Path, number: signal.Signals) -> None:
    run = subprocess.Popen(
        probe_command(BODY), env=CLEAN, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    drain: list[int] = []
    try:
        pids = {name: wait_for_pids(tmp_path, name) for name in (*HOOKS, "drain")}
        drain = pids.pop("drain")
        wait_until((tmp_path / "guarded").exists, "the notes of the guardian")
        run.send_signal(number)
        code = run.wait(timeout=60)
        assert code == (-9 if number is signal.SIGKILL else 128 + number)
        for name, found in pids.items():
            wait_until(partial(none_alive, found), f"the end of {name}")
        assert all(map(is_alive, drain))
    finally:
        run.kill()
        for pid in drain:
            os.kill(pid, signal.SIGKILL)


def none_alive(pids: list[int]) -> bool:
    return not any(map(is_alive, pids))


def wait_for_pids(folder: Path, name: str) -> list[int]:
    wait_until((folder / name).exists, name)
    return [int((folder / f"{name}{end}").read_text()) for end in ("", ".child", ".other")]
