"""Telling others of events: one JSON POST, or one command, per event.

It never fails or delays a run: events wait in queues that threads of their own work off, each
attempt has a deadline, there is one retry, and what is not told when the run has ended and the
time is up is given up with a warning.
"""

from __future__ import annotations

import fnmatch
import json
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from scaler.hooks.processes import CommandProcess, cannot_be_run
from scaler.model import NotifyTarget

_ATTEMPT_WITHIN_S = 5.0
_RETRY_AFTER_S = 1.0
_LINGER_S = 10.0
"""How long the end of a run waits for events that are still being told."""

Payload = Mapping[str, object]


class Notifier:
    """One thread per target, so that one that hangs holds up no other."""

    def __init__(
        self,
        stack: str,
        targets: Sequence[NotifyTarget],
        *,
        folder: Path,
        warn: Callable[[str], None],
        linger_s: float = _LINGER_S,
    ) -> None:
        """`folder` is where commands run; `linger_s` bounds `close`."""
        self._stack = stack
        self._warn = warn
        self._linger_s = linger_s
        self._tellers = [_Teller(target, folder, warn) for target in targets]

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
            teller.no_more()
        for teller in self._tellers:
            untold = teller.finish(until)
            if untold:
                events = "1 event" if untold == 1 else f"{untold} events"
                self._warn(f"{events} could not be told to {teller.name} in time")


class _Teller:
    def __init__(self, target: NotifyTarget, folder: Path, warn: Callable[[str], None]) -> None:
        # A webhook's path and query are often its secret.
        self.name = urlsplit(target.url).hostname if target.url else target.command[0]
        self._target = target
        self._folder = folder
        self._warn = warn
        self._warned = False
        self._queue: queue.Queue[Payload | None] = queue.Queue()
        self._offered = 0
        self._tried = 0
        """Only ever written by the thread, as the one above only by who offers."""
        self._thread: threading.Thread | None = None
        self._process: CommandProcess | None = None
        self._given_up = threading.Event()

    def offer(self, event: Payload) -> None:
        if not any(fnmatch.fnmatchcase(str(event["event"]), pattern) for pattern in self._target.events):
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="notify", daemon=True)
            self._thread.start()
        self._offered += 1
        self._queue.put(event)

    def no_more(self) -> None:
        self._queue.put(None)

    def finish(self, until: float) -> int:
        """Wait for the queue to empty until then; how many events are left."""
        try:
            if self._thread is not None:
                self._thread.join(max(0.0, until - time.monotonic()))
            return self._offered - self._tried
        finally:
            self._given_up.set()
            if self._process:
                self._process.kill()

    def _work(self) -> None:
        while (event := self._queue.get()) is not None:
            trouble = self._try(event)
            if trouble and not self._given_up.wait(_RETRY_AFTER_S):
                trouble = self._try(event)
            if self._given_up.is_set():
                return
            self._tried += 1
            if trouble and not self._warned:
                self._warned = True
                self._warn(f"an event could not be told to {self.name}: {trouble}")

    def _try(self, event: Payload) -> str | None:
        try:
            return self._post(event) if self._target.url else self._run(event)
        except Exception as error:
            # Not its text: that repeats the URL.
            return type(error).__name__

    def _post(self, event: Payload) -> str | None:
        import requests

        # A body may never end, and is of no interest. A redirect would turn the POST into a GET of something else.
        with requests.post(
            self._target.url or "", json=event, timeout=_ATTEMPT_WITHIN_S, allow_redirects=False, stream=True
        ) as answer:
            return None if answer.status_code < 300 else f"HTTP {answer.status_code}"

    def _run(self, event: Payload) -> str | None:
        try:
            self._process = CommandProcess(self._target.command, self._folder, json.dumps(event).encode() + b"\n")
        except (OSError, ValueError) as error:
            return cannot_be_run(error)
        if self._given_up.is_set():
            self._process.kill()
        return self._process.finish(_ATTEMPT_WITHIN_S)
