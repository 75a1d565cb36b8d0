"""Networks and their subnets."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from scaler.simulator.call import ApiError, Call, Reply
from scaler.simulator.hetzner.actions import act
from scaler.simulator.hetzner.catalogue import LOCATIONS
from scaler.simulator.hetzner.replies import get, invalid, labels_asked_for, new_name, shapes
from scaler.simulator.hetzner.shapes import Json
from scaler.simulator.things import Thing

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Range = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_range(text: object) -> Range:
    """A range of addresses, such as 10.0.0.0/16."""
    if not isinstance(text, str) or "/" not in text:
        raise invalid("ip_range", "invalid ip range")
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise invalid("ip_range", "invalid ip range") from error


def _is_within(inner: str, outer: Range) -> bool:
    hosts = ipaddress.ip_network(inner, strict=False)
    return hosts.network_address in outer and hosts.broadcast_address in outer


def create_network(call: Call) -> Reply:
    """Add a network."""
    ip_range = str(parse_range(call.fields.get("ip_range")))
    body: Json = {
        "ip_range": ip_range,
        "labels": labels_asked_for(call),
        "subnets": [],
        "routes": call.fields.get("routes") or [],
        "expose_routes_to_vswitch": bool(call.fields.get("expose_routes_to_vswitch")),
    }
    body["subnets"] = [_subnet(body, subnet) for subnet in call.fields.get("subnets") or ()]
    network = call.world.add("hetzner", "network", new_name(call, "network"), body)
    return Reply({"network": shapes(call).network(network)}, 201)


def _subnet(network: Json, wanted: Json) -> Json:
    outer = ipaddress.ip_network(network["ip_range"])
    ip_range = str(parse_range(wanted.get("ip_range") or network["ip_range"]))
    if not _is_within(ip_range, outer):
        raise invalid("ip_range", "the subnet must be within the network's ip range")
    gateway = str(outer.network_address + 1)
    zone = wanted.get("network_zone", "eu-central")
    return {"type": wanted.get("type", "cloud"), "ip_range": ip_range, "network_zone": zone, "gateway": gateway}


def add_subnet(call: Call) -> Reply:
    """Add a subnet to a network."""
    network = get(call, "network")
    network.body["subnets"].append(_subnet(network.body, call.fields))
    call.world.save(network)
    action = act(call, "add_subnet", 0.0, others=[{"id": network.id, "type": "network"}])
    return Reply({"action": shapes(call).action(action)}, 201)


def protect_network(call: Call) -> Reply:
    """Protect a network against deletion."""
    network = get(call, "network")
    network.body["protected"] = bool(call.fields.get("delete"))
    return _changed(call, network, "change_protection")


def change_ip_range(call: Call) -> Reply:
    """Give a network a larger range, which its subnets and routes are in."""
    network, wanted = get(call, "network"), parse_range(call.fields.get("ip_range"))
    if not all(_is_within(subnet["ip_range"], wanted) for subnet in network.body["subnets"]):
        raise invalid("ip_range", "the subnets must be within the new ip range")
    network.body["ip_range"] = str(wanted)
    return _changed(call, network, "change_ip_range")


def add_route(call: Call) -> Reply:
    """Add a route to a network."""
    network = get(call, "network")
    network.body["routes"] = [*network.body.get("routes", ()), _route(call)]
    return _changed(call, network, "add_route")


def delete_route(call: Call) -> Reply:
    """Take a route out of a network."""
    network, route = get(call, "network"), _route(call)
    if route not in network.body.get("routes", ()):
        raise invalid("destination", "route not found")
    network.body["routes"] = [other for other in network.body["routes"] if other != route]
    return _changed(call, network, "delete_route")


def _route(call: Call) -> Json:
    route = {"destination": call.fields.get("destination"), "gateway": call.fields.get("gateway")}
    if not all(route.values()):
        raise invalid("destination", "destination and gateway are required")
    return route


def delete_subnet(call: Call) -> Reply:
    """Take a subnet out of a network, if no server has an address in it."""
    network, ip_range = get(call, "network"), call.fields.get("ip_range")
    subnet = next((each for each in network.body["subnets"] if each["ip_range"] == ip_range), None)
    if subnet is None:
        raise invalid("ip_range", "subnet not found")
    hosts = ipaddress.ip_network(subnet["ip_range"], strict=False)
    nets = (net for server in call.world.servers() for net in server.body.get("private_net", ()))
    if any(net["network"] == network.id and ipaddress.ip_address(net["ip"]) in hosts for net in nets):
        raise ApiError(409, "conflict", "subnet is still in use")
    network.body["subnets"].remove(subnet)
    return _changed(call, network, "delete_subnet")


def _changed(call: Call, network: Thing, command: str) -> Reply:
    call.world.save(network)
    action = act(call, command, 0.0, others=[{"id": network.id, "type": "network"}])
    return Reply({"action": shapes(call).action(action)}, 201)


def subnets_of(network: Thing, location: str, ip_range: str | None = None) -> list[Json]:
    """The subnets in which a server at a location can get its address, or the one of that range among them."""
    zone = LOCATIONS[location].network_zone
    return [
        subnet
        for subnet in network.body["subnets"]
        if subnet["network_zone"] == zone and ip_range in (None, subnet["ip_range"])
    ]


def join(call: Call, network: Thing, body: Json, *, at: float = 0.0, ask: Json | None = None) -> None:
    """Give a server an address in a network, from a moment on: the one that `ask` names, or the first free one.

    `ask` may have `ip`, and `ip_range`, which is that of a subnet.
    """
    wanted = ask or {}
    subnets = subnets_of(network, body["location"], wanted.get("ip_range"))
    if not subnets:
        raise ApiError(422, "service_error", "no subnet or IP available")
    taken = _addresses(call, network)
    ip = _parse_ip(wanted["ip"]) if wanted.get("ip") else _first_free(subnets, taken)
    if wanted.get("ip"):
        if not any(ip in ipaddress.ip_network(subnet["ip_range"]) for subnet in subnets):
            raise invalid("ip", "ip is not in the network's subnet")
        if str(ip) in taken:
            raise ApiError(422, "ip_not_available", "ip is not available")
    number = int(ip)
    mac = f"86:00:00:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
    body["private_net"] = [
        *body.get("private_net", ()),
        {"network": network.id, "ip": str(ip), "alias_ips": [], "mac_address": mac, "attached_at": at},
    ]


def _addresses(call: Call, network: Thing) -> set[str]:
    """The addresses that are taken: the gateway's, and those of servers that are there or being deleted."""
    nets = (net for server in call.world.held("hetzner", "server") for net in server.body.get("private_net", ()))
    of_servers = {ip for net in nets if net["network"] == network.id for ip in (net["ip"], *net["alias_ips"])}
    return of_servers | {subnet["gateway"] for subnet in network.body["subnets"]}


def _first_free(subnets: Sequence[Json], taken: set[str]) -> Address:
    for subnet in subnets:
        for host in ipaddress.ip_network(subnet["ip_range"]).hosts():
            if str(host) not in taken:
                return host
    raise ApiError(422, "service_error", "no subnet or IP available")


def _parse_ip(text: str) -> Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError as error:
        raise invalid("ip", "invalid ip") from error
