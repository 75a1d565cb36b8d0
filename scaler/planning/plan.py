"""What to do, to which server, and why. Pure: the same world gives the same plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from scaler.model import Action, Extension, Group, Placement, Plan, PlanPhase, Server, Spec, Step, World
from scaler.model.lifecycle import DEAD, SUPPLY, Status
from scaler.model.ownership import free_names, is_host_name
from scaler.planning.prices import kept_until, paid_left
from scaler.planning.template import labels_of, outdated


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What earlier attempts of this run learned."""

    exhausted: frozenset[Placement] = frozenset()
    """Placements that have no capacity."""
    unfit: frozenset[tuple[str, Placement]] = frozenset()
    """Placements at which a group's servers cannot be, whatever the capacity."""
    most: int | None = None
    """How many machines the account lets this stack hold; None: nothing is known of that."""
    withheld: bool = False
    """The account lets the stack have no more: nothing is created."""
    taken: frozenset[str] = frozenset()
    """Names that servers of others have."""
    power_on_failed: frozenset[str] = frozenset()
    """Servers that could not be powered on: they are replaced."""
    undrained: frozenset[str] = frozenset()
    """Servers whose drain failed: they stay."""
    not_kept: frozenset[str] = frozenset()
    """Servers that are not kept for their paid hour: they could not be powered off, or are in the way."""
    remove: frozenset[str] = frozenset()
    """Servers that were asked to be removed: they go before others."""
    renew: frozenset[str] = frozenset()
    """Servers that were asked to be replaced: they go when new ones are ready."""
    out_of_scope: frozenset[str] = frozenset()
    """Servers that the run is not about: they are neither counted nor touched."""
    adopted: frozenset[str] = frozenset()
    """Servers that were in no state when the run began: they go before others."""
    images: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By group: id and name of the image that a new server would be made from; empty: it is not known."""


def plan(spec: Spec, world: World, wanted: Mapping[str, int], advice: Advice | None = None) -> Plan:
    """The steps from this world to the wanted counts, in at most two phases.

    The first creates, adopts, powers on, and removes what is dead; the second removes surplus
    servers, once the first is confirmed. Groups that the spec no longer has are wanted zero times.
    """
    advice = advice or Advice()
    made = _plan(spec, world, wanted, advice)
    if made.paid_until and _lacks_room(spec, world, made, advice):
        made = _plan(spec, world, wanted, replace(advice, not_kept=advice.not_kept | made.paid_until.keys()))
    return made


def _plan(spec: Spec, world: World, wanted: Mapping[str, int], advice: Advice) -> Plan:
    grow: list[Step] = [*_forget(world), *_adopt(world)]
    shrink: list[Step] = []
    short: dict[str, int] = {}
    kept: dict[str, datetime] = {}
    too_many_dead = False
    old = _outdated(spec, world, advice)
    for name in sorted({*wanted, *(server.group for server in world.servers.values())}):
        named = frozenset(step.server for step in grow if step.action is Action.CREATE)
        decided = _decide(spec, world, name, wanted.get(name, 0), replace(advice, taken=advice.taken | named), old)
        grow += decided.grow
        shrink += decided.shrink
        kept |= decided.kept
        too_many_dead |= decided.too_many_dead
        if decided.short:
            short[name] = decided.short
    leaving = {step.server for step in (*grow, *shrink) if step.action is Action.DELETE}
    grow += _update(spec, world, leaving)
    return Plan(
        stack=spec.stack,
        wanted=dict(wanted),
        before={name: _supply(world, name) for name in wanted},
        ready={
            name: sum(server.running for server in world.servers.values() if server.group == name) for name in wanted
        },
        phases=tuple(_phases(_most(spec, advice), world, grow, shrink, too_many_dead=too_many_dead)),
        drift=world.drift,
        tries={name: tuple(usable(spec.groups[name], advice)) for name in wanted if _is_created(name, grow)},
        short=short,
        outdated=old,
        paid_until=kept,
    )


def _lacks_room(spec: Spec, world: World, made: Plan, advice: Advice) -> bool:
    """Whether a plan creates more servers than there may be beside all that stay."""
    most = _most(spec, advice)
    return most is not None and made.count(Action.CREATE) > 0 and made.machines_after(world) > most


def _outdated(spec: Spec, world: World, advice: Advice) -> dict[str, str]:
    """The servers that are not as a new one would be, and in what."""
    found = {
        name: outdated(spec.groups[server.group], world.machines[name], advice.images.get(server.group, ()))
        for name, server in world.servers.items()
        if server.group in spec.groups
    }
    return {name: why for name, why in sorted(found.items()) if why}


def placements(group: Group) -> list[Placement]:
    """Where a group's servers may be, in the order in which they are tried."""
    return [(kind, location) for kind in group.types for location in group.locations]


