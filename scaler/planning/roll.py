"""Rolls: which servers are old, what a wave is, and when it is over. Pure.

A wave's new servers are counted beside the wanted ones until they are ready, healthy and baked; then they count, and
as many old ones are surplus. So each plan follows from the roll's record and the world, whatever was killed before.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import field, replace
from datetime import datetime, timedelta

from scaler.model import Group, Server, World
from scaler.model.lifecycle import DEAD, Status
from scaler.model.roll import Pace, Roll, RollState, RollTarget
from scaler.planning.names import natural
from scaler.planning.schedule import next_wave
from scaler.planning.template import Current, outdated
from scaler.support.values import dataclass

ROLLED_BACK = "it is rolled back"
"""Why a roll back replaces a server."""

_FAILED = DEAD | {Status.UNHEALTHY, Status.STOPPED}
"""The statuses of a new server that end its roll."""


def digest_of(group: Group) -> str:
    """Return a hash of what a new server of a group has by the spec, its image apart."""
    fields = (
        group.types,
        group.locations,
        sorted(group.ssh_keys),
        group.user_data,
        sorted(group.networks),
        sorted(group.firewalls),
        group.vpc,
    )
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A group at one moment, as its roll sees it."""

    group: Group
    world: World
    current: Current = field(default_factory=Current)
    """What a new server has now; unknown where it was not looked up."""
    protected: frozenset[str] = frozenset()

    @property
    def servers(self) -> dict[str, Server]:
        """Return the group's servers that are not set aside, by name."""
        return {
            name: server
            for name, server in self.world.servers.items()
            if server.group == self.group.name and not server.set_aside
        }

    @property
    def is_leaving(self) -> bool:
        """Return whether servers of the group are on their way out."""
        return any(_is_leaving(server) for server in self.servers.values())

    def members(self, roll: Roll) -> dict[str, Server]:
        """Return the new servers of the roll's wave that are there."""
        return {
            name: server
            for name, server in self.servers.items()
            if name in roll.wave and server.image in (None, *roll.target.images) and not _is_leaving(server)
        }

    def old(self, roll: Roll) -> dict[str, str]:
        """Return the servers that the roll is to replace, and why."""
        members = self.members(roll)
        return {
            name: why
            for name, server in self.servers.items()
            if name not in members and name not in self.protected and not _is_leaving(server)
            if (why := self._why_old(roll, server))
        }

    def _why_old(self, roll: Roll, server: Server) -> str | None:
        if roll.undoes:
            return ROLLED_BACK if roll.undone.get(server.name) == server.id else None
        if roll.accepted.get(server.name) == server.id:
            return None
        current = replace(self.current, images=roll.target.images)
        return outdated(self.group, self.world.machines[server.name], current, roll.since)


def begin(scene: Scene, pace: Pace) -> Roll | None:
    """Return the roll that makes a group as the spec says now; None if no server is outdated."""
    target = RollTarget(images=scene.current.images, digest=digest_of(scene.group))
    roll = Roll(since=scene.world.at, target=target, pace=pace)
    old = scene.old(roll)
    if not old:
        return None
    images = Counter(image for name in sorted(old) if (image := scene.servers[name].image))
    return replace(roll, good=max(images, key=lambda image: images[image], default=None))


def by_itself(roll: Roll | None, scene: Scene, pace: Pace) -> Roll | None:
    """Return the roll of a group that is rolled without anybody asking: the one that goes on, or a new one.

    None where no server is outdated. A template that failed, or that was taken back or abandoned, is not begun again.
    """
    target = RollTarget(images=scene.current.images, digest=digest_of(scene.group))
    if not target.images or (roll and roll.refused == target):
        return roll
    if roll is None or not roll.is_rolling:
        return begin(scene, pace) or roll
    if roll.undoes or (is_current(roll, scene.group) and (roll.waves or roll.target == target)):
        return roll
    # Servers as they were meant are not wanted any more.
    return begin(scene, pace) or replace(roll, state=RollState.ABANDONED, size=0)


