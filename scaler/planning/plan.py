"""What to do, to which server, and why. Pure: the same world gives the same plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from scaler.model import Action, Placement, Plan, Server, Spec, Step, World
from scaler.model.lifecycle import Status
from scaler.planning import steps
from scaler.planning.advice import Advice
from scaler.planning.facts import Facts
from scaler.planning.group import GroupPlan, plan_group
from scaler.planning.names import natural
from scaler.planning.phases import phases_of
from scaler.planning.placements import usable
from scaler.planning.renames import renamed_groups
from scaler.planning.template import labels_of


def plan(spec: Spec, world: World, wanted: Mapping[str, int], advice: Advice | None = None) -> Plan:
    """Return the steps from this world to the wanted counts, in at most two phases.

    The first creates, adopts, powers on, and removes what is dead; the second removes surplus
    servers, once the first is confirmed. Groups that the spec no longer has are wanted zero times.
    """
    advice = advice or Advice()
    made = _plan(Facts.of(spec, world, advice), wanted)
    if (room := _room_for_successors(made, spec, world, advice)) is not None:
        # One that is unhealthy goes only when its successor is ready: it stays where there is no room for both.
        advice = replace(advice, room=room)
        made = _plan(Facts.of(spec, world, advice), wanted)
    if made.paid_until and _lacks_room(made, spec, world, advice):
        # Servers that stay only because they are paid for make room first.
        advice = replace(advice, not_kept=advice.not_kept | made.paid_until.keys())
        made = _plan(Facts.of(spec, world, advice), wanted)
    if held_back := _without_room(made, spec, world, advice):
        # What there is no room for beside draining servers waits for them; it is no refusal.
        made = _plan(Facts.of(spec, world, replace(advice, held_back=held_back)), wanted)
    return made


def _room_for_successors(made: Plan, spec: Spec, world: World, advice: Advice) -> int | None:
    """Return how many servers may be created in place of unhealthy ones; None: all that are planned."""
    most = _most_machines(spec, advice)
    if most is None or not made.replaced:
        return None
    excess = len(world.machines) + made.count(Action.CREATE) - most
    return max(0, made.successors - excess) if excess > 0 else None


def _without_room(made: Plan, spec: Spec, world: World, advice: Advice) -> int:
    """Return how many servers there is no room for until the draining ones are gone."""
    most = _most_machines(spec, advice)
    if most is None:
        return 0
    deleted = {step.server for step in made.steps if step.action is Action.DELETE}
    leaving = sum(1 for name, server in world.servers.items() if server.drain and name not in deleted)
    return max(0, min(made.machines_after(world) - most, leaving, made.count(Action.CREATE)))


def _plan(facts: Facts, wanted: Mapping[str, int]) -> Plan:
    spec, world = facts.spec, facts.world
    groups = _plan_groups(facts, wanted)
    grow, shrink = _steps(spec, world, groups.values())
    return Plan(
        stack=spec.stack,
        wanted=dict(wanted),
        before=_count(wanted, (server for server in world.servers.values() if server.counts)),
        ready=_count(wanted, (server for server in world.servers.values() if server.running)),
        phases=phases_of(
            world,
            grow,
            shrink,
            most=_most_machines(spec, facts.advice),
            too_many_dead=any(group.too_many_dead for group in groups.values()),
            crowded=facts.advice.crowded,
        ),
        drift=world.drift,
        tries=_tries(facts, wanted, grow),
        waiting={name: group.waiting for name, group in groups.items() if group.waiting},
        short={name: group.short for name, group in groups.items() if group.short},
        replaced=tuple(name for group in groups.values() for name in group.replaced),
        successors=sum(group.successors for group in groups.values()),
        held={name: group.held for name, group in groups.items() if group.held},
        outdated=facts.outdated,
        later=frozenset(name for group in groups.values() for name in group.later),
        rolled={name: tuple(group.rolled) for name, group in groups.items() if group.rolled},
        renamed=renamed_groups(spec, world, wanted),
        paid_until={name: until for group in groups.values() for name, until in group.paid_until.items()},
    )


def _plan_groups(facts: Facts, wanted: Mapping[str, int]) -> dict[str, GroupPlan]:
    """Plan each group that is wanted or has servers; no two choose the same name for a new server."""
    plans: dict[str, GroupPlan] = {}
    for name in sorted({*wanted, *(server.group for server in facts.world.servers.values())}):
        plans[name] = plan_group(facts, name, wanted.get(name, 0))
        created = {step.server for step in plans[name].grow if step.action is Action.CREATE}
        advice = replace(
            facts.advice,
            taken=facts.advice.taken | created,
            held_back=max(0, facts.advice.held_back - plans[name].waiting),
            room=None if facts.advice.room is None else facts.advice.room - plans[name].successors,
        )
        facts = replace(facts, advice=advice)
    return plans


def _steps(spec: Spec, world: World, groups: Collection[GroupPlan]) -> tuple[list[Step], list[Step]]:
    """Return the steps that grow the stack or repair it, and those that shrink it."""
    grow = [*_forget(world), *_adopt(world), *(step for group in groups for step in group.grow)]
    shrink = [step for group in groups for step in group.shrink]
    grow += _update(spec, world, {step.server for step in (*grow, *shrink) if step.action is Action.DELETE})
    return grow, shrink


def _lacks_room(made: Plan, spec: Spec, world: World, advice: Advice) -> bool:
    """Return whether a plan creates more servers than there may be beside all that stay."""
    most = _most_machines(spec, advice)
    return most is not None and made.count(Action.CREATE) > 0 and made.machines_after(world) > most


def _most_machines(spec: Spec, advice: Advice) -> int | None:
    """Return how many machines there may be at any moment, by the spec's limit and the account's; None: any."""
    return min((most for most in (spec.limit, advice.most) if most is not None), default=None)


def _count(groups: Collection[str], servers: Iterable[Server]) -> dict[str, int]:
    """Count the servers of each group."""
    counts = Counter(server.group for server in servers)
    return {name: counts[name] for name in groups}


def _tries(facts: Facts, groups: Collection[str], steps: Iterable[Step]) -> dict[str, tuple[Placement, ...]]:
    """Return where the new servers of each group are tried, in this order."""
    growing = {step.group for step in steps if step.action is Action.CREATE}
    return {name: tuple(usable(facts.spec.groups[name], facts.advice)) for name in groups if name in growing}


def _forget(world: World) -> Iterable[Step]:
    for name in sorted(world.vanished, key=natural):
        entry = world.entries[name]
        yield steps.forget(entry, relabelled=entry.id in world.relabelled)


def _adopt(world: World) -> Iterable[Step]:
    for name in sorted(world.orphans_left, key=natural):
        yield steps.adopt(world.servers[name])


def _update(spec: Spec, world: World, leaving: Collection[str]) -> Iterable[Step]:
    """Correct the labels of servers that stay."""
    for name in sorted(world.machines, key=natural):
        machine, server = world.machines[name], world.servers[name]
        if server.group not in spec.groups or server.status is Status.DELETING or name in leaving or server.set_aside:
            continue
        if dict(machine.labels) != labels_of(spec, machine, server.group, world.owner):
            yield steps.update(server)
