"""What keys, placement groups, firewalls, networks and primary IPs have in common; keys and placement groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scaler.simulator.call import ApiError, Call, Handler, Reply
from scaler.simulator.hetzner.replies import (
    get,
    invalid,
    labels_asked_for,
    new_name,
    page,
    reference,
    selected,
    shapes,
    taken,
    things_in_order,
)
from scaler.simulator.hetzner.shapes import Json
from scaler.simulator.ssh_keys import fingerprint_of, is_well_formed, type_of
from scaler.simulator.things import Thing

SPREAD_SIZE = 10
"""Servers that a placement group holds at most."""


def _render(call: Call, kind: str) -> Callable[[Thing], Json]:
    view = shapes(call)
    renderers = {
        "ssh_key": view.ssh_key,
        "placement_group": view.placement_group,
        "firewall": view.firewall,
        "network": view.network,
        "primary_ip": view.primary_ip,
        "load_balancer": view.load_balancer,
    }
    return renderers[kind]


def lister(kind: str) -> Handler:
    """List a kind by `name`, `label_selector`, `fingerprint`, `ip`."""

    def handler(call: Call) -> Reply:
        found = selected(call, call.listed(kind))
        if wanted := call.query.get("fingerprint"):
            found = [thing for thing in found if thing.body.get("fingerprint") == wanted]
        if wanted := call.query.get("ip"):
            # An IPv6 network goes by its first address too.
            found = [thing for thing in found if wanted in (thing.body["ip"], thing.body["ip"].partition("/")[0])]
        return page(call, f"{kind}s", things_in_order(call, found), _render(call, kind))

    return handler


def getter(kind: str) -> Handler:
    """Get one thing of a kind."""
    return lambda call: Reply({kind: _render(call, kind)(get(call, kind))})


_SWITCHES = {"network": ("expose_routes_to_vswitch",), "primary_ip": ("auto_delete",)}
"""What else can be changed of a kind."""


def updater(kind: str) -> Handler:
    """Change the name, the labels (the whole map), or both."""

    def handler(call: Call) -> Reply:
        thing = get(call, kind)
        if call.fields.get("name") not in (None, thing.name):
            thing.name = new_name(call, kind)
        if call.fields.get("labels") is not None:
            thing.body["labels"] = labels_asked_for(call)
        for key in _SWITCHES.get(kind, ()):
            if call.fields.get(key) is not None:
                thing.body[key] = call.fields[key]
        call.world.save(thing)
        return Reply({kind: _render(call, kind)(thing)})

    return handler


def deleter(kind: str, in_use: Callable[[Thing, Thing], bool]) -> Handler:
    """Delete a thing of a kind that no server uses."""

    def handler(call: Call) -> Reply:
        thing = get(call, kind)
        if thing.body.get("protected"):
            raise ApiError(423, "protected", f"{kind.replace('_', ' ')} deletion is protected")
        # Also by one whose deletion goes on (terraform-provider-hcloud PR#590).
        if any(in_use(thing, server) for server in call.world.held("hetzner", "server")):
            raise ApiError(422, "resource_in_use", f"{kind.replace('_', ' ')} is still in use")
        call.world.remove(thing)
        return Reply(status=204)

    return handler


# ---------------------------------------------------------------------------------------------
# SSH keys and placement groups


_KEY_TYPES = (
    *("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-dss"),
    *("sk-ssh-ed25519", "sk-ecdsa-sha2-nistp256", "sk-ecdsa-sha2-nistp384", "sk-ecdsa-sha2-nistp521"),
)
"""As its refusal names them (terraform-hcloud-kube-hetzner#310)."""


def create_ssh_key(call: Call) -> Reply:
    """Add an SSH key: its name and its fingerprint are unique."""
    name, public_key = new_name(call, "ssh_key"), call.fields.get("public_key")
    if not isinstance(public_key, str) or type_of(public_key) not in _KEY_TYPES:
        raise invalid("public_key", f"SSH key type is invalid (supported types: {', '.join(_KEY_TYPES)})")
    if not is_well_formed(public_key):
        raise invalid("public_key", "SSH key is invalid")
    if any(key.body["fingerprint"] == fingerprint_of(public_key) for key in call.world.things("hetzner", "ssh_key")):
        raise taken("ssh_key", "fingerprint")
    key = call.world.add_ssh_key("hetzner", name, public_key)
    key.body["labels"] = labels_asked_for(call)
    call.world.save(key)
    return Reply({"ssh_key": shapes(call).ssh_key(key)}, 201)


def create_placement_group(call: Call) -> Reply:
    """Add a placement group."""
    if call.fields.get("type") != "spread":
        raise invalid("type", "must be spread")
    body = {"type": "spread", "labels": labels_asked_for(call)}
    group = call.world.add("hetzner", "placement_group", new_name(call, "placement_group"), body)
    return Reply({"placement_group": shapes(call).placement_group(group), "action": None}, 201)


def find_placement(call: Call, wanted: Any) -> int | None:
    """The id of the placement group that the request names, if it has room; None if it names none."""
    if wanted is None:
        return None
    group = reference(call, "placement_group", wanted)
    members = [thing for thing in call.world.held("hetzner", "server") if thing.coming("placement_group") == group.id]
    if len(members) >= SPREAD_SIZE:
        message = f"placement group with ID {group.id} contains already {len(members)} servers"
        raise ApiError(422, "placement_group_member_limit_reached", message)
    return group.id
