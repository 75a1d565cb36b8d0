"""The spec's limit, protected servers, and the number that the caller expects."""

from __future__ import annotations

from datetime import timedelta

import pytest

from scaler.converge.demand import Options
from scaler.errors import RefusedError
from scaler.model import Outcome
from tests.support.fakes import Setting, group, spec


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
