"""What to do, to which server, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from enum import StrEnum

from scaler.model.health import Held
from scaler.model.machine import Placement
from scaler.model.prices import Cost
from scaler.model.schedule import RollSchedule
from scaler.model.world import World
from scaler.support.values import dataclass


class Action(StrEnum):
    CREATE = "create"
    ADOPT = "adopt"
    POWER_ON = "power_on"
    POWER_OFF = "power_off"
    UPDATE = "update"
    REBOOT = "reboot"
    REPLACE = "replace"
    RESUME = "resume"
    DELETE = "delete"
    FORGET = "forget"


LEAVING = frozenset({Action.DELETE, Action.POWER_OFF})
"""The actions that take a server out of service."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing to do to one server, and why."""

    action: Action
    server: str
    group: str
    reason: str
    id: str | None = None
    """The machine's id, for every action but `create`."""
    type: str | None = None
    location: str | None = None
    image: str | None = None
    """The image of a server to be created, where it is not the one of the spec."""


@dataclass(frozen=True, kw_only=True)
class PlanPhase:
    """Steps that one engine operation carries out together."""

    steps: tuple[Step, ...]
    declared: tuple[str, ...]
    """The names that the Pulumi program declares: what the stack holds afterwards."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to do, to which server, and why. At most two phases, confirmed one after the other."""

    stack: str
    wanted: Mapping[str, int]
    before: Mapping[str, int]
    """Supply per group before the plan is carried out."""
    ready: Mapping[str, int] = field(default_factory=dict)
    """How many servers run, per group, before the plan is carried out."""
    phases: tuple[PlanPhase, ...] = ()
    drift: tuple[str, ...] = ()
    """What is not as it was recorded, one sentence each."""
    tries: Mapping[str, tuple[Placement, ...]] = field(default_factory=dict)
    """Where new servers are tried, in this order, by group."""
    cost: Cost | None = None
    """None if the prices were not read."""
    short: Mapping[str, int] = field(default_factory=dict)
    """How many servers are missing with no type or location left to try, by group."""
    waiting: Mapping[str, int] = field(default_factory=dict)
    """How many servers are created only when draining ones are gone, by group: there is no room beside them."""
    replaced: tuple[str, ...] = ()
    """The unhealthy servers whose replacement begins with this plan; they go when their successors are ready."""
    successors: int = 0
    """How many of the servers to create are made in place of unhealthy ones."""
    held: Mapping[str, Held] = field(default_factory=dict)
    """The unhealthy servers that are not replaced now, by group."""
    outdated: Mapping[str, str] = field(default_factory=dict)
    """Servers that differ from a new one → in what; they stay until they are replaced."""
    later: frozenset[str] = frozenset()
    """Servers beside the wanted ones that stay for now: some go when others serve in their place."""
    rolled: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of the servers that are created for the wave of a roll, by group."""
    schedules: tuple[RollSchedule, ...] = ()
    """What is left of the rolls that were asked for, this plan included."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Groups with servers that the spec no longer has → the group that looks like their new name."""
    paid_until: Mapping[str, datetime] = field(default_factory=dict)
    """Servers that are off, or will be, and stay → until when, the end of their paid hour."""

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(step for phase in self.phases for step in phase.steps)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do but wait: for exit codes, texts and documents alike."""
        return not self.steps

    def count(self, action: Action) -> int:
        """Return how many steps have this action."""
        return sum(1 for step in self.steps if step.action is action)

    def machines_after(self, world: World) -> int:
        """Return how many machines this world has after the plan."""
        return len(world.machines) + self.count(Action.CREATE) - self.count(Action.DELETE)
