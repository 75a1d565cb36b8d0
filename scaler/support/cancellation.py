"""Carry a cancel event past clients that cannot be cancelled.

The caller knows when a thread's work is cancelled, and the transport has to stop sending. The vendors'
clients between them take no such argument, so the event travels in a context variable.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event

_CANCELLED: ContextVar[Event | None] = ContextVar("cancelled", default=None)


@contextmanager
def cancelled_by(event: Event) -> Iterator[None]:
    """While the block runs, `is_cancelled` in this thread returns whether the event is set."""
    token = _CANCELLED.set(event)
    try:
        yield
    finally:
        _CANCELLED.reset(token)


def is_cancelled() -> bool:
    """Return whether the event of the innermost `cancelled_by` block is set; False outside of any."""
    event = _CANCELLED.get()
    return event is not None and event.is_set()
