"""One engine operation: what it declares and may do, its preview, and what it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Literal

from scaler.model.identity import Identity
from scaler.model.machine import MachineRequest
from scaler.model.orders import Orders
from scaler.model.server import Server
from scaler.model.world import StackState
from scaler.support.values import dataclass


@dataclass(frozen=True)
class Declared:
    """A server that the program declares: its resource name, its group, and its inputs."""

    name: str
    group: str
    request: MachineRequest
    exists: bool
    """Whether the stack holds it already; then only its labels may change."""
    keeps_labels: bool = False
    """Whether its labels may not change either: the engine keeps those that it has."""
    protected: bool = False
    """Whether the engine refuses to delete it, as somebody told it with `pulumi state protect`."""


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What a stack consists of: servers in their groups, and outputs as plain values."""

    cloud: str
    servers: Sequence[Declared]
    outputs: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Permits:
    """The operations that the plan names. The plugin refuses all others."""

    create: frozenset[str] = frozenset()
    """Names of servers to be created."""
    adopt: Mapping[str, str] = field(default_factory=dict)
    """Name → id of the existing machine that becomes this resource."""
    update: frozenset[str] = frozenset()
    """Names whose labels may change."""
    delete: Mapping[str, str] = field(default_factory=dict)
    """Name → id of the machine that may be deleted."""
    forget: Mapping[str, str] = field(default_factory=dict)
    """Name → id of a machine that is gone, or is no longer the stack's. It leaves the stack without a request."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One engine operation: what to declare, what it may do, and the machines that it was planned for."""

    declared: tuple[Declared, ...]
    permits: Permits
    outputs: Mapping[str, Server]
    identity: Identity | None = None
    """What the stack says of itself in its output `scaler`."""
    orders: Orders | None = None
    """What is asked of the stack, for its output `scaler`."""
    known_serial: int = 0
    """The serial of the orders in the stack's outputs as they were read before."""
    known_protected: frozenset[str] = frozenset()
    """The servers that were known to be protected."""
    expected: frozenset[str]
    """Ids of the stack's machines. If the list under the stack's lock has others, do nothing."""
    unclaimed: frozenset[str] = frozenset()
    """Ids of machines with the stack's names and not its id, which the run leaves alone."""
    refresh: bool = False
    """Whether the engine must refresh its state first, since a machine has vanished or lost its labels."""

    def is_overruled_by(self, saved: StackState) -> bool:
        """Return whether somebody changed the orders, or protected a server, since this was decided."""
        serial = saved.orders.serial if saved.orders else 0
        protected = {name for name, server in saved.outputs.items() if server.protected}
        return serial != self.known_serial or bool(protected - self.known_protected)


@dataclass(frozen=True, kw_only=True)
class Violation:
    """A policy that a plan does not pass."""

    policy: str
    pack: str
    level: Literal["mandatory", "advisory"]
    server: str | None
    """None: the stack as a whole."""
    message: str

    @property
    def forbids(self) -> bool:
        """Whether the plan must not be carried out."""
        return self.level == "mandatory"

    def __str__(self) -> str:
        return f"{self.server}: {self.message} ({self.policy})" if self.server else f"{self.message} ({self.policy})"


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The engine's own view of a change."""

    operations: Mapping[str, str]
    """Operation by server name, `same` left out."""
    violations: tuple[Violation, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Applied:
    """The result of a change."""

    moved: bool = False
    """Whether the machines were not the expected ones, so that nothing was done."""
    accepted: Mapping[str, str] = field(default_factory=dict)
    """Name → id of machines that the cloud accepted, or that were adopted."""
    deleted: Mapping[str, str] = field(default_factory=dict)
    """Name → id of machines whose removal the cloud accepted, or that were gone."""
    errors: Mapping[str, Exception] = field(default_factory=dict)
    """What the cloud refused, by name."""
    failure: str | None = None
    """The error of the engine, in its own words; None if it did not fail."""
    interrupt: KeyboardInterrupt | None = None
    """What ended it before its time; the rest says what was done until then."""
