"""Durations, ages and counts, as people read them."""

from __future__ import annotations

from datetime import datetime, timedelta


def format_elapsed(elapsed: timedelta) -> str:
    """Return `0.4s`, `48s`, `1m07s` or `1h05m`."""
    seconds = elapsed.total_seconds()
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60}h{minutes % 60:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def format_age(moment: datetime, now: datetime) -> str:
    """Return `just now`, `42 s ago`, `3 min ago`, `5 h ago` or `8 d ago`."""
    seconds = int((now - moment).total_seconds())
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return "just now"


def format_count(number: int, noun: str) -> str:
    """Return `1 server` or `3 servers`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
