"""A bound on what one answer of Redis may take in memory.

Redis tells the size of a list's entry only by sending it, and an entry may have 512 MB.
"""

from __future__ import annotations

from typing import Any

from redis._parsers import _RESP2Parser

from scaler.autoscale.metrics import MetricError

LARGEST_ANSWER = 32 << 20
"""Bytes of one answer: a thousand jobs of 32 KiB."""


class _MeteredSocket:
    """A socket that refuses to receive more than an answer may have."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self.left = LARGEST_ANSWER

    def recv(self, *arguments: Any) -> bytes:
        data: bytes = self._sock.recv(*arguments)
        self.left -= len(data)
        if self.left < 0:
            raise MetricError(f"an answer of Redis is larger than {LARGEST_ANSWER >> 20} MiB")
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class BoundedParser(_RESP2Parser):
    """Reads answers in RESP2, each of bounded size."""

    _meter: _MeteredSocket | None = None
    _buffer: Any

    def on_connect(self, connection: Any) -> None:
        """Put the meter between the parser's buffer and the socket."""
        super().on_connect(connection)  # type: ignore[no-untyped-call] # of redis-py
        self._meter = _MeteredSocket(self._sock)
        self._buffer._sock = self._meter

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Read the next answer."""
        if self._meter is not None:
            self._meter.left = LARGEST_ANSWER
        return super().read_response(*arguments, **options)


def bound(connection: Any) -> None:
    """Bound the answers of a connection that was just made."""
    connection.set_parser(BoundedParser)
    connection._parser.on_connect(connection)
