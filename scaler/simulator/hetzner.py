"""Hetzner Cloud's API v1, as its clients use it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from scaler.simulator.exchange import Api, Call, Handler, Refusal, Reply, route
from scaler.simulator.hetzner_catalogue import IMAGES, LOCATIONS, SERVER_TYPES, Location, ServerType
from scaler.simulator.hetzner_shapes import Json, Shapes
from scaler.simulator.labels import parse_selector, problem
from scaler.simulator.world import FOREVER, Thing, World, address

TOKEN_LENGTH = 64
USER_DATA_BYTES = 32_768
PER_PAGE, MOST_PER_PAGE = 25, 50
SPREAD_SIZE = 10
STARTING_SHARE = 0.75
"""The part of a boot after which `create_server` is done and `start_server` goes on."""

_HOSTNAME = re.compile(
    r"(?=.{1,253}$)([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
)


def _error_body(refusal: Refusal, request_id: str) -> Json:
    return {"error": {"code": refusal.code, "message": refusal.message, "details": refusal.details}}


API = Api(
    cloud="hetzner",
    error_body=_error_body,
    request_id=lambda: secrets.token_hex(8),
    request_id_header="X-Correlation-Id",
    codes={
        400: "json_error",
        401: "unauthorized",
        403: "forbidden",
        404: "not_found",
        405: "method_not_allowed",
        409: "conflict",
        410: "deprecated_api_endpoint",
        412: "resource_unavailable",
        422: "invalid_input",
        423: "locked",
        429: "rate_limit_exceeded",
        500: "server_error",
        502: "bad_gateway",
        503: "unavailable",
        504: "timeout",
    },
    unauthorized=Refusal(401, "unauthorized", "unable to authenticate"),
    readonly=Refusal(401, "token_readonly", "token is only allowed to perform GET requests"),
    rate_limited=Refusal(429, "rate_limit_exceeded", "limit of 3600 requests per hour reached"),
    not_found=Refusal(404, "not_found", "not found"),
    well_formed=lambda token: len(token) == TOKEN_LENGTH,
)


def _invalid(field: str, message: str) -> Refusal:
    details = {"fields": [{"name": field, "messages": [message]}]}
    return Refusal(422, "invalid_input", f"invalid input in field '{field}'", details)


def _missing(kind: str, id: object) -> Refusal:
    return Refusal(404, "not_found", f"{kind.replace('_', ' ')} with ID '{id}' not found")


def _taken(kind: str, field: str = "name") -> Refusal:
    details = {"fields": [{"name": field}]}
    return Refusal(409, "uniqueness_error", f"{kind.replace('_', ' ')} {field} is already used", details)


# ---------------------------------------------------------------------------------------------
# What all resources share


def _get(call: Call, kind: str, id: Any = None) -> Thing:
    """The thing that the path (or `id`) names."""
    wanted = call.params["id"] if id is None else id
    found = call.world.get("hetzner", kind, wanted) if isinstance(wanted, int) else None
    if found is None:
        raise _missing("image" if kind == "snapshot" else kind, wanted)
    return found


def _page(call: Call, key: str, rows: Sequence[Any], render: Callable[[Any], Json]) -> Reply:
    """One page of a list, with its `meta` and `Link`."""
    page, per_page = _number(call, "page", 1), min(_number(call, "per_page", PER_PAGE), MOST_PER_PAGE)
    last = max(1, -(-len(rows) // per_page))
    shown = [render(row) for row in rows[(page - 1) * per_page : page * per_page]]
    meta = {
        "page": page,
        "per_page": per_page,
        "previous_page": page - 1 if page > 1 else None,
        "next_page": page + 1 if page < last else None,
        "last_page": last,
        "total_entries": len(rows),
    }
    links = [("prev", meta["previous_page"]), ("next", meta["next_page"]), ("last", last)]
    link = ", ".join(f'<{_url(call, number)}>; rel="{name}"' for name, number in links if number)
    return Reply({key: shown, "meta": {"pagination": meta}}, headers={"Link": link})


def _url(call: Call, page: int) -> str:
    others = [(key, value) for key, value in call.query.multi_items() if key != "page"]
    return f"{call.base_url}{call.path}?{urlencode([*others, ('page', page)])}"


def _number(call: Call, name: str, default: int) -> int:
    text = call.query.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise _invalid(name, "must be a positive integer")
    return int(text)


def _selected(call: Call, things: Iterable[Thing]) -> list[Thing]:
    """Those that `name` and `label_selector` ask for."""
    try:
        chosen = parse_selector(call.query.get("label_selector", ""))
    except ValueError as error:
        raise _invalid("label_selector", str(error)) from error
    name = call.query.get("name")
    return [thing for thing in things if (name is None or thing.name == name) and chosen(thing.body.get("labels", {}))]


def _sorted(call: Call, rows: Iterable[Json], fields: Iterable[str] = ("id", "name", "created")) -> list[Json]:
    """In the order that `sort` asks for; by id without it. The first criterion counts most."""
    ordered = sorted(rows, key=lambda row: int(row["id"]))
    for criterion in reversed(call.query.getlist("sort")):
        field, _, direction = criterion.partition(":")
        if field not in fields or direction not in ("", "asc", "desc"):
            raise _invalid("sort", f"cannot sort by '{criterion}'")
        ordered.sort(key=_sort_key(field), reverse=direction == "desc")
    return ordered


def _sort_key(field: str) -> Callable[[Json], tuple[Any, ...]]:
    """By a field; what was created in the same second, by id."""
    return lambda row: (row[field] is None, row[field] or 0, row["id"] if field == "created" else 0)


def _order(call: Call, things: list[Thing]) -> list[Thing]:
    """The same for things, before they are rendered."""
    keys = {thing.id: thing for thing in things}
    rows = [{"id": thing.id, "name": thing.name, "created": thing.created} for thing in things]
    return [keys[row["id"]] for row in _sorted(call, rows)]


def _labels(call: Call) -> dict[str, str]:
    labels = call.fields.get("labels") or {}
    if wrong := problem(labels):
        raise _invalid("labels", wrong)
    return dict(labels)


def _shapes(call: Call) -> Shapes:
    return Shapes(call.world, call.now)


# ---------------------------------------------------------------------------------------------
# Actions


def _act(
    call: Call,
    command: str,
    seconds: float,
    *,
    server: Thing | None = None,
    others: Sequence[Json] = (),
) -> Thing:
    """An action that takes `seconds`; the fault `action_error` makes it fail in the end."""
    resources = [{"id": server.id, "type": "server"}] if server else []
    fault = call.effect("action_error")
    fails = fault is not None and fault.get("command", command) == command
    error = None
    if fault and fails:
        error = {"code": fault.get("code", "action_failed"), "message": fault.get("message", "Action failed")}
    body = {"finishes": call.now + seconds, "resources": [*resources, *others], "error": error}
    return call.world.add("hetzner", "action", command, body, parent=server.id if server else None)


def _visible(call: Call, actions: Iterable[Thing]) -> list[Thing]:
    return [action for action in actions if action.created + call.knobs.action_lag_s <= call.now]


def list_actions(call: Call) -> Reply:
    """Actions by their ids: Hetzner lists no others any more."""
    ids = call.query.getlist("id")
    if not ids:
        details = {"announcement": "https://docs.hetzner.cloud/changelog#2025-01-30-listing-all-actions-removed"}
        raise Refusal(410, "deprecated_api_endpoint", "listing all actions is not supported", details)
    wanted = [int(text) for text in ids if text.isascii() and text.isdigit()]
    found = [action for number in wanted if (action := call.world.get("hetzner", "action", number))]
    shapes = _shapes(call)
    rows = [shapes.action(action) for action in _visible(call, found)]
    ordered = _sorted(call, rows, ("id", "command", "status", "progress", "started", "finished"))
    return _page(call, "actions", ordered, lambda row: row)


def get_action(call: Call) -> Reply:
    """One action, also of a server that is gone."""
    action = _get(call, "action", call.params.get("action", call.params.get("id")))
    if not _visible(call, [action]):
        raise _missing("action", action.id)
    return Reply({"action": _shapes(call).action(action)})


def list_server_actions(call: Call) -> Reply:
    """The actions of one server."""
    server = _get(call, "server")
    return _page(call, "actions", _visible(call, call.world.children(server.id, "action")), _shapes(call).action)


# ---------------------------------------------------------------------------------------------
# Servers: create


@dataclass(slots=True)
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
    ipv4: bool
    ipv6: bool


def create_server(call: Call) -> Reply:
    """Accept a server: 201 with the actions `create_server` and, next, `start_server`."""
    order = _check(call)
    world = call.world
    if not world.take_capacity("hetzner", order.kind.name, order.location):
        raise Refusal(412, "resource_unavailable", "error during placement")
    slow = call.effect("slow")
    boot = call.knobs.boot_of(
        order.name, from_snapshot=order.from_snapshot, factor=float(slow.get("factor", 10)) if slow else 1.0
    )
    if call.effect("stuck_initializing"):
        boot = FOREVER
    server = world.add("hetzner", "server", order.name, {**order.body, "timeline": [], "busy_until": 0.0})
    _take_addresses(call, server, order)
    created = _act(call, "create_server", boot * STARTING_SHARE, server=server)
    next_actions = [_act(call, "start_server", boot, server=server)] if order.start else []
    _schedule_boot(call, server, boot, start=order.start, failed=bool(created.body["error"]))
    world.save(server)
    shapes = _shapes(call)
    answer = {
        "server": shapes.server(server),
        "action": shapes.action(created),
        "next_actions": [shapes.action(action) for action in next_actions],
        "root_password": secrets.token_urlsafe(15) if order.keyless else None,
    }
    return Reply(answer, 201)


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
        raise _invalid("datacenter", "datacenter has been removed, use location")
    name = _name(call, "server")
    kind = _server_type(call, fields.get("server_type"))
    image, from_snapshot = _image(call, fields.get("image"), kind)
    location = _location(call, fields.get("location"), kind)
    user_data = fields.get("user_data") or ""
    if not isinstance(user_data, str) or len(user_data.encode()) > USER_DATA_BYTES:
        raise _invalid("user_data", f"user_data must not exceed {USER_DATA_BYTES} bytes")
    keys = [_reference(call, "ssh_key", key).id for key in fields.get("ssh_keys") or ()]
    firewalls = [_reference(call, "firewall", item.get("firewall")).id for item in fields.get("firewalls") or ()]
    networks = [_reference(call, "network", network) for network in fields.get("networks") or ()]
    public_net = fields.get("public_net") or {}
    body = {
        "type": kind.name,
        "location": location,
        "image": image,
        "labels": _labels(call),
        "tags": [],
        "disk": kind.disk,
        "user_data": user_data,
        "ssh_keys": keys,
        "firewalls": firewalls,
        "placement_group": _placement(call, fields.get("placement_group")),
        "private_net": [],
    }
    _check_quota(call)
    order = _Order(
        name=name,
        kind=kind,
        image=image,
        location=location,
        body=body,
        from_snapshot=from_snapshot,
        start=fields.get("start_after_create", True) is not False,
        keyless=not keys,
        ipv4=public_net.get("enable_ipv4", True) is not False,
        ipv6=public_net.get("enable_ipv6", True) is not False,
    )
    for network in networks:
        _join(call, network, body)
    return order


def _name(call: Call, kind: str) -> str:
    name = call.fields.get("name")
    if not isinstance(name, str) or not name:
        raise _invalid("name", "Missing data for required field.")
    if kind == "server" and not _HOSTNAME.fullmatch(name):
        raise _invalid("name", "Name must be a valid hostname.")
    if call.world.find("hetzner", kind, name):
        raise _taken(kind)
    return name


def _server_type(call: Call, wanted: Any) -> ServerType:
    found = next((kind for kind in SERVER_TYPES.values() if wanted in (kind.name, kind.id, str(kind.id))), None)
    if found is None:
        raise _invalid("server_type", f"server type '{wanted}' not found")
    deprecation = _shapes(call).deprecation(found)
    if deprecation and datetime.fromisoformat(deprecation["unavailable_after"]).timestamp() <= call.now:
        raise _invalid("server_type", f"server type '{found.name}' is deprecated")
    return found


def _image(call: Call, wanted: Any, kind: ServerType) -> tuple[int, bool]:
    """The image's id, and whether it is a snapshot, of an image that fits the type."""
    shape = _find_image(call, wanted, kind.architecture)
    if shape is None:
        raise _invalid("image", f"image '{wanted}' not found")
    if shape["architecture"] != kind.architecture:
        raise _invalid("image", "image architecture is not compatible with server type architecture")
    if shape["disk_size"] > kind.disk:
        raise _invalid("image", "image disk is bigger than server type disk")
    if shape["status"] != "available":
        raise Refusal(412, "resource_unavailable", "image is not available")
    return int(shape["id"]), shape["type"] != "system"


