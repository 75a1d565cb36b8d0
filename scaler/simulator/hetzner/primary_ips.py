"""Primary IPs, and how many the account may have."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from scaler.simulator.call import ApiError, Call, Reply
from scaler.simulator.hetzner.actions import act, settle
from scaler.simulator.hetzner.offers import find_location
from scaler.simulator.hetzner.replies import get, invalid, labels_asked_for, new_name, shapes
from scaler.simulator.things import Thing, address
from scaler.simulator.world import SimulatedWorld


def create_primary_ip(call: Call) -> Reply:
    """Add a primary IP, and give it to the server that the request names."""
    version = call.fields.get("type")
    if version not in ("ipv4", "ipv6"):
        raise invalid("type", "must be ipv4 or ipv6")
    _check_assignee(call)
    assignee = call.fields.get("assignee_id")
    server = get(call, "server", assignee) if assignee else None
    wanted = call.fields.get("location")
    location = find_location(server.body["location"] if server else "fsn1" if wanted is None else wanted)
    if location is None:
        raise invalid("location", f"location '{call.fields.get('location')}' not found")
    _check_addresses(call, 1)
    name, labels = new_name(call, "primary_ip"), labels_asked_for(call)
    auto_delete = bool(call.fields.get("auto_delete"))
    ip = new_ip(call.world, version, location.name, name=name, auto_delete=auto_delete)
    ip.body["labels"] = labels
    call.world.save(ip)
    if server is None:
        return Reply({"primary_ip": shapes(call).primary_ip(ip)}, 201)
    action = _assign(call, ip, server)
    return Reply({"primary_ip": shapes(call).primary_ip(ip), "action": shapes(call).action(action)}, 201)


def _check_assignee(call: Call) -> None:
    if call.fields.get("assignee_type") not in (None, "server"):
        raise invalid("assignee_type", "must be server")


def assign_primary_ip(call: Call) -> Reply:
    """Give an address to a server that is off and has none of its version."""
    ip = get(call, "primary_ip")
    _check_assignee(call)
    if _is_taken(call, ip):
        raise ApiError(422, "primary_ip_already_assigned", "primary IP is already assigned")
    action = _assign(call, ip, get(call, "server", call.fields.get("assignee_id") or 0))
    return Reply({"action": shapes(call).action(action)}, 201)


def _is_taken(call: Call, ip: Thing) -> bool:
    """Whether a server has the address, one whose deletion goes on included."""
    return ip.parent is not None or float(ip.body.get("held_until", 0.0)) > call.now


def _assign(call: Call, ip: Thing, server: Thing) -> Thing:
    if server.status(call.now) != "off":
        raise ApiError(422, "server_not_stopped", "server must be stopped")
    if server.body.get(ip.body["type"]):
        raise ApiError(422, f"server_has_{ip.body['type']}", f"server already has an {ip.body['type']} address")
    ip.parent = server.id
    server.body[ip.body["type"]] = {"id": ip.id, "ip": ip.body["ip"]}
    action = act(call, "assign_primary_ip", 0.0, others=[{"id": ip.id, "type": "primary_ip"}])
    return settle(call, action, server, ip)


def unassign_primary_ip(call: Call) -> Reply:
    """Take an address from its server, which must be off."""
    ip = get(call, "primary_ip")
    server = call.world.get("hetzner", "server", ip.parent or 0)
    if server is None:
        raise ApiError(422, "primary_ip_not_assigned", "primary IP is not assigned")
    if server.status(call.now) != "off":
        raise ApiError(422, "server_not_stopped", "server must be stopped")
    server.body.pop(ip.body["type"], None)
    ip.parent = None
    return _changed(call, ip, "unassign_primary_ip", server)


def protect_primary_ip(call: Call) -> Reply:
    """Protect an address against deletion."""
    ip = get(call, "primary_ip")
    if call.fields.get("delete") is None:
        raise invalid("delete", "Missing data for required field.")
    ip.body["protected"] = bool(call.fields.get("delete"))
    return _changed(call, ip, "change_protection")


def change_pointer(call: Call) -> Reply:
    """Set the name that an address is resolved to; null: the vendor's own."""
    return _point(call, get(call, "primary_ip"))


def change_server_pointer(call: Call) -> Reply:
    """The same for an address of a server, by the server."""
    server, ip = get(call, "server"), call.fields.get("ip")
    for primary in call.world.children(server.id, "primary_ip"):
        if _contains(primary, ip):
            return _point(call, primary, server)
    raise invalid("ip", f"ip '{ip}' is not an address of the server")


