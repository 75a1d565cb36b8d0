"""Serve an application over HTTP in a thread, beside whatever else the process does."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from typing import Any

import uvicorn
from starlette.types import ASGIApp


class ServingThread:
    """Serves an application at a listener, in a daemon thread with an event loop of its own, until it is stopped."""

    def __init__(
        self, app: ASGIApp, listener: socket.socket, *, name: str, stopping: asyncio.Event, **settings: Any
    ) -> None:
        """`stopping` is set when it stops; `settings` are further ones of `uvicorn.Config`."""
        config = uvicorn.Config(
            app,
            loop="none",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            **settings,
        )
        self._listener = listener
        self._stopping = stopping
        self._loop = asyncio.new_event_loop()
        self._server = _UntilStopped(config, stopping)
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)

    def start(self) -> None:
        """Begin; a connection made before waits in the listener's backlog."""
        self._thread.start()

    def stop(self, within_s: float) -> None:
        """Stop, and close all connections; waits for answers under way for `within_s` seconds at most."""
        # Its loop is closed where it has ended by itself, as without a descriptor left; that is told by who asks it.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(within_s)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._server.serve(sockets=[self._listener]))
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        finally:
            self._loop.close()


class _UntilStopped(uvicorn.Server):
    """Runs until it is told to stop, without waking up every 100 ms."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def main_loop(self) -> None:
        await self._stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close everything at once; uvicorn's own waits 100 ms for clients that are still to say something."""
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