def usable(group: Group, advice: Advice) -> list[Placement]:
    """The placements that are left to try, in their order."""
    return [
        place
        for place in placements(group)
        if place not in advice.exhausted and (group.name, place) not in advice.unfit
    ]


def victims(
    candidates: Iterable[Server],
    count: int,
    group: Group | None,
    orphans: Collection[str] = (),
    old: Collection[str] = (),
    paid: Callable[[Server], float] = lambda server: 0.0,
) -> list[Server]:
    """The `count` servers that go first: dead, off, not yet ready, outdated, then as the group's `scale_down` says.

    Of equals, orphans go first; a ready orphan stays before one that is not ready, lest too few serve.
    A function is asked only where equals stay and go. ExtensionError if its answer is none of these servers.
    `paid` tells for how many seconds a server is paid for, for `billing`; of equals the newest goes.
    """
    how = group.scale_down if group else "newest"

    def age(server: Server) -> float:
        return server.created.timestamp() if server.created else 0.0

    ordered = sorted(candidates, key=lambda server: (age(server), _number(server.name)), reverse=how != "oldest")
    if how == "billing":
        ordered.sort(key=paid)

    def rank(server: Server) -> tuple[int, bool, bool]:
        return _expendability(server), server.name not in orphans, server.name not in old

    ranked = sorted(ordered, key=rank)
    if not isinstance(how, Extension) or not 0 < count < len(ranked):
        return ranked[:count]
    sure = [server for server in ranked if rank(server) < rank(ranked[count - 1])]
    equals = [server for server in ranked if rank(server) == rank(ranked[count - 1])]
    return sure + _chosen(how, equals, count - len(sure))


def _chosen(choose: Extension, servers: Sequence[Server], count: int) -> list[Server]:
    """The first `count` of these servers that the function answers; ExtensionError if there are not that many."""
    if count == len(servers):
        return list(servers)
    answer = choose(tuple(servers), count)
    if not isinstance(answer, Collection) or not all(isinstance(server, Server) for server in answer):
        raise choose.failed(f"it answered {answer!r}, not servers")
    chosen = list(dict.fromkeys(answer))
    if strange := [server.name for server in chosen if server not in servers]:
        raise choose.failed(f"it chose {', '.join(strange)}, which it was not offered")
    if len(chosen) < count:
        raise choose.failed(f"it chose {len(chosen)} of {len(servers)} servers, and {count} have to go")
    return chosen[:count]


def _expendability(server: Server) -> int:
    """The fixed part of the order in which servers go (`contract.md` §5)."""
    order = (Status.ERRORED, Status.HANGING, Status.STOPPED, Status.STARTING, Status.REBOOTING)
    return order.index(server.status) if server.status in order else len(order)


def _number(name: str) -> int:
    digits = name.rpartition("-")[2].partition(".")[0]
    return int(digits) if digits.isdigit() else 0


# ---------------------------------------------------------------------------------------------
# One group


@dataclass(frozen=True, slots=True)
class _Decided:
    grow: Sequence[Step]
    shrink: Sequence[Step]
    short: int
    """Servers that are missing and for which nothing is left to try."""
    too_many_dead: bool
    """Whether each wanted server has a dead one beside it already: no more before those are gone."""
    kept: Mapping[str, datetime]
    """Servers that stay, off, while their hour is paid."""


def _decide(spec: Spec, world: World, name: str, wanted: int, advice: Advice, old: Mapping[str, str]) -> _Decided:
    group = spec.groups.get(name)
    ours = [world.servers[key] for key in sorted(world.servers, key=natural)]
    servers = [server for server in ours if server.group == name and server.name not in advice.out_of_scope]
    staying = advice.undrained | (group.protect if group else frozenset())
    movable = [server for server in servers if server.name not in staying and not server.protected]
    dead = [
        server
        for server in servers
        if server.status in DEAD or (server.status is Status.STOPPED and server.name in advice.power_on_failed)
    ]
    renewed = [server for server in servers if server.name in advice.renew and server not in dead]
    supply = [server for server in servers if server.counts and server not in dead and server not in renewed]
    off = [server for server in servers if server.status is Status.STOPPED and server not in (*dead, *renewed)]

    missing = max(0, wanted - len(supply))
    woken, idle = off[:missing], [server for server in off[missing:] if server in movable]
    orphans = world.orphans | advice.adopted
    candidates = [server for server in supply if server in movable]
    leaving = _leaving(spec, world, candidates, len(supply) - wanted, group, advice.remove, orphans, old)
    lacking = missing - len(woken) if group else 0
    created = _create(spec, world, group, lacking, wanted, supply, advice) if group else []
    short = lacking - len(created)
    kept = _kept(spec, world, [*idle, *leaving], {*advice.not_kept, *advice.remove, *orphans, *old})
    there = sum(1 for server in servers if server.status is not Status.DELETING)
    return _Decided(
        short=short,
        too_many_dead=bool(dead) and there + len(created) > 2 * wanted,
        grow=[
            *created,
            *(_step(Action.POWER_ON, server, _why_woken(spec, world, server)) for server in woken),
            *(_step(Action.DELETE, server, _why_dead(server)) for server in dead if server in movable),
        ],
        shrink=[
            *(_step(Action.DELETE, server, "it is off and not needed") for server in idle if server.name not in kept),
            # What cannot be replaced stays.
            *(_step(Action.DELETE, server, "it was asked to be replaced") for server in renewed[short:]),
            *(
                _leave(
                    server,
                    _why_leaving(group, server, wanted, len(supply), advice.remove, orphans, old),
                    kept.get(server.name),
                )
                for server in leaving
            ),
        ],
        kept=kept,
    )


