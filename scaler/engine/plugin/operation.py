"""One engine operation: what the plan permits in it, what the cloud holds, what came of it."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from scaler.clouds import Cloud, CloudError, GoneError, NoCapacityError, QuotaError
from scaler.model import Machine, MachineRequest, Permits, Placement
from scaler.model.ownership import Owner
from scaler.support.cancellation import cancelled_by


@dataclass
class _Gate:
    """Before the first answer about a placement, one create request at a time; after a refusal, none."""

    turn: threading.Lock = field(default_factory=threading.Lock)
    answered: bool = False
    refusal: CloudError | None = None


@dataclass
class Operation:
    """The one value that the program, the plugin and the run share while the engine works.

    The snapshot is taken once, by whoever asks first; the engine holds the stack's lock by then.
    """

    cloud: Cloud
    owner: Owner
    permits: Permits
    accepted: dict[str, str] = field(default_factory=dict)
    """Name → id of machines that the cloud accepted or that were adopted."""
    deleted: dict[str, str] = field(default_factory=dict)
    """Name → id of machines whose removal the cloud accepted, or that were gone."""
    errors: dict[str, CloudError] = field(default_factory=dict)
    """What the cloud refused, by name."""
    failed_look: CloudError | None = None
    """Why there is no snapshot: nothing may be concluded about any machine then."""
    cancelled: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _snapshot: list[Machine] | None = None
    _gates: dict[Placement, _Gate] = field(default_factory=dict)

    def snapshot(self) -> Sequence[Machine]:
        """The owner's machines as one list call found them; raises CloudError, the same for all who ask."""
        with self._lock:
            if self.failed_look:
                raise self.failed_look
            if self._snapshot is None:
                try:
                    with cancelled_by(self.cancelled):
                        self._snapshot = self.cloud.list_owned(self.owner)
                except CloudError as error:
                    self.failed_look = error
                    raise
            return self._snapshot

    def present(self, expected: Collection[str]) -> set[str]:
        """Ids of the owner's machines: those of the snapshot, and of the expected ones those that it misses.

        Raises CloudError, kept as `failed_look`: without an answer nothing may be concluded.
        """
        listed = {machine.id for machine in self.snapshot()}
        try:
            return listed | set(filter(self._is_there, set(expected) - listed))
        except CloudError as error:
            self.failed_look = error
            raise

    def _is_there(self, id: str) -> bool:
        """Whether a machine exists and is the owner's, as its own address says."""
        try:
            return self.owner.owns(self.cloud.get(id).labels)
        except GoneError:
            return False

    def create(self, request: MachineRequest) -> Machine:
        """Ask the cloud for a machine; the first of a type at a location asks alone.

        So that fifty that find no capacity, or no quota, cost one failed request and not fifty.
        """
        with self._lock:
            gate = self._gates.setdefault((request.type, request.location), _Gate())
        if gate.answered:
            return self._ask(gate, request)
        with gate.turn:
            if not gate.answered:
                return self._ask(gate, request)
        return self._ask(gate, request)

    def _ask(self, gate: _Gate, request: MachineRequest) -> Machine:
        if gate.refusal:
            raise gate.refusal
        try:
            return self.cloud.create(request)
        except (NoCapacityError, QuotaError) as error:
            gate.refusal = error
            raise
        finally:
            gate.answered = True

    def find(self, id: str) -> Machine | None:
        """The machine of this id in the snapshot."""
        return next((machine for machine in self.snapshot() if machine.id == id), None)
