"""Networks and their subnets."""

from __future__ import annotations

import ipaddress

from scaler.simulator.call import ApiError, Call, Reply
from scaler.simulator.hetzner.actions import act
from scaler.simulator.hetzner.catalogue import LOCATIONS
from scaler.simulator.hetzner.replies import get, invalid, labels_asked_for, new_name, shapes
from scaler.simulator.hetzner.shapes import Json
from scaler.simulator.things import Thing

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
    ip_range = wanted.get("ip_range") or network["ip_range"]
    gateway = network["ip_range"].split("/")[0].rsplit(".", 1)[0] + ".1"
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


def subnet_of(network: Thing, location: str) -> Json | None:
    """The subnet in which a server at a location gets its address; None if the network has none there."""
    zone = LOCATIONS[location].network_zone
    return next((subnet for subnet in network.body["subnets"] if subnet["network_zone"] == zone), None)


def join(call: Call, network: Thing, body: Json, wanted: str | None = None, *, at: float = 0.0) -> None:
    """Give a server an address in a network, from a moment on."""
    subnet = subnet_of(network, body["location"])
    if subnet is None:
        raise ApiError(422, "service_error", "no subnet or IP available")
    number = int(network.body.get("used", 1)) + 1
    network.body["used"] = number
    call.world.save(network)
    hosts = ipaddress.ip_network(subnet["ip_range"], strict=False)
    ip = wanted or str(hosts.network_address + number)
    if ipaddress.ip_address(ip) not in hosts:
        raise invalid("ip", "ip is not in the network's subnet")
    mac = f"86:00:00:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
    body["private_net"] = [
        *body.get("private_net", ()),
        {"network": network.id, "ip": ip, "alias_ips": [], "mac_address": mac, "attached_at": at},
    ]