def _find_image(call: Call, wanted: Any, architecture: str) -> Json | None:
    shapes = _shapes(call)
    if isinstance(wanted, int) or (isinstance(wanted, str) and wanted.isascii() and wanted.isdigit()):
        return shapes.image(int(wanted))
    named = [image for image in IMAGES.values() if image.name == wanted]
    fitting = next((image for image in named if image.architecture == architecture), named[0] if named else None)
    return shapes.system_image(fitting) if fitting else None


def _location(call: Call, wanted: Any, kind: ServerType) -> str:
    """The location asked for, or the first one that has the type now."""
    if wanted is None:
        has_room = (place for place in kind.locations if call.world.has_capacity("hetzner", kind.name, place))
        return next(has_room, kind.locations[0])
    found = _find_location(wanted)
    if found is None:
        raise _invalid("location", f"location '{wanted}' not found")
    if found.name not in kind.locations:
        raise Refusal(422, "unsupported_error", "server type is not supported in this location")
    return found.name


def _find_location(wanted: Any) -> Location | None:
    return next((place for place in LOCATIONS.values() if wanted in (place.name, place.id, str(place.id))), None)


def _reference(call: Call, kind: str, wanted: Any) -> Thing:
    """A thing that a create request names by id or name."""
    found = call.world.get("hetzner", kind, wanted) if isinstance(wanted, int) else None
    named = call.world.find("hetzner", kind, str(wanted))
    if found is None and not named:
        raise _missing(kind, wanted)
    return found or named[0]


