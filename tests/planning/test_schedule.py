"""The waves of a roll, and what is learned of its times."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.model.events import EventName
from scaler.model.roll import Pace
from scaler.model.schedule import RollSchedule, Wave
from scaler.planning.schedule import WaveSize, usual, waves_of
from scaler.records.boots import removal_times
from tests.planning.test_deadlines import events, seconds


def sizes(pace: Pace, left: int, wanted: int = 20, room: int | None = None) -> list[int]:
    return [wave.size for wave in waves_of(pace, begun=0, left=left, wanted=wanted, room=room)]


@pytest.mark.acceptance("T15")
def test_twenty_servers_with_a_surge_of_three_take_a_canary_and_seven_waves() -> None:
    assert sizes(Pace(surge=3, canary=1), 20) == [1, 3, 3, 3, 3, 3, 3, 1]
    assert sizes(Pace(surge=3, canary=0), 20) == [3, 3, 3, 3, 3, 3, 2]


def test_room_bounds_the_surge_and_what_may_be_out_of_service_is_used_besides() -> None:
    assert sizes(Pace(surge=3, canary=0), 5, room=1) == [1] * 5
    assert sizes(Pace(surge=3, canary=0), 5, room=0) == []
    assert list(waves_of(Pace(surge=3, unavailable=2, canary=0), begun=0, left=5, wanted=20, room=1)) == [
        WaveSize(3, 2),
        WaveSize(2, 1),
    ]


@given(
    st.builds(Pace, surge=st.integers(0, 5), unavailable=st.integers(0, 5), canary=st.integers(0, 3)),
    st.integers(0, 40),
    st.integers(1, 40),
    st.none() | st.integers(0, 9),
)
def test_waves_replace_each_server_once_within_surge_and_unavailable(
    pace: Pace, left: int, wanted: int, room: int | None
) -> None:
    waves = list(waves_of(pace, begun=0, left=left, wanted=wanted, room=room))
    surge = pace.surge if room is None else min(pace.surge, room)
    assert sum(wave.size for wave in waves) in (left, 0)
    assert bool(waves) == bool(left and surge + min(pace.unavailable, wanted))
    for wave in waves:
        assert wave.size - wave.ahead <= surge
        assert wave.ahead <= pace.unavailable


def test_a_roll_takes_a_boot_a_bake_and_a_removal_for_each_wave() -> None:
    waves = (Wave(size=2, ahead=0, most=6, fewest=4), Wave(size=3, ahead=1, most=6, fewest=3))
    schedule = RollSchedule(
        group="worker",
        outdated=5,
        waves=waves,
        boot=timedelta(seconds=40),
        bake=timedelta(minutes=2),
        removal=timedelta(seconds=10),
    )
    assert schedule.takes == 2 * timedelta(seconds=160) + 3 * timedelta(seconds=10)
    assert (schedule.most, schedule.fewest) == (6, 3)


def test_how_long_a_removal_takes_is_learned_from_the_events() -> None:
    log = events(
        (0, EventName.STOPPING, "a"),
        (1, EventName.DRAINING, "a"),
        (20, EventName.DELETING, "a"),
        (30, EventName.DELETED, "a"),
        # Taken back in the middle, it is none.
        (40, EventName.DRAINING, "b"),
        (50, EventName.RESUMED, "b"),
        (60, EventName.DELETED, "b"),
        (100, EventName.DELETING, "c"),
        (104, EventName.DELETED, "c"),
    )
    assert removal_times(log) == {"worker": seconds(30, 4)}
    assert usual(removal_times(log)["worker"]) == timedelta(seconds=17)
    assert usual(()) is None
