"""The clock, as a parameter, and the format of times. No other module reads the machine's clock."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from scaler.support.durations import format_duration
from scaler.support.text import quoted

CLOCK_SKEW = timedelta(minutes=1)
"""How far the clocks of machines that work together may differ, without a word about it."""


_PIECE_S = 1.0


class Clock(Protocol):
    """The time, as a run needs it."""

    def now(self) -> datetime:
        """Return the current time, in UTC."""

    def monotonic(self) -> float:
        """Return the seconds since some fixed moment; they never decrease."""

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        # In pieces: a signal that comes right before a piece begins does not end it, only the next one does not begin.
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _PIECE_S))


def seconds_since_boot() -> float:
    """Return the seconds since this machine started, with those in which it slept."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    # macOS: its monotonic clock goes on while it sleeps.
    return time.monotonic()


def not_after(moment: datetime, now: datetime) -> datetime:
    """Return a recorded moment, or `now` if it lies in the future.

    A clock was ahead when it was recorded, or was set back since. Taken as it is, it would make a
    cooldown, a deadline or a grace time last until the clock has caught up, which may be years.
    """
    return min(moment, now)


def future_notice(moments: Iterable[datetime], now: datetime) -> str | None:
    """Return what to tell of recorded moments in the future; None if none is ahead by more than `CLOCK_SKEW`."""
    ahead = max(moments, default=now) - now
    if ahead <= CLOCK_SKEW:
        return None
    return (
        f"what was recorded is dated up to {format_duration(ahead)} in the future: a clock was ahead then,"
        " or this one is behind; it counts from now"
    )


def format_time(moment: datetime) -> str:
    """Write a time as all files and results have it, RFC 3339 in UTC to the second: `2026-11-24T22:10:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time, in UTC if it has no offset. Raises ValueError if it is none."""
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    try:
        # At the ends of the calendar an offset leads out of it.
        moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"a time out of range: {quoted(text)}") from None
    return moment
