"""Many stacks in one process: none waits for another's trouble, and they come and go while it runs."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from scaler.autoscale.service import Service
from scaler.autoscale.watch import Duty, Watch
from scaler.errors import SpecError, StateError, Terminated
from scaler.model import Spec
from scaler.support.clock import SystemClock
from scaler.support.places import Places
from tests.autoscale.live import Live
from tests.support.servers import await_true

INTERVAL = timedelta(seconds=0.05)


@dataclass
class Stacks:
    """Stacks whose ticks do what a test says, and what the service tells of them."""

    spec: Spec
    there: set[str] = field(default_factory=set)
    ticks: Counter[str] = field(default_factory=Counter)
    does: dict[str, Callable[[], None]] = field(default_factory=dict)
    """What a stack's tick does; the others end at once."""
    opens: dict[str, Callable[[], None]] = field(default_factory=dict)
    loads: dict[str, Callable[[], None]] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    signal: BaseException | None = None
    """What a signal handler raises in the thread of the service."""
    skipped_at_first: dict[str, int] = field(default_factory=dict)
    """Intervals of each stack that had no tick before its first one."""

    def __post_init__(self) -> None:
        clock = SystemClock()
        self.places = Places(1, timedelta(seconds=0.2), clock)
        self.service = Service(self.list, self.watch, clock, self, INTERVAL.total_seconds())

    def list(self) -> set[str]:
        if self.signal:
            raise self.signal
        return set(self.there)

    def watch(self, stack: str) -> Watch:
        watch = Watch(
            interval=INTERVAL,
            clock=SystemClock(),
            load=lambda: self._load(stack),
            open=lambda spec: self._open(stack),
            listener=_Told(stack, self.events, self.skipped_at_first),
        )
        watch.place = lambda: self.places.taken(stack, lambda: watch.stopping)
        return watch

    def _load(self, stack: str) -> Spec:
        self.loads.get(stack, lambda: None)()
        return replace(self.spec, stack=stack)

    @contextmanager
    def _open(self, stack: str) -> Iterator[Duty]:
        self.opens.get(stack, lambda: None)()
        yield Duty(lambda spec, now: self._tick(stack, now))
        self.events.append(f"{stack}: closed")

    def _tick(self, stack: str, now: datetime) -> Any:
        self.does.get(stack, lambda: None)()
        self.ticks[stack] += 1

    # -- what the service tells ----------------------------------------------------------------

    def took_up(self, stack: str) -> None:
        self.events.append(f"{stack}: up")

    def dropped(self, stack: str) -> None:
        self.events.append(f"{stack}: gone")

    def awaits(self, stacks: Sequence[str]) -> None:
        self.events.append(f"awaits {', '.join(stacks)}")

    def broke(self, stack: str, error: Exception) -> None:
        self.events.append(f"{stack}: broke: {error}")

    def go_on(self, *stacks: str, times: int = 5) -> None:
        """Wait until these have ticked so often more."""
        aims = {stack: self.ticks[stack] + times for stack in stacks}
        await_true(lambda: all(self.ticks[stack] >= aim for stack, aim in aims.items()), f"ticks of {stacks}")


@dataclass
class _Told:
    stack: str
    events: list[str]
    skipped_at_first: dict[str, int]

    def began(self, waited_s: float, skipped: int) -> None:
        self.skipped_at_first.setdefault(self.stack, skipped)

    def ticked(self, done: Any, took_s: float) -> None: ...

    def failed(self, error: Exception, took_s: float) -> None:
        self.events.append(f"{self.stack}: failed: {type(error).__name__}")

    def reloaded(self, spec: Spec) -> None: ...

    def stands_by(self, active: str) -> None: ...

    def rests(self, spec: Spec) -> None: ...

    def reload_failed(self, error: Exception, spec: Spec | None) -> None:
        self.events.append(f"{self.stack}: no spec: {error}")


@pytest.fixture
def stacks(tmp_path: Path) -> Stacks:
    return Stacks(Live(tmp_path).spec)


@contextmanager
def serving(stacks: Stacks) -> Iterator[None]:
    thread = threading.Thread(target=stacks.service.run)
    thread.start()
    try:
        yield
    finally:
        stacks.service.stop()
        thread.join(60)
        assert not thread.is_alive()


