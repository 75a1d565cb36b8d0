"""The request budget: what the vendor's headers say is what threads get."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.clouds.governor import Allowances, Budget, CancelledError, Governor, Kind, OverBudgetError
from scaler.support.cancellation import cancelled_by
from scaler.support.clock import SystemClock

BUCKET = Budget(reset_is_full=True)
WINDOW = Budget(reset_is_full=False)
START = datetime(2026, 11, 24, 22, 0, tzinfo=UTC)


class StillClock:
    """Stands still but for `sleep`."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.passed += seconds


def headers(left: int, *, limit: int = 3600, reset_in: float = 600) -> Mapping[str, str]:
    reset = int((START + timedelta(seconds=reset_in)).timestamp())
    return {"ratelimit-limit": str(limit), "ratelimit-remaining": str(left), "ratelimit-reset": str(reset)}


def told(budget: Budget, left: int, *, reset_in: float = 600) -> tuple[Governor, StillClock]:
    """A governor that one answer has told what is left."""
    clock = StillClock()
    governor = Governor(budget, clock)
    governor.wait(Kind.OTHER, 0)
    governor.answered(headers(left, reset_in=reset_in))
    return governor, clock


@pytest.mark.parametrize("budget", [BUCKET, WINDOW])
def test_with_plenty_nobody_waits(budget: Budget) -> None:
    governor, clock = told(budget, 3000)
    for _ in range(100):
        governor.wait(Kind.CREATE, 0)
    assert clock.passed == 0


@pytest.mark.acceptance("S09")
@pytest.mark.parametrize("budget", [BUCKET, WINDOW])
def test_when_little_is_left_requests_go_at_the_refill_rate(budget: Budget) -> None:
    governor, clock = told(budget, 70)
    for _ in range(30):
        governor.wait(Kind.LIST, 300)
    assert clock.passed == pytest.approx(29)


@pytest.mark.acceptance("S09")
@pytest.mark.parametrize(("left", "requests"), [(3000, 1150), (700, 1150), (90, 200), (0, 30)])
def test_many_requests_take_as_long_as_was_said_and_no_longer_than_the_bucket_makes_them(
    left: int, requests: int
) -> None:
    """The bucket that answers each request is Hetzner's own; none is refused."""
    governor, clock = told(BUCKET, left)
    said = governor.rate_wait(requests).total_seconds()
    level, at = float(left), 0.0
    for _ in range(requests):
        governor.wait(Kind.CREATE, 3600)
        level, at = min(3600.0, level + clock.passed - at) - 1, clock.passed
        assert level > 8, "the last are for deletes"
        governor.answered(headers(int(level)))
    assert clock.passed == pytest.approx(said, abs=15)
    # Not more is kept than lets others of the account in.
    assert clock.passed <= max(0, requests - left) + 90


def test_a_limit_per_minute_is_foretold() -> None:
    clock = StillClock()
    governor = Governor(Budget(reset_is_full=False, per_minute=250), clock)
    governor.wait(Kind.OTHER, 0)
    governor.answered(headers(4900, limit=5000))
    said = governor.rate_wait(1000).total_seconds()
    for _ in range(1000):
        governor.wait(Kind.CREATE, 3600)
    assert clock.passed == pytest.approx(said, abs=60)
    assert said >= 180


def test_before_the_first_answer_nothing_is_foretold() -> None:
    assert Governor(BUCKET, StillClock()).rate_wait(1000) == timedelta(0)


@pytest.mark.acceptance("S09")
def test_deletes_do_not_queue_behind_others_and_get_the_reserve() -> None:
    governor, clock = told(BUCKET, 5)
    governor.wait(Kind.DELETE, 0)
    governor.wait(Kind.DELETE, 0)
    assert clock.passed == 0
    with pytest.raises(OverBudgetError):
        governor.wait(Kind.CREATE, 3)


def test_an_empty_bucket_is_waited_for_no_longer_than_it_takes_to_refill() -> None:
    governor, clock = told(BUCKET, 0, reset_in=3600)
    governor.wait(Kind.LIST, 300)
    assert clock.passed == pytest.approx(11)  # ten of them stay for deletes


def test_an_empty_window_is_waited_for_until_its_reset() -> None:
    governor, clock = told(WINDOW, 0, reset_in=120)
    governor.wait(Kind.LIST, 300)
    assert clock.passed == pytest.approx(120)


def test_who_would_wait_too_long_is_told_until_when_and_sends_nothing() -> None:
    governor, _ = told(WINDOW, 0, reset_in=1200)
    with pytest.raises(OverBudgetError) as caught:
        governor.wait(Kind.CREATE, 300)
    assert caught.value.reset == START + timedelta(seconds=1200)
    assert governor.requests.create == 0


def test_a_second_limit_per_minute_is_kept_although_no_header_tells_it() -> None:
    clock = StillClock()
    governor = Governor(Budget(reset_is_full=False, per_minute=250), clock)
    for _ in range(240):
        governor.wait(Kind.CREATE, 0)
    governor.wait(Kind.DELETE, 0)
    assert clock.passed == 0
    governor.wait(Kind.LIST, 300)
    assert clock.passed == pytest.approx(60)


@pytest.mark.acceptance("S09")
def test_after_a_429_everybody_waits() -> None:
    governor, clock = told(BUCKET, 3000)
    assert governor.pause({"retry-after": "7"}, 0) == START + timedelta(seconds=7)
    governor.wait(Kind.DELETE, 300)
    assert clock.passed == pytest.approx(7)


