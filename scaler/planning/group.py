"""The plan for one group: which servers are created, powered on, kept off, and removed. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto
from itertools import chain, repeat

from scaler.model import DrainStage, Extension, Group, Held, Server, Step
from scaler.model.lifecycle import DEAD, UNSETTLED, Status
from scaler.planning import steps
from scaler.planning.drains import may_resume
from scaler.planning.facts import Facts
from scaler.planning.health import Choice, ChoiceFacts, choose
from scaler.planning.names import natural, new_names
from scaler.planning.placements import choose_placements, usable
from scaler.planning.prices import paid_left, paid_until
from scaler.planning.protection import protection_of
from scaler.planning.roll import Part, Scene, part_of
from scaler.planning.template import Current
from scaler.planning.victims import victims


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPlan:
    """What to do with the servers of one group."""

    grow: Sequence[Step]
    shrink: Sequence[Step]
    short: int
    """Servers that are missing and for which nothing is left to try."""
    too_many_dead: bool
    """Whether every wanted server already has a dead one beside it: then the dead go before more are created."""
    paid_until: Mapping[str, datetime]
    """Servers that stay, off, while their hour is paid."""
    waiting: int
    """Servers that are created only when draining ones are gone."""
    replaced: Sequence[str]
    """Unhealthy servers that go as soon as their successors are ready, which do not exist yet."""
    held: Held | None
    """Unhealthy servers that are not replaced now."""
    successors: int
    """How many servers are created in place of unhealthy ones."""
    later: frozenset[str] = frozenset()
    """Names of servers beside the wanted ones that stay for now: some go when others serve in their place."""
    rolled: Sequence[str] = ()
    """Names of the servers that are created for the wave of a roll."""


class _Kind(Enum):
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


@dataclass(frozen=True, slots=True)
class _Members:
    """The servers of a group that are in the run's scope, in the order of their names."""

    by_kind: Mapping[_Kind, Sequence[Server]]
    staying: frozenset[str]
    """Names of those that are protected, or whose drain failed."""

    @property
    def machines(self) -> int:
        """How many machines there are, apart from those that are being deleted."""
        servers = chain.from_iterable(self.by_kind.values())
        return sum(server.status is not Status.DELETING for server in servers)

    def without(self, names: Collection[str]) -> _Members:
        """Return the members without some that would count."""
        counting = {
            kind: [server for server in self.by_kind[kind] if server.name not in names]
            for kind in (_Kind.SUPPLY, _Kind.UNHEALTHY)
        }
        return replace(self, by_kind={**self.by_kind, **counting})

    def removable(self, servers: Iterable[Server]) -> list[Server]:
        return [server for server in servers if server.name not in self.staying]


def plan_group(facts: Facts, name: str, wanted: int) -> GroupPlan:
    """Return what leads to `wanted` servers of a group; 0 for a group that the spec no longer has."""
    group = facts.spec.groups.get(name)
    members = _members(facts, name)
    part = _part_of_roll(facts, group, members, wanted)
    if part.old is not None:
        # While a roll goes on, the old servers go first; a new one may be in no state only because a run was killed.
        facts = replace(facts, outdated=part.old, orphans=frozenset())
    wanted -= part.ahead
    dead, off = members.by_kind[_Kind.DEAD], members.by_kind[_Kind.OFF]
    everybody = [*members.by_kind[_Kind.SUPPLY], *members.by_kind[_Kind.UNHEALTHY]]
    members = members.without(part.members | part.failed)
    health = _choose(facts, group, members, wanted)
    supply = [*members.by_kind[_Kind.SUPPLY], *health.held]
    have = len(supply)
    resumed = _resumed(facts, group if wanted else None, members.by_kind[_Kind.LEAVING], wanted - have)
    missing = max(0, wanted - have - len(resumed))
    powered_on, unneeded = off[:missing], members.removable(off[missing:])
    lacking = missing - len(powered_on) if group else 0
    to_create = max(0, lacking - max(facts.advice.held_back, facts.advice.waiting.get(name, 0)))
    waiting = lacking - to_create
    created = _create(facts, group, to_create, wanted, supply, part, health.lacking) if group else []
    short = to_create + part.create - len(created)
    rolled = created[to_create:]
    renewed = [*members.by_kind[_Kind.RENEWED], *_alive(everybody, part.failed)]
    coming = len(created) + len(powered_on)
    # Those that would be missed stay, until others serve in their place.
    in_place = sum(server.running or server.unhealthy for server in supply)
    unready = 0 if coming else len(supply) - in_place
    filled = have + len(resumed) + len(created[:to_create]) + len(powered_on) if coming else in_place
    unhealthy = health.going[: max(0, filled + len(health.going) - wanted)]
    if facts.advice.room is not None:
        # There is no room beside all: servers are removed before others are created, but none for its health.
        unhealthy = unhealthy[: max(0, in_place + len(health.going) - wanted)]
    # No other server goes in place of one that was kept because its drain failed, or that is unhealthy and protected.
    kept = sum(server.name in facts.advice.undrained for server in supply if not server.unhealthy)
    kept += sum(server.name in members.staying for server in health.held)
    surplus = _surplus(facts, group, members.removable(supply), have + len(resumed) - wanted - kept)
    surplus = _without_early(surplus, max(0, in_place - wanted))
    paid = _paid_until(facts, [*unneeded, *surplus])
    return GroupPlan(
        short=short,
        too_many_dead=bool(dead) and members.machines + len(created) > 2 * wanted,
        paid_until=paid,
        waiting=waiting,
        later=part.members | {server.name for server in renewed[: short + waiting + unready]},
        rolled=[step.server for step in rolled],
        replaced=[server.name for server in health.lacking],
        held=health.report,
        successors=min(len(created[:to_create]), len(health.lacking)),
        grow=[
            *(_resume(facts, server, wanted, have) for server in resumed),
            *created,
            *(steps.power_on(server, paid=_is_paid(facts, server)) for server in powered_on),
            *(steps.delete_dead(server) for server in members.removable(dead)),
            *(steps.delete_drained(server) for server in members.by_kind[_Kind.LEAVING] if _is_drained(server)),
        ],
        shrink=[
            *(steps.delete(server, "it is off and not needed") for server in unneeded if server.name not in paid),
            *map(steps.delete_unhealthy, unhealthy),
            # What cannot be replaced stays.
            *(steps.delete(server, _why_renewed(server, part)) for server in renewed[short + waiting + unready :]),
            *(
                _remove(server, _why_surplus(facts, group, server, wanted, have), paid.get(server.name))
                for server in surplus
            ),
        ],
    )