def failing(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def test_no_stack_waits_for_one_that_hangs_fails_or_cannot_be_read(stacks: Stacks) -> None:
    over = threading.Event()

    def hang() -> None:
        over.wait(60)

    stacks.there = {"good", "fine", "hangs", "stuck", "fails", "broken", "opens_not"}
    stacks.does = {
        "hangs": hang,
        "stuck": hang,
        "fails": failing(ZeroDivisionError()),
    }
    stacks.loads = {"broken": failing(SpecError("1 problem"))}
    stacks.opens = {"opens_not": failing(StateError("no backend"))}
    with serving(stacks):
        stacks.go_on("good", "fine", times=20)
        assert stacks.ticks["hangs"] == stacks.ticks["stuck"] == 0
        await_true(lambda: stacks.events.count("opens_not: broke: no backend") > 1, "that it is tried again")
        # What was wrong is put right.
        over.set()
        stacks.does.clear()
        stacks.loads.clear()
        stacks.opens.clear()
        stacks.go_on(*stacks.there)
    assert "fails: failed: ZeroDivisionError" in stacks.events
    assert "broken: no spec: 1 problem" in stacks.events
    assert {event for event in stacks.events if event.endswith("closed")} == {
        f"{name}: closed" for name in stacks.there
    }


def test_stacks_come_and_go_while_it_runs(stacks: Stacks) -> None:
    stacks.there = {"first"}
    with serving(stacks):
        stacks.go_on("first")
        stacks.there = {"first", "second"}
        stacks.go_on("second")
        stacks.there = {"second"}
        await_true(lambda: "first: gone" in stacks.events, "the end of the first")
        ended = stacks.ticks["first"]
        stacks.go_on("second")
        assert stacks.ticks["first"] == ended
        stacks.there = {"first", "second"}
        stacks.go_on("first", "second")
    closed = [event for event in stacks.events if event.startswith("first")]
    assert closed == ["first: up", "first: closed", "first: gone", "first: up", "first: closed"]


def test_a_folder_that_cannot_be_read_now_drops_no_stack(stacks: Stacks) -> None:
    stacks.there = {"prod"}
    with serving(stacks):
        stacks.go_on("prod")
        stacks.signal = PermissionError("stacks/")
        stacks.go_on("prod", times=20)
        stacks.signal = None
    assert stacks.events == ["prod: up", "prod: closed"]


def test_first_ticks_come_one_after_the_other_and_no_interval_is_skipped_for_that(stacks: Stacks) -> None:
    """Each of them starts engines: if all began at once, all would end late."""
    at_work, most, first = Counter[str](), 0, set[str]()

    def work(stack: str) -> None:
        nonlocal most
        if stack in first:
            return
        first.add(stack)
        at_work[stack] += 1
        most = max(most, at_work.total())
        # Each is short, and all together take several intervals.
        time.sleep(INTERVAL.total_seconds() / 2)
        at_work.clear()

    names = [f"stack{number}" for number in range(20)]
    stacks.places = Places(20, timedelta(minutes=5), SystemClock(), newcomers=1)
    stacks.does = {name: partial(work, name) for name in names}
    stacks.there = set(names)
    with serving(stacks):
        await_true(lambda: len(first) == len(names), "the first tick of each")
    assert most == 1
    assert stacks.skipped_at_first == dict.fromkeys(names, 0)


def test_a_stop_waits_for_the_ticks_at_work_and_begins_no_other(stacks: Stacks) -> None:
    begun, over = threading.Event(), threading.Event()
    stacks.there = {"works", "waits"}

    def work() -> None:
        begun.set()
        over.wait(60)

    stacks.places = Places(1, timedelta(minutes=5), SystemClock())
    stacks.does = {"works": work}
    thread = threading.Thread(target=stacks.service.run)
    thread.start()
    assert begun.wait(60)
    before = stacks.ticks["waits"]
    stacks.service.stop()
    await_true(lambda: "waits: closed" in stacks.events, "the end of the one that waits for its place")
    await_true(lambda: "awaits works" in stacks.events, "that it says for whom it waits")
    assert thread.is_alive()
    over.set()
    thread.join(60)
    assert (stacks.ticks["works"], stacks.ticks["waits"]) == (1, before)
    assert "works: closed" in stacks.events


def test_an_interrupt_reaches_every_tick(stacks: Stacks) -> None:
    reached: list[str] = []
    begun = threading.Barrier(2)
    stacks.there = {"prod", "test"}
    stacks.places = Places(2, timedelta(minutes=5), SystemClock())

    def hang(stack: str) -> None:
        try:
            if begun.wait(60) == 0:
                stacks.signal = Terminated()
            while True:
                time.sleep(0.01)
        except Terminated:
            reached.append(stack)
            raise

    stacks.does = {"prod": lambda: hang("prod"), "test": lambda: hang("test")}
    with pytest.raises(Terminated):
        stacks.service.run()
    assert sorted(reached) == ["prod", "test"]
