"""What is asked about servers, as one value: of a single run, or of a watch, between whose ticks it goes on."""

from __future__ import annotations

from pathlib import Path

from scaler.hooks.health import HealthChecker
from scaler.hooks.lasting import LastingCommands
from scaler.hooks.readiness import ReadinessChecker
from scaler.support.clock import Clock
from scaler.support.environment import CommandEnvironment

TICK_SHARE_S = 1.0
"""How long a tick of a watch waits for a check, or for a command about a server that drains.

One that takes longer goes on, and the next tick has its result.
"""


class Checks:
    """Opens the checkers of a run, and has its commands; with a `share_s`, the runs of one stack share them."""

    def __init__(self, share_s: float | None = None) -> None:
        """`share_s` is how long a run waits for a check; None: as long as a check may take."""
        self._share_s = share_s
        self.commands = LastingCommands(share_s)
        self._opened: tuple[Path, CommandEnvironment, ReadinessChecker, HealthChecker] | None = None

    def of(self, folder: Path, environ: CommandEnvironment, clock: Clock) -> tuple[ReadinessChecker, HealthChecker]:
        """Return the checkers whose commands run in `folder` with this environment."""
        if self._opened is None or self._opened[:2] != (folder, environ):
            readiness = ReadinessChecker(clock, folder, environ=environ, share_s=self._share_s)
            health = HealthChecker(folder, environ=environ, share_s=self._share_s)
            self._opened = folder, environ, readiness, health
        _, _, readiness, health = self._opened
        readiness.forget_unasked()
        return readiness, health
