"""Many stacks in one process: a watch for each, side by side, for as long as its spec is there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import field
from typing import Protocol

from scaler.autoscale.watch import Watch
from scaler.support.clock import Clock
from scaler.support.lanes import Lanes
from scaler.support.values import dataclass

_SLEEP_S = 0.5
"""The longest sleep: a request to stop is obeyed within this time."""

_SOON_S = 2.0
"""Within this time a watch that sleeps has ended."""


class Attendant(Protocol):
    """Receives the events of a service."""

    def took_up(self, stack: str) -> None: ...

    def dropped(self, stack: str) -> None:
        """The stack's spec is gone, and its last tick has ended."""

    def awaits(self, stacks: Sequence[str]) -> None:
        """The service is to end, and the ticks of these stacks are still at work."""

    def broke(self, stack: str, error: Exception) -> None:
        """The stack's watch ended with an error; the service starts another one."""


@dataclass
class Service:
    """Serves the stacks that are there, until it is stopped."""

    stacks: Callable[[], Collection[str]]
    """The names of the stacks to serve now."""
    watch: Callable[[str], Watch]
    """Make a stack's watch; it does nothing yet."""
    clock: Clock
    attendant: Attendant
    look_every_s: float
    """How often `stacks` is called."""
    is_saving: Callable[[], bool] = lambda: False
    """Whether an interrupted tick still has to save something."""
    stopping: bool = False
    _watches: dict[str, Watch] = field(default_factory=dict)

    def stop(self) -> None:
        """End each watch after its current tick. Safe to call from a signal handler."""
        self.stopping = True
        for watch in list(self._watches.values()):
            watch.stop()

    def run(self) -> None:
        """Serve until `stop`. An interrupt of this thread interrupts each tick."""
        with Lanes(self.is_saving) as lanes:
            while not self.stopping:
                self._attend(lanes)
                self._sleep()
            for watch in self._watches.values():
                watch.stop()
            if late := lanes.join(_SOON_S):
                self.attendant.awaits(sorted(late))
                lanes.join()

    def _attend(self, lanes: Lanes) -> None:
        """Take up the stacks that have come, and drop those that have gone."""
        wanted, running = self._wanted(), lanes.running
        for name, error in lanes.take_failures().items():
            self.attendant.broke(name, error)
        for name in sorted(self._watches.keys() - wanted):
            self._watches[name].stop()
            if name not in running:
                del self._watches[name]
                self.attendant.dropped(name)
        for name in sorted(wanted - running):
            is_new = name not in self._watches
            watch = self._watches[name] = self.watch(name)
            if is_new:
                self.attendant.took_up(name)
            try:
                lanes.start(name, watch.run)
            except RuntimeError as error:
                # The machine allows no more threads now.
                self.attendant.broke(name, error)

    def _wanted(self) -> set[str]:
        try:
            return set(self.stacks())
        except Exception:
            # A folder that cannot be read now is no reason to leave a stack alone.
            return set(self._watches)

    def _sleep(self) -> None:
        end = self.clock.monotonic() + self.look_every_s
        while not self.stopping and (left := end - self.clock.monotonic()) > 0:
            self.clock.sleep(min(left, _SLEEP_S))
