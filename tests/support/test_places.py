"""Places: a bounded number at work, and none held up by those that hang."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta

from scaler.support.places import Places
from tests.support.fakes import FakeClock
from tests.support.servers import await_true

PATIENCE = timedelta(seconds=5)


class Worker:
    """Takes a place in a thread of its own, and keeps it until it is told."""

    def __init__(self, places: Places, name: str) -> None:
        self.is_in, self._leave, self.gave_up = threading.Event(), threading.Event(), False
        self._thread = threading.Thread(target=self._work, args=(places, name), daemon=True)
        self._thread.start()

    def _work(self, places: Places, name: str) -> None:
        with places.taken(name, lambda: self.gave_up):
            self.is_in.set()
            self._leave.wait(60)

    def enters(self) -> bool:
        return self.is_in.wait(60)

    def waits(self) -> bool:
        """Whether it is still outside after several looks for a place."""
        return not self.is_in.wait(0.5)

    def leave(self) -> None:
        self._leave.set()
        self._thread.join(60)


@contextmanager
def working(*workers: Worker) -> Iterator[None]:
    try:
        yield
    finally:
        for worker in workers:
            worker.leave()


def test_no_more_are_at_work_than_there_are_places_and_who_came_first_goes_first() -> None:
    places = Places(2, PATIENCE, FakeClock())
    first, second = Worker(places, "a"), Worker(places, "b")
    assert first.enters()
    assert second.enters()
    third = Worker(places, "c")
    assert third.waits()
    fourth = Worker(places, "d")
    with working(first, second, third, fourth):
        first.leave()
        assert third.enters()
        assert fourth.waits()
        second.leave()
        assert fourth.enters()


def test_who_keeps_a_place_too_long_holds_nobody_up() -> None:
    clock = FakeClock()
    places = Places(1, PATIENCE, clock)
    hanging = Worker(places, "hangs")
    assert hanging.enters()
    following = Worker(places, "next")
    with working(hanging, following):
        assert following.waits()
        clock.passed += 5.1
        assert following.enters()


def test_the_slow_have_places_of_their_own_until_they_end_in_time() -> None:
    clock = FakeClock()
    places = Places(1, PATIENCE, clock)
    slow = Worker(places, "slow")
    assert slow.enters()
    clock.passed += 6
    slow.leave()
    again, quick = Worker(places, "slow"), Worker(places, "quick")
    with working(again, quick):
        assert again.enters()
        assert quick.enters(), "beside it, although there is one place"
    # It ended in time.
    first, other = Worker(places, "slow"), None
    assert first.enters()
    other = Worker(places, "quick")
    with working(first, other):
        assert other.waits()


def test_newcomers_begin_one_after_the_other_while_they_do_what_takes_long() -> None:
    clock = FakeClock()
    engines = Places(1, timedelta(seconds=30), clock)
    places = Places(3, PATIENCE, clock, newcomers=1, is_busy=engines.has)
    with ExitStack() as stack:

        def begin(room: Places, name: str) -> Worker:
            worker = Worker(room, name)
            stack.enter_context(working(worker))
            return worker

        assert begin(places, "a").enters()
        engine = begin(engines, "a")
        assert engine.enters()
        second = begin(places, "b")
        clock.passed += 10
        assert second.waits(), "the first one is slow, but it has an engine"
        engine.leave()
        assert second.enters(), "the first one is slow, and hangs in something else"
        assert begin(engines, "b").enters()
        third = begin(places, "c")
        clock.passed += 10
        assert third.waits()
        clock.passed += 21
        assert third.enters(), "an engine that hangs is no excuse"
    # They are known now: three at a time.
    again = [Worker(places, name) for name in "abc"]
    with working(*again):
        assert all(worker.enters() for worker in again)


def test_who_gives_up_waits_no_longer() -> None:
    places = Places(1, PATIENCE, FakeClock())
    holder = Worker(places, "a")
    assert holder.enters()
    waiting = Worker(places, "b")
    with working(holder, waiting):
        assert waiting.waits()
        waiting.gave_up = True
        await_true(waiting.is_in.is_set, "the end of its wait")
