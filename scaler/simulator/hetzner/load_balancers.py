"""Load balancers, whose targets are servers or all servers that a label selector selects. They pass no requests on."""

from __future__ import annotations

from scaler.simulator.bodies import mapping, number, text, wrong_field
from scaler.simulator.call import ApiError, Call, Reply
from scaler.simulator.hetzner.actions import act, settle, succeeds
from scaler.simulator.hetzner.catalogue import LOCATIONS
from scaler.simulator.hetzner.labels import parse_selector
from scaler.simulator.hetzner.offers import find_location
from scaler.simulator.hetzner.replies import get, invalid, labels_asked_for, new_name, reference, shapes
from scaler.simulator.hetzner.shapes import LOAD_BALANCER_TYPES, Json
from scaler.simulator.things import Thing

_LAST_PORT = 65535
_PROTOCOLS = ("tcp", "http", "https")
_PORTS: dict[str, tuple[int, int]] = {"http": (80, 80), "https": (443, 80)}
"""Where a service listens, and where it sends requests to, if the request does not say (hcloud-go's defaults)."""

_HTTP: Json = {
    "cookie_name": "HCLBSTICKY",
    "cookie_lifetime": 300,
    "certificates": [],
    "redirect_http": False,
    "sticky_sessions": False,
    "timeout_idle": 60,
}
_HEALTH_HTTP: Json = {"domain": "", "path": "/", "response": "", "status_codes": ["2??", "3??"], "tls": False}


def load_balancer_types(call: Call) -> list[Json]:
    """The types that can be ordered."""
    return [dict(kind) for kind in LOAD_BALANCER_TYPES]


def create_load_balancer(call: Call) -> Reply:
    """Add a load balancer, with the services and targets that the request names."""
    fields = call.fields
    if fields.get("network") is not None:
        reference(call, "network", fields["network"])
        raise ApiError(501, "not_implemented", "load balancers are in no network here")
    wanted = fields.get("load_balancer_type")
    kind = next((each for each in LOAD_BALANCER_TYPES if wanted in (each["name"], each["id"])), None)
    if kind is None:
        raise invalid("load_balancer_type", f"load balancer type '{wanted}' not found")
    zone = fields.get("network_zone")
    places = (place for place in LOCATIONS.values() if place.network_zone == zone)
    location = find_location(fields.get("location")) or next(places, None)
    if location is None:
        raise invalid("location", "location or network_zone is needed")
    body: Json = {
        "type": kind["name"],
        "location": location.name,
        "algorithm": (fields.get("algorithm") or {}).get("type") or "round_robin",
        "labels": labels_asked_for(call),
        "services": [_service(each) for each in fields.get("services") or ()],
        "targets": [_target(call, each) for each in fields.get("targets") or ()],
    }
    balancer = call.world.add("hetzner", "load_balancer", new_name(call, "load_balancer"), body)
    view = shapes(call)
    action = _act(call, balancer, "create_load_balancer")
    return Reply({"load_balancer": view.load_balancer(balancer), "action": view.action(action)}, 201)


def add_service(call: Call) -> Reply:
    """Have a load balancer listen on one more port."""
    balancer, service = get(call, "load_balancer"), _service(call.fields)
    if service["listen_port"] in (each["listen_port"] for each in balancer.body["services"]):
        raise invalid("listen_port", f"source port '{service['listen_port']}' is already used")
    balancer.body["services"] = [*balancer.body["services"], service]
    return _changed(call, balancer, "add_service")


def add_target(call: Call) -> Reply:
    """Send requests to one more server, or to all that a selector selects."""
    balancer, target = get(call, "load_balancer"), _target(call, call.fields)
    if any(_is_same(target, other) for other in balancer.body["targets"]):
        raise ApiError(422, "target_already_defined", "target already defined")
    balancer.body["targets"] = [*balancer.body["targets"], target]
    return _changed(call, balancer, "add_target")


def delete_load_balancer(call: Call) -> Reply:
    """Delete a load balancer; the answer has an action (hcloud-python 2.27 reads it)."""
    balancer = get(call, "load_balancer")
    action = _act(call, balancer, "delete_load_balancer")
    if succeeds(action):
        call.world.remove(balancer)
    return Reply({"action": shapes(call).action(action)})


def _is_same(target: Json, other: Json) -> bool:
    return {**target, "use_private_ip": None} == {**other, "use_private_ip": None}


def _changed(call: Call, balancer: Thing, command: str) -> Reply:
    action = settle(call, _act(call, balancer, command), balancer)
    return Reply({"action": shapes(call).action(action)}, 201)


def _act(call: Call, balancer: Thing, command: str) -> Thing:
    return act(call, command, 0.0, others=[{"id": balancer.id, "type": "load_balancer"}])


def _service(asked: Json) -> Json:
    """A service as the request describes it, with every field that the answer has."""
    protocol = asked.get("protocol")
    if protocol not in _PROTOCOLS:
        raise invalid("protocol", f"protocol must be one of {', '.join(_PROTOCOLS)}")
    listen, destination = _PORTS.get(protocol, (0, 0))
    ports = {
        "listen_port": asked.get("listen_port") or listen,
        "destination_port": asked.get("destination_port") or destination,
    }
    for name, port in ports.items():
        if not number(port) or not 1 <= port <= _LAST_PORT:
            raise invalid(name, "must be a port")
    is_http = protocol != "tcp"
    health: Json = {
        "protocol": "http" if is_http else "tcp",
        "port": ports["destination_port"],
        "interval": 15,
        "timeout": 10,
        "retries": 3,
        **({"http": dict(_HEALTH_HTTP)} if is_http else {}),
    }
    return {
        "protocol": protocol,
        **ports,
        "proxyprotocol": bool(asked.get("proxyprotocol")),
        "health_check": {**health, **(asked.get("health_check") or {})},
        **({"http": {**_HTTP, **(asked.get("http") or {})}} if is_http else {}),
    }


def _target(call: Call, asked: Json) -> Json:
    """A target as the request names it."""
    if wrong := wrong_field(asked, {"type": text, "server": mapping, "label_selector": mapping}):
        raise invalid(wrong, "has the wrong type")
    private = {"use_private_ip": bool(asked.get("use_private_ip"))}
    if asked.get("type") == "label_selector":
        selector = (asked.get("label_selector") or {}).get("selector")
        try:
            parse_selector(selector or "")
        except ValueError as error:
            raise invalid("label_selector", str(error)) from error
        if not selector:
            raise invalid("label_selector", "Missing data for required field.")
        return {"type": "label_selector", "selector": selector, **private}
    if asked.get("type") == "server":
        server = reference(call, "server", (asked.get("server") or {}).get("id"))
        return {"type": "server", "server": server.id, **private}
    raise invalid("type", "type must be server or label_selector")