def _placement(call: Call, wanted: Any) -> int | None:
    if wanted is None:
        return None
    group = _reference(call, "placement_group", wanted)
    members = [thing for thing in call.world.servers() if thing.body.get("placement_group") == group.id]
    if len(members) >= SPREAD_SIZE:
        raise Refusal(412, "placement_error", "placement group is full")
    return group.id


def _check_quota(call: Call) -> None:
    world = call.world
    if world.count("hetzner", "server") >= world.quota("hetzner", "servers"):
        details = {"limits": [{"name": "server_limit"}]}
        raise Refusal(403, "resource_limit_exceeded", "server limit exceeded", details)
    addresses = world.count("hetzner", "primary_ip", at=call.now - call.knobs.ip_release_lag_s)
    if addresses >= world.quota("hetzner", "primary_ips"):
        details = {"limits": [{"name": "primary_ip_limit"}]}
        raise Refusal(403, "resource_limit_exceeded", "Primary IP limit exceeded", details)


def _take_addresses(call: Call, server: Thing, order: _Order) -> None:
    """Give the server the primary IPs that it asked for, or new ones."""
    public_net = call.fields.get("public_net") or {}
    for version, enabled in (("ipv4", order.ipv4), ("ipv6", order.ipv6)):
        if not enabled:
            continue
        given = public_net.get(version)
        ip = _get(call, "primary_ip", given) if given else _new_ip(call.world, version, order.location)
        ip.parent = server.id
        call.world.save(ip)
        server.body[version] = {"id": ip.id, "ip": ip.body["ip"]}


