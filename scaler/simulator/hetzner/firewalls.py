"""Firewalls."""

from __future__ import annotations

import ipaddress

from scaler.simulator.bodies import digits, several, text, wrong_field
from scaler.simulator.call import ApiError, Call, Handler, Reply
from scaler.simulator.hetzner.actions import act, settle, succeeds
from scaler.simulator.hetzner.labels import parse_selector
from scaler.simulator.hetzner.replies import get, invalid, labels_asked_for, new_name, shapes
from scaler.simulator.hetzner.shapes import Json
from scaler.simulator.things import Thing

LAST_PORT = 65535
LONGEST_DESCRIPTION = 255
"""Characters that a rule's description may have (the vendor's document of `create_firewall`)."""

MOST_RULES = 50
"""Of one firewall (the vendor's document of `set_rules`)."""

MOST_FIREWALLS = 5
"""Of one server, those of label selectors included (the vendor's document of `apply_to_resources`)."""


def create_firewall(call: Call) -> Reply:
    """Add a firewall, and apply it to what the request names, each server once."""
    named = [(target.get("server") or {}).get("id") for target in call.fields.get("apply_to") or ()]
    servers = [number for number in named if number is not None]
    if len(servers) != len(set(servers)):
        raise ApiError(422, "server_already_added", "server was applied more than once")
    body = {"rules": _rules(call), "labels": labels_asked_for(call), "selectors": []}
    firewall = call.world.add("hetzner", "firewall", new_name(call, "firewall"), body)
    actions = _change(call, firewall, "apply_to", apply=True)
    view = shapes(call)
    return Reply({"firewall": view.firewall(firewall), "actions": [view.action(action) for action in actions]}, 201)


def apply_firewall(*, apply: bool) -> Handler:
    """Apply a firewall to servers and to label selectors, or remove it from them."""

    def handler(call: Call) -> Reply:
        firewall = get(call, "firewall")
        if not call.fields.get("apply_to" if apply else "remove_from"):
            raise invalid("apply_to" if apply else "remove_from", "Missing data for required field.")
        actions = _change(call, firewall, "apply_to" if apply else "remove_from", apply=apply)
        return Reply({"actions": [shapes(call).action(action) for action in actions]}, 201)

    return handler


def set_rules(call: Call) -> Reply:
    """Replace a firewall's rules."""
    firewall = get(call, "firewall")
    if call.fields.get("rules") is None:
        raise invalid("rules", "Missing data for required field.")
    firewall.body["rules"] = _rules(call)
    action = act(call, "set_firewall_rules", 0.0, others=[{"id": firewall.id, "type": "firewall"}])
    settle(call, action, firewall)
    return Reply({"actions": [shapes(call).action(action)]}, 201)


_PROTOCOLS = ("tcp", "udp", "icmp", "esp", "gre")
_WITH_PORTS = ("tcp", "udp")
_RULE_FIELDS = {"port": text, "description": text, "source_ips": several(text), "destination_ips": several(text)}
_RULE: Json = {"source_ips": [], "destination_ips": [], "port": None, "description": None}


def _rules(call: Call) -> list[Json]:
    """The rules that a request names, with every field that the answer has."""
    rules = call.fields.get("rules") or ()
    if len(rules) > MOST_RULES:
        raise invalid("rules", f"a firewall can have at most {MOST_RULES} rules")
    for rule in rules:
        if (rule.get("port") is not None) != (rule.get("protocol") in _WITH_PORTS):
            raise invalid("rules", f"port is for {' and '.join(_WITH_PORTS)}, and needed there")
        if rule.get("direction") not in ("in", "out") or rule.get("protocol") not in _PROTOCOLS:
            raise invalid("rules", f"direction must be in or out, and protocol one of {', '.join(_PROTOCOLS)}")
        if wrong := wrong_field(rule, _RULE_FIELDS):
            raise invalid("rules", f"{wrong} has the wrong type")
        _check_range_of(rule)
    return [{**_RULE, **{key: value for key, value in rule.items() if value is not None}} for rule in rules]


