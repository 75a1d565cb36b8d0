"""Why a server has its status, from its events and its record."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from scaler.model import Server
from scaler.model.events import Event, EventName
from scaler.model.lifecycle import Status
from scaler.records.codec import event_from_json, event_to_json
from scaler.records.event_log import EventLog
from scaler.records.explanation import explain_server
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
