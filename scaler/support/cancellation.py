"""Whether the work that a thread does was cancelled.

The vendors' clients stand between the one who knows and the one who sends, and take no such word;
so it goes past them, with the thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event

_CANCELLED: ContextVar[Event | None] = ContextVar("cancelled", default=None)


@contextmanager
def cancelled_by(event: Event) -> Iterator[None]:
    """While the block runs, this thread's work counts as cancelled once the event is set."""
    token = _CANCELLED.set(event)
    try:
        yield
    finally:
        _CANCELLED.reset(token)


def is_cancelled() -> bool:
    """Whether the event of the innermost block is set; False outside of any."""
    event = _CANCELLED.get()
    return event is not None and event.is_set()
