"""Failures that a test orders, at Hetzner's routes."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
import requests

from scaler.simulator import EmbeddedCloud, SimulatedWorld
from scaler.simulator.faults import Effect, Rule, contains
from tests.support.sim_http import SERVER, TOKEN, Http

POST_SERVERS: dict[str, Any] = {"method": "POST", "path": "/v1/servers$"}


def names(world: SimulatedWorld) -> list[str | None]:
    return [server.name for server in world.servers()]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"name": "a"}, True),
        ({"name": "b"}, False),
        ({"labels": {"role": "web"}}, True),
        ({"labels": {"role": "db"}}, False),
        ({"ssh_keys": [2]}, True),
        ({"ssh_keys": [3]}, False),
        ({"missing": None}, False),
        ({}, True),
    ],
)
def test_a_body_predicate_is_a_subset(wanted: object, found: bool) -> None:
    body = {"name": "a", "labels": {"role": "web", "env": "x"}, "ssh_keys": [1, 2]}
    assert contains(body, wanted) is found


def test_a_rule_survives_json() -> None:
    rule = Rule(effect=Effect("slow", {"factor": 3}), method="POST", path="x$", body={"a": [1]}, skip=2, times=None)
    assert Rule.from_json(rule.to_json()) == rule


@pytest.mark.parametrize("data", [{}, {"effect": "explode"}, {"effect": "respond", "match": {"path": "("}}])
def test_a_rule_that_is_none(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"effect|expression"):
        Rule.from_json(data)


def test_skip_and_times_and_the_count(world: SimulatedWorld, http: Http) -> None:
    rule = world.add_fault("respond", path="/servers$", status=503, skip=1, times=2)
    assert [http.get("/v1/servers").status_code for _ in range(5)] == [200, 503, 503, 200, 200]
    assert http.get("/v1/locations").status_code == 200
    assert world.fired(rule) == 2
    assert [entry.effects for entry in world.log()] == [(), ("respond",), ("respond",), (), (), ()]


def test_respond_has_the_clouds_error_shape(world: SimulatedWorld, http: Http) -> None:
    world.add_fault("respond", status=412, message="error during placement", **POST_SERVERS)
    answer = http.create()
    assert answer.json() == {
        "error": {"code": "resource_unavailable", "message": "error during placement", "details": None}
    }
    assert answer.headers["X-Correlation-Id"]
    assert names(world) == []


def test_accepted_and_dropped(world: SimulatedWorld, http: Http) -> None:
    world.add_fault("accept_then_drop", **POST_SERVERS)
    with pytest.raises(requests.ConnectionError):
        http.create()
    assert names(world) == ["web-1"]
    assert http.create().json()["error"]["code"] == "uniqueness_error"


def test_dropped_and_not_accepted(world: SimulatedWorld, http: Http) -> None:
    world.add_fault("drop_before", **POST_SERVERS)
    with pytest.raises(requests.ConnectionError):
        http.create()
    assert names(world) == []
    assert http.create().status_code == 201


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("html", [False, True])
def test_accepted_and_answered_with_an_error(world: SimulatedWorld, http: Http, status: int, html: bool) -> None:
    world.add_fault("accept_then_status", status=status, html=html, **POST_SERVERS)
    answer = http.create()
    assert answer.status_code == status
    assert answer.headers["content-type"] == ("text/html" if html else "application/json")
    assert names(world) == ["web-1"]


def test_html_502(world: SimulatedWorld, http: Http) -> None:
    world.add_fault("html_502", **POST_SERVERS)
    answer = http.create()
    assert (answer.status_code, answer.headers["content-type"]) == (502, "text/html")
    assert names(world) == []


def test_a_hang_ends_in_the_answer(world: SimulatedWorld, http: Http) -> None:
    rule = world.add_fault("hang", seconds=0.05, **POST_SERVERS)
    assert http.create().status_code == 201
    assert world.fired(rule) == 1


def test_carried_out_and_never_answered(world: SimulatedWorld, http: Http) -> None:
    world.add_fault("accept_then_hang", **POST_SERVERS)
    with pytest.raises(requests.Timeout):
        http.post("/v1/servers", json=SERVER, timeout=0.1)
    assert names(world) == ["web-1"]


def test_a_client_that_gives_up_on_a_hang_has_no_server(world: SimulatedWorld, http: Http) -> None:
    world.add_fault("hang", seconds=30, **POST_SERVERS)
    with pytest.raises(requests.Timeout):
        http.post("/v1/servers", json=SERVER, timeout=0.1)
    assert http.get("/v1/servers").json()["servers"] == []


def test_a_hang_for_ever_ends_with_the_server(tmp_path: Path) -> None:
    outcome: list[BaseException] = []

    def ask(url: str) -> None:
        try:
            Http(url).get("/v1/servers")
        except requests.RequestException as error:
            outcome.append(error)

    with EmbeddedCloud(tmp_path / "world.db") as cloud:
        rule = cloud.world.add_fault("hang_forever")
        client = threading.Thread(target=ask, args=(cloud.url,))
        client.start()
        while not cloud.world.fired(rule):
            client.join(0.01)
    client.join(5)
    assert not client.is_alive()
    assert isinstance(outcome[0], requests.ConnectionError)


@pytest.mark.parametrize("json", [False, True])
def test_a_rate_limit(world: SimulatedWorld, http: Http, json: bool) -> None:
    world.add_fault("rate_limit", json=json, headers={"Retry-After": "7"}, **POST_SERVERS)
    answer = http.create()
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert answer.headers["RateLimit-Limit"] == "3600"
    if json:
        assert answer.json()["error"]["code"] == "rate_limit_exceeded"
    else:
        assert answer.headers["content-type"] == "text/plain"
    assert names(world) == []


def test_the_vendors_own_rate_limit(world: SimulatedWorld, http: Http) -> None:
    world.set_rate_limit("hetzner", per_hour=3)
    assert [http.get("/v1/locations").status_code for _ in range(4)] == [200, 200, 200, 429]
    world.advance(1200)
    assert http.get("/v1/locations").headers["RateLimit-Remaining"] == "0"


def test_truncated_json(world: SimulatedWorld, http: Http) -> None:
    world.add_fault("truncated_json", **POST_SERVERS)
    answer = http.create()
    assert answer.status_code == 201
    with pytest.raises(requests.JSONDecodeError):
        answer.json()
    assert names(world) == ["web-1"]


def test_null_fields(world: SimulatedWorld, http: Http) -> None:
    world.add_fault("null_fields", fields=["location", "labels"], **POST_SERVERS)
    server = http.create().json()["server"]
    assert (server["location"], server["labels"], server["name"]) == (None, None, "web-1")


def test_stuck_initializing(world: SimulatedWorld, http: Http) -> None:
    world.add_fault("stuck_initializing", body={"name": "web-1"}, **POST_SERVERS)
    stuck, fine = http.create().json(), http.create(name="web-2").json()
    world.advance(1_000_000)
    server = http.get(f"/v1/servers/{stuck['server']['id']}").json()["server"]
    assert (server["status"], server["locked"]) == ("initializing", True)
    assert http.get(f"/v1/actions/{stuck['action']['id']}").json()["action"]["status"] == "running"
    assert http.delete(f"/v1/servers/{server['id']}").json()["error"]["code"] == "locked"
    assert http.get(f"/v1/servers/{fine['server']['id']}").json()["server"]["status"] == "running"


def test_stuck_locked(world: SimulatedWorld, http: Http) -> None:
    world.add_fault("stuck_locked", path="/poweroff$")
    number = http.create().json()["server"]["id"]
    assert http.post(f"/v1/servers/{number}/actions/poweroff").json()["action"]["status"] == "running"
    world.advance(1_000_000)
    assert http.post(f"/v1/servers/{number}/actions/poweron").status_code == 423


@pytest.mark.parametrize("keep", [True, False])
def test_an_action_that_fails(world: SimulatedWorld, http: Http, keep: bool) -> None:
    world.set_knobs("hetzner", boot_s=10)
    world.add_fault("action_error", command="create_server", code="server_error", keep=keep, **POST_SERVERS)
    created = http.create().json()
    assert created["action"]["status"] == "running"
    world.advance(10)
    action = http.get(f"/v1/actions/{created['action']['id']}").json()["action"]
    assert (action["status"], action["error"]["code"]) == ("error", "server_error")
    server = http.get(f"/v1/servers/{created['server']['id']}")
    assert server.status_code == (200 if keep else 404)
    if keep:
        assert (server.json()["server"]["status"], server.json()["server"]["locked"]) == ("off", False)


@pytest.mark.parametrize(
    ("action", "fields"),
    [
        ("poweron", {}),
        ("change_type", {"server_type": "cx33", "upgrade_disk": True}),
        ("rebuild", {"image": "debian-12"}),
        ("change_protection", {"delete": True, "rebuild": True}),
        ("attach_to_network", {"network": "network"}),
        ("add_to_placement_group", {"placement_group": "placement_group"}),
        ("enable_rescue", {}),
        ("enable_backup", {}),
        ("attach_iso", {"iso": "iso"}),
        ("create_image", {"description": "golden"}),
        ("change_dns_ptr", {"ip": "ip", "dns_ptr": "web.example.com"}),
    ],
)
def test_a_failed_action_of_a_server_changes_nothing(
    world: SimulatedWorld, http: Http, action: str, fields: dict[str, object]
) -> None:
    subnet = {"type": "cloud", "ip_range": "10.0.1.0/24", "network_zone": "eu-central"}
    network = http.post("/v1/networks", json={"name": "inner", "ip_range": "10.0.0.0/16", "subnets": [subnet]})
    group = http.post("/v1/placement_groups", json={"name": "apart", "type": "spread"})
    server = http.create(start_after_create=False).json()["server"]
    known = {
        "network": network.json()["network"]["id"],
        "placement_group": group.json()["placement_group"]["id"],
        "iso": http.get("/v1/isos").json()["isos"][0]["name"],
        "ip": server["public_net"]["ipv4"]["ip"],
    }
    seen = [f"/v1/servers/{server['id']}", "/v1/images", "/v1/primary_ips"]
    before = [http.get(path).json() for path in seen]
    world.add_fault("action_error", method="POST", path=f"/actions/{action}$")
    body = {key: known.get(str(value), value) for key, value in fields.items()}
    failed = http.post(f"/v1/servers/{server['id']}/actions/{action}", json=body).json()["action"]
    assert failed["status"] == "error"
    assert [http.get(path).json() for path in seen] == before


def test_a_failed_deletion_leaves_the_server(world: SimulatedWorld, http: Http) -> None:
    world.set_knobs("hetzner", delete_s=5)
    server = http.create().json()["server"]["id"]
    world.add_fault("action_error", method="DELETE", times=1)
    action = http.delete(f"/v1/servers/{server}").json()["action"]["id"]
    assert http.delete(f"/v1/servers/{server}").json()["error"]["code"] == "locked"
    world.advance(5)
    assert http.get(f"/v1/actions/{action}").json()["action"]["status"] == "error"
    assert http.get(f"/v1/servers/{server}").json()["server"]["status"] == "running"
    assert http.delete(f"/v1/servers/{server}").status_code == 200
    assert http.get(f"/v1/servers/{server}").status_code == 404


@pytest.mark.parametrize(
    ("path", "action", "body"),
    [
        ("firewalls", "set_rules", {"rules": [{"direction": "in", "protocol": "icmp", "source_ips": ["0.0.0.0/0"]}]}),
        ("firewalls", "apply_to_resources", {"apply_to": [{"type": "server", "server": {"id": "server"}}]}),
        ("networks", "change_protection", {"delete": True}),
        ("networks", "add_subnet", {"type": "cloud", "ip_range": "10.0.1.0/24", "network_zone": "eu-central"}),
        ("primary_ips", "change_protection", {"delete": True}),
        ("primary_ips", "unassign", {}),
    ],
)
def test_a_failed_action_of_something_else_changes_nothing(
    world: SimulatedWorld, http: Http, path: str, action: str, body: dict[str, Any]
) -> None:
    server = http.create(start_after_create=False).json()["server"]
    http.post("/v1/networks", json={"name": "inner", "ip_range": "10.0.0.0/16"})
    http.post("/v1/firewalls", json={"name": "wall"})
    before = [http.get(f"/v1/{seen}").json() for seen in (path, "servers")]
    world.add_fault("action_error", method="POST", path=f"/actions/{action}$")
    text = json.dumps(body).replace('"server"}', f"{server['id']}}}")
    thing = before[0][path][0]["id"]
    assert http.post(f"/v1/{path}/{thing}/actions/{action}", data=text).status_code == 201
    assert [http.get(f"/v1/{seen}").json() for seen in (path, "servers")] == before


def test_a_network_that_could_not_be_attached(world: SimulatedWorld, http: Http) -> None:
    subnet = {"type": "cloud", "ip_range": "10.0.1.0/24", "network_zone": "eu-central"}
    inner = http.post("/v1/networks", json={"name": "inner", "ip_range": "10.0.0.0/16", "subnets": [subnet]}).json()
    world.add_fault("action_error", command="attach_to_network", **POST_SERVERS)
    created = http.create(networks=[inner["network"]["id"]]).json()
    assert [action["status"] for action in created["next_actions"]] == ["success", "error"]
    shown = http.get(f"/v1/servers/{created['server']['id']}").json()["server"]
    assert (shown["status"], shown["private_net"]) == ("running", [])


def test_a_slow_server(world: SimulatedWorld, http: Http) -> None:
    world.set_knobs("hetzner", boot_s=10)
    world.add_fault("slow", factor=5, body={"name": "web-1"}, **POST_SERVERS)
    http.create()
    http.create(name="web-2")
    world.advance(10)
    assert {row["name"]: row["status"] for row in http.get("/v1/servers").json()["servers"]} == {
        "web-1": "initializing",
        "web-2": "running",
    }
    world.advance(40)
    assert {row["status"] for row in http.get("/v1/servers").json()["servers"]} == {"running"}


def test_lists_that_miss_servers(world: SimulatedWorld, http: Http) -> None:
    first = http.create().json()["server"]["id"]
    http.create(name="web-2")
    world.add_fault("list_misses", names=["web-1"], method="GET", path="/servers$")
    world.add_fault("list_misses", method="GET", path="/servers$", skip=1)
    listed = [[row["name"] for row in http.get("/v1/servers").json()["servers"]] for _ in range(3)]
    assert listed == [["web-2"], ["web-1"], ["web-1", "web-2"]]
    assert http.get(f"/v1/servers/{first}").status_code == 200


def test_a_stale_list(world: SimulatedWorld, http: Http) -> None:
    old = http.create().json()["server"]["id"]
    world.advance(60)
    http.delete(f"/v1/servers/{old}")
    http.create(name="web-2")
    world.advance(1)
    world.add_fault("stale_list", seconds=10, method="GET", path="/servers$")
    shown = http.get("/v1/servers").json()["servers"]
    assert [(row["name"], row["status"]) for row in shown] == [("web-1", "running")]
    assert [row["name"] for row in http.get("/v1/servers").json()["servers"]] == ["web-2"]


def test_a_shutdown_that_is_ignored(world: SimulatedWorld, http: Http) -> None:
    world.add_fault("shutdown_ignored", path="/shutdown$")
    number = http.create().json()["server"]["id"]
    for expected in ("running", "off"):
        assert http.post(f"/v1/servers/{number}/actions/shutdown").json()["action"]["status"] == "success"
        world.advance(60)
        assert http.get(f"/v1/servers/{number}").json()["server"]["status"] == expected


def test_capacity_runs_out_and_comes_back(world: SimulatedWorld, http: Http) -> None:
    world.add_fault("capacity", type="cx23", location="fsn1", left=1, **POST_SERVERS)
    assert http.create().status_code == 201
    refused = http.create(name="web-2")
    assert (refused.status_code, refused.json()["error"]["message"]) == (412, "error during placement")
    (kind,) = http.get("/v1/server_types?name=cx23").json()["server_types"]
    assert {place["name"]: place["available"] for place in kind["locations"]} == {
        "fsn1": False,
        "nbg1": True,
        "hel1": True,
    }
    assert http.create(name="web-2", location="nbg1").status_code == 201
    world.set_capacity("hetzner", "cx23", "fsn1", None)
    assert http.create(name="web-3").status_code == 201


def test_quota(world: SimulatedWorld, http: Http) -> None:
    world.add_fault("quota", servers=1, **POST_SERVERS)
    assert http.create().status_code == 201
    refused = http.create(name="web-2").json()["error"]
    assert (refused["code"], refused["message"]) == ("resource_limit_exceeded", "server limit exceeded")


def test_addresses_count_for_a_while_after_their_server(world: SimulatedWorld, http: Http) -> None:
    world.set_knobs("hetzner", ip_release_lag_s=30)
    world.set_quota("hetzner", primary_ips=2)
    number = http.create().json()["server"]["id"]
    http.delete(f"/v1/servers/{number}")
    world.advance(1)
    assert http.create().json()["error"]["message"] == "Primary IP limit exceeded"
    world.advance(30)
    assert http.create().status_code == 201


def test_a_token_that_is_revoked_midway(world: SimulatedWorld, http: Http) -> None:
    world.add_fault("token_revoked", skip=2)
    assert [http.get("/v1/servers").status_code for _ in range(4)] == [200, 200, 401, 401]
    world.set_tokens("hetzner", allowed=[TOKEN])
    assert http.get("/v1/servers").status_code == 200


def test_a_token_that_may_only_read(world: SimulatedWorld, http: Http) -> None:
    world.add_fault("token_readonly")
    assert http.get("/v1/servers").status_code == 200
    assert http.create().json()["error"]["code"] == "token_readonly"
    assert names(world) == []


def test_a_type_that_is_withdrawn(world: SimulatedWorld, http: Http) -> None:
    world.add_fault("deprecate", type="cx23", **POST_SERVERS)
    assert http.create().json()["error"]["code"] == "invalid_input"
    (kind,) = http.get("/v1/server_types?name=cx23").json()["server_types"]
    assert kind["deprecation"]["unavailable_after"]


def test_many_connections_at_once(cloud: EmbeddedCloud, world: SimulatedWorld, http: Http) -> None:
    rule = world.add_fault("hang", seconds=0.2, path="/locations$", times=None)
    host, port = "127.0.0.1", cloud.port
    request = f"GET /v1/locations HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    connections = [socket.create_connection((host, port)) for _ in range(300)]
    for connection in connections:
        connection.sendall(request)
    answers = [connection.recv(12) for connection in connections]
    for connection in connections:
        connection.close()
    assert answers == [b"HTTP/1.1 200"] * 300
    assert world.fired(rule) == 300


def test_one_connection_for_many_requests(cloud: EmbeddedCloud) -> None:
    with socket.create_connection(("127.0.0.1", cloud.port)) as connection:
        reader = connection.makefile("rb")
        for line, body in (("DELETE /v1/servers/1", b'{"a": 1}'), ("GET /v1/nowhere", b""), ("GET /v1/locations", b"")):
            asked = ("Host: 127.0.0.1", f"Authorization: Bearer {TOKEN}", f"Content-Length: {len(body)}")
            connection.sendall("\r\n".join([f"{line} HTTP/1.1", *asked, "", ""]).encode() + body)
            status = reader.readline()
            headers = dict(line.decode().strip().lower().split(": ", 1) for line in iter(reader.readline, b"\r\n"))
            answer = reader.read(int(headers["content-length"]))
            assert headers["content-type"] == "application/json"
            assert status.startswith(b"HTTP/1.1 200" if b"locations" in answer else b"HTTP/1.1 404")
