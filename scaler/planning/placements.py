"""Where new servers can run: types and locations. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from scaler.model import Group, Placement, Server
from scaler.planning.advice import Advice


def placements(group: Group) -> list[Placement]:
    """Return the placements of a group, in the order in which they are tried."""
    return [(kind, location) for kind in group.types for location in group.locations]


def usable(group: Group, advice: Advice) -> list[Placement]:
    """Return the placements that are left to try, in their order."""
    return [
        place
        for place in placements(group)
        if place not in advice.exhausted and (group.name, place) not in advice.unfit
    ]


def choose_placements(
    group: Group, places: Sequence[Placement], existing: Iterable[Server], count: int
) -> list[Placement]:
    """Return a placement for each of `count` new servers, of `places`, beside the `existing` ones."""
    return _spread(places, existing, count) if group.spread else [places[0]] * count


def _spread(places: Sequence[Placement], existing: Iterable[Server], count: int) -> list[Placement]:
    """Take the location with the fewest servers each time, and the first type there."""
    first: dict[str, Placement] = {}
    for place in places:
        first.setdefault(place[1], place)
    servers_at = Counter(server.location for server in existing)
    chosen = []
    for _ in range(count):
        location = min(first, key=lambda name: servers_at[name])
        servers_at[location] += 1
        chosen.append(first[location])
    return chosen
