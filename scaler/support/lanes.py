"""Work of several stacks side by side, each in a thread of its own, which a signal ends as it ends the main thread."""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from scaler.support.clock import SystemClock

_LOOK_EVERY_S = 0.05
_GRACE_S = 3.0
"""How long interrupted work may take to its end."""

_SAVING_S = 35.0
"""The same where something has to be saved: the engine gets 30 seconds for that, and to unlock."""


class Lanes:
    """Threads, one for each name. Its methods are for the thread that made it.

    An exception that leaves the block is raised in every thread too, as soon as that runs Python code again, and the
    block ends when they have ended, or after a few seconds: a thread that waits for an answer cannot be interrupted.
    """

    def __init__(self, is_saving: Callable[[], bool] = lambda: False) -> None:
        """`is_saving`: whether interrupted work still has to bring something to its end, for half a minute at most."""
        self._is_saving = is_saving
        self._clock = SystemClock()
        self._threads: dict[str, threading.Thread] = {}
        self._failures: dict[str, Exception] = {}

    def start(self, name: str, work: Callable[[], None]) -> None:
        """Begin some work; that of the same name must have ended. RuntimeError if there can be no more threads."""
        thread = threading.Thread(target=self._run, args=(name, work), name=f"lane-{name}", daemon=True)
        thread.start()
        self._threads[name] = thread

    @property
    def running(self) -> frozenset[str]:
        """The names whose work has not ended."""
        return frozenset(name for name, thread in self._threads.items() if thread.is_alive())

    def take_failures(self) -> dict[str, Exception]:
        """Return the exceptions that ended work since the last call, by name."""
        return {name: self._failures.pop(name) for name in list(self._failures)}

    def join(self, within_s: float = math.inf) -> frozenset[str]:
        """Wait until all work has ended, and return the names of what has not. Signals are handled meanwhile."""
        end = self._clock.monotonic() + within_s
        while self.running and self._clock.monotonic() < end:
            self._clock.sleep(_LOOK_EVERY_S)
        return self.running

    def _run(self, name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self._failures[name] = error
        except KeyboardInterrupt:
            pass  # `_interrupt` has ended it.

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        self._interrupt(type(error) if isinstance(error, KeyboardInterrupt) else KeyboardInterrupt)

    def _interrupt(self, kind: type[BaseException]) -> None:
        alive = [thread for thread in self._threads.values() if thread.is_alive()]
        for thread in alive:
            assert thread.ident is not None  # noqa: S101 - it was started
            # What a signal handler does to the main thread: there is no other way to have a `finally` run elsewhere.
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(kind))
        end = self._clock.monotonic() + _SAVING_S
        while self.join(_GRACE_S) and self._is_saving() and self._clock.monotonic() < end:
            pass
