"""Demands about servers by name, and reboots, on a cloud and a stack in memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from scaler.clouds import AmbiguousError, BusyError, InvalidError, TransientError
from scaler.converge.demand import Demand, Options
from scaler.converge.operate import orphans, protect, reboot
from scaler.errors import LimitError, RefusedError, UsageError
from scaler.model import Outcome, Readiness, StepResult
from scaler.model.events import EventName
from scaler.model.lifecycle import Status
from tests.support.fakes import Setting, group, spec, taken


def three() -> Setting:
    return Setting(spec(group("worker", 0))).with_servers(worker=3)


def remove(*names: str) -> Demand:
    return Demand(remove=frozenset(names))


def renew(*names: str) -> Demand:
    return Demand(renew=frozenset(names))


def reboots(setting: Setting) -> list[str]:
    """The ids of the machines that were asked to reboot, one for each time."""
    return [about for operation, about in setting.cloud.calls if operation == "reboot"]


# ---------------------------------------------------------------------------------------------
# Removing and replacing by name


def test_exactly_the_named_server_goes_though_another_would_go_first() -> None:
    setting = three()
    result = setting.run(remove("prod-worker-1"))
    assert taken(result) == [("delete", "prod-worker-1")]
    assert (result.outcome, setting.owned) == (Outcome.CONVERGED, ["prod-worker-2", "prod-worker-3"])
    assert setting.is_in_order()


def test_what_is_off_or_hangs_is_left_alone() -> None:
    setting = three()
    setting.cloud.named("prod-worker-3").off = True
    assert taken(setting.run(remove("prod-worker-1"))) == [("delete", "prod-worker-1")]
    assert taken(setting.run(renew("prod-worker-2"))) == [("create", "prod-worker-1"), ("delete", "prod-worker-2")]
    assert setting.owned == ["prod-worker-1", "prod-worker-3"]


def test_one_that_is_off_can_be_replaced() -> None:
    setting = three()
    setting.cloud.named("prod-worker-3").off = True
    setting.run(renew("prod-worker-3"))
    assert setting.ready == ["prod-worker-1", "prod-worker-2", "prod-worker-4"]
    assert setting.owned == setting.ready


@pytest.mark.parametrize("demand", [remove("prod-worker-2"), renew("prod-worker-2")])
@pytest.mark.parametrize("by", ["spec", "command"])
def test_a_protected_server_is_neither_removed_nor_replaced_nor_another_in_its_place(demand: Demand, by: str) -> None:
    setting = three()
    if by == "spec":
        setting.spec = spec(group("worker", 0, protect=frozenset({"prod-worker-2"})))
    else:
        protect(setting.spec, ["prod-worker-2"], setting.around, protected=True)
    setting.cloud.calls.clear()
    with pytest.raises(RefusedError, match="prod-worker-2 is protected"):
        setting.run(demand)
    assert setting.cloud.changes() == []


def test_others_were_quicker_and_the_named_one_is_gone_so_nothing_else_goes() -> None:
    setting = three()
    setting.stack.moves = [lambda: setting.cloud.remove("prod-worker-2")]
    setting.run(remove("prod-worker-2"))
    assert setting.owned == ["prod-worker-1", "prod-worker-3"]


def test_a_relative_count_is_so_to_what_others_left() -> None:
    setting = three()
    setting.stack.moves = [lambda: setting.cloud.remove("prod-worker-3")]
    setting.run(Demand(by={"worker": 1}))
    assert len(setting.ready) == 3
    setting.stack.moves = [lambda: setting.cloud.remove("prod-worker-1")]
    setting.run(Demand(by={"worker": -1}))
    assert len(setting.ready) == 1


def test_fewer_of_too_many_are_allowed_and_more_are_not() -> None:
    setting = three()
    setting.spec = spec(group("worker", 0, max=1), limit=1)
    with pytest.raises(LimitError):
        setting.run(Demand(by={"worker": 1}))
    setting.run(Demand(by={"worker": -1}))
    assert len(setting.ready) == 2
    with pytest.raises(LimitError):
        setting.ensure(2)


def test_orphans_are_adopted_and_nothing_else_is_done() -> None:
    setting = three()
    setting.cloud.named("prod-worker-3").off = True
    setting.cloud.add("prod-worker-7", setting.label())
    assert [server.name for server in orphans(setting.spec, setting.around)] == ["prod-worker-7"]
    assert taken(setting.run(Demand())) == [("adopt", "prod-worker-7")]
    assert "prod-worker-7" in setting.held()
    assert orphans(setting.spec, setting.around) == ()


# ---------------------------------------------------------------------------------------------
# Rebooting


@pytest.mark.acceptance("P15")
def test_reboot_and_wait() -> None:
    setting = three()
    result = reboot(setting.spec, setting.around, names=["prod-worker-2"])
    assert (result.outcome, taken(result)) == (Outcome.CONVERGED, [("reboot", "prod-worker-2")])
    assert len(reboots(setting)) == 1
    assert [event.event for event in setting.records.events[-2:]] == [EventName.REBOOTING, EventName.RUNNING]
    assert setting.records.events[-2].reason == "it was asked to be rebooted"


@pytest.mark.acceptance("P15")
@pytest.mark.parametrize(("count", "most"), [(3, 1), (8, 2)])
def test_of_a_group_at_most_a_quarter_is_away_at_a_time(count: int, most: int) -> None:
    setting = Setting(spec(group(count=count))).with_servers(worker=count)
    away: list[int] = []

    def count_away() -> None:
        now = setting.clock.monotonic()
        away.append(sum((box.ready or 0) > now for box in setting.cloud.boxes.values()))

    setting.clock.on_tick = count_away
    result = reboot(setting.spec, setting.around, group="worker")
    assert (result.outcome, len(reboots(setting)), max(away)) == (Outcome.CONVERGED, count, most)
    assert len(set(reboots(setting))) == count
    assert setting.records.given is not None
    assert setting.records.given.operations == ()


def test_all_of_a_group_at_once_when_asked_for() -> None:
    setting = three()
    reboot(setting.spec, setting.around, group="worker", at_once=True, wait=False)
    assert len(reboots(setting)) == 3


@pytest.mark.parametrize("again", [True, False], ids=["the same command", "ensure"])
def test_what_goes_on_with_the_reboot_of_a_group_reboots_none_twice(again: bool) -> None:
    setting = Setting(spec(group(count=8))).with_servers(worker=8)
    reboot(setting.spec, setting.around, group="worker", wait=False)
    assert len(reboots(setting)) == 2
    if again:
        result = reboot(setting.spec, setting.around, group="worker")
        assert "goes on with it: 8 of 8 servers are left" in setting.progress.warnings[-1]
    else:
        result = setting.ensure(8)
    assert result.outcome is Outcome.CONVERGED
    assert sorted(reboots(setting)) == sorted(setting.cloud.boxes)
    # One that has finished is no reason not to begin another.
    reboot(setting.spec, setting.around, group="worker")
    assert len(reboots(setting)) == 16


@pytest.mark.parametrize("again", [True, False], ids=["the same command", "ensure"])
def test_a_reboot_of_a_group_ends_with_its_time_and_the_next_run_goes_on(again: bool) -> None:
    setting = Setting(spec(group(count=8))).with_servers(worker=8)
    setting.cloud.boot_s = 100
    result = reboot(setting.spec, setting.around, group="worker", timeout=timedelta(seconds=150))
    # Two are back, two are on their way, and four have not begun.
    assert (result.outcome, result.failures, len(reboots(setting))) == (Outcome.UNCONFIRMED, (), 4)
    assert Counter(report.result for report in result.steps) == {StepResult.DONE: 2, StepResult.PENDING: 6}
    assert setting.clock.passed < 170
    assert any("the time is up (2m30s)" in warning for warning in setting.progress.warnings)
    # The two that are on their way have their own deadline: the next run waits for them.
    longer = timedelta(hours=1)
    if again:
        result = reboot(setting.spec, setting.around, group="worker", timeout=longer)
    else:
        result = setting.ensure(8, options=Options(timeout=longer))
    assert (result.outcome, len(setting.ready)) == (Outcome.CONVERGED, 8)
    assert sorted(reboots(setting)) == sorted(setting.cloud.boxes), "each once"
    assert {operation for operation, _ in setting.cloud.changes()} == {"reboot"}, "none is replaced"


def test_when_one_does_not_come_back_the_rest_of_its_group_is_spared() -> None:
    setting = Setting(spec(group(count=4, ready=Readiness(kind="tcp", port=22)))).with_servers(worker=4)
    setting.readiness.failing = set(setting.ready)
    result = reboot(setting.spec, setting.around, group="worker", timeout=timedelta(hours=1))
    assert (result.outcome, len(reboots(setting))) == (Outcome.FAILED, 1)
    assert [getattr(failure, "code", None) for failure in result.failures] == ["reboot_stopped"] * 3
    assert not any(server.reboot_asked for server in setting.records.servers.values())


@pytest.mark.acceptance("P16")
def test_twice_in_a_row_is_two_reboots_one_after_the_other() -> None:
    setting = three()
    for asked in (False, True, True):
        reboot(setting.spec, setting.around, names=["prod-worker-1"], wait=False)
        record = setting.records.servers["prod-worker-1"]
        assert (record.status, record.reboot_asked) == (Status.REBOOTING, asked)
    assert len(reboots(setting)) == 1
    assert setting.ensure(3).outcome is Outcome.CONVERGED
    assert len(reboots(setting)) == 2
    assert setting.records.servers["prod-worker-1"].reboot_asked is False
    assert setting.ensure(3).outcome is Outcome.UNCHANGED


@pytest.mark.parametrize("error", [TransientError("later"), BusyError("busy"), AmbiguousError("no answer")])
def test_after_a_passing_trouble_the_reboot_is_done_all_the_same(error: Exception) -> None:
    setting = three()
    setting.cloud.faults["reboot"] = [error]
    result = reboot(setting.spec, setting.around, names=["prod-worker-1"])
    assert result.outcome is Outcome.CONVERGED
    assert len(reboots(setting)) == 2


@pytest.mark.acceptance("Q06")
def test_a_reboot_that_is_refused_for_good_is_told_once() -> None:
    setting = three()
    setting.cloud.faults["reboot"] = [InvalidError("not this one", why="422")]
    result = reboot(setting.spec, setting.around, names=["prod-worker-1"])
    assert result.outcome is Outcome.FAILED
    assert [str(failure) for failure in result.failures] == ["not this one (422)"]
    errored = [event for event in setting.records.events if event.event == EventName.ERRORED]
    assert [event.reason for event in errored] == ["not this one (422)"]
    # It runs, and is asked no more.
    assert setting.ensure(3).outcome is Outcome.UNCHANGED
    assert len(reboots(setting)) == 1


@pytest.mark.acceptance("Q06")
def test_a_due_reboot_that_is_refused_fails_the_run_that_tried_it() -> None:
    setting = three()
    setting.records.servers["prod-worker-1"] = replace(setting.records.servers["prod-worker-1"], reboot_asked=True)
    setting.cloud.faults["reboot"] = [InvalidError("not this one", why="422")]
    assert setting.ensure(3).outcome is Outcome.FAILED
    assert setting.ensure(3).outcome is Outcome.UNCHANGED


def test_a_server_whose_reboot_was_never_possible_is_not_called_hanging() -> None:
    setting = three()
    setting.cloud.faults["reboot"] = [BusyError("busy") for _ in range(2000)]
    result = reboot(setting.spec, setting.around, names=["prod-worker-1"])
    assert result.outcome is Outcome.UNCONFIRMED
    record = setting.records.servers["prod-worker-1"]
    assert (record.status, record.reboot_asked) == (Status.RUNNING, True)
    setting.cloud.faults["reboot"] = []
    assert setting.ensure(3).outcome is Outcome.CONVERGED


@pytest.mark.acceptance("Q13")
def test_one_that_does_not_run_stops_all_before_anything_is_done() -> None:
    setting = three()
    setting.cloud.named("prod-worker-2").off = True
    with pytest.raises(UsageError, match=r"prod-worker-2 cannot be rebooted: it is stopped"):
        reboot(setting.spec, setting.around, names=["prod-worker-1", "prod-worker-2"])
    with pytest.raises(UsageError, match=r"prod-worker-2 cannot be stopped: it is stopped"):
        setting.run(remove("prod-worker-1", "prod-worker-2"))
    assert setting.cloud.changes() == []
    # When all are meant, it is only told.
    assert len(taken(reboot(setting.spec, setting.around))) == 2
    assert any("prod-worker-2 is stopped" in note for note in setting.progress.notes)


def test_a_question_that_is_declined_changes_nothing() -> None:
    setting = three()
    result = reboot(setting.spec, setting.around, approve=lambda servers: False)
    assert (result.outcome, setting.cloud.changes()) == (Outcome.UNCHANGED, [])


def test_the_time_of_an_answer_is_not_taken_from_a_reboot() -> None:
    setting = three()

    def after_an_hour(_servers: object) -> bool:
        setting.clock.sleep(3600)
        return True

    result = reboot(setting.spec, setting.around, approve=after_an_hour, timeout=timedelta(minutes=10))
    assert result.outcome is Outcome.CONVERGED
    assert result.elapsed < timedelta(minutes=10)


# ---------------------------------------------------------------------------------------------
# Protection


def test_protection_is_the_stack_s_whatever_an_older_file_says() -> None:
    setting = three()
    before = dict(setting.records.servers)
    protect(setting.spec, ["prod-worker-3"], setting.around, protected=True)
    # Another machine's file does not know of it.
    setting.records.servers = before
    setting.ensure(2)
    assert setting.owned == ["prod-worker-1", "prod-worker-3"]
    protect(setting.spec, ["prod-worker-3"], setting.around, protected=False)
    setting.ensure(1)
    assert setting.owned == ["prod-worker-1"]


def test_what_the_spec_protects_cannot_be_unprotected() -> None:
    setting = three()
    setting.spec = spec(group("worker", 0, protect=frozenset({"prod-worker-1"})))
    with pytest.raises(UsageError, match="protected by the spec"):
        protect(setting.spec, ["prod-worker-1"], setting.around, protected=False)


# ---------------------------------------------------------------------------------------------
# What stays wanted beside those that are named


def one_hangs(spoil: str = "hangs") -> Setting:
    """Three servers are wanted; the third is no supply."""
    setting = three()
    assert setting.records.counts == {"worker": 3}
    box = setting.cloud.named("prod-worker-3")
    if spoil == "off":
        box.off = True
    elif spoil == "hangs":
        records = setting.records.servers
        records[box.name] = records[box.name].become(Status.HANGING, setting.clock.now(), "it hangs")
        box.ready = None
    else:
        setting.cloud.remove(box.name)
    return setting


@pytest.mark.parametrize("spoil", ["hangs", "off"])
@pytest.mark.parametrize(
    ("demand", "count"), [(renew("prod-worker-1"), 3), (remove("prod-worker-1"), 2), (Demand(), 3)]
)
def test_a_server_that_is_left_alone_stays_wanted(demand: Demand, count: int, spoil: str) -> None:
    setting = one_hangs(spoil)
    setting.run(demand)
    assert "prod-worker-3" in setting.owned, "it is left as it is"
    assert setting.records.counts == {"worker": count}
    setting.run(Demand(as_wanted=True))
    assert len(setting.ready) == len(setting.owned) == count


def test_one_that_was_lost_is_still_wanted_after_another_was_replaced() -> None:
    setting = one_hangs("lost")
    setting.run(renew("prod-worker-1"), Options(accept_loss=True))
    assert setting.records.counts == {"worker": 3}


def test_a_relative_count_of_one_group_leaves_the_others_as_they_are() -> None:
    setting = one_hangs()
    setting.spec = spec(group("worker", 0), group("web", 0))
    setting.run(Demand(by={"web": 1}))
    assert "prod-worker-3" in setting.owned, "not deleted without a successor"
    assert setting.records.counts == {"worker": 3, "web": 1}


def test_a_demand_that_is_resolved_twice_takes_its_server_from_the_count_once() -> None:
    setting = one_hangs()
    setting.stack.moves = [lambda: setting.cloud.remove("prod-worker-2")]
    setting.run(remove("prod-worker-1"), Options(accept_loss=True))
    assert setting.stack.moves == []
    assert setting.records.counts == {"worker": 2}


def test_one_that_recovers_while_it_is_left_alone_is_no_reason_to_fail() -> None:
    setting = one_hangs()
    setting.cloud.named("prod-worker-3").ready = setting.clock.monotonic() + 2
    result = setting.run(renew("prod-worker-1"), Options(command="replace prod-worker-1"))
    assert result.outcome is Outcome.CONVERGED
    assert len(setting.ready) == 3
    assert setting.records.given is not None
    assert setting.records.given.operations == ()
