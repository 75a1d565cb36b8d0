"""The polling loop: how long it looks, and what it survives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from scaler.clouds import AuthError
from scaler.converge.confirm import confirm, on_their_way, running
from scaler.converge.knowledge import Knowledge
from scaler.model import StackState, World
from scaler.model.lifecycle import Status
from tests.support.fakes import FakeClock, RecordingProgress, passing, spec
from tests.support.worlds import numbered, server, world

MOVING = (Status.STARTING, Status.REBOOTING, Status.STOPPING, Status.DELETING)


class Looks:
    """A world with one server on its way until `ends_s`, and how it is looked at."""

    def __init__(self, ends_s: float, status: Status = Status.STARTING, end: Status = Status.RUNNING) -> None:
        self.clock = FakeClock()
        self.progress = RecordingProgress()
        self.times: list[float] = []
        self.troubles: list[Exception] = []
        self._ends_s, self._status, self._end = ends_s, status, end

    def world(self) -> World:
        return world(spec(), server(status=self._status if self.clock.passed < self._ends_s else self._end))

    def look(self) -> World:
        self.times.append(self.clock.passed)
        if self.troubles:
            raise self.troubles.pop(0)
        return self.world()

    def confirm(self, deadline: float = 900, look: Callable[[], World] | None = None) -> tuple[str, ...]:
        seen = self.world()
        confirmed = confirm(
            lambda known: replace(known, world=(look or self.look)()),
            Knowledge(spec=spec(), stack=StackState(), world=seen, first=seen, records={}),
            clock=self.clock,
            deadline=deadline,
            progress=self.progress,
        )
        if confirmed.error:
            raise confirmed.error
        return confirmed.late


@pytest.mark.acceptance("Q01")
@pytest.mark.parametrize("status", MOVING)
def test_it_looks_again_until_the_server_has_arrived(status: Status) -> None:
    looks = Looks(4.5, status)
    assert looks.confirm() == ()
    assert looks.times == [1, 2, 3, 4, 5]


def test_slow_servers_are_looked_at_less_often() -> None:
    looks = Looks(60)
    looks.confirm()
    pauses = [later - sooner for sooner, later in zip(looks.times, looks.times[1:], strict=False)]
    assert set(pauses) == {1, 2}
    assert len(looks.times) <= 45


def test_nothing_on_its_way_is_not_looked_at() -> None:
    looks = Looks(0)
    assert looks.confirm() == ()
    assert (looks.times, looks.clock.passed) == ([], 0)


@pytest.mark.parametrize("end", [Status.HANGING, Status.ERRORED, Status.STOPPED])
def test_what_failed_is_not_waited_for(end: Status) -> None:
    looks = Looks(3, end=end)
    assert looks.confirm() == ()
    assert looks.clock.passed == 3


@pytest.mark.acceptance("Q02")
def test_out_of_time_it_tells_who_was_waited_for() -> None:
    looks = Looks(1000)
    assert looks.confirm(deadline=30.5) == ("prod-worker-1",)
    assert looks.clock.passed == 30.5


@pytest.mark.acceptance("R07")
def test_passing_troubles_end_no_wait_and_others_do() -> None:
    looks = Looks(5)
    looks.troubles = passing(3)
    assert looks.confirm() == ()
    assert len(looks.progress.notes) == 3
    looks = Looks(5)
    looks.troubles = [AuthError("401")]
    with pytest.raises(AuthError):
        looks.confirm()


def test_a_cloud_that_never_answers_is_not_waited_for_past_the_deadline() -> None:
    looks = Looks(5)
    looks.troubles = passing(1000)
    assert looks.confirm(deadline=10) == ("prod-worker-1",)


def test_each_server_is_told_of_until_it_has_arrived() -> None:
    looks = Looks(2)
    looks.confirm()
    assert looks.progress.shown == [
        ("prod-worker-1", "starting"),
        ("prod-worker-1", "starting"),
        ("prod-worker-1", "running"),
    ]


def test_a_server_whose_record_took_another_name_meanwhile_is_told_of_under_that() -> None:
    """A duplicate takes the plain name over when the one that had it is gone."""
    looks = Looks(2)
    assert looks.confirm(look=lambda: world(spec(), server("prod-worker-9"))) == ()
    assert looks.progress.shown == [("prod-worker-1", "starting")]


def test_who_is_on_its_way_and_who_is_ready() -> None:
    here = world(spec(), *numbered(*[status for status in Status if status is not Status.DELETED]))
    assert {here.servers[name].status for name in on_their_way(here)} == {Status.NEW, *MOVING}
    assert running(here, ["worker", "web"]) == {"worker": 1, "web": 0}
