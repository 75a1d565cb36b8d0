"""The loop: one tick per interval, whatever a tick takes or meets, until somebody asks for its end."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from scaler.autoscale.run import Autoscaled
from scaler.model import Spec
from scaler.support.clock import Clock

_NAP_S = 0.5
"""A request to stop is heard within this time."""


class Listener(Protocol):
    """Is told of every tick."""

    def ticked(self, done: Autoscaled, took_s: float) -> None: ...

    def failed(self, error: Exception, took_s: float) -> None: ...

    def reloaded(self, spec: Spec) -> None: ...

    def kept(self, error: Exception) -> None:
        """The spec cannot be read now; the last good one stays in force."""


@dataclass
class Watch:
    """A loop that survives its ticks' errors."""

    interval: timedelta
    clock: Clock
    load: Callable[[], Spec]
    """Reads the spec, before every tick."""
    tick: Callable[[Spec, datetime], Autoscaled]
    listener: Listener
    stopping: bool = False

    def stop(self) -> None:
        """End the loop once the tick under way has ended. Safe to call from a signal handler."""
        self.stopping = True

    def run(self) -> None:
        """Tick at once, and then at every whole interval from the start; a tick that takes longer skips some.

        Raises what the first reading of the spec raises, and KeyboardInterrupt.
        """
        spec = self.load()
        begun = self.clock.monotonic()
        seconds = self.interval.total_seconds()
        while not self.stopping:
            spec = self._newest(spec)
            self._tick(spec)
            passed = self.clock.monotonic() - begun
            self._sleep_until(begun + (math.floor(passed / seconds) + 1) * seconds)

    def _newest(self, spec: Spec) -> Spec:
        try:
            newest = self.load()
        except Exception as error:
            self.listener.kept(error)
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
            self.clock.sleep(min(left, _NAP_S))
