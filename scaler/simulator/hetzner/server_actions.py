"""What can be done to a server: power, type, image, protection, network, placement group."""

from __future__ import annotations

import secrets
from typing import Any

from scaler.simulator.call import ApiError, Call, Handler, Reply
from scaler.simulator.hetzner.actions import succeeds
from scaler.simulator.hetzner.catalogue import SERVER_TYPES
from scaler.simulator.hetzner.images import remove_backups, usable_image
from scaler.simulator.hetzner.networks import alias_ips, join
from scaler.simulator.hetzner.offers import find_iso, find_server_type
from scaler.simulator.hetzner.replies import get, invalid, labels_asked_for, reference, shapes
from scaler.simulator.hetzner.resources import find_placement
from scaler.simulator.hetzner.servers import begin, done, stopped, unlocked


def power_on(call: Call) -> Reply:
    """Switch on; nothing to do if it is on."""
    server, seconds = unlocked(call), call.knobs.power_s
    if server.status(call.now) != "off":
        return done(call, server, "start_server", 0.0)
    return done(call, server, "start_server", seconds, (0.0, "starting"), (seconds, "running"))


def power_off(call: Call) -> Reply:
    """Pull the plug."""
    server, seconds = unlocked(call), call.knobs.power_s
    if server.status(call.now) == "off":
        return done(call, server, "stop_server", 0.0)
    return done(call, server, "stop_server", seconds, (0.0, "stopping"), (seconds, "off"))


def shutdown(call: Call) -> Reply:
    """Send the ACPI signal. The action only says that it was sent; the status follows later, or never."""
    server = unlocked(call)
    if server.status(call.now) == "off" or call.effect("shutdown_ignored"):
        return done(call, server, "shutdown_server", 0.0)
    return done(call, server, "shutdown_server", 0.0, (0.0, "stopping"), (call.knobs.shutdown_s, "off"))


def restarter(command: str) -> Handler:
    """Reboot or reset."""

    def restart(call: Call) -> Reply:
        server = unlocked(call)
        if server.status(call.now) == "off":
            # The action succeeds, and a server without power stays off.
            return done(call, server, command, call.knobs.power_s)
        return done(call, server, command, call.knobs.power_s, (0.0, "running"))

    return restart


def change_type(call: Call) -> Reply:
    """Move a stopped server to another type; it is started afterwards."""
    server = stopped(call)
    if call.fields.get("upgrade_disk") is None:
        raise invalid("upgrade_disk", "Missing data for required field.")
    kind = find_server_type(call, call.fields.get("server_type"))
    if server.body["location"] not in kind.locations:
        raise ApiError(422, "unsupported_error", "server type is not supported in this location")
    if kind.architecture != SERVER_TYPES[server.body["type"]].architecture or kind.disk < server.body.get("disk", 0):
        raise ApiError(422, "invalid_server_type", "server type is not compatible with this server")
    if not call.world.take_capacity("hetzner", kind.name, server.body["location"]):
        raise ApiError(412, "resource_unavailable", "error during placement")
    changes = {"type": kind.name, **({"disk": kind.disk} if call.fields.get("upgrade_disk") else {})}
    seconds = call.knobs.power_s
    steps = ((0.0, "migrating"), (seconds, "running"))
    return done(call, server, "change_server_type", seconds, *steps, changes=changes)


def rebuild(call: Call) -> Reply:
    """Write an image over a server's disk."""
    server = unlocked(call)
    if server.body.get("protected"):
        raise ApiError(423, "protected", "server rebuild is protected")
    image, from_snapshot = usable_image(call, call.fields.get("image"), SERVER_TYPES[server.body["type"]])
    seconds = call.knobs.boot_of(server.name or "", from_snapshot=from_snapshot)
    steps = ((0.0, "rebuilding"), (seconds, "running"))
    return done(call, server, "rebuild_server", seconds, *steps, changes={"image": image}, root_password=None)


def create_image(call: Call) -> Reply:
    """Make a snapshot, usable when the action is done."""
    server, wanted = unlocked(call), call.fields.get("type")
    kind = "snapshot" if wanted is None else wanted
    if kind not in ("snapshot", "backup"):
        raise invalid("type", "must be snapshot or backup")
    if kind == "backup" and server.body.get("backup_window") is None:
        raise invalid("type", "backups are not enabled for this server")
    size = round(0.06 * server.body.get("disk", 40), 2)
    seconds = call.knobs.snapshot_s_per_gb * size
    snapshot = call.world.add_snapshot(
        "hetzner",
        call.fields.get("description") or f"snapshot of {server.name}",
        labels=labels_asked_for(call),
        disk=server.body.get("disk") or SERVER_TYPES[server.body["type"]].disk,
        architecture=SERVER_TYPES[server.body["type"]].architecture,
        ready_in=call.takes(seconds),
        size_gb=size,
        source=server.id,
    )
    snapshot.body |= {
        "type": kind,
        "source_name": server.name,
        "bound_to": server.id if kind == "backup" else None,
    }
    call.world.save(snapshot)
    others = [{"id": snapshot.id, "type": "image"}]
    action = begin(call, server, "create_image", seconds, others=others)
    if action.body["error"]:
        call.world.remove(snapshot, at=action.body["finishes"])
    return Reply({"action": shapes(call).action(action), "image": shapes(call).snapshot(snapshot)}, 201)


