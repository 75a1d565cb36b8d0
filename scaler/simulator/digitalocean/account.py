"""The account and what is around its droplets: catalogue, tags, keys, projects, VPCs, reserved addresses."""

from __future__ import annotations

import math
import re
import uuid
from ipaddress import IPv4Network
from typing import Any

from scaler.simulator.bodies import digits
from scaler.simulator.call import ApiError, Call, Handler, Reply
from scaler.simulator.digitalocean.catalogue import REGIONS, SIZES
from scaler.simulator.digitalocean.replies import (
    CLOUD,
    NO_CONTENT,
    find_ssh_key,
    make_tag,
    not_found,
    page,
    refused,
    shapes,
    tag_names,
)
from scaler.simulator.digitalocean.shapes import PROJECT_ID, Json, vpc_id
from scaler.simulator.ssh_keys import fingerprint_of, is_well_formed, type_of
from scaler.simulator.things import FOREVER, Thing

_PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
"""RFC 1918."""

_VPC_NAME = re.compile(r"[a-zA-Z0-9.-]+")
_LONGEST_DESCRIPTION = 255
"""Both by the vendor's document."""

_KINDS = {"droplet": "server", "image": "snapshot"}
"""Our kinds of what a tag can be put on."""

# ---------------------------------------------------------------------------------------------
# The account and the catalogue


def get_account(call: Call) -> Reply:
    """GET /v2/account."""
    return Reply({"account": shapes(call).account()})


def list_sizes(call: Call) -> Reply:
    """GET /v2/sizes."""
    return page(call, "sizes", list(SIZES), shapes(call).size)


def list_regions(call: Call) -> Reply:
    """GET /v2/regions."""
    return page(call, "regions", list(REGIONS), shapes(call).region)


def list_nothing(key: str) -> Handler:
    """GET /v2/<key>: the account has none, and the embedded cloud makes none."""
    return lambda call: page(call, key, (), dict)


# ---------------------------------------------------------------------------------------------
# Tags


def list_tags(call: Call) -> Reply:
    """GET /v2/tags."""
    return page(call, "tags", tag_names(call), shapes(call).tag)


def create_tag(call: Call) -> Reply:
    """POST /v2/tags: also when there is one."""
    return Reply({"tag": shapes(call).tag(make_tag(call, call.fields.get("name")))}, 201)


def get_tag(call: Call) -> Reply:
    """GET /v2/tags/{name}."""
    return Reply({"tag": shapes(call).tag(_tag(call))})


def delete_tag(call: Call) -> Reply:
    """DELETE /v2/tags/{name}: takes it off everything."""
    tag = _tag(call)
    for kind in _KINDS.values():
        for thing in call.world.things(CLOUD, kind):
            _put_off(call, thing, tag)
    for thing in call.world.find(CLOUD, "tag", tag):
        call.world.remove(thing)
    return NO_CONTENT


def tag_resources(call: Call) -> Reply:
    """POST /v2/tags/{name}/resources."""
    tag = _tag(call)
    for thing in _resources(call):
        if tag not in thing.body["tags"]:
            thing.remember(call.now + call.knobs.read_lag_s, "tags")
            thing.body["tags"] = [*thing.body["tags"], tag]
            call.world.save(thing)
    return NO_CONTENT


def untag_resources(call: Call) -> Reply:
    """DELETE /v2/tags/{name}/resources, with a body."""
    # A tag outlives its last use, also one that was put on from outside.
    tag = make_tag(call, _tag(call))
    for thing in _resources(call):
        _put_off(call, thing, tag)
    return NO_CONTENT


def _put_off(call: Call, thing: Thing, tag: str) -> None:
    if tag in thing.body["tags"]:
        thing.remember(call.now + call.knobs.read_lag_s, "tags")
        thing.body["tags"] = [other for other in thing.body["tags"] if other != tag]
        call.world.save(thing)


def _tag(call: Call) -> str:
    """The tag that the path names: in its canonical case, that is, as it was made."""
    tag = str(call.params["name"])
    if tag not in tag_names(call):
        raise not_found()
    return tag


def _resources(call: Call) -> list[Thing]:
    named = call.fields.get("resources")
    if not isinstance(named, list) or not all(isinstance(each, dict) for each in named):
        raise refused("resources must be a list of objects")
    return [_resource(call, each) for each in named]