def _new_ip(world: World, version: str, location: str, *, name: str | None = None, auto_delete: bool = True) -> Thing:
    body = {"type": version, "ip": "", "auto_delete": auto_delete, "location": location, "labels": {}}
    ip = world.add("hetzner", "primary_ip", name, body)
    ip.name = name or f"primary_ip-{ip.id}"
    ip.body["ip"] = (
        address("hetzner", ip.id) if version == "ipv4" else f"2001:db8:{ip.id >> 16:x}:{ip.id & 65535:x}::/64"
    )
    return ip


def _join(call: Call, network: Thing, body: Json, wanted: str | None = None) -> None:
    """Give a server an address in a network."""
    number = int(network.body.get("used", 1)) + 1
    network.body["used"] = number
    call.world.save(network)
    base = network.body["ip_range"].split("/")[0].rsplit(".", 2)[0]
    ip = wanted or f"{base}.{number >> 8}.{number & 255}"
    mac = f"86:00:00:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
    body["private_net"] = [
        *body.get("private_net", ()),
        {"network": network.id, "ip": ip, "alias_ips": [], "mac_address": mac},
    ]


# ---------------------------------------------------------------------------------------------
# Servers: the rest


def list_servers(call: Call) -> Reply:
    """Servers by `name`, `label_selector`, `status`."""
    stale = call.effect("stale_list")
    moment = call.now - float(stale.get("seconds", 10.0)) if stale else call.now
    statuses = call.query.getlist("status")
    found = [
        thing for thing in _selected(call, call.listed("server")) if not statuses or thing.status(moment) in statuses
    ]
    return _page(call, "servers", _order(call, found), Shapes(call.world, moment).server)


def get_server(call: Call) -> Reply:
    """One server."""
    return Reply({"server": _shapes(call).server(_get(call, "server"))})


def update_server(call: Call) -> Reply:
    """Change the name, the labels (the whole map), or both."""
    server = _get(call, "server")
    if call.fields.get("name") not in (None, server.name):
        server.name = _name(call, "server")
    if call.fields.get("labels") is not None:
        server.body["labels"] = _labels(call)
    call.world.save(server)
    return Reply({"server": _shapes(call).server(server)})


def delete_server(call: Call) -> Reply:
    """Delete a server: it is gone at once, its action goes on for a while."""
    server = _free(call)
    if server.body.get("protected"):
        raise Refusal(423, "protected", "server deletion is protected")
    action = _act(call, "delete_server", call.knobs.delete_s, server=server)
    gone = call.now + call.knobs.visible_after_delete_s
    server.become(call.now, (call.now, "deleting"))
    server.body["busy_until"] = FOREVER
    for ip in call.world.children(server.id, "primary_ip"):
        if ip.body["auto_delete"]:
            call.world.remove(ip, at=gone)
        else:
            ip.parent = None
            call.world.save(ip)
    call.world.remove(server, at=gone)
    return Reply({"action": _shapes(call).action(action)})


def _free(call: Call) -> Thing:
    """The server that the path names, if nothing else is being done to it."""
    server = _get(call, "server")
    if server.locked(call.now):
        raise Refusal(423, "locked", "server is locked")
    return server


def _stopped(call: Call) -> Thing:
    """The same, if it is off."""
    server = _free(call)
    if server.status(call.now) != "off":
        raise Refusal(422, "server_not_stopped", "server must be stopped")
    return server


def _done(call: Call, server: Thing, command: str, seconds: float, *steps: tuple[float, str], **more: Any) -> Reply:
    """Start an action that holds the lock, with the statuses that it leads to; 201."""
    if call.effect("stuck_locked"):
        seconds, steps = FOREVER, ()
    action = _act(call, command, seconds, server=server, others=more.pop("others", ()))
    if steps and not action.body["error"]:
        server.become(call.now, *steps)
    server.body["busy_until"] = call.now + seconds
    call.world.save(server)
    return Reply({"action": _shapes(call).action(action), **more}, 201)


def power_on(call: Call) -> Reply:
    """Switch on; nothing to do if it is on."""
    server, now, seconds = _free(call), call.now, call.knobs.power_s
    if server.status(now) != "off":
        return _done(call, server, "start_server", 0.0)
    return _done(call, server, "start_server", seconds, (now, "starting"), (now + seconds, "running"))


def power_off(call: Call) -> Reply:
    """Pull the plug."""
    server, now, seconds = _free(call), call.now, call.knobs.power_s
    if server.status(now) == "off":
        return _done(call, server, "stop_server", 0.0)
    return _done(call, server, "stop_server", seconds, (now, "stopping"), (now + seconds, "off"))


def shutdown(call: Call) -> Reply:
    """Send the ACPI signal. The action only says that it was sent; the status follows later, or never."""
    server, now = _free(call), call.now
    if server.status(now) == "off" or call.effect("shutdown_ignored"):
        return _done(call, server, "shutdown_server", 0.0)
    return _done(call, server, "shutdown_server", 0.0, (now, "stopping"), (now + call.knobs.shutdown_s, "off"))


