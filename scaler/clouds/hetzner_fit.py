"""What Hetzner refuses of a server for the networks, firewalls and placement group that it names. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from itertools import combinations

from hcloud.networks import BoundNetwork, NetworkSubnet
from hcloud.placement_groups import BoundPlacementGroup

from scaler.clouds.errors import UnfitError
from scaler.clouds.facts import Room
from scaler.model import PLACED_TOGETHER

MOST_NETWORKS = 3
"""Of one server (an employee in hetzneronline/community-content#946)."""

MOST_FIREWALLS = 5
"""Of one server (the vendor's document, `apply_to_resources`)."""


def check_together(networks: Sequence[BoundNetwork], firewalls: Sequence[str]) -> None:
    """Refuse more networks or firewalls than one server can have, and networks whose addresses overlap."""
    for kind, named, most in (("networks", networks, MOST_NETWORKS), ("firewalls", firewalls, MOST_FIREWALLS)):
        if len(named) > most:
            raise UnfitError(
                f"A server cannot have {len(named)} {kind}.",
                why=f"at Hetzner Cloud it has at most {most}",
                fix=f"Name at most {most} {kind} in the spec.",
            )
    for one, other in combinations(networks, 2):
        if _range(one.ip_range).overlaps(_range(other.ip_range)):
            raise UnfitError(
                f"A server cannot be in both networks {one.name} and {other.name}.",
                why=f"their addresses overlap: {one.ip_range} and {other.ip_range}",
                fix="Remove one of them from the spec.",
            )


def check_zone(network: BoundNetwork, location: str, zone: str) -> None:
    """Refuse a network without a subnet for servers in the zone of a location; no zone: it is not known."""
    zones = {str(subnet.network_zone) for subnet in _subnets(network)}
    if zone in zones or (zones and not zone):
        return
    why = (
        f"{location} is in the zone {zone}, and its subnets are in {', '.join(sorted(zones))}"
        if zones
        else "it has no subnet for servers"
    )
    raise UnfitError(
        f"Servers in {location} cannot be in the network {network.name}.",
        why=why,
        fix=f"Give the network a subnet in the zone of {location}, or name another network or location in the spec.",
    )


def room_of_group(group: BoundPlacementGroup) -> Room:
    """Return how many servers a placement group can have."""
    return Room(
        kind="placement_group",
        id=str(group.id),
        name=str(group.name),
        most=PLACED_TOGETHER,
        members=frozenset(map(str, group.servers or ())),
        why=f"a placement group at Hetzner Cloud has at most {PLACED_TOGETHER} servers",
    )


def room_of_network(network: BoundNetwork, zone: str) -> Room:
    """Return how many servers a network has addresses for: each server takes one, and more if it has aliases.

    All subnets of a network are in one zone (docs.hetzner.com/cloud/networks/faq), and so are all its servers.
    """
    gateway = _range(network.ip_range).network_address + 1
    ranges = [_range(subnet.ip_range) for subnet in _subnets(network) if zone in ("", subnet.network_zone)]
    # Without the range's own first address and its broadcast address.
    addresses = sum(max(0, subnet.num_addresses - 2) - (gateway in subnet) for subnet in ranges)
    return Room(
        kind="network",
        id=str(network.id),
        name=str(network.name),
        most=addresses,
        members=frozenset(str(server.id) for server in network.servers or ()),
        why=f"its subnets {', '.join(map(str, ranges))} have {addresses} addresses for servers",
    )


def _subnets(network: BoundNetwork) -> list[NetworkSubnet]:
    """Return the subnets that servers can be in; a vSwitch's takes none."""
    return [subnet for subnet in network.subnets or () if subnet.type != NetworkSubnet.TYPE_VSWITCH]


def _range(text: str | None) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network(text or "0.0.0.0/32")
