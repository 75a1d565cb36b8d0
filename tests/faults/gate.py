"""A gate between clients and the embedded cloud: it stops one request, before or after it is carried out."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from starlette.types import ASGIApp, Message, Receive, Scope, Send

Moment = Literal["before", "after"]

_DEADLINE_S = 300.0


@dataclass
class Gate:
    """Counts requests from 1, and holds the one that it is set to until it is opened."""

    stop_at: int | None = None
    moment: Moment = "before"
    changes_only: bool = False
    count: int = 0
    witness: Callable[[], object] | None = None
    """Asked at each request."""
    testimony: list[tuple[str, object]] = field(default_factory=list)
    """The method of each request, and what the witness said."""
    arrival: Callable[[str, int], None] | None = None
    """Called at each request, before it is held or carried out, with its method and the port of its sender."""
    held: tuple[str, str] | None = None
    """Method and path of the request that is, or was, held."""
    reached: threading.Event = field(default_factory=threading.Event)
    _open: threading.Event = field(default_factory=threading.Event)
    _drop: bool = False

    def set(self, stop_at: int, moment: Moment, *, changes_only: bool = False) -> None:
        """Hold the request of this number among those that come from now on, or among those that change something."""
        self.count, self.stop_at, self.moment, self.changes_only = 0, stop_at, moment, changes_only
        self.held, self._drop = None, False
        self.reached.clear()
        self._open.clear()

    def open(self, *, drop: bool) -> None:
        """Let the held request go on, or (`drop`) end it there: its sender is dead. Nothing more is held."""
        self.stop_at, self._drop = None, drop
        self._open.set()

    def around(self, app: ASGIApp) -> ASGIApp:
        """The application behind this gate."""

        async def gated(scope: Scope, receive: Receive, send: Send) -> None:
            # One event loop serves all requests, so the count needs no lock.
            counts = not self.changes_only or scope["method"] != "GET"
            self.count += counts
            if self.witness:
                self.testimony.append((scope["method"], self.witness()))
            if self.arrival:
                self.arrival(scope["method"], scope["client"][1])
            held = counts and self.count == self.stop_at
            if held:
                self.held = (scope["method"], scope["path"])
            if held and self.moment == "before" and await self._hold():
                return

            async def hold_answer(message: Message) -> None:
                if held and message["type"] == "http.response.start":
                    await self._hold()
                await send(message)

            await app(scope, receive, hold_answer if held and self.moment == "after" else send)

        return gated

    async def _hold(self) -> bool:
        """Wait until the gate is open; whether the request ends here."""
        self.reached.set()
        await asyncio.get_running_loop().run_in_executor(None, self._open.wait, _DEADLINE_S)
        return self._drop
