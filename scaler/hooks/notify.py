"""Send notifications of events: one JSON POST, one command, or one message, per event.

Notifications never fail or delay a run. Each target has a queue and a thread, each attempt a time
limit, and a failed one is repeated once. What is still queued some seconds after the end of the run
is dropped, with a warning.
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

from scaler.hooks.messages import Payload, tell
from scaler.hooks.processes import CommandProcess, cannot_be_run
from scaler.model import NotifyTarget
from scaler.support.environment import CommandEnvironment

_ATTEMPT_WITHIN_S = 5.0
_RETRY_AFTER_S = 1.0
_LINGER_S = 10.0
"""How long the end of a run waits for notifications that are still being sent."""


class Notifier:
    """Sends events to all targets; one thread per target, so that one that hangs delays no other."""

    def __init__(
        self,
        stack: str,
        targets: Sequence[NotifyTarget],
        *,
        folder: Path,
        warn: Callable[[str], None],
        linger_s: float = _LINGER_S,
        environ: CommandEnvironment | None = None,
        services: Mapping[str, str] | None = None,
    ) -> None:
        """`folder` is the working directory of commands, and `environ` their environment.

        `services`: the environment that has the URLs of services for messages.
        `close` waits at most `linger_s` seconds.
        """
        self._stack = stack
        self._warn = warn
        self._linger_s = linger_s
        self._senders = [_Sender(target, folder, warn, environ, services or {}) for target in targets]

    def send(self, events: Iterable[Payload]) -> None:
        """Queue events, in the form of the event log, for every target that wants them. Return at once."""
        for event in events:
            payload = {"schema": 1, "stack": self._stack, **event}
            for sender in self._senders:
                sender.offer(payload)

    def close(self) -> None:
        """Send what is queued, for `linger_s` seconds at most; warn of what was not sent."""
        until = time.monotonic() + self._linger_s
        for sender in self._senders:
            sender.close_queue()
        for sender in self._senders:
            unsent = sender.finish(until)
            if unsent:
                events = "1 event" if unsent == 1 else f"{unsent} events"
                self._warn(f"{events} could not be sent to {sender.name} in time")


class _Sender:
    """Sends the events of one target, in a thread that starts with the first of them."""

    def __init__(
        self,
        target: NotifyTarget,
        folder: Path,
        warn: Callable[[str], None],
        environ: CommandEnvironment | None,
        services: Mapping[str, str],
    ) -> None:
        # Only the host: a webhook's path and query often hold its secret.
        self.name = urlsplit(target.url).hostname if target.url else target.apprise_env or target.command[0]
        self._services = services
        self._target = target
        self._folder = folder
        self._environ = environ
        self._warn = warn
        self._warned = False
        self._queue: queue.Queue[Payload | None] = queue.Queue()
        self._queued = 0
        """Written by `offer` alone."""
        self._tried = 0
        """Written by the thread alone."""
        self._thread: threading.Thread | None = None
        self._process: CommandProcess | None = None
        self._cancelled = threading.Event()

    def offer(self, event: Payload) -> None:
        if not any(fnmatch.fnmatchcase(str(event["event"]), pattern) for pattern in self._target.events):
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="notify", daemon=True)
            self._thread.start()
        self._queued += 1
        self._queue.put(event)

    def close_queue(self) -> None:
        self._queue.put(None)

    def finish(self, until: float) -> int:
        """Wait for the queue to empty until this time of `time.monotonic`; return how many events are left."""
        try:
            if self._thread is not None:
                self._thread.join(max(0.0, until - time.monotonic()))
            return self._queued - self._tried
        finally:
            self._cancelled.set()
            if self._process:
                self._process.kill()

    def _work(self) -> None:
        while (event := self._queue.get()) is not None:
            problem = self._try(event)
            if problem and not self._cancelled.wait(_RETRY_AFTER_S):
                problem = self._try(event)
            if self._cancelled.is_set():
                return
            self._tried += 1
            if problem and not self._warned:
                self._warned = True
                self._warn(f"an event could not be sent to {self.name}: {problem}")

    def _try(self, event: Payload) -> str | None:
        try:
            if self._target.apprise_env:
                return tell(self._target.apprise_env, self._services, event)
            return self._post(event) if self._target.url else self._run(event)
        except Exception as error:
            # Only its type: the text repeats the URL.
            return type(error).__name__

    def _post(self, event: Payload) -> str | None:
        from requests.exceptions import InvalidProxyURL

        from scaler.support.http import Session

        # Read no body: it may never end. Follow no redirect: it would turn the POST into a GET of another URL.
        try:
            with (
                Session() as session,
                session.post(self._target.url or "", json=event, timeout=_ATTEMPT_WITHIN_S, stream=True) as answer,
            ):
                return None if answer.status_code < 300 else f"HTTP {answer.status_code}"
        except InvalidProxyURL as error:
            return str(error)

    def _run(self, event: Payload) -> str | None:
        try:
            given = json.dumps(event).encode() + b"\n"
            self._process = CommandProcess(self._target.command, self._folder, given, environ=self._environ)
        except (OSError, ValueError) as error:
            return cannot_be_run(error)
        if self._cancelled.is_set():
            self._process.kill()
        return self._process.finish(_ATTEMPT_WITHIN_S)
