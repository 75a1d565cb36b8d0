"""The lease of a stack's watches: of all that serve one stack, one acts, and the others stand by.

The lease is a document that its holder replaces again and again. Who sees it unchanged for longer than its
length, by a clock of its own, takes it over with the next number. Nobody compares two machines' clocks.

The holder counts from the moment *before* it asked for the renewal, and the others from the moment *after* they saw it,
and they wait a quarter longer. So the holder has stopped before another begins, if both clocks run at about the
same speed. It counts the time in which its machine slept.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from types import TracebackType
from typing import Protocol, Self

from scaler.errors import LockedError, ScalerError
from scaler.records.json_fields import Fields
from scaler.records.lock_note import SURPLUS
from scaler.records.store import ConflictError, DocumentStore, Stored, save
from scaler.support.clock import Clock, seconds_since_boot
from scaler.support.documents import parse_json
from scaler.support.text import LONGEST, one_line
from scaler.support.values import dataclass

DOCUMENT = "lease.json"

_SHORTEST_S = 2.0
"""A shorter lease would mostly renew itself."""

_LOOKS = 4
"""Looks at the lease in its length."""

_WAIT_S = 2.0
"""Between two looks of whoever waits for the lease."""


class LeaseLostError(LockedError):
    """Another watch may act for the stack by now, so this one must not."""

    code = "lease_lost"

    def __init__(self, stack: str, work: str = "watch") -> None:
        super().__init__(
            f"This {work} of {stack} has lost its lease, and changes nothing more.",
            why="it could not renew the lease in time, so another one may act by now",
            fix="Nothing for a watch: it stands by, and takes over again when the other one ends. Repeat a command.",
        )


@dataclass(frozen=True, kw_only=True)
class Holding:
    """Who has the lease, as the document says."""

    number: int
    """Grows with each holder."""
    token: str
    """Of the holder."""
    host: str
    pid: int
    renewal: int = 0
    released: bool = False

    def __str__(self) -> str:
        return one_line(f"process {self.pid} on {self.host}", LONGEST)


class Lease:
    """One watch's part in the lease of its stack, or one roll's. Safe to use from several threads."""

    def __init__(
        self,
        store: DocumentStore,
        stack: str,
        length: timedelta,
        *,
        work: str = "watch",
        token: str | None = None,
        elapsed: Callable[[], float] = seconds_since_boot,
    ) -> None:
        """Each kind of `work` has a lease of its own.

        `token` is of a place where only one such process can live: it takes over at once what a dead one left there.
        `elapsed` is a clock of this machine that never stands still or goes back.
        """
        self._store = store
        self._stack = stack
        self._work = work
        self._document = DOCUMENT if work == "watch" else f"{work}.{DOCUMENT}"
        self.length_s = max(length.total_seconds(), _SHORTEST_S)
        self._elapsed = elapsed
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._own = Holding(number=0, token=token or secrets.token_hex(8), host=socket.gethostname(), pid=os.getpid())
        self._until: float | None = None
        """When this watch's lease ends; None: it has none."""
        self._seen: tuple[str | None, float] = (None, 0.0)
        """The version of another's lease that was seen last, and when that was first seen."""
        self._other: Holding | None = None
        self.trouble: str | None = None
        """Why the lease could not be read or written the last time."""

    # -- what a watch asks ---------------------------------------------------------------------

    @property
    def is_held(self) -> bool:
        """Return whether this watch may act."""
        until = self._until
        return until is not None and self._elapsed() < until

    def has_ended(self) -> bool:
        """Return whether this watch must not change anything."""
        return not self.is_held

    def require(self) -> None:
        """Raise LeaseLostError if this watch must not change anything."""
        if self.has_ended():
            raise LeaseLostError(self._stack, self._work)

    @property
    def number(self) -> int:
        """The number of the lease that this watch had last."""
        return self._own.number

    @property
    def holder(self) -> str:
        """Who acts, as far as this watch knows."""
        if self.is_held:
            return str(self._own)
        return str(self._other) if self._other else f"nobody that is known ({self.trouble or 'not asked yet'})"

    def confirm(self) -> None:
        """Renew the lease under the stack's lock, before anything is changed; LeaseLostError if it cannot be."""
        with self._lock:
            self.require()
            try:
                found = self._store.read(self._document)
                if not self._is_own(found) or found is None:
                    raise LeaseLostError(self._stack, self._work)
                self._renew(found)
            except LeaseLostError:
                self._until = None
                raise
            except (ScalerError, ValueError) as error:
                raise LeaseLostError(self._stack, self._work) from error

    def await_turn(self, clock: Clock, until: float, note: Callable[[str], None]) -> None:
        """Wait until this one holds the lease. LockedError if another one has it at `until` (of `clock.monotonic`)."""
        is_noted = False
        while not self.is_held:
            if clock.monotonic() >= until:
                raise LockedError(
                    f"Another {self._work} of {self._stack} goes on.",
                    why=f"it is {self.holder}",
                    fix="Wait for its end, or give --lock-timeout more time. "
                    f"A dead one gives way after {self.length_s * SURPLUS:g} s.",
                )
            if not is_noted:
                note(f"waiting for another {self._work} of {self._stack}: {self.holder}")
            is_noted = True
            clock.sleep(_WAIT_S)
            self.look()

    # -- keeping it ----------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.look()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self.release()
        self._store.close()

    def _keep(self) -> None:
        while not self._ended.wait(self.length_s / _LOOKS):
            self.look()

    def look(self) -> None:
        """Renew the lease, or take it if its holder has released it or let it run out."""
        with self._lock:
            began = self._elapsed()
            try:
                found = self._store.read(self._document)
                if found is not None and self.number and self._is_own(found):
                    self._renew(found, began)
                else:
                    self._consider(found)
                self.trouble = None
            except ConflictError:
                # Another was quicker, which the next look sees.
                self._until = None
            except (ScalerError, ValueError) as error:
                self.trouble = one_line(str(error), LONGEST)

    def release(self) -> None:
        """Let another watch take over at once."""
        with self._lock:
            try:
                found = self._store.read(self._document)
                if found is not None and self._is_own(found):
                    self._write(replace(self._own, released=True), found.version)
            except (ScalerError, ValueError):
                # Then it runs out.
                return
            finally:
                self._until = None

    def _is_own(self, found: Stored | None) -> bool:
        holding = _holding(found)
        return holding is not None and not holding.released and holding.token == self._own.token

    def _renew(self, found: Stored, began: float | None = None) -> None:
        began = self._elapsed() if began is None else began
        self._own = replace(self._own, renewal=self._own.renewal + 1)
        self._write(self._own, found.version)
        self._until = began + self.length_s

    def _consider(self, found: Stored | None) -> None:
        """Take a lease that nobody has, or whose holder was not heard of for too long."""
        self._until = None
        holding = self._other = _holding(found)
        now = self._elapsed()
        is_left = holding is not None and (holding.released or holding.token == self._own.token)
        if found is not None and not is_left:
            if self._seen[0] != found.version:
                self._seen = (found.version, now)
            if now - self._seen[1] < SURPLUS * self.length_s:
                return
        number = max(holding.number if holding else 0, self._own.number) + 1
        began = self._elapsed()
        self._own = replace(self._own, number=number, renewal=0)
        self._write(self._own, found.version if found else None)
        self._until = began + self.length_s

    def _write(self, holding: Holding, after: str | None) -> None:
        document = {
            "schema": 1,
            "number": holding.number,
            "token": holding.token,
            "host": holding.host,
            "pid": holding.pid,
            "renewal": holding.renewal,
            "released": holding.released,
            "write": secrets.token_hex(4),
        }
        save(self._store, self._document, json.dumps(document).encode(), after)


