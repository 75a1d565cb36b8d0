"""Waiting for the lock of a run on another machine, and taking it where that run is dead."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from scaler.engine.backend import LocalBackend
from scaler.engine.lock_wait import LockWait
from scaler.engine.settings import EngineSettings
from scaler.errors import LockedError
from scaler.records.folder_store import FolderStore
from scaler.records.lock_note import LockNote, LockNotes
from scaler.support.clock import format_time
from scaler.support.sessions import visible_processes
from tests.support.fakes import START, FakeClock

_GONE = 2**22 + 1
"""No process has this number."""

NOTE = LockNote(
    host="elsewhere",
    pid=_GONE,
    machine="another",
    since=START,
    command="ensure worker=2",
    length=timedelta(seconds=60),
    name="locks/a.json",
)


class Stage:
    """A stack whose lock another run has, and one that waits for it."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.backend = LocalBackend(folder / ".pulumi", "scaler", "prod")
        self.notes = LockNotes(FolderStore(folder / "notes"))
        self.warned: list[str] = []

    def lock(self, host: str) -> None:
        path = self.backend.root / "locks" / "organization" / "scaler" / "prod" / "a.json"
        path.parent.mkdir(parents=True)
        holder = {"pid": _GONE, "username": "me", "hostname": host, "timestamp": format_time(START)}
        path.write_text(json.dumps(holder))

    def wait(self, **more: Any) -> None:
        """Wait until the lock is gone. LockedError after ten minutes."""
        folder = Path("/nowhere")
        settings = EngineSettings(
            binary=folder, version="v3.274.1", project="scaler", stack="prod", directory=folder, backend="", home=None,
            environ={}, package="hcloud", lock_timeout=timedelta(minutes=10), notes=self.notes, **more,
        )  # fmt: skip
        LockWait(settings, self.backend, self.clock, warn=self.warned.append, unlock=lambda: None).heal_or_wait("")


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def renewing(stage: Stage, note: LockNote, until: float) -> Callable[[], None]:
    """Renew the note each time that somebody has waited, as long as its machine lives."""

    def renew() -> None:
        nonlocal note
        if stage.clock.passed <= until:
            note = stage.notes.write(note)

    return renew


def test_the_lock_of_a_run_that_is_not_heard_of_is_taken(stage: Stage) -> None:
    stage.lock("elsewhere")
    stage.clock.on_tick = renewing(stage, stage.notes.write(NOTE), until=100)
    stage.wait()
    assert (stage.backend.locks(), stage.notes.read()) == ([], [])
    assert 175 <= stage.clock.passed <= 177
    told, warned = stage.warned
    assert told.startswith("waiting for the stack's lock, of me@elsewhere")
    assert "took the stack's lock from me@elsewhere" in warned
    assert "`ensure worker=2`: nothing was heard of its run for 1m15s" in warned


def test_the_lock_of_a_run_that_is_heard_of_is_not(stage: Stage) -> None:
    stage.lock("elsewhere")
    stage.clock.on_tick = renewing(stage, stage.notes.write(NOTE), until=1e6)
    with pytest.raises(LockedError) as locked:
        stage.wait()
    assert "Who waits for 1m15s takes the lock of a dead one; at once: `scaler unlock --force -s prod`" in str(
        locked.value.fix
    )
    assert len(stage.backend.locks()) == 1
    # Old enough for whoever says so; and its run, if it lives, acts no more.
    stage.wait(steal_after=timedelta(minutes=10))
    assert (stage.backend.locks(), stage.notes.read()) == ([], [])


@pytest.mark.parametrize(
    "note",
    [
        None,
        replace(NOTE, length=timedelta(0)),
        replace(NOTE, since=START - timedelta(hours=1)),
        replace(NOTE, pid=_GONE + 1),
    ],
    ids=["no note", "the official plugin's", "of an earlier process", "of another process"],
)
def test_a_lock_that_nobody_need_renew_is_left_alone(stage: Stage, note: LockNote | None) -> None:
    stage.lock("elsewhere")
    if note:
        stage.notes.write(note)
    with pytest.raises(LockedError) as locked:
        stage.wait()
    assert "When you know that it is dead: `scaler unlock --force -s prod`" in str(locked.value.fix)
    assert len(stage.backend.locks()) == 1


def test_a_dead_process_of_this_machine_is_known_at_once_and_one_of_its_namesake_is_not(stage: Stage) -> None:
    here = replace(NOTE, host=socket.gethostname())
    stage.lock(here.host)
    written = stage.notes.write(here)
    stage.wait()
    assert 74 <= stage.clock.passed <= 77, "another machine has this host name"
    stage.notes.write(replace(written, machine=visible_processes(), version=""))
    (stage.backend.root / "locks" / "organization" / "scaler" / "prod").rmdir()
    stage.lock(here.host)
    began = stage.clock.passed
    stage.wait()
    assert (stage.backend.locks(), stage.clock.passed) == ([], began)
    assert len(stage.warned) == 2
