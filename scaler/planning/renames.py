"""Groups that look renamed: the spec does not have the old name, and the new one has no servers yet. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from scaler.model import Group, Server, Spec, World
from scaler.model.lifecycle import Status
from scaler.model.ownership import TEMPLATE
from scaler.planning.template import fingerprint


def renamed_groups(spec: Spec, world: World, wanted: Mapping[str, int]) -> dict[str, str]:
    """Return old name → new name: groups with the same count, image, or user data and keys.

    The servers of the old group go, and new ones are created: a server cannot change its group.
    """
    members: dict[str, list[Server]] = {}
    for server in world.servers.values():
        if server.status is not Status.DELETING and not server.set_aside:
            members.setdefault(server.group, []).append(server)
    unused = [group for name, group in spec.groups.items() if name not in members]
    renamed = {}
    for old in sorted(members.keys() - spec.groups.keys()):
        likeness = {group.name: _likeness(group, members[old], world, wanted) for group in unused}
        new = max(likeness, key=lambda name: likeness[name], default=None)
        if new and likeness[new]:
            renamed[old] = new
            unused = [group for group in unused if group.name != new]
    return renamed


def _likeness(group: Group, servers: list[Server], world: World, wanted: Mapping[str, int]) -> int:
    """Return in how many respects a group without servers is like the one that these servers are of."""
    template = fingerprint(group)
    return sum(
        (
            len(servers) in (group.count, wanted.get(group.name)),
            any(server.image == group.image.value for server in servers),
            all(world.machines[server.name].labels.get(TEMPLATE) == template for server in servers),
        )
    )
