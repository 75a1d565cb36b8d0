"""Creating a server: everything that is checked before, and what is accepted."""

from __future__ import annotations

import secrets

from scaler.simulator.call import ApiError, Call, Reply
from scaler.simulator.hetzner.actions import act
from scaler.simulator.hetzner.catalogue import ServerType
from scaler.simulator.hetzner.firewalls import MOST_FIREWALLS
from scaler.simulator.hetzner.images import usable_image
from scaler.simulator.hetzner.networks import MOST_NETWORKS, join, subnets_of
from scaler.simulator.hetzner.offers import find_server_type, location_asked_for
from scaler.simulator.hetzner.primary_ips import check_quota, given_addresses, take_addresses
from scaler.simulator.hetzner.replies import invalid, labels_asked_for, missing, new_name, reference, shapes
from scaler.simulator.hetzner.resources import find_placement
from scaler.simulator.hetzner.shapes import Json
from scaler.simulator.things import FOREVER, Thing
from scaler.support.values import dataclass

USER_DATA_BYTES = 32_768

STARTING_SHARE = 0.75
"""The part of a boot after which `create_server` is done and `start_server` goes on."""


@dataclass
class _Order:
    """A create request that has been checked."""

    name: str
    kind: ServerType
    image: int
    location: str
    body: Json
    from_snapshot: bool
    start: bool
    keyless: bool
    networks: list[Thing]
    versions: list[str]
    """The IP versions of which it gets a public address."""


def create_server(call: Call) -> Reply:
    """Accept a server: 201 with the actions `create_server` and, next, `start_server`."""
    order = _check(call)
    world = call.world
    if not world.take_capacity("hetzner", order.kind.name, order.location):
        raise ApiError(412, "resource_unavailable", "error during placement")
    boot = call.knobs.boot_of(order.name, from_snapshot=order.from_snapshot)
    server = world.add("hetzner", "server", order.name, {**order.body, "timeline": [], "busy_until": 0.0})
    take_addresses(call, server, order.versions)
    created = act(call, "create_server", boot * STARTING_SHARE, server=server)
    next_actions = [act(call, "start_server", boot, server=server)] if order.start else []
    attached = _connect(call, server, order, boot)
    next_actions += attached
    starts = order.start and not next_actions[0].body["error"]
    _schedule_boot(call, server, call.takes(boot), start=starts, failed=bool(created.body["error"]))
    server.body["busy_until"] = max([server.body["busy_until"], *(action.body["finishes"] for action in attached)])
    world.save(server)
    view = shapes(call)
    answer = {
        "server": view.server(server),
        "action": view.action(created),
        "next_actions": [view.action(action) for action in next_actions],
        "root_password": secrets.token_urlsafe(15) if order.keyless else None,
    }
    return Reply(answer, 201)


def _connect(call: Call, server: Thing, order: _Order, boot: float) -> list[Thing]:
    """Attach the networks and apply the firewalls, each by an action that is over when the server has started."""
    seconds = boot + call.knobs.attach_s
    done = call.now + call.takes(seconds)
    for network in order.networks:
        join(call, network, server.body, at=done)
    server.body["applied_at"] = done
    resources = [
        *(("attach_to_network", {"id": network.id, "type": "network"}) for network in order.networks),
        *(("apply_firewall", {"id": firewall, "type": "firewall"}) for firewall in server.body["firewalls"]),
    ]
    actions = [act(call, command, seconds, server=server, others=[resource]) for command, resource in resources]
    failed = {action.body["resources"][1]["id"] for action in actions if action.body["error"]}
    server.body["private_net"] = [net for net in server.body["private_net"] if net["network"] not in failed]
    server.body["firewalls"] = [firewall for firewall in server.body["firewalls"] if firewall not in failed]
    return actions


def _schedule_boot(call: Call, server: Thing, boot: float, *, start: bool, failed: bool) -> None:
    """Write down what the server's status will be, and when its lock is released."""
    now, made = call.now, call.now + boot * STARTING_SHARE
    timeline: list[tuple[float, str]] = [(now, "initializing")]
    if failed:
        timeline.append((made, "off"))
        fault = call.effect("action_error")
        if fault and not fault.get("keep", True):
            server.gone = made
    elif boot == FOREVER:
        pass
    elif start:
        timeline += [(made, "starting"), (now + boot, "running")]
    else:
        timeline.append((made, "off"))
    server.become(now, *timeline)
    server.body["busy_until"] = now + boot if start and not failed else made


def _check(call: Call) -> _Order:
    """Everything that Hetzner checks before it accepts a server."""
    fields = call.fields
    if "datacenter" in fields:
        raise invalid("datacenter", "datacenter has been removed, use location")
    name = new_name(call, "server")
    kind = find_server_type(call, fields.get("server_type"))
    image, from_snapshot = usable_image(call, fields.get("image"), kind)
    location = location_asked_for(call, fields.get("location"), kind)
    user_data = _user_data(call)
    keys = [reference(call, "ssh_key", key).id for key in fields.get("ssh_keys") or ()]
    firewalls = [reference(call, "firewall", item.get("firewall")).id for item in fields.get("firewalls") or ()]
    for volume in fields.get("volumes") or ():
        # There are none here, and a server without what it was to have is no answer.
        raise missing("volume", volume)
    networks = [reference(call, "network", network) for network in fields.get("networks") or ()]
    body = {
        "type": kind.name,
        "location": location,
        "image": image,
        "labels": labels_asked_for(call),
        "tags": [],
        "disk": kind.disk,
        "user_data": user_data,
        "ssh_keys": keys,
        "firewalls": firewalls,
        "placement_group": find_placement(call, fields.get("placement_group")),
        "private_net": [],
    }
    versions = _ip_versions(call)
    check_quota(call, len(versions) - len(given_addresses(call, versions, location)))
    order = _Order(
        name=name,
        kind=kind,
        image=image,
        location=location,
        body=body,
        from_snapshot=from_snapshot,
        start=fields.get("start_after_create", True) is not False,
        keyless=not keys,
        networks=networks,
        versions=versions,
    )
    _check_interfaces(order)
    return order


def _user_data(call: Call) -> str:
    user_data = call.fields.get("user_data") or ""
    if not isinstance(user_data, str) or len(user_data.encode()) > USER_DATA_BYTES:
        raise invalid("user_data", f"user_data must not exceed {USER_DATA_BYTES} bytes")
    return user_data


def _ip_versions(call: Call) -> list[str]:
    """The versions of IP that the server gets a public address of: both, unless the request says otherwise."""
    public_net = call.fields.get("public_net") or {}
    return [version for version in ("ipv4", "ipv6") if public_net.get(f"enable_{version}", True) is not False]


def _check_interfaces(order: _Order) -> None:
    """Refuse a server that nothing could reach, a firewall where there is no public interface, and too many of both."""
    for kind, named, most in (
        ("networks", order.networks, MOST_NETWORKS),
        ("firewalls", order.body["firewalls"], MOST_FIREWALLS),
    ):
        if len(named) > most:
            raise invalid(kind, f"a server can have at most {most} {kind}")
    if not order.versions and not order.networks and order.start:
        raise invalid("public_net", "server needs at least one public or private network interface")
    if not order.versions and order.body["firewalls"]:
        raise ApiError(422, "private_net_only_server", "firewalls need a server with a public interface")
    if not all(subnets_of(network, order.location) for network in order.networks):
        raise ApiError(422, "service_error", "no subnet or IP available")
