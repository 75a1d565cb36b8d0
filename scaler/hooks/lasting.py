"""Commands about servers that may outlast the tick of a watch which began them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import field
from datetime import datetime
from typing import Literal, TypeAlias

from scaler.support.text import LONGEST, one_line
from scaler.support.values import dataclass

Kind: TypeAlias = Literal["drain", "drained", "resume"]

_AT_ONCE: dict[Kind, int] = {"drain": 20, "drained": 200, "resume": 20}
"""How many commands of a kind are under way at a time."""


@dataclass(frozen=True)
class ServerCommand:
    """What is to be carried out for a server."""

    kind: Kind
    server: str
    """The server's cloud id."""
    drain: datetime
    """When the drain began that it is about: the result of another one's is of no use."""
    run: Callable[[], str | None] = field(compare=False)
    """Carry it out, and return what went wrong, None if nothing did."""


class _Running:
    """One command under way, in a daemon thread: one that hangs delays nothing, not even the process's exit."""

    def __init__(self, command: ServerCommand, room: threading.Semaphore) -> None:
        self.command = command
        self.problem: str | None = None
        self._room = room
        self.thread = threading.Thread(target=self._run, name=command.kind, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        with self._room:
            try:
                self.problem = self.command.run()
            except Exception as error:
                self.problem = one_line(f"{type(error).__name__}: {error}", LONGEST)

    @property
    def has_ended(self) -> bool:
        return not self.thread.is_alive()


class LastingCommands:
    """Carries out commands side by side, and waits for each for a while at most; of a server, one is under way."""

    def __init__(self, share_s: float | None = None) -> None:
        """`share_s` is how long `run` waits; None: until all have ended."""
        self._share_s = share_s
        self._lock = threading.Lock()
        self._running: dict[str, _Running] = {}
        self._rooms = {kind: threading.Semaphore(most) for kind, most in _AT_ONCE.items()}

    def run(self, commands: Sequence[ServerCommand]) -> dict[str, str | None]:
        """Carry out these commands; return what went wrong with those that have ended, by server, None if nothing did.

        One that outlasts its share goes on, and is not begun again: the call that finds it ended has its result.
        """
        until = time.monotonic() + (self._share_s or 0)
        with self._lock:
            running = [self._begin(command) for command in commands]
        for each in running:
            each.thread.join(None if self._share_s is None else max(0.0, until - time.monotonic()))
        with self._lock:
            return {
                command.server: self._running.pop(command.server).problem
                for command, each in zip(commands, running, strict=True)
                if each.has_ended and each.command == command and self._running.get(command.server) is each
            }

    def is_busy(self, server: str) -> bool:
        """Return whether a command is under way for a server."""
        with self._lock:
            running = self._running.get(server)
            return running is not None and not running.has_ended

    def keep_only(self, servers: Collection[str]) -> None:
        """Forget what has ended for all servers but these."""
        with self._lock:
            self._running = {
                server: running
                for server, running in self._running.items()
                if server in servers or not running.has_ended
            }

    def _begin(self, command: ServerCommand) -> _Running:
        """Return what is under way for a command's server: the command, or another one that it has to wait for."""
        running = self._running.get(command.server)
        if running is None or (running.has_ended and running.command != command):
            running = self._running[command.server] = _Running(command, self._rooms[command.kind])
        return running
