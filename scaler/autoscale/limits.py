"""Limit the count that the rules ask for: stabilisation, cooldown, step, then the bounds. Pure.

Each limit is a function from a count to a count and the cap that explains the change, if any.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from scaler.autoscale.decision import Ask, Cap, Ceiling, History
from scaler.model import Group
from scaler.model.autoscaling import Policy, Schedule
from scaler.support.durations import format_duration
from scaler.support.values import dataclass

Limited = tuple[int, Cap | None]

BY_HAND_FOR = timedelta(minutes=10)
"""For how long a count that something else set is kept at least, in both directions.

A person who scales by hand, as in an incident, has a reason that the load does not show. Cooldowns
are made for the load, and may be 0: the next decision would revert what the person did. Ten minutes
are enough to see what it did, and to change the spec or stop the watch if it is to last.
"""


@dataclass(frozen=True)
class OpenWindow:
    """The bounds of a schedule's window that is open now."""

    min: int | None
    max: int | None


def open_windows(policy: Policy, now: datetime) -> tuple[OpenWindow, ...]:
    """Return the windows of the policy's schedules that are open now."""
    schedules = [rule for rule in policy.rules if isinstance(rule, Schedule)]
    if not schedules:
        return ()
    from scaler.support.cron import is_open

    return tuple(
        OpenWindow(window.min, window.max)
        for schedule in schedules
        for window in schedule.windows
        if is_open(window.cron, window.length, schedule.timezone, now)
    )


def remember_ask(entries: tuple[Ask, ...], asked: int, now: datetime, longest: timedelta) -> tuple[Ask, ...]:
    """Add what was asked for, and drop the entries that are older than the `longest` stabilisation needs."""
    if not entries or entries[-1][1] != asked:
        entries = (*entries, (now, asked))
    first = now - longest
    drop = 0
    while drop + 1 < len(entries) and entries[drop + 1][0] <= first:
        drop += 1
    return entries[drop:] if drop else entries


@dataclass(frozen=True, kw_only=True)
class Limiter:
    """Everything that limits a group's count now."""

    group: Group
    policy: Policy
    history: History
    asks: Sequence[Ask]
    """What the rules asked for, including now."""
    current: int
    now: datetime
    windows: Sequence[OpenWindow] = ()
    ceilings: Sequence[Ceiling] = ()

    def apply(self, asked: int) -> tuple[int, tuple[Cap, ...]]:
        """Return the limited count, and a cap for each change on the way to it."""
        count, caps = asked, []
        for limit in (self._stabilise, self._cool_down, self._step):
            count, cap = limit(count)
            caps += [cap] if cap else []
        # The bounds come last: neither a cooldown nor a step keeps a count outside them.
        for cap in self._bounds(count):
            count = cap.after
            caps.append(cap)
        return count, tuple(caps)

    def _stabilise(self, asked: int) -> Limited:
        """Take the mildest of what was asked for during the stabilisation window."""
        current = self.current
        if asked == current:
            return asked, None
        window = self.policy.up.stabilise if asked > current else self.policy.down.stabilise
        if not window:
            return asked, None
        first = self.now - window
        if self.asks[0][0] > first:
            reason = f"asked for less than {format_duration(window)} yet"
            return current, Cap("stabilisation", asked, current, reason)
        values = [asked, *_asked_since(self.asks, first)]
        count = max(current, min(values)) if asked > current else min(current, max(values))
        if count == asked:
            return count, None
        reason = f"{count} is the mildest of the last {format_duration(window)}"
        return count, Cap("stabilisation", asked, count, reason)

    def _cool_down(self, count: int) -> Limited:
        """Hold the count for a while: going up after a raise, going down after any change.

        A change by hand counts as both, and is held for `BY_HAND_FOR` if that is longer.
        """
        current, history = self.current, self.history
        if count == current:
            return count, None
        if count > current:
            last, pause = history.raised, self.policy.up.cooldown
        else:
            last = max((moment for moment in (history.raised, history.lowered) if moment), default=None)
            pause = self.policy.down.cooldown
        left = self._left(last, pause)
        left_by_hand = self._left(history.by_hand, BY_HAND_FOR)
        if max(left, left_by_hand) <= timedelta(0):
            return count, None
        reason = f"cooldown for {format_duration(left)} more"
        if left_by_hand > left:
            reason = f"the change by hand is kept for {format_duration(left_by_hand)} more"
        return current, Cap("cooldown", count, current, reason)

    def _left(self, since: datetime | None, length: timedelta) -> timedelta:
        """Return what is left of a time that began then; 0 or less if it is over, or never began."""
        return timedelta(0) if since is None else since + length - self.now

    def _step(self, count: int) -> Limited:
        """Change by at most the direction's `step` servers."""
        current = self.current
        step = self.policy.up.step if count > current else self.policy.down.step
        if step is None or abs(count - current) <= step:
            return count, None
        capped = current + step if count > current else current - step
        return capped, Cap("step", count, capped, f"at most {step} at once")

    def _bounds(self, count: int) -> Iterable[Cap]:
        """Yield the caps of the schedule, the group and the ceilings. The largest bounds of all open windows count."""
        floor = max((window.min for window in self.windows if window.min is not None), default=0)
        top = max((window.max for window in self.windows if window.max is not None), default=None)
        if count < floor:
            yield Cap("schedule", count, floor, f"the schedule's min is {floor}")
            count = floor
        most = [Ceiling("schedule", top, "the schedule's max")] if top is not None else []
        for cap in _ceilings(most, count):
            yield cap
            count = cap.after
        if count < self.group.min:
            yield Cap("min", count, self.group.min, f"the group's min is {self.group.min}")
            count = self.group.min
        most = [Ceiling("max", self.group.max, "the group's max")] if self.group.max is not None else []
        yield from _ceilings([*most, *self.ceilings], count)


def _asked_since(asks: Sequence[Ask], first: datetime) -> Iterable[int]:
    """Yield what was asked for since `first`, newest first. An entry holds until the next one begins."""
    for moment, count in reversed(asks):
        yield count
        if moment <= first:
            return


def _ceilings(ceilings: Iterable[Ceiling], count: int) -> Iterable[Cap]:
    for ceiling in ceilings:
        most = max(0, ceiling.most)
        if count > most:
            yield Cap(ceiling.name, count, most, f"{ceiling.why}: at most {most}")
            count = most
