"""What is asked of a stack: pauses, named operations and their repeats, and orders given while a run goes on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from scaler.clouds import TransientError
from scaler.converge.demand import Demand, Options
from scaler.converge.operate import protect
from scaler.converge.pausing import pause, resume
from scaler.errors import RefusedError, StalePlanError
from scaler.model import Outcome
from scaler.model.events import EventName
from scaler.model.orders import NamedOperation, Orders, Pause, newest
from tests.support.fakes import START, FakeRecords, Killed, Setting, group, passing, spec, taken

HAND = Options(resumes=True)
DESTROY = Options(everything=True)


def servers(count: int) -> Setting:
    return Setting(spec(group("worker", 0))).with_servers(worker=count)


def elsewhere(setting: Setting) -> Setting:
    """Another machine with the same backend and cloud, and records of its own."""
    other = Setting(setting.spec)
    other.clock, other.cloud, other.stack = setting.clock, setting.cloud, setting.stack
    other.records = FakeRecords(setting.fuse)
    return other


def shared_pause(setting: Setting) -> str:
    """The pause in the stack's outputs, in words."""
    orders = setting.stack.saved.orders
    return str(orders.pause) if orders and orders.pause else ""


def named(command: str, **options: bool) -> Options:
    return Options(command=command, **options)  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------
# Which orders hold


def test_the_newest_orders_hold_and_of_equals_the_shared_ones() -> None:
    shared, own = Orders(serial=3, wanted={"worker": 1}), Orders(serial=3, wanted={"worker": 2})
    assert newest(shared, own) is shared
    ahead = replace(own, serial=4)
    assert newest(shared, ahead) is ahead
    assert newest(None, own) is own
    assert newest(None, None) == Orders()


def test_changes_that_nobody_else_knows_never_get_ahead_of_the_next_shared_one() -> None:
    shared = Orders(serial=3, wanted={"worker": 1})
    own = shared
    for count in range(5):
        own = own.changed(shared, wanted={"worker": count + 2})
    others = shared.changed(shared, pause=Pause(since=START))
    assert newest(others, own) is others


# ---------------------------------------------------------------------------------------------
# Pauses


def test_destroy_pauses_and_only_resume_or_ensure_end_that() -> None:
    setting = servers(2)
    setting.run(Demand({"worker": 0}), DESTROY)
    there = elsewhere(setting)
    assert shared_pause(there).startswith("autoscaling is paused until `scaler resume` by `scaler destroy`")
    setting.run(Demand(by={"worker": 1}), named("increase 1 --group worker"))
    assert shared_pause(setting)
    there.run(Demand({"worker": 1}), HAND)
    assert not shared_pause(there)
    assert EventName.AUTOSCALE_PAUSED in [event.event for event in setting.records.events]


def test_ensure_leaves_the_pause_of_a_person() -> None:
    setting = servers(1)
    assert pause(setting.spec, setting.around, length=timedelta(hours=1), reason="migration").pause
    setting.run(Demand({"worker": 2}), HAND)
    there = elsewhere(setting)
    assert shared_pause(there).endswith(": migration")
    assert resume(there.spec, there.around).pause is None
    assert not shared_pause(setting)
    assert len(setting.ready) == 2
    names = [event.event for event in there.records.events if event.event.startswith("autoscale")]
    assert names == [EventName.AUTOSCALE_PAUSED, EventName.AUTOSCALE_RESUMED]


def test_a_pause_is_obeyed_here_though_the_cloud_does_not_answer() -> None:
    setting = servers(1)
    setting.cloud.faults["list"] = passing()
    with pytest.raises(TransientError):
        pause(setting.spec, setting.around)
    orders = setting.records.orders()
    assert orders
    assert orders.pause
    assert newest(setting.stack.saved.orders, orders) is orders


# ---------------------------------------------------------------------------------------------
# Named operations: a repeat goes on with what was begun