def _members(facts: Facts, name: str) -> _Members:
    by_kind: dict[_Kind, list[Server]] = {kind: [] for kind in _Kind}
    protected = set()
    for key, server in sorted(facts.world.servers.items(), key=lambda item: natural(item[0])):
        if server.group == name and not server.set_aside and key not in facts.advice.out_of_scope:
            by_kind[_kind(facts, server)].append(server)
            if protection_of(facts.spec, facts.world, server):
                protected.add(key)
    return _Members(by_kind, facts.advice.undrained | protected)


def _kind(facts: Facts, server: Server) -> _Kind:
    advice = facts.advice
    is_off = server.status is Status.STOPPED
    if server.drain:
        return _Kind.LEAVING
    if server.status in DEAD or (is_off and server.name in advice.power_on_failed):
        return _Kind.DEAD
    # One that somebody protected since it was named stays, and counts.
    if server.name in advice.renew and not protection_of(facts.spec, facts.world, server):
        return _Kind.RENEWED
    if server.unhealthy and server.name not in advice.remove:
        return _Kind.UNHEALTHY
    if server.counts or server.unhealthy or (is_off and facts.world.machines[server.name].phase in UNSETTLED):
        # One that is off and that the vendor works on is waited for: it can be powered on after that.
        return _Kind.SUPPLY
    return _Kind.OFF if is_off else _Kind.LEAVING


def _choose(facts: Facts, group: Group | None, members: _Members, wanted: int) -> Choice:
    """Choose which unhealthy servers are replaced."""
    advice = facts.advice
    here = ChoiceFacts(
        now=facts.world.at,
        wanted=wanted,
        supply=len(members.by_kind[_Kind.SUPPLY]),
        replacements=[each for each in advice.replacements if group and each.group == group.name],
        leaving={server.id or "" for server in members.by_kind[_Kind.LEAVING]},
        staying=members.staying,
        unchecked=advice.unchecked.get(group.name) if group else None,
        room=advice.room,
    )
    return choose(group, members.by_kind[_Kind.UNHEALTHY], here)


def _without_early(surplus: Sequence[Server], count: int) -> list[Server]:
    """Leave out unhealthy servers but for `count`: the others stay until those are ready that take their places."""
    unhealthy = [server for server in surplus if server.unhealthy]
    return [server for server in surplus if server not in unhealthy[count:]]


def _resumed(facts: Facts, group: Group | None, leaving: Sequence[Server], missing: int) -> list[Server]:
    """Return the draining servers that are taken back: those that were protected, then the one that began last."""
    if group is None:
        return []
    able = [
        server
        for server in leaving
        if server.drain
        and may_resume(server.drain, group.stop)
        and server.status is Status.STOPPING
        and server.name not in facts.advice.not_resumed
    ]
    kept = [server for server in able if protection_of(facts.spec, facts.world, server)]
    others = sorted((server for server in able if server not in kept), key=_begun, reverse=True)
    return [*kept, *others[: max(0, missing - len(kept))]]


def _resume(facts: Facts, server: Server, wanted: int, have: int) -> Step:
    protection = protection_of(facts.spec, facts.world, server)
    return steps.resume(
        server,
        f"it was protected meanwhile, {protection.why}"
        if protection
        else f"{server.group} wants {wanted}, has {have}, and it is still draining",
    )


