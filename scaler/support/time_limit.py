"""The time that one run may take, as a value that is handed to whatever waits."""

from __future__ import annotations

import math
from datetime import timedelta

from scaler.support.clock import Clock, SystemClock
from scaler.support.durations import format_duration

GRACE_S = 5.0
"""What is left to be done when the time is up, such as to record what is there, waits no longer than this."""


class TimeLimit:
    """The end of a run's time, which all parts of the run share. Safe to read from several threads."""

    def __init__(self, clock: Clock | None = None, length: timedelta | None = None) -> None:
        """The time begins now; `length` None: it does not end."""
        self._clock = clock or SystemClock()
        self._length = length
        self._began = self._clock.monotonic()

    def end_after(self, length: timedelta) -> None:
        """End this long after the beginning."""
        self._length = length

    def restart(self) -> None:
        """Begin anew, now."""
        self._began = self._clock.monotonic()

    def leave_out(self, seconds: float) -> None:
        """Do not count this much of the time that has passed: somebody was asked, and thought about it."""
        self._began += seconds

    @property
    def end(self) -> float:
        """When the time is up, by `clock.monotonic`."""
        return math.inf if self._length is None else self._began + self._length.total_seconds()

    @property
    def left(self) -> float:
        """The seconds that are left, at least 0."""
        return max(0.0, self.end - self._clock.monotonic())

    def left_with(self, overtime_s: float) -> float:
        """Return the seconds until so long after the end: at least GRACE_S, however late it is."""
        return max(self.end + overtime_s - self._clock.monotonic(), GRACE_S)

    @property
    def is_over(self) -> bool:
        return self._clock.monotonic() >= self.end

    @property
    def is_grace_over(self) -> bool:
        """Whether the time has been up for so long that nothing more is begun."""
        return self._clock.monotonic() >= self.end + GRACE_S

    def cut(self, seconds: float, *, at_least: float = 0.0) -> float:
        """Return how much of these seconds there is time for; `at_least` so many, although the time is up."""
        return min(seconds, max(self.left, at_least))

    def __str__(self) -> str:
        return "no limit" if self._length is None else format_duration(self._length)
