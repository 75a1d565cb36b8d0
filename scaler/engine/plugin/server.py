"""Serve the plugin on loopback while one engine operation runs."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager

import grpc
from pulumi.runtime.proto import provider_pb2_grpc

from scaler.engine.plugin import resource_type
from scaler.engine.plugin.operation import Operation
from scaler.engine.plugin.provider import Provider
from scaler.support.clock import Clock

_CONTROL_WORKERS = 4
"""More than the cloud's requests can occupy, so that Cancel is always answered at once."""

_MESSAGE_LIMIT = 400 * 1024 * 1024
"""As the SDK sets it: user data makes messages large."""


@contextmanager
def serve(operation: Operation, *, workers: int, clock: Clock) -> Iterator[Provider]:
    """Serve the operation's cloud to the engine until the block ends.

    The provider listens on `provider.port`; `provider.peers.admit(pid)` admits the engine, and nobody
    else. `workers` is how many resources it serves at a time. After the block, no request of this
    operation is in flight.
    """
    provider = Provider(resource_type(operation.cloud.name), operation, clock)
    pool = futures.ThreadPoolExecutor(max_workers=workers + _CONTROL_WORKERS, thread_name_prefix="plugin")
    server = grpc.server(
        pool,
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
        # A killed engine waits for no answer, but its last requests may still be on their way to the cloud.
        pool.shutdown()
