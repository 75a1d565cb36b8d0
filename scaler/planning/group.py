"""The plan for one group: which servers are created, powered on, kept off, and removed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import repeat

from scaler.model import Extension, Group, Held, Server, Step
from scaler.model.lifecycle import Status
from scaler.planning import steps
from scaler.planning.drains import may_resume
from scaler.planning.facts import Facts
from scaler.planning.health import Choice, ChoiceFacts, choose
from scaler.planning.members import Members, Role, is_drained, members_of
from scaler.planning.names import new_names
from scaler.planning.placements import choose_placements, usable
from scaler.planning.prices import paid_left, paid_until
from scaler.planning.protection import protection_of
from scaler.planning.roll import ROLLED_BACK, Part, Scene, part_of
from scaler.planning.template import Current
from scaler.planning.victims import victims
from scaler.support.values import dataclass


@dataclass(frozen=True, kw_only=True)
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


@dataclass(frozen=True, kw_only=True)
class _Task:
    """What the plan of a group starts from."""

    facts: Facts
    group: Group | None
    members: Members
    """Without the servers of a roll's wave, which do not count yet."""
    part: Part
    given_up: Sequence[Server]
    """The servers of a wave that failed."""
    wanted: int
    """How many servers that count: without those that a wave replaces."""
    health: Choice

    @property
    def supply(self) -> list[Server]:
        """The servers that count."""
        return [*self.members.by_role[Role.SUPPLY], *self.health.held]

    @property
    def in_place(self) -> int:
        """How many of them have been ready."""
        return sum(server.running or server.unhealthy for server in self.supply)


@dataclass(frozen=True, kw_only=True)
class _Growth:
    """The servers that a group gains."""

    resumed: Sequence[Server]
    powered_on: Sequence[Server]
    added: Sequence[Step]
    """Creates of servers that count."""
    rolled: Sequence[Step]
    """Creates of a roll's wave."""
    short: int
    waiting: int

    @property
    def coming(self) -> int:
        """How many of them have to boot."""
        return len(self.added) + len(self.rolled) + len(self.powered_on)


@dataclass(frozen=True, kw_only=True)
class _Loss:
    """The servers that a group loses, or may lose when others serve in their place."""

    unneeded: Sequence[Server]
    """They are off."""
    unhealthy: Sequence[Server]
    renewed: Sequence[Server]
    later: Sequence[Server]
    """Those that would be renewed, if others served in their place."""
    surplus: Sequence[Server]


def plan_group(facts: Facts, name: str, wanted: int) -> GroupPlan:
    """Return what leads to `wanted` servers of a group; 0 for a group that the spec no longer has."""
    task = _task(facts, name, wanted)
    growth = _growth(task)
    loss = _loss(task, growth)
    dead, machines = task.members.by_role[Role.DEAD], task.members.machines
    paid = _paid_until(task.facts, [*loss.unneeded, *loss.surplus])
    return GroupPlan(
        grow=_grow(task, growth),
        shrink=_shrink(task, loss, paid),
        short=growth.short,
        too_many_dead=bool(dead) and machines + len(growth.added) + len(growth.rolled) > 2 * task.wanted,
        paid_until=paid,
        waiting=growth.waiting,
        replaced=[server.name for server in task.health.lacking],
        held=task.health.report,
        successors=min(len(growth.added), len(task.health.lacking)),
        later=task.part.members | {server.name for server in loss.later},
        rolled=[step.server for step in growth.rolled],
    )


def _task(facts: Facts, name: str, wanted: int) -> _Task:
    group = facts.spec.groups.get(name)
    everybody = members_of(facts, name)
    part = _part_of_roll(facts, group, everybody, wanted)
    if part.old is not None:
        # While a roll goes on, the old servers go first; a new one may be in no state only because a run was killed.
        facts = replace(facts, outdated=part.old, orphans=frozenset())
    members = everybody.without(part.members | part.failed)
    living = [*everybody.by_role[Role.SUPPLY], *everybody.by_role[Role.UNHEALTHY]]
    return _Task(
        facts=facts,
        group=group,
        members=members,
        part=part,
        given_up=[server for server in living if server.name in part.failed],
        wanted=wanted - part.ahead,
        health=_choose(facts, group, members, wanted - part.ahead),
    )


def _growth(task: _Task) -> _Growth:
    """Return who is taken back, powered on and created, in this order."""
    advice, group, have = task.facts.advice, task.group, len(task.supply)
    leaving, off = task.members.by_role[Role.LEAVING], task.members.by_role[Role.OFF]
    resumed = _resumed(task.facts, group if task.wanted else None, leaving, task.wanted - have)
    missing = max(0, task.wanted - have - len(resumed))
    powered_on = off[:missing]
    lacking = missing - len(powered_on) if group else 0
    to_add = max(0, lacking - max(advice.held_back, advice.waiting.get(group.name, 0) if group else 0))
    created = _create(task, group, to_add) if group else []
    return _Growth(
        resumed=resumed,
        powered_on=powered_on,
        added=created[:to_add],
        rolled=created[to_add:],
        short=to_add + task.part.create - len(created),
        waiting=lacking - to_add,
    )


