"""The port to which the engine reports its events while an operation runs, open to that engine alone.

The SDK's own listens to everybody: any local process could report a violation, or an error, that the
engine never told of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import events_pb2_grpc

from scaler.engine.plugin.peer import PeerCheck

_MESSAGE_LIMIT = 400 * 1024 * 1024
"""As the SDK sets it: an event has all inputs and outputs of a resource."""

_WORKERS = 4


class EventPort(events_pb2_grpc.EventsServicer):
    """Take the events of one engine process; `peers.admit(pid)` says which."""

    def __init__(self, on_event: Callable[[str], object]) -> None:
        """`on_event` gets each event as the engine's JSON."""
        self._on_event = on_event
        self.peers = PeerCheck()
        pool = futures.ThreadPoolExecutor(max_workers=_WORKERS, thread_name_prefix="events")
        options = [("grpc.max_receive_message_length", _MESSAGE_LIMIT), ("grpc.so_reuseport", 0)]
        self.server = grpc.server(pool, options=options)
        events_pb2_grpc.add_EventsServicer_to_server(self, self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def StreamEvents(self, request_iterator: Iterator[Any], context: grpc.ServicerContext) -> Any:
        """Take the engine's events until it closes the stream."""
        if not self.peers.passes(context.peer(), self.port):
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "only the engine that scaler started may call this")
        for request in request_iterator:
            self._on_event(request.event)
        return empty_pb2.Empty()
