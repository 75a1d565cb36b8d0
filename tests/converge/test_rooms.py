"""Placement groups and addresses that others use too: refused before the first create, and for those groups alone."""

from __future__ import annotations

from datetime import timedelta

import pytest

from scaler.converge.demand import Demand, Options
from scaler.errors import LimitError, RefusedError
from scaler.model import Outcome, StopPolicy
from tests.support.fakes import Setting, group, spec


def apart(**counts: int) -> Setting:
    """Groups in one placement group; `free` is in none."""
    groups = [group(name, 0, placement_group=None if name == "free" else "deploy") for name in counts]
    setting = Setting(spec(*groups))
    return setting.with_servers(**counts) if any(counts.values()) else setting


def others(setting: Setting, number: int) -> None:
    for each in range(number):
        setting.cloud.add(f"other-{each}", {}).placement_group = "deploy"


def test_a_placement_group_that_others_fill_is_refused_before_the_first_create() -> None:
    setting = apart(worker=0)
    others(setting, 8)
    with pytest.raises(RefusedError, match="3 more servers are too many for the placement group deploy"):
        setting.ensure(3)
    assert setting.cloud.changes() == []
    assert setting.ensure(2).outcome is Outcome.CONVERGED


def test_a_full_one_withholds_only_the_groups_that_name_it() -> None:
    setting = apart(worker=0, free=0)
    others(setting, 10)
    result = setting.ensure(worker=1, free=2)
    assert setting.ready == ["prod-free-1", "prod-free-2"]
    assert result.outcome is Outcome.FAILED
    assert any("placement group deploy" in warning for warning in setting.progress.warnings)


def test_in_a_full_one_what_goes_goes_first() -> None:
    setting = apart(worker=10)
    setting.cloud.named("prod-worker-1").ready = None  # it fell over, and never comes back
    setting.clock.sleep(3600)
    result = setting.ensure(10, options=Options(timeout=timedelta(hours=1)))
    assert result.outcome is Outcome.CONVERGED
    assert len(setting.ready) == 10


def test_in_a_full_one_a_named_server_is_replaced() -> None:
    setting = apart(worker=10)
    result = setting.run(Demand(renew=frozenset({"prod-worker-3"})))
    assert result.outcome is Outcome.CONVERGED
    assert len(setting.ready) == 10
    assert "prod-worker-3" not in setting.owned


def addressed(**groups: tuple[bool, bool]) -> Setting:
    """Groups with and without an IPv4 and an IPv6 address."""
    return Setting(spec(*(group(name, 0, public_ipv4=v4, public_ipv6=v6) for name, (v4, v6) in groups.items())))


def test_a_quota_of_addresses_withholds_only_the_groups_that_need_as_many() -> None:
    setting = addressed(both=(True, True), single=(False, True), none=(False, False))
    setting.cloud.most_addresses = 5
    result = setting.ensure(both=3, single=1, none=2)
    assert result.outcome is Outcome.FAILED
    assert setting.ready == ["prod-both-1", "prod-both-2", "prod-none-1", "prod-none-2", "prod-single-1"]
    refused = [name for kind, name in setting.cloud.calls if kind == "create" and name.startswith("prod-both")]
    assert len(refused) <= 3


def test_a_quota_of_addresses_is_asked_once_an_hour() -> None:
    setting = addressed(both=(True, True), none=(False, False))
    setting.cloud.most_addresses = 5
    setting.ensure(both=3, none=0)
    setting.cloud.calls.clear()
    with pytest.raises(LimitError, match="both: the account allows no more public addresses"):
        setting.ensure(both=3, none=0)
    assert setting.cloud.changes() == []
    # What takes none is created all the same; and what was removed can come back.
    assert setting.ensure(both=2, none=2).outcome is Outcome.CONVERGED
    assert setting.ensure(both=1, none=2).outcome is Outcome.CONVERGED
    assert setting.ensure(both=2, none=2).outcome is Outcome.CONVERGED
    setting.clock.sleep(3700)
    setting.cloud.most_addresses = 6
    assert setting.ensure(both=3, none=2).outcome is Outcome.CONVERGED


def test_in_a_full_one_new_servers_wait_for_those_that_drain() -> None:
    """It is no refusal: a draining server leaves, and the next run creates the new one."""
    policy = StopPolicy(drain=("./drain.sh", "{name}"), drain_within=timedelta(hours=1))
    setting = Setting(spec(group(count=2, stop=policy, placement_group="deploy")))
    setting.cloud.most_together = 2
    setting.with_servers(worker=2)
    setting.drains.takes_s = 600
    setting.ensure(1, options=Options(wait=False))
    result = setting.ensure(2, options=Options(wait=False))
    assert result.outcome is Outcome.UNCONFIRMED
    assert len(setting.owned) == 2
    assert [call for call in setting.cloud.calls if call[0] == "create"] == []
    setting.clock.sleep(600)
    assert setting.ensure(2).outcome is Outcome.CONVERGED
    assert len(setting.ready) == 2
    assert setting.drains.starts == ["prod-worker-2"]