def _resource(call: Call, named: Json) -> Thing:
    kind, number = _KINDS.get(str(named.get("resource_type"))), digits(str(named.get("resource_id")))
    found = call.world.get(CLOUD, kind, number) if kind and number else None
    if found is None:
        raise not_found()
    return found


# ---------------------------------------------------------------------------------------------
# SSH keys


def list_keys(call: Call) -> Reply:
    """GET /v2/account/keys: at most ten times a minute."""
    _count_listing(call)
    return page(call, "ssh_keys", call.listed("ssh_key"), shapes(call).ssh_key)


def _count_listing(call: Call) -> None:
    recent = [moment for moment in call.world.setting("key_listings", ()) if moment > call.now - 60]
    if len(recent) >= call.knobs.keys_per_minute:
        wait = max(1, math.ceil(recent[0] + 60 - call.now))
        raise ApiError(429, "too_many_requests", "API Rate limit exceeded.", headers={"retry-after": str(wait)})
    call.world.set("key_listings", [*recent, call.now])


_KEY_TYPES = (
    *("ssh-rsa", "ssh-dss", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-ed25519"),
)
"""As its refusal names them (vagrant-digitalocean#252); what it says of a broken key is from cloudblock#94."""


def create_key(call: Call) -> Reply:
    """POST /v2/account/keys."""
    name, public_key = call.fields.get("name"), call.fields.get("public_key")
    if not name:
        raise refused("Name can't be blank")
    if not isinstance(public_key, str) or len(public_key.split()) < 2:
        raise refused("Key invalid, key should be of the format `type key [comment]`")
    if type_of(public_key) not in _KEY_TYPES:
        *others, last = (f"'{kind}'" for kind in _KEY_TYPES)
        raise refused(f"Key invalid type, we support {', '.join(others)}, or {last}")
    if not is_well_formed(public_key):
        raise refused("Fingerprint could not be generated, please make sure your key is valid")
    if any(each.body["fingerprint"] == fingerprint_of(public_key) for each in call.world.things(CLOUD, "ssh_key")):
        raise refused("SSH Key is already in use on your account")
    return Reply({"ssh_key": shapes(call).ssh_key(call.world.add_ssh_key(CLOUD, name, public_key))}, 201)


def get_key(call: Call) -> Reply:
    """GET /v2/account/keys/{id or fingerprint}."""
    return Reply({"ssh_key": shapes(call).ssh_key(_key(call))})


def rename_key(call: Call) -> Reply:
    """PUT /v2/account/keys/{id or fingerprint}."""
    key = _key(call)
    key.name = call.fields.get("name") or key.name
    call.world.save(key)
    return Reply({"ssh_key": shapes(call).ssh_key(key)})


def delete_key(call: Call) -> Reply:
    """DELETE /v2/account/keys/{id or fingerprint}."""
    call.world.remove(_key(call))
    return NO_CONTENT


def _key(call: Call) -> Thing:
    key = find_ssh_key(call, call.params["key"])
    if key is None:
        raise not_found()
    return key


# ---------------------------------------------------------------------------------------------
# Projects: the account has its default one, and everything is in it


def list_projects(call: Call) -> Reply:
    """GET /v2/projects."""
    view = shapes(call)
    return page(call, "projects", [PROJECT_ID], lambda _: view.project())


def get_project(call: Call) -> Reply:
    """GET /v2/projects/{id or `default`}."""
    _check_project(call)
    return Reply({"project": shapes(call).project()})


def list_project_resources(call: Call) -> Reply:
    """GET /v2/projects/{id or `default`}/resources."""
    _check_project(call)
    return page(call, "resources", call.world.servers(CLOUD), shapes(call).project_resource)


def assign_to_project(call: Call) -> Reply:
    """POST /v2/projects/{id or `default`}/resources: they are in it already."""
    _check_project(call)
    view = shapes(call)
    named = [str(urn).split(":") for urn in call.fields.get("resources") or ()]
    droplets = [_resource(call, {"resource_type": urn[1], "resource_id": urn[2]}) for urn in named if len(urn) == 3]
    return Reply({"resources": [view.project_resource(droplet) for droplet in droplets]})


def _check_project(call: Call) -> None:
    if call.params["id"] not in (PROJECT_ID, "default"):
        raise not_found()


# ---------------------------------------------------------------------------------------------
# VPCs: each region has a default one


def list_vpcs(call: Call) -> Reply:
    """GET /v2/vpcs."""
    return page(call, "vpcs", _vpcs(call), dict)


def get_vpc(call: Call) -> Reply:
    """GET /v2/vpcs/{id}."""
    found = next((vpc for vpc in _vpcs(call) if vpc["id"] == call.params["id"]), None)
    if found is None:
        raise not_found()
    return Reply({"vpc": found})


def list_vpc_members(call: Call) -> Reply:
    """GET /v2/vpcs/{id}/members[?resource_type=droplet]: its droplets."""
    if all(vpc["id"] != call.params["id"] for vpc in _vpcs(call)):
        raise not_found()
    members = [
        droplet
        for droplet in call.world.servers(CLOUD)
        if call.query.get("resource_type") in (None, "", "droplet")
        and (droplet.body.get("vpc") or vpc_id(droplet.body["location"])) == call.params["id"]
    ]
    return page(call, "members", members, shapes(call).vpc_member)


def create_vpc(call: Call) -> Reply:
    """POST /v2/vpcs."""
    name, region = call.fields.get("name"), call.fields.get("region")
    if not name or region not in REGIONS:
        raise refused("name and region are required")
    _check_vpc(call, name)
    body = {
        "uuid": str(uuid.uuid4()),
        "region": region,
        "ip_range": _vpc_range(call),
        "description": call.fields.get("description") or "",
    }
    return Reply({"vpc": shapes(call).vpc(call.world.add(CLOUD, "vpc", name, body))}, 201)


def update_vpc(call: Call) -> Reply:
    """PUT, PATCH /v2/vpcs/{id}: its name and description. A default one keeps them, and stays the default here."""
    made = next((vpc for vpc in call.world.things(CLOUD, "vpc") if vpc.body["uuid"] == call.params["id"]), None)
    if made is None and call.params["id"] in (vpc["id"] for vpc in _vpcs(call)):
        raise ApiError(501, "not_implemented", "default VPCs cannot be changed here")
    if made is None:
        raise not_found()
    if call.fields.get("default"):
        raise ApiError(501, "not_implemented", "another default VPC cannot be chosen here")
    name = call.fields.get("name") or (None if call.method == "PUT" else made.name)
    if not name:
        raise refused("name is required")
    if name != made.name:
        _check_vpc(call, name)
    made.name = name
    if call.fields.get("description") is not None:
        made.body["description"] = call.fields["description"]
    call.world.save(made)
    return Reply({"vpc": shapes(call).vpc(made)})


def _check_vpc(call: Call, name: str) -> None:
    """Refuse a name that is taken, or outside the document's pattern, and a description that is too long."""
    if not _VPC_NAME.fullmatch(name):
        raise refused("VPC names have letters, digits, dashes and periods")
    if len(call.fields.get("description") or "") > _LONGEST_DESCRIPTION:
        raise refused(f"description is longer than {_LONGEST_DESCRIPTION} characters")
    if name in (vpc["name"] for vpc in _vpcs(call)):
        raise refused("a VPC with that name already exists")


def _vpc_range(call: Call) -> str:
    """The range that the request names, or a free one: private, from /28 to /16, and apart from the other VPCs."""
    taken = [IPv4Network(vpc["ip_range"]) for vpc in _vpcs(call)]
    try:
        named = IPv4Network(call.fields["ip_range"]) if call.fields.get("ip_range") else None
    except ValueError as error:
        raise refused("ip_range is not a valid CIDR") from error
    ranges = [named] if named else [IPv4Network(f"10.{number}.0.0/20") for number in range(120, 256)]
    free = next((each for each in ranges if not any(map(each.overlaps, taken))), None)
    if free is None:
        raise refused("This range/size overlaps with another VPC network in your account")
    if not 16 <= free.prefixlen <= 28 or not any(map(free.subnet_of, _PRIVATE)):
        raise refused("ip_range must be a private range from /28 to /16")
    return str(free)


def delete_vpc(call: Call) -> Reply:
    """DELETE /v2/vpcs/{id}: not a default one, and not while droplets are in it."""
    wanted = call.params["id"]
    made = next((vpc for vpc in call.world.things(CLOUD, "vpc") if vpc.body["uuid"] == wanted), None)
    if made is None and wanted in (vpc["id"] for vpc in _vpcs(call)):
        raise ApiError(403, "forbidden", "Can not delete default VPCs")
    if made is None:
        raise not_found()
    if any(droplet.body.get("vpc") == wanted for droplet in call.world.servers(CLOUD)):
        raise ApiError(403, "forbidden", "Can not delete VPC with members")
    call.world.remove(made)
    return NO_CONTENT


def _vpcs(call: Call) -> list[Json]:
    view = shapes(call)
    return [*map(view.default_vpc, REGIONS), *map(view.vpc, call.world.things(CLOUD, "vpc"))]


# ---------------------------------------------------------------------------------------------
# Reserved addresses


def list_reserved_ips(call: Call) -> Reply:
    """GET /v2/reserved_ips."""
    return page(call, "reserved_ips", call.world.things(CLOUD, "reserved_ip"), shapes(call).reserved_ip)


def create_reserved_ip(call: Call) -> Reply:
    """POST /v2/reserved_ips with `region` or `droplet_id`."""
    droplet = _droplet(call, call.fields["droplet_id"]) if call.fields.get("droplet_id") else None
    region = droplet.body["location"] if droplet else call.fields.get("region")
    if region not in REGIONS:
        raise refused("region or droplet_id is required")
    address = call.world.add(CLOUD, "reserved_ip", None, {"region": region}, parent=droplet.id if droplet else None)
    address.name = f"127.127.{address.id >> 8 & 255}.{address.id & 255}"
    call.world.save(address)
    return Reply({"reserved_ip": shapes(call).reserved_ip(address)}, 202)


def get_reserved_ip(call: Call) -> Reply:
    """GET /v2/reserved_ips/{ip}."""
    return Reply({"reserved_ip": shapes(call).reserved_ip(_address(call))})


def delete_reserved_ip(call: Call) -> Reply:
    """DELETE /v2/reserved_ips/{ip}."""
    call.world.remove(_address(call))
    return NO_CONTENT


def act_on_reserved_ip(call: Call) -> Reply:
    """POST /v2/reserved_ips/{ip}/actions: `assign` and `unassign`."""
    address, work = _address(call), call.fields.get("type")
    if work not in ("assign", "unassign"):
        raise refused(f"{work} is not a valid action type")
    droplet = _droplet(call, call.fields.get("droplet_id")) if work == "assign" else None
    if droplet and droplet.body["location"] != address.body["region"]:
        raise refused("The reserved IP and the Droplet must be in the same region.")
    if droplet:
        _check_assignable(call, droplet, address)
    elif address.parent is None:
        # terraform-provider-digitalocean PR#109 reads a 422 as "it is not assigned any more".
        raise refused("The reserved IP is not assigned to a Droplet.")
    outcome = {
        "finishes": call.now + call.takes(0.0),
        "error": call.effect("action_error") is not None,
        "resource_type": "reserved_ip",
        "region": address.body["region"],
    }
    if not outcome["error"] and outcome["finishes"] != FOREVER:
        address.parent = droplet.id if droplet else None
        call.world.save(address)
    action = call.world.add(CLOUD, "action", f"{work}_ip", outcome, parent=address.id)
    return Reply({"action": shapes(call).action(action)}, 201)


def _check_assignable(call: Call, droplet: Thing, address: Thing) -> None:
    """One address for each droplet, and none while something is done to it (terraform-provider-digitalocean#1034)."""
    if droplet.locked(call.now):
        raise refused("Droplet already has a pending event.")
    if any(other.id != address.id for other in call.world.children(droplet.id, "reserved_ip")):
        raise refused("The Droplet already has a reserved IP.")


def _address(call: Call) -> Thing:
    found = call.world.find(CLOUD, "reserved_ip", call.params["ip"])
    if not found:
        raise not_found()
    return found[0]


def _droplet(call: Call, id: Any) -> Thing:
    return _resource(call, {"resource_type": "droplet", "resource_id": id})