class Right(Protocol):
    """What a run must have for each change: the lease of its watch, that of rolls, its hold on the stack."""

    def require(self) -> None: ...

    def has_ended(self) -> bool: ...

    def confirm(self) -> None: ...


class Leases:
    """All that a run must have for each change."""

    def __init__(self, *leases: Right | None) -> None:
        self._leases = [lease for lease in leases if lease]

    def require(self) -> None:
        """Raise LeaseLostError if the run must not change anything."""
        for lease in self._leases:
            lease.require()

    def have_ended(self) -> bool:
        """Return whether the run must not change anything."""
        return any(lease.has_ended() for lease in self._leases)

    def confirm(self) -> None:
        """Renew them under the stack's lock, before anything is changed; LeaseLostError if that is not possible."""
        for lease in self._leases:
            lease.confirm()

    @contextmanager
    def needing(self, lease: Right | None) -> Iterator[None]:
        """Have the run need one more while the block runs."""
        before = self._leases
        self._leases = [*before, lease] if lease else before
        try:
            yield
        finally:
            self._leases = before


def _holding(found: Stored | None) -> Holding | None:
    """Return who has the lease; None if nobody has it, or the document does not say it."""
    if found is None or found.content is None:
        return None
    try:
        fields = Fields(parse_json(found.content))
        return Holding(
            number=fields.whole_number("number"),
            token=fields.text("token"),
            host=fields.text("host"),
            pid=fields.whole_number("pid"),
            renewal=fields.whole_number("renewal"),
            released=fields.flag("released"),
        )
    except ValueError:
        return None
