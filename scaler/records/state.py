"""What the last run recorded of a stack, and which of its records are old enough to drop.

`scaler status` imports this module, so it loads nothing heavy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from datetime import datetime, timedelta

from scaler.model import Server, StackState
from scaler.model.identity import Identity
from scaler.model.lifecycle import Status
from scaler.model.orders import Orders
from scaler.planning.names import natural
from scaler.support.values import dataclass

RETENTION = timedelta(days=7)
"""How long the record of a deleted server is kept."""


@dataclass(frozen=True, kw_only=True)
class State:
    """What the last run recorded of a stack."""

    stack: str
    project: str
    cloud: str
    serial: int = 0
    """Grows by at least 1 with each save."""
    updated: datetime
    wanted: Mapping[str, int] = field(default_factory=dict)
    """Servers wanted, by group."""
    servers: tuple[Server, ...] = ()
    identity: Identity | None = None
    """None: written by a version that recorded none."""

    orders: Orders = field(default_factory=Orders)
    """What is asked of the stack; its `wanted` is this state's."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "orders", replace(self.orders, wanted=self.wanted))

    @property
    def records(self) -> dict[str, Server]:
        """The servers by name."""
        return {server.name: server for server in self.servers}


def prune_records(servers: Iterable[Server], now: datetime, retention: timedelta = RETENTION) -> tuple[Server, ...]:
    """Leave out the records of servers that were deleted longer than `retention` ago."""
    return tuple(server for server in servers if server.status != Status.DELETED or now - server.since <= retention)


def why_behind(state: State, shared: StackState) -> str | None:
    """Return in what a state file is older than its stack's outputs, which all machines share; None if in nothing."""
    if shared.identity and state.identity and shared.identity.id not in ("", state.identity.id):
        return f"the stack's id is {shared.identity.id} there, and {state.identity.id} here"
    serial = shared.orders.serial if shared.orders else 0
    if state.orders.serial < serial:
        return f"it has serial {serial} there, and {state.orders.serial} here"
    known = {server.id for server in state.servers}
    unknown = sorted(
        (name for name, server in shared.outputs.items() if server.id and server.id not in known), key=natural
    )
    return f"{', '.join(unknown)} of the stack {'is' if len(unknown) == 1 else 'are'} unknown here" if unknown else None
