"""Whether a server that its cloud calls running can do its work: none, TCP, HTTP, a command or a function.

Checks run beside the run's looks and never hold one up. A server is ready after some good
readings in a row, since one may be luck.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from scaler.errors import ExtensionError
from scaler.hooks.processes import run_command
from scaler.model import Readiness, Server
from scaler.support.clock import Clock

_CHECK_WITHIN_S = 5.0
"""One reading's deadline."""

_PAUSE_S = 1.0
"""Between two readings of one server."""

Check = Callable[[Readiness, Server], str | None]
"""Returns None for a good reading, else what was wrong."""


class _Reading:
    """One check of one server, in a thread that nobody waits for: one that hangs holds up nothing, not even the end."""

    def __init__(self, check: Check, how: Readiness, server: Server) -> None:
        self.done = False
        self.wrong: str | None = None
        threading.Thread(target=self._take, args=(check, how, server), name="ready", daemon=True).start()

    def _take(self, check: Check, how: Readiness, server: Server) -> None:
        try:
            self.wrong = check(how, server)
        except Exception as error:
            # A check that raises is a bad reading, whoever wrote it.
            self.wrong = f"{type(error).__name__}: {error}"
        self.done = True


@dataclass
class _Readings:
    good: int = 0
    wrong: str | None = None
    running: _Reading | None = None
    next_at: float = 0.0


class ReadinessChecks:
    """The readings of all servers of a run."""

    def __init__(self, clock: Clock, folder: Path, checks: Mapping[str, Check] | None = None) -> None:
        """`folder` is where commands run; `checks` are more kinds, or others of the same name."""
        self._clock = clock
        self._checks = {
            "tcp": _check_tcp,
            "http": _check_http,
            "command": _command_check(folder),
            "function": _ask_function,
            **(checks or {}),
        }
        self._readings: dict[tuple[str, str | None, datetime], _Readings] = {}

    def is_ready(self, how: Readiness, server: Server) -> bool:
        """Whether the last readings were good, by now; starts the next reading and does not wait for it."""
        if how.kind == "none":
            return True
        readings = self._readings.setdefault(_life(server), _Readings())
        self._collect(readings)
        if readings.good >= how.successes:
            return True
        if readings.running is None and self._clock.monotonic() >= readings.next_at:
            readings.running = _Reading(self._checks[how.kind], how, server)
        return False

    def trouble(self, server: Server) -> str | None:
        """What was wrong at the last reading that was not good; None if there was none."""
        readings = self._readings.get(_life(server))
        return readings.wrong if readings else None

    def _collect(self, readings: _Readings) -> None:
        if readings.running is None or not readings.running.done:
            return
        wrong = readings.running.wrong
        readings.good = 0 if wrong else readings.good + 1
        readings.wrong = wrong or readings.wrong
        readings.running = None
        readings.next_at = self._clock.monotonic() + _PAUSE_S


def _life(server: Server) -> tuple[str, str | None, datetime]:
    """What readings are about: those from before a reboot, or of another machine of the name, say nothing."""
    return server.name, server.id, server.since


def _check_tcp(how: Readiness, server: Server) -> str | None:
    if not _address(server):
        return "it has no public address"
    try:
        with socket.create_connection((_address(server), how.port or 0), timeout=_CHECK_WITHIN_S):
            return None
    except OSError as error:
        return f"port {how.port}: {error.strerror or error}"


def _check_http(how: Readiness, server: Server) -> str | None:
    import requests

    url = how.url or ""
    if "{ip}" in url and not _address(server):
        return "it has no public address"
    url = fill_in(url, server, bracketed=True)
    try:
        # A redirect may lead anywhere, and a body may never end: what counts is how the server itself answers.
        with requests.get(url, timeout=_CHECK_WITHIN_S, allow_redirects=False, stream=True) as answer:
            return None if answer.status_code < 400 else f"{url}: HTTP {answer.status_code}"
    except requests.RequestException as error:
        return f"{url}: {type(error).__name__}"


def _command_check(folder: Path) -> Check:
    def check(how: Readiness, server: Server) -> str | None:
        wrong = run_command([fill_in(word, server) for word in how.command], folder, _CHECK_WITHIN_S)
        return f"{how.command[0]} {wrong}" if wrong else None

    return check


def _ask_function(how: Readiness, server: Server) -> str | None:
    if how.function is None:
        return "there is no function to ask"
    try:
        answer = how.function(server)
    except ExtensionError as error:
        return f"{how.function}: {error.why}"
    if answer is None or (answer and isinstance(answer, str)):
        return answer
    return f"{how.function} answered {answer!r}, not None or what is wrong"


def fill_in(text: str, server: Server, *, bracketed: bool = False) -> str:
    """`{ip}` and `{name}` as they are for a server; `bracketed`: an IPv6 address as a URL has it."""
    address = _address(server)
    return text.replace("{ip}", f"[{address}]" if bracketed and ":" in address else address).replace(
        "{name}", server.name
    )


def _address(server: Server) -> str:
    return server.ipv4 or server.ipv6 or ""
