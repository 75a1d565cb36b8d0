"""Create several machines in one request, for clouds whose API takes a list of names."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import field
from typing import Any

from scaler.clouds import CloudError, NoCapacityError, QuotaError
from scaler.model import Machine
from scaler.support.clock import Clock
from scaler.support.values import dataclass

WINDOW_S = 0.1
"""The first call waits for others like it until none came for so long: much shorter than a boot."""

LONGEST_S = 1.0
"""How long the first call waits at most, on a machine so busy that its threads call one by one."""

Body = Mapping[str, Any]
"""Everything that a create request says except the name."""

Send = Callable[[Sequence[str], Body], Mapping[str, Machine]]
"""Sends one request for these names, of which all are created or none; returns the machines by name."""


@dataclass(eq=False)
class _Bundle:
    """Calls that differ only by name, and the result of each."""

    body: Body
    calls: dict[str, Future[Machine]] = field(default_factory=dict)


class Bundler:
    """Join concurrent calls that differ only by name into one request. Safe to use from several threads."""

    def __init__(self, send: Send, *, most: int, clock: Clock) -> None:
        """`most`: how many names one request can have."""
        self._send = send
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._open: list[_Bundle] = []

    def create(self, name: str, body: Body) -> Machine:
        """Create the machine of this name, in one request with those of other threads; raise what `send` raises.

        The first call of a bundle waits a moment and sends it; the call that fills it sends it at once.
        """
        call: Future[Machine] = Future()
        with self._lock:
            bundle, is_first = self._bundle_for(name, body)
            bundle.calls[name] = call
        if is_first:
            self._wait_for_others(bundle)
        if (is_first or len(bundle.calls) == self._most) and self._close(bundle):
            self._answer(bundle)
        return call.result()

    def _wait_for_others(self, bundle: _Bundle) -> None:
        """Wait until the bundle is full, or no call has joined it for a moment."""
        until = self._clock.monotonic() + LONGEST_S
        seen = 0
        while seen < len(bundle.calls) < self._most and self._clock.monotonic() < until:
            seen = len(bundle.calls)
            self._clock.sleep(WINDOW_S)

    def _bundle_for(self, name: str, body: Body) -> tuple[_Bundle, bool]:
        """Return an open bundle of this kind with room for the name, or a new one; and whether it is new."""
        for bundle in self._open:
            if bundle.body == body and name not in bundle.calls and len(bundle.calls) < self._most:
                return bundle, False
        self._open.append(_Bundle(body))
        return self._open[-1], True

    def _close(self, bundle: _Bundle) -> bool:
        """Close a bundle for further calls; return False if another thread has done so."""
        with self._lock:
            if bundle not in self._open:
                return False
            self._open.remove(bundle)
            return True

    def _answer(self, bundle: _Bundle) -> None:
        outcomes = self._outcomes(list(bundle.calls), bundle.body)
        for name, call in bundle.calls.items():
            outcome = outcomes[name]
            if isinstance(outcome, Machine):
                call.set_result(outcome)
            else:
                # Each thread adds its own message to the error that it raises.
                call.set_exception(copy.copy(outcome) if isinstance(outcome, CloudError) else outcome)

    def _outcomes(self, names: Sequence[str], body: Body) -> Mapping[str, Machine | Exception]:
        """Return the result for each name. Halve a request for too many, so that as many as possible are created."""
        try:
            made = self._send(names, body)
        except (QuotaError, NoCapacityError) as error:
            if len(names) == 1:
                return {names[0]: error}
            half = len(names) // 2
            first = self._outcomes(names[:half], body)
            return {**first, **self._rest(names[half:], body, first)}
        except Exception as error:
            return dict.fromkeys(names, error)
        return {name: made.get(name) or LookupError(f"it has no {name}") for name in names}

    def _rest(
        self, names: Sequence[str], body: Body, first: Mapping[str, Machine | Exception]
    ) -> Mapping[str, Machine | Exception]:
        """Return the results of the second half; if one machine of the first was refused, send nothing more."""
        for outcome in first.values():
            if isinstance(outcome, QuotaError | NoCapacityError):
                return dict.fromkeys(names, outcome)
        return self._outcomes(names, body)
