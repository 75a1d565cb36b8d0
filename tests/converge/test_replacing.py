"""Which servers go first, what is replaced, and how many servers are ready meanwhile."""

from __future__ import annotations

from datetime import timedelta

import pytest

from scaler.clouds import CloudError
from scaler.converge.demand import Demand, Options
from scaler.model import Outcome
from tests.converge.settings import two_groups
from tests.support.fakes import Setting, group, spec, taken


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


def test_at_the_limit_a_renewed_server_goes_first_and_once() -> None:
    setting = Setting(spec(group(), limit=2)).with_servers(worker=2)
    result = setting.run(Demand(renew=frozenset({"prod-worker-1"})))
    assert result.outcome is Outcome.CONVERGED
    assert setting.ready == ["prod-worker-2", "prod-worker-3"]
    assert taken(result) == [("delete", "prod-worker-1"), ("create", "prod-worker-3")]


def test_the_first_phase_is_confirmed_before_the_second_begins() -> None:
    setting = two_groups().with_servers(worker=2)
    setting.ensure(worker=1, other=1)
    deleted = setting.cloud.calls.index(("delete", setting.records.servers["prod-worker-2"].id or ""))
    looks = [call for call in setting.cloud.calls[:deleted] if call[0] == "list"]
    assert setting.cloud.calls.index(("create", "prod-other-1")) < deleted
    assert len(looks) >= setting.cloud.boot_s


@pytest.mark.acceptance("S02")
def test_a_server_that_cannot_be_powered_on_is_replaced() -> None:
    setting = Setting().with_servers(worker=2)
    setting.cloud.named("prod-worker-1").off = True
    setting.cloud.faults["power_on"] = [CloudError("no", why="server_error")]
    result = setting.ensure(2)
    assert result.outcome is Outcome.CONVERGED
    assert setting.ready == setting.owned == ["prod-worker-2", "prod-worker-3"]
    assert ("delete", "prod-worker-1") in taken(result)


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
