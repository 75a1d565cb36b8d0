"""Serve the plugin on loopback while one engine operation runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pulumi.runtime.proto import provider_pb2_grpc

from scaler.engine.plugin import resource_type
from scaler.engine.plugin.operation import Operation
from scaler.engine.plugin.port import listen
from scaler.engine.plugin.provider import Provider
from scaler.support.clock import Clock

_CONTROL_WORKERS = 4
"""More than the cloud's requests can occupy, so that Cancel is always answered at once."""


@contextmanager
def serve(operation: Operation, *, workers: int, clock: Clock) -> Iterator[Provider]:
    """Serve the operation's cloud to the engine until the block ends.

    The provider listens on `provider.port`; `provider.peers.admit(pid)` admits the engine, and nobody
    else. `workers` is how many resources it serves at a time. After the block, no request of this
    operation is in flight.
    """
    provider = Provider(resource_type(operation.cloud.name), operation, clock)
    add = provider_pb2_grpc.add_ResourceProviderServicer_to_server
    listening = listen(provider, add, workers=workers + _CONTROL_WORKERS, name="plugin")
    try:
        yield provider
    finally:
        operation.cancelled.set()
        listening.stop(grace=1.0)