def back(roll: Roll, scene: Scene, pace: Pace) -> Roll | None:
    """Return the roll that takes another one back; None if none of its new servers is there."""
    servers = scene.servers
    made = {**roll.accepted, **{name: server.id or "" for name, server in scene.members(roll).items()}}
    undone = {name: known for name, known in made.items() if name in servers and servers[name].id == known}
    if not undone or roll.good is None:
        return None
    return Roll(
        since=scene.world.at,
        target=RollTarget(images=frozenset({roll.good}), digest=digest_of(scene.group)),
        pace=replace(pace, canary=0),
        good=roll.good,
        undoes=roll.target,
        undone=undone,
    )


def advance(roll: Roll, scene: Scene, wanted: int) -> Roll:
    """Return the roll as it stands in this world: its wave may have failed, or be over."""
    if not roll.is_rolling or not roll.size:
        return roll
    members = scene.members(roll)
    bad = [server for server in members.values() if server.status in _FAILED]
    if bad:
        return replace(roll, state=RollState.FAILED, size=0, error=f"{bad[0].name} is {_trouble(bad[0])}")
    if len(members) < _needed(roll, scene, wanted) or not all(
        _is_baked(server, roll.pace.bake, scene) for server in members.values()
    ):
        return roll
    accepted = {name: server.id or "" for name, server in members.items()}
    return replace(roll, size=0, ahead=0, wave=frozenset(), accepted={**roll.accepted, **accepted})


def _needed(roll: Roll, scene: Scene, wanted: int) -> int:
    """Return how many new servers the open wave is to have: fewer than its size where less is wanted by now."""
    left = len(scene.members(roll)) + len(scene.old(roll)) + roll.ahead
    return min(roll.size, left, wanted + roll.size - roll.ahead) if wanted else 0


def baked_at(roll: Roll, scene: Scene) -> datetime | None:
    """Return when the new servers of the open wave may have baked; None if not all of them are ready."""
    members = scene.members(roll).values()
    if not roll.is_rolling or not roll.size or not members or not all(server.running for server in members):
        return None
    until, policy = max(server.since for server in members) + roll.pace.bake, scene.group.healthy
    if policy is None or all(_is_healthy(server, scene) for server in members):
        return until
    return max(until, scene.world.at + policy.every)


def _is_baked(server: Server, bake: timedelta, scene: Scene) -> bool:
    """Return whether a server has been ready for so long, and is healthy now."""
    return server.running and scene.world.at - server.since >= bake and _is_healthy(server, scene)


def _is_healthy(server: Server, scene: Scene) -> bool:
    """Return whether the last check of a server passed, and no other one is due; a group without checks is healthy.

    A check that came back from no server of the group says nothing.
    """
    policy, health = scene.group.healthy, server.health
    if policy is None:
        return True
    return health is not None and not health.failures and scene.world.at - health.checked < policy.every


def open_wave(roll: Roll, scene: Scene, wanted: int, room: int | None) -> Roll:
    """Return the roll with its next wave open, or done if no old server is left.

    It stays as it is while a wave is open or servers are on their way out, and where there is no room: `room` is how
    many machines more there may be; None: any number.
    """
    if not roll.is_rolling or roll.size or scene.is_leaving:
        return roll
    old = scene.old(roll)
    if not old:
        return replace(roll, state=RollState.DONE)
    # Old ones that are too many anyway, as after a kill between a wave and its deletions, need no successor.
    left = len(old) - max(0, sum(server.counts for server in scene.servers.values()) - wanted)
    wave = next_wave(roll.pace, begun=roll.waves, left=left, wanted=wanted, room=room)
    if wave is None:
        return roll
    return replace(roll, waves=roll.waves + 1, size=wave.size, ahead=wave.ahead, wave=frozenset(), held="")


def left_to_replace(roll: Roll, scene: Scene, wanted: int) -> int:
    """Return how many servers the roll is still to replace, those of its open wave included.

    Old ones that are too many anyway, as after a kill between a wave and its deletions, need no successor; those that
    went ahead of their wave do, and so do wanted ones that are yet to be made from the image of before.
    """
    members = scene.members(roll)
    counting = sum(server.counts and name not in members for name, server in scene.servers.items())
    missing = wanted - counting
    if missing > 0:
        missing = min(missing, roll.ahead) if roll.ahead else missing * bool(_image_beside(roll, scene.current.images))
    return len(scene.old(roll)) + missing


