"""Stop servers before they are deleted: drain, shut down, power off.

Each server is a small state machine, which the run advances after every observation. A server that
never stops therefore delays no other. If the run is killed, its servers keep running: the next run
starts again with them, or finds that they are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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

_RETRYABLE = (BusyError, RateLimitedError, TransientError)
"""Errors that mean the cloud did nothing: send the same request again a moment later."""


class _Stage(Enum):
    DRAINING = auto()
    SHUTTING_DOWN = auto()
    POWERING_OFF = auto()
    STOPPED = auto()
    KEPT = auto()


@dataclass
class StoppingServer:
    """A server that is being stopped: how far it is, and what went wrong so far."""

    server: Server
    policy: StopPolicy
    stage: _Stage = _Stage.DRAINING
    until: float = 0.0
    """When this stage times out, in seconds of the clock's `monotonic`."""
    requested: bool = False
    """Whether the cloud has accepted the request of this stage, or may have."""
    notes: list[str] = field(default_factory=list)
    """What went wrong, with the last output of a failed drain command."""
    drain: CommandProcess | None = None

    @property
    def is_stopped(self) -> bool:
        """Whether the server is stopped, and may be deleted."""
        return self.stage is _Stage.STOPPED

    @property
    def kept(self) -> bool:
        """Whether its drain failed and the spec says `on_drain_failure: keep`."""
        return self.stage is _Stage.KEPT


class ServerStopper:
    """`ports.Stopping`: stops all servers of a run that are to be deleted."""

    def __init__(self, cloud: Cloud, clock: Clock, folder: Path, environ: Mapping[str, str] | None = None) -> None:
        """`folder` is the working directory of drain commands, `environ` their environment."""
        self._cloud = cloud
        self._clock = clock
        self._folder = folder
        self._environ = environ
        self._servers: dict[str, StoppingServer] = {}

    def begin(self, server: Server, policy: StopPolicy) -> None:
        """Begin to stop a server. Do nothing if this machine is being stopped already."""
        known = self._servers.get(server.name)
        if known is None or known.server.id != server.id:
            self._servers[server.name] = stop = StoppingServer(server, policy)
            self._start_drain(stop)

    def advance(self, server: Server, phase: Phase | None) -> StoppingServer:
        """Take the next steps that are possible now, and return how far the server is.

        `phase` is the server's phase in the last observation, None if it is deleted.
        """
        stop = self._servers[server.name]
        if phase in (None, Phase.DELETING):
            self._end_drain(stop)
            stop.stage = _Stage.STOPPED
        elif stop.stage is _Stage.DRAINING:
            self._check_drain(stop)
        if phase is Phase.OFF and stop.stage in (_Stage.SHUTTING_DOWN, _Stage.POWERING_OFF):
            stop.stage = _Stage.STOPPED
        if stop.stage is _Stage.SHUTTING_DOWN:
            self._shut_down(stop)
        if stop.stage is _Stage.POWERING_OFF:
            self._power_off(stop)
        return stop

    @property
    def busy(self) -> frozenset[str]:
        """Names of servers that are still being stopped."""
        return frozenset(name for name, stop in self._servers.items() if not (stop.is_stopped or stop.kept))

    @property
    def kept(self) -> frozenset[str]:
        """Names of servers that are not deleted because their drain failed."""
        return frozenset(name for name, stop in self._servers.items() if stop.kept)

    def close(self) -> None:
        """Kill the drain commands that still run, since nothing waits for them any more."""
        for stop in self._servers.values():
            self._end_drain(stop)

    # -- drain ---------------------------------------------------------------------------------

    def _start_drain(self, stop: StoppingServer) -> None:
        if not stop.policy.drain:
            self._leave_drain(stop)
            return
        stop.until = self._clock.monotonic() + stop.policy.drain_within.total_seconds()
        try:
            words = [fill_in(word, stop.server) for word in stop.policy.drain]
            stop.drain = CommandProcess(words, self._folder, environ=self._environ)
        except (OSError, ValueError) as error:
            self._drain_failed(stop, cannot_be_run(error))

    def _check_drain(self, stop: StoppingServer) -> None:
        code = stop.drain.ended() if stop.drain else None
        if code == 0:
            self._end_drain(stop)
            self._leave_drain(stop)
        elif code is not None:
            self._drain_failed(stop, ended_with(code))
        elif self._timed_out(stop):
            self._drain_failed(stop, f"did not end within {format_duration(stop.policy.drain_within)}")

    def _drain_failed(self, stop: StoppingServer, why: str) -> None:
        output = self._end_drain(stop)
        stop.notes.append(f"the drain command {why}" + (f": {output}" if output else ""))
        if stop.policy.on_drain_failure == "keep":
            stop.stage = _Stage.KEPT
        else:
            self._leave_drain(stop)

    @staticmethod
    def _end_drain(stop: StoppingServer) -> str:
        """Kill what still runs of the drain command, and return its last output."""
        process, stop.drain = stop.drain, None
        return process.end() if process else ""

    # -- power ---------------------------------------------------------------------------------

    def _leave_drain(self, stop: StoppingServer) -> None:
        if stop.policy.shutdown_within is None:
            stop.stage = _Stage.STOPPED
        else:
            self._enter(stop, _Stage.SHUTTING_DOWN, stop.policy.shutdown_within.total_seconds())

    def _enter(self, stop: StoppingServer, stage: _Stage, within_s: float) -> None:
        stop.stage = stage
        stop.requested = False
        stop.until = self._clock.monotonic() + within_s

    def _shut_down(self, stop: StoppingServer) -> None:
        problem = self._request(stop, self._cloud.shutdown)
        if problem is None and self._timed_out(stop) and stop.policy.shutdown_within is not None:
            problem = f"did not shut down within {format_duration(stop.policy.shutdown_within)}"
        if problem is not None:
            stop.notes.append(problem)
            self._enter(stop, _Stage.POWERING_OFF, _POWER_OFF_WITHIN_S)

    def _power_off(self, stop: StoppingServer) -> None:
        """Cut the power. A failure only makes a note, since the server is deleted next in any case."""
        problem = self._request(stop, self._cloud.power_off)
        if problem is None and self._timed_out(stop):
            problem = "the power could not be cut in time"
        if problem is not None:
            stop.notes.append(problem)
            stop.stage = _Stage.STOPPED

    @staticmethod
    def _request(stop: StoppingServer, request: Callable[[str], None]) -> str | None:
        """Send the request of this stage unless it was accepted before; return why the cloud refused it for good."""
        if stop.requested:
            return None
        try:
            request(stop.server.id or "")
        except GoneError:
            stop.stage = _Stage.STOPPED
        except _RETRYABLE:
            return None
        except AmbiguousError:
            pass  # The cloud may have accepted it: wait for the stage's time-out.
        except CloudError as error:
            return str(error)
        stop.requested = True
        return None

    def _timed_out(self, stop: StoppingServer) -> bool:
        return self._clock.monotonic() >= stop.until
