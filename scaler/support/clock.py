"""The clock, as a parameter, and the format of times. No other module reads the machine's clock."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from scaler.support.durations import format_duration

CLOCK_SKEW = timedelta(minutes=1)
"""How far the clocks of machines that work together may differ, without a word about it."""


_PIECE_S = 1.0

_MOST_SECONDS = 1e11
"""The last time that is read, in seconds since 1970; it is in the year 5138.

A cooldown, a price's hour and a grace time are added to times that anybody may have written. At the ends
of the calendar that would be an OverflowError somewhere far from the file.
"""


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
    """Read an RFC 3339 time, in UTC if it has no offset. Raises ValueError if it is none, or not in 1970 to 5138."""
    return usable(datetime.fromisoformat(text))


def time_at(seconds: float) -> datetime:
    """Return the time so many seconds after 1970 began. Raises ValueError if it is not in 1970 to 5138."""
    if not 0 <= seconds <= _MOST_SECONDS:
        raise ValueError("a time that is not in the years 1970 to 5138")
    return datetime.fromtimestamp(seconds, UTC)


def usable(moment: datetime) -> datetime:
    """Return a time from outside, in UTC if it has no offset. Raises ValueError if it is not in 1970 to 5138."""
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    time_at(moment.timestamp())
    return moment
