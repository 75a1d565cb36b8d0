"""Several machines' folders and the records that they share."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scaler.errors import StateError
from scaler.model import Server
from scaler.model.events import Event, EventName
from scaler.model.lifecycle import Status
from scaler.records import sharing
from scaler.records.event_log import EventLog
from scaler.records.folder_store import FolderStore
from scaler.records.shared import lines_of
from scaler.records.sharing import DOCUMENT, Sharing
from scaler.records.state import State
from scaler.records.state_file import StateFile
from scaler.records.store import Stored, StoreUnavailableError
from scaler.support.clock import format_time
from tests.support.fakes import FakeClock

START = datetime(2026, 11, 29, 12, tzinfo=UTC)


class _CountedStore(FolderStore):
    """A store that counts what is asked of it, and can be out of reach."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked: list[str] = []
        self.is_away = False

    def read(self, name: str, known: str | None = None) -> Stored | None:
        self._ask("read")
        return super().read(name, known)

    def write(self, name: str, content: bytes, after: str | None = None) -> str:
        self._ask("write")
        return super().write(name, content, after)

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.is_away:
            raise StoreUnavailableError("nobody answers")


@dataclass
class Machine:
    """A folder on a machine, with a store that all share."""

    folder: Path
    store: _CountedStore
    clock: FakeClock
    warnings: list[str] = field(default_factory=list)
    place: str = "s3://states/team"

    @property
    def sharing(self) -> Sharing:
        """As a new process opens it."""
        return Sharing(self.store, self.folder, "demo", self.clock, warn=self.warnings.append, place=self.place)

    @property
    def state(self) -> State | None:
        return StateFile(self.folder, "demo").load()

    @property
    def statuses(self) -> dict[str, str]:
        state = self.state
        return {server.name: str(server.status) for server in state.servers} if state else {}

    def record(self, **statuses: Status) -> None:
        """Record servers in these statuses since now; None of the others changes."""
        before = self.state
        servers = before.records if before else {}
        for name, status in statuses.items():
            servers[name] = Server(name=name, group="worker", id=name, status=status, since=self.clock.now())
        state = before or State(stack="demo", project="team", cloud="hetzner", updated=self.clock.now())
        StateFile(self.folder, "demo").save(
            State(
                stack="demo",
                project="team",
                cloud="hetzner",
                serial=state.serial,
                updated=self.clock.now(),
                servers=tuple(servers.values()),
                orders=state.orders,
            )
        )

    def log(self, name: EventName, reason: str = "", **fields: object) -> None:
        event = Event(event=name, reason=reason, **fields)  # type: ignore[arg-type]
        EventLog(self.folder / "demo.events.jsonl", self.clock).append(event)

    @property
    def events(self) -> list[str | None]:
        return [event.reason for event in EventLog(self.folder / "demo.events.jsonl", self.clock).read()]

    def write(self, name: str, document: object) -> None:
        (self.folder / name).write_text(json.dumps(document))

    def run(self) -> list[str]:
        """What a run that changes nothing asks of the store."""
        self.store.asked.clear()
        self.sharing.pull()
        self.sharing.push()
        return list(self.store.asked)


Make = Callable[[str], Machine]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def make(tmp_path: Path, clock: FakeClock) -> Make:
    def make(name: str) -> Machine:
        folder = tmp_path / name
        folder.mkdir()
        return Machine(folder, _CountedStore(tmp_path / "store"), clock)

    return make


def test_a_fresh_folder_has_what_the_first_one_recorded(make: Make) -> None:
    first, second = make("first"), make("second")
    first.sharing.pull()
    first.record(a=Status.RUNNING)
    first.log(EventName.RUNNING, "a runs")
    first.write("demo.autoscale.json", {"schema": 1, "groups": {}})
    first.write("demo.shortages.json", {"schema": 1, "no_capacity": [], "quota": None})
    first.sharing.push()

    second.sharing.pull()
    assert second.state == first.state
    assert second.events == ["a runs"]
    for name in ("demo.autoscale.json", "demo.shortages.json"):
        assert json.loads((second.folder / name).read_text()) == json.loads((first.folder / name).read_text())
    # And back.
    second.record(b=Status.STARTING)
    second.log(EventName.CREATING, "b is made")
    second.sharing.push()
    first.sharing.pull()
    assert first.state == second.state
    assert first.events == ["a runs", "b is made"]
    assert first.warnings == second.warnings == []


def test_a_run_costs_one_conditional_read_and_two_writes_at_most(make: Make) -> None:
    machine = make("first")
    machine.record(a=Status.RUNNING)
    assert machine.run() == ["read", "write"]
    # Nothing to do: one read, whatever the log says of the run itself.
    machine.log(EventName.RUN_STARTED)
    machine.log(EventName.RUN_FINISHED, result={"outcome": "unchanged"})
    assert machine.run() == ["read"]
    # A changing one shares what it means to do, and what became of it.
    machine.store.asked.clear()
    machine.sharing.pull()
    machine.record(b=Status.NEW)
    machine.sharing.push()
    machine.record(b=Status.RUNNING)
    machine.log(EventName.RUN_FINISHED, "done", result={"outcome": "converged"})
    machine.sharing.push()
    assert machine.store.asked == ["read", "write", "write"]


