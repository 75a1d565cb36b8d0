"""What the records and the stack's outputs hold after a run, also after a failed one."""

from __future__ import annotations

import pytest

from scaler.converge.operate import look, refresh
from scaler.errors import LockedError, StateError
from scaler.model import Action, Outcome
from scaler.model.lifecycle import Status
from scaler.planning.absence import GRACE
from tests.converge.settings import status
from tests.support.fakes import Setting, engine_failure, taken


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
    """Somebody reboots a server at the last moment. One that just began to run is shown late instead, and counts."""
    setting = Setting()
    setting.ensure(2)
    setting.clock.sleep(GRACE.total_seconds() + 1)
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


def test_records_that_cannot_be_written_stop_the_run_before_it_acts() -> None:
    setting = Setting()
    setting.records.errors.append(StateError("disk full"))
    with pytest.raises(StateError):
        setting.ensure(1)
    assert setting.cloud.changes() == []


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
