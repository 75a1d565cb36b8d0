"""Serving the world on loopback, inside this process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self

from scaler.errors import ScalerError
from scaler.simulator.world import SimulatedWorld
from scaler.support.installation import install_command

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from scaler.support.serving import ServingThread

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
        self._serving: ServingThread | None = None
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
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", self._port))
        except OSError:
            listener.close()
            raise
        self._port = listener.getsockname()[1]
        # From here on connections wait in the backlog, so nobody has to wait for the thread.
        listener.listen(_BACKLOG)
        around = [*self.watchers, *([self._middleware] if self._middleware else ())]
        self._serving = _make_server(self.world, around, listener)
        self._serving.start()
        return self

    def stop(self) -> None:
        """Stop serving, end the requests that hang, and close the world. A second call does nothing."""
        if self._serving:
            self._serving.stop(within_s=10)
            self._serving = None
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


def _make_server(world: SimulatedWorld, around: Sequence[Middleware], listener: socket.socket) -> ServingThread:
    """The server with its application; imported late, since most commands never serve."""
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    from scaler.simulator.app import make_app
    from scaler.support.serving import ServingThread

    app = make_app(world)

    class Protocol(AutoHTTPProtocol):  # type: ignore[misc,valid-type]
        """Hands its transport to the application, so that a fault can close it."""

        def connection_made(self, transport: asyncio.Transport) -> None:
            self.app_state: dict[str, object] = {**self.app_state, "transport": transport}
            super().connection_made(transport)

    served: ASGIApp = app
    for middleware in around:
        served = middleware(served)
    return ServingThread(
        served,
        listener,
        name="embedded-cloud",
        stopping=app.state.stopping,
        http=Protocol,
        date_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=60,
    )
