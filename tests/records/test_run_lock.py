"""The lock of a run: who holds it, and what a killed run leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from scaler.errors import LockedError, StateError
from scaler.records.run_lock import RunLock
from scaler.support.clock import SystemClock

_HOLD = """
import sys, time
from datetime import timedelta
from pathlib import Path
from scaler.support.clock import SystemClock
from scaler.records.run_lock import RunLock
with RunLock(Path(sys.argv[1]), "prod").held("ensure 3", SystemClock(), within=timedelta(0), note=print):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("pid", [True, -1, "1", None, 10**30])
def test_a_note_with_what_is_no_process_says_nobody(tmp_path: Path, pid: object) -> None:
    note = {"pid": pid, "host": "h", "since": "2026-11-24T22:10:00Z", "cause": "ensure"}
    (tmp_path / "prod.lock.json").write_text(json.dumps(note))
    assert RunLock(tmp_path, "prod").holder() == "another run"


def test_a_lock_is_its_holder_s_until_that_ends_however_it_ends(tmp_path: Path) -> None:
    lock = RunLock(tmp_path, "prod")
    assert (lock.is_held(), lock.holder()) == (False, None)
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert lock.is_held()
        assert f"`ensure 3`, process {holder.pid}" in (lock.holder() or "")
        notes: list[str] = []
        with (
            pytest.raises(LockedError, match="locked by another run") as refused,
            lock.held("ensure 4", SystemClock(), within=timedelta(0), note=notes.append),
        ):
            pass
        assert "ensure 3" in refused.value.why
        assert "ensure 3" in notes[0]
        holder.kill()
    assert not lock.is_held()
    assert "ensure 3" in (lock.holder() or "")
    lock.forget()
    assert lock.holder() is None
    with lock.held("ensure 4", SystemClock(), within=timedelta(0), note=notes.append):
        assert lock.is_held()
    assert (lock.is_held(), lock.holder()) == (False, None)


@pytest.mark.parametrize("name", ["prod.lock", "prod.lock.json"])
def test_what_is_no_file_in_the_place_of_a_lock_is_an_error_that_names_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    lock = RunLock(tmp_path, "prod")
    for use in (lock.is_held, lock.remove) if name == "prod.lock" else (lock.forget, lock.remove):
        with pytest.raises(StateError, match="cannot be written") as caught:
            use()
        assert name in caught.value.why
        assert "Remove that folder" in caught.value.fix


def test_who_only_looks_waits_for_a_run_and_leaves_no_trace(tmp_path: Path) -> None:
    lock, notes = RunLock(tmp_path / "state", "prod"), list[str]()
    with lock.respected(SystemClock(), within=timedelta(0), note=notes.append):
        assert not (tmp_path / "state").exists()
    with lock.held("ensure 3", SystemClock(), within=timedelta(0), note=notes.append):
        with (
            pytest.raises(LockedError, match="locked by another run") as refused,
            lock.respected(SystemClock(), within=timedelta(0), note=notes.append),
        ):
            pass
        assert "ensure 3" in refused.value.why
        assert "ensure 3" in notes.pop()
    left = sorted(tmp_path.rglob("*"))
    with (
        lock.respected(SystemClock(), within=timedelta(0), note=notes.append),
        lock.respected(SystemClock(), within=timedelta(0), note=notes.append),
    ):
        assert lock.is_held()
        assert sorted(tmp_path.rglob("*")) == left
    assert notes == []


def test_what_cannot_be_opened_in_the_place_of_a_lock_is_an_error_for_who_looks_too(tmp_path: Path) -> None:
    (tmp_path / "prod.lock").symlink_to(tmp_path / "elsewhere")
    looking = RunLock(tmp_path, "prod").respected(SystemClock(), within=timedelta(0), note=print)
    with pytest.raises(StateError, match="cannot be read"), looking:
        pass