def _point(call: Call, primary: Thing, server: Thing | None = None) -> Reply:
    ip, name = call.fields.get("ip"), call.fields.get("dns_ptr")
    if not _contains(primary, ip):
        raise invalid("ip", f"ip '{ip}' is not an address of the primary IP")
    kept = [row for row in primary.body.get("pointers", ()) if row["ip"] != ip]
    primary.body["pointers"] = [*kept, {"ip": ip, "dns_ptr": name}] if name else kept
    resources = [] if server else [{"id": primary.id, "type": "primary_ip"}]
    action = settle(call, act(call, "change_dns_ptr", 0.0, server=server, others=resources), primary)
    return Reply({"action": shapes(call).action(action)}, 201)


def _contains(primary: Thing, ip: object) -> bool:
    try:
        return ipaddress.ip_address(str(ip)) in ipaddress.ip_network(primary.body["ip"], strict=False)
    except ValueError:
        return False


def _changed(call: Call, ip: Thing, command: str, *others: Thing) -> Reply:
    action = settle(call, act(call, command, 0.0, others=[{"id": ip.id, "type": "primary_ip"}]), ip, *others)
    return Reply({"action": shapes(call).action(action)}, 201)


def delete_primary_ip(call: Call) -> Reply:
    """Delete a primary IP that belongs to no server."""
    ip = get(call, "primary_ip")
    if ip.body.get("protected"):
        raise ApiError(423, "protected", "primary IP deletion is protected")
    if _is_taken(call, ip):
        raise ApiError(422, "must_be_unassigned", "primary IP must be unassigned")
    call.world.remove(ip)
    return Reply(status=204)


def check_quota(call: Call, addresses: int) -> None:
    """Refuse one more server than the account may have, or so many new addresses."""
    world = call.world
    if len(world.held("hetzner", "server")) >= world.quota("hetzner", "servers"):
        details = {"limits": [{"name": "server_limit"}]}
        raise ApiError(403, "resource_limit_exceeded", "server limit exceeded", details)
    _check_addresses(call, addresses)


def _check_addresses(call: Call, more: int) -> None:
    world = call.world
    if more and len(world.held("hetzner", "primary_ip")) + more > world.quota("hetzner", "primary_ips"):
        details = {"limits": [{"name": "primary_ip_limit"}]}
        raise ApiError(403, "resource_limit_exceeded", "Primary IP limit exceeded", details)


def given_addresses(call: Call, versions: Sequence[str], location: str) -> dict[str, Thing]:
    """The primary IPs that a new server is to have, by version: free ones of its location."""
    public_net = call.fields.get("public_net") or {}
    given = {version: get(call, "primary_ip", public_net[version]) for version in versions if public_net.get(version)}
    for version, ip in given.items():
        if _is_taken(call, ip):
            raise ApiError(422, "primary_ip_assigned", "primary IP is already assigned")
        if ip.body["type"] != version:
            raise ApiError(412, "primary_ip_version_mismatch", f"primary IP is no {version} address")
        if ip.body["location"] != location:
            raise ApiError(422, "primary_ip_datacenter_mismatch", "primary IP is in another location")
    return given


def take_addresses(call: Call, server: Thing, versions: Sequence[str]) -> None:
    """Give a new server an address of each version: a primary IP that the request names, or a new one."""
    given = given_addresses(call, versions, server.body["location"])
    for version in versions:
        ip = given.get(version) or new_ip(call.world, version, server.body["location"])
        ip.parent = server.id
        call.world.save(ip)
        server.body[version] = {"id": ip.id, "ip": ip.body["ip"]}


def new_ip(
    world: SimulatedWorld, version: str, location: str, *, name: str | None = None, auto_delete: bool = True
) -> Thing:
    """Add an address. It is a loopback one, so that nobody who probes it leaves the machine."""
    body = {"type": version, "ip": "", "auto_delete": auto_delete, "location": location, "labels": {}}
    ip = world.add("hetzner", "primary_ip", name, body)
    ip.name = name or f"primary_ip-{ip.id}"
    ip.body["ip"] = (
        address("hetzner", ip.id) if version == "ipv4" else f"2001:db8:{ip.id >> 16:x}:{ip.id & 65535:x}::/64"
    )
    return ip
