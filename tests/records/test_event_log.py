"""The event log: damage, kills, several writers, full disks, old logs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from scaler.model.events import Event, EventName
from scaler.model.lifecycle import Status
from scaler.records.event_log import LARGEST_LOG, EventLog
from scaler.records.transitions import transitions
from tests.support.records import NOW, StoppedClock, full_disk, records, server


def test_event_line_is_exactly_the_contract(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "new" / "prod.events.jsonl", StoppedClock(), run="r1", cause="ensure worker=1")
    written = log.append(*transitions(records(server(status=Status.STARTING)), records(server())))
    assert log.path.read_text() == (
        '{"at": "2026-11-24T22:10:00Z", "run": "r1", "event": "server.running", "server": "prod-worker-1", '
        '"group": "worker", "from": "starting", "to": "running", "reason": null, "cause": "ensure worker=1"}\n'
    )
    assert tuple(log.read()) == written


def test_absent_log_is_empty(tmp_path: Path) -> None:
    assert EventLog(tmp_path / "prod.events.jsonl", StoppedClock()).read() == []


def test_torn_last_line_costs_only_itself(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "prod.events.jsonl", StoppedClock(), run="r1")
    log.append(Event(event=EventName.RUN_STARTED))
    with log.path.open("ab") as file:
        file.write(b'{"at": "2026-11-24T22:1')
    assert [event.event for event in log.read()] == ["run.started"]
    log.append(Event(event=EventName.RUN_STARTED), Event(event=EventName.RUN_FINISHED))
    assert [event.event for event in log.read()] == ["run.started", "run.started", "run.finished"]
    assert log.path.read_bytes().count(b"\n") == 4


def test_an_event_of_a_newer_scaler_is_read(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "prod.events.jsonl", StoppedClock())
    log.path.write_text('{"event": "server.resized", "server": "a", "size": 7}\n')
    assert log.read() == [Event(event="server.resized", server="a")]


def test_a_log_that_cannot_be_written_warns_once_and_raises_nothing(tmp_path: Path) -> None:
    (tmp_path / "blocker").write_text("")
    warnings: list[str] = []
    log = EventLog(tmp_path / "blocker" / "prod.events.jsonl", StoppedClock(), warn=warnings.append)
    for _ in range(3):
        assert log.append(Event(event=EventName.LIMIT_HIT))[0].at == NOW
    assert warnings == [f"events are not logged: {log.path}: File exists"]


def test_full_disk_tears_one_line_and_warns(tmp_path: Path) -> None:
    warnings: list[str] = []
    log = EventLog(tmp_path / "prod.events.jsonl", StoppedClock(), warn=warnings.append)
    with full_disk():
        for _ in range(5):
            log.append(Event(event=EventName.DRIFT_FOUND, reason="x" * 1000))
    assert len(log.read()) == 3
    assert len(warnings) == 1


def test_a_full_log_is_set_aside_and_readers_read_across(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "prod.events.jsonl", StoppedClock(), largest=1000)
    logged = [log.append(Event(event="server.running", server=str(number)))[0] for number in range(20)]
    assert {path.name for path in tmp_path.glob("*.jsonl*")} > {"prod.events.jsonl.1", "prod.events.jsonl.2"}
    assert log.read() == logged
    assert all(path.stat().st_size < 1200 for path in tmp_path.glob("*.jsonl*"))


def test_so_many_old_logs_are_kept_and_no_more(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "prod.events.jsonl", StoppedClock(), largest=300)
    logged = [log.append(Event(event="server.running", server=str(number)))[0] for number in range(40)]
    kept = log.read()
    assert {path.name for path in tmp_path.glob("*.jsonl.*[0-9]")} == {f"prod.events.jsonl.{n}" for n in (1, 2, 3)}
    assert 3 <= len(kept) < 40
    assert kept == logged[-len(kept) :]


def test_the_last_events_are_read_without_the_others(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "prod.events.jsonl", StoppedClock(), largest=1000)
    logged = [log.append(Event(event="server.running", server=str(number)))[0] for number in range(10)]
    length = len(log.path.with_name("prod.events.jsonl.1").read_bytes().splitlines(keepends=True)[0])
    for lines in (1, 3, 7):
        few = log.read(last_bytes=lines * length + length // 2)
        assert few == logged[-len(few) :]
        assert lines - 1 <= len(few) <= lines + 1


def test_a_gap_that_a_killed_rotation_left_is_read_over_and_closed(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "prod.events.jsonl", StoppedClock(), largest=300)
    logged = [log.append(Event(event="server.running", server=str(number)))[0] for number in range(2)]
    (tmp_path / "prod.events.jsonl.1").rename(tmp_path / "prod.events.jsonl.2")
    assert log.read() == logged
    logged += [log.append(Event(event="server.running", server=str(number)))[0] for number in range(2, 6)]
    assert log.read() == logged


APPENDER = """
import sys
from pathlib import Path
from scaler.support.clock import SystemClock
from scaler.model.events import Event
from scaler.records.event_log import EventLog