def _restart(command: str) -> Handler:
    def restart(call: Call) -> Reply:
        return _done(call, _free(call), command, call.knobs.power_s, (call.now, "running"))

    return restart


def change_type(call: Call) -> Reply:
    """Move a stopped server to another type; it is started afterwards."""
    server, now = _stopped(call), call.now
    kind = _server_type(call, call.fields.get("server_type"))
    if server.body["location"] not in kind.locations:
        raise Refusal(422, "unsupported_error", "server type is not supported in this location")
    if kind.architecture != SERVER_TYPES[server.body["type"]].architecture or kind.disk < server.body.get("disk", 0):
        raise Refusal(422, "invalid_server_type", "server type is not compatible with this server")
    server.body["type"] = kind.name
    if call.fields.get("upgrade_disk"):
        server.body["disk"] = kind.disk
    seconds = call.knobs.power_s
    return _done(call, server, "change_server_type", seconds, (now, "migrating"), (now + seconds, "running"))


def rebuild(call: Call) -> Reply:
    """Write an image over a server's disk."""
    server, now = _free(call), call.now
    if server.body.get("protected"):
        raise Refusal(423, "protected", "server rebuild is protected")
    image, from_snapshot = _image(call, call.fields.get("image"), SERVER_TYPES[server.body["type"]])
    server.body["image"] = image
    seconds = call.knobs.boot_of(server.name or "", from_snapshot=from_snapshot)
    steps = ((now, "rebuilding"), (now + seconds, "running"))
    return _done(call, server, "rebuild_server", seconds, *steps, root_password=None)


def create_image(call: Call) -> Reply:
    """Make a snapshot, usable when the action is done."""
    server = _free(call)
    size = round(0.06 * server.body.get("disk", 40), 2)
    seconds = call.knobs.snapshot_s_per_gb * size
    snapshot = call.world.add_snapshot(
        "hetzner",
        call.fields.get("description") or f"snapshot of {server.name}",
        labels=_labels(call),
        disk=server.body.get("disk") or SERVER_TYPES[server.body["type"]].disk,
        architecture=SERVER_TYPES[server.body["type"]].architecture,
        ready_in=seconds,
        size_gb=size,
        source=server.id,
    )
    snapshot.body |= {"type": call.fields.get("type") or "snapshot", "source_name": server.name}
    call.world.save(snapshot)
    others = [{"id": snapshot.id, "type": "image"}]
    return _done(call, server, "create_image", seconds, others=others, image=_shapes(call).snapshot(snapshot))


def change_protection(call: Call) -> Reply:
    """Protect a server against deletion and rebuild, both or neither."""
    server = _free(call)
    current = bool(server.body.get("protected"))
    wanted = {bool(call.fields.get(key, current)) for key in ("delete", "rebuild")}
    if len(wanted) != 1:
        raise _invalid("rebuild", "delete and rebuild protection must be equal")
    server.body["protected"] = wanted.pop()
    return _done(call, server, "change_protection", 0.0)


def _switch(command: str, key: str, value: Any, **more: Any) -> Handler:
    def switch(call: Call) -> Reply:
        server = _free(call)
        server.body[key] = value
        return _done(call, server, command, 0.0, **more)

    return switch


def attach_to_network(call: Call) -> Reply:
    """Give a server an address in a network."""
    server = _free(call)
    network = _reference(call, "network", call.fields.get("network"))
    if any(net["network"] == network.id for net in server.body.get("private_net", ())):
        raise Refusal(422, "server_already_attached", "server is already attached to network")
    _join(call, network, server.body, call.fields.get("ip"))
    return _done(call, server, "attach_to_network", 0.0, others=[{"id": network.id, "type": "network"}])


def detach_from_network(call: Call) -> Reply:
    """Take a server out of a network."""
    server = _free(call)
    network = _reference(call, "network", call.fields.get("network"))
    server.body["private_net"] = [net for net in server.body.get("private_net", ()) if net["network"] != network.id]
    return _done(call, server, "detach_from_network", 0.0, others=[{"id": network.id, "type": "network"}])


def add_to_placement_group(call: Call) -> Reply:
    """Put a stopped server into a placement group."""
    server = _stopped(call)
    server.body["placement_group"] = _placement(call, call.fields.get("placement_group"))
    return _done(call, server, "add_to_placement_group", 0.0)


# ---------------------------------------------------------------------------------------------
# Metrics

_METRICS = {"cpu", "disk", "network"}
_MOST_POINTS = 500


def get_metrics(call: Call) -> Reply:
    """What a server was measured to do: of `cpu` the percentages, 100 for each core; of the rest nothing.

    There is a value at every `step` from `start` on at which the server ran.
    """
    server = _get(call, "server")
    types = (call.query.get("type") or "").split(",")
    if not set(types) <= _METRICS:
        raise _invalid("type", f"must be of {', '.join(sorted(_METRICS))}")
    start, end = _moment(call, "start"), _moment(call, "end")
    if end < start:
        raise _invalid("end", "must not be before start")
    step = max(float(call.query.get("step") or call.knobs.metrics_s), (end - start) / _MOST_POINTS, 1.0)
    series = {"cpu": {"values": _cpu_values(call, server, start, end, step)}} if "cpu" in types else {}
    told = {"start": call.query["start"], "end": call.query["end"], "step": step, "time_series": series}
    return Reply({"metrics": told})


