"""The servers of a group, and what a plan may do with each. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from enum import Enum, auto
from itertools import chain

from scaler.model import DrainStage, Server
from scaler.model.lifecycle import DEAD, UNSETTLED, Status
from scaler.planning.facts import Facts
from scaler.planning.names import natural
from scaler.planning.protection import protection_of
from scaler.support.values import dataclass


class Role(Enum):
    """What the plan may do with a server."""

    DEAD = auto()
    """It is replaced."""
    RENEWED = auto()
    """It was asked to be replaced: it counts no more, and goes when the new one is ready."""
    UNHEALTHY = auto()
    """Its health checks fail: it is replaced, or held back and counts."""
    SUPPLY = auto()
    OFF = auto()
    LEAVING = auto()
    """It is being stopped or deleted already."""


@dataclass(frozen=True)
class Members:
    """The servers of a group that are in the run's scope, in the order of their names."""

    by_role: Mapping[Role, Sequence[Server]]
    staying: frozenset[str]
    """Names of those that are protected, or whose drain failed."""

    @property
    def machines(self) -> int:
        """How many machines there are, apart from those that are being deleted."""
        servers = chain.from_iterable(self.by_role.values())
        return sum(server.status is not Status.DELETING for server in servers)

    def without(self, names: Collection[str]) -> Members:
        """Return the members without some that would count."""
        counting = {
            role: [server for server in self.by_role[role] if server.name not in names]
            for role in (Role.SUPPLY, Role.UNHEALTHY)
        }
        return replace(self, by_role={**self.by_role, **counting})

    def removable(self, servers: Iterable[Server]) -> list[Server]:
        return [server for server in servers if server.name not in self.staying]


def members_of(facts: Facts, name: str) -> Members:
    by_role: dict[Role, list[Server]] = {role: [] for role in Role}
    protected = set()
    for key, server in sorted(facts.world.servers.items(), key=lambda item: natural(item[0])):
        if server.group == name and not server.set_aside and key not in facts.advice.out_of_scope:
            by_role[role_of(facts, server)].append(server)
            if protection_of(facts.spec, facts.world, server):
                protected.add(key)
    return Members(by_role, facts.advice.undrained | protected)


def role_of(facts: Facts, server: Server) -> Role:
    advice = facts.advice
    is_off = server.status is Status.STOPPED
    if server.drain:
        return Role.LEAVING
    if server.status in DEAD or (is_off and server.name in advice.power_on_failed):
        return Role.DEAD
    # One that somebody protected since it was named stays, and counts.
    if server.name in advice.renew and not protection_of(facts.spec, facts.world, server):
        return Role.RENEWED
    if server.unhealthy and server.name not in advice.remove:
        return Role.UNHEALTHY
    if server.counts or server.unhealthy or (is_off and facts.world.machines[server.name].phase in UNSETTLED):
        # One that is off and that the vendor works on is waited for: it can be powered on after that.
        return Role.SUPPLY
    return Role.OFF if is_off else Role.LEAVING


def is_drained(server: Server) -> bool:
    """Return whether nothing is left to wait for before a server is deleted."""
    is_ended = server.drain is not None and server.drain.stage is DrainStage.ENDED
    return is_ended and server.status is not Status.DELETING
