"""The records of the stacks that a page shows, read anew at most every few seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from scaler.output.documents import status_document
from scaler.records.recorded import Recorded
from scaler.records.state import State
from scaler.support.clock import Clock

_READ_EVERY_S = 2.0
"""However often a page is asked for: reading may ask a bucket or a database."""


@dataclass
class PageRecords:
    """Reads the records of any stack. Safe to use from several threads. Raises what `Recorded` raises."""

    open: Callable[[str], Recorded]
    """Return what is recorded of a stack."""
    lost: Callable[[], Collection[str]]
    """Return the project's stacks that have servers and no spec."""
    clock: Clock
    _read: dict[str, tuple[float, State | None]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def state(self, stack: str) -> State | None:
        """Return the recorded state of a stack; None if nothing was recorded."""
        with self._lock:
            read_at, state = self._read.get(stack, (None, None))
            if read_at is None or self.clock.monotonic() - read_at >= _READ_EVERY_S:
                state = self.open(stack).state()
                self._read[stack] = (self.clock.monotonic(), state)
            return state

    def status(self, stack: str) -> dict[str, object]:
        """Return the document of `scaler status -o json`."""
        return status_document(self.state(stack), stack, self.lost())
