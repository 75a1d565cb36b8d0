"""Telling others of events: one JSON POST, or one command, per event.

It never fails or delays a run: events wait in a queue that threads of their own work off, each
attempt has a deadline, there is one retry, and what is not told when the run has ended and the
time is up is given up with a warning.
"""

from __future__ import annotations

import fnmatch
import json
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from scaler.model import NotifyTarget

_ATTEMPT_WITHIN_S = 5.0
_RETRY_AFTER_S = 1.0
_LINGER_S = 10.0
"""How long the end of a run waits for events that are still being told."""

Payload = Mapping[str, object]


class Notifier:
    """One thread per target, so that one that hangs holds up no other."""

    def __init__(
        self, stack: str, targets: Sequence[NotifyTarget], *, warn: Callable[[str], None], linger_s: float = _LINGER_S
    ) -> None:
        self._stack = stack
        self._warn = warn
        self._linger_s = linger_s
        self._tellers = [_Teller(target, warn) for target in targets]

    def tell(self, events: Iterable[Payload]) -> None:
        """Queue events, as the event log has them, for every target that asks for them. Returns at once."""
        for event in events:
            payload = {"schema": 1, "stack": self._stack, **event}
            for teller in self._tellers:
                teller.offer(payload)

    def close(self) -> None:
        """Give what is queued a bounded time to be told."""
        until = time.monotonic() + self._linger_s
        for teller in self._tellers:
            untold = teller.finish(until)
            if untold:
                self._warn(f"{untold} events could not be told to {teller.name} in time")


class _Teller:
    def __init__(self, target: NotifyTarget, warn: Callable[[str], None]) -> None:
        self.name = target.url or target.command[0]
        self._target = target
        self._warn = warn
        self._warned = False
        self._queue: queue.Queue[Payload | None] = queue.Queue()
        self._untold = 0
        self._thread: threading.Thread | None = None

    def offer(self, event: Payload) -> None:
        if not any(fnmatch.fnmatchcase(str(event["event"]), pattern) for pattern in self._target.events):
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="notify", daemon=True)
            self._thread.start()
        self._untold += 1
        self._queue.put(event)

    def finish(self, until: float) -> int:
        """Wait for the queue to empty until then; how many events are left."""
        if self._thread is None:
            return 0
        self._queue.put(None)
        self._thread.join(max(0.0, until - time.monotonic()))
        return self._untold if self._thread.is_alive() else 0

    def _work(self) -> None:
        while (event := self._queue.get()) is not None:
            trouble = self._try(event)
            if trouble:
                time.sleep(_RETRY_AFTER_S)
                trouble = self._try(event)
            self._untold -= 1
            if trouble and not self._warned:
                self._warned = True
                self._warn(f"an event could not be told to {self.name}: {trouble}")

    def _try(self, event: Payload) -> str | None:
        try:
            return self._post(event) if self._target.url else self._run(event)
        except Exception as error:
            return type(error).__name__

    def _post(self, event: Payload) -> str | None:
        import requests

        answer = requests.post(self._target.url or "", json=event, timeout=_ATTEMPT_WITHIN_S, allow_redirects=False)
        return None if answer.status_code < 400 else f"HTTP {answer.status_code}"

    def _run(self, event: Payload) -> str | None:
        done = subprocess.run(
            self._target.command,
            input=json.dumps(event).encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_ATTEMPT_WITHIN_S,
            check=False,
        )
        return None if done.returncode == 0 else f"ended with {done.returncode}"
