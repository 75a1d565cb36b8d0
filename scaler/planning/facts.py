"""What a plan is made from."""

from __future__ import annotations

from collections.abc import Mapping

from scaler.model import Spec, World
from scaler.planning.advice import Advice
from scaler.planning.template import Current, outdated
from scaler.support.values import dataclass


@dataclass(frozen=True)
class Facts:
    """What a plan is made from."""

    spec: Spec
    world: World
    advice: Advice
    outdated: Mapping[str, str]
    """Servers that are not as a new one would be, and in what; sorted by name."""
    orphans: frozenset[str]
    """Servers that are in no state, or were in none when the run began."""

    @classmethod
    def of(cls, spec: Spec, world: World, advice: Advice) -> Facts:
        """Work out what follows from the three."""
        return cls(spec, world, advice, _outdated(spec, world, advice), world.orphans | advice.adopted)


def _outdated(spec: Spec, world: World, advice: Advice) -> dict[str, str]:
    found = {
        name: outdated(
            spec.groups[server.group], world.machines[name], advice.current.get(server.group, Current()), world.at
        )
        for name, server in world.servers.items()
        if server.group in spec.groups and not server.set_aside
    }
    return {name: why for name, why in sorted(found.items()) if why}
