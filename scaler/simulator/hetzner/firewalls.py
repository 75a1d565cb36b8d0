"""Firewalls."""

from __future__ import annotations

from scaler.simulator.call import ApiError, Call, Handler, Reply
from scaler.simulator.hetzner.actions import act
from scaler.simulator.hetzner.labels import parse_selector
from scaler.simulator.hetzner.replies import get, invalid, labels_asked_for, new_name, shapes
from scaler.simulator.hetzner.shapes import Json
from scaler.simulator.things import Thing


def create_firewall(call: Call) -> Reply:
    """Add a firewall, and apply it to what the request names."""
    body = {"rules": _rules(call), "labels": labels_asked_for(call)}
    firewall = call.world.add("hetzner", "firewall", new_name(call, "firewall"), body)
    actions = [_apply(call, firewall, server, "apply_firewall") for server in _targets(call, "apply_to")]
    view = shapes(call)
    return Reply({"firewall": view.firewall(firewall), "actions": [view.action(action) for action in actions]}, 201)


def apply_firewall(command: str, *, apply: bool) -> Handler:
    """Apply a firewall to servers, or remove it from them."""

    def handler(call: Call) -> Reply:
        firewall = get(call, "firewall")
        targets = _targets(call, "apply_to" if apply else "remove_from")
        actions = [_apply(call, firewall, server, command) for server in targets]
        return Reply({"actions": [shapes(call).action(action) for action in actions]}, 201)

    return handler


def set_rules(call: Call) -> Reply:
    """Replace a firewall's rules."""
    firewall = get(call, "firewall")
    firewall.body["rules"] = _rules(call)
    call.world.save(firewall)
    action = act(call, "set_firewall_rules", 0.0, others=[{"id": firewall.id, "type": "firewall"}])
    return Reply({"actions": [shapes(call).action(action)]}, 201)


_RULE: Json = {"source_ips": [], "destination_ips": [], "port": None, "description": None}


def _rules(call: Call) -> list[Json]:
    """The rules that a request names, with every field that the answer has."""
    rules = call.fields.get("rules") or ()
    return [{**_RULE, **{key: value for key, value in rule.items() if value is not None}} for rule in rules]


def _targets(call: Call, field: str) -> list[Thing]:
    """The servers that a request names, by their ids or by a label selector as it matches now."""
    servers: list[Thing] = []
    for target in call.fields.get(field) or ():
        selector = (target.get("label_selector") or {}).get("selector")
        if selector is None:
            servers.append(get(call, "server", (target.get("server") or {}).get("id") or 0))
            continue
        try:
            chosen = parse_selector(selector)
        except ValueError as error:
            raise invalid(field, str(error)) from error
        servers += [server for server in call.world.servers() if chosen(server.body["labels"])]
    return servers


def _apply(call: Call, firewall: Thing, server: Thing, command: str) -> Thing:
    others = [applied for applied in server.body.get("firewalls", ()) if applied != firewall.id]
    if command == "apply_firewall" and not (server.body.get("ipv4") or server.body.get("ipv6")):
        raise ApiError(422, "private_net_only_server", "firewalls need a server with a public interface")
    server.body["firewalls"] = [*others, firewall.id] if command == "apply_firewall" else others
    call.world.save(server)
    return act(call, command, 0.0, server=server, others=[{"id": firewall.id, "type": "firewall"}])