def _loss(task: _Task, growth: _Growth) -> _Loss:
    """Return who goes. Those that would be missed stay, until others serve in their place."""
    members, health, wanted, supply = task.members, task.health, task.wanted, task.supply
    have, in_place = len(supply) + len(growth.resumed), task.in_place
    unready = 0 if growth.coming else len(supply) - in_place
    filled = have + len(growth.added) + len(growth.powered_on) if growth.coming else in_place
    if task.facts.advice.room is not None:
        # There is no room beside all: servers are removed before others are created, but none for its health.
        filled = min(filled, in_place)
    renewed = [*members.by_role[Role.RENEWED], *task.given_up]
    staying = growth.short + growth.waiting + unready
    # No other server goes in place of one that was kept because its drain failed, or that is unhealthy and protected.
    kept = sum(server.name in task.facts.advice.undrained for server in supply if not server.unhealthy)
    kept += sum(server.name in members.staying for server in health.held)
    surplus = _surplus(task.facts, task.group, members.removable(supply), have - wanted - kept)
    return _Loss(
        unneeded=members.removable(members.by_role[Role.OFF][len(growth.powered_on) :]),
        unhealthy=health.going[: max(0, filled + len(health.going) - wanted)],
        # What cannot be replaced stays.
        renewed=renewed[staying:],
        later=renewed[:staying],
        surplus=_without_early(surplus, max(0, in_place - wanted)),
    )


def _grow(task: _Task, growth: _Growth) -> list[Step]:
    members, facts = task.members, task.facts
    return [
        *(_resume(facts, server, task.wanted, len(task.supply)) for server in growth.resumed),
        *growth.added,
        *growth.rolled,
        *(steps.power_on(server, paid=_is_paid(facts, server)) for server in growth.powered_on),
        *(steps.delete_dead(server) for server in members.removable(members.by_role[Role.DEAD])),
        *(steps.delete_drained(server) for server in members.by_role[Role.LEAVING] if is_drained(server)),
    ]


def _shrink(task: _Task, loss: _Loss, paid: Mapping[str, datetime]) -> list[Step]:
    return [
        *(steps.delete(server, "it is off and not needed") for server in loss.unneeded if server.name not in paid),
        *map(steps.delete_unhealthy, loss.unhealthy),
        *(steps.delete(server, _why_renewed(server, task.part)) for server in loss.renewed),
        *(_remove(server, _why_surplus(task, server), paid.get(server.name)) for server in loss.surplus),
    ]


def _choose(facts: Facts, group: Group | None, members: Members, wanted: int) -> Choice:
    """Choose which unhealthy servers are replaced."""
    advice = facts.advice
    here = ChoiceFacts(
        now=facts.world.at,
        wanted=wanted,
        supply=members.by_role[Role.SUPPLY],
        replacements=[each for each in advice.replacements if group and each.group == group.name],
        leaving={server.id or "" for server in members.by_role[Role.LEAVING]},
        staying=members.staying,
        unchecked=advice.unchecked.get(group.name) if group else None,
        room=advice.room,
    )
    return choose(group, members.by_role[Role.UNHEALTHY], here)


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


def _part_of_roll(facts: Facts, group: Group | None, members: Members, wanted: int) -> Part:
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


def _why_renewed(server: Server, part: Part) -> str:
    return "its wave of the roll did not succeed" if server.name in part.failed else "it was asked to be replaced"


def _create(task: _Task, group: Group, to_add: int) -> list[Step]:
    """Create `to_add` servers, then those of a roll's wave; none where no placement or room at the account is left.

    The last of those that are added are made instead of unhealthy ones.
    """
    facts, part, supply = task.facts, task.part, task.supply
    places, count = usable(group, facts.advice), to_add + part.create
    if count <= 0 or not places or group.name in facts.advice.withheld:
        return []
    names = new_names(facts.spec.stack, group, _taken(facts), count)
    placed = list(zip(names, choose_placements(group, places, supply, count), strict=True))
    instead_of = task.health.lacking
    whose = [*repeat(None, max(0, to_add - len(instead_of))), *instead_of]
    added = [
        steps.create(group, name, place, wanted=task.wanted, have=len(supply), image=part.image, instead_of=old)
        for (name, place), old in zip(placed[:to_add], whose, strict=False)
    ]
    return added + [
        steps.create_rolled(group, name, place, image=part.target, is_back=part.is_back)
        for name, place in placed[to_add:]
    ]


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


def _why_surplus(task: _Task, server: Server) -> str:
    if server.name in task.facts.advice.remove:
        return "it was asked to be removed"
    if task.group is None:
        return f"the spec has no group {server.group} any more"
    why = _why_this(task.facts, task.group, server)
    return f"{task.group.name} wants {task.wanted}, has {len(task.supply)}: {why}"


def _why_this(facts: Facts, group: Group, server: Server) -> str:
    """Return why this server goes and not another, in the order in which `victims` decides."""
    if not server.running:
        return f"not ready, it is {server.status}"
    if server.name in facts.orphans:
        return "it was in no state"
    if server.name in facts.outdated:
        why = facts.outdated[server.name]
        return why if why == ROLLED_BACK else f"it is outdated ({why})"
    if group.scale_down == "billing":
        return "its paid hour ends first"
    if isinstance(group.scale_down, Extension):
        return f"chosen by {group.scale_down}"
    return f"{group.scale_down} first"
