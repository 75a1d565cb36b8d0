"""Load balancers, whose targets are droplets or all droplets with a tag. They pass no requests on."""

from __future__ import annotations

import uuid

from scaler.simulator.call import Call, Reply
from scaler.simulator.digitalocean.catalogue import REGIONS
from scaler.simulator.digitalocean.replies import CLOUD, NO_CONTENT, find_tag, not_found, page, refused, shapes
from scaler.simulator.digitalocean.shapes import Json
from scaler.simulator.things import Thing

_PROTOCOLS = ("http", "https", "http2", "http3", "tcp", "udp")
_RULE: Json = {"certificate_id": "", "tls_passthrough": False}
_LAST_PORT = 65535


def list_load_balancers(call: Call) -> Reply:
    """GET /v2/load_balancers."""
    return page(call, "load_balancers", call.listed("load_balancer"), shapes(call).load_balancer)


def get_load_balancer(call: Call) -> Reply:
    """GET /v2/load_balancers/{id}."""
    return Reply({"load_balancer": shapes(call).load_balancer(_balancer(call))})


def delete_load_balancer(call: Call) -> Reply:
    """DELETE /v2/load_balancers/{id}."""
    call.world.remove(_balancer(call))
    return NO_CONTENT


def create_load_balancer(call: Call) -> Reply:
    """POST /v2/load_balancers, with `tag` or `droplet_ids`. It is active at once."""
    name, region, named_tag = (call.fields.get(key) for key in ("name", "region", "tag"))
    droplet_ids = call.fields.get("droplet_ids") or []
    if not name or region not in REGIONS:
        raise refused("name and region are required")
    if named_tag and droplet_ids:
        raise refused("only one of tag and droplet_ids can be specified")
    tag = find_tag(call, named_tag) if named_tag else ""
    if tag is None:
        raise refused(f"tag {named_tag} does not exist")
    if any(call.world.get(CLOUD, "server", number) is None for number in droplet_ids):
        raise not_found()
    body: Json = {
        "uuid": str(uuid.uuid4()),
        "region": region,
        "tag": tag,
        "droplet_ids": droplet_ids,
        "forwarding_rules": [_rule(rule) for rule in call.fields.get("forwarding_rules") or ()],
    }
    if not body["forwarding_rules"]:
        raise refused("forwarding_rules is required")
    balancer = call.world.add(CLOUD, "load_balancer", name, body)
    return Reply({"load_balancer": shapes(call).load_balancer(balancer)}, 202)


def _rule(asked: Json) -> Json:
    for side in ("entry", "target"):
        port = asked.get(f"{side}_port")
        if asked.get(f"{side}_protocol") not in _PROTOCOLS or not isinstance(port, int) or not 1 <= port <= _LAST_PORT:
            raise refused(f"forwarding_rules need a {side}_protocol and a {side}_port")
    return {**_RULE, **asked}


def _balancer(call: Call) -> Thing:
    for found in call.world.things(CLOUD, "load_balancer"):
        if found.body["uuid"] == call.params["id"]:
            return found
    raise not_found()