def change_protection(call: Call) -> Reply:
    """Protect a server against deletion and rebuild, both or neither."""
    server = unlocked(call)
    current = bool(server.body.get("protected"))
    wanted = {bool(call.fields.get(key, current)) for key in ("delete", "rebuild")}
    if len(wanted) != 1:
        raise invalid("rebuild", "delete and rebuild protection must be equal")
    server.body["protected"] = wanted.pop()
    return done(call, server, "change_protection", 0.0)


def switcher(command: str, key: str, value: Any, *, password: bool = False, needed: str | None = None) -> Handler:
    """An action that does nothing but set a field of the server, and answers a new password for root.

    With `needed`, the words of the refusal where the field has no value.
    """

    def switch(call: Call) -> Reply:
        server = unlocked(call)
        if needed is not None and server.body.get(key) is None:
            raise ApiError(422, "invalid_input", needed)
        server.body[key] = value
        more: dict[str, Any] = {"root_password": secrets.token_urlsafe(15)} if password else {}
        return done(call, server, command, 0.0, **more)

    return switch


def disable_backup(call: Call) -> Reply:
    """Stop the backups of a server, and delete those that it has."""
    server = unlocked(call)
    server.body["backup_window"] = None
    action = begin(call, server, "disable_backup", 0.0)
    if succeeds(action):
        remove_backups(call, server)
    return Reply({"action": shapes(call).action(action)}, 201)


def enable_rescue(call: Call) -> Reply:
    """Have a server start the rescue system with its next reset."""
    if call.fields.get("type") not in (None, "linux64"):
        raise invalid("type", "must be linux64")
    for key in call.fields.get("ssh_keys") or ():
        get(call, "ssh_key", key)
    return switcher("enable_rescue", "rescue", True, password=True)(call)


def attach_iso(call: Call) -> Reply:
    """Put a disk into a server's drive: it starts from that with its next reset."""
    server, iso = unlocked(call), find_iso(call, call.fields.get("iso"))
    server.body["iso"] = iso
    return done(call, server, "attach_iso", 0.0)


def attach_to_network(call: Call) -> Reply:
    """Give a server an address in a network."""
    server = unlocked(call)
    network = reference(call, "network", call.fields.get("network"))
    join(call, network, server.body, ask=call.fields)
    server.body["private_net"][-1]["alias_ips"] = alias_ips(call, network, server.body)
    return done(call, server, "attach_to_network", 0.0, others=[{"id": network.id, "type": "network"}])


def change_alias_ips(call: Call) -> Reply:
    """Give a server other alias addresses in a network that it is in."""
    server = unlocked(call)
    network = reference(call, "network", call.fields.get("network"))
    nets = server.body.get("private_net", [])
    if all(net["network"] != network.id for net in nets):
        raise invalid("network", "server is not attached to network")
    for net in nets:
        if net["network"] == network.id:
            net["alias_ips"] = alias_ips(call, network, server.body)
    return done(call, server, "change_alias_ips", 0.0, others=[{"id": network.id, "type": "network"}])


def detach_from_network(call: Call) -> Reply:
    """Take a server out of a network that it is in."""
    server = unlocked(call)
    network = reference(call, "network", call.fields.get("network"))
    nets = server.body.get("private_net", ())
    if all(net["network"] != network.id for net in nets):
        raise invalid("network", "server is not attached to network")
    server.body["private_net"] = [net for net in nets if net["network"] != network.id]
    return done(call, server, "detach_from_network", 0.0, others=[{"id": network.id, "type": "network"}])


def add_to_placement_group(call: Call) -> Reply:
    """Put a stopped server into a placement group, and start it.

    It runs afterwards by the test TestAccServerResource_PlacementGroup of terraform-provider-hcloud 1.68.0.
    """
    server = stopped(call)
    if server.body.get("placement_group") is not None:
        raise ApiError(422, "already_in_placement_group", "server is already part of a placement group")
    changes = {"placement_group": find_placement(call, call.fields.get("placement_group"))}
    seconds = call.knobs.power_s
    return done(call, server, "add_to_placement_group", seconds, (seconds, "running"), changes=changes)
