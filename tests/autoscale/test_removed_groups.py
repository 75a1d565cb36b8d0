"""A watch whose spec loses a group, or whose servers are set aside: it removes none by a slip, and goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from scaler.errors import RefusedError
from scaler.model.ownership import GROUP
from tests.autoscale.live import Live


def with_two_of_another_group(folder: Path) -> Live:
    """Two servers of `old`, which the spec does not have any more, and none of `worker`."""
    live = Live(folder)
    worker = live.spec.groups["worker"]
    live.spec = replace(live.spec, groups={"old": replace(worker, name="old", autoscale=None, count=2)})
    live.with_servers(old=2)
    live.spec = replace(live.spec, groups={"worker": replace(worker, count=0)})
    return live


def test_no_load_removes_not_all_servers_of_a_group_that_the_spec_lost(tmp_path: Path) -> None:
    live = with_two_of_another_group(tmp_path)
    with pytest.raises(RefusedError, match="would lose all its servers: 2 now, 0 wanted"):
        live.tick(jobs=0)
    assert live.cloud.changes() == []
    live.loop(3, 60, jobs=30)
    assert live.ready == ["prod-worker-1", "prod-worker-2", "prod-worker-3"]


def test_servers_that_are_set_aside_leave_less_room_under_the_limit(tmp_path: Path) -> None:
    live = Live(tmp_path, limit=4)
    live.loop(3, 60, jobs=30)
    live.cloud.named("prod-worker-2").labels[GROUP] = "debug"
    live.loop(3, 60, jobs=90)
    assert len(live.ready) == 4, "the one that is set aside, and three others"
    assert live.decisions[-1].count == 3
    assert "the stack's limit is 4, and 1 of its servers is set aside: at most 3" in live.decisions[-1].reason
