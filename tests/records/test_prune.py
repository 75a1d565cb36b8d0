"""Which records are old enough to drop."""

from __future__ import annotations

from datetime import timedelta

import pytest

from scaler.model.lifecycle import Status
from scaler.records.state import RETENTION, prune_records
from tests.support.records import NOW, server


@pytest.mark.acceptance("Q10")
def test_prune_drops_old_deleted_records_and_no_other() -> None:
    old = NOW - RETENTION - timedelta(seconds=1)
    kept = [server(str(status), status, since=old) for status in Status if status != Status.DELETED]
    recent = server("recent", Status.DELETED, since=NOW - RETENTION)
    assert prune_records([*kept, recent, server("old", Status.DELETED, since=old)], NOW) == (*kept, recent)


@pytest.mark.acceptance("Q10")
def test_prune_obeys_another_retention() -> None:
    gone = server("gone", Status.DELETED, since=NOW - timedelta(hours=2))
    assert prune_records([gone], NOW, timedelta(hours=1)) == ()
    assert prune_records([gone], NOW, timedelta(hours=3)) == (gone,)
