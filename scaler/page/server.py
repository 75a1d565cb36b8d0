"""Serve an application over HTTP beside a watch: with few connections, until the watch ends."""

from __future__ import annotations

import asyncio
import socket
from types import TracebackType
from typing import Self

from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from scaler.page.address import MOST_CONNECTIONS, url_of
from scaler.support.serving import ServingThread

_END_WITHIN_S = 5.0
"""How long the end of a watch waits for answers that are under way."""


class PageServer:
    """Serves while the block runs. A client that hangs, or sends no HTTP, hurts nobody else."""

    def __init__(self, listener: socket.socket, app: ASGIApp) -> None:
        self.url = url_of(listener)
        self._serving = ServingThread(
            app, listener, name="page", stopping=asyncio.Event(), http=_Connection, proxy_headers=False
        )

    def __enter__(self) -> Self:
        self._serving.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._serving.stop(_END_WITHIN_S)


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
