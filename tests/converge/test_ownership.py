"""Servers of others, which are never touched, and our own that no state holds."""

from __future__ import annotations

import pytest

from scaler.converge.demand import Options
from scaler.model import Outcome
from tests.support.fakes import Setting, taken


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
    setting.clock.on_tick = lambda: setting.cloud.boxes.pop(elder.id, None)  # type: ignore[assignment]
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