def _begun(server: Server) -> datetime:
    return server.drain.since if server.drain else server.since


def _is_drained(server: Server) -> bool:
    """Return whether nothing is left to wait for before a server is deleted."""
    is_ended = server.drain is not None and server.drain.stage is DrainStage.ENDED
    return is_ended and server.status is not Status.DELETING


def _part_of_roll(facts: Facts, group: Group | None, members: _Members, wanted: int) -> Part:
    """Return what a roll changes in the plan of a group."""
    advice, spec = facts.advice, facts.spec
    if group is None:
        return Part()
    scene = Scene(
        group=group,
        world=facts.world,
        current=advice.current.get(group.name, Current()),
        protected=members.staying,
    )
    most = min((most for most in (spec.limit, advice.most) if most is not None), default=None)
    return part_of(advice.rolls.get(group.name), scene, wanted, most)


def _alive(servers: Iterable[Server], names: Collection[str]) -> list[Server]:
    return [server for server in servers if server.name in names]


def _why_renewed(server: Server, part: Part) -> str:
    return "its wave of the roll did not succeed" if server.name in part.failed else "it was asked to be replaced"


def _create(
    facts: Facts,
    group: Group,
    to_add: int,
    wanted: int,
    supply: Sequence[Server],
    part: Part,
    instead_of: Sequence[Server],
) -> list[Step]:
    """Create `to_add` servers, then those of a roll's wave; none where no placement or room at the account is left.

    The last of those that are added are made instead of unhealthy ones.
    """
    places = usable(group, facts.advice)
    count = to_add + part.create
    if count <= 0 or not places or group.name in facts.advice.withheld:
        return []
    names = new_names(facts.spec.stack, group, _taken(facts), count)
    chosen = choose_placements(group, places, supply, count)
    placed = list(zip(names, chosen, strict=True))
    whose = [*repeat(None, max(0, to_add - len(instead_of))), *instead_of]
    added = [
        steps.create(group, name, place, wanted=wanted, have=len(supply), image=part.image, instead_of=old)
        for (name, place), old in zip(placed[:to_add], whose, strict=False)
    ]
    return added + [steps.create_rolled(group, name, place, image=part.target) for name, place in placed[to_add:]]


def _taken(facts: Facts) -> set[str]:
    """Return the names that new servers cannot have; that of a vanished server is free again.

    One that was to be replaced keeps its name from its successor, which would be replaced in its turn.
    """
    world = facts.world
    machines = {machine.name for machine in world.machines.values()}
    return {
        *world.machines,
        *machines,
        *facts.advice.taken,
        *facts.advice.renew,
        *(world.entries.keys() - world.vanished),
    }


def _surplus(facts: Facts, group: Group | None, candidates: Sequence[Server], count: int) -> list[Server]:
    """Return the `count` servers that go: those that were named, then by the fixed order."""
    if count <= 0:
        return []
    world = facts.world

    def paid(server: Server) -> float:
        return paid_left(facts.spec.cloud, server.created or world.at, world.at).total_seconds()

    named = [server for server in candidates if server.name in facts.advice.remove]
    others = [server for server in candidates if server.name not in facts.advice.remove]
    chosen = victims(others, max(0, count - len(named)), group, facts.orphans, facts.outdated, paid)
    return [*named, *chosen][:count]


def _paid_until(facts: Facts, leaving: Iterable[Server]) -> dict[str, datetime]:
    """Return which of the servers stay, off, while their hour is paid, and until when."""
    goes = {*facts.advice.not_kept, *facts.advice.remove, *facts.orphans, *facts.outdated}
    return {
        server.name: until
        for server in leaving
        if server.status in (Status.RUNNING, Status.STOPPED)
        and server.name not in goes
        and (until := paid_until(facts.spec, server, facts.world.at))
    }


def _is_paid(facts: Facts, server: Server) -> bool:
    return paid_until(facts.spec, server, facts.world.at) is not None


def _remove(server: Server, reason: str, until: datetime | None) -> Step:
    """Take a server out of service: for good, or so that it can be taken back until then."""
    return steps.delete(server, reason) if until is None else steps.power_off(server, reason, until)


def _why_surplus(facts: Facts, group: Group | None, server: Server, wanted: int, have: int) -> str:
    if server.name in facts.advice.remove:
        return "it was asked to be removed"
    if group is None:
        return f"the spec has no group {server.group} any more"
    return f"{group.name} wants {wanted}, has {have}: {_why_this(facts, group, server)}"


def _why_this(facts: Facts, group: Group, server: Server) -> str:
    """Return why this server goes and not another, in the order in which `victims` decides."""
    if not server.running:
        return f"not ready, it is {server.status}"
    if server.name in facts.orphans:
        return "it was in no state"
    if server.name in facts.outdated:
        return f"it is outdated ({facts.outdated[server.name]})"
    if group.scale_down == "billing":
        return "its paid hour ends first"
    if isinstance(group.scale_down, Extension):
        return f"chosen by {group.scale_down}"
    return f"{group.scale_down} first"