def _cpu_values(call: Call, server: Thing, start: float, end: float, step: float) -> list[list[Any]]:
    since, cores = server.running_since(call.now), SERVER_TYPES[server.body["type"]].cores
    moments = (start + step * index for index in range(int((end - start) / step) + 1))
    return [
        [moment, f"{100 * cores * server.cpu(moment):.6f}"]
        for moment in moments
        if since is not None and since <= moment <= call.now
    ]


def _moment(call: Call, name: str) -> float:
    try:
        return datetime.fromisoformat(call.query[name]).timestamp()
    except (KeyError, ValueError):
        raise _invalid(name, "must be a moment in ISO 8601") from None


# ---------------------------------------------------------------------------------------------
# The catalogue


def _list_catalogue(key: str, rows: Callable[[Call], list[Json]]) -> Handler:
    def handler(call: Call) -> Reply:
        name = call.query.get("name")
        found = [row for row in rows(call) if name is None or row["name"] == name]
        return _page(call, key, _sorted(call, found, ("id", "name")), lambda row: row)

    return handler


def _get_catalogue(key: str, rows: Callable[[Call], list[Json]]) -> Handler:
    def handler(call: Call) -> Reply:
        found = next((row for row in rows(call) if row["id"] == call.params["id"]), None)
        if found is None:
            raise _missing(key, call.params["id"])
        return Reply({key: found})

    return handler


def _server_types(call: Call) -> list[Json]:
    shapes = _shapes(call)
    return [shapes.server_type(kind) for kind in SERVER_TYPES.values()]


def _locations(call: Call) -> list[Json]:
    return [_shapes(call).location(location) for location in LOCATIONS.values()]


def pricing(call: Call) -> Reply:
    """All prices."""
    return Reply({"pricing": _shapes(call).pricing()})


def datacenters(call: Call) -> Reply:
    """Removed by Hetzner on 2026-10-01."""
    details = {"announcement": "https://docs.hetzner.cloud/changelog#2026-10-01-datacenters-removed"}
    raise Refusal(410, "deprecated_api_endpoint", "the datacenters endpoint has been removed", details)


def _empty(key: str) -> Handler:
    return lambda call: _page(call, key, [], dict)


# ---------------------------------------------------------------------------------------------
# Images


def list_images(call: Call) -> Reply:
    """Images by `type`, `status`, `architecture`, `name`, `label_selector`, `include_deprecated`."""
    query, shapes = call.query, _shapes(call)
    named = query.getlist("name")
    rows = [shapes.snapshot(thing) for thing in _selected_images(call)]
    if not query.get("label_selector"):
        rows += [shapes.system_image(image) for image in IMAGES.values()]
    if query.get("include_deprecated", "").lower() != "true":
        rows = [row for row in rows if not _deprecated(row, call.now)]
    for field in ("type", "status", "architecture"):
        if wanted := query.getlist(field):
            rows = [row for row in rows if row[field] in wanted]
    if named:
        rows = [row for row in rows if row["name"] in named]
    return _page(call, "images", _sorted(call, rows), lambda row: row)


def _deprecated(row: Json, now: float) -> bool:
    moment = row["deprecated"]
    return moment is not None and datetime.fromisoformat(moment).astimezone(UTC).timestamp() <= now


def _selected_images(call: Call) -> list[Thing]:
    try:
        chosen = parse_selector(call.query.get("label_selector", ""))
    except ValueError as error:
        raise _invalid("label_selector", str(error)) from error
    return [thing for thing in call.listed("snapshot") if chosen(thing.body["labels"])]


def get_image(call: Call) -> Reply:
    """One image."""
    found = _shapes(call).image(call.params["id"])
    if found is None:
        raise _missing("image", call.params["id"])
    return Reply({"image": found})


def update_image(call: Call) -> Reply:
    """Change a snapshot's description or labels."""
    snapshot = _get(call, "snapshot")
    snapshot.name = call.fields.get("description") or snapshot.name
    if call.fields.get("labels") is not None:
        snapshot.body["labels"] = _labels(call)
    call.world.save(snapshot)
    return Reply({"image": _shapes(call).snapshot(snapshot)})


def delete_image(call: Call) -> Reply:
    """Delete a snapshot."""
    snapshot = _get(call, "snapshot")
    if snapshot.body.get("protected"):
        raise Refusal(423, "protected", "image deletion is protected")
    call.world.remove(snapshot)
    return Reply(status=204)


def protect_image(call: Call) -> Reply:
    """Protect a snapshot against deletion."""
    snapshot = _get(call, "snapshot")
    snapshot.body["protected"] = bool(call.fields.get("delete"))
    call.world.save(snapshot)
    action = _act(call, "change_protection", 0.0, others=[{"id": snapshot.id, "type": "image"}])
    return Reply({"action": _shapes(call).action(action)}, 201)


# ---------------------------------------------------------------------------------------------
# Keys, placement groups, firewalls, networks, primary IPs


def _render(call: Call, kind: str) -> Callable[[Thing], Json]:
    shapes = _shapes(call)
    renderers = {
        "ssh_key": shapes.ssh_key,
        "placement_group": shapes.placement_group,
        "firewall": shapes.firewall,
        "network": shapes.network,
        "primary_ip": shapes.primary_ip,
    }
    return renderers[kind]


