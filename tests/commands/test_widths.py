"""What commands show that need no engine, on a terminal of 80 and of 120 columns."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import sys
import termios
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from scaler.commands.main import main
from scaler.model.events import Event
from scaler.model.lifecycle import Status
from scaler.records.event_log import EventLog
from scaler.records.state_file import StateFile
from scaler.support.clock import SystemClock
from tests.support.records import NOW, server, state

SPEC = """
cloud: hetzner
endpoint: embedded
groups:
  worker: {count: 2, image: ubuntu-24.04, type: [cx23, cpx22], location: [fsn1, nbg1]}
"""
LONG = "the cloud said that it has no capacity for this type in this location, and that it will have none for a while"
NAMES = [f"prod-worker-{number}" for number in (1, 2, 10)]

Show = Callable[..., list[str]]


@pytest.fixture
def show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Show:
    """What runs a command in a project with three servers, and returns the lines on its terminal."""
    (tmp_path / "stacks").mkdir()
    (tmp_path / "Pulumi.yaml").write_text("name: scaler\nruntime: python\n")
    (tmp_path / "stacks" / "prod.yaml").write_text(SPEC)
    (tmp_path / "stacks" / "wrong.yaml").write_text(SPEC.replace("image", "imoge").replace("count", "cuont"))
    folder = tmp_path / ".scaler"
    servers = [
        server(name, type="cx23", location="fsn1", ipv4="192.0.2.4", private_ip="10.0.0.4", in_service=True)
        for name in NAMES
    ]
    events = [Event(event="run.started", at=NOW)]
    events += [
        Event(event="server.creating", at=NOW, server=name, group="worker", status=Status.NEW, reason=LONG)
        for name in (*NAMES, f"{'a-stack-of-' * 5}worker-1")
    ]
    servers[0] = replace(servers[0], status=Status.ERRORED, error=LONG, protected=True)
    servers[1] = replace(servers[1], delete_protection=True)
    StateFile(folder, "prod").save(state(*servers))
    EventLog(folder / "prod.events.jsonl", SystemClock(), run="0a1b2c3d", cause="ensure worker=3").append(*events)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)

    def run(*arguments: str, columns: int, code: int = 0) -> list[str]:
        here, there = pty.openpty()
        fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        with io.TextIOWrapper(os.fdopen(there, "wb"), line_buffering=True) as terminal, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", terminal)
            patch.setattr(sys, "stderr", terminal)
            assert main([*arguments, "--color", "never"]) == code
        shown = b""
        try:
            while part := os.read(here, 65536):
                shown += part
        except OSError:  # the other end is closed, and everything is read
            pass
        os.close(here)
        return shown.decode().replace("\r\n", "\n").split("\n")

    return run


@pytest.mark.parametrize("columns", [80, 120])
def test_no_line_is_longer_than_the_terminal(show: Show, columns: int) -> None:
    shown = {
        arguments: show(*arguments, columns=columns, code=code)
        for arguments, code in (
            (("-s", "prod", "history"), 0),
            (("-s", "prod", "why", "prod-worker-1"), 0),
            (("-s", "prod", "report"), 0),
            (("-s", "prod", "ensure", "warker=3", "--yes"), 64),
            (("validate", "-s", "wrong"), 65),
            (("status", "-s", "prod"), 0),
            (("-s", "prod", "why", "prod-worker-3"), 64),
            (("-s", "prod", "preview", "--max-change", "none"), 64),
            (("status", "--watch", "0.1s"), 64),
            (("validate", "-s", "prod"), 0),
        )
    }
    for arguments, lines in shown.items():
        assert max(map(len, lines)) <= columns, arguments
