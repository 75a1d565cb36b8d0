"""A server on loopback that answers what a test tells it to, to the single byte, and remembers what it was asked."""

from __future__ import annotations

import json
import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from scaler.support.clock import SystemClock


class HurriedClock:
    """The machine's clock, except that nobody waits: `sleep` moves it forward by as much."""

    def __init__(self, on_sleep: Callable[[float], None] = lambda seconds: None) -> None:
        self._real = SystemClock()
        self._ahead = 0.0
        self._lock = threading.Lock()
        self._on_sleep = on_sleep
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self._real.now() + timedelta(seconds=self._ahead)

    def monotonic(self) -> float:
        return self._real.monotonic() + self._ahead

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self._ahead += seconds
            self.slept.append(seconds)
            self._on_sleep(seconds)


@dataclass(frozen=True)
class Request:
    """What the stub was asked."""

    method: str
    path: str
    body: Any
    token: str


Answer = Callable[["_Handler"], None]
"""Writes an answer, or does not."""


def reply(status: int, body: Any = None, **headers: str) -> Answer:
    """An HTTP answer: a dict or list as JSON, text as HTML. `headers` with `_` for `-`."""
    text = "" if body is None else body if isinstance(body, str) else json.dumps(body)
    kind = "text/html" if isinstance(body, str) else "application/json"

    def write(handler: _Handler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(text.encode())))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(text.encode())

    write.__name__ = f"{status}-{text[:20]}"
    return write


def name_of(answer: Answer) -> str:
    """What a test is called by an answer: the same in each process that collects it."""
    return str(getattr(answer, "__name__", answer))


def drop(handler: _Handler) -> None:
    """Close the connection without an answer."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def hang(handler: _Handler) -> None:
    """Keep the connection open and say nothing until the test is over."""
    handler.server.over.wait()
    handler.close_connection = True


def drip(handler: _Handler) -> None:
    """A byte now and then, for ever: each read succeeds."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.close_connection = True
    try:
        while not handler.server.over.wait(0.05):
            handler.wfile.write(b" ")
    except OSError:
        pass


def drip_headers(handler: _Handler) -> None:
    """An answer whose headers come with a byte now and then, and are whole after some seconds."""
    handler.close_connection = True
    try:
        for byte in b"HTTP/1.1 204 No Content\r\nX-More: %s\r\n\r\n" % (b"x" * 100):
            if handler.server.over.wait(0.05):
                break
            handler.wfile.write(bytes([byte]))
    except OSError:
        pass


def cut(body: Any, status: int = 200) -> Answer:
    """Promise a whole JSON body, send half of it and close."""
    text = json.dumps(body).encode()

    def write(handler: _Handler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text[: len(text) // 2])
        handler.close_connection = True

    return write


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Stub

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def _answer(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        token = self.headers.get("Authorization", "")
        answer = self.server.next_answer(Request(self.command, self.path, json.loads(raw) if raw else None, token))
        answer(self)

    do_GET = do_POST = do_PUT = do_DELETE = _answer

    def log_message(self, *args: Any) -> None:
        pass


class Stub(ThreadingHTTPServer):
    """Serves on 127.0.0.1: the answers in turn, the last one again and again."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *answers: Answer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._answers = deque(answers)
        self._lock = threading.Lock()
        self.over = threading.Event()
        self.requests: list[Request] = []
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def set_answer(self, answer: Answer) -> None:
        """Give this answer from now on."""
        with self._lock:
            self._answers = deque([answer])

    def next_answer(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            return self._answers.popleft() if len(self._answers) > 1 else self._answers[0]

    def __enter__(self) -> Stub:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self.shutdown()
        self.server_close()
        self._thread.join()