def _check_range_of(rule: Json) -> None:
    """Refuse a rule without addresses for its direction, or with an address, a port or a description that is none."""
    own, other = ("source_ips", "destination_ips") if rule["direction"] == "in" else ("destination_ips", "source_ips")
    if not rule.get(own) or rule.get(other):
        raise invalid("rules", f"a rule of the direction {rule['direction']} has {own}, and no {other}")
    for address in rule[own]:
        try:
            ipaddress.ip_network(address if "/" in address else "")
        except ValueError as error:
            raise invalid("rules", f"'{address}' is not in CIDR notation") from error
    if len(rule.get("description") or "") > LONGEST_DESCRIPTION:
        raise invalid("rules", f"a description has at most {LONGEST_DESCRIPTION} characters")
    if rule.get("port") is not None and not _is_port(rule["port"]):
        raise invalid("rules", f"'{rule['port']}' is no port, and no range of ports")


def _is_port(text: str) -> bool:
    """Whether a text is a port, a range of ports such as 80-85, or `any`."""
    ends = [digits(end) or 0 for end in text.split("-", 1)]
    return text == "any" or 1 <= ends[0] <= ends[-1] <= LAST_PORT


def _change(call: Call, firewall: Thing, field: str, *, apply: bool) -> list[Thing]:
    """Apply a firewall to the resources in a field of the request, or remove it; the actions, one for each server."""
    command = "apply_firewall" if apply else "remove_firewall"
    actions: list[Thing] = []
    for target in call.fields.get(field) or ():
        selector = (target.get("label_selector") or {}).get("selector")
        if selector is None:
            actions.append(_change_server(call, firewall, (target.get("server") or {}).get("id"), command))
            continue
        matching = _matching(call, selector, field)
        others = [other for other in firewall.body.get("selectors", ()) if other != selector]
        firewall.body["selectors"] = [*others, selector] if apply else others
        begun = [_action(call, firewall, server, command) for server in matching]
        if all(map(succeeds, begun)):
            call.world.save(firewall)
        actions += begun
    return actions


def _matching(call: Call, selector: str, field: str) -> list[Thing]:
    try:
        chosen = parse_selector(selector)
    except ValueError as error:
        raise invalid(field, str(error)) from error
    return [server for server in call.world.servers() if chosen(server.body["labels"])]


def _change_server(call: Call, firewall: Thing, number: int | None, command: str) -> Thing:
    server = call.world.get("hetzner", "server", number or 0)
    if server is None:
        # The document of the two actions says 404, the one of the creation 422.
        status = 404 if "id" in call.params else 422
        raise ApiError(status, "firewall_resource_not_found", f"server with ID '{number}' not found")
    if command == "remove_firewall" and _is_selected(firewall, server):
        message = "firewall is applied via a label selector and cannot be removed manually"
        raise ApiError(422, "firewall_managed_by_label_selector", message)
    if command == "apply_firewall" and not (server.body.get("ipv4") or server.body.get("ipv6")):
        raise ApiError(422, "private_net_only_server", "firewalls need a server with a public interface")
    if command == "apply_firewall" and firewall.id in server.body.get("firewalls", ()):
        raise ApiError(422, "firewall_already_applied", "firewall is already applied to the server")
    others = [applied for applied in server.body.get("firewalls", ()) if applied != firewall.id]
    if command == "apply_firewall" and len(others) >= MOST_FIREWALLS:
        raise invalid("apply_to", f"a server can have at most {MOST_FIREWALLS} firewalls")
    server.body["firewalls"] = [*others, firewall.id] if command == "apply_firewall" else others
    return settle(call, _action(call, firewall, server, command), server)


def _is_selected(firewall: Thing, server: Thing) -> bool:
    """Whether one of the firewall's label selectors applies it to the server, and nobody by hand."""
    if firewall.id in server.body.get("firewalls", ()):
        return False
    return any(parse_selector(selector)(server.body["labels"]) for selector in firewall.body.get("selectors", ()))


def _action(call: Call, firewall: Thing, server: Thing, command: str) -> Thing:
    return act(call, command, 0.0, server=server, others=[{"id": firewall.id, "type": "firewall"}])
