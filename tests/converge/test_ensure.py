"""The run on a cloud and a stack in memory: what exists afterwards, and what it says of it."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from scaler.clouds import AuthError, BusyError, CloudError, InvalidError, TransientError
from scaler.converge.demand import Demand, Options
from scaler.converge.ensure import ensure
from scaler.converge.operate import look, refresh
from scaler.errors import EngineError, LockedError, RefusedError, StateError
from scaler.hooks.stopping import ServerStopper
from scaler.model import Action, Outcome, Plan, Preview, Readiness, StopPolicy
from scaler.model.lifecycle import Status
from tests.support.fakes import LOCATIONS, TYPES, Killed, Setting, engine_failure, group, passing, spec, taken

BOTH = pytest.mark.parametrize("name", ["worker", "other"])


def two_groups(**limits: int) -> Setting:
    return Setting(spec(group("worker", 0), group("other", 0), **limits))


def status(setting: Setting, name: str) -> Status:
    return setting.records.servers[name].status


# ---------------------------------------------------------------------------------------------
# Counts


@pytest.mark.acceptance("P01")
@BOTH
def test_increased_by_one_from_nothing_there_is_one(name: str) -> None:
    setting = two_groups()
    result = setting.run(Demand(by={name: 1}))
    assert (result.outcome, setting.ready) == (Outcome.CONVERGED, [f"prod-{name}-1"])


@pytest.mark.acceptance("P02")
@BOTH
def test_increased_by_three_from_nothing_there_are_three(name: str) -> None:
    setting = two_groups()
    setting.run(Demand(by={name: 3}))
    assert setting.ready == [f"prod-{name}-{number}" for number in (1, 2, 3)]


@pytest.mark.acceptance("P03", "P04", "P05")
@BOTH
@pytest.mark.parametrize(("by", "left"), [(1, 2), (2, 1), (6, 0)], ids=["p03-by-1", "p04-by-2", "p05-by-more"])
def test_decreased_never_below_nought(name: str, by: int, left: int) -> None:
    setting = two_groups().with_servers(**{name: 3})
    result = setting.run(Demand(by={name: -by}))
    assert result.outcome is Outcome.CONVERGED
    assert setting.ready == setting.owned == [f"prod-{name}-{number}" for number in range(1, left + 1)]


@pytest.mark.acceptance("P06")
@BOTH
def test_ensure_same_more_and_fewer(name: str) -> None:
    setting = two_groups().with_servers(**{name: 3})
    assert setting.ensure(**{name: 3}).outcome is Outcome.UNCHANGED
    assert setting.cloud.changes() == []
    assert setting.ensure(**{name: 5}).outcome is Outcome.CONVERGED
    assert len(setting.ready) == 5
    assert setting.ensure(**{name: 2}).outcome is Outcome.CONVERGED
    assert setting.ready == setting.owned == [f"prod-{name}-1", f"prod-{name}-2"]


@pytest.mark.acceptance("P07", "Q14")
def test_groups_do_not_touch_each_other() -> None:
    setting = two_groups().with_servers(worker=3, other=3)
    setting.ensure(worker=1, other=3)
    assert setting.ready == ["prod-other-1", "prod-other-2", "prod-other-3", "prod-worker-1"]
    setting.ensure(worker=1, other=2)
    assert setting.ready == ["prod-other-1", "prod-other-2", "prod-worker-1"]


@pytest.mark.acceptance("P26")
def test_names_are_the_lowest_free_numbers() -> None:
    setting = Setting().with_servers(worker=3)
    setting.cloud.remove("prod-worker-2")
    result = setting.ensure(4)
    assert sorted(step for step in taken(result) if step[0] == "create") == [
        ("create", "prod-worker-2"),
        ("create", "prod-worker-4"),
    ]
    assert len(setting.ready) == 4
    assert setting.is_in_order()


@pytest.mark.acceptance("P24", "P25")
def test_a_new_server_is_of_its_group_and_recorded_as_new_before_the_cloud_is_asked() -> None:
    setting = two_groups()
    setting.fuse.left = 4  # dies in the first create request
    with pytest.raises(Killed):
        setting.ensure(other=1)
    record = setting.records.servers["prod-other-1"]
    assert (record.group, record.status, record.id) == ("other", Status.NEW, None)


@pytest.mark.acceptance("P27")
def test_the_request_is_made_for_the_final_name() -> None:
    setting = Setting(spec(group(count=0, labels={"role": "worker"})))
    setting.cloud.add("prod-worker-1", setting.label())
    setting.ensure(2)
    made = setting.cloud.named("prod-worker-2")
    assert made.labels == {"role": "worker", **setting.label()}
    assert (made.type, made.location, made.image) == (TYPES[0], LOCATIONS[0], "100")


@pytest.mark.acceptance("R01")
def test_by_nothing_changes_nothing() -> None:
    setting = Setting().with_servers(worker=2)
    assert setting.run(Demand(by={"worker": 0})).outcome is Outcome.UNCHANGED
    assert setting.cloud.changes() == []


@pytest.mark.acceptance("R05")
def test_starting_servers_go_too() -> None:
    setting = Setting()
    setting.ensure(2, options=Options(wait=False))
    assert setting.ready == []
    assert setting.ensure(0).outcome is Outcome.CONVERGED
    assert setting.owned == []
    assert setting.is_in_order()


# ---------------------------------------------------------------------------------------------
# How many serve meanwhile


def fewest_ready(setting: Setting) -> list[int]:
    """The least number of servers that served at any moment from now on."""
    least = [len(setting.ready)]

    def count() -> None:
        least[0] = min(least[0], len(setting.ready))

    setting.cloud.on_change = count
    setting.clock.on_tick = count
    return least


@pytest.mark.acceptance("R04")
def test_starting_servers_go_before_ready_ones() -> None:
    setting = Setting().with_servers(worker=3)
    setting.ensure(5, options=Options(wait=False))
    least = fewest_ready(setting)
    setting.ensure(1)
    assert len(setting.owned) == 1
    assert least[0] >= 1


@pytest.mark.acceptance("R04")
def test_with_three_wanted_no_ready_server_is_touched() -> None:
    setting = Setting().with_servers(worker=3)
    setting.ensure(5, options=Options(wait=False))
    least = fewest_ready(setting)
    result = setting.ensure(3)
    assert least[0] == 3
    assert set(taken(result)) == {("delete", "prod-worker-4"), ("delete", "prod-worker-5")}


def test_a_renewed_server_goes_when_the_new_one_is_ready() -> None:
    setting = Setting().with_servers(worker=2)
    least = fewest_ready(setting)
    result = setting.run(Demand(renew=frozenset({"prod-worker-1"})))
    assert result.outcome is Outcome.CONVERGED
    assert setting.ready == ["prod-worker-2", "prod-worker-3"]
    assert least[0] == 2


def test_the_first_phase_is_confirmed_before_the_second_begins() -> None:
    setting = two_groups().with_servers(worker=2)
    setting.ensure(worker=1, other=1)
    deleted = setting.cloud.calls.index(("delete", setting.records.servers["prod-worker-2"].id or ""))
    looks = [call for call in setting.cloud.calls[:deleted] if call[0] == "list"]
    assert setting.cloud.calls.index(("create", "prod-other-1")) < deleted
    assert len(looks) >= setting.cloud.boot_s


# ---------------------------------------------------------------------------------------------
# Preview


@pytest.mark.acceptance("S01")
@pytest.mark.parametrize("wanted", [0, 1, 3, 5])
def test_the_previewed_steps_are_the_steps_taken(wanted: int) -> None:
    setting = Setting(spec(group(labels={"role": "worker"}))).with_servers(worker=4)
    setting.cloud.remove("prod-worker-1")
    setting.cloud.named("prod-worker-3").off = True
    setting.cloud.named("prod-worker-4").labels["note"] = "by hand"
    setting.cloud.add("prod-worker-9", {**setting.label(), "stray": "yes"}, age_s=9999)
    before = setting.cloud.changes()
    previewed = setting.ensure(wanted, options=Options(apply=False))
    assert previewed.outcome is Outcome.PLANNED
    assert setting.cloud.changes() == before
    result = setting.ensure(wanted)
    assert result.outcome is Outcome.CONVERGED
    assert sorted(taken(result)) == sorted(taken(previewed))
    assert setting.is_in_order()


def test_a_person_who_says_no_changes_nothing() -> None:
    setting = Setting()
    shown: list[Plan] = []

    def refuse(plan: Plan) -> bool:
        shown.append(plan)
        return False

    assert setting.ensure(2, options=Options(approve=refuse)).outcome is Outcome.PLANNED
    assert [step.server for step in shown[0].steps] == ["prod-worker-1", "prod-worker-2"]
    assert setting.cloud.changes() == []
    assert setting.records.servers == {}


def test_nothing_to_do_starts_no_engine_and_lists_once() -> None:
    setting = Setting().with_servers(worker=3)
    assert setting.ensure(3).outcome is Outcome.UNCHANGED
    assert setting.stack.processes == 0
    assert setting.cloud.calls == [("list", "")]


def test_a_preview_that_differs_from_the_plan_stops_the_run() -> None:
    setting = Setting()
    shown = Preview(operations={"prod-worker-1": "delete"})
    setting.stack.preview = lambda change, packs: shown  # type: ignore[method-assign]
    with pytest.raises(EngineError, match="something else than the plan"):
        setting.ensure(1, options=Options(approve=lambda plan: True))
    assert setting.cloud.changes() == []


# ---------------------------------------------------------------------------------------------
# Drift


@pytest.mark.acceptance("R06", "S02")
def test_a_server_removed_by_hand_is_named_and_replaced() -> None:
    setting = Setting().with_servers(worker=3)
    setting.cloud.remove("prod-worker-2")
    result = setting.ensure(3)
    assert result.drift == ("prod-worker-2 (2) is gone from the cloud",)
    assert taken(result) == [("forget", "prod-worker-2"), ("create", "prod-worker-2")]
    assert len(setting.ready) == 3
    assert setting.is_in_order()
    vanished = [event for event in setting.records.events if event.event == "server.vanished"]
    assert [(event.server, event.reason) for event in vanished] == [("prod-worker-2", "it is gone from the cloud")]


@pytest.mark.acceptance("S02")
def test_a_server_that_is_off_is_powered_on() -> None:
    setting = Setting().with_servers(worker=2)
    setting.cloud.named("prod-worker-1").off = True
    result = setting.ensure(2)
    assert result.drift == ("prod-worker-1 (1) was running and is off",)
    assert taken(result) == [("power_on", "prod-worker-1")]
    assert (result.outcome, len(setting.ready)) == (Outcome.CONVERGED, 2)


@pytest.mark.acceptance("S02")
def test_a_server_that_cannot_be_powered_on_is_replaced() -> None:
    setting = Setting().with_servers(worker=2)
    setting.cloud.named("prod-worker-1").off = True
    setting.cloud.faults["power_on"] = [CloudError("no", why="server_error")]
    result = setting.ensure(2)
    assert result.outcome is Outcome.CONVERGED
    assert setting.ready == setting.owned == ["prod-worker-2", "prod-worker-3"]
    assert ("delete", "prod-worker-1") in taken(result)


@pytest.mark.acceptance("R09")
@pytest.mark.parametrize("error", [*passing(1), BusyError("locked")])
def test_a_passing_trouble_at_power_on_costs_no_server(error: CloudError) -> None:
    setting = Setting().with_servers(worker=2)
    setting.cloud.named("prod-worker-1").off = True
    setting.cloud.faults["power_on"] = [error]
    result = setting.ensure(2)
    assert (result.outcome, taken(result)) == (Outcome.CONVERGED, [("power_on", "prod-worker-1")])
    assert setting.ready == ["prod-worker-1", "prod-worker-2"]


@pytest.mark.acceptance("S02")
def test_a_server_off_and_not_needed_is_deleted() -> None:
    setting = Setting().with_servers(worker=3)
    setting.cloud.named("prod-worker-1").off = True
    result = setting.ensure(2)
    assert taken(result) == [("delete", "prod-worker-1")]


@pytest.mark.acceptance("S02")
def test_a_relabelled_server_is_forgotten_and_never_deleted() -> None:
    setting = Setting().with_servers(worker=2)
    lost = setting.cloud.named("prod-worker-1")
    lost.labels["scaler-stack"] = "other"
    result = setting.ensure(2)
    assert result.outcome is Outcome.CONVERGED
    assert lost.id in setting.cloud.boxes
    assert setting.ready == ["prod-worker-2", "prod-worker-3"]
    assert not [call for call in setting.cloud.calls if call[0] == "delete"]
    assert setting.ensure(0).outcome is Outcome.CONVERGED
    assert lost.id in setting.cloud.boxes
    assert setting.owned == []


@pytest.mark.acceptance("S02")
def test_a_label_added_by_hand_is_taken_off() -> None:
    setting = Setting().with_servers(worker=2)
    setting.cloud.named("prod-worker-1").labels["note"] = "by hand"
    assert taken(setting.ensure(2)) == [("update", "prod-worker-1")]
    assert setting.cloud.named("prod-worker-1").labels == setting.label()
    assert setting.ensure(2).outcome is Outcome.UNCHANGED


def test_a_server_powered_on_by_hand_while_it_was_known_to_be_off() -> None:
    setting = Setting().with_servers(worker=2)
    box = setting.cloud.named("prod-worker-1")
    box.off = True
    look(setting.spec, setting.around)
    assert status(setting, "prod-worker-1") is Status.STOPPED
    box.off, box.ready = False, setting.clock.monotonic() + 5
    assert setting.ensure(2).outcome is Outcome.CONVERGED
    assert setting.ready == ["prod-worker-1", "prod-worker-2"]


def test_a_server_whose_labels_come_back_is_ours_again() -> None:
    setting = Setting().with_servers(worker=2)
    box = setting.cloud.named("prod-worker-1")
    box.labels["scaler-stack"] = "other"
    setting.ensure(1)
    box.labels["scaler-stack"] = "prod"
    result = setting.ensure(2)
    assert (result.outcome, taken(result)) == (Outcome.CONVERGED, [("adopt", "prod-worker-1")])
    assert setting.is_in_order()


# ---------------------------------------------------------------------------------------------
# What is not ours


@pytest.mark.acceptance("Q16", "S03")
@pytest.mark.parametrize("everything", [False, True], ids=["ensure", "destroy"])
def test_servers_of_others_are_untouched(everything: bool) -> None:
    setting = Setting()
    foreign = [
        setting.cloud.add("prod-worker-7", {}),
        setting.cloud.add("prod-worker-8", {"managed-by": "scaler", "scaler-stack": "prod"}),
        setting.cloud.add("prod-worker-9", {**setting.label(), "scaler-project": "another"}),
    ]
    before = [dict(vars(box)) for box in foreign]
    setting.with_servers(worker=3)
    setting.ensure(0, options=Options(everything=everything))
    assert setting.owned == []
    assert [dict(vars(setting.cloud.boxes[box.id])) for box in foreign] == before


def test_a_name_that_a_foreign_server_has_is_passed_over() -> None:
    setting = Setting()
    setting.cloud.add("prod-worker-1", {})
    setting.cloud.add("prod-worker-2", {})
    result = setting.ensure(2)
    assert result.outcome is Outcome.CONVERGED
    assert setting.ready == ["prod-worker-3", "prod-worker-4"]
    assert setting.is_in_order()
    assert "errored" not in {str(server.status) for server in result.servers}


# ---------------------------------------------------------------------------------------------
# Orphans


def test_an_orphan_that_is_needed_is_adopted() -> None:
    setting = Setting().with_servers(worker=1)
    setting.cloud.add("prod-worker-5", setting.label())
    result = setting.ensure(2)
    assert taken(result) == [("adopt", "prod-worker-5")]
    assert setting.held() == {"prod-worker-1": "1", "prod-worker-5": "2"}
    assert setting.is_in_order()


@pytest.mark.parametrize("age_s", [10.0, 99999.0], ids=["newest", "oldest"])
def test_an_orphan_that_is_not_needed_is_adopted_and_removed_before_others(age_s: float) -> None:
    setting = Setting().with_servers(worker=2)
    setting.clock.sleep(3600)
    setting.cloud.add("prod-worker-5", setting.label(), age_s=age_s)
    result = setting.ensure(2)
    assert taken(result) == [("adopt", "prod-worker-5"), ("delete", "prod-worker-5")]
    assert setting.ready == setting.owned == ["prod-worker-1", "prod-worker-2"]


def test_duplicates_of_one_name_are_removed_but_one() -> None:
    setting = Setting()
    setting.cloud.unique_names = False
    for age_s in (500, 400, 300):
        setting.cloud.add("prod-worker-1", setting.label(), age_s=age_s)
    result = setting.ensure(1)
    assert result.outcome is Outcome.CONVERGED
    assert setting.held() == {"prod-worker-1": "1"}
    assert setting.owned == ["prod-worker-1"]


def test_a_duplicate_that_is_left_over_while_it_is_waited_for() -> None:
    setting = Setting()
    setting.cloud.unique_names = False
    elder = setting.cloud.add("prod-worker-1", setting.label(), ready=False, age_s=20)
    setting.cloud.add("prod-worker-1", setting.label(), ready=False, age_s=10)
    setting.clock.on_tick = lambda: setting.cloud.boxes.pop(elder.id, None)  # type: ignore[assignment, return-value]
    result = setting.ensure(1)
    assert result.outcome is Outcome.CONVERGED
    assert len(setting.ready) == 1


def test_a_vanished_server_whose_name_an_orphan_has() -> None:
    setting = Setting().with_servers(worker=1)
    setting.cloud.remove("prod-worker-1")
    setting.cloud.add("prod-worker-1", setting.label())
    result = setting.ensure(1)
    assert taken(result) == [("forget", "prod-worker-1"), ("adopt", "prod-worker-1")]
    assert setting.held() == {"prod-worker-1": "2"}
    assert setting.is_in_order()


# ---------------------------------------------------------------------------------------------
# Limits


@pytest.mark.acceptance("S08")
def test_more_than_the_limit_is_refused_before_anything_is_asked() -> None:
    setting = Setting(spec(group(), limit=3))
    with pytest.raises(RefusedError, match="1 above its limit of 3"):
        setting.ensure(4)
    assert setting.cloud.calls == []
    assert setting.ensure(3).outcome is Outcome.CONVERGED


def test_at_the_limit_what_goes_goes_first() -> None:
    setting = Setting(spec(group(), limit=3)).with_servers(worker=3)
    setting.cloud.named("prod-worker-1").ready = None  # it fell over, and never comes back
    setting.clock.sleep(3600)
    most = [len(setting.owned)]

    def count() -> None:
        most[0] = max(most[0], len(setting.owned))

    setting.cloud.on_change = count
    result = setting.ensure(3, options=Options(timeout=timedelta(hours=1)))
    assert result.outcome is Outcome.CONVERGED
    assert len(setting.ready) == 3
    assert most[0] == 3


def test_at_the_limit_dead_orphans_go_before_new_ones_come() -> None:
    setting = Setting(spec(group(), limit=3)).with_servers(worker=1)
    for number in (7, 8):
        setting.cloud.add(f"prod-worker-{number}", setting.label()).ready = None
    most = [0]

    def count() -> None:
        most[0] = max(most[0], len(setting.owned))

    setting.cloud.on_change = count
    result = setting.ensure(3)
    assert result.outcome is Outcome.CONVERGED
    assert setting.ready == ["prod-worker-1", "prod-worker-2", "prod-worker-3"]
    assert most[0] <= 3


@pytest.mark.acceptance("R12")
def test_at_the_limit_nothing_to_do_loses_nothing() -> None:
    setting = Setting(spec(group(), limit=3)).with_servers(worker=3)
    assert setting.ensure(3).outcome is Outcome.UNCHANGED
    assert len(setting.ready) == 3


def test_protected_servers_stay_and_a_count_that_needs_them_is_refused() -> None:
    setting = Setting(spec(group(protect=frozenset({"prod-worker-3"})))).with_servers(worker=3)
    assert setting.ensure(1).outcome is Outcome.CONVERGED
    assert setting.ready == ["prod-worker-3"]
    with pytest.raises(RefusedError, match="protected"):
        setting.ensure(0)
    assert setting.ready == ["prod-worker-3"]
    assert setting.ensure(0, options=Options(everything=True)).outcome is Outcome.CONVERGED
    assert setting.owned == []


def test_another_number_than_expected_is_refused() -> None:
    setting = Setting().with_servers(worker=2)
    with pytest.raises(RefusedError, match="has 2 servers, not the expected 3"):
        setting.ensure(4, options=Options(expect_current=3))
    assert setting.cloud.changes() == []


def test_servers_of_a_group_that_the_spec_no_longer_has_are_removed() -> None:
    setting = two_groups().with_servers(worker=1, other=2)
    setting.spec = spec(group("worker", 1))
    result = setting.ensure(worker=1)
    assert result.outcome is Outcome.CONVERGED
    assert setting.ready == setting.owned == ["prod-worker-1"]
    assert {report.step.reason for report in result.steps} == {"the spec has no group other any more"}


# ---------------------------------------------------------------------------------------------
# Refusals of the cloud


@pytest.mark.acceptance("S07")
def test_no_capacity_moves_on_to_the_next_placement() -> None:
    setting = Setting()
    setting.cloud.full = {(TYPES[0], LOCATIONS[0])}
    result = setting.ensure(3)
    assert result.outcome is Outcome.CONVERGED
    assert {(box.type, box.location) for box in setting.cloud.boxes.values()} == {(TYPES[0], LOCATIONS[1])}
    assert len(setting.cloud.boxes) == 3


@pytest.mark.acceptance("S07")
def test_no_capacity_anywhere_ends_the_run_and_says_so() -> None:
    setting = Setting()
    setting.cloud.full = {(kind, location) for kind in TYPES for location in LOCATIONS}
    result = setting.ensure(1)
    assert (result.outcome, setting.owned) == (Outcome.FAILED, [])
    assert [report.error for report in result.steps] == ["no capacity (resource_unavailable)"]
    assert len([call for call in setting.cloud.calls if call[0] == "create"]) == 4


@pytest.mark.acceptance("P19", "Q06")
def test_a_refused_server_is_errored_and_the_clouds_words_are_kept() -> None:
    setting = Setting()
    setting.cloud.faults["create"] = [
        InvalidError("the image cannot be used", why="invalid_input: image disk is bigger")
    ]
    result = setting.ensure(1)
    record = setting.records.servers["prod-worker-1"]
    assert (record.status, record.previous) == (Status.ERRORED, Status.NEW)
    assert record.error == "the image cannot be used (invalid_input: image disk is bigger)"
    assert not record.counts
    assert [type(failure) for failure in result.failures] == [InvalidError]
    assert [report.error for report in result.steps] == [record.error]
    assert setting.ensure(1).outcome is Outcome.CONVERGED
    assert setting.ready == ["prod-worker-1"]


@pytest.mark.acceptance("R10")
def test_a_quota_stops_the_run_which_reports_what_exists() -> None:
    setting = Setting()
    setting.cloud.quota = 2
    result = setting.ensure(4)
    assert result.outcome is Outcome.FAILED
    assert result.groups["worker"].ready == len(setting.ready) == 2
    assert setting.is_in_order()
    assert [str(report.result) for report in result.steps] == ["done", "done", "failed", "failed"]
    errors = [server.error or "" for server in result.servers if server.status is Status.ERRORED]
    assert len(errors) == 2
    assert all("resource_limit_exceeded" in error for error in errors)
    setting.cloud.quota = None
    setting.clock.sleep(3600)  # as long as the refusal is believed
    again = setting.ensure(4)
    assert (again.outcome, len(setting.ready)) == (Outcome.CONVERGED, 4)
    assert {server.status for server in again.servers} == {Status.RUNNING}


@pytest.mark.acceptance("R11")
def test_a_cloud_that_never_creates_leaves_a_bounded_number_of_records() -> None:
    setting = Setting()
    setting.cloud.quota = 0
    for _ in range(5):
        assert setting.ensure(3).outcome is Outcome.FAILED
        setting.clock.sleep(3600)
    assert len(setting.records.servers) == 3


@pytest.mark.acceptance("R07")
def test_passing_errors_are_retried() -> None:
    setting = Setting()
    setting.cloud.faults = {"create": passing(2)}
    assert setting.ensure(1).outcome is Outcome.CONVERGED
    assert len(setting.owned) == 1


@pytest.mark.acceptance("R07")
def test_a_trouble_that_does_not_pass_ends_the_run() -> None:
    setting = Setting()
    setting.cloud.faults = {"create": passing(50)}
    result = setting.ensure(1)
    assert (result.outcome, setting.owned) == (Outcome.FAILED, [])
    assert len([call for call in setting.cloud.calls if call[0] == "create"]) <= 5


@pytest.mark.acceptance("R07", "R09")
def test_errors_of_looks_give_no_server_up() -> None:
    setting = Setting()

    def trouble() -> None:
        if setting.clock.passed == 4:
            setting.cloud.faults["list"] = passing(3)

    setting.clock.on_tick = trouble
    result = setting.ensure(2)
    assert (result.outcome, len(setting.ready)) == (Outcome.CONVERGED, 2)
    assert len([call for call in setting.cloud.calls if call[0] == "create"]) == 2


@pytest.mark.acceptance("R09")
@pytest.mark.parametrize("error", [*passing(1), AuthError("401")])
def test_a_refused_first_look_changes_nothing(error: Exception) -> None:
    setting = Setting().with_servers(worker=2)
    setting.cloud.faults["list"] = [error]
    with pytest.raises(type(error)):
        setting.ensure(0)
    assert len(setting.ready) == 2


@pytest.mark.acceptance("R09")
def test_a_missing_server_is_gone_only_if_its_own_address_says_so() -> None:
    setting = Setting().with_servers(worker=2)
    setting.cloud.list_lag_s = 1e9
    setting.cloud.faults["get"] = [TransientError("500")]
    with pytest.raises(TransientError):
        setting.ensure(2)
    assert setting.cloud.changes() == []
    setting.cloud.list_lag_s = 0
    assert setting.ensure(2).outcome is Outcome.UNCHANGED


@pytest.mark.acceptance("R09")
def test_gone_on_delete_is_what_was_wanted() -> None:
    setting = Setting().with_servers(worker=2)

    def vanish() -> None:
        setting.cloud.boxes.pop("1", None)

    setting.cloud.on_change = vanish  # the other delete's moment
    result = setting.ensure(0)
    assert (result.outcome, setting.owned) == (Outcome.CONVERGED, [])
    assert {str(report.result) for report in result.steps} == {"done"}


def test_a_busy_server_is_deleted_when_it_is_free() -> None:
    setting = Setting().with_servers(worker=1)
    setting.cloud.faults["delete"] = [BusyError("locked"), BusyError("locked")]
    result = setting.ensure(0)
    assert (result.outcome, setting.owned) == (Outcome.CONVERGED, [])
    assert [str(report.result) for report in result.steps] == ["done"]


@pytest.mark.acceptance("S05")
def test_a_lost_answer_makes_one_server() -> None:
    setting = Setting()
    setting.cloud.lost_answers = 1
    result = setting.ensure(2)
    assert (result.outcome, setting.ready) == (Outcome.CONVERGED, ["prod-worker-1", "prod-worker-2"])
    assert setting.is_in_order()


def test_a_wrong_name_in_the_spec_stops_before_anything_is_changed() -> None:
    setting = Setting(spec(group(types=("cx99",))))
    with pytest.raises(InvalidError, match="no server type cx99"):
        setting.ensure(1)
    assert setting.cloud.changes() == []


@pytest.mark.parametrize(("wanted", "change"), [(3, "create"), (1, "delete")])
def test_credentials_that_only_read_are_told_as_such(wanted: int, change: str) -> None:
    setting = Setting().with_servers(worker=2)
    setting.cloud.faults[change] = [AuthError("403 forbidden")]
    with pytest.raises(AuthError):
        setting.ensure(wanted)
    assert len(setting.ready) == 2
    assert setting.ensure(wanted).outcome is Outcome.CONVERGED
    assert len(setting.ready) == wanted


def test_a_refusal_after_a_change_is_recorded() -> None:
    """The second phase finds the credentials gone: what the first did is in the state file."""
    setting = two_groups().with_servers(worker=1)

    def revoke() -> None:
        setting.cloud.faults["list"] = [AuthError("401 unauthorized")]

    setting.cloud.on_change = revoke
    result = setting.ensure(worker=0, other=1)
    assert result.outcome is Outcome.FAILED
    assert any("401" in warning for warning in setting.progress.warnings)
    assert setting.records.servers["prod-other-1"].id == "2"


# ---------------------------------------------------------------------------------------------
# Servers that do not start


@pytest.mark.acceptance("S06")
def test_what_keeps_hanging_is_replaced_at_most_twice() -> None:
    setting = Setting(spec(group(count=0, start_within=timedelta(minutes=2))))
    setting.cloud.hang = 100
    result = setting.ensure(1, options=Options(timeout=timedelta(hours=3)))
    assert result.outcome is Outcome.FAILED
    assert len([call for call in setting.cloud.calls if call[0] == "create"]) == 3
    assert any("keep hanging" in warning for warning in setting.progress.warnings)
    assert setting.is_in_order()


@pytest.mark.acceptance("S06")
def test_one_that_hangs_is_replaced_and_its_predecessor_gone() -> None:
    setting = Setting(spec(group(count=0, start_within=timedelta(minutes=2))))
    setting.cloud.hang = 1
    result = setting.ensure(2)
    assert result.outcome is Outcome.CONVERGED
    assert len(setting.ready) == len(setting.owned) == 2
    hanging = [event for event in setting.records.events if event.event == "server.hanging"]
    assert [event.reason for event in hanging] == ["starting for longer than 2m"]


def test_no_wait_returns_at_once_and_the_next_run_confirms() -> None:
    setting = Setting()
    result = setting.ensure(2, options=Options(wait=False))
    assert (result.outcome, result.elapsed) == (Outcome.UNCONFIRMED, timedelta(0))
    assert {server.status for server in result.servers} == {Status.STARTING}
    assert setting.is_in_order()
    again = setting.ensure(2)
    assert (again.outcome, taken(again)) == (Outcome.CONVERGED, [])
    assert {server.status for server in again.servers} == {Status.RUNNING}


def test_no_wait_still_acts_when_the_world_moved() -> None:
    setting = Setting()
    setting.stack.moves.append(lambda: setting.cloud.add("prod-worker-1", setting.label()))
    result = setting.ensure(2, options=Options(wait=False))
    assert setting.owned == ["prod-worker-1", "prod-worker-2"]
    assert ("create", "prod-worker-2") in taken(result)


@pytest.mark.acceptance("Q02")
def test_out_of_time_servers_are_hanging_and_no_supply_next_time() -> None:
    setting = Setting()
    setting.cloud.hang = 1
    result = setting.ensure(1, options=Options(timeout=timedelta(seconds=30)))
    assert result.outcome is Outcome.UNCONFIRMED
    hanging = setting.records.servers["prod-worker-1"]
    assert (hanging.status, hanging.previous) == (Status.HANGING, Status.STARTING)
    assert hanging.error == "still starting when the run's time was up"
    again = setting.ensure(1)
    assert (again.outcome, again.groups["worker"].before) == (Outcome.CONVERGED, 0)
    assert setting.ready == setting.owned == ["prod-worker-2"]


def test_out_of_time_but_up_after_all_it_is_kept() -> None:
    setting = Setting()
    setting.cloud.boot_s = 60
    setting.ensure(1, options=Options(timeout=timedelta(seconds=30)))
    assert status(setting, "prod-worker-1") is Status.HANGING
    setting.clock.sleep(60)
    again = setting.ensure(1)
    assert (again.outcome, taken(again)) == (Outcome.CONVERGED, [])
    assert status(setting, "prod-worker-1") is Status.RUNNING


def test_out_of_time_in_a_delete_the_server_is_no_supply() -> None:
    setting = Setting().with_servers(worker=2)
    setting.cloud.delete_s, setting.cloud.tells_deleting = 60, False
    result = setting.ensure(1, options=Options(timeout=timedelta(seconds=5)))
    assert result.outcome is Outcome.UNCONFIRMED
    assert status(setting, "prod-worker-2") is Status.DELETING
    again = setting.ensure(2)
    assert again.outcome is Outcome.CONVERGED
    assert len(setting.ready) == len(setting.owned) == 2


def test_a_server_that_runs_and_never_gets_ready_is_hanging() -> None:
    setting = Setting()
    setting.spec = spec(group(ready=Readiness(kind="tcp", port=22)))
    setting.readiness.failing.add("prod-worker-1")
    result = setting.ensure(1, options=Options(timeout=timedelta(seconds=30)))
    assert (result.outcome, result.groups["worker"].ready) == (Outcome.UNCONFIRMED, 0)
    assert status(setting, "prod-worker-1") is Status.HANGING


# ---------------------------------------------------------------------------------------------
# Lists that lag, worlds that move, engines that fail


def test_a_create_that_no_list_shows_yet_is_not_counted_as_gone() -> None:
    setting = Setting()
    setting.cloud.list_lag_s = 30
    result = setting.ensure(2)
    assert (result.outcome, setting.ready) == (Outcome.CONVERGED, ["prod-worker-1", "prod-worker-2"])
    assert len([call for call in setting.cloud.calls if call[0] == "create"]) == 2
    assert setting.is_in_order()


@pytest.mark.acceptance("R03")
def test_a_world_that_moved_is_planned_for_again() -> None:
    """Another run made three servers between our plan and our apply."""
    setting = Setting()

    def other_run() -> None:
        for number in (1, 2, 3):
            setting.cloud.add(f"prod-worker-{number}", setting.label())

    setting.stack.moves.append(other_run)
    result = setting.ensure(3)
    assert result.outcome is Outcome.CONVERGED
    assert not [call for call in setting.cloud.calls if call[0] == "create"]
    assert setting.ready == ["prod-worker-1", "prod-worker-2", "prod-worker-3"]
    assert setting.is_in_order()


@pytest.mark.parametrize("by_hand", [False, True])
def test_right_before_a_stop_its_server_must_still_be_the_right_one(by_hand: bool, tmp_path: Path) -> None:
    """Somebody removes another one after the plan was made: then nobody is drained."""
    drain = StopPolicy(drain=("sh", "-c", "echo {name} >> drained"))
    setting = Setting(spec(group(stop=drain))).with_servers(worker=4)
    setting.clock.on_tick = lambda: time.sleep(0.01)  # the drain is a real process
    stopping = ServerStopper(setting.cloud, setting.clock, tmp_path)

    def approve(plan: Plan) -> bool:
        assert [(step.action, step.server) for step in plan.steps] == [(Action.DELETE, "prod-worker-4")]
        if by_hand:
            setting.cloud.remove("prod-worker-1")
        return True

    around = replace(setting.around, stopping=stopping)
    result = ensure(setting.spec, Demand({"worker": 3}), Options(approve=approve), around)
    stopping.close()
    assert result.outcome is Outcome.CONVERGED
    gone = 1 if by_hand else 4
    assert setting.ready == [f"prod-worker-{number}" for number in (1, 2, 3, 4) if number != gone]
    drained = tmp_path / "drained"
    assert (drained.read_text() if drained.exists() else "") == ("" if by_hand else "prod-worker-4\n")
    assert setting.is_in_order()


def test_a_world_that_never_rests_is_never_acted_on() -> None:
    setting = Setting().with_servers(worker=1)
    numbers = iter(range(100, 200))
    setting.stack.moves = [
        lambda: setting.cloud.add(f"prod-worker-{next(numbers)}", setting.label()) for _ in range(50)
    ]
    result = setting.ensure(0)
    assert result.outcome is Outcome.UNCONFIRMED
    assert setting.cloud.changes() == []


def test_a_power_on_is_not_repeated_when_the_world_moved_after_it() -> None:
    setting = Setting().with_servers(worker=1)
    setting.cloud.named("prod-worker-1").off = True
    setting.stack.moves.append(lambda: setting.cloud.add("prod-worker-2", setting.label()))
    assert setting.ensure(3).outcome is Outcome.CONVERGED
    assert len([call for call in setting.cloud.calls if call[0] == "power_on"]) == 1


def test_an_engine_that_fails_is_reported_and_what_it_did_recorded() -> None:
    setting = Setting()
    setting.stack.failures.append("error: the engine had enough")
    result = setting.ensure(2)
    assert result.outcome is Outcome.FAILED
    assert [(taken(result)[i], str(report.result)) for i, report in enumerate(result.steps)] == [
        (("create", "prod-worker-1"), "done"),
        (("create", "prod-worker-2"), "failed"),
    ]
    assert result.steps[1].error == "error: the engine had enough"
    assert setting.ready == ["prod-worker-1"]
    assert setting.ensure(2).outcome is Outcome.CONVERGED
    assert setting.is_in_order()


@pytest.mark.parametrize("error", [LockedError("another run"), engine_failure()])
def test_an_engine_that_does_not_begin_leaves_the_records_as_they_were(error: Exception) -> None:
    setting = Setting().with_servers(worker=1)
    before = dict(setting.records.servers)
    setting.stack.apply_errors.append(error)
    with pytest.raises(type(error)):
        setting.ensure(0)
    assert setting.records.servers == before
    assert setting.ready == ["prod-worker-1"]


def test_a_record_step_that_fails_is_an_error_and_the_state_file_tells_the_truth() -> None:
    setting = Setting()
    setting.stack.record_errors.append(engine_failure())
    result = setting.ensure(1)
    assert result.outcome is Outcome.FAILED
    assert (status(setting, "prod-worker-1"), setting.ready) == (Status.RUNNING, ["prod-worker-1"])
    again = setting.ensure(1)
    assert (again.outcome, taken(again)) == (Outcome.CONVERGED, [])
    assert setting.is_in_order()


def test_what_the_record_step_sees_on_its_way_is_waited_for() -> None:
    """Somebody reboots a server at the last moment, or the list is older than the look that called it ready."""
    setting = Setting()
    tell = setting.progress.phase
    reboots = iter([True])

    def rebooted_by_hand(text: str) -> None:
        tell(text)
        if text == "recording" and next(reboots, False):
            setting.cloud.named("prod-worker-2").ready = setting.clock.monotonic() + 8

    setting.progress.phase = rebooted_by_hand  # type: ignore[method-assign]
    result = setting.ensure(3)
    assert (result.outcome, len(setting.ready)) == (Outcome.CONVERGED, 3)
    assert {server.status for server in result.servers} == {Status.RUNNING}
    assert setting.is_in_order()


def test_a_hanging_server_stays_so_when_the_record_step_failed() -> None:
    setting = Setting()
    setting.cloud.hang = 1
    setting.stack.record_errors.append(engine_failure())
    setting.ensure(1, options=Options(timeout=timedelta(seconds=30)))
    assert status(setting, "prod-worker-1") is Status.HANGING
    again = setting.ensure(1, options=Options(apply=False))
    assert again.groups["worker"].before == 0
    assert ("delete", "prod-worker-1") in taken(again)


def test_records_that_cannot_be_written_stop_the_run_before_it_acts() -> None:
    setting = Setting()
    setting.records.errors.append(StateError("disk full"))
    with pytest.raises(StateError):
        setting.ensure(1)
    assert setting.cloud.changes() == []


# ---------------------------------------------------------------------------------------------
# Runs that die


@pytest.mark.acceptance("R08", "S04")
@pytest.mark.parametrize("boundary", range(14))
@pytest.mark.parametrize("saves", [True, False], ids=["engine-outlives", "engine-dies"])
@pytest.mark.parametrize(("before", "wanted"), [(0, 3), (3, 1)], ids=["up", "down"])
def test_a_kill_at_any_boundary_is_mended_by_the_next_run(boundary: int, saves: bool, before: int, wanted: int) -> None:
    setting = Setting().with_servers(worker=before)
    setting.stack.saves_when_killed = saves
    setting.fuse.left = boundary
    with suppress(Killed):
        setting.ensure(wanted)
    setting.fuse.left = None
    result = setting.ensure(wanted)
    assert result.outcome in (Outcome.CONVERGED, Outcome.UNCHANGED)
    assert len(setting.ready) == len(setting.owned) == wanted
    assert setting.is_in_order()
    assert not [server for server in setting.records.servers.values() if server.status is Status.NEW]


def test_an_intent_that_was_never_carried_out_leaves_no_record() -> None:
    setting = Setting()
    setting.fuse.left = 4
    with pytest.raises(Killed):
        setting.ensure(1)
    assert status(setting, "prod-worker-1") is Status.NEW
    assert setting.ensure(0).outcome in (Outcome.CONVERGED, Outcome.UNCHANGED)
    assert setting.records.servers == {}


# ---------------------------------------------------------------------------------------------
# The state file


@pytest.mark.acceptance("S14")
def test_a_lost_state_file_is_rebuilt_with_the_same_statuses_and_times() -> None:
    setting = Setting().with_servers(worker=3)
    setting.cloud.named("prod-worker-2").off = True
    refresh(setting.spec, setting.around)
    before = dict(setting.records.servers)
    setting.clock.sleep(500)
    setting.records.lose()
    setting.stack.processes = 0
    look(setting.spec, setting.around)
    assert setting.records.servers == before
    assert setting.stack.processes == 0


@pytest.mark.acceptance("S02")
def test_refresh_names_drift_and_changes_no_server() -> None:
    setting = Setting().with_servers(worker=2)
    setting.cloud.remove("prod-worker-2")
    result = refresh(setting.spec, setting.around)
    assert result.drift == ("prod-worker-2 (2) is gone from the cloud",)
    assert setting.cloud.changes() == []
    assert setting.held() == {"prod-worker-1": "1"}
    assert refresh(setting.spec, setting.around).drift == ()


def test_the_result_tells_what_was_there_what_is_wanted_and_what_it_costs() -> None:
    setting = Setting().with_servers(worker=1)
    result = setting.ensure(3)
    numbers = result.groups["worker"]
    assert (numbers.wanted, numbers.before, numbers.ready) == (3, 1, 3)
    assert result.cost is not None
    assert (result.cost.per_hour_before, result.cost.per_hour_after) == (0.01, 0.03)
    assert result.requests.create == 2
    assert {report.step.action for report in result.steps} == {Action.CREATE}
