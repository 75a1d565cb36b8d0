"""A run's hold on the stack: it may act as long as it renews the note of its engine's lock.

Whoever waits for the lock takes it where that note is not renewed. The run counts from the moment *before* it asked
for a renewal, and the others from the moment *after* they saw it, and they wait a quarter longer; so it has stopped by
then, and what is late in its engine cannot reach the cloud. Nobody compares two machines' clocks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from scaler.errors import ScalerError
from scaler.records.lease import LeaseLostError
from scaler.records.lock_note import LockNote, LockNotes
from scaler.records.store import ConflictError, StoreRefusedError
from scaler.support.clock import seconds_since_boot

_RENEWALS = 4
"""In the length of a note."""


class Hold:
    """The right of one engine operation to change something. Safe to use from several threads."""

    def __init__(self, notes: LockNotes, stack: str, note: LockNote, elapsed: Callable[[], float]) -> None:
        self._notes = notes
        self._stack = stack
        self._note = note
        self._elapsed = elapsed
        self._length_s = note.length.total_seconds()
        self._until = elapsed() + self._length_s
        self._ended = threading.Event()

    def has_ended(self) -> bool:
        """Return whether nothing may be changed any more."""
        return bool(self._length_s) and self._elapsed() >= self._until

    def require(self) -> None:
        """Raise LeaseLostError if nothing may be changed any more."""
        if self.has_ended():
            raise LeaseLostError(self._stack, "run")

    confirm = require

    def renew(self) -> None:
        """Write the note; LeaseLostError if somebody has taken the lock. Raises StoreUnavailableError."""
        began = self._elapsed()
        try:
            self._note = self._notes.write(self._note)
        except ConflictError as error:
            self._until = began
            self._ended.set()
            raise LeaseLostError(self._stack, "run") from error
        self._until = began + self._length_s

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Renew the note while the block runs, and remove it then."""
        thread = threading.Thread(target=self._keep, name="hold", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()
            with suppress(ScalerError):
                self._notes.remove(self._note)

    def _keep(self) -> None:
        every_s = self._length_s / _RENEWALS if self._length_s else None
        while not self._ended.wait(every_s):
            with suppress(ScalerError):
                self.renew()


@contextmanager
def holding(
    notes: LockNotes, stack: str, note: LockNote, *, elapsed: Callable[[], float] = seconds_since_boot
) -> Iterator[Hold | None]:
    """Keep a note while the block runs. Yield None where none may be written: then the lock is never taken."""
    hold = Hold(notes, stack, note, elapsed)
    try:
        hold.renew()
    except StoreRefusedError:
        yield None
    except ScalerError:
        # It may have arrived, so others may take the lock when its time is over. Nobody knows a version to renew.
        yield hold
    else:
        with hold.kept():
            yield hold
