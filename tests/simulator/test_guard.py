"""`scaler sim serve` obeys programs on this machine, and no web page; no control request hangs or crashes it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from scaler.simulator import SimulatedWorld
from tests.support.sim_http import Http

FOREIGN_HOSTS = ["example.com", "127.0.0.1.example.com", "example.com:80", "10.0.0.1", "[::2]", "[broken"]
FOREIGN_ORIGINS = ["https://example.com", "null", "http://127.0.0.1.example.com", "file://", "http://[broken"]


@pytest.mark.parametrize("path", ["/_sim/state", "/v1/servers", "/v2/droplets", "/nothing"])
@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_a_foreign_host_is_refused(http: Http, path: str, host: str) -> None:
    assert http.get(path, headers={"Host": host}).status_code in (400, 403)


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
def test_a_web_page_cannot_reset_the_world_or_make_servers(http: Http, world: SimulatedWorld, origin: str) -> None:
    world.add_server("hetzner", "kept")
    headers = {"Origin": origin}
    assert http.post("/_sim/reset", json={}, headers=headers).status_code == 403
    assert http.delete("/_sim/log", headers=headers).status_code == 403
    assert http.post("/v1/servers", json={}, headers=headers).status_code == 403
    assert [server.name for server in world.servers()] == ["kept"]


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_control_request_must_be_json(http: Http, world: SimulatedWorld, kind: str | None) -> None:
    world.add_server("hetzner", "kept")
    assert http.post("/_sim/reset", headers={"Content-Type": kind} if kind else {}).status_code == 415
    assert len(world.servers()) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:4711", "[::1]:80", "LOCALHOST"])
def test_this_machine_is_let_in_under_each_of_its_names(http: Http, host: str) -> None:
    headers = {"Host": host, "Origin": "http://localhost:3000", "Content-Type": "application/json; charset=utf-8"}
    assert http.post("/_sim/reset", data="{}", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|a)*b", ".*.*.*.*b", "([a-z]+)*x", "(x{1,9}){1,9}", "a" * 201, 7, "("]
)
def test_a_pattern_that_may_never_end_is_refused(http: Http, pattern: object) -> None:
    rule = {"match": {"path": pattern}, "effect": "html_502"}
    assert http.post("/_sim/faults", json=rule).status_code == 400


def test_the_slowest_pattern_that_is_taken_ends_soon(http: Http) -> None:
    http.post("/_sim/faults", json={"match": {"path": "/.*.*.*x$"}, "effect": "html_502"})
    began = time.monotonic()
    assert http.get("/v1/" + "/" * 290).status_code == 404
    assert http.get("/v1/" + "/" * 5_000).status_code == 404
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("path", "arguments"),
    [
        ("/_sim/hetzner/add_server", {"name": "a", "type": "cx99"}),
        ("/_sim/hetzner/add_server", {"name": "a", "location": "mars1"}),
        ("/_sim/hetzner/add_server", {"name": "a", "labels": [1]}),
        ("/_sim/hetzner/add_server", {"name": "a", "labels": {"a": 1}}),
        ("/_sim/digitalocean/add_server", {"name": "a", "tags": "x"}),
        ("/_sim/digitalocean/add_server", {"name": "a", "tags": [1]}),
        ("/_sim/digitalocean/resize", {"id": 1, "type": "huge"}),
        ("/_sim/hetzner/vanish", {"id": 1 << 70}),
        ("/_sim/hetzner/vanish", {"id": "x"}),
        ("/_sim/clock", {"advance_s": "x"}),
        ("/_sim/clock", {"speed": []}),
        ("/_sim/profile", {"knobs": []}),
        ("/_sim/clock", {"advance_s": 1e300}),
        ("/_sim/clock", {"advance_s": -1}),
        ("/_sim/clock", {"speed": 1e300}),
        ("/_sim/profile", {"knobs": {"boot_s": "x"}}),
        ("/_sim/profile", {"knobs": {"boot_s": -1}}),
        ("/_sim/hetzner/capacity", {"type": "*", "location": "*", "left": "x"}),
        ("/_sim/hetzner/rename", {"id": 4000001, "name": []}),
        ("/_sim/hetzner/rate_limit", {"per_hour": "x"}),
        ("/_sim/digitalocean/rate_limit", {"per_minute": None}),
        ("/_sim/faults", {"effect": {"kind": "hang", "seconds": "x"}}),
        ("/_sim/faults", {"effect": {"kind": "respond", "status": 99999}}),
        ("/_sim/faults", {"effect": {"kind": "respond", "headers": {"a": "b\r\nc"}}}),
        ("/_sim/faults", {"effect": 7}),
        ("/_sim/faults", {"match": 7, "effect": "html_502"}),
        ("/_sim/faults", {"skip": "x", "effect": "html_502"}),
    ],
)
def test_a_control_request_of_a_wrong_type_is_400(http: Http, path: str, arguments: dict[str, Any]) -> None:
    assert http.post(path, json=arguments).status_code == 400
    assert http.get("/v1/servers").status_code == http.get("/v2/droplets").status_code == 200
