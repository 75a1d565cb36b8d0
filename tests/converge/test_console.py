"""What people do in the vendor's console: delete protection, labels, and what the vendor does by itself."""

from __future__ import annotations

import pytest

from scaler.converge.demand import Demand, Options
from scaler.converge.operate import look, orphans, protect, reboot
from scaler.errors import RefusedError
from scaler.model import Outcome, Plan, Readiness
from scaler.model.lifecycle import Phase, Status
from scaler.output.sentences import remarks
from tests.support.fakes import Setting, group, spec, taken

# ---------------------------------------------------------------------------------------------
# Delete protection


@pytest.mark.acceptance("T06")
def test_another_server_goes_in_place_of_one_with_delete_protection() -> None:
    setting = Setting().with_servers(worker=3)
    setting.cloud.named("prod-worker-3").protected = True
    result = setting.ensure(2)
    assert (result.outcome, taken(result)) == (Outcome.CONVERGED, [("delete", "prod-worker-2")])
    assert setting.ready == ["prod-worker-1", "prod-worker-3"]


@pytest.mark.acceptance("T06")
@pytest.mark.parametrize(
    "demand", [Demand(renew=frozenset({"prod-worker-3"})), Demand(remove=frozenset({"prod-worker-3"}))]
)
def test_a_named_server_with_delete_protection_is_refused_before_anything_is_done(demand: Demand) -> None:
    setting = Setting().with_servers(worker=3)
    setting.cloud.named("prod-worker-3").protected = True
    with pytest.raises(RefusedError, match="prod-worker-3 is protected") as refused:
        setting.run(demand)
    assert refused.value.why == "its delete protection is on at the cloud"
    assert setting.cloud.changes() == []


@pytest.mark.acceptance("T06")
def test_a_count_that_needs_a_server_with_delete_protection_is_refused_and_names_it() -> None:
    setting = Setting().with_servers(worker=2)
    setting.cloud.named("prod-worker-2").protected = True
    with pytest.raises(RefusedError, match="cannot go down to 0") as refused:
        setting.ensure(0)
    assert refused.value.why == "prod-worker-2: its delete protection is on at the cloud"
    assert setting.cloud.changes() == []


def test_a_dead_server_with_delete_protection_stays_beside_its_successor() -> None:
    setting = Setting().with_servers(worker=2)
    records = setting.records.servers
    records["prod-worker-1"] = records["prod-worker-1"].become(Status.HANGING, setting.clock.now())
    box = setting.cloud.named("prod-worker-1")
    box.protected, box.ready = True, None
    for _ in range(3):
        setting.ensure(2)
    assert setting.ready == ["prod-worker-2", "prod-worker-3"]
    assert setting.owned == ["prod-worker-1", "prod-worker-2", "prod-worker-3"]
    assert "prod-worker-1 is hanging and protected: nothing was done about it" in setting.progress.warnings


@pytest.mark.acceptance("T06")
def test_delete_protection_that_comes_after_the_plan_and_before_the_shutdown_is_respected() -> None:
    setting = Setting(spec(group(keep_paid=True))).with_servers(worker=3)
    chosen: list[str] = []

    def approve(plan: Plan) -> bool:
        chosen.extend(step.server for step in plan.steps)
        setting.cloud.named(chosen[0]).protected = True
        return True

    result = setting.ensure(2, options=Options(approve=approve))
    assert chosen == ["prod-worker-3"]
    assert taken(result) == [("power_off", "prod-worker-2")]
    assert setting.ready == ["prod-worker-1", "prod-worker-3"]


def test_destroy_is_refused_while_the_cloud_protects_a_server() -> None:
    setting = Setting().with_servers(worker=2)
    setting.cloud.named("prod-worker-2").protected = True
    with pytest.raises(RefusedError, match="prod-worker-2: delete protection is on at the cloud"):
        setting.ensure(0, options=Options(everything=True))
    assert setting.cloud.changes() == []