def test_a_burst_is_over_in_a_minute_although_nothing_is_left_for_the_hour() -> None:
    governor, clock = told(WINDOW, 0, reset_in=3000)
    governor.pause({"retry-after": "17", "ratelimit-remaining": "0"}, 0)
    governor.wait(Kind.LIST, 300)
    assert clock.passed == pytest.approx(17)


@pytest.mark.parametrize(("attempt", "seconds"), [(0, 1), (1, 2), (2, 4)])
def test_a_429_that_says_nothing_is_waited_for_ever_longer(attempt: int, seconds: float) -> None:
    governor, _ = told(BUCKET, 3000)
    assert governor.pause({}, attempt) == START + timedelta(seconds=seconds)


@pytest.mark.parametrize("nonsense", ["", "soon", "nan", "inf", "-5", "1e400", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_headers_that_are_nonsense_do_not_hurt(nonsense: str) -> None:
    governor, clock = told(BUCKET, 3000)
    fields = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")
    governor.wait(Kind.OTHER, 0)
    governor.answered(dict.fromkeys(fields, nonsense))
    governor.pause({"retry-after": nonsense, "ratelimit-reset": nonsense}, 0)
    governor.wait(Kind.LIST, 300)
    assert 0 <= clock.passed <= 60


@given(
    left=st.integers(0, 3600),
    budget=st.sampled_from([BUCKET, WINDOW]),
    kinds=st.lists(st.sampled_from(Kind), max_size=40),
)
def test_what_is_counted_is_what_was_let_through(left: int, budget: Budget, kinds: list[Kind]) -> None:
    governor, clock = told(budget, left)
    sent = [kind for kind in kinds if _may(governor, kind)]
    assert governor.requests.total == len(sent) + 1
    assert governor.requests.create == sent.count(Kind.CREATE)
    assert governor.requests.list == sent.count(Kind.LIST)
    refilled = clock.passed + 1
    assert budget is WINDOW or len(sent) <= left + refilled


def _may(governor: Governor, kind: Kind) -> bool:
    try:
        governor.wait(kind, 300)
    except OverBudgetError:
        return False
    return True


def test_fifty_threads_never_overdraw() -> None:
    clock = StillClock()
    governor = Governor(BUCKET, clock)
    governor.wait(Kind.OTHER, 0)
    governor.answered(headers(40))
    with ThreadPoolExecutor(50) as threads:
        allowed = list(threads.map(lambda _: _may_now(governor), range(200)))
    assert sum(allowed) <= 40


def _may_now(governor: Governor) -> bool:
    try:
        governor.wait(Kind.CREATE, 0)
    except OverBudgetError:
        return False
    return True


@pytest.mark.acceptance("S13")
@pytest.mark.parametrize("kind", Kind)
def test_a_request_that_waits_for_budget_ends_with_the_work_that_it_is_part_of(kind: Kind) -> None:
    """Real threads and the real clock: without the interrupt they would wait for minutes."""
    governor = Governor(WINDOW, SystemClock())
    governor.pause({"retry-after": "250"}, 0)
    interrupted = threading.Event()

    def wait() -> bool:
        with cancelled_by(interrupted):
            try:
                governor.wait(kind, 300)
            except CancelledError:
                return True
        return False

    with ThreadPoolExecutor(5) as threads:
        waiting = [threads.submit(wait) for _ in range(5)]
        while governor.requests.total < 5:
            assert not any(each.done() for each in waiting)
        interrupted.set()
        assert [each.result(30) for each in waiting] == [True] * 5
    assert governor.requests.total == 0


@pytest.mark.acceptance("S13")
@pytest.mark.parametrize("kind", Kind)
def test_after_an_interrupt_nothing_is_created_or_deleted_and_looking_goes_on(kind: Kind) -> None:
    governor, clock = told(BUCKET, 3000)
    interrupted = threading.Event()
    interrupted.set()
    with cancelled_by(interrupted):
        if kind in (Kind.CREATE, Kind.DELETE):
            with pytest.raises(CancelledError):
                governor.wait(kind, 300)
        else:
            governor.wait(kind, 300)
    governor.wait(kind, 300)
    assert clock.passed == 0


def test_the_budget_of_a_request_that_was_not_sent_is_anothers() -> None:
    governor, _ = told(BUCKET, 3000)
    interrupted = threading.Event()
    interrupted.set()
    for _ in range(50):
        with cancelled_by(interrupted), pytest.raises(CancelledError):
            governor.wait(Kind.DELETE, 0)
    assert governor.left()[0] == 3000
    assert governor.requests.total == 1


def test_what_one_connection_learns_holds_for_all_of_the_same_account() -> None:
    clock, accounts = StillClock(), Allowances()
    first, second = (Governor(BUCKET, clock, accounts.of("Hetzner Cloud", "secret")) for _ in range(2))
    other = Governor(BUCKET, clock, accounts.of("Hetzner Cloud", "another"))
    first.wait(Kind.LIST, 0)
    first.answered(headers(1))
    with pytest.raises(OverBudgetError):
        second.wait(Kind.LIST, 0)
    other.wait(Kind.LIST, 0)
    second.pause({"retry-after": "30"}, 0)
    with pytest.raises(OverBudgetError):
        first.wait(Kind.DELETE, 29)
    assert (first.requests.total, second.requests.total, other.requests.total) == (1, 0, 1)
