"""What is left of the rolls of a run, for those who read its plan, and how much room there is for a surge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from scaler.converge.knowledge import Knowledge
from scaler.converge.rolls import scene_of
from scaler.model import Group, Price, Server
from scaler.model.roll import Roll
from scaler.model.schedule import Repriced, RollSchedule, Wave
from scaler.planning import prices
from scaler.planning.roll import Scene, left_to_replace
from scaler.planning.schedule import WaveSize, cost_of_roll, surge_with, usual, waves_of
from scaler.support.values import dataclass


@dataclass(frozen=True, kw_only=True)
class Leeway:
    """What the stack's limits leave to a roll."""

    room: int | None = None
    """How many machines more there may be at any time; None: any number."""
    why: str = ""
    """What allows no more."""
    is_too_dear: bool = False
    """Whether the group costs more than the budget when all is new, however it is rolled."""


def leeway_of(knowledge: Knowledge, name: str) -> Leeway:
    """Return what the limit, the account's quota and the budget leave to the roll of a group, to its end."""
    spec, there = knowledge.spec, max(len(knowledge.world.machines), sum(knowledge.wanted.values()))
    found = [_leeway_of_budget(knowledge, name)]
    if spec.limit is not None:
        found.append(Leeway(room=spec.limit - there, why=f"the limit is {spec.limit}, with {there} wanted or there"))
    if knowledge.advice.most is not None:
        most = knowledge.advice.most
        found.append(Leeway(room=most - there, why=f"the account allows {most}, with {there} wanted or there"))
    bounded = [each for each in found if each.room is not None]
    return min(bounded, key=lambda each: (not each.is_too_dear, each.room), default=Leeway())


def _leeway_of_budget(knowledge: Knowledge, name: str) -> Leeway:
    budget, new = knowledge.spec.budget, _price_of_new(knowledge, name)
    roll = knowledge.orders.rolls.get(name)
    if budget is None or new is None or not new.per_month or roll is None:
        return Leeway()
    scene = scene_of(knowledge, name)
    before = _months(knowledge, knowledge.world.servers.values())
    old = [scene.servers[each] for each in scene.old(roll)]
    after = before - _months(knowledge, old) + len(old) * new.per_month
    if after > budget and after > before:
        why = f"when all are new the stack costs {new.currency} {after:.2f} a month, and its budget is {budget}"
        return Leeway(room=0, why=why, is_too_dear=True)
    room = int((budget - max(before, after)) // new.per_month)
    return Leeway(room=max(0, room), why=f"the budget is {new.currency} {budget} a month")


def schedules_of(
    groups: Collection[str],
    knowledge: Knowledge,
    boots: Mapping[str, Sequence[timedelta]],
    removals: Mapping[str, Sequence[timedelta]],
) -> tuple[RollSchedule, ...]:
    """Return the schedules of the rolls of these groups that go on."""
    rolls = {name: knowledge.orders.rolls[name] for name in groups if name in knowledge.orders.rolls}
    return tuple(
        _schedule(knowledge, name, roll, usual(boots.get(name, ())), usual(removals.get(name, ())))
        for name, roll in rolls.items()
        if roll.is_rolling
    )


def _schedule(
    knowledge: Knowledge, name: str, roll: Roll, boot: timedelta | None, removal: timedelta | None
) -> RollSchedule:
    wanted, scene, leeway = knowledge.wanted.get(name, 0), scene_of(knowledge, name), leeway_of(knowledge, name)
    left = left_to_replace(roll, scene, wanted)
    sizes = waves_of(
        roll.pace,
        begun=roll.waves,
        left=left if wanted else 0,
        wanted=wanted,
        room=leeway.room,
        open_wave=WaveSize(roll.size, roll.ahead) if roll.size else None,
    )
    there = sum(knowledge.wanted.values())
    schedule = RollSchedule(
        group=name,
        outdated=left,
        waves=tuple(
            Wave(
                size=wave.size,
                ahead=wave.ahead,
                most=there + wave.size - wave.ahead,
                fewest=max(0, wanted - wave.ahead),
            )
            for wave in sizes
        ),
        boot=boot,
        bake=roll.pace.bake,
        removal=removal,
        limited=leeway.why if surge_with(roll.pace, leeway.room) < roll.pace.surge else "",
        held=roll.held,
    )
    new = _price_of_new(knowledge, name)
    if new is None:
        return schedule
    by_the_hour = knowledge.spec.cloud == "hetzner"
    before = [price for _, price in _prices_now(knowledge, scene)]
    cost = cost_of_roll(schedule, before, new, wanted, by_the_hour=by_the_hour)
    return replace(schedule, cost=replace(cost, repriced=_repriced(knowledge, roll, scene)))


def _price_of_new(knowledge: Knowledge, name: str) -> Price | None:
    """Return the list price of a new server where its group tries first; None if that is not known."""
    group, catalogue = knowledge.spec.groups[name], knowledge.catalogue
    if catalogue is None:
        return None
    places = _places(group)
    return next((price for place in places if (price := prices.price_of(catalogue, place))), None)


def _places(group: Group) -> list[prices.Priced]:
    return [prices.Priced(kind, place, group.public_ipv4) for place in group.locations for kind in group.types]


def _prices_now(knowledge: Knowledge, scene: Scene) -> list[tuple[Server, Price]]:
    """Return what the group's servers cost: by their records, where the cloud keeps a price of before."""
    keeps_prices = knowledge.catalogue is not None and knowledge.catalogue.keeps_prices
    found = (
        (server, server.price if keeps_prices and server.price else _listed(knowledge, server))
        for server in scene.servers.values()
        if server.counts
    )
    return [(server, price) for server, price in found if price]


def _repriced(knowledge: Knowledge, roll: Roll, scene: Scene) -> tuple[Repriced, ...]:
    """Return the old servers of the roll for which a new one of their type costs something else."""
    old, listed = scene.old(roll), {server.name: _listed(knowledge, server) for server in scene.servers.values()}
    counts = Counter(
        (server.type or "", server.location or "", price.per_month, new.per_month)
        for server, price in _prices_now(knowledge, scene)
        if server.name in old and server.type in scene.group.types
        if (new := listed[server.name]) and new.currency == price.currency and new.per_month != price.per_month
    )
    return tuple(
        Repriced(
            servers=count,
            type=kind,
            location=location,
            per_month_before=float(before or 0),
            per_month_after=float(after or 0),
        )
        for (kind, location, before, after), count in sorted(counts.items(), key=lambda each: each[0][:2])
    )


def _months(knowledge: Knowledge, servers: Collection[Server]) -> Decimal:
    """Return what servers cost a month, by the list."""
    found = (_listed(knowledge, server) for server in servers if server.counts)
    return sum((price.per_month or Decimal(0) for price in found if price), Decimal(0))


def _listed(knowledge: Knowledge, server: Server) -> Price | None:
    return prices.price_of(knowledge.catalogue, prices.existing(server)) if knowledge.catalogue else None