def _lister(kind: str) -> Handler:
    def handler(call: Call) -> Reply:
        found = _selected(call, call.listed(kind))
        if wanted := call.query.get("fingerprint"):
            found = [thing for thing in found if thing.body.get("fingerprint") == wanted]
        if wanted := call.query.get("ip"):
            found = [thing for thing in found if thing.body.get("ip") == wanted]
        return _page(call, f"{kind}s", _order(call, found), _render(call, kind))

    return handler


def _getter(kind: str) -> Handler:
    return lambda call: Reply({kind: _render(call, kind)(_get(call, kind))})


def _updater(kind: str) -> Handler:
    def handler(call: Call) -> Reply:
        thing = _get(call, kind)
        if call.fields.get("name") not in (None, thing.name):
            thing.name = _name(call, kind)
        if call.fields.get("labels") is not None:
            thing.body["labels"] = _labels(call)
        call.world.save(thing)
        return Reply({kind: _render(call, kind)(thing)})

    return handler


def _deleter(kind: str, in_use: Callable[[Thing, Thing], bool]) -> Handler:
    def handler(call: Call) -> Reply:
        thing = _get(call, kind)
        if any(in_use(thing, server) for server in call.world.servers()):
            raise Refusal(422, "resource_in_use", f"{kind.replace('_', ' ')} is still in use")
        call.world.remove(thing)
        return Reply(status=204)

    return handler


def create_ssh_key(call: Call) -> Reply:
    """Add an SSH key: its name and its fingerprint are unique."""
    name, public_key = _name(call, "ssh_key"), call.fields.get("public_key")
    if not isinstance(public_key, str) or not public_key.startswith(("ssh-", "ecdsa-", "sk-")):
        raise _invalid("public_key", "invalid public key")
    if any(key.body["public_key"] == public_key for key in call.world.things("hetzner", "ssh_key")):
        raise _taken("ssh_key", "fingerprint")
    key = call.world.add_ssh_key("hetzner", name, public_key)
    key.body["labels"] = _labels(call)
    call.world.save(key)
    return Reply({"ssh_key": _shapes(call).ssh_key(key)}, 201)


def create_placement_group(call: Call) -> Reply:
    """Add a placement group."""
    body = {"type": call.fields.get("type", "spread"), "labels": _labels(call)}
    group = call.world.add("hetzner", "placement_group", _name(call, "placement_group"), body)
    return Reply({"placement_group": _shapes(call).placement_group(group), "action": None}, 201)


def create_firewall(call: Call) -> Reply:
    """Add a firewall."""
    body = {"rules": call.fields.get("rules") or [], "labels": _labels(call)}
    firewall = call.world.add("hetzner", "firewall", _name(call, "firewall"), body)
    return Reply({"firewall": _shapes(call).firewall(firewall), "actions": []}, 201)


def _apply_firewall(command: str, *, apply: bool) -> Handler:
    def handler(call: Call) -> Reply:
        firewall = _get(call, "firewall")
        targets = call.fields.get("apply_to" if apply else "remove_from") or ()
        actions = []
        for target in targets:
            server = _get(call, "server", (target.get("server") or {}).get("id"))
            others = [applied for applied in server.body.get("firewalls", ()) if applied != firewall.id]
            server.body["firewalls"] = [*others, firewall.id] if apply else others
            call.world.save(server)
            resource = {"id": firewall.id, "type": "firewall"}
            actions.append(_act(call, command, 0.0, server=server, others=[resource]))
        return Reply({"actions": [_shapes(call).action(action) for action in actions]}, 201)

    return handler


def create_network(call: Call) -> Reply:
    """Add a network."""
    ip_range = call.fields.get("ip_range")
    if not isinstance(ip_range, str) or "/" not in ip_range:
        raise _invalid("ip_range", "invalid ip range")
    body: Json = {"ip_range": ip_range, "labels": _labels(call), "subnets": []}
    body["subnets"] = [_subnet(body, subnet) for subnet in call.fields.get("subnets") or ()]
    network = call.world.add("hetzner", "network", _name(call, "network"), body)
    return Reply({"network": _shapes(call).network(network)}, 201)


def _subnet(network: Json, wanted: Json) -> Json:
    ip_range = wanted.get("ip_range") or network["ip_range"]
    gateway = network["ip_range"].split("/")[0].rsplit(".", 1)[0] + ".1"
    zone = wanted.get("network_zone", "eu-central")
    return {"type": wanted.get("type", "cloud"), "ip_range": ip_range, "network_zone": zone, "gateway": gateway}


def add_subnet(call: Call) -> Reply:
    """Add a subnet to a network."""
    network = _get(call, "network")
    network.body["subnets"].append(_subnet(network.body, call.fields))
    call.world.save(network)
    action = _act(call, "add_subnet", 0.0, others=[{"id": network.id, "type": "network"}])
    return Reply({"action": _shapes(call).action(action)}, 201)


