"""Several machines in one create request, for clouds whose API takes a list of names."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from scaler.clouds import CloudError, NoCapacityError, QuotaError
from scaler.model import Machine
from scaler.support.clock import Clock

WINDOW_S = 0.1
"""How long the first call waits for others like it: little beside a boot, and more than threads need to arrive."""

Body = Mapping[str, Any]
"""What a create request says, but for the name."""

Send = Callable[[Sequence[str], Body], Mapping[str, Machine]]
"""Sends one request for these names: all of them are made or none. What it made, by name."""


@dataclass(eq=False)
class _Bundle:
    """Calls that say the same but for the name, and what becomes of each."""

    body: Body
    calls: dict[str, Future[Machine]] = field(default_factory=dict)


class Bundler:
    """Makes one request of concurrent calls for machines of one kind. Safe to use from several threads."""

    def __init__(self, send: Send, *, most: int, clock: Clock) -> None:
        """`most`: names that one request may have."""
        self._send = send
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._open: list[_Bundle] = []

    def create(self, name: str, body: Body) -> Machine:
        """The machine of this name, asked for together with those of other threads; raises what `send` raises.

        The first call of a bundle waits a moment for others and then sends it; the last that fits sends it at once.
        """
        call: Future[Machine] = Future()
        with self._lock:
            bundle, is_first = self._bundle_for(name, body)
            bundle.calls[name] = call
        if is_first:
            self._clock.sleep(WINDOW_S)
        if (is_first or len(bundle.calls) == self._most) and self._close(bundle):
            self._answer(bundle)
        return call.result()

    def _bundle_for(self, name: str, body: Body) -> tuple[_Bundle, bool]:
        """An open bundle of this kind with a place for the name, or a new one; and whether it is new."""
        for bundle in self._open:
            if bundle.body == body and name not in bundle.calls and len(bundle.calls) < self._most:
                return bundle, False
        self._open.append(_Bundle(body))
        return self._open[-1], True

    def _close(self, bundle: _Bundle) -> bool:
        """Let nobody join any more; False if another thread did so before."""
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
                # Each thread adds words of its own to the error that it raises.
                call.set_exception(copy.copy(outcome) if isinstance(outcome, CloudError) else outcome)

    def _outcomes(self, names: Sequence[str], body: Body) -> Mapping[str, Machine | Exception]:
        """What becomes of each name. A request that asks for too much is halved, so that all is made that fits."""
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
        """The second half: where one machine was refused, more are not asked for."""
        for outcome in first.values():
            if isinstance(outcome, QuotaError | NoCapacityError):
                return dict.fromkeys(names, outcome)
        return self._outcomes(names, body)
