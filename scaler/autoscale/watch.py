"""The watch of one stack: one tick per interval, whatever a tick takes or raises, until it is stopped."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from typing import Protocol

from scaler.autoscale.tick import Tick, scales
from scaler.model import Spec
from scaler.support.clock import Clock
from scaler.support.values import dataclass

_SLEEP_S = 0.5
"""The longest sleep: a request to stop is obeyed within this time."""


class Listener(Protocol):
    """Receives the events of a watch."""

    def began(self, waited_s: float, skipped: int) -> None:
        """A tick begins. It waited so long for its place, and so many intervals before it had no tick."""

    def ticked(self, done: Tick, took_s: float) -> None: ...

    def failed(self, error: Exception, took_s: float) -> None: ...

    def reloaded(self, spec: Spec) -> None: ...

    def stands_by(self, active: str) -> None:
        """Another watch acts, or nobody does yet; `active` says who."""

    def rests(self, spec: Spec) -> None:
        """No group of the stack has an `autoscale` block, so nothing is looked at or changed."""

    def reload_failed(self, error: Exception, spec: Spec | None) -> None:
        """The spec cannot be read now; the last valid one, `spec`, stays in use. None: there was none yet."""


class Turn(Protocol):
    """Whose turn it is among the watches of one stack."""

    @property
    def is_held(self) -> bool:
        """Whether this watch may act."""

    @property
    def holder(self) -> str:
        """Who may act, for people."""


@dataclass(frozen=True)
class Duty:
    """What a watch does each time, and when it may."""

    tick: Callable[[Spec, datetime], Tick]
    turn: Turn | None = None
    """None: this is the only watch of the stack."""


class _Rhythm:
    """Whole intervals from the first tick: a tick that takes longer skips some."""

    def __init__(self, interval: timedelta, clock: Clock) -> None:
        self._seconds = interval.total_seconds()
        self._clock = clock
        self._begun: float | None = None
        self._last = -1

    def begin(self) -> int:
        """Note that a tick begins, and return how many were skipped before it."""
        now = self._clock.monotonic()
        self._begun = now if self._begun is None else self._begun
        number = math.floor((now - self._begun) / self._seconds)
        skipped, self._last = number - self._last - 1, number
        return max(0, skipped)

    def next(self) -> float:
        """Return when the next tick is due (monotonic)."""
        now = self._clock.monotonic()
        if self._begun is None:
            return now + self._seconds
        return self._begun + (math.floor((now - self._begun) / self._seconds) + 1) * self._seconds


@dataclass
class Watch:
    """A loop of ticks that continues after errors."""

    interval: timedelta
    clock: Clock
    load: Callable[[], Spec]
    """Read the spec; called before every tick."""
    open: Callable[[Spec], AbstractContextManager[Duty]]
    """Called with the first valid spec that has something to scale."""
    listener: Listener
    place: Callable[[], AbstractContextManager[None]] = nullcontext
    """Waits until there is a place for a tick among those of other stacks, or the watch is stopped."""
    stopping: bool = False

    def stop(self) -> None:
        """End the loop after the current tick. Safe to call from a signal handler."""
        self.stopping = True

    def run(self) -> None:
        """Tick at once, then at whole intervals from the first tick. A tick that takes longer skips some.

        Raises what `open` raises, and KeyboardInterrupt.
        """
        spec = self._first()
        if spec is None:
            return
        with self.open(spec) as duty:
            rhythm = _Rhythm(self.interval, self.clock)
            while not self.stopping:
                if duty.turn and not duty.turn.is_held:
                    self.listener.stands_by(duty.turn.holder)
                    rhythm = _Rhythm(self.interval, self.clock)
                    self.clock.sleep(_SLEEP_S)
                    continue
                spec = self._newest(spec) or spec
                if scales(spec):
                    self._tick(duty, spec, rhythm)
                else:
                    self.listener.rests(spec)
                    rhythm = _Rhythm(self.interval, self.clock)
                self._sleep_until(rhythm.next())

    def _first(self) -> Spec | None:
        """Wait for a valid spec that has something to scale; None once the watch is stopped."""
        while not self.stopping:
            spec = self._newest(None)
            if spec and scales(spec):
                return spec
            if spec:
                self.listener.rests(spec)
            self._sleep_until(self.clock.monotonic() + self.interval.total_seconds())
        return None

    def _newest(self, spec: Spec | None) -> Spec | None:
        try:
            newest = self.load()
        except Exception as error:
            self.listener.reload_failed(error, spec)
            return None
        if spec and newest != spec:
            self.listener.reloaded(newest)
        return newest

    def _tick(self, duty: Duty, spec: Spec, rhythm: _Rhythm) -> None:
        due = self.clock.monotonic()
        with self.place():
            if self.stopping:
                return
            started = self.clock.monotonic()
            self.listener.began(started - due, rhythm.begin())
            try:
                done = duty.tick(spec, self.clock.now())
            except Exception as error:
                self.listener.failed(error, self.clock.monotonic() - started)
            else:
                self.listener.ticked(done, self.clock.monotonic() - started)

    def _sleep_until(self, moment: float) -> None:
        while not self.stopping and (left := moment - self.clock.monotonic()) > 0:
            self.clock.sleep(min(left, _SLEEP_S))
