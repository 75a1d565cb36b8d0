"""Places for work that runs side by side: a bounded number, which work that hangs does not keep."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from scaler.support.clock import Clock

_LOOK_EVERY_S = 0.1


def _never() -> bool:
    return False


@dataclass(slots=True)
class _Room:
    """The places of one kind."""

    queue: deque[object] = field(default_factory=deque)
    """Who waits, in the order of arrival."""
    since: dict[object, float] = field(default_factory=dict)
    """When each taken place was taken."""


class Places:
    """At most so many at the same time, of those that end in time. Safe to use from several threads.

    Who keeps a place for longer than `patience` is slow: the place is free for others again, and the next time this one
    gets one of as many places for the slow, until it has ended in time. So the slow do not hold up the quick,
    and there are never more at work than twice the number, and all that are slow.
    """

    def __init__(self, number: int, patience: timedelta, clock: Clock) -> None:
        self._number = number
        self._patience_s = patience.total_seconds()
        self._clock = clock
        self._quick, self._slow = _Room(), _Room()
        self._slow_ones: set[str] = set()
        self._changed = threading.Condition()

    def are_taken(self) -> bool:
        """Return whether anybody is at work."""
        with self._changed:
            return bool(self._quick.since or self._slow.since)

    @contextmanager
    def taken(self, name: str, is_over: Callable[[], bool] = _never) -> Iterator[None]:
        """Hold a place while the block runs; wait for it, but no longer than until `is_over`."""
        ticket = object()
        with self._changed:
            room = self._slow if name in self._slow_ones else self._quick
            room.queue.append(ticket)
            try:
                while not is_over() and (room.queue[0] is not ticket or self._held(room) >= self._number):
                    self._changed.wait(_LOOK_EVERY_S)
            finally:
                room.queue.remove(ticket)
                self._changed.notify_all()
            began = room.since[ticket] = self._clock.monotonic()
        try:
            yield
        finally:
            with self._changed:
                del room.since[ticket]
                is_slow = self._clock.monotonic() - began > self._patience_s
                (self._slow_ones.add if is_slow else self._slow_ones.discard)(name)
                self._changed.notify_all()

    def _held(self, room: _Room) -> int:
        now = self._clock.monotonic()
        return sum(now - since <= self._patience_s for since in room.since.values())
