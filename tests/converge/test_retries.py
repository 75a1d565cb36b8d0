"""Passing errors of the cloud, lost answers, and servers that are already gone."""

from __future__ import annotations

import pytest

from scaler.clouds import AuthError, BusyError, CloudError, TransientError
from scaler.model import Outcome
from tests.support.fakes import Setting, passing, taken


@pytest.mark.acceptance("R09")
@pytest.mark.parametrize("error", [*passing(1), BusyError("locked")])
def test_a_passing_trouble_at_power_on_costs_no_server(error: CloudError) -> None:
    setting = Setting().with_servers(worker=2)
    setting.cloud.named("prod-worker-1").off = True
    setting.cloud.faults["power_on"] = [error]
    result = setting.ensure(2)
    assert (result.outcome, taken(result)) == (Outcome.CONVERGED, [("power_on", "prod-worker-1")])
    assert setting.ready == ["prod-worker-1", "prod-worker-2"]


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