OPERATIONS = [
    (Demand(renew=frozenset({"prod-worker-1"})), "replace prod-worker-1", 2),
    (Demand(by={"worker": 2}), "increase 2 --group worker", 4),
    (Demand(by={"worker": -1}), "decrease 1 --group worker", 1),
    (Demand(remove=frozenset({"prod-worker-1"})), "stop prod-worker-1", 1),
]


@pytest.mark.parametrize("saves", [True, False], ids=["engine-outlives", "engine-dies"])
@pytest.mark.parametrize(("demand", "command", "count"), OPERATIONS, ids=lambda value: str(value).partition(" ")[0])
def test_one_that_is_killed_anywhere_ends_at_its_count(demand: Demand, command: str, count: int, saves: bool) -> None:
    """Killed three times at each moment, then to its end; W16."""
    for boundary in range(1, 12, 2):
        setting = servers(2)
        setting.stack.saves_when_killed = saves
        first = dict(setting.held())
        for left in (boundary, boundary, boundary, None):
            setting.fuse.left = left
            with suppress(Killed):
                setting.run(demand, named(command))
            orders = newest(setting.stack.saved.orders, setting.records.orders())
            if setting.held() != first and not orders.operations:
                # It has concluded, killed after that or not: one more repeat would be a new operation.
                break
        setting.fuse.left = None
        assert len(setting.ready) == len(setting.owned) == count, (boundary, setting.progress.warnings)
        if demand.renew or demand.remove:
            assert first["prod-worker-1"] not in setting.held().values()
        assert orders.operations == ()


def begun() -> Setting:
    """A stack of 2, where `increase 2` timed out while its servers booted."""
    setting = servers(2)
    setting.cloud.boot_s = 900
    options = replace(named("increase 2 --group worker"), wait=False)
    assert setting.run(Demand(by={"worker": 2}), options).outcome is Outcome.UNCONFIRMED
    setting.clock.passed += 300
    setting.cloud.boot_s = 8
    return setting


def test_a_repeat_says_that_it_goes_on_and_new_begins_afresh() -> None:
    setting = begun()
    anew = replace(named("increase 2 --group worker"), anew=True, wait=False)
    again = replace(anew, anew=False)
    setting.run(Demand(by={"worker": 2}), again)
    assert len(setting.owned) == 4
    assert "`increase 2 --group worker` of" in setting.progress.warnings[0]
    setting.run(Demand(by={"worker": 2}), anew)
    assert len(setting.owned) == 6


def test_another_command_that_concludes_ends_it_and_one_that_does_not_leaves_it() -> None:
    setting = begun()
    setting.run(Demand(by={"worker": 1}), replace(named("increase 1 --group worker"), wait=False))
    assert len(setting.owned) == 5
    assert setting.stack.saved.orders
    assert [one.command[:10] for one in setting.stack.saved.orders.operations] == ["increase 2", "increase 1"]
    setting.clock.passed += 900
    setting.ensure(5)
    assert not setting.stack.saved.orders.operations
    setting.run(Demand(by={"worker": 2}), named("increase 2 --group worker"))
    assert len(setting.owned) == 7


def test_a_later_server_of_the_same_name_is_not_the_one_that_was_meant() -> None:
    setting = servers(1)
    assert setting.stack.saved.orders
    left = NamedOperation(
        command="replace prod-worker-1", since=START, counts={"worker": 1}, renew={"prod-worker-1": "an earlier one"}
    )
    setting.stack.saved = replace(
        setting.stack.saved, orders=replace(setting.stack.saved.orders, operations=(left,), serial=9)
    )
    before = setting.held()
    result = setting.run(Demand(renew=frozenset({"prod-worker-1"})), named("replace prod-worker-1"))
    assert (result.outcome, taken(result), setting.held()) == (Outcome.CONVERGED, [], before)


# ---------------------------------------------------------------------------------------------
# Orders given while a run waits; W17


def approve_after(happening: Callable[[], object]) -> Options:
    """A run that meanwhile waits at its question."""

    def approve(_plan: object) -> bool:
        happening()
        return True

    return Options(approve=approve)


