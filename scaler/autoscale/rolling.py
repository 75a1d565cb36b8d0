"""Rolls that autoscaling begins and goes on with by itself, and when it may."""

from __future__ import annotations

from datetime import datetime

from scaler.converge.demand import RollOrder, order_by_itself
from scaler.model import Spec
from scaler.model.roll import RollWindows


def roll_order(spec: Spec, now: datetime) -> RollOrder | None:
    """Return what a tick is to do about rolls; None where no group is rolled by itself."""
    closed = {name: why for name, group in spec.groups.items() if (why := _why_closed(group.roll_windows, now))}
    return order_by_itself(spec, closed)


def _why_closed(times: RollWindows, now: datetime) -> str:
    """Say that no window is open, and when the next one opens; empty if one is, or if there are none."""
    if not times.windows:
        return ""
    from scaler.support.cron import is_open, next_opening

    if any(is_open(window.cron, window.length, times.timezone, now) for window in times.windows):
        return ""
    openings = [at for window in times.windows if (at := next_opening(window.cron, times.timezone, now))]
    next_one = f" before {min(openings):%Y-%m-%d %H:%M} {times.timezone}" if openings else ""
    return f"none of its windows is open{next_one}"
