"""The records of the stacks that a page shows, read anew at most every few seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import field
from functools import cached_property

from scaler.model.events import Event
from scaler.output.documents import status_document
from scaler.records.recorded import Recorded
from scaler.records.state import State
from scaler.support.clock import Clock
from scaler.support.values import dataclass

_READ_EVERY_S = 2.0
"""However often a page is asked for: reading may ask a bucket or a database."""

_EVENT_BYTES = 4 << 20
"""How much of the event log is read for a page: some ten thousand events."""


@dataclass
class PageRecords:
    """Reads the records of any stack. Safe to use from several threads. Raises what `Recorded` raises."""

    open: Callable[[str], Recorded]
    """Return what is recorded of a stack."""
    lost: Callable[[], Collection[str]]
    """Return the project's stacks that have servers and no spec."""
    clock: Clock
    _read: dict[str, _Reading] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def state(self, stack: str) -> State | None:
        """Return the recorded state of a stack; None if nothing was recorded."""
        with self._lock:
            return self._reading(stack).state

    def events(self, stack: str) -> Sequence[Event]:
        """Return the last events of a stack, oldest first."""
        with self._lock:
            return self._reading(stack).events

    def status(self, stack: str) -> dict[str, object]:
        """Return the document of `scaler status -o json`."""
        return status_document(self.state(stack), stack, self.lost())

    def _reading(self, stack: str) -> _Reading:
        known, now = self._read.get(stack), self.clock.monotonic()
        if known is None or now - known.at >= _READ_EVERY_S:
            known = self._read[stack] = _Reading(self.open(stack), now)
        return known


@dataclass
class _Reading:
    """What was read of a stack at one time; each part when it is first asked for."""

    recorded: Recorded
    at: float
    """Monotonic."""

    @cached_property
    def state(self) -> State | None:
        return self.recorded.state()

    @cached_property
    def events(self) -> Sequence[Event]:
        return self.recorded.recent_events(_EVENT_BYTES)
