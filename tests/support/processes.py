"""What tests of the lifecycle's adapters share: a hand-moved clock, servers, scripts, an HTTP server of many moods."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from scaler.model import Server
from scaler.model.lifecycle import Status

NOW = datetime(2026, 11, 24, 22, 10, tzinfo=UTC)

_DEADLINE_S = 60.0
"""No test waits longer for anything; it fails instead."""


class HandClock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.passed += seconds


def server(name: str = "prod-worker-1", **fields: Any) -> Server:
    known: dict[str, Any] = {"id": "7", "status": Status.STARTING, "since": NOW, "ipv4": "127.0.0.1"} | fields
    return Server(name=name, group="worker", **known)


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """The condition's value once it holds; fails when it never does."""
    end = time.monotonic() + _DEADLINE_S
    while not (value := condition()):
        assert time.monotonic() < end, f"never seen: {what}"
        time.sleep(0.01)
    return value


def script(folder: Path, name: str, text: str) -> str:
    """An executable shell script in the folder; how a spec names it."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return f"./{name}"


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that nobody waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class HttpServer:
    """Answers with the next of some statuses, the last one for ever; `None` is no answer until the end."""

    def __init__(self, *statuses: int | None, host: str = "127.0.0.1", endless: bool = False) -> None:
        self.asked: list[tuple[str, str, bytes]] = []
        """Method, path and body of each request."""
        self.authorized: list[str] = []
        """The credentials that came with the requests."""
        self._statuses = list(statuses)
        self._endless = endless
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer((host, 0), self._handler())
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> HttpServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                with outer._lock:
                    outer.asked.append((self.command, self.path, body))
                    outer.authorized += self.headers.get_all("authorization", [])
                    status = outer._statuses.pop(0) if len(outer._statuses) > 1 else outer._statuses[0]
                if status is None:
                    outer._closing.wait()
                    return
                self.send_response(status)
                if status in (301, 302, 307):
                    self.send_header("location", "/elsewhere")
                if not outer._endless:
                    self.send_header("content-length", "0")
                self.end_headers()
                while outer._endless and not outer._closing.wait(0.01):
                    self.wfile.write(b"more ")

            do_GET = do_POST = answer

            def log_message(self, *_: Any) -> None:
                """Nobody reads it."""

        return Handler


def _wait(over: threading.Event) -> None:
    over.wait()


@contextmanager
def waiting_ends() -> Iterator[Callable[[], None]]:
    """A function that blocks until the block ends."""
    over = threading.Event()
    try:
        yield lambda: _wait(over)
    finally:
        over.set()
