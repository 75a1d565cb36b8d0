"""No request crashes the embedded cloud: what has the wrong type is refused, by every route and in every field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from starlette.routing import Route

from scaler.simulator import SimulatedWorld
from scaler.simulator.digitalocean import api as digitalocean
from scaler.simulator.hetzner import api as hetzner
from tests.simulator.droplets import DROPLET
from tests.support.sim_http import SERVER, Http

WRONG: list[Any] = [7, -1, 1 << 70, 1.5, True, "", "x", "7", [], [7], ["x"], [None], [{}], {}, {"a": [1]}, {"id": {}}]
BIG = 1 << 70


def with_body(routes: list[Route]) -> list[tuple[str, str]]:
    methods = ("POST", "PUT", "PATCH", "DELETE")
    return [(method, route.path) for route in routes for method in sorted(route.methods or ()) if method in methods]


def concrete(path: str, id: int) -> str:
    for name in ("{id:int}", "{id}", "{key}", "{action:int}", "{ip}", "{name}"):
        path = path.replace(name, str(id))
    return path


def crashes(http: Http, method: str, path: str, bodies: Iterator[Any]) -> list[str]:
    answers = ((body, http.request(method, path, json=body)) for body in bodies)
    return [f"{body}: {answer.text}" for body, answer in answers if answer.status_code >= 500]


def all_wrong(fields: Mapping[str, object], base: dict[str, Any]) -> Iterator[Any]:
    """Each wrong value in all fields, in all but the first that is refused, and bodies that are no object."""
    yield from (dict.fromkeys(fields, wrong) for wrong in WRONG)
    yield from ({**dict.fromkeys(fields, wrong), **base} for wrong in WRONG)
    yield from ([], [{}], "text", 7)


@pytest.mark.parametrize(("method", "path"), with_body(hetzner.routes), ids=" ".join)
def test_every_route_of_hetzner(http: Http, world: SimulatedWorld, method: str, path: str) -> None:
    server = world.add_server("hetzner", "web-7")
    base = SERVER if path == "/v1/servers" else {"name": "x", "type": "ipv4", "ip_range": "10.0.0.0/16"}
    assert crashes(http, method, concrete(path, server.id), all_wrong(hetzner.API.fields, base)) == []


@pytest.mark.parametrize(("method", "path"), with_body(digitalocean.routes), ids=" ".join)
def test_every_route_of_digitalocean(http: Http, world: SimulatedWorld, method: str, path: str) -> None:
    droplet = world.add_server("digitalocean", "web-7")
    assert crashes(http, method, concrete(path, droplet.id), all_wrong(digitalocean.API.fields, DROPLET)) == []


SERVER_FIELDS = (
    *("name", "server_type", "image", "location", "labels", "user_data", "ssh_keys", "firewalls", "networks"),
    *("public_net", "placement_group", "start_after_create", "automount", "volumes"),
)
DROPLET_FIELDS = (
    *("name", "region", "size", "image", "backups", "ipv6", "monitoring", "ssh_keys", "tags", "user_data"),
    *("vpc_uuid", "with_droplet_agent"),
)


@pytest.mark.parametrize("field", SERVER_FIELDS)
def test_every_field_of_a_server(http: Http, field: str) -> None:
    assert crashes(http, "POST", "/v1/servers", ({**SERVER, field: wrong} for wrong in WRONG)) == []


@pytest.mark.parametrize("field", DROPLET_FIELDS)
def test_every_field_of_a_droplet(http: Http, field: str) -> None:
    assert crashes(http, "POST", "/v2/droplets", ({**DROPLET, field: wrong} for wrong in WRONG)) == []


@pytest.mark.parametrize("route", [*hetzner.routes, *digitalocean.routes], ids=lambda route: route.path)
def test_an_id_that_no_database_holds(http: Http, route: Route) -> None:
    for method in sorted(route.methods or ()):
        body = {"server_type": BIG, "image": BIG, "network": BIG, "ssh_keys": [BIG], "type": "rename", "id": BIG}
        answer = http.request(method, concrete(route.path, BIG), json=None if method == "GET" else body)
        assert answer.status_code < 500, answer.text


@pytest.mark.parametrize("step", ["x", "1e999", "nan", "-1", "1" * 400])
def test_a_metric_s_step(http: Http, world: SimulatedWorld, step: str) -> None:
    server = world.add_server("hetzner", "web-7")
    window = "start=2026-11-28T00:00:00Z&end=2026-11-28T01:00:00Z"
    assert http.get(f"/v1/servers/{server.id}/metrics?type=cpu&{window}&step={step}").status_code == 422
    droplet = world.add_server("digitalocean", "web-7")
    path = f"/v2/monitoring/metrics/droplet/cpu?host_id={droplet.id}&start=0&end={'9' * 400}"
    assert http.get(path).status_code == 422


LONG = "9" * 5000
"""More digits than Python makes a number of."""


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/v1/servers/{LONG}", 404),
        (f"/v1/servers?page={LONG}", 422),
        (f"/v1/actions?id={LONG}", 200),
        (f"/v2/droplets/{LONG}", 404),
        (f"/v2/droplets?page={LONG}", 422),
        (f"/v2/images/{LONG}", 404),
        ("/v2/droplets?page=٣", 422),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_number_of_too_many_digits(http: Http, path: str, status: int) -> None:
    assert http.get(path).status_code == status


def test_an_image_of_too_many_digits(http: Http) -> None:
    assert http.create(image=LONG).status_code == 422
    assert http.post("/v2/droplets", json={**DROPLET, "image": LONG}).status_code == 422


@pytest.mark.parametrize("body", ['{"name": "\\ud800"}', '{"name": NaN}', '{"name": Infinity}'])
@pytest.mark.parametrize("path", ["/v1/servers", "/v1/ssh_keys", "/v2/droplets", "/v2/account/keys"])
def test_what_is_no_json_though_python_reads_it(http: Http, path: str, body: str) -> None:
    assert http.post(path, data=body).status_code == 400


@pytest.mark.parametrize("wrong", WRONG, ids=str)
@pytest.mark.parametrize("field", ["resource_type", "resource_id"])
def test_a_tagged_resource(http: Http, field: str, wrong: object) -> None:
    http.post("/v2/tags", json={"name": "web"}).raise_for_status()
    resource = {"resource_type": "droplet", "resource_id": "7", field: wrong}
    assert http.post("/v2/tags/web/resources", json={"resources": [resource]}).status_code == 404
