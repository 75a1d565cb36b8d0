"""How long a server may take to start, as the stack's own boots teach it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.model.events import Event, EventName
from scaler.planning.deadlines import learn_deadline
from scaler.records.boots import boot_times
from tests.support.processes import NOW

START_WITHIN = timedelta(minutes=10)


def seconds(*numbers: float) -> list[timedelta]:
    return [timedelta(seconds=number) for number in numbers]


def events(*told: tuple[float, EventName, str], group: str = "worker") -> list[Event]:
    """Events at these seconds, of these servers."""
    return [Event(event=name, server=server, group=group, at=NOW + timedelta(seconds=at)) for at, name, server in told]


def boot(server: str, at: float, took: float, end: EventName = EventName.RUNNING) -> list[Event]:
    return events((at, EventName.CREATING, server), (at + took, end, server))


# ---------------------------------------------------------------------------------------------
# From boots to a deadline


def test_too_few_boots_teach_nothing() -> None:
    assert learn_deadline([], START_WITHIN) is None
    assert learn_deadline(seconds(60, 60, 60, 60), START_WITHIN) is None


@pytest.mark.parametrize(
    ("boots", "start_within", "expected"),
    [
        (seconds(70, 80, 90, 75, 85), "10m", timedelta(seconds=180)),
        # Never so short that a moment's delay is taken for death, nor longer than the spec allows.
        (seconds(8, 9, 10, 8, 9), "10m", timedelta(minutes=2)),
        (seconds(400, 400, 400, 400, 400), "10m", timedelta(minutes=10)),
        (seconds(8, 9, 10, 8, 9), "1m", timedelta(minutes=1)),
        # One of a hundred may be an outlier; one of fifty is none.
        (seconds(*[80] * 99, 290), "10m", timedelta(seconds=160)),
        (seconds(*[80] * 49, 290), "10m", timedelta(seconds=580)),
    ],
)
def test_the_deadline_is_twice_the_slowest_of_a_hundred(
    boots: list[timedelta], start_within: str, expected: timedelta
) -> None:
    from scaler.support.durations import parse_duration

    deadline = learn_deadline(boots, parse_duration(start_within))
    assert deadline is not None
    assert deadline.length == expected
    assert deadline.why == f"learned from {len(boots)} boots; start_within is {start_within}"


@given(st.lists(st.timedeltas(timedelta(0), timedelta(hours=2)), min_size=5, max_size=120))
def test_the_deadline_is_within_its_bounds_and_gives_up_no_usual_boot(boots: list[timedelta]) -> None:
    deadline = learn_deadline(boots, START_WITHIN)
    assert deadline is not None
    assert timedelta(minutes=2) <= deadline.length <= START_WITHIN
    slow = sum(1 for boot in boots if deadline.length < boot <= START_WITHIN)
    assert slow <= len(boots) // 100


# ---------------------------------------------------------------------------------------------
# From the event log to boots


def test_a_boot_is_from_the_creation_until_ready_by_group() -> None:
    log = [
        *boot("a", 0, 70),
        *events((10, EventName.CREATING, "b"), (95, EventName.RUNNING, "b"), group="other"),
        *boot("c", 20, 60),
    ]
    assert boot_times(log) == {"worker": seconds(70, 60), "other": seconds(85)}


def test_a_reboot_is_no_boot() -> None:
    log = [*boot("a", 0, 70), *events((100, EventName.REBOOTING, "a"), (900, EventName.RUNNING, "a"))]
    assert boot_times(log) == {"worker": seconds(70)}


def test_an_adopted_server_is_no_boot() -> None:
    assert boot_times(events((0, EventName.ADOPTED, "a"), (500, EventName.RUNNING, "a"))) == {}


@pytest.mark.parametrize("end", [EventName.ERRORED, EventName.DELETING, EventName.DELETED, EventName.VANISHED])
def test_a_boot_that_came_to_another_end_is_none(end: EventName) -> None:
    log = [*boot("a", 0, 5, end), *events((4000, EventName.RUNNING, "a")), *boot("a", 5000, 60)]
    assert boot_times(log) == {"worker": seconds(60)}


def test_a_server_that_was_given_up_makes_what_was_learned_void() -> None:
    """Else a slower image would be given up for ever: its boots would never be seen to end."""
    quick = [event for number in range(20) for event in boot(f"a{number}", number, 8)]
    assert learn_deadline(boot_times(quick)["worker"], START_WITHIN) is not None
    given_up = [*quick, *boot("b", 100, 121, EventName.HANGING)]
    assert boot_times(given_up) == {}
    other = [*given_up, *events((0, EventName.CREATING, "o"), (9, EventName.RUNNING, "o"), group="other")]
    assert boot_times(other) == {"other": seconds(9)}
    slower = [event for number in range(5) for event in boot(f"c{number}", 1000 + number, 200)]
    deadline = learn_deadline(boot_times([*given_up, *slower])["worker"], START_WITHIN)
    assert deadline is not None
    assert deadline.length == timedelta(seconds=400)


@pytest.mark.parametrize("before", [EventName.STOPPING, EventName.DELETING, EventName.REBOOTING])
def test_one_that_hangs_later_in_its_life_teaches_nothing_of_boots(before: EventName) -> None:
    log = [*boot("a", 0, 70), *events((100, before, "a"), (500, EventName.HANGING, "a"))]
    assert boot_times(log) == {"worker": seconds(70)}


def test_the_last_hundred_boots_count() -> None:
    log = [event for number in range(150) for event in boot(f"a{number}", 10 * number, number)]
    assert boot_times(log) == {"worker": seconds(*range(50, 150))}
