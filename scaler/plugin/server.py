"""Serving the plugin on loopback while one engine operation runs."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager

import grpc
from pulumi.runtime.proto import provider_pb2_grpc

from scaler.clock import Clock
from scaler.plugin import RESOURCES
from scaler.plugin.operation import Operation
from scaler.plugin.provider import Provider

_MESSAGE_LIMIT = 400 * 1024 * 1024
"""As the SDK sets it: user data makes messages large."""


@contextmanager
def serve(operation: Operation, *, workers: int, clock: Clock) -> Iterator[Provider]:
    """Serve the operation's cloud to the engine until the block ends.

    `provider.port` is where; `provider.peers.admit(pid)` lets the engine in, and nobody else.
    `workers` is how many of its calls are answered at a time.
    """
    provider = Provider(RESOURCES[operation.cloud.name], operation, clock)
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=workers, thread_name_prefix="plugin"),
        options=[("grpc.max_receive_message_length", _MESSAGE_LIMIT), ("grpc.so_reuseport", 0)],
    )
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    provider.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield provider
    finally:
        operation.cancelled.set()
        server.stop(grace=1.0).wait()