def _leaving(
    spec: Spec,
    world: World,
    movable: Sequence[Server],
    surplus: int,
    group: Group | None,
    named: Collection[str],
    orphans: Collection[str],
    old: Collection[str],
) -> list[Server]:
    """The servers that a surplus takes out: those that were asked for, then by the fixed order."""
    if surplus <= 0:
        return []

    def paid(server: Server) -> float:
        return paid_left(spec.cloud, server.created or world.at, world.at).total_seconds()

    asked = [server for server in movable if server.name in named]
    others = [server for server in movable if server not in asked]
    return [*asked, *victims(others, max(0, surplus - len(asked)), group, orphans, old, paid)][:surplus]


def _kept(spec: Spec, world: World, servers: Iterable[Server], unkept: Collection[str]) -> dict[str, datetime]:
    """Those of the servers that stay, off, while their hour is paid, and until when; none that is named `unkept`."""
    spare = [server for server in servers if server.status in (Status.RUNNING, Status.STOPPED)]
    return {
        server.name: until
        for server in spare
        if server.name not in unkept and (until := kept_until(spec, server, world.at))
    }


def _create(
    spec: Spec, world: World, group: Group, count: int, wanted: int, supply: Sequence[Server], advice: Advice
) -> list[Step]:
    places = usable(group, advice)
    if count <= 0 or not places or advice.withheld:
        return []
    vanished = world.vanished
    taken = {*world.machines, *(machine.name for machine in world.machines.values()), *advice.taken}
    taken |= {name for name in world.entries if name not in vanished}
    names = _names(spec.stack, group, taken, count)
    chosen = _spread(places, supply, count) if group.spread else places[:1] * count
    return [
        Step(
            action=Action.CREATE,
            server=name,
            group=group.name,
            reason=f"{group.name} wants {wanted}, has {len(supply)}",
            type=kind,
            location=location,
        )
        for name, (kind, location) in zip(names, chosen, strict=True)
    ]


def _names(stack: str, group: Group, taken: Collection[str], count: int) -> list[str]:
    """Names for `count` new servers; ExtensionError if the group's function answers one that cannot be."""
    if group.naming is None:
        return free_names(stack, group.name, taken, count)
    names: list[str] = []
    for _ in range(count):
        name = group.naming(stack, group.name, frozenset({*taken, *names}))
        if not isinstance(name, str) or not is_host_name(name):
            raise group.naming.failed(
                f"it answered {name!r}; a server's name is 1 to 63 lower-case letters, digits and inner hyphens"
            )
        if name in taken or name in names:
            raise group.naming.failed(f"it answered {name}, which is taken")
        names.append(name)
    return names


def _spread(places: Sequence[Placement], there: Iterable[Server], count: int) -> list[Placement]:
    """A placement for each new server: the location with the fewest, and there the first type."""
    first: dict[str, Placement] = {}
    for place in places:
        first.setdefault(place[1], place)
    held = Counter(server.location for server in there)
    chosen = []
    for _ in range(count):
        location = min(first, key=lambda name: held[name])
        held[location] += 1
        chosen.append(first[location])
    return chosen


def _step(action: Action, server: Server, reason: str) -> Step:
    return Step(
        action=action,
        server=server.name,
        group=server.group,
        reason=reason,
        id=server.id,
        type=server.type,
        location=server.location,
    )


def _leave(server: Server, why: str, until: datetime | None) -> Step:
    """The step that takes a server out of service: for good, or so that it can be taken back until then."""
    if until is None:
        return _step(Action.DELETE, server, why)
    return _step(Action.POWER_OFF, server, f"{why}; it is paid for, and can be taken back until {until:%H:%M} UTC")


def _why_dead(server: Server) -> str:
    if server.status is Status.STOPPED:
        return "it is off and could not be powered on"
    return f"it is {server.status}" + (f": {server.error}" if server.error else "")


