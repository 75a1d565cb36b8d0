"""Serve an application over HTTP beside a watch: in a thread, with few connections, until the watch ends."""

from __future__ import annotations

import asyncio
import socket
import threading
from types import TracebackType
from typing import Self

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from scaler.page.address import MOST_CONNECTIONS, url_of

_END_WITHIN_S = 5.0
"""How long the end of a watch waits for answers that are under way."""


class PageServer:
    """Serves while the block runs. A client that hangs, or sends no HTTP, hurts nobody else."""

    def __init__(self, listener: socket.socket, app: ASGIApp) -> None:
        self.url = url_of(listener)
        self._listener = listener
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        config = uvicorn.Config(
            app,
            http=_Connection,
            loop="none",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
        )
        self._server = _UntilStopped(config, self._stopping)
        self._thread = threading.Thread(target=self._serve, name="page", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(_END_WITHIN_S)

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


class _Connection(H11Protocol):
    """Sends the oldest connection away where there are too many: it may be one that never says anything."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        oldest = self.app_state.setdefault("oldest", {})
        oldest[self] = transport
        if len(oldest) > MOST_CONNECTIONS:
            oldest.pop(next(iter(oldest))).abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.app_state["oldest"].pop(self, None)
        super().connection_lost(exc)


class _UntilStopped(uvicorn.Server):
    """Ends when it is told to, without waking up every 100 ms, and without waiting for clients."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def main_loop(self) -> None:
        await self._stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