def test_destroy_removes_what_scaler_protects() -> None:
    setting = Setting().with_servers(worker=2)
    protect(setting.spec, ["prod-worker-1"], setting.around, protected=True)
    assert setting.ensure(0, options=Options(everything=True)).outcome is Outcome.CONVERGED
    assert setting.owned == []


# ---------------------------------------------------------------------------------------------
# Labels


@pytest.mark.acceptance("T07")
@pytest.mark.parametrize("label", ["debug", "web", ""], ids=["unknown group", "another group", "emptied"])
def test_a_server_whose_group_label_was_changed_is_named_left_alone_and_no_supply(label: str) -> None:
    setting = Setting(spec(group("worker", 2), group("web", 1))).with_servers(worker=2, web=1)
    box = setting.cloud.named("prod-worker-1")
    box.labels["scaler-group"] = label
    before = dict(box.labels)
    result = setting.ensure(worker=2, web=1)
    assert (result.outcome, taken(result)) == (Outcome.CONVERGED, [("create", "prod-worker-3")])
    told = f"prod-worker-1 ({box.id}): its group label is {label!r}, not 'worker'"
    assert [line for line in result.drift if line.startswith(told)]
    again = setting.ensure(worker=2, web=1)
    assert (again.outcome, len(again.drift)) == (Outcome.UNCHANGED, 1)
    assert setting.ensure(worker=0, web=1).outcome is Outcome.CONVERGED
    assert setting.ensure(worker=0, web=0).outcome is Outcome.CONVERGED
    assert setting.owned == ["prod-worker-1"]
    assert box.labels == before
    assert "prod-worker-1" not in [about for _, about in setting.cloud.changes()]


@pytest.mark.acceptance("T07")
def test_a_server_that_was_set_aside_counts_again_when_its_label_is_put_back() -> None:
    setting = Setting().with_servers(worker=2)
    box = setting.cloud.named("prod-worker-1")
    box.labels["scaler-group"] = "debug"
    setting.ensure(1)
    assert setting.records.servers["prod-worker-1"].set_aside
    box.labels["scaler-group"] = "worker"
    result = setting.ensure(2)
    assert (result.outcome, taken(result), result.drift) == (Outcome.CONVERGED, [], ())
    assert setting.is_in_order()


def test_a_server_that_is_set_aside_counts_towards_the_limit() -> None:
    setting = Setting(spec(group(), limit=3)).with_servers(worker=3)
    setting.cloud.named("prod-worker-1").labels["scaler-group"] = "debug"
    with pytest.raises(RefusedError, match="would hold 4 servers, 1 above its limit of 3"):
        setting.ensure(3)
    assert setting.cloud.changes() == []
    assert taken(setting.ensure(2)) == []


def test_a_server_that_is_set_aside_is_named_by_no_command() -> None:
    setting = Setting().with_servers(worker=2)
    setting.cloud.named("prod-worker-1").labels["scaler-group"] = "debug"
    named = frozenset({"prod-worker-1"})
    for demand in (Demand(renew=named), Demand(remove=named)):
        with pytest.raises(RefusedError, match="prod-worker-1 is set aside"):
            setting.run(demand)
    with pytest.raises(RefusedError, match="prod-worker-1 is set aside"):
        reboot(setting.spec, setting.around, names=named)
    with pytest.raises(RefusedError, match="prod-worker-1 is set aside"):
        setting.ensure(0, options=Options(everything=True))
    reboot(setting.spec, setting.around)
    assert [about for operation, about in setting.cloud.calls if operation == "reboot"] == ["2"]
    assert setting.cloud.changes() == [("reboot", "2")]


@pytest.mark.acceptance("T07")
def test_a_server_in_no_state_whose_group_label_is_empty_is_left_alone() -> None:
    setting = Setting().with_servers(worker=1)
    setting.cloud.add("prod-worker-7", {**setting.label(), "scaler-group": ""})
    result = setting.ensure(2)
    assert (result.outcome, taken(result)) == (Outcome.CONVERGED, [("create", "prod-worker-2")])
    assert result.drift == ("prod-worker-7 (2): its group label is ''; it was left alone and is still paid for",)
    assert setting.ensure(2).outcome is Outcome.UNCHANGED
    assert orphans(setting.spec, setting.around) == ()


