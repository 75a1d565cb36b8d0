"""What is done besides making the count so: looking, recording, rebooting, protecting.

None of it changes the number of servers, so none of it goes through the engine's `up`; what the
stack must know is saved by the record step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from scaler.converge.confirm import confirm, on_their_way, running
from scaler.converge.ensure import find_server, record, wrong_status
from scaler.converge.observe import PASSING, Observer
from scaler.converge.ports import Surroundings
from scaler.errors import UsageError
from scaler.model import Action, GroupReport, Outcome, Result, Server, Spec, Step, StepReport, StepResult, World
from scaler.model.lifecycle import Status
from scaler.support.suggestions import nearest

_REBOOTABLE = (Status.RUNNING, Status.STARTING, Status.REBOOTING)


def look(spec: Spec, around: Surroundings) -> Result:
    """Look, and write what is there into the state file alone: no engine, one list call per page.

    The prices are read too, as long as there is a server whose price is not known.

    A lost or damaged state file is rebuilt from the stack's outputs and the cloud.
    """
    return _Operation(spec, around, mend=True).refresh(save_only=True)


def refresh(spec: Spec, around: Surroundings) -> Result:
    """Look, and record what is there in the stack and the state file; changes no server."""
    return around.records.narrate(lambda: _Operation(spec, around).refresh())


def orphans(spec: Spec, around: Surroundings) -> tuple[Server, ...]:
    """The machines that carry our labels and are in no state, but those that are being deleted."""
    world = Observer(spec, around).begin()
    found = (world.servers[name] for name in sorted(world.orphans))
    return tuple(server for server in found if server.status is not Status.DELETING)


def reboot(
    spec: Spec,
    around: Surroundings,
    *,
    names: Collection[str] = (),
    group: str | None = None,
    timeout: timedelta = timedelta(minutes=15),
    wait: bool = True,
    approve: Callable[[Sequence[Server]], bool] | None = None,
) -> Result:
    """Reboot the named servers, or all of a group, or all, and wait until they are ready again.

    One that is starting or rebooting is rebooted once as soon as it runs. One in any other status
    is an error that names both if it was named, before anything is done; else it is left alone.
    `approve` is asked before anything is done.
    """

    def run() -> Result:
        operation = _Operation(spec, around)
        servers = operation.rebootable(names, group)
        if approve and not approve(servers):
            return replace(operation.finish(save_only=True), declined=True)
        operation.reboot(servers)
        if wait:
            operation.wait(timeout)
        return operation.finish()

    return around.records.narrate(run)


def protect(spec: Spec, names: Collection[str], around: Surroundings, *, protected: bool) -> Result:
    """Mark servers as never chosen for scale-down, or no longer; kept in the stack's outputs.

    UsageError for a server that is not there, or that the spec protects and that shall not be protected.
    """

    def run() -> Result:
        operation = _Operation(spec, around)
        operation.protect(names, protected=protected)
        return operation.finish()

    return around.records.narrate(run)


class _Operation:
    def __init__(self, spec: Spec, around: Surroundings, *, mend: bool = False) -> None:
        self._spec = spec
        self._around = around
        self._started = around.clock.monotonic()
        self._steps: list[Step] = []
        self._errors: dict[str, Exception] = {}
        self._failures: list[Exception] = []
        recorded = around.records.wanted()
        self._wanted: Mapping[str, int] = {name: recorded.get(name, group.count) for name, group in spec.groups.items()}
        self._observer = Observer(spec, around)
        self._first = self._observer.begin(mend=mend)

    # -- rebooting -----------------------------------------------------------------------------

    def rebootable(self, names: Collection[str], group: str | None) -> list[Server]:
        """The servers to reboot; UsageError for a named one that is not there or in another status."""
        if names:
            servers = self._named(names)
            for server in servers:
                if server.status not in _REBOOTABLE:
                    raise wrong_status(server, "rebooted")
            return servers
        if group is not None and group not in self._spec.groups:
            raise UsageError(
                f"There is no group {group!r} in {self._spec.stack}.", fix=nearest(group, list(self._spec.groups))
            )
        servers = [server for server in self._first.servers.values() if group in (None, server.group)]
        for server in servers:
            if server.status not in _REBOOTABLE:
                self._around.progress.note(f"{server.name} is {server.status} and is not rebooted")
        return [server for server in servers if server.status in _REBOOTABLE]

    def reboot(self, servers: Sequence[Server]) -> None:
        """Reboot what runs, and remember for the others that they are to be rebooted."""
        self._around.progress.phase("rebooting")
        for server in servers:
            self._note(Action.REBOOT, server, "it was asked to be rebooted")
            # On record first: a run that is killed now has not forgotten that it was asked for.
            self._observer.amend(replace(server, reboot_asked=True))
        self._save()
        for server in servers:
            error = self._observer.reboot(server.name) if server.running else None
            if error:
                self._errors[server.name] = error
                self._failures.append(error)
            self._around.progress.server(server.name, self._observer.known[server.name].status)
        self._save()

    def wait(self, timeout: timedelta) -> None:
        """Wait until nothing is on its way any more; what still is then counts as hanging."""
        self._around.progress.phase("confirming")
        late = confirm(
            self._look,
            self._observer.world,
            clock=self._around.clock,
            deadline=self._started + timeout.total_seconds(),
            progress=self._around.progress,
            passing=PASSING,
        )
        for name in late:
            server = self._observer.known[name]
            if server.status not in (Status.DELETING, Status.RUNNING):
                why = f"still {server.status} when the run's time was up"
                self._observer.amend(server.become(Status.HANGING, self._observer.world.at, why))

    def _look(self) -> World:
        self._observer.look()
        # What is seen goes on record as it is seen: a second reboot is one of its own.
        self._save()
        self._failures += self._observer.reboot_due()
        self._save()
        return self._observer.world

    # -- protecting ----------------------------------------------------------------------------

    def protect(self, names: Collection[str], *, protected: bool) -> None:
        """Mark servers, or take their mark away."""
        servers = self._named(names)
        for server in servers:
            group = self._spec.groups.get(server.group)
            if not protected and group and server.name in group.protect:
                raise UsageError(
                    f"{server.name} is protected by the spec.",
                    why=f"groups.{server.group}.protect names it in {self._spec.path}",
                    fix="take it out there",
                    code="protected_by_spec",
                )
        for server in servers:
            if server.protected is not protected:
                reason = "it is protected from scale-down" if protected else "it is protected no more"
                self._note(Action.UPDATE, server, reason)
                self._observer.amend(replace(server, protected=protected))

    # -- looking -------------------------------------------------------------------------------

    def refresh(self, *, save_only: bool = False) -> Result:
        """Know also what each server costs, as far as the cloud tells; record, and say what is there."""
        self._observer.learn_prices()
        return self.finish(save_only=save_only)

    # -- all of them ---------------------------------------------------------------------------

    def _named(self, names: Collection[str]) -> list[Server]:
        return [find_server(self._spec, self._first, name) for name in sorted(set(names))]

    def _note(self, action: Action, server: Server, reason: str) -> None:
        self._steps.append(
            Step(action=action, server=server.name, group=server.group, reason=reason, id=server.id, type=server.type)
        )

    def finish(self, *, save_only: bool = False) -> Result:
        """Record, and say what is there."""
        if not save_only:
            record(self._observer, self._around)
        self._save()
        world = self._observer.world
        ready = running(world, self._wanted)
        before = Counter(server.group for server in self._first.servers.values() if server.counts)
        for failure in self._failures:
            self._around.progress.warn(str(failure))
        return Result(
            stack=self._spec.stack,
            outcome=self._outcome(),
            groups={name: GroupReport(count, before[name], ready[name]) for name, count in self._wanted.items()},
            steps=tuple(map(self._report, self._steps)),
            servers=tuple(server for _, server in sorted(self._observer.known.items()) if not server.finished),
            drift=self._first.drift,
            requests=self._around.cloud.requests,
            elapsed=timedelta(seconds=self._around.clock.monotonic() - self._started),
            failures=tuple(self._failures),
        )

    def _report(self, step: Step) -> StepReport:
        if step.server in self._errors:
            return StepReport(step, StepResult.FAILED, str(self._errors[step.server]))
        server = self._observer.world.servers.get(step.server)
        if step.action is Action.REBOOT and not (server and server.running and not server.reboot_asked):
            return StepReport(step, StepResult.PENDING, server.error if server else "it is gone")
        return StepReport(step, StepResult.DONE)

    def _outcome(self) -> Outcome:
        if self._failures:
            return Outcome.FAILED
        if not self._steps:
            return Outcome.UNCHANGED
        pending = any(self._report(step).result is StepResult.PENDING for step in self._steps)
        return Outcome.UNCONFIRMED if pending or on_their_way(self._observer.world) else Outcome.CONVERGED

    def _save(self) -> None:
        self._around.records.save(self._wanted, self._observer.known, self._steps)