log = EventLog(Path(sys.argv[1]), SystemClock(), run=sys.argv[2], largest=int(sys.argv[4]), warn=sys.exit)
print("ready", flush=True)
for number in range(int(sys.argv[3])):
    log.append(Event(event="server.running", server=str(number), reason="x" * 300))
"""


def start_appender(path: Path, name: str, count: int, largest: int = LARGEST_LOG) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-c", APPENDER, str(path), name, str(count), str(largest)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def test_concurrent_writers_never_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "prod.events.jsonl"
    with start_appender(path, "left", 500) as left, start_appender(path, "right", 500) as right:
        left.wait()
        right.wait()
    logged = EventLog(path, StoppedClock()).read()
    for run in ("left", "right"):
        assert [event.server for event in logged if event.run == run] == [str(number) for number in range(500)]


def test_two_writers_and_a_reader_lose_nothing_while_logs_are_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "prod.events.jsonl"
    log = EventLog(path, StoppedClock())
    seen = 0
    # About 190 kB in all: three logs become full, and none is dropped.
    with start_appender(path, "left", 200, 60_000) as left, start_appender(path, "right", 200, 60_000) as right:
        while left.poll() is None or right.poll() is None:
            now = log.read()
            assert len(now) >= seen
            assert len({(event.run, event.server) for event in now}) == len(now)
            seen = len(now)
    assert (left.returncode, right.returncode) == (0, 0)
    assert path.with_name("prod.events.jsonl.2").exists()
    logged = log.read()
    for run in ("left", "right"):
        numbers = [int(event.server or "") for event in logged if event.run == run]
        assert sorted(numbers) == list(range(200))


def test_a_killed_writer_loses_no_line_before_its_last(tmp_path: Path) -> None:
    path = tmp_path / "prod.events.jsonl"
    log = EventLog(path, StoppedClock())
    with start_appender(path, "killed", 1_000_000) as writer:
        while len(log.read()) < 50:
            pass
        writer.kill()
    log.append(Event(event=EventName.RUN_FINISHED))
    logged = log.read()
    assert [event.server for event in logged[:-1]] == [str(number) for number in range(len(logged) - 1)]
    assert logged[-1].event == "run.finished"


def test_of_a_log_that_somebody_made_huge_only_the_end_is_read(tmp_path: Path) -> None:
    warnings: list[str] = []
    log = EventLog(tmp_path / "prod.events.jsonl", StoppedClock(), run="r1", largest=1 << 20, warn=warnings.append)
    log.path.write_bytes(b"x" * (3 << 20) + b"\n" + b"[" * 200_000 + b"\n")
    log.append(Event(event=EventName.RUN_STARTED))
    assert [event.event for event in log.read()] == ["run.started"]
    assert warnings == ["an event log of this stack has 3 MiB: only the last 2 MiB are read"]
