"""What people and autoscaling ask of a stack, apart from its spec: wanted counts, a pause, unfinished operations.

The stack's output `scaler` has them for every machine with the same backend; the state file has a copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from datetime import datetime
from typing import Any

from scaler.model.health import Replacement
from scaler.model.machine import Machine
from scaler.model.roll import Roll
from scaler.support.values import dataclass

BY_DESTROY = "destroy"
"""`Pause.by` of the pause that `scaler destroy` sets; `scaler ensure` ends only that one."""


@dataclass(frozen=True, kw_only=True)
class Pause:
    """A time in which autoscaling leaves the stack alone."""

    since: datetime
    until: datetime | None = None
    """None: until `scaler resume`."""
    reason: str = ""
    by: str = "pause"
    """The command that set it: `pause` or `destroy`."""

    def is_over(self, now: datetime) -> bool:
        """Return whether its time has passed."""
        return self.until is not None and self.until <= now

    def none_after(self, now: datetime) -> Pause:
        """Return the pause with a start in the future replaced by `now`; it keeps its length."""
        if self.since <= now:
            return self
        return replace(self, since=now, until=self.until and self.until - (self.since - now))

    def __str__(self) -> str:
        until = f"until {self.until:%Y-%m-%d %H:%M} UTC" if self.until else "until `scaler resume`"
        cause = " by `scaler destroy` (`scaler ensure` ends it too)" if self.by == BY_DESTROY else ""
        return f"autoscaling is paused {until}{cause}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True, kw_only=True)
class NamedOperation:
    """What a command such as `increase 2` was found to mean when it began; its repeat goes on with that."""

    command: str
    """The command with its arguments, as a person types it; equal commands have equal texts."""
    since: datetime
    counts: Mapping[str, int] = field(default_factory=dict)
    """The count that each concerned group is to have."""
    remove: Mapping[str, str] = field(default_factory=dict)
    """Name → id of the servers to remove."""
    renew: Mapping[str, str] = field(default_factory=dict)
    """Name → id of the servers to replace."""
    reboot: Mapping[str, str] = field(default_factory=dict)
    """Name → id of the servers to reboot."""
    snapshot: str = ""
    """The name of the snapshot that it makes."""
    server: str = ""
    """The id of the server that the snapshot is of."""
    after: str = ""
    """The newest action of the server that made a snapshot before; only a later one can be its."""


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What is asked of a stack."""

    serial: int = 0
    """One more than the stack's output has, once something differs from it; 0: nobody asked for anything yet."""
    wanted: Mapping[str, int] = field(default_factory=dict)
    """Servers wanted, by group."""
    pause: Pause | None = None
    operations: tuple[NamedOperation, ...] = ()
    """Named operations that have begun and not concluded, at most one per command."""
    replacements: tuple[Replacement, ...] = ()
    """The unhealthy servers whose replacement was decided within the last hour, or is not over."""

    rolls: Mapping[str, Roll] = field(default_factory=dict)
    """The last roll of each group."""

    def active_pause(self, now: datetime) -> Pause | None:
        """Return the pause, unless its time has passed."""
        return self.pause if self.pause and not self.pause.is_over(now) else None

    def unfinished(self, command: str) -> NamedOperation | None:
        """Return the unfinished operation of a command."""
        return next((operation for operation in self.operations if operation.command == command), None)

    def lasting_operations(self, machines: Iterable[Machine]) -> tuple[NamedOperation, ...]:
        """Return the operations that go on whatever others conclude: the cloud makes snapshots of these machines."""
        ids = {machine.id for machine in machines}
        return tuple(operation for operation in self.operations if operation.snapshot and operation.server in ids)

    def without_operation(self, command: str) -> tuple[NamedOperation, ...]:
        """Return the operations but that of a command."""
        return tuple(known for known in self.operations if known.command != command)

    def with_operation(self, operation: NamedOperation) -> tuple[NamedOperation, ...]:
        """Return the operations with this one instead of an earlier one of its command."""
        return (*self.without_operation(operation.command), operation)

    def changed(self, shared: Orders | None, **changes: Any) -> Orders:
        """Return the orders with these changes; `shared` is what the stack's output has.

        The serial never gets further ahead than one: a change that another machine shares must win
        over any number of changes that only this machine knows.
        """
        new = replace(self, **changes)
        if new == self and self.serial:
            return self
        if shared and replace(new, serial=shared.serial) == shared:
            # Taken back before anybody was told.
            return shared
        return replace(new, serial=(shared.serial if shared else self.serial) + 1)


def newest(shared: Orders | None, own: Orders | None) -> Orders:
    """Return the orders that hold: the stack's output, unless this machine changed them since it read that."""
    if shared is None or (own is not None and own.serial > shared.serial):
        return own or Orders()
    return shared
