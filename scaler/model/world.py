"""What exists: the cloud's list, the engine's state, and the records, observed together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from scaler.model.machine import Machine
from scaler.model.server import Server


@dataclass(frozen=True, slots=True)
class StackEntry:
    """One server resource in the engine's state."""

    name: str
    group: str
    id: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StackState:
    """The stack as the engine last saved it."""

    entries: Mapping[str, StackEntry] = field(default_factory=dict)
    """By resource name."""
    outputs: Mapping[str, Server] = field(default_factory=dict)
    """The servers that the stack's outputs tell of, by name."""
    pending: tuple[str, ...] = ()
    """Names of resources whose operation the engine began and never finished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One look at everything: the cloud's list, the engine's state, and our records of them."""

    at: datetime
    machines: Mapping[str, Machine]
    """All that carry our labels, by the name of their record."""
    entries: Mapping[str, StackEntry]
    """The server resources of the engine's state, by name."""
    servers: Mapping[str, Server]
    """What we now know of each machine, by the same names as `machines`."""
    past: Mapping[str, Server] = field(default_factory=dict)
    """Records without a machine: deleted ones, and refused ones with their error."""
    drift: tuple[str, ...] = ()
    """What was found other than recorded, one sentence each."""
    relabelled: frozenset[str] = frozenset()
    """Ids of machines of the stack that exist and no longer carry our labels."""
    recorded: bool = True
    """Whether the stack's outputs and resources say exactly this."""

    @property
    def orphans(self) -> frozenset[str]:
        """Names of our machines that are in no state."""
        return frozenset(self.machines) - frozenset(
            name for name, entry in self.entries.items() if name in self.machines and self.machines[name].id == entry.id
        )

    @property
    def vanished(self) -> frozenset[str]:
        """Names of resources whose machine is gone."""
        ids = {machine.id for machine in self.machines.values()}
        return frozenset(name for name, entry in self.entries.items() if entry.id not in ids)
