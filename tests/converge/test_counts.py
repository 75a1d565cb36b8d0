"""The counts that `ensure` is asked for, and the servers that exist afterwards."""

from __future__ import annotations

import pytest

from scaler.converge.demand import Demand, Options
from scaler.model import Outcome
from scaler.model.lifecycle import Status
from tests.converge.settings import BOTH, two_groups
from tests.support.fakes import LOCATIONS, TYPES, Killed, Setting, group, spec, taken


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
    assert setting.ensure(None, options=None, **{name: 3}).outcome is Outcome.UNCHANGED
    assert setting.cloud.changes() == []
    assert setting.ensure(None, options=None, **{name: 5}).outcome is Outcome.CONVERGED
    assert len(setting.ready) == 5
    assert setting.ensure(None, options=None, **{name: 2}).outcome is Outcome.CONVERGED
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
    setting.fuse.left = 8  # dies in the first create request
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


def test_nothing_to_do_starts_no_engine_and_lists_once() -> None:
    setting = Setting().with_servers(worker=3)
    assert setting.ensure(3).outcome is Outcome.UNCHANGED
    assert setting.stack.processes == 0
    assert setting.cloud.calls == [("list", "")]


def test_servers_of_a_group_that_the_spec_no_longer_has_are_removed() -> None:
    setting = two_groups().with_servers(worker=1, other=2)
    setting.spec = spec(group("worker", 1))
    result = setting.ensure(worker=1)
    assert result.outcome is Outcome.CONVERGED
    assert setting.ready == setting.owned == ["prod-worker-1"]
    assert {report.step.reason for report in result.steps} == {"the spec has no group other any more"}
