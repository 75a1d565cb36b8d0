"""Firewalls."""

from __future__ import annotations

from scaler.simulator.call import Call, Handler, Reply
from scaler.simulator.hetzner.actions import act
from scaler.simulator.hetzner.replies import get, labels_asked_for, new_name, shapes


def create_firewall(call: Call) -> Reply:
    """Add a firewall."""
    body = {"rules": call.fields.get("rules") or [], "labels": labels_asked_for(call)}
    firewall = call.world.add("hetzner", "firewall", new_name(call, "firewall"), body)
    return Reply({"firewall": shapes(call).firewall(firewall), "actions": []}, 201)


def apply_firewall(command: str, *, apply: bool) -> Handler:
    """Apply a firewall to servers, or remove it from them."""

    def handler(call: Call) -> Reply:
        firewall = get(call, "firewall")
        targets = call.fields.get("apply_to" if apply else "remove_from") or ()
        actions = []
        for target in targets:
            server = get(call, "server", (target.get("server") or {}).get("id"))
            others = [applied for applied in server.body.get("firewalls", ()) if applied != firewall.id]
            server.body["firewalls"] = [*others, firewall.id] if apply else others
            call.world.save(server)
            resource = {"id": firewall.id, "type": "firewall"}
            actions.append(act(call, command, 0.0, server=server, others=[resource]))
        return Reply({"actions": [shapes(call).action(action) for action in actions]}, 201)

    return handler
