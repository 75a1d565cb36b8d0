"""The port to which the engine reports its events while an operation runs, open to that engine alone.

The SDK's own listens to everybody: any local process could report a violation, or an error, that the
engine never told of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import events_pb2_grpc

from scaler.engine.plugin.port import EngineService, listen

_WORKERS = 4


class EventPort(EngineService, events_pb2_grpc.EventsServicer):
    """Take the events of one engine process; `peers.admit(pid)` says which."""

    def __init__(self, on_event: Callable[[str], object]) -> None:
        """`on_event` gets each event as the engine's JSON."""
        super().__init__()
        self._on_event = on_event
        self.server = listen(self, events_pb2_grpc.add_EventsServicer_to_server, workers=_WORKERS, name="events").server

    def StreamEvents(self, request_iterator: Iterator[Any], context: grpc.ServicerContext) -> Any:
        """Take the engine's events until it closes the stream."""
        self.require_engine(context)
        for request in request_iterator:
            self._on_event(request.event)
        return empty_pb2.Empty()