def test_two_machines_that_change_at_once_lose_nothing(make: Make, clock: FakeClock) -> None:
    first, second = make("first"), make("second")
    first.record(a=Status.RUNNING, b=Status.RUNNING, c=Status.RUNNING)
    first.run()
    second.run()
    clock.sleep(60)
    first.record(a=Status.DELETING, c=Status.REBOOTING)
    first.log(EventName.DELETING, "a goes")
    clock.sleep(60)
    second.record(b=Status.HANGING, c=Status.RUNNING, d=Status.NEW)
    second.log(EventName.CREATING, "d comes")
    first.sharing.push()
    second.sharing.push()
    first.sharing.pull()
    # Of the server that both changed, the later change.
    expected = {"a": "deleting", "b": "hanging", "c": "running", "d": "new"}
    assert first.statuses == second.statuses == expected
    assert first.events == second.events == ["a goes", "d comes"]
    assert first.state and second.state and first.state.serial == second.state.serial


def test_two_first_runs_at_once_lose_nothing(make: Make) -> None:
    first, second = make("first"), make("second")
    for machine, name in ((first, "a"), (second, "b")):
        machine.sharing.pull()
        machine.record(**{name: Status.NEW})
        machine.log(EventName.CREATING, name)
    first.sharing.push()
    second.sharing.push()
    third = make("third")
    third.sharing.pull()
    assert third.statuses == {"a": "new", "b": "new"}
    assert third.events == ["a", "b"]


def test_a_folder_from_before_records_were_shared_yields_to_them(make: Make) -> None:
    first, old = make("first"), make("old")
    old.record(z=Status.RUNNING)
    old.log(EventName.RUNNING, "long ago")
    first.record(a=Status.RUNNING)
    first.run()
    old.run()
    assert old.statuses == {"a": "running"}
    # Its own history stays readable there, and is nobody else's.
    assert old.events == ["long ago"]
    assert make("third").run() == ["read"]


def test_what_could_not_be_shared_is_shared_later(make: Make) -> None:
    first, second = make("first"), make("second")
    first.record(a=Status.RUNNING)
    first.run()
    first.store.is_away = True
    first.sharing.pull()
    first.record(b=Status.NEW)
    first.log(EventName.CREATING, "b")
    first.sharing.push()
    assert len(first.warnings) == 2
    assert "nobody answers" in first.warnings[0]
    first.store.is_away = False
    # Meanwhile another machine went on.
    second.run()
    second.log(EventName.CREATING, "c")
    second.record(c=Status.NEW)
    second.run()
    assert first.run() == ["read", "write"]
    second.run()
    assert first.statuses == second.statuses == {"a": "running", "b": "new", "c": "new"}
    assert first.events == second.events == ["c", "b"]


def test_old_events_become_segments(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "_MOST_EVENTS", 4000)
    monkeypatch.setattr(sharing, "_EVENTS_KEPT", 2000)
    monkeypatch.setattr(sharing, "_SEGMENTS", 3)
    machine = make("first")
    machine.record(a=Status.RUNNING)
    numbers = [f"{number:03}" for number in range(100)]
    for number in numbers:
        machine.log(EventName.DRIFT_FOUND, number)
        machine.run()
    look = make("second").sharing.look()
    assert len(look.segments) == 3
    names = machine.store.names()
    # Nothing is left of older ones.
    assert sorted(names) == sorted([DOCUMENT, *look.segments])
    older = [event for name in look.segments for event in machine.sharing.segment(name)]
    reasons = [event["reason"] for event in (*older, *look.events)]
    assert reasons == numbers[-len(reasons) :]
    assert len(reasons) > 40
    # What each run reads stays small, and so does the folder's log.
    assert len(look.events) < 30
    assert (machine.folder / "demo.events.jsonl").stat().st_size < 5000


