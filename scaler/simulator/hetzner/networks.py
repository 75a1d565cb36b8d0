"""Networks and their subnets."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from scaler.simulator.call import ApiError, Call, Reply
from scaler.simulator.hetzner.actions import act, settle
from scaler.simulator.hetzner.catalogue import LOCATIONS
from scaler.simulator.hetzner.replies import get, invalid, labels_asked_for, new_name, shapes
from scaler.simulator.hetzner.shapes import Json
from scaler.simulator.things import Thing

Address = ipaddress.IPv4Address
Range = ipaddress.IPv4Network

_PRIVATE = tuple(map(Range, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
"""RFC 1918."""

_PUBLIC_GATEWAY = Address("172.31.1.1")
"""Each server's gateway on its public interface: no route leads to it (the vendor's document of `add_route`)."""

MOST_NETWORKS = 3
"""Of one server (an employee in hetzneronline/community-content#946)."""

_SMALLEST_NETWORK, _SMALLEST_SUBNET = 24, 30
_SUBNET_TYPES = ("cloud", "server", "vswitch")


def parse_range(text: object, smallest: int = _SMALLEST_NETWORK) -> Range:
    """A range of private addresses, such as 10.0.0.0/16."""
    if not isinstance(text, str) or "/" not in text:
        raise invalid("ip_range", "invalid ip range")
    try:
        found = Range(text)
    except ValueError as error:
        raise invalid("ip_range", "invalid ip range") from error
    if found.prefixlen > smallest or not any(found.subnet_of(private) for private in _PRIVATE):
        raise invalid("ip_range", f"must be a private range of /{smallest} or larger")
    return found


def create_network(call: Call) -> Reply:
    """Add a network."""
    ip_range = str(parse_range(call.fields.get("ip_range")))
    body: Json = {
        "ip_range": ip_range,
        "labels": labels_asked_for(call),
        "subnets": [],
        "routes": [],
        "expose_routes_to_vswitch": bool(call.fields.get("expose_routes_to_vswitch")),
    }
    for subnet in call.fields.get("subnets") or ():
        body["subnets"].append(_subnet(body, subnet))
    for route in call.fields.get("routes") or ():
        body["routes"].append(_free_route(body, route))
    network = call.world.add("hetzner", "network", new_name(call, "network"), body)
    return Reply({"network": shapes(call).network(network)}, 201)


def _subnet(network: Json, wanted: Json) -> Json:
    outer = Range(network["ip_range"])
    ip_range = parse_range(wanted.get("ip_range") or _free_range(network), _SMALLEST_SUBNET)
    if not ip_range.subnet_of(outer):
        raise invalid("ip_range", "the subnet must be within the network's ip range")
    if any(ip_range.overlaps(Range(other["ip_range"])) for other in network["subnets"]):
        raise invalid("ip_range", "the subnet must not overlap with another one")
    if wanted.get("type") not in _SUBNET_TYPES:
        raise invalid("type", f"must be one of {', '.join(_SUBNET_TYPES)}")
    zone = wanted.get("network_zone")
    if zone not in {location.network_zone for location in LOCATIONS.values()}:
        raise invalid("network_zone", f"there is no network zone '{zone}'")
    if any(other["network_zone"] != zone for other in network["subnets"]):
        raise invalid("network_zone", "all subnets of a network must be in the same network zone")
    if (wanted["type"] == "vswitch") != (wanted.get("vswitch_id") is not None):
        raise invalid("vswitch_id", "is for a subnet of the type vswitch, and needed there")
    subnet = {"type": wanted["type"], "ip_range": str(ip_range), "network_zone": zone}
    return {**subnet, "gateway": str(outer.network_address + 1), "vswitch_id": wanted.get("vswitch_id")}


def _free_range(network: Json) -> str:
    """The first free /24 of a network, for a subnet without a range of its own."""
    outer, taken = Range(network["ip_range"]), [Range(subnet["ip_range"]) for subnet in network["subnets"]]
    free = (each for each in outer.subnets(new_prefix=_SMALLEST_NETWORK) if not any(map(each.overlaps, taken)))
    return str(next(free, outer))


def add_subnet(call: Call) -> Reply:
    """Add a subnet to a network."""
    network = get(call, "network")
    network.body["subnets"].append(_subnet(network.body, call.fields))
    return _changed(call, network, "add_subnet")


def protect_network(call: Call) -> Reply:
    """Protect a network against deletion."""
    network = get(call, "network")
    network.body["protected"] = bool(call.fields.get("delete"))
    return _changed(call, network, "change_protection")


def change_ip_range(call: Call) -> Reply:
    """Give a network a larger range: it begins where it began, and only its netmask changes (the vendor's document)."""
    network, wanted = get(call, "network"), parse_range(call.fields.get("ip_range"))
    current = Range(network.body["ip_range"])
    if wanted.network_address != current.network_address or wanted.prefixlen > current.prefixlen:
        raise invalid("ip_range", "ip range can only be extended, by its netmask")
    network.body["ip_range"] = str(wanted)
    return _changed(call, network, "change_ip_range")


def add_route(call: Call) -> Reply:
    """Add a route to a network."""
    network = get(call, "network")
    network.body["routes"] = [*network.body.get("routes", ()), _free_route(network.body, call.fields)]
    return _changed(call, network, "add_route")


def delete_route(call: Call) -> Reply:
    """Take a route out of a network."""
    network, route = get(call, "network"), _route(call.fields)
    if route not in network.body.get("routes", ()):
        raise invalid("destination", "route not found")
    network.body["routes"] = [other for other in network.body["routes"] if other != route]
    return _changed(call, network, "delete_route")


def _free_route(network: Json, wanted: Json) -> Json:
    """A route that overlaps with none, and with no subnet (hcloud-cloud-controller-manager PR#577, cli#826).

    The one to everywhere is beside all others.
    """
    route = _route(wanted)
    destination, gateway = Range(route["destination"]), Address(route["gateway"])
    others = [Range(each["destination"]) for each in network.get("routes", ())]
    others += [Range(subnet["ip_range"]) for subnet in network["subnets"]]
    if any(destination.overlaps(other) and bool(other.prefixlen) == bool(destination.prefixlen) for other in others):
        raise invalid("destination", "network route destination overlaps with another subnetwork or network route")
    outer = Range(network["ip_range"])
    if gateway not in outer or gateway in (outer.network_address + 1, _PUBLIC_GATEWAY):
        raise invalid("gateway", "invalid gateway")
    return route


def _route(wanted: Json) -> Json:
    destination, gateway = wanted.get("destination"), wanted.get("gateway")
    try:
        return {"destination": str(Range(destination or "")), "gateway": str(Address(gateway or ""))}
    except ValueError as error:
        raise invalid("destination", "destination must be an ip range, and gateway an ip") from error


def delete_subnet(call: Call) -> Reply:
    """Take a subnet out of a network, if no server has an address in it."""
    network, ip_range = get(call, "network"), call.fields.get("ip_range")
    subnet = next((each for each in network.body["subnets"] if each["ip_range"] == ip_range), None)
    if subnet is None:
        raise invalid("ip_range", "subnet not found")
    hosts = Range(subnet["ip_range"])
    nets = (net for server in call.world.held("hetzner", "server") for net in server.body.get("private_net", ()))
    if any(net["network"] == network.id and Address(net["ip"]) in hosts for net in nets):
        raise ApiError(409, "conflict", "subnet is still in use")
    network.body["subnets"].remove(subnet)
    return _changed(call, network, "delete_subnet")


def delete_network(call: Call) -> Reply:
    """Delete a network: its servers are detached from it (the vendor's document)."""
    network = get(call, "network")
    if network.body.get("protected"):
        raise ApiError(423, "protected", "network deletion is protected")
    for server in call.world.servers():
        nets = server.body.get("private_net", [])
        server.body["private_net"] = [net for net in nets if net["network"] != network.id]
        if len(server.body["private_net"]) != len(nets):
            call.world.save(server)
    call.world.remove(network)
    return Reply(status=204)


def _changed(call: Call, network: Thing, command: str) -> Reply:
    action = settle(call, act(call, command, 0.0, others=[{"id": network.id, "type": "network"}]), network)
    return Reply({"action": shapes(call).action(action)}, 201)


def subnets_of(network: Thing, location: str, ip_range: str | None = None) -> list[Json]:
    """The subnets in which a server at a location can get its address, or the one of that range among them.

    A vSwitch's addresses are those of dedicated servers.
    """
    zone = LOCATIONS[location].network_zone
    return [
        subnet
        for subnet in network.body["subnets"]
        if subnet["network_zone"] == zone and subnet["type"] != "vswitch" and ip_range in (None, subnet["ip_range"])
    ]


def join(call: Call, network: Thing, body: Json, *, at: float = 0.0, ask: Json | None = None) -> None:
    """Give a server an address in a network, from a moment on: the one that `ask` names, or the first free one.

    `ask` may have `ip`, and `ip_range`, which is that of a subnet.
    """
    _check_apart(call, network, body)
    wanted = ask or {}
    subnets = subnets_of(network, body["location"], wanted.get("ip_range"))
    if not subnets:
        raise ApiError(422, "service_error", "no subnet or IP available")
    taken = _addresses(call, network)
    ip = _parse_ip(wanted["ip"]) if wanted.get("ip") else _first_free(subnets, taken)
    if wanted.get("ip"):
        if not any(ip in Range(subnet["ip_range"]) for subnet in subnets):
            raise invalid("ip", "ip is not in the network's subnet")
        if str(ip) in taken:
            raise ApiError(422, "ip_not_available", "ip is not available")
    number = int(ip)
    mac = f"86:00:00:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
    body["private_net"] = [
        *body.get("private_net", ()),
        {"network": network.id, "ip": str(ip), "alias_ips": [], "mac_address": mac, "attached_at": at},
    ]


def _check_apart(call: Call, network: Thing, body: Json) -> None:
    """Refuse a network that a server is in already, or whose addresses are those of another one that it is in."""
    others = [call.world.get("hetzner", "network", net["network"]) for net in body.get("private_net", ())]
    if any(other and other.id == network.id for other in others):
        raise ApiError(422, "server_already_attached", "server is already attached to network")
    if len(others) >= MOST_NETWORKS:
        raise invalid("network", f"a server can have at most {MOST_NETWORKS} networks")
    own = Range(network.body["ip_range"])
    if any(other and own.overlaps(Range(other.body["ip_range"])) for other in others):
        raise ApiError(422, "networks_overlap", "the network's ip range overlaps with one of the server's networks")


def alias_ips(call: Call, network: Thing, body: Json) -> list[str]:
    """The alias addresses that the request names: in the network's subnets, and free or the server's already."""
    wanted = [_parse_ip(text) for text in call.fields.get("alias_ips") or ()]
    subnets = [Range(subnet["ip_range"]) for subnet in network.body["subnets"]]
    if not all(any(ip in subnet for subnet in subnets) for ip in wanted):
        raise invalid("alias_ips", "ip is not in the network's subnet")
    own = {ip for net in body["private_net"] if net["network"] == network.id for ip in net["alias_ips"]}
    here = {net["ip"] for net in body["private_net"] if net["network"] == network.id}
    texts = list(dict.fromkeys(map(str, wanted)))
    if set(texts) & ((_addresses(call, network) | here) - own):
        raise ApiError(422, "ip_not_available", "ip is not available")
    return texts


def _addresses(call: Call, network: Thing) -> set[str]:
    """The addresses that are taken: the gateway's, and those of servers that are there or being deleted."""
    nets = (net for server in call.world.held("hetzner", "server") for net in server.body.get("private_net", ()))
    of_servers = {ip for net in nets if net["network"] == network.id for ip in (net["ip"], *net["alias_ips"])}
    return of_servers | {subnet["gateway"] for subnet in network.body["subnets"]}


def _first_free(subnets: Sequence[Json], taken: set[str]) -> Address:
    for subnet in subnets:
        for host in Range(subnet["ip_range"]).hosts():
            if str(host) not in taken:
                return host
    raise ApiError(422, "service_error", "no subnet or IP available")


def _parse_ip(text: str) -> Address:
    try:
        return Address(text)
    except ValueError as error:
        raise invalid("ip", "invalid ip") from error
