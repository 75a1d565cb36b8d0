"""Looking: the cloud's list, the engine's state and our records, kept together as the run goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from scaler.clouds import (
    AmbiguousError,
    BusyError,
    Catalogue,
    Cloud,
    CloudError,
    GoneError,
    RateLimitedError,
    TransientError,
)
from scaler.converge.ports import Surroundings
from scaler.model import Machine, Server, Spec, StackState, World
from scaler.model.lifecycle import Status
from scaler.planning.assess import Findings, assess, known
from scaler.planning.deadlines import Deadline, learn_deadline
from scaler.planning.prices import existing, price_of

PASSING = (TransientError, RateLimitedError, AmbiguousError)
"""Errors that say nothing about the servers: the next look may succeed."""

_PAUSE_S = 2.0


class Observer:
    """What the run knows by now; every look renews it."""

    def __init__(self, spec: Spec, around: Surroundings) -> None:
        self.spec = spec
        self.stack = StackState()
        self.known: dict[str, Server] = {}
        """Records by name, finished ones included."""
        self.world: World
        self.catalogue: Catalogue | None = None
        """The prices, if they were read: then servers are recorded with theirs."""
        self._around = around
        self._cloud: Cloud = around.cloud
        self._gone: set[str] = set()
        self._relabelled: set[str] = set()
        self._deadlines: Mapping[str, Deadline] = {}

    def begin(self, *, mend: bool = False) -> World:
        """Read the stack and the records, and look; `mend` does without records that cannot be read."""
        self._around.progress.phase("observing")
        self.read_stack()
        self.known = known(self.stack, self._around.records.load(mend=mend))
        times = self._around.records.boot_times()
        self._deadlines = {
            name: deadline
            for name, group in self.spec.groups.items()
            if (deadline := learn_deadline(times.get(name, ()), group.start_within))
        }
        return self.look()

    def read_stack(self) -> None:
        """Read what the engine saved last."""
        self.stack = self._around.stack.read()

    def look(self) -> World:
        """One list call, and then: what it lacks is gone only when the machine's own address says so."""
        return self.take_in(self._cloud.list_owned(self.spec.owner))

    def look_patiently(self, deadline: float) -> World:
        """Look, however often it takes until `deadline` (of `clock.monotonic`)."""
        while True:
            try:
                return self.look()
            except PASSING as error:
                if self._around.clock.monotonic() >= deadline:
                    raise
                self._around.progress.note(f"the cloud did not answer, asking again: {error}")
                self._around.clock.sleep(_PAUSE_S)

    def take_in(self, machines: Sequence[Machine]) -> World:
        """Make a world of a list that was read just now."""
        self._relabelled.clear()
        unlisted = [found for missed in sorted(self._missed(machines)) if (found := self._find(missed))]
        findings = Findings(
            is_ready=self._is_ready,
            trouble=self._around.readiness.trouble,
            stopping=self._around.stopping.busy,
            relabelled=frozenset(self._relabelled),
            deadlines=self._deadlines,
        )
        self.world = assess(
            self.spec, [*machines, *unlisted], self.stack, self.known, self._around.clock.now(), findings
        )
        servers = {name: self._priced(server) for name, server in self.world.servers.items()}
        self.world = replace(self.world, servers=servers)
        self.known = {**self.world.past, **servers}
        return self.world

    def _priced(self, server: Server) -> Server:
        if self.catalogue is None:
            return server
        return replace(server, price=price_of(self.catalogue, existing(server)) or server.price)

    def _missed(self, machines: Sequence[Machine]) -> set[str]:
        expected = {server.id for server in self.known.values() if server.id and not server.finished}
        expected |= {entry.id for entry in self.stack.entries.values()}
        return expected - self._gone - {machine.id for machine in machines}

    def _find(self, id: str) -> Machine | None:
        """A machine that a list lacks; None if it is gone, or not ours any more."""
        try:
            machine = self._cloud.get(id)
        except GoneError:
            self._gone.add(id)
            return None
        if self.spec.owner.owns(machine.labels):
            return machine
        self._relabelled.add(id)
        return None

    def _is_ready(self, server: Server) -> bool:
        group = self.spec.groups.get(server.group)
        return group is None or self._around.readiness.is_ready(group.ready, server)

    @property
    def due(self) -> list[str]:
        """The running servers for which a reboot was asked while they could not be rebooted."""
        return [name for name, server in self.world.servers.items() if server.reboot_asked and server.running]

    def reboot_due(self) -> list[CloudError]:
        """Reboot what is due; what was refused for good."""
        return [error for name in self.due if (error := self.reboot(name))]

    def reboot(self, name: str) -> CloudError | None:
        """Reboot one running server, and know it as rebooting; the error if that was refused for good.

        After a passing trouble it stays asked for, and is due at the next look.
        """
        server = replace(self.world.servers[name], reboot_asked=False)
        try:
            self._cloud.reboot(server.id or "")
        except (BusyError, *PASSING):
            self.amend(replace(server, reboot_asked=True))
        except CloudError as error:
            self.amend(server.become(Status.ERRORED, self.world.at, str(error)))
            return error
        else:
            self.amend(server.become(Status.REBOOTING, self.world.at))
        return None

    def learn_prices(self) -> None:
        """Read the prices, if a server's is not known; without them, the records are as good in all else."""
        if all(server.price for server in self.world.servers.values()):
            return
        try:
            self.catalogue = self._cloud.catalogue()
        except CloudError as error:
            self._around.progress.note(f"the prices cannot be read: {error}")
            return
        for server in self.world.servers.values():
            self.amend(self._priced(server))

    def amend(self, server: Server) -> None:
        """Know better of one server than the last look did."""
        self.known[server.name] = server
        self.world = replace(self.world, servers={**self.world.servers, server.name: server})
