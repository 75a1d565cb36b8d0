"""Servers: lists, changes, deletion, and the lock that each action holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scaler.simulator.call import ApiError, Call, Reply
from scaler.simulator.hetzner.actions import act, succeeds
from scaler.simulator.hetzner.images import remove_backups
from scaler.simulator.hetzner.replies import (
    filter_values,
    get,
    labels_asked_for,
    new_name,
    page,
    selected,
    shapes,
    things_in_order,
)
from scaler.simulator.hetzner.shapes import Json, Shapes
from scaler.simulator.things import FOREVER, Thing

STATUSES = (
    *("initializing", "starting", "running", "stopping", "off", "deleting", "rebuilding", "migrating", "unknown"),
)
"""All that a server can have."""


def list_servers(call: Call) -> Reply:
    """Servers by `name`, `label_selector`, `status`."""
    moment = call.listed_at("server")
    statuses = filter_values(call, "status", STATUSES)
    found = [
        thing for thing in selected(call, call.listed("server")) if not statuses or thing.status(moment) in statuses
    ]
    view = Shapes(call.world, moment)
    return page(call, "servers", things_in_order(call, found), lambda thing: view.server(thing.read(call.now)))


def get_server(call: Call) -> Reply:
    """One server."""
    return Reply({"server": shapes(call).server(get(call, "server").read(call.now))})


def update_server(call: Call) -> Reply:
    """Change the name, the labels (the whole map), or both."""
    server = get(call, "server")
    server.remember(call.now + call.knobs.read_lag_s, "labels")
    if call.fields.get("name") not in (None, server.name):
        server.name = new_name(call, "server")
    if call.fields.get("labels") is not None:
        server.body["labels"] = labels_asked_for(call)
    call.world.save(server)
    return Reply({"server": shapes(call).server(server)})


def delete_server(call: Call) -> Reply:
    """Delete a server: it is gone at once; its name, places and addresses are free when the action has ended."""
    server = unlocked(call)
    if server.body.get("protected"):
        raise ApiError(423, "protected", "server deletion is protected")
    action = act(call, "delete_server", call.knobs.delete_s, server=server)
    if action.body["error"]:
        server.body["busy_until"] = action.body["finishes"]
        call.world.save(server)
        return Reply({"action": shapes(call).action(action)})
    gone = call.now + call.knobs.visible_after_delete_s
    server.become(call.now, (call.now, "deleting"))
    server.body |= {"busy_until": FOREVER, "held_until": action.body["finishes"]}
    for ip in call.world.children(server.id, "primary_ip"):
        if ip.body["auto_delete"]:
            ip.body["held_until"] = action.body["finishes"] + call.knobs.ip_release_lag_s
            call.world.remove(ip, at=gone)
        else:
            ip.parent, ip.body["held_until"] = None, action.body["finishes"]
            call.world.save(ip)
    remove_backups(call, server, at=gone)
    call.world.remove(server, at=gone)
    return Reply({"action": shapes(call).action(action)})


def unlocked(call: Call) -> Thing:
    """The server that the path names, if nothing else is being done to it."""
    server = get(call, "server")
    if server.locked(call.now):
        raise ApiError(423, "locked", "server is locked")
    return server


def stopped(call: Call) -> Thing:
    """The same, if it is off."""
    server = unlocked(call)
    if server.status(call.now) != "off":
        raise ApiError(422, "server_not_stopped", "server must be stopped")
    return server


def begin(
    call: Call,
    server: Thing,
    command: str,
    seconds: float,
    *steps: tuple[float, str],
    changes: Mapping[str, Any] | None = None,
    others: Sequence[Json] = (),
) -> Thing:
    """Start an action that holds the lock; one that fails or is stuck changes nothing.

    `steps` are the statuses that it leads to, each after so many seconds; `changes` are fields of the server's
    body that are others when the action has ended.
    """
    action = act(call, command, seconds, server=server, others=others)
    finishes = action.body["finishes"]
    if not succeeds(action):
        server = get(call, "server")
    else:
        if steps:
            server.become(call.now, *((call.now + call.takes(after), status) for after, status in steps))
        if changes:
            server.change_at(finishes, **changes)
    server.body["busy_until"] = finishes
    call.world.save(server)
    return action


def done(
    call: Call,
    server: Thing,
    command: str,
    seconds: float,
    *steps: tuple[float, str],
    changes: Mapping[str, Any] | None = None,
    others: Sequence[Json] = (),
    **more: Any,
) -> Reply:
    """Start an action on a server, and answer 201 with it."""
    action = begin(call, server, command, seconds, *steps, changes=changes, others=others)
    return Reply({"action": shapes(call).action(action), **more}, 201)
