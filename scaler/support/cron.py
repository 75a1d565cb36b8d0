"""Cron expressions, and the windows that begin with them. Pure functions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError


def cron_problem(expression: str) -> str:
    """Say what is wrong with a cron expression, as a predicate; empty if nothing is."""
    try:
        next(CronSim(expression, datetime(2026, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration):
        return "must be a cron expression that comes true, such as 0 8 * * mon-fri"
    return ""


def is_open(expression: str, length: timedelta, timezone: str, now: datetime) -> bool:
    """Return whether the expression was last due, in that time zone, less than `length` before `now`."""
    begun = _last(expression, timezone, now.replace(second=0, microsecond=0))
    return begun is not None and now - begun < length


def next_opening(expression: str, timezone: str, now: datetime) -> datetime | None:
    """Return when the expression is due next, in its time zone; None if never again."""
    return next(CronSim(expression, now.astimezone(ZoneInfo(timezone))), None)


@lru_cache(maxsize=4096)
def _last(expression: str, timezone: str, minute: datetime) -> datetime | None:
    """Return when the expression was last due, at or before this minute, in UTC."""
    # CronSim excludes its start: one second later, the minute itself is included.
    here = (minute + timedelta(seconds=1)).astimezone(ZoneInfo(timezone))
    last = next(CronSim(expression, here, reverse=True), None)
    return last.astimezone(UTC) if last else None
