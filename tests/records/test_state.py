"""The state file and the event log: round trips, damage, kills, several writers, full disks."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.errors import StateError
from scaler.model import Action, Price, Server, Step
from scaler.model.lifecycle import Status
from scaler.records.state import (
    LARGEST_LOG,
    RETENTION,
    CorruptStateError,
    Event,
    EventLog,
    EventName,
    State,
    StateFile,
    event_from_json,
    event_to_json,
    from_json,
    prune,
    server_from_json,
    server_to_json,
    to_json,
    transitions,
)
from scaler.support.clock import SystemClock

NOW = datetime(2026, 11, 24, 22, 10, tzinfo=UTC)


def server(name: str = "prod-worker-1", status: Status = Status.RUNNING, **fields: object) -> Server:
    known = {"group": "worker", "id": "4711", "since": NOW} | fields
    return Server(name=name, status=status, **known)  # type: ignore[arg-type]


def state(*servers: Server, serial: int = 0) -> State:
    return State(
        stack="prod",
        project="scaler",
        cloud="hetzner",
        serial=serial,
        updated=NOW,
        wanted={"worker": len(servers)},
        servers=servers,
    )


def records(*servers: Server) -> dict[str, Server]:
    return {server.name: server for server in servers}


# ---------------------------------------------------------------------------------------------
# Plain values

moments = st.datetimes(
    min_value=datetime(2020, 1, 1),
    max_value=datetime(2100, 1, 1),
    timezones=st.just(UTC),
).map(lambda moment: moment.replace(microsecond=0))
texts = st.text(max_size=20)
optional_texts = st.none() | texts
statuses = st.sampled_from(Status)
amounts = st.decimals(min_value=0, max_value=10**6, places=18)
prices = st.builds(Price, currency=texts, per_hour=amounts, per_month=st.none() | amounts)
servers = st.builds(
    Server,
    name=texts,
    group=texts,
    id=optional_texts,
    status=statuses,
    since=moments,
    previous=st.none() | statuses,
    ipv4=optional_texts,
    ipv6=optional_texts,
    type=optional_texts,
    location=optional_texts,
    image=optional_texts,
    created=st.none() | moments,
    error=optional_texts,
    protected=st.booleans(),
    reboot_asked=st.booleans(),
    price=st.none() | prices,
)
states = st.builds(
    State,
    stack=texts,
    project=texts,
    cloud=texts,
    serial=st.integers(min_value=0),
    updated=moments,
    wanted=st.dictionaries(texts, st.integers(min_value=0), max_size=3),
    servers=st.lists(servers, max_size=4).map(tuple),
)
events = st.builds(
    Event,
    event=st.sampled_from(EventName).map(str),
    server=optional_texts,
    group=optional_texts,
    previous=st.none() | statuses,
    status=st.none() | statuses,
    reason=optional_texts,
    cause=optional_texts,
    at=st.none() | moments,
    run=optional_texts,
)


@given(states)
def test_state_survives_the_round_trip_through_text(value: State) -> None:
    assert from_json(json.loads(json.dumps(to_json(value)))) == value


@pytest.mark.acceptance("P17", "P18")
@given(servers)
def test_record_survives_the_round_trip_and_is_plain_values_only(value: Server) -> None:
    document = server_to_json(value)
    assert all(field is None or type(field) in (str, bool) for field in document.values())
    assert server_from_json(json.loads(json.dumps(document))) == value


@given(events)
def test_event_survives_the_round_trip(value: Event) -> None:
    assert event_from_json(json.loads(json.dumps(event_to_json(value)))) == value


def test_document_is_exactly_the_contract() -> None:
    value = state(
        server(
            "prod-worker-4",
            previous=Status.STARTING,
            ipv4="192.0.2.4",
            ipv6="2001:db8::1",
            type="cx23",
            location="fsn1",
            image="343",
            created=NOW - timedelta(minutes=1),
            price=Price("EUR", Decimal("0.0096"), Decimal("5.99")),
        ),
        serial=42,
    )
    assert to_json(value) == {
        "schema": 1,
        "stack": "prod",
        "project": "scaler",
        "cloud": "hetzner",
        "serial": 42,
        "updated": "2026-11-24T22:10:00Z",
        "wanted": {"worker": 1},
        "servers": [
            {
                "name": "prod-worker-4",
                "group": "worker",
                "id": "4711",
                "status": "running",
                "since": "2026-11-24T22:10:00Z",
                "previous": "starting",
                "ipv4": "192.0.2.4",
                "ipv6": "2001:db8::1",
                "type": "cx23",
                "location": "fsn1",
                "image": "343",
                "created": "2026-11-24T22:09:00Z",
                "error": None,
                "protected": False,
                "reboot_asked": False,
                "currency": "EUR",
                "price_per_hour": "0.0096",
                "price_per_month": "5.99",
            }
        ],
    }


def test_a_newer_scalers_fields_are_tolerated() -> None:
    document = to_json(state(server()))
    document["colour"] = "blue"
    document["servers"] = [server_to_json(server()) | {"rack": "7"}]
    assert from_json(document) == state(server())


def test_optional_fields_may_be_missing() -> None:
    document = to_json(state())
    del document["wanted"]
    document["servers"] = [
        {"name": "a", "group": "worker", "status": "new", "since": "2026-11-24T22:10:00Z"},
    ]
    assert from_json(document) == replace(state(server("a", Status.NEW, id=None)), wanted={})


def test_a_state_from_before_a_field_was_added_opens_without_it() -> None:
    """Fields are only ever added: protected, reboot_asked and the price came after the first version."""
    older = Path(__file__).parents[1] / "e2e" / "older" / "hetzner" / "state" / "demo.json"
    read = from_json(json.loads(older.read_text(encoding="utf-8")))
    server = read.records["demo-worker-1"]
    assert (server.id, server.status, server.ipv4) == ("4000010", Status.RUNNING, "127.189.9.11")
    assert (server.protected, server.reboot_asked, server.price) == (False, False, None)
    assert from_json(to_json(read)) == read


def test_a_newer_schema_says_to_upgrade() -> None:
    with pytest.raises(StateError) as caught:
        from_json(to_json(state()) | {"schema": 2})
    assert caught.value.code == "state_newer"
    assert caught.value.fix == "upgrade scaler"
    assert "schema 2" in caught.value.why


@pytest.mark.parametrize(
    ("document", "names"),
    [
        (None, "object"),
        ("output<string>", "object"),
        ({}, "`name`"),
        ({"name": 7, "group": "g", "status": "new", "since": "2026-11-24T22:10:00Z"}, "`name`"),
        ({"name": "a", "group": "g", "status": "resting", "since": "2026-11-24T22:10:00Z"}, "resting"),
        ({"name": "a", "group": "g", "status": "new", "since": "yesterday"}, "yesterday"),
        (server_to_json(server()) | {"currency": "EUR", "price_per_hour": "cheap"}, "`price_per_hour`"),
        (server_to_json(server()) | {"currency": "EUR", "price_per_hour": "Infinity"}, "`price_per_hour`"),
    ],
)
def test_what_is_no_record_is_a_value_error(document: object, names: str) -> None:
    with pytest.raises(ValueError, match=names):
        server_from_json(document)


# ---------------------------------------------------------------------------------------------
# The file


def test_absent_file_is_no_state(tmp_path: Path) -> None:
    assert StateFile(tmp_path / "never-made", "prod").load() is None


def test_save_makes_the_folder_and_counts(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "a" / "b", "prod")
    first = file.save(state(server()))
    second = file.save(first)
    assert (first.serial, second.serial) == (1, 2)
    assert file.load() == second
    assert file.path == tmp_path / "a" / "b" / "prod.json"


def test_serial_never_goes_back(tmp_path: Path) -> None:
    file = StateFile(tmp_path, "prod")
    file.save(state(serial=41))
    assert file.save(state(serial=7)).serial == 43


DAMAGED = [
    pytest.param(b"", id="empty"),
    pytest.param(b'{"schema": 1, "stack": "prod", "serv', id="torn"),
    pytest.param(b"\xff\xfe\x00", id="binary"),
    pytest.param(b"[" * 200_000, id="nested"),
    pytest.param(b"[]", id="list"),
    pytest.param(b'{"stack": "prod"}', id="no schema"),
    pytest.param(b'{"schema": true}', id="schema is no number"),
    pytest.param(json.dumps(to_json(state()) | {"servers": {}}).encode(), id="servers is no list"),
    pytest.param(json.dumps(to_json(state()) | {"servers": [None]}).encode(), id="server is no object"),
    pytest.param(json.dumps(to_json(state()) | {"wanted": []}).encode(), id="wanted is no object"),
    pytest.param(json.dumps(to_json(state()) | {"stack": "test"}).encode(), id="another stack's"),
]


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_file_is_named_and_set_aside_never_lost(tmp_path: Path, content: bytes) -> None:
    file = StateFile(tmp_path, "prod")
    file.path.write_bytes(content)
    with pytest.raises(CorruptStateError) as caught:
        file.load()
    assert str(file.path) in caught.value.what
    assert caught.value.why
    assert "scaler status --refresh --stack prod" in caught.value.fix
    assert file.path.read_bytes() == content

    saved = file.save(state(server()))

    assert file.load() == saved
    assert (tmp_path / "prod.json.corrupt-1").read_bytes() == content


def test_set_aside_keeps_every_damaged_file(tmp_path: Path) -> None:
    file = StateFile(tmp_path, "prod")
    for number in (1, 2, 3):
        file.path.write_text(f"damage {number}")
        assert file.set_aside() == tmp_path / f"prod.json.corrupt-{number}"
    assert (tmp_path / "prod.json.corrupt-2").read_text() == "damage 2"
    assert file.load() is None


def test_a_newer_scalers_file_is_not_overwritten(tmp_path: Path) -> None:
    file = StateFile(tmp_path, "prod")
    file.path.write_text(json.dumps({"schema": 9, "stack": "prod"}))
    with pytest.raises(StateError, match="newer scaler"):
        file.save(state())
    assert json.loads(file.path.read_text()) == {"schema": 9, "stack": "prod"}


def test_a_folder_that_is_a_file_is_a_clear_error(tmp_path: Path) -> None:
    blocker = tmp_path / "state"
    blocker.write_text("")
    file = StateFile(blocker, "prod")
    with pytest.raises(StateError) as saving:
        file.save(state())
    with pytest.raises(StateError) as loading:
        file.load()
    assert saving.value.code == "state_unwritable"
    assert "--state-dir" in saving.value.fix
    assert (loading.value.code, loading.value.why) == ("state_unreadable", "Not a directory")


def test_read_only_folder_is_a_clear_error(tmp_path: Path) -> None:
    file = StateFile(tmp_path, "prod")
    before = file.save(state(server()))
    tmp_path.chmod(0o555)
    try:
        if os.access(tmp_path, os.W_OK):
            pytest.skip("this user may write everywhere (root), so no folder is read-only")
        with pytest.raises(StateError) as caught:
            file.save(before)
    finally:
        tmp_path.chmod(0o755)
    assert caught.value.why == "Permission denied"
    assert file.load() == before


@contextmanager
def full_disk() -> Iterator[None]:
    """A disk that takes 4 kB of a file and no more: the kernel refuses the rest of each write.

    No fixture: the test runner itself writes between a fixture and its test, to a log that is longer.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_full_disk_keeps_the_old_state_and_leaves_nothing_behind(tmp_path: Path) -> None:
    file = StateFile(tmp_path, "prod")
    before = file.save(state(server()))
    with full_disk(), pytest.raises(StateError) as caught:
        file.save(state(*(server(f"prod-worker-{number}") for number in range(50))))
    assert caught.value.code == "state_unwritable"
    assert caught.value.why == os.strerror(27)  # EFBIG
    assert "make room" in caught.value.fix
    assert file.load() == before
    assert not list(tmp_path.glob(".prod.json*tmp"))


