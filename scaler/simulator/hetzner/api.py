"""Hetzner Cloud's API v1: its conventions and its routes, each with the function that answers it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

from scaler.simulator.bodies import Kind, flag, mapping, number, record, several, text, text_or_number
from scaler.simulator.call import Api, ApiError, Handler
from scaler.simulator.exchange import route
from scaler.simulator.hetzner.actions import get_action, list_actions, list_actions_of, list_server_actions
from scaler.simulator.hetzner.firewalls import apply_firewall, create_firewall, set_rules
from scaler.simulator.hetzner.images import delete_image, get_image, list_images, protect_image, update_image
from scaler.simulator.hetzner.load_balancers import (
    add_service,
    add_target,
    create_load_balancer,
    delete_load_balancer,
    load_balancer_types,
)
from scaler.simulator.hetzner.metrics import get_metrics
from scaler.simulator.hetzner.networks import (
    add_route,
    add_subnet,
    change_ip_range,
    create_network,
    delete_network,
    delete_route,
    delete_subnet,
    protect_network,
)
from scaler.simulator.hetzner.offers import (
    datacenters,
    get_catalogue,
    isos,
    list_catalogue,
    list_nothing,
    locations,
    pricing,
    server_types,
    server_types_by_id,
)
from scaler.simulator.hetzner.orders import create_server
from scaler.simulator.hetzner.primary_ips import (
    assign_primary_ip,
    change_pointer,
    change_server_pointer,
    create_primary_ip,
    delete_primary_ip,
    protect_primary_ip,
    unassign_primary_ip,
)
from scaler.simulator.hetzner.replies import invalid
from scaler.simulator.hetzner.resources import create_placement_group, create_ssh_key, deleter, getter, lister, updater
from scaler.simulator.hetzner.server_actions import (
    add_to_placement_group,
    attach_iso,
    attach_to_network,
    change_alias_ips,
    change_protection,
    change_type,
    create_image,
    detach_from_network,
    disable_backup,
    enable_rescue,
    power_off,
    power_on,
    rebuild,
    restarter,
    shutdown,
    switcher,
)
from scaler.simulator.hetzner.servers import delete_server, get_server, list_servers, update_server
from scaler.simulator.hetzner.shapes import Json
from scaler.simulator.things import Thing

TOKEN_LENGTH = 64


def _error_body(error: ApiError, request_id: str) -> Json:
    return {"error": {"code": error.code, "message": error.message, "details": error.details}}


_FIELDS: dict[str, Kind] = {
    "algorithm": record(type=text),
    "alias_ips": several(text),
    "apply_to": several(record(server=record(id=number), label_selector=record(selector=text), type=text)),
    "assignee_id": number,
    "assignee_type": text,
    "auto_delete": flag,
    "automount": flag,
    "delete": flag,
    "description": text,
    "destination": text,
    "destination_port": number,
    "dns_ptr": text,
    "expose_routes_to_vswitch": flag,
    "firewalls": several(record(firewall=text_or_number)),
    "gateway": text,
    "health_check": mapping,
    "http": mapping,
    "image": text_or_number,
    "ip": text,
    "iso": text_or_number,
    "ip_range": text,
    "label_selector": record(selector=text),
    "labels": mapping,
    "listen_port": number,
    "load_balancer_type": text_or_number,
    "location": text_or_number,
    "name": text,
    "network": number,
    "network_zone": text,
    "networks": several(number),
    "placement_group": text_or_number,
    "protocol": text,
    "proxyprotocol": flag,
    "public_key": text,
    "public_net": record(enable_ipv4=flag, enable_ipv6=flag, ipv4=number, ipv6=number),
    "rebuild": flag,
    "remove_from": several(record(server=record(id=number), label_selector=record(selector=text), type=text)),
    "routes": several(record(destination=text, gateway=text)),
    "rules": several(mapping),
    "server": record(id=number),
    "server_type": text_or_number,
    "services": several(mapping),
    "ssh_keys": several(text_or_number),
    "start_after_create": flag,
    "subnets": several(record(type=text, ip_range=text, network_zone=text, gateway=text, vswitch_id=number)),
    "targets": several(mapping),
    "type": text,
    "upgrade_disk": flag,
    "use_private_ip": flag,
    "user_data": text,
    "volumes": several(number),
    "vswitch_id": number,
}

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
    unauthorized=ApiError(401, "unauthorized", "unable to authenticate"),
    readonly=ApiError(401, "token_readonly", "token is only allowed to perform GET requests"),
    rate_limited=ApiError(429, "rate_limit_exceeded", "limit of 3600 requests per hour reached"),
    not_found=ApiError(404, "not_found", "not found"),
    well_formed=lambda token: len(token) == TOKEN_LENGTH,
    fields=_FIELDS,
    wrong_type=lambda field: invalid(field, "has the wrong type"),
)


_SERVER_ACTIONS: dict[str, Handler] = {
    "poweron": power_on,
    "poweroff": power_off,
    "shutdown": shutdown,
    "reboot": restarter("reboot_server"),
    "reset": restarter("reset_server"),
    "change_type": change_type,
    "rebuild": rebuild,
    "create_image": create_image,
    "change_protection": change_protection,
    "enable_rescue": enable_rescue,
    "disable_rescue": switcher("disable_rescue", "rescue", False),
    "enable_backup": switcher("enable_backup", "backup_window", "22-02"),
    "disable_backup": disable_backup,
    "reset_password": switcher("reset_password", "reset", True, password=True),
    "attach_iso": attach_iso,
    "detach_iso": switcher("detach_iso", "iso", None, needed="server has no ISO attached"),
    "change_alias_ips": change_alias_ips,
    "attach_to_network": attach_to_network,
    "detach_from_network": detach_from_network,
    "add_to_placement_group": add_to_placement_group,
    "remove_from_placement_group": switcher(
        "remove_from_placement_group", "placement_group", None, needed="server is not part of a placement group"
    ),
}


_IN_USE: dict[str, Callable[[Thing, Thing], bool]] = {
    "ssh_key": lambda thing, server: False,
    "placement_group": lambda thing, server: server.coming("placement_group") == thing.id,
    "firewall": lambda thing, server: thing.id in server.body.get("firewalls", ()) or bool(thing.body.get("selectors")),
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
    ("GET", "/server_types", list_catalogue("server_types", server_types)),
    ("GET", "/server_types/{id:int}", get_catalogue("server_type", server_types_by_id)),
    ("GET", "/locations", list_catalogue("locations", locations)),
    ("GET", "/locations/{id:int}", get_catalogue("location", locations)),
    ("GET", "/isos", list_catalogue("isos", isos)),
    ("GET", "/isos/{id:int}", get_catalogue("iso", isos)),
    ("GET", "/datacenters", datacenters),
    ("GET", "/datacenters/{id}", datacenters),
    ("GET", "/pricing", pricing),
    ("GET", "/images", list_images),
    ("GET", "/images/{id:int}", get_image),
    ("PUT", "/images/{id:int}", update_image),
    ("DELETE", "/images/{id:int}", delete_image),
    ("POST", "/images/{id:int}/actions/change_protection", protect_image),
    *(("GET", f"/{key}", list_nothing(key)) for key in ("volumes", "floating_ips", "certificates")),
    ("GET", "/load_balancer_types", list_catalogue("load_balancer_types", load_balancer_types)),
    ("GET", "/load_balancer_types/{id:int}", get_catalogue("load_balancer_type", load_balancer_types)),
    ("POST", "/load_balancers", create_load_balancer),
    ("DELETE", "/load_balancers/{id:int}", delete_load_balancer),
    ("POST", "/load_balancers/{id:int}/actions/add_service", add_service),
    ("POST", "/load_balancers/{id:int}/actions/add_target", add_target),
    ("POST", "/ssh_keys", create_ssh_key),
    ("POST", "/placement_groups", create_placement_group),
    ("POST", "/firewalls", create_firewall),
    ("POST", "/firewalls/{id:int}/actions/apply_to_resources", apply_firewall(apply=True)),
    ("POST", "/firewalls/{id:int}/actions/remove_from_resources", apply_firewall(apply=False)),
    ("POST", "/networks", create_network),
    ("POST", "/networks/{id:int}/actions/add_subnet", add_subnet),
    ("POST", "/networks/{id:int}/actions/delete_subnet", delete_subnet),
    ("POST", "/networks/{id:int}/actions/change_ip_range", change_ip_range),
    ("POST", "/networks/{id:int}/actions/add_route", add_route),
    ("POST", "/networks/{id:int}/actions/delete_route", delete_route),
    ("POST", "/networks/{id:int}/actions/change_protection", protect_network),
    ("POST", "/firewalls/{id:int}/actions/set_rules", set_rules),
    ("POST", "/primary_ips/{id:int}/actions/assign", assign_primary_ip),
    ("POST", "/primary_ips/{id:int}/actions/unassign", unassign_primary_ip),
    ("POST", "/primary_ips/{id:int}/actions/change_protection", protect_primary_ip),
    ("POST", "/primary_ips/{id:int}/actions/change_dns_ptr", change_pointer),
    ("POST", "/servers/{id:int}/actions/change_dns_ptr", change_server_pointer),
    ("POST", "/primary_ips", create_primary_ip),
    ("DELETE", "/primary_ips/{id:int}", delete_primary_ip),
    ("DELETE", "/networks/{id:int}", delete_network),
    *(("DELETE", f"/{kind}s/{{id:int}}", deleter(kind, in_use)) for kind, in_use in _IN_USE.items()),
]


for _kind in (*_IN_USE, "load_balancer", "network", "primary_ip"):
    _TABLE += [
        ("GET", f"/{_kind}s", lister(_kind)),
        ("GET", f"/{_kind}s/{{id:int}}", getter(_kind)),
        ("PUT", f"/{_kind}s/{{id:int}}", updater(_kind)),
    ]

for _name, _kind in (
    ("firewalls", "firewall"),
    ("images", "snapshot"),
    ("load_balancers", "load_balancer"),
    ("networks", "network"),
    ("primary_ips", "primary_ip"),
):
    _TABLE += [
        ("GET", f"/{_name}/actions", list_actions),
        ("GET", f"/{_name}/actions/{{id:int}}", get_action),
        ("GET", f"/{_name}/{{id:int}}/actions", list_actions_of(_kind)),
        ("GET", f"/{_name}/{{id:int}}/actions/{{action:int}}", get_action),
    ]


NOT_SERVED = re.compile(
    r"/v1/(volumes|floating_ips|certificates|zones|storage_boxes)\b"
    r"|/v1/load_balancers/[0-9]+/metrics\b"
    r"|/v1/(servers|images|networks|firewalls|primary_ips|load_balancers)/([0-9]+/)?actions\b"
)
"""Parts of the API that exist at Hetzner and not here."""

routes = [route(API, method, f"/v1{path}", handler) for method, path, handler in _TABLE]
