"""A gRPC port on loopback for one process: the engine that scaler started."""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc

from scaler.engine.plugin.peer import PeerCheck
from scaler.support.values import dataclass

MESSAGE_LIMIT = 400 * 1024 * 1024
"""As the SDK sets it: user data makes messages large, and an event has all inputs and outputs of a resource."""


class EngineService:
    """What a service for the engine knows of its caller; `peers.admit(pid)` admits the engine, and nobody else."""

    def __init__(self) -> None:
        self.peers = PeerCheck()
        self.port = 0

    def require_engine(self, context: grpc.ServicerContext) -> None:
        """End the call if it is not the engine's."""
        if not self.peers.passes(context.peer(), self.port):
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "only the engine that scaler started may call this")


@dataclass(frozen=True)
class Listening:
    """A service that is served until `stop`."""

    server: grpc.Server
    pool: futures.ThreadPoolExecutor

    def stop(self, grace: float | None) -> None:
        """Stop, and return when no call is in flight; calls are cancelled after `grace` seconds."""
        self.server.stop(grace).wait()
        # A killed engine waits for no answer, but its last requests may still be on their way to the cloud.
        self.pool.shutdown()


def listen(service: EngineService, add: Callable[[Any, grpc.Server], None], *, workers: int, name: str) -> Listening:
    """Serve a service on a free port, `service.port`; `add` is the generated function that adds it to a server."""
    pool = futures.ThreadPoolExecutor(max_workers=workers, thread_name_prefix=name)
    options = [("grpc.max_receive_message_length", MESSAGE_LIMIT), ("grpc.so_reuseport", 0)]
    server = grpc.server(pool, options=options)
    add(service, server)
    service.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return Listening(server, pool)
