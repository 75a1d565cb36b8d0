"""One request budget per account and process, known from the vendor's own headers.

Both vendors count requests per account, so all threads of a run share the same budget, and so do all stacks that
one process serves with the same token. While much is left, the governor sends at once; when little is left, one
request at a time at the vendor's refill rate. It reserves the last few for deletes (a machine that cannot be deleted
costs money), and waits for the stated reset so that no request is refused.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta
from enum import StrEnum

from scaler.model import Requests
from scaler.support.cancellation import is_cancelled
from scaler.support.clock import Clock, time_at
from scaler.support.values import dataclass

_CHECK_EVERY_S = 0.2
"""How often a waiting request checks whether its work was cancelled."""


class Kind(StrEnum):
    """What a request is for; a run's report counts by it."""

    CREATE = "create"
    LIST = "list"
    DELETE = "delete"
    OTHER = "other"


_COUNTED = frozenset({Kind.CREATE, Kind.DELETE})
"""What changes the number of machines: after an interrupt it is not sent."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """A vendor's rules that its headers do not say."""

    reset_is_full: bool
    """Whether `ratelimit-reset` is when the whole budget is back; otherwise, when one more request is."""
    per_minute: int | None = None
    """A second limit that the headers show only once it is exceeded."""
    low: float = 0.02
    """Below this share of the limit, requests are sent at the refill rate: others of the account find some left."""
    reserve: int = 10
    """How many of the last requests are for deletes only."""


class OverBudgetError(Exception):
    """The budget is back only after the caller's patience ends."""

    def __init__(self, reset: datetime) -> None:
        super().__init__(f"no request left before {reset.isoformat()}")
        self.reset = reset


class CancelledError(Exception):
    """The work that the request is part of was cancelled; it was not sent."""


@dataclass
class Allowance:
    """What is known of an account's budget. Everything but the lock is read and written only while that is held."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    limit: int | None = None
    left: float | None = None
    reset: datetime | None = None
    at: float = 0.0
    """When `left` was so (monotonic)."""
    in_flight: int = 0
    paused: float = 0.0
    """No request before this (monotonic)."""
    next: float = 0.0
    """No request but deletes before this (monotonic)."""
    sent: deque[float] = field(default_factory=deque)
    """When requests were sent, where the vendor has a limit per minute."""


class Allowances:
    """The allowance of each account that a process uses, by vendor and token. Safe to use from several threads."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Allowance] = {}
        self._lock = threading.Lock()

    def of(self, vendor: str, token: str) -> Allowance:
        """Return the one of the account that a token belongs to."""
        with self._lock:
            return self._known.setdefault((vendor, token), Allowance())