def test_pruning_removes_the_old_parts_of_the_log_and_what_a_killed_run_left_of_it(
    make: Make, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "_MOST_EVENTS", 4000)
    monkeypatch.setattr(sharing, "_EVENTS_KEPT", 2000)
    machine, other = make("first"), make("second")
    machine.record(a=Status.RUNNING)
    begun = clock.now()
    for number in range(100):
        machine.log(EventName.DRIFT_FOUND, f"{number:03}")
        machine.run()
        clock.sleep(60)
    other.run()
    orphan = "events/00000000-of-nobody.jsonl"
    machine.store.write(orphan, lines_of([{"event": "drift.found", "at": format_time(begun)}]))
    before = machine.sharing.look()
    halfway = begun + timedelta(minutes=50)
    number = machine.sharing.prune(halfway, preview=True)
    assert machine.sharing.look() == before
    assert machine.sharing.prune(halfway) == number > 1
    after = other.sharing.look()
    assert after.segments == before.segments[number - 1 :]
    assert after.events == before.events
    assert sorted(machine.store.names()) == sorted([DOCUMENT, *after.segments])
    kept = [event for name in after.segments for event in machine.sharing.segment(name)]
    # Nothing that is younger is gone.
    assert {f"{minute:03}" for minute in range(50, 100)} <= {event["reason"] for event in (*kept, *after.events)}
    # A machine that had seen the older ones brings none of them back.
    other.log(EventName.DRIFT_FOUND, "later")
    other.run()
    assert make("third").sharing.look().segments == after.segments
    # However old they are, the last events stay.
    machine.sharing.prune(clock.now() + timedelta(days=1))
    last = make("fourth").sharing.look()
    assert last.segments == ()
    assert [event["reason"] for event in last.events][-1] == "later"
    assert machine.warnings == other.warnings == []


def test_who_only_looks_sees_both_sides_and_changes_nothing(make: Make) -> None:
    first, second = make("first"), make("second")
    first.record(a=Status.RUNNING)
    first.run()
    second.run()
    second.record(b=Status.NEW)
    second.log(EventName.CREATING, "b")
    first.log(EventName.RUNNING, "a")
    first.record(a=Status.HANGING)
    first.run()
    before = {path.name: path.read_bytes() for path in second.folder.iterdir()}
    look = second.sharing.look()
    assert look.state and {server.name: str(server.status) for server in look.state.servers} == {
        "a": "hanging",
        "b": "new",
    }
    assert [event["reason"] for event in look.events] == ["a", "b"]
    assert {path.name: path.read_bytes() for path in second.folder.iterdir()} == before


def test_a_lost_or_damaged_state_file_comes_back(make: Make) -> None:
    machine = make("first")
    machine.record(a=Status.RUNNING)
    machine.run()
    (machine.folder / "demo.json").unlink()
    machine.run()
    assert machine.statuses == {"a": "running"}
    (machine.folder / "demo.json").write_text("{")
    make("second").run()
    machine.run()
    assert machine.statuses == {"a": "running"}
    assert (machine.folder / "demo.json.corrupt-1").exists()


def test_a_damaged_copy_is_no_copy(make: Make) -> None:
    machine = make("first")
    machine.record(a=Status.RUNNING)
    machine.run()
    for content in ("", "[]", '{"place": "s3://states/team", "shared": {}}'):
        (machine.folder / "demo.shared.json").write_text(content)
        machine.run()
        assert machine.statuses == {"a": "running"}


def test_another_place_has_nothing_in_common_with_a_copy(make: Make, tmp_path: Path) -> None:
    machine = make("first")
    machine.record(a=Status.RUNNING)
    machine.run()
    machine.store, machine.place = _CountedStore(tmp_path / "elsewhere"), "s3://states/other"
    machine.run()
    # The records moved with the folder: the new place had none.
    second = make("second")
    second.store = machine.store
    second.run()
    assert second.statuses == {"a": "running"}


@pytest.mark.parametrize("content", ["", "null", "[1]", '{"schema": 1}', '{"schema": 1, "state": {}}'])
def test_damaged_shared_records_are_replaced_after_they_were_kept(make: Make, content: str) -> None:
    machine = make("first")
    machine.record(a=Status.RUNNING)
    machine.store.write(DOCUMENT, content.encode())
    machine.run()
    assert machine.statuses == {"a": "running"}
    assert any("damaged" in text for text in machine.warnings)
    second = make("second")
    second.run()
    assert second.statuses == {"a": "running"}
    (kept,) = [name for name in machine.store.names() if name.startswith("damaged")]
    found = machine.store.read(kept)
    assert found and found.content == content.encode()


def test_records_of_a_newer_scaler_stop_a_run(make: Make) -> None:
    machine = make("first")
    machine.record(a=Status.RUNNING)
    machine.store.write(DOCUMENT, b'{"schema": 99}')
    with pytest.raises(StateError, match="newer scaler"):
        machine.sharing.pull()
    with pytest.raises(StateError, match="newer scaler"):
        machine.sharing.look()


def test_deleted_shared_records_are_made_again(make: Make) -> None:
    machine = make("first")
    machine.record(a=Status.RUNNING)
    machine.log(EventName.RUNNING, "a")
    machine.run()
    machine.store.delete(DOCUMENT)
    machine.run()
    second = make("second")
    second.run()
    assert second.statuses == {"a": "running"}
    assert second.events == ["a"]


def test_the_copy_says_how_old_it_is(make: Make, clock: FakeClock) -> None:
    machine = make("first")
    assert machine.sharing.seen() is None
    machine.record(a=Status.RUNNING)
    machine.run()
    seen = machine.sharing.seen()
    assert seen is not None
    clock.sleep(90)
    assert clock.now() - seen >= timedelta(seconds=90)
