"""Places for work that runs side by side: a bounded number, which work that hangs does not keep."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import field
from datetime import timedelta

from scaler.support.clock import Clock
from scaler.support.values import dataclass

_LOOK_EVERY_S = 0.1


def _never() -> bool:
    return False


def _nobody(name: str) -> bool:
    return False


@dataclass(frozen=True, eq=False)
class _Ticket:
    """One wait for a place, and the time that it is held."""

    name: str


@dataclass
class _Room:
    """The places of one kind."""

    number: int
    queue: deque[_Ticket] = field(default_factory=deque)
    """Who waits, in the order of arrival."""
    since: dict[_Ticket, float] = field(default_factory=dict)
    """When each taken place was taken."""


class Places:
    """At most so many at the same time, of those that end in time. Safe to use from several threads.

    Who keeps a place for longer than `patience` is slow: the place is free for others again, and the next time this one
    gets one of as many places for the slow, until it has ended in time. So the slow do not hold up the quick,
    and there are never more at work than twice the number, and all that are slow.
    """

    def __init__(
        self,
        number: int,
        patience: timedelta,
        clock: Clock,
        *,
        newcomers: int = 0,
        is_busy: Callable[[str], bool] = _nobody,
    ) -> None:
        """With `newcomers`, who comes for the first time gets one of so many places for those, which it keeps while
        `is_busy` says of its name that it does what takes long: all would end late if all of them began at once.
        """
        self.number = number
        self._patience_s = patience.total_seconds()
        self._clock = clock
        self._quick, self._slow, self._new = _Room(number), _Room(number), _Room(newcomers or number)
        self._is_busy = is_busy
        self._known: set[str] | None = set() if newcomers else None
        """Who is no newcomer; None: nobody is one."""
        self._slow_ones: set[str] = set()
        self._changed = threading.Condition()

    def are_taken(self) -> bool:
        """Return whether anybody is at work."""
        with self._changed:
            return any(room.since for room in self._rooms)

    def has(self, name: str) -> bool:
        """Return whether anybody of this name waits for a place, or has one and is not slow."""
        with self._changed:
            return any(ticket.name == name for room in self._rooms for ticket in (*room.queue, *self._in_time(room)))

    @contextmanager
    def taken(self, name: str, is_over: Callable[[], bool] = _never) -> Iterator[None]:
        """Hold a place while the block runs; wait for it, but no longer than until `is_over`."""
        ticket = _Ticket(name)
        with self._changed:
            room = self._room_of(name)
            room.queue.append(ticket)
            try:
                while not is_over() and (room.queue[0] is not ticket or self._held(room) >= room.number):
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
                if self._known is not None:
                    self._known.add(name)
                self._changed.notify_all()

    @property
    def _rooms(self) -> tuple[_Room, ...]:
        return (self._quick, self._slow, self._new)

    def _room_of(self, name: str) -> _Room:
        if self._known is not None and name not in self._known:
            return self._new
        return self._slow if name in self._slow_ones else self._quick

    def _held(self, room: _Room) -> int:
        held = set(self._in_time(room))
        if room is self._new:
            held |= {ticket for ticket in room.since if self._is_busy(ticket.name)}
        return len(held)

    def _in_time(self, room: _Room) -> list[_Ticket]:
        now = self._clock.monotonic()
        return [ticket for ticket, since in room.since.items() if now - since <= self._patience_s]