def _why_woken(spec: Spec, world: World, server: Server) -> str:
    return "it is off" + (", and still paid for" if kept_until(spec, server, world.at) else "")


def _why_leaving(
    group: Group | None,
    server: Server,
    wanted: int,
    have: int,
    named: Collection[str],
    orphans: Collection[str],
    old: Mapping[str, str],
) -> str:
    if server.name in named:
        return "it was asked to be removed"
    if group is None:
        return f"the spec has no group {server.group} any more"
    order = f"{group.scale_down} first"
    if group.scale_down == "billing":
        order = "its paid hour ends first"
    elif isinstance(group.scale_down, Extension):
        order = f"chosen by {group.scale_down}"
    if not server.running:
        order = f"not ready, it is {server.status}"
    elif server.name in orphans:
        order = "it was in no state"
    elif server.name in old:
        order = f"it is outdated ({old[server.name]})"
    return f"{group.name} wants {wanted}, has {have}: {order}"


def _supply(world: World, group: str) -> int:
    return sum(1 for server in world.servers.values() if server.group == group and server.status in SUPPLY)


# ---------------------------------------------------------------------------------------------
# The whole stack


def _forget(world: World) -> Iterable[Step]:
    for name in sorted(world.vanished):
        entry = world.entries[name]
        lost = entry.id in world.relabelled
        reason = "it no longer carries this stack's labels" if lost else "it is gone from the cloud"
        yield Step(action=Action.FORGET, server=name, group=entry.group, reason=reason, id=entry.id)


def _adopt(world: World) -> Iterable[Step]:
    for name in sorted(world.orphans):
        server = world.servers[name]
        if server.status is not Status.DELETING:
            yield _step(Action.ADOPT, server, "it carries this stack's labels and is in no state")


def _update(spec: Spec, world: World, leaving: Collection[str]) -> Iterable[Step]:
    for name in sorted(world.machines, key=natural):
        machine, server = world.machines[name], world.servers[name]
        if server.group not in spec.groups or server.status is Status.DELETING or name in leaving:
            continue
        if dict(machine.labels) != labels_of(spec, machine):
            yield _step(Action.UPDATE, server, "its labels are not those of the spec")


def _most(spec: Spec, advice: Advice) -> int | None:
    """How many machines there may be at any moment: by the spec's limit and the account's."""
    return min((most for most in (spec.limit, advice.most) if most is not None), default=None)


def _phases(
    most: int | None, world: World, grow: Sequence[Step], shrink: Sequence[Step], *, too_many_dead: bool
) -> Iterable[PlanPhase]:
    """Grow, then shrink; an orphan is adopted in the one, and changed or removed in the other at the earliest.

    When growing first would exceed `most` for a moment, what goes, goes first. When it is `too_many_dead`, the
    dead go first: where they cannot be deleted, no attempt to replace them makes ever more of them.
    """
    adopted = {step.server for step in grow if step.action is Action.ADOPT}

    def is_late(step: Step) -> bool:
        return step.server in adopted and step.action in (Action.UPDATE, Action.DELETE)

    first = [step for step in grow if not is_late(step)]
    second = [*shrink, *filter(is_late, grow)]
    if not any(step.action in (Action.CREATE, Action.ADOPT, Action.POWER_ON) for step in first):
        first, second = [*first, *second], []
    elif most is not None and len(world.machines) + _count(first, Action.CREATE) > most:
        steps = [*first, *second]
        second = [step for step in steps if step.action is Action.CREATE or is_late(step)]
        first = [step for step in steps if step not in second]
    elif too_many_dead:
        creates = [step for step in first if step.action is Action.CREATE]
        first, second = [step for step in first if step not in creates], [*creates, *second]
    if not first:
        first, second = second, []
    declared = frozenset(world.entries)
    for steps in filter(None, (first, second)):
        declared = _after(declared, steps)
        yield PlanPhase(steps=tuple(steps), declared=tuple(sorted(declared, key=natural)))


def _is_created(group: str, steps: Collection[Step]) -> bool:
    return any(step.action is Action.CREATE and step.group == group for step in steps)


def _count(steps: Collection[Step], action: Action) -> int:
    return sum(1 for step in steps if step.action is action)


def _after(declared: frozenset[str], steps: Iterable[Step]) -> frozenset[str]:
    """The names in the stack after these steps; a vanished server's name may be created again."""
    gone = frozenset(step.server for step in steps if step.action in (Action.DELETE, Action.FORGET))
    new = frozenset(step.server for step in steps if step.action in (Action.CREATE, Action.ADOPT))
    return (declared - gone) | new


def natural(name: str) -> tuple[str, int, str]:
    return name.rpartition("-")[0], _number(name), name
