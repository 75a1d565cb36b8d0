"""Bringing servers to rest before they are deleted: drain, shutdown, power off.

Each server is a small state machine that the run advances whenever it has looked, so that one
that never ends delays no other. A run that is killed leaves servers that still run: the next run
starts over with them, or finds that they are needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

from scaler.clouds import AmbiguousError, BusyError, Cloud, CloudError, GoneError, RateLimitedError, TransientError
from scaler.hooks.processes import CommandProcess, cannot_be_run, ended_with
from scaler.hooks.readiness import fill_in
from scaler.model import Server, StopPolicy
from scaler.model.lifecycle import Phase
from scaler.support.clock import Clock
from scaler.support.durations import format_duration

_POWER_OFF_WITHIN_S = 60.0

_ASK_AGAIN = (BusyError, RateLimitedError, TransientError)
"""Errors after which nothing has happened, and the same may be asked a moment later."""


class _Stage(Enum):
    DRAINING = auto()
    SHUTTING_DOWN = auto()
    POWERING_OFF = auto()
    AT_REST = auto()
    KEPT = auto()


@dataclass
class Stop:
    """One server on its way to rest."""

    server: Server
    policy: StopPolicy
    stage: _Stage = _Stage.DRAINING
    until: float = 0.0
    asked: bool = False
    """Whether the cloud was asked for what this stage waits for."""
    notes: list[str] = field(default_factory=list)
    """What went wrong, and the last words of a failed drain."""
    drain: CommandProcess | None = None

    @property
    def at_rest(self) -> bool:
        """Whether it may be deleted now."""
        return self.stage is _Stage.AT_REST

    @property
    def kept(self) -> bool:
        """Whether its drain failed and the spec says to keep it then."""
        return self.stage is _Stage.KEPT


class Stopping:
    """All servers that a run is bringing to rest."""

    def __init__(self, cloud: Cloud, clock: Clock, folder: Path) -> None:
        """`folder` is where drain commands run."""
        self._cloud = cloud
        self._clock = clock
        self._folder = folder
        self.stops: dict[str, Stop] = {}

    def begin(self, server: Server, policy: StopPolicy) -> None:
        """Start with a server; again for the same machine does nothing."""
        known = self.stops.get(server.name)
        if known is None or known.server.id != server.id:
            self.stops[server.name] = stop = Stop(server, policy)
            self._drain(stop)

    def advance(self, server: Server, phase: Phase | None) -> Stop:
        """Take one server as far as it goes by now; `phase` is its last seen condition, None if it is gone."""
        stop = self.stops[server.name]
        if phase in (None, Phase.DELETING):
            self._end_drain(stop)
            stop.stage = _Stage.AT_REST
        elif stop.stage is _Stage.DRAINING:
            self._watch_drain(stop)
        if phase is Phase.OFF and stop.stage in (_Stage.SHUTTING_DOWN, _Stage.POWERING_OFF):
            stop.stage = _Stage.AT_REST
        if stop.stage is _Stage.SHUTTING_DOWN:
            self._shut_down(stop)
        if stop.stage is _Stage.POWERING_OFF:
            self._power_off(stop)
        return stop

    @property
    def busy(self) -> frozenset[str]:
        """Names of servers that are not at rest yet."""
        return frozenset(name for name, stop in self.stops.items() if not (stop.at_rest or stop.kept))

    @property
    def kept(self) -> frozenset[str]:
        """Names of servers that stay because their drain failed."""
        return frozenset(name for name, stop in self.stops.items() if stop.kept)

    def close(self) -> None:
        """End the drain commands that still run: nobody would wait for them."""
        for stop in self.stops.values():
            self._end_drain(stop)

    # -- drain ---------------------------------------------------------------------------------

    def _drain(self, stop: Stop) -> None:
        if not stop.policy.drain:
            self._after_drain(stop)
            return
        stop.until = self._clock.monotonic() + stop.policy.drain_within.total_seconds()
        try:
            stop.drain = CommandProcess([fill_in(word, stop.server) for word in stop.policy.drain], self._folder)
        except (OSError, ValueError) as error:
            self._drain_failed(stop, cannot_be_run(error))

    def _watch_drain(self, stop: Stop) -> None:
        code = stop.drain.ended() if stop.drain else None
        if code == 0:
            self._end_drain(stop)
            self._after_drain(stop)
        elif code is not None:
            self._drain_failed(stop, ended_with(code))
        elif self._late(stop):
            self._drain_failed(stop, f"did not end within {format_duration(stop.policy.drain_within)}")

    def _drain_failed(self, stop: Stop, why: str) -> None:
        words = self._end_drain(stop)
        stop.notes.append(f"the drain command {why}" + (f": {words}" if words else ""))
        if stop.policy.on_drain_failure == "keep":
            stop.stage = _Stage.KEPT
        else:
            self._after_drain(stop)

    @staticmethod
    def _end_drain(stop: Stop) -> str:
        """End the drain's processes, if any still run, and return its last words."""
        process, stop.drain = stop.drain, None
        return process.end() if process else ""

    # -- power ---------------------------------------------------------------------------------

    def _after_drain(self, stop: Stop) -> None:
        if stop.policy.shutdown_within is None:
            stop.stage = _Stage.AT_REST
        else:
            self._enter(stop, _Stage.SHUTTING_DOWN, stop.policy.shutdown_within.total_seconds())

    def _enter(self, stop: Stop, stage: _Stage, within_s: float) -> None:
        stop.stage = stage
        stop.asked = False
        stop.until = self._clock.monotonic() + within_s

    def _shut_down(self, stop: Stop) -> None:
        refusal = self._ask(stop, self._cloud.shutdown)
        if refusal is None and self._late(stop) and stop.policy.shutdown_within is not None:
            refusal = f"did not shut down within {format_duration(stop.policy.shutdown_within)}"
        if refusal is not None:
            stop.notes.append(refusal)
            self._enter(stop, _Stage.POWERING_OFF, _POWER_OFF_WITHIN_S)

    def _power_off(self, stop: Stop) -> None:
        """Cut the power; what comes of it, the server is about to be deleted."""
        refusal = self._ask(stop, self._cloud.power_off)
        if refusal is None and self._late(stop):
            refusal = "the power could not be cut in time"
        if refusal is not None:
            stop.notes.append(refusal)
            stop.stage = _Stage.AT_REST

    @staticmethod
    def _ask(stop: Stop, request: Callable[[str], None]) -> str | None:
        """Ask the cloud once; its refusal, if that is final."""
        if stop.asked:
            return None
        try:
            request(stop.server.id or "")
        except GoneError:
            stop.stage = _Stage.AT_REST
        except _ASK_AGAIN:
            return None
        except AmbiguousError:
            pass  # It may well be under way: its deadline decides.
        except CloudError as error:
            return str(error)
        stop.asked = True
        return None

    def _late(self, stop: Stop) -> bool:
        return self._clock.monotonic() >= stop.until
