"""Whether new servers fit into placement groups and networks, which have room for some servers only. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import field

from scaler.clouds import Room
from scaler.errors import LimitError
from scaler.model import Action, Plan, Step, World
from scaler.planning.template import Templates
from scaler.support.values import dataclass


class NoRoomError(LimitError):
    """More servers are wanted than fit. `groups` are those whose servers were to be created."""

    def __init__(self, what: str, groups: Collection[str], *, why: str, fix: str, code: str) -> None:
        super().__init__(what, why=why, fix=fix, code=code)
        self.groups = groups


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What a plan has to do so that its new servers fit."""

    crowded: frozenset[str] = frozenset()
    """Groups whose new servers fit only when others of the same plan have left."""
    waiting: Mapping[str, int] = field(default_factory=dict)
    """By group: how many new servers fit only when draining ones are gone."""


def fit_into_rooms(plan: Plan, templates: Templates, world: World, first: World) -> Fit:
    """Return how the plan's new servers fit into what they are put into; NoRoomError if they do not.

    `first` is the world as the run found it: servers that came since are in no list of members yet.
    """
    crowded: set[str] = set()
    waiting: dict[str, int] = defaultdict(int)
    for room, creates in _by_room(plan, templates):
        groups = sorted({step.group for step in creates})
        members = _members(room, groups, world, first)
        too_many = len(members) + len(creates) - room.most
        leaving = {step.id or "": step.group for step in plan.steps if step.action is Action.DELETE}
        going = members & leaving.keys()
        draining = {machine for machine in members - going if _is_draining(machine, world)}
        if too_many > len(going) + len(draining):
            raise _full(room, groups, len(creates), len(members))
        if too_many > 0 and going:
            crowded |= {*groups, *(leaving[machine] for machine in going)}
        for step in creates[: max(0, too_many - len(going))]:
            waiting[step.group] += 1
    return Fit(crowded=frozenset(crowded), waiting=dict(waiting))


def _by_room(plan: Plan, templates: Templates) -> list[tuple[Room, list[Step]]]:
    """Return the rooms of the plan's new servers, each with the steps that create them."""
    rooms: dict[tuple[str, str], Room] = {}
    creates: dict[tuple[str, str], list[Step]] = defaultdict(list)
    for step in plan.steps:
        for room in templates.of(step).rooms if step.action is Action.CREATE else ():
            rooms[room.kind, room.id] = room
            creates[room.kind, room.id].append(step)
    return [(room, creates[key]) for key, room in rooms.items()]


def _members(room: Room, groups: Collection[str], world: World, first: World) -> set[str]:
    """Return the ids of the servers that a room has now: others', and this stack's that are there."""
    there = {machine.id for machine in world.machines.values()}
    ours = {machine.id for machine in first.machines.values()} | there
    new = {
        server.id
        for name, server in world.servers.items()
        if server.id in there and server.group in groups and name not in first.machines
    }
    return set(room.members - ours) | (room.members & there) | {machine for machine in new if machine}


def _is_draining(machine: str, world: World) -> bool:
    return any(server.id == machine and server.drain is not None for server in world.servers.values())


def _full(room: Room, groups: Collection[str], new: int, there: int) -> NoRoomError:
    """Return the refusal of servers that the cloud would refuse one by one, once the room is full."""
    left = max(0, room.most - there)
    return NoRoomError(
        f"{', '.join(groups)}: {new} more servers are too many for the {room.title}, which has room for {left}.",
        groups,
        why=f"{room.why}, and {there} are in it",
        fix=f"Ask for fewer, remove others from it, or name another {room.kind.replace('_', ' ')} in the spec.",
        code=f"{room.kind}_full",
    )
