"""Show the state of the watches of a process over HTTP: `/metrics` for Prometheus, and `/healthz`."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Self

from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric

from scaler.autoscale.figures import Figures
from scaler.errors import UsageError
from scaler.support.clock import Clock
from scaler.support.text import quoted


class Exposition:
    """Serves the figures of each stack."""

    def __init__(self, address: str, interval: timedelta, clock: Clock) -> None:
        """Listen on `HOST:PORT`. Raise UsageError if that is not an address or is not available."""
        self._clock = clock
        self._interval = interval
        self._stacks: dict[str, Figures] = {}
        self._server = _Server(_address(address), self)
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    @property
    def address(self) -> str:
        """`http://HOST:PORT`."""
        host, port = self._server.server_address[:2]
        return f"http://[{host!s}]:{port}" if ":" in str(host) else f"http://{host!s}:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    # -- the stacks ----------------------------------------------------------------------------

    def of(self, stack: str) -> Figures:
        """Return the figures of a stack, which are shown from now on."""
        figures = self._stacks.get(stack) or Figures(stack, self._interval, self._clock)
        # A new dictionary, since scrapes read it in other threads.
        self._stacks = {**self._stacks, stack: figures}
        return figures

    def forget(self, stack: str) -> None:
        """Show nothing more of a stack."""
        self._stacks = {name: figures for name, figures in self._stacks.items() if name != stack}

    # -- what is served ------------------------------------------------------------------------

    def collect(self) -> Iterable[Metric]:
        """Yield the numbers of all stacks, those of one name together."""
        families: dict[str, Metric] = {}
        for figures in self._stacks.values():
            for family in figures.collect():
                if family.name in families:
                    families[family.name].samples += family.samples
                else:
                    families[family.name] = family
        yield from families.values()

    def metrics(self) -> bytes:
        """Return the numbers in Prometheus' text format."""
        return bytes(generate_latest(self))

    def health(self) -> tuple[bool, dict[str, object]]:
        """Return whether each stack's ticks end in time, and how each stack is."""
        stacks = dict(sorted(self._stacks.items()))
        stale = [name for name, figures in stacks.items() if figures.is_late]
        facts = {name: figures.health() for name, figures in stacks.items()}
        summary = next(iter(facts.values())) if len(facts) == 1 else _summary(stacks, facts)
        return not stale, {**summary, "stale": stale, "stacks": facts}


def _summary(stacks: Mapping[str, Figures], facts: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    """Return what holds of several stacks together."""
    errors = [f"{name}: {fact['error']}" for name, fact in facts.items() if fact["error"]]
    roles = {str(fact["role"]) for fact in facts.values()}
    return {
        "healthy": all(fact["healthy"] for fact in facts.values()),
        "last_tick_s_ago": round(max((figures.age_s for figures in stacks.values()), default=0.0), 1),
        "error": errors[0] if errors else None,
        "role": roles.pop() if len(roles) == 1 else "mixed" if roles else "active",
    }


_MOST_CONNECTIONS = 32


class _Server(ThreadingHTTPServer):
    """Answers few at once: each connection takes a thread and a descriptor, which the watch itself needs."""

    daemon_threads = True
    request_queue_size = _MOST_CONNECTIONS

    def __init__(self, address: tuple[str, int], exposition: Exposition) -> None:
        self.exposition = exposition
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        try:
            super().__init__(address, _Handler)
        except (OSError, UnicodeError) as error:
            raise UsageError(
                f"Cannot listen on {address[0]}:{address[1]}.",
                why=getattr(error, "strerror", None) or str(error),
                fix="Choose another address with --metrics-listen.",
            ) from None

    def server_bind(self) -> None:
        """Bind without asking the resolver for this machine's name, which may take a minute."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own. Where too many wait, the one that has been there longest has to go."""
        with self._lock:
            self._open.append(request)
            if len(self._open) > _MOST_CONNECTIONS:
                with suppress(OSError):
                    self._open.pop(0).shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._lock, suppress(ValueError):
            self._open.remove(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of who hung up: the base class prints a traceback."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(200, CONTENT_TYPE_LATEST, self.server.exposition.metrics())
        elif path == "/healthz":
            healthy, facts = self.server.exposition.health()
            self._answer(200 if healthy else 503, "application/json", json.dumps(facts).encode())
        else:
            self._answer(404, "text/plain; charset=utf-8", b"/metrics or /healthz\n")

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Do not log requests."""


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port[:6]) > 65535:
        raise UsageError(
            f"{quoted(text)} is not an address to listen on.", fix="Write HOST:PORT, such as 127.0.0.1:9410."
        )
    return host.strip("[]"), int(port)
