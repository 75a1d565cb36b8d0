"""One look: from the cloud's list, the stack and the records to a world."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from scaler.model import Drain, Machine, Readiness, Server, StackEntry, StackState, World
from scaler.model.lifecycle import DELETE_WITHIN, Phase, Status
from scaler.planning.assess import Findings, assess, known, none_after
from scaler.planning.deadlines import Deadline
from tests.support.fakes import LOCATIONS, START, TYPES, group, spec

SPEC = spec(group(start_within=timedelta(minutes=10)))
SECOND = timedelta(seconds=1)


def machine(id: str = "1", name: str = "prod-worker-1", phase: Phase = Phase.RUNNING, age_s: float = 60) -> Machine:
    return Machine(
        id=id,
        name=name,
        phase=phase,
        vendor_status=str(phase),
        labels=SPEC.owner.group_labels("worker", "abc"),
        type=TYPES[0],
        location=LOCATIONS[0],
        image="100",
        created=START - timedelta(seconds=age_s),
    )


def record(
    id: str | None = "1", name: str = "prod-worker-1", status: Status = Status.RUNNING, **fields: object
) -> Server:
    known_fields: dict[str, object] = {"group": "worker", "since": START - timedelta(seconds=30)} | fields
    return Server(id=id, name=name, status=status, **known_fields)  # type: ignore[arg-type]


def stack(*machines: Machine, outputs: tuple[Server, ...] = ()) -> StackState:
    return StackState(
        entries={item.name: StackEntry(item.name, "worker", item.id, item.labels) for item in machines},
        outputs={item.name: item for item in outputs},
    )


def look(
    *machines: Machine, held: StackState | None = None, records: tuple[Server, ...] = (), after: timedelta = 0 * SECOND
) -> World:
    held = stack(*machines) if held is None else held
    return assess(SPEC, machines, held, {item.name: item for item in records}, START + after)


# ---------------------------------------------------------------------------------------------
# Clocks that differ


@pytest.mark.acceptance("T14")
@pytest.mark.parametrize("records", [(), (record(None, status=Status.NEW),)])
def test_a_server_that_was_created_in_our_future_starts_now(records: tuple[Server, ...]) -> None:
    booting = machine(phase=Phase.BOOTING, age_s=-3600)
    server = look(booting, records=records).servers["prod-worker-1"]
    assert (server.status, server.since, server.created) == (Status.STARTING, START, booting.created)


@pytest.mark.acceptance("T14")
def test_a_status_that_is_recorded_for_the_future_counts_from_now() -> None:
    records = {"a": record(since=START + SECOND), "b": record(since=START - SECOND)}
    assert {name: one.since for name, one in none_after(records, START).items()} == {"a": START, "b": START - SECOND}


# ---------------------------------------------------------------------------------------------
# Names


def test_duplicates_of_one_name_get_their_id_behind_it_but_the_oldest() -> None:
    world = look(machine("8", age_s=90), machine("9", age_s=10), held=StackState())
    assert {name: item.id for name, item in world.machines.items()} == {"prod-worker-1": "8", "prod-worker-1.9": "9"}
    assert world.orphans == {"prod-worker-1", "prod-worker-1.9"}


def test_the_one_in_the_stack_keeps_the_name_though_it_is_younger() -> None:
    old, young = machine("8", age_s=90), machine("9", age_s=10)
    world = look(old, young, held=stack(young))
    assert {name: item.id for name, item in world.machines.items()} == {"prod-worker-1": "9", "prod-worker-1.8": "8"}
    assert world.orphans == {"prod-worker-1.8"}


def test_a_machine_renamed_at_the_cloud_keeps_the_stacks_name() -> None:
    renamed = machine("1", name="elsewhere")
    world = look(renamed, held=stack(machine("1")))
    assert list(world.servers) == ["prod-worker-1"]
    assert world.orphans == frozenset()


def test_a_record_follows_the_machine_when_its_name_changes() -> None:
    """The duplicate takes the plain name over when the one that had it is gone."""
    since = START - timedelta(minutes=9)
    kept = record("9", "prod-worker-1.9", Status.STARTING, since=since)
    world = look(machine("9", phase=Phase.BOOTING), held=StackState(), records=(record("8"), kept))
    assert (world.servers["prod-worker-1"].status, world.servers["prod-worker-1"].since) == (Status.STARTING, since)
    assert "prod-worker-1.9" not in {**world.servers, **world.past}


# ---------------------------------------------------------------------------------------------
# Records


def test_a_status_that_stays_keeps_its_time_and_one_that_changes_gets_a_new_one() -> None:
    same = look(machine(), records=(record(),), after=SECOND).servers["prod-worker-1"]
    assert (same.since, same.previous) == (START - timedelta(seconds=30), None)
    off = look(machine(phase=Phase.OFF), records=(record(),), after=SECOND).servers["prod-worker-1"]
    assert (off.status, off.since, off.previous) == (Status.STOPPED, START + SECOND, Status.RUNNING)


def test_an_unknown_machine_that_boots_has_been_starting_since_it_was_made() -> None:
    server = look(machine(phase=Phase.BOOTING, age_s=45)).servers["prod-worker-1"]
    assert (server.status, server.since) == (Status.STARTING, START - timedelta(seconds=45))


@pytest.mark.acceptance("R08")
def test_an_intent_becomes_the_machine_of_its_name() -> None:
    server = look(machine(), records=(record(None, status=Status.NEW),)).servers["prod-worker-1"]
    assert (server.id, server.status, server.previous) == ("1", Status.RUNNING, Status.NEW)


def test_a_record_of_another_machine_of_the_name_says_nothing_of_this_one() -> None:
    world = look(machine("2", phase=Phase.BOOTING), records=(record("1", status=Status.HANGING, error="old"),))
    server = world.servers["prod-worker-1"]
    assert (server.id, server.status, server.error) == ("2", Status.STARTING, None)


def test_a_machine_that_was_recorded_as_deleted_and_is_there_again() -> None:
    server = look(machine(), records=(record(status=Status.DELETED),)).servers["prod-worker-1"]
    assert server.status is Status.RUNNING


def test_what_is_gone_stays_on_record_as_deleted() -> None:
    world = look(records=(record(),), after=SECOND)
    (gone,) = world.past.values()
    assert (gone.status, gone.previous, gone.since) == (Status.DELETED, Status.RUNNING, START + SECOND)


def test_a_refused_create_stays_on_record_and_an_intent_without_a_machine_does_not() -> None:
    refused = record(None, "prod-worker-1", Status.ERRORED, error="no capacity")
    world = look(records=(refused, record(None, "prod-worker-2", Status.NEW)))
    assert world.past == {"prod-worker-1": refused}


# ---------------------------------------------------------------------------------------------
# Deadlines


@pytest.mark.parametrize(
    ("previous", "after", "status"),
    [
        (Status.STARTING, timedelta(seconds=29), Status.RUNNING),
        (Status.STARTING, timedelta(seconds=31), Status.REBOOTING),
        (Status.REBOOTING, timedelta(seconds=1), Status.REBOOTING),
    ],
    ids=["a list that lags", "too late for that", "it rebooted before"],
)
def test_a_list_can_show_a_server_as_it_was_before_it_first_ran(
    previous: Status, after: timedelta, status: Status
) -> None:
    """By its id it was seen to run, 30 s ago; a list says then that it boots."""
    ready = record(previous=previous)
    assert look(machine(phase=Phase.BOOTING), records=(ready,), after=after).servers["prod-worker-1"].status is status


@pytest.mark.acceptance("P30", "P37")
@pytest.mark.parametrize(
    ("status", "phase", "limit"),
    [
        (Status.STARTING, Phase.BOOTING, timedelta(minutes=10)),
        (Status.REBOOTING, Phase.BOOTING, timedelta(minutes=10)),
        (Status.STOPPING, Phase.STOPPING, DELETE_WITHIN),
        (Status.DELETING, Phase.DELETING, DELETE_WITHIN),
    ],
)
def test_a_server_hangs_when_its_deadline_has_passed_and_not_before(
    status: Status, phase: Phase, limit: timedelta
) -> None:
    known_since = record(status=status, since=START)
    at = look(machine(phase=phase), records=(known_since,), after=limit).servers["prod-worker-1"]
    assert at.status is status
    late = look(machine(phase=phase), records=(known_since,), after=limit + SECOND).servers["prod-worker-1"]
    assert (late.status, late.previous, late.since) == (Status.HANGING, status, START + limit + SECOND)
    assert late.error == f"{status} for longer than {int(limit.total_seconds()) // 60}m"


@pytest.mark.acceptance("P29")
@pytest.mark.parametrize(
    ("status", "phase"), [(Status.RUNNING, Phase.RUNNING), (Status.STOPPED, Phase.OFF)], ids=["running", "stopped"]
)
def test_running_and_stopped_servers_never_hang(status: Status, phase: Phase) -> None:
    world = look(machine(phase=phase), records=(record(status=status),), after=timedelta(days=365))
    assert world.servers["prod-worker-1"].status is status


@pytest.mark.acceptance("R14")
def test_a_longer_deadline_in_the_spec_and_a_learned_one_hold() -> None:
    patient = spec(group(start_within=timedelta(hours=1)))
    booting = machine(phase=Phase.BOOTING, age_s=1800)
    assert assess(patient, [booting], stack(booting), {}, START).servers["prod-worker-1"].status is Status.STARTING
    learned = Findings(deadlines={"worker": Deadline(timedelta(minutes=2), "learned")})
    server = assess(patient, [booting], stack(booting), {}, START, learned).servers["prod-worker-1"]
    assert (server.status, server.error) == (Status.HANGING, "starting for longer than 2m (learned)")


def test_hanging_keeps_its_error_until_the_server_runs() -> None:
    hung = record(status=Status.HANGING, error="starting for longer than 10m")
    still = look(machine(phase=Phase.BOOTING), records=(hung,)).servers["prod-worker-1"]
    assert (still.status, still.error) == (Status.HANGING, "starting for longer than 10m")
    up = look(machine(), records=(hung,)).servers["prod-worker-1"]
    assert (up.status, up.error) == (Status.RUNNING, None)


def test_a_server_that_runs_is_asked_whether_it_is_ready_until_it_was() -> None:
    checked = spec(group(ready=Readiness(kind="tcp", port=22)))
    asked = []

    def is_ready(server: Server) -> bool:
        asked.append(server.name)
        return False

    here = machine()
    world = assess(checked, [here], stack(here), {}, START, Findings(is_ready=is_ready))
    assert world.servers["prod-worker-1"].status is Status.STARTING
    records = {"prod-worker-1": record()}
    again = assess(checked, [here], stack(here), records, START, Findings(is_ready=is_ready))
    assert again.servers["prod-worker-1"].status is Status.RUNNING
    assert asked == ["prod-worker-1"]


def test_what_keeps_a_hanging_server_from_being_ready_is_told() -> None:
    checked = spec(group(ready=Readiness(kind="tcp", port=22)))
    starting = {"prod-worker-1": record(status=Status.STARTING, since=START - timedelta(minutes=11))}
    findings = Findings(trouble=lambda server: f"{server.name} is mute")
    server = assess(checked, [machine()], stack(machine()), starting, START, findings).servers["prod-worker-1"]
    assert (server.status, server.error) == (
        Status.HANGING,
        "starting for longer than 10m; not ready: prod-worker-1 is mute",
    )


def test_a_server_that_is_being_brought_to_rest_never_hangs() -> None:
    """Its drain may take hours, and has a deadline of its own."""
    drain = Drain(since=START - timedelta(hours=5), until=START + timedelta(hours=5))
    stopping = {"prod-worker-1": record(status=Status.STOPPING, since=START - timedelta(hours=5), drain=drain)}
    for phase in (Phase.RUNNING, Phase.STOPPING, Phase.BOOTING, Phase.BUSY):
        here = machine(phase=phase)
        server = assess(SPEC, [here], stack(here), stopping, START).servers["prod-worker-1"]
        assert (server.status, server.since) == (Status.STOPPING, START - timedelta(hours=5))


# ---------------------------------------------------------------------------------------------
# Drift and being recorded


@pytest.mark.acceptance("S02")
def test_drift_is_named() -> None:
    gone, off, slow = (
        machine("1", "prod-worker-1"),
        machine("2", "prod-worker-2", Phase.OFF),
        machine("3", "prod-worker-3"),
    )
    slow = replace(slow, phase=Phase.BOOTING)
    stray = machine("4", "prod-worker-4")
    world = look(
        off,
        slow,
        stray,
        held=stack(gone, off, slow),
        records=(
            record("1", "prod-worker-1"),
            record("2", "prod-worker-2"),
            record("3", "prod-worker-3", Status.STARTING, since=START - timedelta(hours=1)),
        ),
    )
    assert world.drift == (
        "prod-worker-1 (1) is gone from the cloud",
        "prod-worker-2 (2) was running and is off",
        "prod-worker-3 (3) is hanging: starting for longer than 10m",
        "prod-worker-4 (4) exists and is in no state",
    )


def test_a_delete_of_our_own_is_no_drift() -> None:
    world = look(held=stack(machine()), records=(record(status=Status.DELETING),))
    assert world.drift == ()
    assert world.vanished == {"prod-worker-1"}


def test_recorded_means_that_stack_outputs_and_cloud_agree() -> None:
    here = machine()
    server = record(ipv4=here.ipv4, type=here.type, location=here.location, image=here.image, created=here.created)
    held = stack(here, outputs=(server,))
    assert look(here, held=held, records=(server,)).recorded
    assert not look(here, held=replace(held, pending=("prod-worker-1",)), records=(server,)).recorded
    assert not look(here, held=stack(here), records=(server,)).recorded
    assert not look(here, held=StackState(outputs={server.name: server}), records=(server,)).recorded


# ---------------------------------------------------------------------------------------------
# S14: records and outputs as one


@pytest.mark.acceptance("S14")
def test_outputs_stand_in_for_a_lost_file() -> None:
    assert known(stack(outputs=(record(),)), ()) == {"prod-worker-1": record()}


@pytest.mark.acceptance("S14")
@pytest.mark.parametrize("mine_is_later", [True, False])
def test_of_two_records_the_later_counts(mine_is_later: bool) -> None:
    early, late = record(since=START), record(status=Status.STOPPED, since=START + SECOND)
    mine, output = (late, early) if mine_is_later else (early, late)
    assert known(stack(outputs=(output,)), (mine,)) == {"prod-worker-1": late}


@pytest.mark.acceptance("S14")
def test_an_intent_in_the_outputs_does_not_hide_what_became_of_it() -> None:
    intent = record(None, status=Status.NEW, since=START)
    hung = record("5", status=Status.HANGING, since=START + SECOND)
    assert known(stack(outputs=(intent,)), (hung,)) == {"prod-worker-1": hung}


@pytest.mark.acceptance("S14")
def test_another_machines_later_output_counts() -> None:
    mine, theirs = record("3", since=START), record("5", since=START + SECOND)
    assert known(stack(outputs=(theirs,)), (mine,)) == {"prod-worker-1": theirs}
