"""The guardian of processes: what it ends when the process that started them has ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import is_alive, wait_until

STARTING = """
import os, signal, subprocess, sys, time
from scaler.support.guardian import guarded, release, start_guarded

def start(name, text, grace_s):
    words = ["sh", "-c", f"{text}; echo $$ > {name}.new; mv {name}.new {name}; while :; do sleep 0.1; done"]
    return start_guarded(lambda: subprocess.Popen(words, start_new_session=True), grace_s)

start("deaf", "trap '' INT; timeout 600 sleep 600 & echo $! > child", 0.5)
start("obedient", "trap 'touch interrupted; exit' INT", 600)
start("plain", ":", 0)
released = start("released", ":", 0)
release(released.pid)
assert len(guarded()) == 3
while not all(map(os.path.exists, ("deaf", "obedient", "plain", "released"))):
    time.sleep(0.05)
if sys.argv[1] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[1] == "forked" and os.fork():
    # The child does not keep the guardian from its work.
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[1] == "forked":
    time.sleep(60)
"""


@pytest.mark.parametrize("end", ["killed", "forked", "exit"])
def test_what_is_guarded_ends_with_who_started_it(tmp_path: Path, end: str) -> None:
    starter = subprocess.Popen([sys.executable, "-c", STARTING, end], cwd=tmp_path, start_new_session=True)
    try:
        assert starter.wait(timeout=60) == (0 if end == "exit" else -9)
        pids = {name: int((tmp_path / name).read_text()) for name in ("deaf", "child", "obedient", "plain")}
        for name, pid in pids.items():
            wait_until(lambda pid=pid: not is_alive(pid), name)  # type: ignore[misc]
        # At an end of its own, a process has waited for what it gives time.
        assert (tmp_path / "interrupted").exists() == (end != "exit")
        assert is_alive(int((tmp_path / "released").read_text()))
    finally:
        os.kill(int((tmp_path / "released").read_text()), signal.SIGKILL)
        # The fork, where there is one.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(starter.pid, signal.SIGKILL)
