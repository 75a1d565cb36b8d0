"""Serving the world on loopback, inside this process."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self

from scaler.errors import ScalerError
from scaler.simulator.world import SimulatedWorld
from scaler.support.installation import install_command

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import ASGIApp
    from uvicorn import Server

Middleware = Callable[["ASGIApp"], "ASGIApp"]

_BACKLOG = 2048


class EmbeddedCloud:
    """Both clouds' APIs over one world file, served by a daemon thread on 127.0.0.1.

    Several of them, in one process or in many, may serve the same file. The world can be used
    (`world`) before the server starts and while it runs.
    """

    watchers: ClassVar[list[Middleware]] = []
    """Put around the application of every embedded cloud of this process, for tests that check all exchanges."""

    def __init__(
        self,
        path: Path,
        *,
        port: int = 0,
        profile: str | None = None,
        knobs: Mapping[str, float] | None = None,
        clock_speed: float | None = None,
        middleware: Middleware | None = None,
    ) -> None:
        """Open the world in `path`, or make it.

        `profile` (`instant`, `fast`, `realistic`, `hostile`), `knobs` (`profiles.Knobs`, both clouds) and
        `clock_speed` are written into the world; without them it keeps what it has. `port` 0: any free one.
        `middleware` is put around the application, for who wants to see or hold single requests.
        """
        self.world = SimulatedWorld(path)
        self._middleware = middleware
        self._port = port
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._server: Server | None = None
        self._app: Starlette | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        if profile is not None:
            self.world.set_profile(profile)
        if knobs:
            self.world.set_knobs(None, **knobs)
        if clock_speed is not None:
            self.world.set_speed(clock_speed)

    def start(self) -> Self:
        """Listen and serve; returns when connections are taken.

        Raises OSError if the port is taken, and ScalerError if what serves HTTP is not installed.
        """
        _need_server()
        # asyncio turns Nagle off only where the protocol is stated; with it, each POST takes 40 ms.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind(("127.0.0.1", self._port))
        except OSError:
            self._socket.close()
            raise
        self._port = self._socket.getsockname()[1]
        # From here on connections wait in the backlog, so nobody has to wait for the thread.
        self._socket.listen(_BACKLOG)
        self._loop = asyncio.new_event_loop()
        around = [*self.watchers, *([self._middleware] if self._middleware else ())]
        self._server, self._app = _make_server(self.world, around)
        self._thread = threading.Thread(target=self._serve, name="embedded-cloud", daemon=True)
        self._thread.start()
        return self

    def _serve(self) -> None:
        assert self._loop and self._server and self._socket  # noqa: S101
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._server.serve(sockets=[self._socket]))
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        finally:
            self._loop.close()

    def stop(self) -> None:
        """Stop serving, end the requests that hang, and close the world. A second call does nothing."""
        if self._thread and self._loop and self._app:
            self._loop.call_soon_threadsafe(self._app.state.stopping.set)
            self._thread.join(timeout=10)
            self._thread = None
        self.world.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._port

    @property
    def url(self) -> str:
        """`http://127.0.0.1:<port>`."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def hetzner_endpoint(self) -> str:
        """What clients of Hetzner call the endpoint: with `/v1`."""
        return f"{self.url}/v1"

    @property
    def digitalocean_endpoint(self) -> str:
        """What clients of DigitalOcean call the endpoint: without `/v2`."""
        return self.url


def _need_server() -> None:
    """Raise ScalerError without Starlette and uvicorn: an extra, since servers are run without the embedded cloud."""
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise ScalerError(
            "The embedded cloud is not installed.",
            why=str(error),
            fix=install_command("simulator"),
            code="simulator_missing",
        ) from error


def _make_server(world: SimulatedWorld, around: Sequence[Middleware]) -> tuple[Server, Starlette]:
    """The server and its application; imported late, since most commands never serve."""
    import uvicorn
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    from scaler.simulator.app import make_app

    app = make_app(world)

    class Protocol(AutoHTTPProtocol):  # type: ignore[misc,valid-type]
        """Hands its transport to the application, so that a fault can close it."""

        def connection_made(self, transport: asyncio.Transport) -> None:
            self.app_state: dict[str, object] = {**self.app_state, "transport": transport}
            super().connection_made(transport)

    class UntilStopped(uvicorn.Server):
        """Run until `stopping` of the application is set, without waking up every 100 ms."""

        async def main_loop(self) -> None:
            await app.state.stopping.wait()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            """Close everything at once; uvicorn's own waits 100 ms for clients that are still to say something."""
            for server in self.servers:
                server.close()
            for listener in sockets or ():
                listener.close()
            for connection in list(self.server_state.connections):
                connection.transport.abort()

    served: ASGIApp = app
    for middleware in around:
        served = middleware(served)
    config = uvicorn.Config(
        served,
        http=Protocol,
        loop="none",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        date_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=60,
    )
    return UntilStopped(config), app
