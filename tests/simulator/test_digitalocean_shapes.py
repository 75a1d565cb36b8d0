"""Every answer has the keys and types that DigitalOcean's API description requires."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from scaler.simulator import SimulatedWorld
from tests.simulator.droplets import act, made
from tests.support.sim_http import Http

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
MAYBE_TEXT: Schema = {"type": ["string", "null"]}
TIME: Schema = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"}
TEXTS: Schema = {"type": "array", "items": TEXT}
WHOLES: Schema = {"type": "array", "items": WHOLE}


def several(item: Schema) -> Schema:
    return {"type": "array", "minItems": 1, "items": item}


def thing(**properties: Schema) -> Schema:
    """An object that must have all of these."""
    return {"type": "object", "required": list(properties), "properties": properties}


SIZE = thing(
    slug=TEXT,
    memory={"type": "integer", "multipleOf": 8},
    vcpus=WHOLE,
    disk=WHOLE,
    transfer=NUMBER,
    price_monthly=NUMBER,
    price_hourly=NUMBER,
    regions=TEXTS,
    available=FLAG,
    description=TEXT,
)
REGION = thing(slug=TEXT, name=TEXT, sizes=TEXTS, features=TEXTS, available=FLAG)
IMAGE = thing(
    id=WHOLE,
    name=TEXT,
    distribution=TEXT,
    slug=MAYBE_TEXT,
    public=FLAG,
    regions=TEXTS,
    created_at=TIME,
    min_disk_size=WHOLE,
    type={"enum": ["base", "snapshot", "backup", "custom", "admin"]},
    size_gigabytes=NUMBER,
    description=MAYBE_TEXT,
    tags=TEXTS,
    status={"enum": ["NEW", "available", "pending", "deleted", "retired"]},
    error_message=TEXT,
)
SNAPSHOT = thing(
    id={"type": "string", "pattern": r"^\d+$"},
    name=TEXT,
    created_at=TIME,
    regions=TEXTS,
    min_disk_size=WHOLE,
    size_gigabytes=NUMBER,
    resource_id={"type": "string", "pattern": r"^\d+$"},
    resource_type={"const": "droplet"},
    tags=TEXTS,
)
DROPLET_SNAPSHOT = thing(
    id=WHOLE,
    name=TEXT,
    created_at=TIME,
    regions=TEXTS,
    min_disk_size=WHOLE,
    type={"enum": ["snapshot", "backup"]},
    size_gigabytes={"type": "number"},
)
V4 = thing(ip_address=TEXT, netmask=TEXT, gateway=TEXT, type={"enum": ["public", "private"]})
V6 = thing(ip_address=TEXT, netmask=WHOLE, gateway=TEXT, type={"const": "public"})
DROPLET = thing(
    id=WHOLE,
    name=TEXT,
    memory={"type": "integer", "multipleOf": 8},
    vcpus=WHOLE,
    disk=WHOLE,
    disk_info=several(thing(type={"const": "local"}, size=thing(amount=WHOLE, unit={"const": "gib"}))),
    locked=FLAG,
    status={"enum": ["new", "active", "off", "archive"]},
    kernel={"type": "null"},
    created_at=TIME,
    features=TEXTS,
    backup_ids=WHOLES,
    next_backup_window={"type": "null"},
    snapshot_ids=WHOLES,
    image=IMAGE,
    volume_ids=TEXTS,
    size=SIZE,
    size_slug=TEXT,
    networks=thing(v4={"type": "array", "items": V4}, v6={"type": "array", "items": V6}),
    region=REGION,
    tags=TEXTS,
    vpc_uuid=TEXT,
)
ACTION = thing(
    id=WHOLE,
    status={"enum": ["in-progress", "completed", "errored"]},
    type=TEXT,
    started_at=TIME,
    completed_at={"anyOf": [TIME, {"type": "null"}]},
    resource_id=WHOLE,
    resource_type=TEXT,
    region=REGION,
    region_slug=TEXT,
)
ACCOUNT = thing(
    droplet_limit=WHOLE,
    floating_ip_limit=WHOLE,
    reserved_ip_limit=WHOLE,
    volume_limit=WHOLE,
    email=TEXT,
    name=TEXT,
    uuid=TEXT,
    email_verified=FLAG,
    status={"enum": ["active", "warning", "locked"]},
    status_message=TEXT,
    team=thing(uuid=TEXT, name=TEXT),
)
COUNT = thing(count=WHOLE)
TAG = thing(
    name=TEXT,
    resources=thing(count=WHOLE, droplets=COUNT, images=COUNT, volumes=COUNT, volume_snapshots=COUNT, databases=COUNT),
)
KEY = thing(id=WHOLE, name=TEXT, fingerprint={"type": "string", "pattern": "^([0-9a-f]{2}:){15}"}, public_key=TEXT)
PROJECT = thing(id=TEXT, owner_id=WHOLE, owner_uuid=TEXT, name=TEXT, purpose=TEXT, is_default=FLAG, created_at=TIME)
RESOURCE = thing(urn={"type": "string", "pattern": r"^do:droplet:\d+$"}, assigned_at=TIME, links=thing(self=TEXT))
VPC = thing(id=TEXT, urn=TEXT, name=TEXT, description=TEXT, region=TEXT, ip_range=TEXT, default=FLAG, created_at=TIME)
RESERVED = thing(ip=TEXT, region=REGION, droplet={"anyOf": [DROPLET, {"type": "null"}]}, locked=FLAG, project_id=TEXT)
LISTED = {"links": {"type": "object"}, "meta": thing(total=WHOLE)}

LISTS = {
    "/v2/droplets": thing(droplets=several(DROPLET), **LISTED),
    "/v2/actions": thing(actions=several(ACTION), **LISTED),
    "/v2/droplets/{droplet}/actions": thing(actions=several(ACTION), **LISTED),
    "/v2/images": thing(images=several(IMAGE), **LISTED),
    "/v2/images?type=distribution": thing(images=several(IMAGE), **LISTED),
    "/v2/snapshots": thing(snapshots=several(SNAPSHOT), **LISTED),
    "/v2/droplets/{droplet}/snapshots": thing(snapshots=several(DROPLET_SNAPSHOT), **LISTED),
    "/v2/sizes": thing(sizes=several(SIZE), **LISTED),
    "/v2/regions": thing(regions=several(REGION), **LISTED),
    "/v2/tags": thing(tags=several(TAG), **LISTED),
    "/v2/account/keys": thing(ssh_keys=several(KEY), **LISTED),
    "/v2/projects": thing(projects=several(PROJECT), **LISTED),
    "/v2/projects/default/resources": thing(resources=several(RESOURCE), **LISTED),
    "/v2/vpcs": thing(vpcs=several(VPC), **LISTED),
    "/v2/reserved_ips": thing(reserved_ips=several(RESERVED), **LISTED),
    "/v2/account": thing(account=ACCOUNT),
    "/v2/projects/default": thing(project=PROJECT),
}


def check(body: Any, schema: Schema) -> None:
    problems = [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(body)]
    assert problems == []


@pytest.mark.parametrize("path", LISTS)
def test_an_answer_has_the_required_keys(http: Http, world: SimulatedWorld, path: str) -> None:
    droplet = made(http, tags=["scaler"], ipv6=True, monitoring=True)
    act(http, droplet, "snapshot", name="golden")
    made(http, image=http.get("/v2/snapshots").json()["snapshots"][0]["id"])
    http.post("/v2/reserved_ips", json={"droplet_id": droplet})
    http.post("/v2/reserved_ips", json={"region": "fra1"})
    world.add_server("digitalocean", "by-hand")
    world.set_knobs(boot_s=30)
    made(http, name="young")
    answer = http.get(path.format(droplet=droplet))
    assert answer.status_code == 200
    check(answer.json(), LISTS[path])


@pytest.mark.parametrize("fields", [{"name": "one"}, {"names": ["one", "two"]}])
def test_what_was_accepted_is_told_with_its_actions(http: Http, fields: dict[str, Any]) -> None:
    body = {"region": "fra1", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64", **fields}
    answer = http.post("/v2/droplets", json=body)
    links = thing(actions=several(thing(id=WHOLE, rel={"const": "create"}, href=TEXT)))
    told = {"droplet": DROPLET} if "name" in fields else {"droplets": several(DROPLET)}
    assert answer.status_code == 202
    check(answer.json(), thing(**told, links=links))


def test_every_answer_tells_the_rate_limit_and_its_own_id(http: Http, world: SimulatedWorld) -> None:
    first, second = http.get("/v2/account"), http.get("/v2/nothing")
    assert (first.headers["ratelimit-limit"], first.headers["ratelimit-remaining"]) == ("5000", "4999")
    assert second.headers["ratelimit-remaining"] == "4998"
    assert int(first.headers["ratelimit-reset"]) == int(world.now) + 3600
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert {answer.headers["content-type"] for answer in (first, second)} == {"application/json"}
