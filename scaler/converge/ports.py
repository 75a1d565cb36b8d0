"""What the run needs of the outside, and is handed: the stack, the records, and a person's progress."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import field
from datetime import timedelta
from pathlib import Path
from typing import Protocol, TypeVar

from scaler.clouds import Cloud
from scaler.model import (
    Applied,
    Change,
    CheckReport,
    CheckResult,
    DrainFinding,
    Machine,
    PolicyPack,
    Preview,
    Readiness,
    Result,
    Server,
    StackState,
    Step,
    StopPolicy,
)
from scaler.model.events import EventName
from scaler.model.identity import Identity, Place
from scaler.model.orders import Orders
from scaler.records.shortages import Shortages
from scaler.support.clock import Clock
from scaler.support.time_limit import TimeLimit
from scaler.support.values import dataclass

T = TypeVar("T")


class Stack(Protocol):
    """The Pulumi stack: the engine, the program and the plugin, put together."""

    def read(self) -> StackState:
        """Return the stack as last saved; heals locks whose owner is dead, unless the run only looks."""

    def prepare(self) -> None:
        """Make sure that the engine is there and that it knows the stack."""

    def establish(self, identity: Identity) -> None:
        """Save the identity in the backend, before anything carries its id; changes no server.

        An id that another run saved meanwhile stays: read the stack again afterwards.
        """

    def preview(self, change: Change, packs: Sequence[PolicyPack] = ()) -> Preview:
        """Return the engine's own view of a change, and what the packs' policies say of what it leaves."""

    def apply(self, change: Change) -> Applied:
        """Carry a change out under the stack's lock."""

    def record(
        self,
        describe: Callable[[Sequence[Machine]], Mapping[str, Server]],
        identity: Identity | None = None,
        orders: Callable[[], Orders | None] = lambda: None,
    ) -> Mapping[str, Server]:
        """List our machines under the stack's lock and save what `describe` makes of them as outputs.

        `orders` is called after `describe`, and its answer is saved too.
        """

    @property
    def processes(self) -> int:
        """Engine processes started so far."""


class Records(Protocol):
    """The state file and the event log of one stack."""

    def load(self, *, set_aside_damaged: bool = False) -> tuple[Server, ...]:
        """Return the servers as last recorded.

        StateError if they cannot be read. With `set_aside_damaged`, rename a damaged file and return no servers.
        """

    def orders(self) -> Orders | None:
        """Return what is asked of the stack, as the last run on this machine recorded it; None if there is none."""

    def identity(self) -> Identity | None:
        """Return the stack's identity as `load` found it; None if nothing is recorded."""

    def save(
        self,
        orders: Orders,
        servers: Mapping[str, Server],
        steps: Sequence[Step],
        identity: Identity | None = None,
    ) -> None:
        """Replace the records, and log what changed since the last save."""

    def share(self) -> None:
        """Make what is recorded durable where other machines read it, if they share it; warn if that fails."""

    def log_run(self, run: Callable[[], Result]) -> Result:
        """Carry out a run, and log its start and its end. A run that is killed leaves only its start."""

    def log_look(self, look: Callable[[], T]) -> T:
        """Observe for a tick, and log that the world is not recognised, once, and that it is again."""

    def log_decision(self, group: str, reason: str, decision: Mapping[str, object]) -> None:
        """Log what autoscaling decided for a group, with everything that led to it as plain values."""

    def log_metric(self, group: str, text: str) -> None:
        """Log that a metric of a group became invalid, or is valid again."""

    def log_snapshot(self, event: EventName, server: Server, reason: str) -> None:
        """Log what became of a snapshot of a server."""

    def boot_times(self) -> Mapping[str, Sequence[timedelta]]:
        """Return how long past servers of each group took from creation until ready."""

    def removal_times(self) -> Mapping[str, Sequence[timedelta]]:
        """Return how long past servers of each group took from the begin of their drain, or deletion, until gone."""


class ReadinessChecks(Protocol):
    """Whether servers that run can do their work."""

    def is_ready(self, how: Readiness, server: Server) -> bool:
        """By the readings so far; never waits for one."""

    def finish(self, asked: Sequence[tuple[Readiness, Server]]) -> frozenset[str]:
        """Wait for checks that go well, not for those that fail or hang; the names of those that are ready."""

    def trouble(self, server: Server) -> str | None:
        """Return what was wrong at the last reading that was not good."""

    def probe(self, how: Readiness, servers: Sequence[Server]) -> Mapping[str, CheckResult]:
        """Check each of these servers once and wait for that; the results by name. None at all: the checks go on."""


class HealthChecks(Protocol):
    """Whether servers in service can still do their work."""

    def check(self, asked: Sequence[tuple[Readiness, Server]]) -> Mapping[str, CheckReport]:
        """Check each of these servers once, all side by side; the results by name.

        It takes no longer than one check may. A server is missing if there was no time left for it.
        """


class Drains(Protocol):
    """The drains of this machine, which outlive the run that begins them."""

    def announce(self, servers: Collection[Server]) -> None:
        """Make it durable that the drains of these servers begin here, before anything else says so."""

    def start(self, drains: Sequence[tuple[Server, StopPolicy]]) -> Mapping[str, DrainFinding]:
        """Start drains that do not live; return what came of commands that only begin one, by server.

        One that is missing goes on: the next call has its result.
        """

    def look(self, asked: Sequence[tuple[Server, StopPolicy]]) -> None:
        """Ask the checks of these drains that are due, side by side, before each is told of by `find`."""

    def find(self, server: Server, policy: StopPolicy) -> DrainFinding:
        """Return what is known here of a server's drain."""

    def resume(self, server: Server, policy: StopPolicy) -> DrainFinding:
        """End a server's drain and put it back to work; working: that goes on, and the next call has its result."""

    def keep_only(self, ids: Collection[str]) -> None:
        """End and forget the drains of all servers but these, by cloud id."""


class Progress(Protocol):
    """Tells a person, or a log, how far the run is. Never raises."""

    def phase(self, text: str) -> None: ...

    def server(self, name: str, status: str, note: str = "") -> None: ...

    def waiting(self, ready: int, wanted: int) -> None: ...

    def note(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Ports:
    """The adapters that a run is handed."""

    cloud: Cloud
    stack: Stack
    records: Records
    readiness: ReadinessChecks
    health: HealthChecks
    drains: Drains
    place: Place
    clock: Clock
    progress: Progress
    shortages: Shortages = field(default_factory=Shortages)
    """What the cloud had none of a moment ago."""
    require_turn: Callable[[], None] = lambda: None
    """Raises LockedError where this run must not change anything any more: another watch may act by now."""
    roll_turn: Callable[[], AbstractContextManager[bool]] = lambda: nullcontext(True)
    """Keeps other rolls of the stack away while a block runs; False where one goes on, which is not waited for."""
    records_folder: Path = Path()
    """Where the files of the records lie that this run reads and writes."""
    limit: TimeLimit = field(default_factory=TimeLimit)
    """The time of the run, which began with the wait for its lock."""
    unlocked: Callable[[], AbstractContextManager[None]] = nullcontext
    """Releases the run's lock while a block runs; LockedError if it cannot be had again in time."""
