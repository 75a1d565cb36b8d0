"""The world's own time: the machine's, moved by an offset and sped up by a factor.

Nothing in the world waits. What happens later is written down with its moment, and whoever looks
compares that moment with now.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from scaler.support.values import dataclass


@dataclass(frozen=True)
class WorldClock:
    """Maps the machine's time (seconds since 1970) to the world's. Speed 0 moves by `advanced` alone."""

    real: float
    """The machine's time at the moment that the two are anchored to each other."""
    world: float
    """The world's time at that moment."""
    speed: float = 1.0

    @classmethod
    def started(cls) -> WorldClock:
        """A clock that shows the machine's time."""
        moment = time.time()
        return cls(real=moment, world=moment)

    def now(self) -> float:
        """The world's time, in seconds since 1970."""
        return self.world + (time.time() - self.real) * self.speed

    def advanced(self, seconds: float) -> WorldClock:
        """The same clock, `seconds` later."""
        return WorldClock(self.real, self.world + seconds, self.speed)

    def at_speed(self, speed: float) -> WorldClock:
        """A clock that shows the same time now and goes on at `speed`."""
        return WorldClock(time.time(), self.now(), speed)


def timestamp(moment: float) -> str:
    """RFC 3339 in UTC to the second, as both APIs print it."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