@pytest.mark.acceptance("T07")
@pytest.mark.parametrize("absent", ["managed-by", "scaler-project", "scaler-stack", "scaler-group", None])
def test_labels_of_ours_that_are_absent_are_put_back(absent: str | None) -> None:
    setting = Setting().with_servers(worker=2)
    box = setting.cloud.named("prod-worker-1")
    box.labels["note"] = "by hand"
    gone = set(box.labels) - {"scaler-template", "note"} if absent is None else {absent}
    for label in gone:
        del box.labels[label]
    result = setting.ensure(2)
    assert (result.outcome, taken(result)) == (Outcome.CONVERGED, [("update", "prod-worker-1")])
    assert box.labels == {**setting.label(), "note": "by hand"}
    assert setting.is_in_order()
    assert setting.ensure(2).outcome is Outcome.UNCHANGED


@pytest.mark.acceptance("T07")
def test_a_server_without_labels_of_ours_can_be_removed() -> None:
    setting = Setting().with_servers(worker=2)
    setting.cloud.named("prod-worker-2").labels.clear()
    assert taken(setting.ensure(1)) == [("delete", "prod-worker-2")]
    assert [box.name for box in setting.cloud.boxes.values()] == ["prod-worker-1"]


# ---------------------------------------------------------------------------------------------
# Groups that were removed from the spec, or renamed there


def test_a_renamed_group_is_named_and_its_servers_are_replaced_when_the_new_ones_are_ready() -> None:
    setting = Setting().with_servers(worker=2)
    setting.spec = spec(group("jobs", 2))
    previewed = setting.ensure(jobs=2, options=Options(apply=False))
    assert previewed.renamed == {"worker": "jobs"}
    assert [line for line in remarks(previewed) if line.startswith("renamed: worker is not in the spec any more")]
    assert [str(report.step.action) for report in previewed.steps] == ["create", "create", "delete", "delete"]
    assert setting.ensure(jobs=2).outcome is Outcome.CONVERGED
    assert setting.ready == setting.owned == ["prod-jobs-1", "prod-jobs-2"]


def test_a_run_does_not_remove_all_of_a_removed_group_unless_it_may() -> None:
    setting = Setting().with_servers(worker=2)
    setting.spec = spec(group("jobs", 0))
    with pytest.raises(RefusedError, match="would lose all its servers"):
        setting.ensure(jobs=0, options=Options(allow_zero=False))
    assert setting.cloud.changes() == []
    assert setting.ensure(jobs=0, options=Options(allow_zero=True)).outcome is Outcome.CONVERGED
    assert setting.owned == []


# ---------------------------------------------------------------------------------------------
# What the vendor does by itself

VENDOR_AT_WORK = pytest.mark.parametrize("work", [Phase.BUSY, Phase.UNKNOWN])


@VENDOR_AT_WORK
def test_a_running_server_that_the_vendor_works_on_stays_supply_however_long(work: Phase) -> None:
    setting = Setting().with_servers(worker=2)
    box = setting.cloud.named("prod-worker-1")
    box.work = work
    for _ in range(3):
        setting.clock.sleep(3600)
        result = setting.ensure(2)
        assert (result.outcome, taken(result)) == (Outcome.UNCHANGED, [])
        assert result.drift == (f"prod-worker-1 (1) is {work} at the cloud; it stays running until that is over",)
    box.work = None
    assert (setting.ensure(2).drift, setting.ready) == ((), ["prod-worker-1", "prod-worker-2"])
    assert setting.cloud.changes() == []


