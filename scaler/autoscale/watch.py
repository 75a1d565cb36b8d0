"""The watch: one tick per interval, whatever a tick takes or raises, until it is stopped."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from scaler.autoscale.tick import Tick
from scaler.model import Spec
from scaler.support.clock import Clock

_SLEEP_S = 0.5
"""The longest sleep: a request to stop is obeyed within this time."""


class Listener(Protocol):
    """Receives the events of a watch."""

    def ticked(self, done: Tick, took_s: float) -> None: ...

    def failed(self, error: Exception, took_s: float) -> None: ...

    def reloaded(self, spec: Spec) -> None: ...

    def stands_by(self, active: str) -> None:
        """Another watch acts, or nobody does yet; `active` says who."""

    def reload_failed(self, error: Exception) -> None:
        """The spec cannot be read now; the last valid one stays in use."""


class Turn(Protocol):
    """Whose turn it is among the watches of one stack."""

    @property
    def is_held(self) -> bool:
        """Whether this watch may act."""

    @property
    def holder(self) -> str:
        """Who may act, for people."""


@dataclass
class Watch:
    """A loop of ticks that continues after errors."""

    interval: timedelta
    clock: Clock
    load: Callable[[], Spec]
    """Read the spec; called before every tick."""
    tick: Callable[[Spec, datetime], Tick]
    listener: Listener
    turn: Turn | None = None
    """None: this is the only watch."""
    stopping: bool = False

    def stop(self) -> None:
        """End the loop after the current tick. Safe to call from a signal handler."""
        self.stopping = True

    def run(self) -> None:
        """Tick at once, then at whole intervals from the start. A tick that takes longer than the interval skips some.

        Raises what the first read of the spec raises, and KeyboardInterrupt.
        """
        spec = self.load()
        begun = self.clock.monotonic()
        seconds = self.interval.total_seconds()
        while not self.stopping:
            if self.turn and not self.turn.is_held:
                self.listener.stands_by(self.turn.holder)
                self.clock.sleep(_SLEEP_S)
                continue
            spec = self._newest(spec)
            self._tick(spec)
            passed = self.clock.monotonic() - begun
            self._sleep_until(begun + (math.floor(passed / seconds) + 1) * seconds)

    def _newest(self, spec: Spec) -> Spec:
        try:
            newest = self.load()
        except Exception as error:
            self.listener.reload_failed(error)
            return spec
        if newest != spec:
            self.listener.reloaded(newest)
        return newest

    def _tick(self, spec: Spec) -> None:
        started = self.clock.monotonic()
        try:
            done = self.tick(spec, self.clock.now())
        except Exception as error:
            self.listener.failed(error, self.clock.monotonic() - started)
        else:
            self.listener.ticked(done, self.clock.monotonic() - started)

    def _sleep_until(self, moment: float) -> None:
        while not self.stopping and (left := moment - self.clock.monotonic()) > 0:
            self.clock.sleep(min(left, _SLEEP_S))
