"""Runs that are killed at every moment between two lasting changes."""

from __future__ import annotations

from contextlib import suppress

import pytest

from scaler.model import Outcome
from scaler.model.lifecycle import Status
from tests.converge.settings import status
from tests.support.fakes import Killed, Setting


@pytest.mark.acceptance("R08", "S04")
@pytest.mark.parametrize("boundary", range(14))
@pytest.mark.parametrize("saves", [True, False], ids=["engine-outlives", "engine-dies"])
@pytest.mark.parametrize(("before", "wanted"), [(0, 3), (3, 1)], ids=["up", "down"])
def test_a_kill_at_any_boundary_is_mended_by_the_next_run(boundary: int, saves: bool, before: int, wanted: int) -> None:
    setting = Setting().with_servers(worker=before)
    setting.stack.saves_when_killed = saves
    setting.fuse.left = boundary
    with suppress(Killed):
        setting.ensure(wanted)
    setting.fuse.left = None
    result = setting.ensure(wanted)
    assert result.outcome in (Outcome.CONVERGED, Outcome.UNCHANGED)
    assert len(setting.ready) == len(setting.owned) == wanted
    assert setting.is_in_order()
    assert not [server for server in setting.records.servers.values() if server.status is Status.NEW]


def test_an_intent_that_was_never_carried_out_leaves_no_record() -> None:
    setting = Setting()
    setting.fuse.left = 8
    with pytest.raises(Killed):
        setting.ensure(1)
    assert status(setting, "prod-worker-1") is Status.NEW
    assert setting.ensure(0).outcome in (Outcome.CONVERGED, Outcome.UNCHANGED)
    assert setting.records.servers == {}