@VENDOR_AT_WORK
def test_a_starting_server_that_the_vendor_works_on_is_waited_for_and_given_its_time_afterwards(work: Phase) -> None:
    setting = Setting()
    setting.cloud.boot_s = 5.0
    setting.cloud.on_change = lambda: setattr(setting.cloud.named("prod-worker-1"), "work", work)
    for _ in range(2):
        result = setting.ensure(1)
        assert result.outcome is Outcome.UNCONFIRMED
        assert setting.records.servers["prod-worker-1"].status is Status.STARTING
    box = setting.cloud.named("prod-worker-1")
    box.work, box.ready = None, setting.clock.monotonic() + 60
    assert setting.ensure(1).outcome is Outcome.CONVERGED
    assert [operation for operation, _ in setting.cloud.changes()] == ["create"]


@VENDOR_AT_WORK
def test_a_server_that_is_off_while_the_vendor_works_on_it_is_powered_on_after_that(work: Phase) -> None:
    setting = Setting().with_servers(worker=2)
    box = setting.cloud.named("prod-worker-1")
    box.off = True
    look(setting.spec, setting.around)
    box.work = work
    for _ in range(2):
        result = setting.ensure(2)
        assert (result.outcome, taken(result)) == (Outcome.UNCONFIRMED, [])
    assert setting.cloud.changes() == []
    box.work = None
    assert taken(setting.ensure(2)) == [("power_on", "prod-worker-1")]


# ---------------------------------------------------------------------------------------------
# Servers that cannot be reached from here

CHECKED = spec(group(ready=Readiness(kind="tcp", port=22)))


def unreachable(setting: Setting, *numbers: int) -> None:
    setting.readiness.unreachable = {f"prod-worker-{number}" for number in numbers}


def test_when_no_server_of_a_group_can_be_reached_none_is_replaced_or_bought() -> None:
    setting = Setting(CHECKED)
    unreachable(setting, 1, 2, 3, 4, 5, 6)
    for _ in range(3):
        result = setting.ensure(3)
        assert result.outcome is Outcome.UNCONFIRMED
        assert {record.status for record in setting.records.servers.values()} == {Status.STARTING}
        setting.clock.sleep(3600)
    assert setting.owned == ["prod-worker-1", "prod-worker-2", "prod-worker-3"]
    assert [operation for operation, _ in setting.cloud.changes()] == ["create"] * 3
    told = [line for line in setting.progress.warnings if "prod-worker-2 (2) cannot be reached from here" in line]
    assert len(told) == 3
    assert [line for line in result.drift if line.startswith("prod-worker-2 (2) cannot be reached from here")]

    # With the network back they are ready, and all is well.
    unreachable(setting)
    assert setting.ensure(3).outcome is Outcome.CONVERGED
    assert len(setting.cloud.changes()) == 3


def test_a_preview_plans_nothing_for_servers_that_cannot_be_reached() -> None:
    setting = Setting(CHECKED)
    unreachable(setting, 1, 2)
    setting.ensure(2)
    setting.clock.sleep(3600)
    assert setting.ensure(2, options=Options(apply=False)).steps == ()


def test_one_server_that_is_reached_proves_that_the_others_are_dead() -> None:
    setting = Setting(CHECKED)
    unreachable(setting, 1)
    assert setting.ensure(2).outcome is Outcome.CONVERGED
    assert setting.ready == setting.owned == ["prod-worker-2", "prod-worker-3"]


def test_servers_that_answer_and_are_not_ready_are_replaced() -> None:
    setting = Setting(CHECKED)
    setting.readiness.failing = {"prod-worker-1", "prod-worker-2"}
    assert setting.ensure(2).outcome is Outcome.CONVERGED
    assert setting.owned == ["prod-worker-3", "prod-worker-4"]


def test_a_server_that_never_boots_is_late_by_itself_though_none_can_be_reached() -> None:
    setting = Setting(CHECKED)
    setting.cloud.hang = 1
    unreachable(setting, 2)
    setting.ensure(2)
    assert setting.records.servers["prod-worker-1"].status is Status.HANGING
    assert setting.records.servers["prod-worker-2"].status is Status.STARTING