def test_protection_from_elsewhere_wins_over_a_plan_that_was_agreed_to() -> None:
    setting = servers(3)
    there = elsewhere(setting)

    def protect_newest() -> None:
        protect(there.spec, ["prod-worker-3"], there.around, protected=True)

    result = setting.run(Demand({"worker": 2}), approve_after(protect_newest))
    assert result.outcome is Outcome.CONVERGED
    assert setting.owned == ["prod-worker-1", "prod-worker-3"]
    assert setting.records.servers["prod-worker-3"].protected


def test_the_time_of_an_answer_is_none_of_the_run_s() -> None:
    setting = servers(1)
    options = approve_after(lambda: setting.clock.sleep(3600))
    result = setting.run(Demand({"worker": 2}), replace(options, timeout=timedelta(minutes=10)))
    assert (result.outcome, result.groups["worker"].ready) == (Outcome.CONVERGED, 2)
    assert result.elapsed < timedelta(minutes=10)


def test_a_server_protected_meanwhile_is_not_replaced() -> None:
    setting = servers(2)
    there = elsewhere(setting)
    options = approve_after(lambda: protect(there.spec, ["prod-worker-1"], there.around, protected=True))
    before = setting.held()
    with pytest.raises(RefusedError, match="prod-worker-1 is protected"):
        setting.run(Demand(renew=frozenset({"prod-worker-1"})), options)
    assert setting.held() == before


def test_counts_that_others_want_meanwhile_are_what_a_relative_one_adds_to() -> None:
    setting = servers(2)
    there = elsewhere(setting)
    options = replace(approve_after(lambda: there.ensure(4)), command="increase 1 --group worker")
    setting.run(Demand(by={"worker": 1}), options)
    assert len(setting.ready) == 5


@pytest.mark.parametrize("happening", ["pause", "count"])
def test_autoscaling_stops_when_a_person_asks_for_something_meanwhile(happening: str) -> None:
    setting = servers(2)
    there = elsewhere(setting)
    if happening == "pause":
        setting.stack.moves.append(lambda: pause(there.spec, there.around))
    else:
        setting.stack.moves.append(lambda: there.ensure(4))
    with pytest.raises(StalePlanError):
        setting.run(Demand({"worker": 6}), Options(yields=True))
    assert len(setting.owned) == (2 if happening == "pause" else 4)


def test_a_state_file_older_than_the_stack_is_named_and_what_is_shared_counts() -> None:
    setting = servers(3)
    there = elsewhere(setting)
    there.run(Demand(by={"worker": 1}))
    setting.run(Demand(by={"worker": 1}))
    assert any("another machine has changed the stack" in note for note in setting.progress.notes)
    assert len(setting.owned) == 5
    setting.progress.notes.clear()
    setting.run(Demand(by={"worker": 1}))
    assert not any("another machine" in note for note in setting.progress.notes)


def test_what_is_shared_costs_no_engine_process_more() -> None:
    setting = servers(2)
    setting.ensure(2)
    assert setting.stack.processes == 0
    setting.ensure(3)
    assert setting.stack.processes == 2


# ---------------------------------------------------------------------------------------------
# Only a demand for the whole stack removes the servers of a group that the spec has no more; W10


@pytest.mark.parametrize(
    ("demand", "count"),
    [
        (Demand(by={"worker": 1}), 3),
        (Demand(by={"worker": -1}), 1),
        (Demand(renew=frozenset({"prod-worker-1"})), 2),
        (Demand(remove=frozenset({"prod-worker-1"})), 1),
    ],
    ids=["increase", "decrease", "replace", "stop"],
)
def test_servers_of_a_removed_group_stay_when_others_are_changed(demand: Demand, count: int) -> None:
    setting = Setting(spec(group("worker", 0), group("old", 0))).with_servers(worker=2, old=2)
    setting.spec = replace(setting.spec, groups={"worker": setting.spec.groups["worker"]})
    assert setting.run(demand).outcome is Outcome.CONVERGED, setting.progress.warnings
    assert [name for name in setting.ready if "old" in name] == ["prod-old-1", "prod-old-2"]
    assert len(setting.ready) == count + 2
    setting.ensure(count)
    assert len(setting.ready) == len(setting.owned) == count
