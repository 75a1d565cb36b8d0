"""Records for tests, a clock that stands still, and a disk that is full."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from scaler.model import Server
from scaler.model.lifecycle import Status
from scaler.records.state import State
from scaler.support.clock import SystemClock

NOW = datetime(2026, 11, 24, 22, 10, tzinfo=UTC)


def server(name: str = "prod-worker-1", status: Status = Status.RUNNING, **fields: object) -> Server:
    known = {"group": "worker", "id": "4711", "since": NOW} | fields
    return Server(name=name, status=status, **known)  # type: ignore[arg-type]


def state(*servers: Server, serial: int = 0) -> State:
    return State(
        stack="prod",
        project="scaler",
        cloud="hetzner",
        serial=serial,
        updated=NOW,
        wanted={"worker": len(servers)},
        servers=servers,
    )


def records(*servers: Server) -> dict[str, Server]:
    return {server.name: server for server in servers}


@contextmanager
def full_disk() -> Iterator[None]:
    """A disk that takes 4 kB of a file and no more: the kernel refuses the rest of each write.

    No fixture: the test runner itself writes between a fixture and its test, to a log that is longer.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


class StoppedClock(SystemClock):
    def now(self) -> datetime:
        return NOW
