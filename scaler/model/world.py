"""What exists: the cloud's list, the engine's state, and the records, observed together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from scaler.model.identity import Identity
from scaler.model.lifecycle import Status
from scaler.model.machine import Machine
from scaler.model.orders import Orders
from scaler.model.ownership import Owner
from scaler.model.server import Server
from scaler.model.sound import check_sound, is_id, is_name
from scaler.support.values import dataclass


@dataclass(frozen=True)
class StackEntry:
    """A server resource in the engine's state."""

    name: str
    group: str
    id: str
    labels: Mapping[str, str]
    protected: bool = False
    """Whether the engine refuses to delete it."""
    tainted: bool = False
    """Whether the engine would replace it in its next operation, whatever is planned."""

    def __post_init__(self) -> None:
        # Without an id it is one whose creation the engine has not finished.
        check_sound(self, name=is_name(self.name), id=not self.id or is_id(self.id))


@dataclass(frozen=True, kw_only=True)
class StackState:
    """The stack as the engine last saved it."""

    entries: Mapping[str, StackEntry] = field(default_factory=dict)
    """By resource name."""
    outputs: Mapping[str, Server] = field(default_factory=dict)
    """The servers in the stack's outputs, by name."""
    pending: tuple[str, ...] = ()
    """Names of resources with an operation that the engine started and did not finish."""
    foreign: tuple[str, ...] = ()
    """URNs of resources that scaler did not declare."""
    identity: Identity | None = None
    """As the stack's outputs have it."""
    orders: Orders | None = None
    """As the stack's outputs have them; None: it was saved by a version that recorded none."""

    @property
    def is_known(self) -> bool:
        """Whether the engine has ever saved anything of this stack."""
        return bool(self.entries or self.outputs or self.identity)


@dataclass(frozen=True, kw_only=True)
class World:
    """One observation: the cloud's list, the engine's state, and the records of both."""

    at: datetime
    owner: Owner
    """Whose machines these are."""
    machines: Mapping[str, Machine]
    """All machines of the stack, by the name of their record."""
    entries: Mapping[str, StackEntry]
    """The server resources of the engine's state, by name."""
    servers: Mapping[str, Server]
    """The record of each machine, by the same names as `machines`."""
    past: Mapping[str, Server] = field(default_factory=dict)
    """Records without a machine: deleted servers, and refused ones with their error."""
    drift: tuple[str, ...] = ()
    """What is not as it was recorded, one sentence each."""
    unclaimed: tuple[Machine, ...] = ()
    """Machines that carry the project's and the stack's names, and another id or none."""
    relabelled: frozenset[str] = frozenset()
    """Ids of machines of the stack that exist but have another owner's labels now."""
    recorded: bool = True
    """Whether the stack's outputs and resources are exactly as observed."""

    @property
    def orphans(self) -> frozenset[str]:
        """Names of machines with the stack's labels that are not in the engine's state."""
        return frozenset(self.machines) - frozenset(
            name for name, entry in self.entries.items() if name in self.machines and self.machines[name].id == entry.id
        )

    @property
    def orphans_left(self) -> frozenset[str]:
        """The orphans that are not being deleted already, apart from those that are set aside."""
        servers = self.servers
        return frozenset(
            name for name in self.orphans if servers[name].status is not Status.DELETING and not servers[name].set_aside
        )

    @property
    def vanished(self) -> frozenset[str]:
        """Names of resources whose machine does not exist."""
        ids = {machine.id for machine in self.machines.values()}
        return frozenset(name for name, entry in self.entries.items() if entry.id not in ids)
