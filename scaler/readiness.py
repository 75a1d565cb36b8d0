"""Whether a server that its cloud calls running can do its work: none, TCP, HTTP or a command.

Checks run beside the run's looks and never hold one up. A server is ready after some good
readings in a row, since one may be luck.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from scaler.clock import Clock
from scaler.model import Readiness, Server

_CHECK_WITHIN_S = 5.0
"""One reading's deadline."""

_PAUSE_S = 1.0
"""Between two readings of one server."""

_AT_ONCE = 32

Check = Callable[[Readiness, Server], str | None]
"""Returns None for a good reading, else what was wrong."""


@dataclass
class _Readings:
    good: int = 0
    wrong: str = "not checked yet"
    running: Future[str | None] | None = None
    next_at: float = 0.0


class ReadinessChecks:
    """The readings of all servers of a run."""

    def __init__(self, clock: Clock, checks: Mapping[str, Check] | None = None) -> None:
        self._clock = clock
        self._checks = {**CHECKS, **(checks or {})}
        self._pool = ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="ready")
        self._readings: dict[tuple[str, str], _Readings] = {}

    def is_ready(self, how: Readiness, server: Server) -> bool:
        """Whether the last readings were good, by now; starts the next reading and does not wait for it."""
        if how.kind == "none":
            return True
        readings = self._readings.setdefault((server.name, server.id or ""), _Readings())
        self._collect(readings)
        if readings.good >= how.successes:
            return True
        if readings.running is None and self._clock.monotonic() >= readings.next_at:
            readings.running = self._pool.submit(self._checks[how.kind], how, server)
        return False

    def trouble(self, server: Server) -> str | None:
        """What was wrong at the last reading that was not good."""
        readings = self._readings.get((server.name, server.id or ""))
        return readings.wrong if readings else None

    def close(self) -> None:
        """Forget what is still running: every reading has a deadline of its own."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _collect(self, readings: _Readings) -> None:
        if readings.running is None or not readings.running.done():
            return
        wrong = _result(readings.running)
        readings.good = 0 if wrong else readings.good + 1
        readings.wrong = wrong or readings.wrong
        readings.running = None
        readings.next_at = self._clock.monotonic() + _PAUSE_S


def _result(future: Future[str | None]) -> str | None:
    """A check that raises is a bad reading, whoever wrote it."""
    error = future.exception()
    return f"{type(error).__name__}: {error}" if error else future.result()


def _check_tcp(how: Readiness, server: Server) -> str | None:
    try:
        with socket.create_connection((_address(server), how.port or 0), timeout=_CHECK_WITHIN_S):
            return None
    except OSError as error:
        return f"port {how.port}: {error.strerror or error}"


def _check_http(how: Readiness, server: Server) -> str | None:
    import requests

    try:
        # A redirect may lead anywhere; the answer of the server itself is what counts.
        answer = requests.get(fill_in(how.url or "", server), timeout=_CHECK_WITHIN_S, allow_redirects=False)
    except requests.RequestException as error:
        return f"{how.url}: {type(error).__name__}"
    return None if answer.status_code < 400 else f"{how.url}: HTTP {answer.status_code}"


def _check_command(how: Readiness, server: Server) -> str | None:
    try:
        # An argument list, never a shell: a server's name or address is only ever one argument.
        done = subprocess.run(
            [fill_in(word, server) for word in how.command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_CHECK_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{how.command[0]}: {error}"
    return None if done.returncode == 0 else f"{how.command[0]} ended with {done.returncode}"


CHECKS: Mapping[str, Check] = {"tcp": _check_tcp, "http": _check_http, "command": _check_command}


def fill_in(text: str, server: Server) -> str:
    """`{ip}` and `{name}` as they are for a server."""
    return text.replace("{ip}", _address(server)).replace("{name}", server.name)


def _address(server: Server) -> str:
    return server.ipv4 or server.ipv6 or ""
