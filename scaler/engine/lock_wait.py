"""Waiting for a stack's lock during one operation, and removing locks that no living run holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from scaler.engine.backend import LocalBackend
from scaler.engine.events import reason_in
from scaler.engine.locks import Lock, holder_of, is_stale, is_stealable, locks_in
from scaler.engine.remote_backend import RemoteBackend
from scaler.engine.settings import EngineSettings
from scaler.errors import LockedError, ScalerError
from scaler.records.lock_note import LockNote
from scaler.records.store import StoreUnavailableError
from scaler.support.clock import Clock
from scaler.support.durations import format_duration

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

_TOLD_AFTER_S = 10.0
"""Most operations are shorter, and who waits for one of them need not know."""


class LockWait:
    """One operation's wait for the lock; it ends `lock_timeout` after the operation began, or with the run's time."""

    def __init__(
        self,
        settings: EngineSettings,
        backend: LocalBackend | RemoteBackend | None,
        clock: Clock,
        *,
        warn: Callable[[str], None],
        unlock: Callable[[], None],
    ) -> None:
        """`warn` gets a message that names the owner of a stolen lock; `unlock` removes all locks of the stack.

        `backend` is None where nobody but the engine sees its locks.
        """
        self._settings = settings
        self._backend = backend
        self._local = backend if isinstance(backend, LocalBackend) else None
        self._clock = clock
        self._warn = warn
        self._unlock = unlock
        self._began = clock.monotonic()
        self._tries = 0
        self._is_told = False

    def heal_or_wait(self, error: str) -> None:
        """Remove the locks of dead runs, or wait for living ones; LockedError when the time is over.

        `error` is what the engine said of the lock.
        """
        seen = self._locks()
        while True:
            # The notes after the locks: who has one by now left its note before.
            silent, notes = self._settings.heard.silent(self._settings.notes, self._clock)
            if self._take(locks_in(error) if seen is None else seen, notes, silent, together=seen is None):
                return
            if self._is_over():
                raise self._is_locked(seen or locks_in(error), notes, error)
            self._tell(seen or locks_in(error), notes)
            self._clock.sleep(_PAUSE_S)
            # Without a process of the engine for each look.
            seen = self._locks()
            if not seen:
                return

    def _locks(self) -> Sequence[Lock] | None:
        """Return the locks of the stack; None where only the engine sees them."""
        try:
            return self._backend.locks() if self._backend else None
        except ScalerError:
            return None

    def _take(self, locks: Sequence[Lock], notes: Sequence[LockNote], silent: set[str], *, together: bool) -> bool:
        """Remove the locks of who is dead, and those old enough to steal; return whether to try again at once.

        `together` if only all can be removed at once.
        """
        reasons = {lock: reason for lock in locks if (reason := self._reason(lock, notes, silent)) is not None}
        if together and len(reasons) < len(locks):
            return False
        removed = [lock for lock in reasons if self._remove(lock, lock.notes_of(notes), together=together)]
        for lock in removed:
            if reasons[lock]:
                self._warn(f"took the stack's lock from {self._words([lock], notes)}: {reasons[lock]}")
        return bool(removed)

    def _reason(self, lock: Lock, notes: Sequence[LockNote], silent: set[str]) -> str | None:
        """Return why a lock may be removed, empty where nobody needs to know; None: it may not."""
        own = lock.notes_of(notes)
        if is_stale(lock, notes):
            return ""
        if own and all(note.name in silent for note in own):
            return f"nothing was heard of its run for {format_duration(max(note.patience for note in own))}"
        if is_stealable(lock, self._clock.now(), self._settings.steal_after):
            return "older than --steal-after"
        return None

    def _remove(self, lock: Lock, notes: Sequence[LockNote], *, together: bool) -> bool:
        """Remove a lock, and have its run act no more before that; False if that was heard of meanwhile."""
        store = self._settings.notes
        try:
            if store and not all(map(store.take, notes)):
                return False
            if together:
                self._unlock()
            elif self._backend:
                self._backend.remove(lock)
            if store:
                store.remove(*notes)
        except StoreUnavailableError:
            return False
        return True

    def _tell(self, locks: Sequence[Lock], notes: Sequence[LockNote]) -> None:
        """Name whoever is waited for, once, if that takes long."""
        if locks and not self._is_told and self._clock.monotonic() - self._began >= _TOLD_AFTER_S:
            self._is_told = True
            self._warn(f"waiting for the stack's lock, of {self._words(locks, notes)}")

    def _words(self, locks: Sequence[Lock], notes: Sequence[LockNote]) -> str:
        return "; ".join(holder_of(lock, notes).words(self._clock.now()) for lock in locks)

    def _is_locked(self, locks: Sequence[Lock], notes: Sequence[LockNote], error: str) -> LockedError:
        stack = self._settings.stack
        patience = [note.patience for lock in locks for note in lock.notes_of(notes)]
        if patience and all(patience):
            dead = f"Who waits for {format_duration(max(patience))} takes the lock of a dead one; at once: "
        else:
            dead = "When you know that it is dead: "
        return LockedError(
            f"The stack {stack} is locked by another run.",
            why=self._words(locks, notes) or reason_in(error),
            fix=f"Wait for it to end, or raise {self._option}. {dead}"
            f"`scaler unlock --force -s {stack}`, or --steal-after for those as old.",
        )

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
