"""Waiting for a stack's lock during one operation, and removing locks that no living run holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from scaler.engine.backend import LocalBackend
from scaler.engine.events import reason_in
from scaler.engine.locks import Lock, holder_of, is_stale, is_stealable, locks_in, remove_lock
from scaler.engine.settings import EngineSettings
from scaler.errors import LockedError
from scaler.support.clock import Clock

_HALF_READ = re.compile(
    r"unexpected end of JSON input|invalid character|\.pulumi/locks/.*code=NotFound"
    r"|(failed to load checkpoint|\.pulumi/(locks|meta).*): (unexpected )?EOF"
)
"""What the engine says when one of the stack's locks was not whole, or had gone, when it read what it had listed; or
when the attributes that its own library keeps beside a file were not whole.
"""

_TRIES = 5
"""After such an error where no half file is found any more; then the error is about another file."""

_PAUSE_S = 1.0


class LockWait:
    """One operation's wait for the lock; it ends `lock_timeout` after the operation began, or with the run's time."""

    def __init__(
        self,
        settings: EngineSettings,
        local: LocalBackend | None,
        clock: Clock,
        *,
        warn: Callable[[str], None],
        unlock: Callable[[], None],
    ) -> None:
        """`warn` gets a message that names the owner of a stolen lock; `unlock` removes all locks of the stack."""
        self._settings = settings
        self._local = local
        self._clock = clock
        self._warn = warn
        self._unlock = unlock
        self._began = clock.monotonic()
        self._tries = 0

    def heal_or_wait(self, error: str) -> None:
        """Remove the locks of dead runs, or pause for a living one; LockedError when the time is over.

        `error` is what the engine said of the lock.
        """
        if self._local and self._local.heal_locks():
            return
        holders = (self._local.locks() if self._local else []) or locks_in(error)
        if self._steal(holders):
            return
        if self._is_over():
            raise LockedError(
                f"The stack {self._settings.stack} is locked by another run.",
                why="; ".join(map(self._describe, holders)) or reason_in(error),
                fix=f"Wait for it to end, or raise {self._option}. When you know that it is dead: "
                "`scaler unlock --force`, or --steal-after for those as old.",
            )
        self._clock.sleep(_PAUSE_S)

    def outlasts_half_file(self, error: str) -> bool:
        """Return whether the engine may have failed on a file that was not whole; pause until it is whole or removed.

        An engine lists the stack's locks and then reads them, while another writes or removes its own. One that is
        killed may leave half attributes.
        """
        if not _HALF_READ.search(error) or self._is_over():
            return False
        if not (self._local and (self._local.half_locks() or self._local.half_attributes())):
            self._tries += 1
            if self._tries > _TRIES:
                return False
        self._clock.sleep(_PAUSE_S)
        if self._local:
            self._local.heal_half_files(self._clock.now())
        return True

    @property
    def _option(self) -> str:
        """The option that ended the waiting."""
        return "--timeout" if self._settings.limit.is_over else "--lock-timeout"

    def _is_over(self) -> bool:
        if self._settings.limit.is_over:
            return True
        return self._clock.monotonic() - self._began >= self._settings.lock_timeout.total_seconds()

    def _steal(self, holders: Sequence[Lock]) -> bool:
        """Remove the locks that are old enough to steal; return whether there is a reason to try again at once."""
        left = [lock for lock in holders if self._settings.was_left(lock.hostname, lock.pid)]
        old = [lock for lock in holders if is_stealable(lock, self._clock.now(), self._settings.steal_after)]
        stolen = [*left, *(lock for lock in old if lock not in left)]
        removed = self._remove_files(stolen) if self._local else self._remove_all(holders, stolen)
        if removed:
            for lock in stolen:
                why = "its watch has lost the lease" if lock in left else "older than --steal-after"
                self._warn(f"took the stack's lock from {self._describe(lock)}: {why}")
        return removed

    def _remove_files(self, stolen: Sequence[Lock]) -> bool:
        for lock in stolen:
            remove_lock(lock)
        return bool(stolen)

    def _remove_all(self, holders: Sequence[Lock], stolen: Sequence[Lock]) -> bool:
        """Unlock a backend that removes only all locks together: each of them must be stale or stolen."""
        if not holders or not all(lock in stolen or is_stale(lock) for lock in holders):
            return False
        self._unlock()
        return True

    def _describe(self, lock: Lock) -> str:
        return holder_of(lock, self._settings.read_note()).words(self._clock.now())
