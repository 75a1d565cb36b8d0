"""Show the state of a watch over HTTP: `/metrics` for Prometheus, and `/healthz`."""

from __future__ import annotations

import json
import socket
import threading
from collections import Counter as Tally
from contextlib import suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Self

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from scaler.autoscale.decision import SampleState
from scaler.autoscale.tick import Tick
from scaler.autoscale.watch import Turn
from scaler.errors import ScalerError, UsageError
from scaler.model import Spec
from scaler.model.lifecycle import Status
from scaler.support.clock import Clock
from scaler.support.text import quoted

_LATE_AFTER = 3
"""After this many intervals without a finished tick, the watch is not healthy."""

_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900)


class Exposition:
    """Collects numbers about a watch and serves them."""

    def __init__(self, stack: str, address: str, interval: timedelta, clock: Clock, turn: Turn | None = None) -> None:
        """Listen on `HOST:PORT`. Raise UsageError if that is not an address or is not available.

        `turn` says whether this watch acts; None: it always does.
        """
        self._clock = clock
        self._late_after_s = _LATE_AFTER * interval.total_seconds() + 60
        self._last_end = clock.monotonic()
        self._last_error: str | None = None
        self._turn = turn
        self._make_metrics(stack)
        self._server = _Server(_address(address), self)
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    def _make_metrics(self, stack: str) -> None:
        registry = self._registry = CollectorRegistry()
        self._wanted = Gauge("scaler_wanted", "Servers wanted.", ["stack", "group"], registry=registry)
        self._ready = Gauge("scaler_ready", "Servers ready.", ["stack", "group"], registry=registry)
        self._servers = Gauge("scaler_servers", "Servers by status.", ["stack", "group", "status"], registry=registry)
        self._value = Gauge(
            "scaler_metric_value", "A metric's last value.", ["stack", "group", "metric"], registry=registry
        )
        self._usable = Gauge(
            "scaler_metric_ok", "Whether a metric has a usable value.", ["stack", "group", "metric"], registry=registry
        )
        self._decisions = Counter(
            "scaler_decisions", "Decisions by direction.", ["stack", "group", "direction"], registry=registry
        )
        self._requests = Counter("scaler_requests", "Requests to the cloud.", ["stack", "kind"], registry=registry)
        self._runs = Counter("scaler_runs", "Ticks by their outcome.", ["stack", "outcome"], registry=registry)
        self._seconds = Histogram(
            "scaler_run_duration_seconds", "How long ticks took.", ["stack"], buckets=_BUCKETS, registry=registry
        )
        self._success = Gauge(
            "scaler_last_success_timestamp_seconds", "When a tick last ended well.", ["stack"], registry=registry
        )
        self._budget = Gauge(
            "scaler_budget_left", "What the budget leaves this month.", ["stack", "currency"], registry=registry
        )
        acts = Gauge(
            "scaler_active", "1: this watch acts; 0: it stands by for another one.", ["stack"], registry=registry
        )
        # Asked for and not told: a tick may hang while another watch takes over.
        acts.labels(stack).set_function(lambda: float(self._turn is None or self._turn.is_held))
        self._stack = stack

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

    # -- events of the watch -------------------------------------------------------------------

    def ticked(self, done: Tick, took_s: float) -> None:
        """Count a finished tick."""
        self._end(str(done.outcome), took_s, None)
        self._success.labels(self._stack).set(done.at.timestamp())
        for kind in ("total", "create", "list", "retried"):
            self._requests.labels(self._stack, kind).inc(getattr(done.requests, kind))
        self._count_servers(done)
        self._budget.clear()
        if done.budget_left is not None:
            amount, currency = done.budget_left
            self._budget.labels(self._stack, currency).set(amount)
        for name, decision in done.decisions.items():
            direction = "up" if decision.change > 0 else "down" if decision.change < 0 else "none"
            self._decisions.labels(self._stack, name, direction).inc()
            self._wanted.labels(self._stack, name).set(decision.count)
            for reading in decision.readings:
                labels = (self._stack, name, reading.metric)
                self._usable.labels(*labels).set(reading.state is SampleState.OK)
                self._value.labels(*labels).set(float("nan") if reading.value is None else reading.value)

    def _count_servers(self, done: Tick) -> None:
        servers = done.result.servers if done.result else done.servers
        counted = Tally((server.group, server.status) for server in servers)
        for group in {*done.decisions, *(server.group for server in servers)}:
            self._ready.labels(self._stack, group).set(counted[group, Status.RUNNING])
            for status in Status:
                self._servers.labels(self._stack, group, str(status)).set(counted[group, status])

    def failed(self, error: Exception, took_s: float) -> None:
        """Count a tick that raised an error."""
        self._end("error", took_s, str(error) if isinstance(error, ScalerError) else type(error).__name__)

    def stands_by(self, active: str) -> None:
        """Standing by is as good as a finished tick."""
        self._last_end, self._last_error = self._clock.monotonic(), None

    def reloaded(self, spec: Spec) -> None:
        """Do nothing: the spec is not shown."""

    def reload_failed(self, error: Exception) -> None:
        """Do nothing: the watch continues with the spec that it has."""

    def _end(self, outcome: str, took_s: float, error: str | None) -> None:
        self._runs.labels(self._stack, outcome).inc()
        self._seconds.labels(self._stack).observe(took_s)
        self._last_end, self._last_error = self._clock.monotonic(), error

    # -- the server ----------------------------------------------------------------------------

    def metrics(self) -> bytes:
        """Return the numbers in Prometheus' text format."""
        return bytes(generate_latest(self._registry))

    def health(self) -> tuple[bool, dict[str, object]]:
        """Return whether ticks finish in time, and the last error. An error alone does not make the watch unhealthy."""
        age = self._clock.monotonic() - self._last_end
        healthy = age <= self._late_after_s
        facts = {"healthy": healthy, "last_tick_s_ago": round(age, 1), "error": self._last_error}
        if self._turn is None or self._turn.is_held:
            return healthy, {**facts, "role": "active"}
        return healthy, {**facts, "role": "standby", "active": self._turn.holder}


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
