"""What is read from the records alone: explanations, leftovers, and who holds the run's lock."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scaler.converge.counts import MOST, all_counts, check_by, check_count, only_group
from scaler.engine.backend import LocalBackend
from scaler.engine.housekeeping import leftovers, remove, surplus
from scaler.errors import LockedError, UsageError
from scaler.model import Server
from scaler.model.events import Event, EventName
from scaler.model.lifecycle import Status
from scaler.records.codec import event_from_json, event_to_json
from scaler.records.event_log import EventLog
from scaler.records.explanation import explain_server
from scaler.records.run_lock import RunLock
from scaler.support.clock import SystemClock
from tests.support.fakes import START, FakeClock, group, spec

GROUPS = spec(group("worker", 1)).groups
MINUTE = timedelta(minutes=1)


def life(name: str, minute: int, run: str, boot: timedelta = MINUTE) -> list[Event]:
    """A server that came up."""
    at = START + minute * MINUTE
    made = Event(
        event=EventName.CREATING, server=name, group="worker", at=at, run=run, reason="worker wants 1, has 0", cause="x"
    )
    return [made, replace(made, event=EventName.RUNNING, status=Status.RUNNING, at=at + boot, reason=None)]


def around(run: str, events: list[Event], **result: object) -> list[Event]:
    """A run, with its start and its end."""
    return [
        Event(event=EventName.RUN_STARTED, at=START, run=run),
        *events,
        Event(event=EventName.RUN_FINISHED, at=START + MINUTE, run=run, result=result),
    ]


def test_the_decision_is_the_last_one_that_was_made_and_its_run_is_shown() -> None:
    hit = Event(event=EventName.LIMIT_HIT, run="b", reason="limit")
    gone = Event(
        event=EventName.DELETING, server="s", group="worker", run="b", reason="newest first", status=Status.DELETING
    )
    done = replace(gone, event=EventName.DELETED, status=Status.DELETED, reason=None)
    events = [*around("a", life("s", 0, "a")), *around("b", [hit, gone, done], outcome="converged")]
    found = explain_server("s", events, None, GROUPS)
    assert found is not None
    assert found.decision == gone
    assert [event.event for event in found.transitions] == [
        "server.creating",
        "server.running",
        "server.deleting",
        "server.deleted",
    ]
    assert found.run is not None
    assert (found.run.id, found.run.result, found.run.events) == ("b", {"outcome": "converged"}, (hit,))


def test_a_killed_run_has_no_end() -> None:
    found = explain_server("s", around("a", life("s", 0, "a"))[:-1], None, GROUPS)
    assert found is not None
    assert found.run is not None
    assert (found.run.started, found.run.finished) == (START, None)


def test_the_deadline_is_the_spec_s_until_enough_boots_are_known() -> None:
    start_within = GROUPS["worker"].start_within
    lives = [event for number in range(5) for event in life(f"s{number}", number, "a", boot=2 * MINUTE)]
    few = explain_server("s0", lives[:8], None, GROUPS)
    many = explain_server("s0", lives, None, GROUPS)
    assert few is not None
    assert few.deadline is not None
    assert few.deadline.length == start_within
    assert many is not None
    assert many.deadline is not None
    assert many.deadline.length == min(4 * MINUTE, start_within)
    assert "learned from 5 boots" in many.deadline.why


def test_a_record_without_events_and_events_without_a_record() -> None:
    record = Server(name="s", group="gone", id="1", status=Status.RUNNING, since=START)
    found = explain_server("s", [], record, GROUPS)
    assert found is not None
    assert (found.decision, found.run, found.deadline, found.transitions) == (None, None, None, ())
    assert explain_server("t", life("s", 0, "a"), None, GROUPS) is None


def test_a_finished_run_s_result_survives_the_log(tmp_path: Path) -> None:
    event = Event(event=EventName.RUN_FINISHED, result={"outcome": "converged", "groups": {"worker": {"wanted": 1}}})
    assert event_from_json(event_to_json(event)) == event
    log = EventLog(tmp_path / "log", FakeClock())
    log.append(event)
    assert [read.result for read in log.read()] == [event.result]
    assert "result" not in event_to_json(Event(event=EventName.RUN_STARTED))


# ---------------------------------------------------------------------------------------------
# Leftovers


def write(path: Path, *, days_old: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x", encoding="utf-8")
    then = datetime.now(UTC).timestamp() - days_old * 86_400
    os.utime(path, (then, then))
    return path


def test_what_is_old_is_left_over_and_the_last_copy_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    history = tmp_path / ".pulumi" / "history" / "scaler" / "prod"
    old = [write(history / f"prod-1.{kind}.json", days_old=9) for kind in ("history", "checkpoint")]
    # One operation's files go together or not at all.
    write(history / "prod-2.history.json", days_old=9)
    write(history / "prod-2.checkpoint.json", days_old=1)
    write(history / "prod-3.history.json", days_old=9)
    write(history.parent / "other" / "other-1.history.json", days_old=9)
    logs = [write(tmp_path / "engine" / "logs" / "old.log", days_old=9)]
    write(tmp_path / "engine" / "logs" / "new.log", days_old=1)
    temporary = [write(tmp_path / "tmp" / "automation-logs-up-a" / "eventlog.txt", days_old=9)]
    write(tmp_path / "tmp" / "somebody" / "eventlog.txt", days_old=9)

    backend = LocalBackend(tmp_path / ".pulumi", "scaler", "prod")
    found = leftovers(tmp_path / "engine", backend, datetime.now(UTC) - timedelta(days=7))
    assert {leftover.path for leftover in found} == {*old, *logs, *temporary}
    assert sum(leftover.size for leftover in found) == 4
    remove(found)
    remove(found)
    assert not any(path.exists() for path in (*old, *logs, temporary[0].parent))
    assert leftovers(tmp_path / "engine", None, datetime.now(UTC) - timedelta(days=7)) == []


def test_all_but_the_newest_copies_and_logs_are_surplus(tmp_path: Path) -> None:
    history = tmp_path / ".pulumi" / "history" / "scaler" / "prod"
    copies = [
        [write(history / f"prod-{number}.{kind}.json", days_old=0) for kind in ("history", "checkpoint")]
        for number in range(5)
    ]
    logs = [write(tmp_path / "engine" / "logs" / f"{number}.log", days_old=5 - number) for number in range(5)]
    write(history.parent / "other" / "other-1.history.json", days_old=9)

    backend = LocalBackend(tmp_path / ".pulumi", "scaler", "prod")
    found = surplus(tmp_path / "engine", backend, kept=3)
    assert {leftover.path for leftover in found} == {*copies[0], *copies[1], *logs[:2]}
    remove(found)
    assert surplus(tmp_path / "engine", backend, kept=3) == []
    assert surplus(tmp_path / "nothing", None) == []


# ---------------------------------------------------------------------------------------------
# The run's lock

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


# ---------------------------------------------------------------------------------------------
# Counts


@pytest.mark.acceptance("R01", "R02")
def test_only_counts_are_counts() -> None:
    assert [check_count(count) for count in (0, 1, MOST)] == [0, 1, MOST]
    for wrong in (-1, MOST + 1, True, 1.0, "1", None):
        with pytest.raises(UsageError):
            check_count(wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        check_by(0)
    assert check_by(1) == 1


def test_counts_of_groups() -> None:
    two = spec(group("worker", 1), group("other", 2))
    assert all_counts(two, {"worker": 5}) == {"worker": 5, "other": 2}
    with pytest.raises(UsageError, match="no group"):
        all_counts(two, {"othr": 5})
    with pytest.raises(UsageError) as unclear:
        only_group(two, fix="say it")
    assert (unclear.value.fix, "worker, other" in unclear.value.why) == ("say it", True)
    assert only_group(spec(group("worker", 1)), fix="") == "worker"