def note_replaced(roll: Roll, scene: Scene, leaving: Iterable[str], created: Collection[str]) -> Roll:
    """Return the roll with what a plan does: the old servers that leave, and the new ones of the wave."""
    old = scene.old(roll)
    going = {name: scene.servers[name].image or "" for name in leaving if name in old}
    wave = frozenset({*scene.members(roll), *created}) if roll.size else roll.wave
    if wave == roll.wave and not going.keys() - roll.replaced.keys():
        return roll
    return replace(roll, replaced={**roll.replaced, **going}, wave=wave)


def beside(roll: Roll, scene: Scene, recorded: int | None) -> int:
    """Return how many servers that count are there for the roll alone; `recorded` is how many are wanted.

    Those are the new ones of its open wave, or of one that failed, and old ones that are about to go.
    """
    counting = [name for name, server in scene.servers.items() if server.counts or server.unhealthy]
    members = sum(name in scene.members(roll) for name in counting)
    if not roll.is_rolling:
        return 0 if roll.state is RollState.DONE else members
    new = min(members, roll.size) - roll.ahead
    return new if recorded is None else max(new, len(counting) - recorded)


@dataclass(frozen=True, kw_only=True)
class Part:
    """What a roll changes in the plan of its group."""

    members: frozenset[str] = frozenset()
    """New servers of the open wave: they do not count yet."""
    failed: frozenset[str] = frozenset()
    """New servers of a wave that failed or was abandoned: they are to go."""
    ahead: int = 0
    """So many servers fewer are wanted while the wave is open."""
    create: int = 0
    """So many servers are to be created for the wave."""
    target: str | None = None
    """The image of the wave's servers, where it is not the one of the spec."""
    image: str | None = None
    """The image of all other new servers, where it is not the one of the spec."""
    is_back: bool = False
    """Whether the wave is of a roll that takes another one back."""
    old: Mapping[str, str] | None = None
    """Servers that go before others, and why; None: those that are outdated by the spec."""


def part_of(roll: Roll | None, scene: Scene, wanted: int, most: int | None = None) -> Part:
    """Return what a roll changes in the plan of its group; `most` is how many machines the stack may have."""
    if roll is None:
        return Part()
    image = _image_beside(roll, scene.current.images)
    members = scene.members(roll)
    if not roll.is_rolling:
        is_ended_early = roll.state in (RollState.FAILED, RollState.ABANDONED)
        return Part(failed=frozenset(members) if is_ended_early else frozenset(), image=image)
    old = scene.old(roll)
    if not roll.size or not wanted:
        return Part(image=image, old=old)
    ahead = min(roll.ahead, wanted)
    room = wanted + roll.size - roll.ahead - len(scene.servers)
    if most is not None:
        room = min(room, most - len(scene.world.machines))
    needed = _needed(roll, scene, wanted)
    return Part(
        # Those beyond them count: they were added meanwhile, of the same template, or fewer are needed by now.
        members=frozenset(sorted(members, key=natural)[:needed]),
        ahead=ahead,
        create=max(0, min(needed - len(members), room)) if is_current(roll, scene.group) else 0,
        target=None if scene.current.images == roll.target.images else image_id(roll.target.images),
        image=image,
        is_back=roll.undoes is not None,
        old=old,
    )


def is_current(roll: Roll, group: Group) -> bool:
    """Return whether the spec still says what the roll's target is, the image apart."""
    return roll.target.digest == digest_of(group)


def image_id(images: Collection[str]) -> str:
    """Return the id of an image of this id and name; a name, where the cloud tells no number."""
    return next((image for image in sorted(images) if image.isdigit()), min(images))


def _image_beside(roll: Roll, current: Collection[str]) -> str | None:
    """Return the image of servers that are added beside a wave; None: the one of the spec."""
    if roll.good is None or roll.good in current or not roll.avoided:
        return None
    # By their ids: snapshots share names.
    is_avoided = roll.is_rolling or not current or image_id(roll.avoided) == image_id(current)
    return roll.good if is_avoided else None


def _is_leaving(server: Server) -> bool:
    return server.drain is not None or server.status in (Status.STOPPING, Status.DELETING)


def _trouble(server: Server) -> str:
    return f"{server.status}: {server.error}" if server.error else str(server.status)