def test_what_a_killed_writer_left_is_cleaned_up(tmp_path: Path) -> None:
    file = StateFile(tmp_path, "prod")
    (tmp_path / ".prod.json.tmp").write_text('{"schema": 1, "sta' + "x" * 100_000)
    saved = file.save(state(server()))
    assert file.load() == saved
    assert {path.name for path in tmp_path.iterdir()} <= {"prod.json", "prod.json.lock"}


WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from scaler.model.lifecycle import Status
from scaler.model import Server
from scaler.records.state import State, StateFile

directory, writer, saves = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
now = datetime(2026, 11, 24, 22, 10, tzinfo=UTC)
servers = tuple(
    Server(name=f"prod-{writer}-{n}", group=writer, id=str(n), status=Status.RUNNING, since=now, error="x" * 500)
    for n in range(100)
)
state = State(stack="prod", project="scaler", cloud="hetzner", updated=now, wanted={writer: 100}, servers=servers)
file = StateFile(directory, "prod")
print("ready", flush=True)
while saves:
    file.save(state)
    saves -= 1
"""


def start_writer(directory: Path, name: str, saves: int) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-c", WRITER, str(directory), name, str(saves)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


@pytest.mark.acceptance("S04")
def test_a_kill_at_any_moment_of_a_save_leaves_a_whole_state(tmp_path: Path) -> None:
    file = StateFile(tmp_path, "prod")
    last = file.save(state(server()))
    for kill in range(6):
        with start_writer(tmp_path, f"writer{kill}", saves=-1) as writer:
            # A loop of saves is all that the writer does, so a kill mostly falls within one.
            while (now := file.load()) is None or now.serial < last.serial + 2 + kill:
                pass
            writer.kill()
        found = file.load()
        assert found is not None
        assert found.serial >= last.serial + 2 + kill
        assert [item.name for item in found.servers] == [f"prod-writer{kill}-{n}" for n in range(100)]
        last = file.save(found)
        assert {path.name for path in tmp_path.iterdir()} <= {"prod.json", "prod.json.lock"}


@pytest.mark.acceptance("S11")
def test_two_writers_take_turns_and_no_serial_is_given_twice(tmp_path: Path) -> None:
    file = StateFile(tmp_path, "prod")
    with start_writer(tmp_path, "left", 20) as left, start_writer(tmp_path, "right", 20) as right:
        while left.poll() is None or right.poll() is None:
            seen = file.load()
            if seen is not None:
                assert {item.group for item in seen.servers} in ({"left"}, {"right"})
    assert (left.returncode, right.returncode) == (0, 0)
    final = file.load()
    assert final is not None
    assert final.serial == 40


def test_state_loads_neither_pulumi_nor_pydantic_nor_rich_nor_filelock() -> None:
    script = (
        "import sys, scaler.records.state; "
        "print([name for name in ('pulumi', 'pydantic', 'rich', 'filelock') if name in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


# ---------------------------------------------------------------------------------------------
# Pruning


@pytest.mark.acceptance("Q10")
def test_prune_drops_old_deleted_records_and_no_other() -> None:
    old = NOW - RETENTION - timedelta(seconds=1)
    kept = [server(str(status), status, since=old) for status in Status if status != Status.DELETED]
    recent = server("recent", Status.DELETED, since=NOW - RETENTION)
    assert prune([*kept, recent, server("old", Status.DELETED, since=old)], NOW) == (*kept, recent)


@pytest.mark.acceptance("Q10")
def test_prune_heeds_another_retention() -> None:
    gone = server("gone", Status.DELETED, since=NOW - timedelta(hours=2))
    assert prune([gone], NOW, timedelta(hours=1)) == ()
    assert prune([gone], NOW, timedelta(hours=3)) == (gone,)


# ---------------------------------------------------------------------------------------------
# Which events follow


def step(action: Action, name: str = "prod-worker-1", reason: str = "because") -> Step:
    return Step(action=action, server=name, group="worker", reason=reason)


def life(*statuses: Status | None, steps: tuple[Step, ...] = ()) -> list[str]:
    """The events of one server that goes through these statuses; None: no record."""
    seen: list[str] = []
    previous: dict[str, Server] = {}
    for status in statuses:
        now = records(server(status=status)) if status else {}
        seen += [event.event for event in transitions(previous, now, steps)]
        previous = now
    return seen


@pytest.mark.acceptance("Q15")
def test_events_of_a_full_life_come_in_order() -> None:
    assert life(
        Status.NEW,
        Status.STARTING,
        Status.RUNNING,
        Status.REBOOTING,
        Status.RUNNING,
        Status.STOPPING,
        Status.STOPPED,
        Status.DELETING,
        Status.DELETED,
        None,
    ) == [
        "server.creating",
        "server.running",
        "server.rebooting",
        "server.running",
        "server.stopping",
        "server.stopped",
        "server.deleting",
        "server.deleted",
    ]


@pytest.mark.parametrize(
    ("statuses", "steps", "expected"),
    [
        ((Status.STARTING,), (), ["server.creating"]),
        ((Status.RUNNING,), (), ["server.adopted", "server.running"]),
        ((Status.STARTING,), (step(Action.ADOPT),), ["server.adopted"]),
        ((Status.STOPPED,), (), ["server.adopted", "server.stopped"]),
        ((Status.RUNNING, None), (), ["server.adopted", "server.running", "server.vanished"]),
        ((Status.STARTING, Status.DELETED), (), ["server.creating", "server.vanished"]),
        ((Status.STARTING, Status.DELETED), (step(Action.DELETE),), ["server.creating", "server.deleted"]),
        ((Status.STARTING, Status.HANGING), (), ["server.creating", "server.hanging"]),
        ((Status.STARTING, Status.STARTING), (), ["server.creating"]),
        ((Status.DELETED, Status.DELETED, None), (), ["server.adopted", "server.deleted"]),
        ((Status.DELETED, Status.NEW), (), ["server.adopted", "server.deleted", "server.creating"]),
    ],
)
def test_events_of_shorter_lives(
    statuses: tuple[Status | None, ...], steps: tuple[Step, ...], expected: list[str]
) -> None:
    assert life(*statuses, steps=steps) == expected


def test_a_hanging_delete_that_ends_is_deleted_not_vanished() -> None:
    before = records(server(status=Status.HANGING, previous=Status.DELETING))
    assert [event.event for event in transitions(before, records(server(status=Status.DELETED)))] == ["server.deleted"]


def test_a_refused_create_was_never_a_machine() -> None:
    refused = records(server(id=None, status=Status.ERRORED, error="resource_limit_exceeded: server limit"))
    assert transitions({}, refused) == [
        Event(event="server.creating", server="prod-worker-1", group="worker", status=Status.ERRORED, at=NOW),
        Event(
            event="server.errored",
            at=NOW,
            server="prod-worker-1",
            group="worker",
            status=Status.ERRORED,
            reason="resource_limit_exceeded: server limit",
        ),
    ]
    assert transitions(refused, {}) == []


def test_the_next_attempt_after_a_refused_create_is_a_creation_again() -> None:
    refused = records(server(id=None, status=Status.ERRORED))
    for status in (Status.NEW, Status.STARTING):
        assert [event.event for event in transitions(refused, records(server(status=status)))] == ["server.creating"]


def test_an_event_tells_when_it_happened_not_when_it_was_recorded() -> None:
    ready = NOW - timedelta(minutes=3)
    (event,) = transitions(records(server(status=Status.STARTING)), records(server(since=ready)))
    assert event.at == ready


def test_a_name_that_another_machine_took_over_is_two_events() -> None:
    before = records(server(id="1"))
    after = records(server(id="2", status=Status.STARTING))
    assert transitions(before, after, [step(Action.CREATE, reason="1 of 1 is missing")]) == [
        Event(event="server.vanished", server="prod-worker-1", group="worker", previous=Status.RUNNING),
        Event(
            event="server.creating",
            at=NOW,
            server="prod-worker-1",
            group="worker",
            status=Status.STARTING,
            reason="1 of 1 is missing",
        ),
    ]


def test_an_orphan_that_is_adopted_and_removed_keeps_both_reasons() -> None:
    steps = [step(Action.ADOPT, reason="in no state"), step(Action.DELETE, reason="1 wanted, 2 there")]
    running = records(server())
    deleting = records(server(status=Status.DELETING))
    told = [*transitions({}, running, steps), *transitions(running, deleting, steps)]
    assert [(event.event, event.reason) for event in told] == [
        ("server.adopted", "in no state"),
        ("server.running", None),
        ("server.deleting", "1 wanted, 2 there"),
    ]


# ---------------------------------------------------------------------------------------------
# The event log


class StoppedClock(SystemClock):
    def now(self) -> datetime:
        return NOW


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
    told = [log.append(Event(event="server.running", server=str(number)))[0] for number in range(20)]
    assert {path.name for path in tmp_path.glob("*.jsonl*")} > {"prod.events.jsonl.1", "prod.events.jsonl.2"}
    assert log.read() == told
    assert all(path.stat().st_size < 1200 for path in tmp_path.glob("*.jsonl*"))


def test_so_many_old_logs_are_kept_and_no_more(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "prod.events.jsonl", StoppedClock(), largest=300)
    told = [log.append(Event(event="server.running", server=str(number)))[0] for number in range(40)]
    kept = log.read()
    assert {path.name for path in tmp_path.glob("*.jsonl.*[0-9]")} == {f"prod.events.jsonl.{n}" for n in (1, 2, 3)}
    assert 3 <= len(kept) < 40
    assert kept == told[-len(kept) :]


def test_the_last_events_are_read_without_the_others(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "prod.events.jsonl", StoppedClock(), largest=1000)
    told = [log.append(Event(event="server.running", server=str(number)))[0] for number in range(10)]
    length = len(log.path.with_name("prod.events.jsonl.1").read_bytes().splitlines(keepends=True)[0])
    for lines in (1, 3, 7):
        few = log.read(last_bytes=lines * length + length // 2)
        assert few == told[-len(few) :]
        assert lines - 1 <= len(few) <= lines + 1


def test_a_gap_that_a_killed_rotation_left_is_read_over_and_closed(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "prod.events.jsonl", StoppedClock(), largest=300)
    told = [log.append(Event(event="server.running", server=str(number)))[0] for number in range(2)]
    (tmp_path / "prod.events.jsonl.1").rename(tmp_path / "prod.events.jsonl.2")
    assert log.read() == told
    told += [log.append(Event(event="server.running", server=str(number)))[0] for number in range(2, 6)]
    assert log.read() == told


APPENDER = """
import sys
from pathlib import Path
from scaler.support.clock import SystemClock
from scaler.records.state import Event, EventLog

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
    told = EventLog(path, StoppedClock()).read()
    for run in ("left", "right"):
        assert [event.server for event in told if event.run == run] == [str(number) for number in range(500)]


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
    told = log.read()
    for run in ("left", "right"):
        numbers = [int(event.server or "") for event in told if event.run == run]
        assert sorted(numbers) == list(range(200))


def test_a_killed_writer_loses_no_line_before_its_last(tmp_path: Path) -> None:
    path = tmp_path / "prod.events.jsonl"
    log = EventLog(path, StoppedClock())
    with start_appender(path, "killed", 1_000_000) as writer:
        while len(log.read()) < 50:
            pass
        writer.kill()
    log.append(Event(event=EventName.RUN_FINISHED))
    told = log.read()
    assert [event.server for event in told[:-1]] == [str(number) for number in range(len(told) - 1)]
    assert told[-1].event == "run.finished"
