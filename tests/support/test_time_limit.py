"""The time of a run, as what waits is told of it."""

from __future__ import annotations

import math
from datetime import timedelta

from scaler.support.time_limit import GRACE_S, TimeLimit
from tests.support.fakes import FakeClock


def test_a_wait_is_cut_to_what_is_left() -> None:
    clock = FakeClock()
    limit = TimeLimit(clock, timedelta(seconds=15))
    assert (limit.cut(10), limit.cut(60), str(limit)) == (10, 15, "15s")
    clock.sleep(12)
    assert (limit.left, limit.cut(60), limit.cut(60, at_least=5), limit.is_over) == (3, 3, 5, False)
    clock.sleep(4)
    assert (limit.left, limit.cut(60), limit.cut(60, at_least=5), limit.is_over) == (0, 0, 5, True)
    assert not limit.is_grace_over
    clock.sleep(GRACE_S)
    assert limit.is_grace_over


def test_overtime_is_had_once_by_all_that_ends_late() -> None:
    clock = FakeClock()
    limit = TimeLimit(clock, timedelta(seconds=15))
    assert limit.left_with(60) == 75
    clock.sleep(45)
    assert limit.left_with(60) == 30
    clock.sleep(3600)
    assert limit.left_with(60) == GRACE_S
    assert TimeLimit(clock).left_with(60) == math.inf


def test_without_a_length_nothing_is_cut() -> None:
    limit = TimeLimit(FakeClock())
    assert (limit.cut(3600), limit.is_over, str(limit)) == (3600, False, "no limit")


def test_the_time_in_which_a_person_thinks_does_not_count() -> None:
    clock = FakeClock()
    limit = TimeLimit(clock)
    limit.end_after(timedelta(seconds=15))
    clock.sleep(100)
    limit.leave_out(90)
    assert limit.left == 5
    limit.restart()
    assert limit.left == 15
