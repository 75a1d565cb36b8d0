"""One engine operation: what the plan permits, what the cloud holds, and what was done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import field

from scaler.clouds import Cloud, CloudError, GoneError, NameTakenError, NoCapacityError, QuotaError
from scaler.model import Machine, MachineRequest, Permits
from scaler.model.ownership import Owner
from scaler.support.cancellation import cancelled_by
from scaler.support.clock import Clock
from scaler.support.values import dataclass

_LOOKUP_DELAYS_S = (0.0, 0.5, 1.5, 3.0, 5.0, 10.0)
"""When to look for a machine whose create request was not answered: new droplets are missing from lists for seconds."""
_LOOKUPS_FOR_UNIQUE_NAMES = 4
"""Enough where a second request for the same name is refused."""


def lookup_delays(*, unique_names: bool) -> Sequence[float]:
    """Return the pauses, in seconds, before each look-up of a machine whose create request was not answered."""
    return _LOOKUP_DELAYS_S[: _LOOKUPS_FOR_UNIQUE_NAMES if unique_names else None]


@dataclass
class _Gate:
    """Let one create request of a kind through until it is answered; after a refusal, none."""

    turn: threading.Lock = field(default_factory=threading.Lock)
    answered: bool = False
    refusal: CloudError | None = None
    refused: str = ""
    """The name of the machine that was refused."""


@dataclass
class Operation:
    """What the program, the plugin and the run share while the engine works.

    The first call of `snapshot` lists the machines, when the engine holds the stack's lock.
    """

    cloud: Cloud
    owner: Owner
    permits: Permits
    accepted: dict[str, str] = field(default_factory=dict)
    """Name → id of machines that the cloud accepted or that were adopted."""
    deleted: dict[str, str] = field(default_factory=dict)
    """Name → id of machines whose deletion the cloud accepted, or that did not exist."""
    errors: dict[str, CloudError] = field(default_factory=dict)
    """What the cloud refused, by name."""
    failed_list: CloudError | None = None
    """Why there is no snapshot; nothing can be concluded about any machine then."""
    unproven: frozenset[str] = frozenset()
    """Ids of machines that stay in the stack whatever the cloud denies: nobody has proven that they are gone."""
    cancelled: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _snapshot: list[Machine] | None = None
    _gates: dict[tuple[str, str, int], _Gate] = field(default_factory=dict)
    _taken: frozenset[str] | None = None
    """The names of the account's machines, when the cloud first said that one is taken; None: not read."""

    def snapshot(self) -> Sequence[Machine]:
        """Return all machines with the owner's names, as one list call found them.

        Raises CloudError, the same for every caller.
        """
        with self._lock:
            if self.failed_list:
                raise self.failed_list
            if self._snapshot is None:
                try:
                    with cancelled_by(self.cancelled):
                        self._snapshot = self.cloud.list_owned(self.owner.by_name)
                except CloudError as error:
                    self.failed_list = error
                    raise
            return self._snapshot

    def present(self, expected: Collection[str], leave: Collection[str] = ()) -> set[str]:
        """Return the ids of the machines that there are: those of the snapshot, and the expected ones that it misses.

        An expected one that carries another owner's labels by now is not there. One with the owner's names that is
        neither expected nor to be left alone is, whatever its id: the run must see it before it acts.

        Raises CloudError, and remembers it as `failed_list`: nothing can be concluded without an answer.
        """
        listed = {machine.id for machine in self.snapshot()}
        lost = {machine.id for machine in self.snapshot() if self.owner.excludes(machine.labels)}
        try:
            found = listed - set(leave) - (lost & set(expected))
            return found | set(filter(self._exists, set(expected) - listed))
        except CloudError as error:
            self.failed_list = error
            raise

    def _exists(self, id: str) -> bool:
        """Ask the cloud by id whether a machine exists and is no other owner's."""
        try:
            return not self.owner.excludes(self.cloud.get(id).labels)
        except GoneError:
            return False

    def create(self, request: MachineRequest) -> Machine:
        """Ask the cloud for a machine; the first request of its kind for a type at a location is sent alone.

        Fifty creates without capacity or quota then cost one failed request, and not fifty.
        """
        with self._lock:
            gate = self._gates.setdefault((request.type, request.location, request.addresses), _Gate())
        if gate.answered:
            return self._ask(gate, request)
        with gate.turn:
            if not gate.answered:
                return self._ask(gate, request)
        return self._ask(gate, request)

    def _ask(self, gate: _Gate, request: MachineRequest) -> Machine:
        if gate.refusal:
            # An error of its own: it names this machine, and several threads may not raise one object.
            raise gate.refusal.about(gate.refused, request.name)
        if request.name in (self._taken or ()):
            raise NameTakenError(f"There is a server {request.name} of somebody else.")
        try:
            return self.cloud.create(request)
        except NameTakenError:
            self._read_names()
            raise
        except (NoCapacityError, QuotaError) as error:
            gate.refusal, gate.refused = error, request.name
            raise
        finally:
            gate.answered = True

    def is_anothers(self, name: str) -> bool:
        """Return whether a name that the cloud refused is that of a machine which lists show.

        One that no list shows yet was given a moment ago: by an earlier request of this stack, as likely as not.
        """
        return self._names is None or name in (self._taken or ())

    @property
    def _names(self) -> Callable[[], Collection[str]] | None:
        return getattr(self.cloud, "names", None)

    def _read_names(self) -> None:
        """Read the names of all machines, once: one refused create is enough to know which others would be."""
        names = self._names
        with self._lock:
            if names is not None and self._taken is None:
                # A list that fails proves nothing.
                with suppress(CloudError):
                    self._taken = frozenset(names())

    def wait_for(self, names: Collection[str], clock: Clock, *, unique_names: bool) -> None:
        """Return when the list shows a new machine of each of these names, or has had the time to."""
        known = {machine.id for machine in self.snapshot()} if names else set()
        missing = set(names)
        for delay in lookup_delays(unique_names=unique_names) if names else ():
            clock.sleep(delay)
            # A list that fails proves nothing.
            with suppress(CloudError):
                missing -= {machine.name for machine in self.cloud.list_owned(self.owner) if machine.id not in known}
            if not missing:
                return

    def find(self, id: str) -> Machine | None:
        """Return the machine of this id in the snapshot."""
        return next((machine for machine in self.snapshot() if machine.id == id), None)
