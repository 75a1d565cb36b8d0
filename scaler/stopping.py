"""Bringing servers to rest before they are deleted: drain, shutdown, power off.

Each server is a small state machine that the run advances whenever it has looked, so that one
that never ends delays no other. A run that is killed leaves servers that still run: the next run
starts over with them, or finds that they are needed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import IO

from scaler.clock import Clock
from scaler.clouds import Cloud, CloudError, GoneError
from scaler.lifecycle import Phase
from scaler.model import Server, StopPolicy
from scaler.readiness import fill_in

_OUTPUT_KEPT = 2_000
"""Characters of a drain command's last output that are kept for the event."""

_POWER_OFF_WITHIN_S = 60.0


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
    notes: list[str] = field(default_factory=list)
    """What went wrong, and the last words of a failed drain."""
    drain: subprocess.Popen[bytes] | None = None
    output: IO[bytes] | None = None

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

    def __init__(self, cloud: Cloud, clock: Clock) -> None:
        self._cloud = cloud
        self._clock = clock
        self.stops: dict[str, Stop] = {}

    def begin(self, server: Server, policy: StopPolicy) -> None:
        """Start with a server; again for the same one does nothing."""
        if server.name not in self.stops:
            self.stops[server.name] = stop = Stop(server, policy)
            self._drain(stop)

    def advance(self, server: Server, phase: Phase | None) -> Stop:
        """Take one server as far as it goes by now; `phase` is its last seen condition, None if it is gone."""
        stop = self.stops[server.name]
        if phase is None:
            self._end_drain(stop)
            stop.stage = _Stage.AT_REST
        elif stop.stage is _Stage.DRAINING:
            self._watch_drain(stop)
        elif phase is Phase.OFF and stop.stage in (_Stage.SHUTTING_DOWN, _Stage.POWERING_OFF):
            stop.stage = _Stage.AT_REST
        elif stop.stage is _Stage.SHUTTING_DOWN and self._late(stop):
            stop.notes.append(f"did not shut down within {stop.policy.shutdown_within}")
            self._power_off(stop)
        elif stop.stage is _Stage.POWERING_OFF and self._late(stop):
            stop.notes.append("the power could not be cut in time")
            stop.stage = _Stage.AT_REST
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
            self._shut_down(stop)
            return
        stop.until = self._clock.monotonic() + stop.policy.drain_within.total_seconds()
        stop.output = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the command
        try:
            # An argument list, never a shell. A session of its own, so that all it started ends with it.
            stop.drain = subprocess.Popen(
                [fill_in(word, stop.server) for word in stop.policy.drain],
                stdin=subprocess.DEVNULL,
                stdout=stop.output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "SCALER_SERVER": stop.server.name, "SCALER_IP": stop.server.ipv4 or ""},
            )
        except OSError as error:
            self._drain_failed(stop, f"the drain command cannot be run: {error}")

    def _watch_drain(self, stop: Stop) -> None:
        code = stop.drain.poll() if stop.drain else None
        if code == 0:
            self._end_drain(stop)
            self._shut_down(stop)
        elif code is not None:
            self._drain_failed(stop, f"the drain command ended with {code}")
        elif self._late(stop):
            self._drain_failed(stop, f"the drain command did not end within {stop.policy.drain_within}")

    def _drain_failed(self, stop: Stop, why: str) -> None:
        words = self._end_drain(stop)
        stop.notes.append(f"{why}: {words}" if words else why)
        if stop.policy.on_drain_failure == "keep":
            stop.stage = _Stage.KEPT
        else:
            self._shut_down(stop)

    def _end_drain(self, stop: Stop) -> str:
        """End the drain's processes, if any still run, and return its last words."""
        if stop.drain is not None and stop.drain.poll() is None:
            os.killpg(stop.drain.pid, signal.SIGKILL)
            stop.drain.wait()
        if stop.output is None:
            return ""
        end = stop.output.seek(0, os.SEEK_END)
        stop.output.seek(max(0, end - _OUTPUT_KEPT))
        words = stop.output.read().decode(errors="replace").strip()
        stop.output.close()
        stop.output = None
        return words

    # -- power ---------------------------------------------------------------------------------

    def _shut_down(self, stop: Stop) -> None:
        if stop.policy.shutdown_within is None:
            stop.stage = _Stage.AT_REST
            return
        stop.stage = _Stage.SHUTTING_DOWN
        stop.until = self._clock.monotonic() + stop.policy.shutdown_within.total_seconds()
        self._ask(stop, self._cloud.shutdown)

    def _power_off(self, stop: Stop) -> None:
        stop.stage = _Stage.POWERING_OFF
        stop.until = self._clock.monotonic() + _POWER_OFF_WITHIN_S
        self._ask(stop, self._cloud.power_off)

    def _ask(self, stop: Stop, request: Callable[[str], None]) -> None:
        try:
            request(stop.server.id or "")
        except GoneError:
            stop.stage = _Stage.AT_REST
        except CloudError as error:
            # It is about to be deleted: what cannot be asked nicely ends at its deadline.
            stop.notes.append(str(error))

    def _late(self, stop: Stop) -> bool:
        return self._clock.monotonic() >= stop.until