def create_primary_ip(call: Call) -> Reply:
    """Add a primary IP that belongs to no server yet."""
    version = call.fields.get("type")
    if version not in ("ipv4", "ipv6"):
        raise _invalid("type", "must be ipv4 or ipv6")
    location = _find_location(call.fields.get("location") or "fsn1")
    if location is None:
        raise _invalid("location", f"location '{call.fields.get('location')}' not found")
    _check_quota(call)
    name, labels = _name(call, "primary_ip"), _labels(call)
    auto_delete = bool(call.fields.get("auto_delete"))
    ip = _new_ip(call.world, version, location.name, name=name, auto_delete=auto_delete)
    ip.body["labels"] = labels
    call.world.save(ip)
    return Reply({"primary_ip": _shapes(call).primary_ip(ip), "action": None}, 201)


def delete_primary_ip(call: Call) -> Reply:
    """Delete a primary IP that belongs to no server."""
    ip = _get(call, "primary_ip")
    if ip.parent is not None:
        raise Refusal(422, "must_be_unassigned", "primary IP must be unassigned")
    call.world.remove(ip)
    return Reply(status=204)


# ---------------------------------------------------------------------------------------------
# Routes

_SERVER_ACTIONS: dict[str, Handler] = {
    "poweron": power_on,
    "poweroff": power_off,
    "shutdown": shutdown,
    "reboot": _restart("reboot_server"),
    "reset": _restart("reset_server"),
    "change_type": change_type,
    "rebuild": rebuild,
    "create_image": create_image,
    "change_protection": change_protection,
    "enable_rescue": _switch("enable_rescue", "rescue", True, root_password=None),
    "disable_rescue": _switch("disable_rescue", "rescue", False),
    "enable_backup": _switch("enable_backup", "backup_window", "22-02"),
    "disable_backup": _switch("disable_backup", "backup_window", None),
    "reset_password": _switch("reset_password", "reset", True, root_password=None),
    "attach_to_network": attach_to_network,
    "detach_from_network": detach_from_network,
    "add_to_placement_group": add_to_placement_group,
    "remove_from_placement_group": _switch("remove_from_placement_group", "placement_group", None),
}

_IN_USE: dict[str, Callable[[Thing, Thing], bool]] = {
    "ssh_key": lambda thing, server: False,
    "placement_group": lambda thing, server: server.body.get("placement_group") == thing.id,
    "firewall": lambda thing, server: thing.id in server.body.get("firewalls", ()),
    "network": lambda thing, server: any(net["network"] == thing.id for net in server.body.get("private_net", ())),
}

_TABLE: list[tuple[str, str, Handler]] = [
    ("GET", "/servers", list_servers),
    ("POST", "/servers", create_server),
    ("GET", "/servers/{id:int}", get_server),
    ("PUT", "/servers/{id:int}", update_server),
    ("DELETE", "/servers/{id:int}", delete_server),
    ("GET", "/actions", list_actions),
    ("GET", "/actions/{id:int}", get_action),
    ("GET", "/servers/actions", list_actions),
    ("GET", "/servers/actions/{id:int}", get_action),
    ("GET", "/servers/{id:int}/metrics", get_metrics),
    ("GET", "/servers/{id:int}/actions", list_server_actions),
    ("GET", "/servers/{id:int}/actions/{action:int}", get_action),
    *(("POST", f"/servers/{{id:int}}/actions/{name}", handler) for name, handler in _SERVER_ACTIONS.items()),
    ("GET", "/server_types", _list_catalogue("server_types", _server_types)),
    ("GET", "/server_types/{id:int}", _get_catalogue("server_type", _server_types)),
    ("GET", "/locations", _list_catalogue("locations", _locations)),
    ("GET", "/locations/{id:int}", _get_catalogue("location", _locations)),
    ("GET", "/datacenters", datacenters),
    ("GET", "/datacenters/{id}", datacenters),
    ("GET", "/pricing", pricing),
    ("GET", "/images", list_images),
    ("GET", "/images/{id:int}", get_image),
    ("PUT", "/images/{id:int}", update_image),
    ("DELETE", "/images/{id:int}", delete_image),
    ("POST", "/images/{id:int}/actions/change_protection", protect_image),
    *(("GET", f"/{key}", _empty(key)) for key in ("isos", "volumes", "floating_ips", "load_balancers", "certificates")),
    ("POST", "/ssh_keys", create_ssh_key),
    ("POST", "/placement_groups", create_placement_group),
    ("POST", "/firewalls", create_firewall),
    ("POST", "/firewalls/{id:int}/actions/apply_to_resources", _apply_firewall("apply_firewall", apply=True)),
    ("POST", "/firewalls/{id:int}/actions/remove_from_resources", _apply_firewall("remove_firewall", apply=False)),
    ("POST", "/networks", create_network),
    ("POST", "/networks/{id:int}/actions/add_subnet", add_subnet),
    ("POST", "/primary_ips", create_primary_ip),
    ("DELETE", "/primary_ips/{id:int}", delete_primary_ip),
    *(("DELETE", f"/{kind}s/{{id:int}}", _deleter(kind, in_use)) for kind, in_use in _IN_USE.items()),
]
for _kind in (*_IN_USE, "primary_ip"):
    _TABLE += [
        ("GET", f"/{_kind}s", _lister(_kind)),
        ("GET", f"/{_kind}s/{{id:int}}", _getter(_kind)),
        ("PUT", f"/{_kind}s/{{id:int}}", _updater(_kind)),
    ]

routes = [route(API, method, f"/v1{path}", handler) for method, path, handler in _TABLE]
