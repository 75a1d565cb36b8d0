"""Runs after one whose clock was ahead: what it recorded lies in the future, and counts from now."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from scaler.converge.demand import Options
from scaler.converge.operate import look
from scaler.model.lifecycle import Status
from tests.converge.settings import status
from tests.support.fakes import START, Setting, group, spec

AHEAD = timedelta(days=1)
IMPATIENT = Options(wait=False)


def back_in_time(setting: Setting) -> Setting:
    """Set the clock back, and forget what was told until then."""
    setting.clock.ahead = timedelta(0)
    setting.progress.warnings.clear()
    return setting


def with_a_start_ahead() -> Setting:
    """Two servers that are ready, and one that never boots; its start is recorded for tomorrow."""
    setting = Setting(spec(group(start_within=timedelta(minutes=10)))).with_servers(worker=2)
    setting.clock.ahead = AHEAD
    setting.cloud.hang = 1
    setting.ensure(3, options=IMPATIENT)
    assert setting.records.servers["prod-worker-3"].since > START + AHEAD
    return back_in_time(setting)


@pytest.mark.acceptance("T14")
def test_a_deadline_begins_now_and_is_told_of_once() -> None:
    setting = with_a_start_ahead()
    begun = setting.clock.now()
    setting.ensure(3, options=IMPATIENT)
    assert setting.records.servers["prod-worker-3"].since == begun.replace(microsecond=0)
    (notice,) = setting.progress.warnings
    assert notice.startswith("what was recorded is dated up to 1d in the future")
    setting.clock.sleep(590)
    assert setting.ensure(3, options=IMPATIENT).outcome == "unconfirmed"
    assert (status(setting, "prod-worker-3"), len(setting.ready)) == (Status.STARTING, 2)
    setting.clock.sleep(20)
    assert setting.ensure(3).outcome == "converged"
    assert len(setting.ready) == 3
    assert len(setting.progress.warnings) == 1


@pytest.mark.acceptance("T14")
def test_the_stack_outputs_lose_their_future_too() -> None:
    setting = Setting()
    setting.clock.ahead = AHEAD
    setting.with_servers(worker=2)
    back_in_time(setting)
    assert setting.ensure(2).outcome == "converged"
    assert setting.stack.processes == 1
    now = setting.clock.now()
    assert all(one.since <= now for one in setting.stack.saved.outputs.values())
    assert len(setting.progress.warnings) == 1
    assert setting.is_in_order()
    assert setting.ensure(2).outcome == "unchanged"
    assert (setting.stack.processes, len(setting.progress.warnings)) == (1, 1)


@pytest.mark.acceptance("T14")
def test_a_create_of_the_future_that_left_nothing_counts_for_a_minute_and_no_longer() -> None:
    setting = Setting().with_servers(worker=3)
    name = "prod-worker-3"
    accepted = replace(setting.records.servers[name], status=Status.STARTING, since=START + AHEAD, created=None)
    setting.records.servers[name] = accepted
    setting.cloud.remove(name)
    look(setting.spec, setting.around)
    assert status(setting, name) is Status.STARTING
    setting.clock.sleep(90)
    assert setting.ensure(3).outcome == "converged"
    assert len(setting.ready) == 3


@pytest.mark.acceptance("T14")
def test_a_clock_that_is_behind_the_cloud_makes_no_record_of_the_future() -> None:
    setting = Setting()
    setting.clock.ahead = -AHEAD
    setting.cloud.boot_s = 100
    setting.ensure(2, options=IMPATIENT)
    setting.records.lose()
    setting.stack.saved = replace(setting.stack.saved, outputs={})
    setting.ensure(2, options=IMPATIENT)
    assert [status(setting, name) for name in setting.owned] == [Status.STARTING, Status.STARTING]
    assert all(one.since <= setting.clock.now() for one in setting.records.servers.values())
    assert setting.progress.warnings == []


def test_a_preview_tells_of_the_future_and_leaves_it_recorded() -> None:
    setting = with_a_start_ahead()
    recorded = dict(setting.records.servers)
    setting.ensure(3, options=Options(apply=False))
    assert len(setting.progress.warnings) == 1
    assert setting.records.servers == recorded
