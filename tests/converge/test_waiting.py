"""Waiting until servers are ready or deleted: hanging servers, time-outs, `--no-wait`, lists that lag."""

from __future__ import annotations

from datetime import timedelta

import pytest

from scaler.converge.demand import Options
from scaler.model import Outcome, Readiness
from scaler.model.lifecycle import Status
from tests.converge.settings import status
from tests.support.fakes import Setting, group, spec, taken


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
def test_the_time_of_a_run_makes_no_server_hang_but_its_own_deadline_does() -> None:
    setting = Setting()
    setting.cloud.hang = 1
    short = Options(timeout=timedelta(minutes=4))
    for _ in range(2):
        result = setting.ensure(1, options=short)
        assert result.outcome is Outcome.UNCONFIRMED
        assert status(setting, "prod-worker-1") is Status.STARTING
    # Ten minutes after it was made, within the third run.
    again = setting.ensure(1, options=short)
    assert (again.outcome, again.groups["worker"].before) == (Outcome.CONVERGED, 1)
    assert setting.ready == setting.owned == ["prod-worker-2"]
    assert [each.reason for each in setting.records.events if each.event == "server.hanging"] == [
        "starting for longer than 10m"
    ]


def test_runs_that_are_shorter_than_a_boot_get_there_all_the_same() -> None:
    setting = Setting()
    setting.cloud.boot_s = 100
    outcomes = [setting.ensure(2, options=Options(timeout=timedelta(seconds=30))).outcome for _ in range(4)]
    assert outcomes == [Outcome.UNCONFIRMED] * 3 + [Outcome.CONVERGED]
    assert [operation for operation, _ in setting.cloud.changes()] == ["create"] * 2


def test_out_of_time_in_a_delete_the_server_is_no_supply() -> None:
    setting = Setting().with_servers(worker=2)
    setting.cloud.delete_s, setting.cloud.tells_deleting = 60, False
    result = setting.ensure(1, options=Options(timeout=timedelta(seconds=5)))
    assert result.outcome is Outcome.UNCONFIRMED
    assert status(setting, "prod-worker-2") is Status.DELETING
    again = setting.ensure(2)
    assert again.outcome is Outcome.CONVERGED
    assert len(setting.ready) == len(setting.owned) == 2


def test_a_server_that_runs_and_never_gets_ready_is_hanging_at_its_deadline() -> None:
    setting = Setting()
    setting.spec = spec(group(ready=Readiness(kind="tcp", port=22)))
    setting.readiness.failing.add("prod-worker-1")
    result = setting.ensure(1, options=Options(timeout=timedelta(seconds=30)))
    assert (result.outcome, result.groups["worker"].ready) == (Outcome.UNCONFIRMED, 0)
    assert status(setting, "prod-worker-1") is Status.STARTING
    assert "not ready yet: prod-worker-1 (its check fails)" in setting.progress.warnings
    setting.clock.sleep(600)
    assert setting.ensure(1).outcome is Outcome.CONVERGED
    assert setting.owned == ["prod-worker-2"]


def test_a_create_that_no_list_shows_yet_is_not_counted_as_gone() -> None:
    setting = Setting()
    setting.cloud.list_lag_s = 30
    result = setting.ensure(2)
    assert (result.outcome, setting.ready) == (Outcome.CONVERGED, ["prod-worker-1", "prod-worker-2"])
    assert len([call for call in setting.cloud.calls if call[0] == "create"]) == 2
    assert setting.is_in_order()
