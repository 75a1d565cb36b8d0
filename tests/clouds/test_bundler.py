"""Create calls of real threads, made into requests of up to ten names."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from scaler.clouds import AmbiguousError, CloudError, InvalidError, NoCapacityError, QuotaError
from scaler.clouds.bundling import Body, Bundler
from scaler.model import Machine
from scaler.model.lifecycle import Phase
from scaler.support.clock import SystemClock
from tests.support.fakes import FakeClock

KIND: Body = {"size": "small"}


def machine(name: str) -> Machine:
    return Machine(
        id=f"id-of-{name}",
        name=name,
        phase=Phase.BOOTING,
        vendor_status="new",
        labels={},
        type="small",
        location="here",
        image=None,
        created=datetime(2026, 11, 26, tzinfo=UTC),
    )


class HeldClock(SystemClock):
    """Its sleepers wait until the test lets them go."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def sleep(self, seconds: float) -> None:
        assert self.go.wait(30)


@dataclass
class Vendor:
    """Makes all the machines of a request, or none: as many as it has room for."""

    room: int = 1000
    refusal: type[CloudError] = QuotaError
    made: list[str] = field(default_factory=list)
    asked: list[list[str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, names: Sequence[str], body: Body) -> Mapping[str, Machine]:
        with self.lock:
            self.asked.append(list(names))
            if len(self.made) + len(names) > self.room:
                raise self.refusal("", why="there is no room for these")
            self.made += names
        return {name: machine(name) for name in reversed(names)}


def asking(
    send: Callable[[Sequence[str], Body], Mapping[str, Machine]], calls: Sequence[tuple[str, Body]]
) -> dict[str, Machine | Exception]:
    """What each call comes to, of a multiple of ten calls that make full bundles however their threads run."""
    clock = HeldClock()
    bundler = Bundler(send, most=10, clock=clock)

    def ask(name: str, body: Body) -> Machine | Exception:
        try:
            return bundler.create(name, body)
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(calls)) as threads:
        pending = {name: threads.submit(ask, name, body) for name, body in calls}
        try:
            # The first of each ten is held by the clock, and is not needed by the others.
            done = as_completed(pending.values(), timeout=30)
            for _ in range(len(calls) * 9 // 10):
                next(done)
        finally:
            clock.go.set()
        return {name: call.result(30) for name, call in pending.items()}


def kinds(outcomes: Mapping[str, Machine | Exception]) -> list[type]:
    return [type(outcome) for outcome in outcomes.values()]


def test_a_lone_call_is_a_request_of_one_name_and_waits_by_the_given_clock() -> None:
    vendor, clock = Vendor(), FakeClock()
    before = clock.monotonic()
    assert Bundler(vendor, most=10, clock=clock).create("a", KIND) == machine("a")
    assert vendor.asked == [["a"]]
    assert 0 < clock.monotonic() - before <= 0.1


def test_ten_calls_are_one_request_that_waits_no_longer_and_each_gets_its_own_machine() -> None:
    vendor = Vendor()
    names = [f"web-{number}" for number in range(30)]
    outcomes = asking(vendor, [(name, KIND) for name in names])
    assert outcomes == {name: machine(name) for name in names}
    assert sorted(vendor.made) == sorted(names)
    assert [len(names) for names in vendor.asked] == [10, 10, 10]


def test_what_differs_in_more_than_the_name_is_not_asked_for_together() -> None:
    bodies: dict[str, Body] = {f"web-{number}": {"size": ("small", "large")[number % 2]} for number in range(8)}
    seen: list[tuple[str, Body]] = []

    def send(names: Sequence[str], body: Body) -> Mapping[str, Machine]:
        seen.extend((name, body) for name in names)
        return {name: machine(name) for name in names}

    bundler = Bundler(send, most=10, clock=SystemClock())
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(bundler.create, bodies, bodies.values()))
    assert made == [machine(name) for name in bodies]
    assert dict(seen) == bodies


@pytest.mark.parametrize("refusal", [QuotaError, NoCapacityError])
@pytest.mark.parametrize("room", range(11))
def test_of_what_is_too_much_as_many_are_made_as_fit(room: int, refusal: type[CloudError]) -> None:
    vendor = Vendor(room=room, refusal=refusal)
    outcomes = asking(vendor, [(f"web-{number}", KIND) for number in range(10)])
    assert len(vendor.made) == room
    assert {name for name, outcome in outcomes.items() if isinstance(outcome, Machine)} == set(vendor.made)
    assert kinds(outcomes).count(refusal) == 10 - room


def test_two_bundles_that_do_not_fit_both_leave_no_room_unused() -> None:
    vendor = Vendor(room=13)
    outcomes = asking(vendor, [(f"web-{number}", KIND) for number in range(20)])
    assert len(vendor.made) == 13
    assert kinds(outcomes).count(QuotaError) == 7


@pytest.mark.parametrize("error", [AmbiguousError, InvalidError])
def test_another_error_is_everybodys_and_the_request_is_not_repeated(error: type[CloudError]) -> None:
    asked: list[str] = []

    def send(names: Sequence[str], body: Body) -> Mapping[str, Machine]:
        asked.extend(names)
        raise error("", why="the vendor's words")

    outcomes = asking(send, [(f"web-{number}", KIND) for number in range(10)])
    assert sorted(asked) == sorted(outcomes)
    assert kinds(outcomes) == [error] * 10
    # Each caller puts words of its own into its error.
    assert len(set(map(id, outcomes.values()))) == 10
    assert {outcome.why for outcome in outcomes.values() if isinstance(outcome, CloudError)} == {"the vendor's words"}


def test_what_the_answer_does_not_name_is_an_error_of_that_call_alone() -> None:
    def send(names: Sequence[str], body: Body) -> Mapping[str, Machine]:
        return {name: machine(name) for name in names if name != "web-3"}

    outcomes = asking(send, [(f"web-{number}", KIND) for number in range(10)])
    assert isinstance(outcomes.pop("web-3"), LookupError)
    assert outcomes == {name: machine(name) for name in outcomes}


def test_trouble_in_one_half_is_not_the_other_halfs() -> None:
    """Too much for one request, and then the second half's answer is lost."""
    requests = iter([QuotaError("", why="too many"), None, AmbiguousError("", why="no answer")])

    def send(names: Sequence[str], body: Body) -> Mapping[str, Machine]:
        if error := next(requests):
            raise error
        return {name: machine(name) for name in names}

    outcomes = asking(send, [(f"web-{number}", KIND) for number in range(10)])
    assert kinds(outcomes).count(Machine) == 5
    assert kinds(outcomes).count(AmbiguousError) == 5


def test_two_calls_of_one_name_are_two_machines() -> None:
    vendor, clock = Vendor(), HeldClock()
    bundler = Bundler(vendor, most=10, clock=clock)
    with ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(bundler.create, "web", KIND) for _ in range(2)]
        clock.go.set()
        assert [call.result(30).name for call in calls] == ["web", "web"]
    assert vendor.asked == [["web"], ["web"]]