class Governor:
    """Decide when the next request of a connection may be sent, and count them. Safe to use from several threads."""

    def __init__(self, budget: Budget, clock: Clock, allowance: Allowance | None = None) -> None:
        """`allowance` is shared by the connections to one account; None: this is the only one."""
        self._budget = budget
        self._clock = clock
        self._account = allowance or Allowance()
        self._counts = dict.fromkeys(Kind, 0)
        self._retried = 0

    def wait(self, kind: Kind, patience: float, *, retry: bool = False) -> None:
        """Wait until a request of this kind may be sent, and count it as sent.

        `patience`: for how many seconds at most. Raises OverBudgetError at once if that is not
        enough; CancelledError once the thread's work is cancelled, for a request that would wait,
        create or delete. Call `answered` after every request for which this returned.
        """
        with self._account.lock:
            now = self._clock.monotonic()
            start = max(now, self._start(kind, now))
            if start - now > patience:
                raise OverBudgetError(self._clock.now() + timedelta(seconds=start - now))
            self._spend(kind, start, retry)
        while (left := start - self._clock.monotonic()) > 0 and not is_cancelled():
            self._clock.sleep(min(left, _CHECK_EVERY_S))
        if is_cancelled() and (left > 0 or kind in _COUNTED):
            self._take_back(kind, start, retry)
            raise CancelledError

    def answered(self, headers: Mapping[str, str]) -> None:
        """Learn the budget from an answer's headers (case-insensitive); empty for an answer that never came."""
        limit, left, reset = (_number(headers.get(f"ratelimit-{part}")) for part in ("limit", "remaining", "reset"))
        with self._account.lock:
            self._account.in_flight -= 1
            if not limit or left is None:
                return
            # The vendor may not have counted the requests that are still in flight.
            self._account.limit, self._account.left, self._account.at = (
                int(limit),
                left - self._account.in_flight,
                self._clock.monotonic(),
            )
            self._account.reset = _moment(reset)

    def pause(self, headers: Mapping[str, str], attempt: int) -> datetime:
        """Hold all requests back after a 429 until the time that the vendor states; return that time.

        If the vendor states none: 1, 2, 4 … seconds by `attempt`, counted from 0.
        """
        seconds = self._retry_after(headers, attempt)
        with self._account.lock:
            self._account.paused = max(self._account.paused, self._clock.monotonic() + seconds)
            if "retry-after" in headers:
                # After a burst, a 429 says that nothing is left, but means this minute and not the hour.
                self._account.left = None
        return self._clock.now() + timedelta(seconds=seconds)

    def left(self) -> tuple[int | None, datetime | None]:
        """Return the requests left and the reset, as the last answer stated them."""
        with self._account.lock:
            return (None if self._account.left is None else max(0, int(self._account.left))), self._account.reset

    def rate_wait(self, requests: int) -> timedelta:
        """Return how long the budget makes so many requests take, at least; zero while no answer has stated it."""
        with self._account.lock:
            return timedelta(seconds=max(self._minutes_of(requests), self._refill_of(requests)))

    @property
    def requests(self) -> Requests:
        """Requests sent so far."""
        with self._account.lock:
            return Requests(
                total=sum(self._counts.values()),
                create=self._counts[Kind.CREATE],
                list=self._counts[Kind.LIST],
                retried=self._retried,
            )

    def _start(self, kind: Kind, now: float) -> float:
        """Return the moment (monotonic) when a request of this kind may be sent."""
        queue = 0.0 if kind is Kind.DELETE else self._account.next
        return max(self._account.paused, queue, self._minute_start(kind, now), self._budget_start(kind, now))

    def _minute_start(self, kind: Kind, now: float) -> float:
        if self._budget.per_minute is None:
            return now
        while self._account.sent and self._account.sent[0] <= now - 60:
            self._account.sent.popleft()
        allowed = self._budget.per_minute - (0 if kind is Kind.DELETE else self._budget.reserve)
        return now if len(self._account.sent) < allowed else self._account.sent[-allowed] + 60

    def _budget_start(self, kind: Kind, now: float) -> float:
        if self._account.limit is None or self._account.left is None:
            return now
        left = min(self._account.limit, self._account.left + (now - self._account.at) * self._account.limit / 3600)
        spare = left - (0 if kind is Kind.DELETE else self._reserve)
        if spare >= 1:
            return now
        return now + ((1 - spare) * self._interval if self._budget.reset_is_full else self._until_reset())

    def _minutes_of(self, requests: int) -> float:
        """Return the seconds that the limit per minute makes so many requests take."""
        if self._budget.per_minute is None:
            return 0
        return 60.0 * ((requests - 1) // (self._budget.per_minute - self._budget.reserve))

    def _refill_of(self, requests: int) -> float:
        """Return the seconds until the vendor has allowed what it does not allow now."""
        if self._account.limit is None or self._account.left is None:
            return 0
        free = self._account.left - self._account.limit * self._budget.low
        return max(0.0, requests - max(0.0, free)) * self._interval

    def _spend(self, kind: Kind, start: float, retry: bool) -> None:
        self._counts[kind] += 1
        self._retried += retry
        self._account.in_flight += 1
        if self._budget.per_minute is not None:
            self._account.sent.append(start)
        if self._account.limit is None or self._account.left is None:
            return
        self._account.left -= 1
        if self._account.left < self._account.limit * self._budget.low:
            self._account.next = max(self._account.next, start + self._interval)

    def _take_back(self, kind: Kind, start: float, retry: bool) -> None:
        """Undo `_spend` for a request that was not sent."""
        with self._account.lock:
            self._counts[kind] -= 1
            self._retried -= retry
            self._account.in_flight -= 1
            if start in self._account.sent:
                self._account.sent.remove(start)
            if self._account.left is not None:
                self._account.left += 1

    @property
    def _reserve(self) -> float:
        return min(self._budget.reserve, (self._account.limit or 0) / 10)

    @property
    def _interval(self) -> float:
        """Seconds after which the vendor allows one more request; both state an hourly limit."""
        return 3600 / (self._account.limit or 3600)

    def _until_reset(self) -> float:
        return max(0.0, (self._account.reset - self._clock.now()).total_seconds()) if self._account.reset else 0.0

    def _retry_after(self, headers: Mapping[str, str], attempt: int) -> float:
        stated = _number(headers.get("retry-after"))
        if stated is not None:
            return stated
        backoff = float(2**attempt)
        reset = _moment(_number(headers.get("ratelimit-reset")))
        if reset is None or _number(headers.get("ratelimit-remaining")):
            # If requests are left, the reset of the budget does not explain this refusal.
            return backoff
        until_reset = max(0.0, (reset - self._clock.now()).total_seconds())
        return min(backoff, until_reset) if self._budget.reset_is_full else until_reset


_LARGEST = 1e11
"""More than any amount of requests and any wait, and the last time that is read: see `time_at`."""


def _number(text: str | None) -> float | None:
    """Return a header's number; None for anything that cannot be an amount or a moment."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number <= _LARGEST else None


def _moment(epoch: float | None) -> datetime | None:
    try:
        return None if epoch is None else time_at(epoch)
    except ValueError:
        return None
