"""What is done besides making the count so: looking, recording, rebooting, protecting.

None of it changes the number of servers, so none of it goes through the engine's `up`; what the
stack must know is saved by the record step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta

from scaler.confirm import confirm, on_their_way, running
from scaler.ensure import record
from scaler.errors import ScalerError, UsageError
from scaler.lifecycle import Status
from scaler.model import GroupReport, Outcome, Result, Server, Spec, World
from scaler.observe import PASSING, Observer
from scaler.ports import Surroundings
from scaler.suggest import nearest


def look(spec: Spec, around: Surroundings) -> Result:
    """Look, and write what is there into the state file alone: no engine, one list call per page.

    A lost or damaged state file is rebuilt from the stack's outputs and the cloud.
    """
    return _Operation(spec, around, mend=True).finish(save_only=True)


def refresh(spec: Spec, around: Surroundings) -> Result:
    """Look, and record what is there in the stack and the state file; changes no server."""
    return _Operation(spec, around).finish()


def reboot(spec: Spec, names: Iterable[str], around: Surroundings, *, timeout: timedelta) -> Result:
    """Reboot servers, and wait until they are ready again.

    One that is starting or rebooting is rebooted once as soon as it runs; one in any other status
    is an error that names both, before anything is done.
    """
    operation = _Operation(spec, around)
    servers = operation.chosen(names)
    for server in servers:
        if not server.running and server.status not in (Status.STARTING, Status.REBOOTING):
            raise UsageError(
                f"{server.name} cannot be rebooted: it is {server.status}.",
                fix="`scaler ensure` repairs what is not running.",
                code="wrong_status",
            )
    for server in servers:
        operation.reboot(server)
    operation.wait(timeout)
    return operation.finish()


def protect(spec: Spec, names: Iterable[str], around: Surroundings, *, protected: bool) -> Result:
    """Mark servers as never chosen for scale-down, or no longer; kept in the stack's outputs."""
    operation = _Operation(spec, around)
    for server in operation.chosen(names):
        operation.observer.known[server.name] = replace(server, protected=protected)
    return operation.finish()


class _Operation:
    def __init__(self, spec: Spec, around: Surroundings, *, mend: bool = False) -> None:
        self._spec = spec
        self._around = around
        self._started = around.clock.monotonic()
        self._failures: list[ScalerError] = []
        self._waited = False
        recorded = around.records.wanted()
        self._wanted: Mapping[str, int] = {name: recorded.get(name, group.count) for name, group in spec.groups.items()}
        self.observer = Observer(spec, around)
        self._first = self.observer.begin(mend=mend)

    def chosen(self, names: Iterable[str]) -> list[Server]:
        """The servers of these names; UsageError for one that is not there."""
        servers = self._first.servers
        chosen = sorted(set(names))
        for name in chosen:
            if name not in servers:
                raise UsageError(
                    f"There is no server {name} in {self._spec.stack}.", fix=nearest(name, sorted(servers))
                )
        return [servers[name] for name in chosen]

    def reboot(self, server: Server) -> None:
        """Reboot a running server, or remember that it is to be rebooted."""
        if not server.running:
            self.observer.known[server.name] = replace(server, reboot_asked=True)
            return
        error = self.observer.reboot(server.name)
        if error:
            self._failures.append(error)
            self.observer.known[server.name] = server.become(Status.ERRORED, self._first.at, str(error))
        self._around.progress.server(server.name, self.observer.known[server.name].status)

    def wait(self, timeout: timedelta) -> None:
        """Wait until nothing is on its way any more; what still is then counts as hanging."""
        self._waited = True
        self._save()
        self._around.progress.phase("confirming")
        self.observer.look()
        late = confirm(
            self._look,
            self.observer.world,
            clock=self._around.clock,
            deadline=self._started + timeout.total_seconds(),
            progress=self._around.progress,
            passing=PASSING,
        )
        for name in late:
            server = self.observer.known[name]
            why = f"still {server.status} when the run's time was up"
            self.observer.known[name] = server.become(Status.HANGING, self.observer.world.at, why)

    def _look(self) -> World:
        self.observer.look()
        self.observer.reboot_due()
        return self.observer.world

    def finish(self, *, save_only: bool = False) -> Result:
        """Record, and say what is there."""
        if not save_only:
            record(self.observer, self._around)
        self._save()
        world = self.observer.world
        ready = running(world, self._wanted)
        before = Counter(server.group for server in self._first.servers.values() if server.counts)
        for failure in self._failures:
            self._around.progress.warn(str(failure))
        return Result(
            stack=self._spec.stack,
            outcome=self._outcome() if self._waited else Outcome.UNCHANGED,
            groups={name: GroupReport(count, before[name], ready[name]) for name, count in self._wanted.items()},
            servers=tuple(server for _, server in sorted(self.observer.known.items()) if not server.finished),
            drift=self._first.drift,
            requests=self._around.cloud.requests,
            elapsed=timedelta(seconds=self._around.clock.monotonic() - self._started),
        )

    def _outcome(self) -> Outcome:
        if self._failures:
            return Outcome.FAILED
        hanging = any(server.status is Status.HANGING for server in self.observer.world.servers.values())
        return Outcome.UNCONFIRMED if hanging or on_their_way(self.observer.world) else Outcome.UNCHANGED

    def _save(self) -> None:
        self._around.records.save(self._wanted, self.observer.known, ())
