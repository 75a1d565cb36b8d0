"""Hetzner's refusals, status by status, and what happens outside the API."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from scaler.simulator import SimulatedWorld
from tests.support.sim_http import Http

REFUSED: list[tuple[dict[str, object], int, str]] = [
    ({"name": None}, 422, "invalid_input"),
    ({"name": "under_score"}, 422, "invalid_input"),
    ({"name": "-web"}, 422, "invalid_input"),
    ({"name": "a" * 64}, 422, "invalid_input"),
    ({"server_type": "cx99"}, 422, "invalid_input"),
    ({"server_type": None}, 422, "invalid_input"),
    ({"server_type": "cpx11"}, 422, "invalid_input"),
    ({"image": "windows-95"}, 422, "invalid_input"),
    ({"image": 1}, 422, "invalid_input"),
    ({"image": 161547270}, 422, "invalid_input"),
    ({"location": "mars1"}, 422, "invalid_input"),
    ({"location": "ash"}, 422, "invalid_input"),
    ({"datacenter": "fsn1-dc14"}, 422, "invalid_input"),
    ({"labels": {"-": "x"}}, 422, "invalid_input"),
    ({"labels": {"a": "b c"}}, 422, "invalid_input"),
    ({"user_data": "x" * 32_769}, 422, "invalid_input"),
    ({"user_data": 7}, 422, "invalid_input"),
    ({"ssh_keys": ["nobody"]}, 404, "not_found"),
    ({"placement_group": 1}, 404, "not_found"),
    ({"firewalls": [{"firewall": 1}]}, 404, "not_found"),
    ({"networks": [1]}, 404, "not_found"),
]


@pytest.mark.parametrize(("fields", "status", "code"), REFUSED, ids=lambda value: str(value)[:40])
def test_a_create_request_that_is_refused(
    http: Http, world: SimulatedWorld, fields: dict[str, object], status: int, code: str
) -> None:
    answer = http.create(**fields)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert set(answer.json()["error"]) == {"code", "message", "details"}
    assert world.servers() == []
    assert world.things("hetzner", "primary_ip") == []


@pytest.mark.parametrize(
    "fields",
    [
        {"user_data": "x" * 32_768},
        {"labels": {"a.b/c": "", "k": "v" * 63}},
        {"name": "a" * 63 + ".example.com"},
        {"image": 161547269},
        {"image": "161547269"},
        {"server_type": 114},
        {"location": None},
        {"ssh_keys": ["deploy"]},
        {"server_type": "cax11"},
    ],
)
def test_a_create_request_that_is_accepted(http: Http, fields: dict[str, object]) -> None:
    answer = http.create(**fields)
    assert answer.status_code == 201, answer.text
    assert answer.json()["server"]["status"] == "running"


def test_a_name_is_taken_until_its_server_is_gone(http: Http) -> None:
    number = http.create().json()["server"]["id"]
    refused = http.create()
    assert (refused.status_code, refused.json()["error"]) == (
        409,
        {
            "code": "uniqueness_error",
            "message": "server name is already used",
            "details": {"fields": [{"name": "name"}]},
        },
    )
    assert http.delete(f"/v1/servers/{number}").status_code == 200
    assert http.create().status_code == 201


def test_images_must_fit(http: Http, world: SimulatedWorld) -> None:
    big = world.add_snapshot("hetzner", "big", disk=80)
    arm = world.add_snapshot("hetzner", "arm", architecture="arm")
    details = http.create(image=big.id).json()["error"]["details"]
    assert details["fields"][0]["messages"] == ["image disk is bigger than server type disk"]
    assert http.create(image=arm.id).status_code == 422
    assert http.create(image=big.id, server_type="cx33").status_code == 201
    world.remove_snapshot("hetzner", big.id)
    assert http.create(name="web-2", image=big.id, server_type="cx33").status_code == 422


def test_a_root_password_only_without_keys(http: Http) -> None:
    assert http.create().json()["root_password"]
    assert http.create(name="web-2", ssh_keys=["deploy"]).json()["root_password"] is None


def test_a_server_that_is_not_to_be_started(http: Http) -> None:
    created = http.create(start_after_create=False).json()
    assert (created["server"]["status"], created["next_actions"]) == ("off", [])


@pytest.mark.parametrize("token", ["", "short", "x" * 63, "x" * 65])
def test_tokens_of_the_wrong_length(http: Http, token: str) -> None:
    http.headers["Authorization"] = f"Bearer {token}"
    answer = http.get("/v1/servers")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")


def test_only_listed_tokens(http: Http, world: SimulatedWorld) -> None:
    world.set_tokens("hetzner", allowed=["y" * 64])
    assert http.get("/v1/servers").status_code == 401
    http.headers["Authorization"] = "Bearer " + "y" * 64
    assert http.get("/v1/servers").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nowhere", 404, "not_found"),
        ("PATCH", "/v1/servers", 405, "method_not_allowed"),
        ("GET", "/v1/servers/42", 404, "not_found"),
        ("GET", "/v1/servers/web-1", 404, "not_found"),
        ("DELETE", "/v1/servers/42", 404, "not_found"),
        ("GET", "/v1/actions", 410, "deprecated_api_endpoint"),
        ("GET", "/v1/actions/42", 404, "not_found"),
        ("GET", "/v1/datacenters", 410, "deprecated_api_endpoint"),
        ("GET", "/v1/datacenters/1", 410, "deprecated_api_endpoint"),
        ("GET", "/v1/servers?label_selector=a b", 422, "invalid_input"),
        ("GET", "/v1/servers?sort=colour", 422, "invalid_input"),
        ("GET", "/v1/servers?page=0", 422, "invalid_input"),
        ("GET", "/v1/images/1", 404, "not_found"),
    ],
)
def test_refused_requests(http: Http, method: str, path: str, status: int, code: str) -> None:
    answer = http.request(method, path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["RateLimit-Limit"] == "3600"


def test_a_body_that_is_no_json(http: Http) -> None:
    answer = http.post("/v1/servers", data="{")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "json_error")


def test_204_has_no_body(http: Http, world: SimulatedWorld) -> None:
    (snapshot,) = world.things("hetzner", "snapshot")
    answer = http.delete(f"/v1/images/{snapshot.id}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "content-length" not in answer.headers


def test_actions_by_their_ids(http: Http) -> None:
    created = http.create().json()
    wanted = [created["action"]["id"], created["next_actions"][0]["id"]]
    http.delete(f"/v1/servers/{created['server']['id']}").raise_for_status()
    found = http.get(f"/v1/actions?id={wanted[0]}&id={wanted[1]}&page=1&sort=status&sort=id").json()["actions"]
    assert [(action["id"], action["command"]) for action in found] == [
        (wanted[0], "create_server"),
        (wanted[1], "start_server"),
    ]
    assert found[0]["resources"] == [{"id": created["server"]["id"], "type": "server"}]
    assert http.get(f"/v1/servers/actions/{wanted[0]}").status_code == 200
    assert http.get(f"/v1/servers/{created['server']['id']}/actions/{wanted[0]}").status_code == 200


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("", "bca"),
        ("?sort=id:desc", "acb"),
        ("?sort=name", "abc"),
        ("?sort=name:desc", "cba"),
        ("?sort=created:desc", "acb"),
    ],
)
def test_the_order_of_a_list(http: Http, world: SimulatedWorld, sort: str, expected: str) -> None:
    for name in "bc":
        http.create(name=name)
    world.advance(1)
    http.create(name="a")
    assert "".join(row["name"] for row in http.get(f"/v1/servers{sort}").json()["servers"]) == expected


def test_the_lag_of_lists_and_actions(http: Http, world: SimulatedWorld) -> None:
    world.set_knobs("hetzner", list_lag_s=5, action_lag_s=2)
    created = http.create().json()
    action = f"/v1/actions/{created['action']['id']}"
    assert http.get("/v1/servers").json()["servers"] == []
    assert http.get(f"/v1/servers/{created['server']['id']}").status_code == 200
    assert http.get(action).status_code == 404
    world.advance(2)
    assert http.get(action).status_code == 200
    world.advance(3)
    assert len(http.get("/v1/servers").json()["servers"]) == 1


def test_a_deleted_server_that_lingers(http: Http, world: SimulatedWorld) -> None:
    world.set_knobs("hetzner", visible_after_delete_s=8)
    number = http.create().json()["server"]["id"]
    assert http.delete(f"/v1/servers/{number}").status_code == 200
    assert http.get(f"/v1/servers/{number}").json()["server"]["status"] == "deleting"
    assert http.delete(f"/v1/servers/{number}").status_code == 423
    world.advance(8)
    assert http.get(f"/v1/servers/{number}").status_code == 404


EDITS: list[tuple[str, Callable[[SimulatedWorld, int], object], dict[str, object]]] = [
    ("power_off", lambda world, number: world.power_off("hetzner", number), {"status": "off"}),
    ("status", lambda world, number: world.set_status("hetzner", number, "unknown"), {"status": "unknown"}),
    ("rename", lambda world, number: world.rename("hetzner", number, "other"), {"name": "other"}),
    ("relabel", lambda world, number: world.relabel("hetzner", number, {"x": "y"}), {"labels": {"x": "y"}}),
]


@pytest.mark.parametrize(("edit", "changed"), [row[1:] for row in EDITS], ids=[row[0] for row in EDITS])
def test_edits_from_outside(
    http: Http, world: SimulatedWorld, edit: Callable[[SimulatedWorld, int], object], changed: dict[str, object]
) -> None:
    number = http.create().json()["server"]["id"]
    before = http.get(f"/v1/servers/{number}").json()["server"]
    edit(world, number)
    assert http.get(f"/v1/servers/{number}").json()["server"] == {**before, **changed}


def test_a_server_that_vanishes_and_one_that_appears(http: Http, world: SimulatedWorld) -> None:
    number = http.create().json()["server"]["id"]
    world.vanish("hetzner", number)
    foreign = world.add_server("hetzner", "prod-worker-1", labels={"owner": "somebody"})
    assert http.get(f"/v1/servers/{number}").status_code == 404
    (listed,) = http.get("/v1/servers").json()["servers"]
    assert (listed["id"], listed["status"], listed["image"]) == (foreign.id, "running", None)
    assert http.delete(f"/v1/servers/{foreign.id}").status_code == 200


def test_pricing(http: Http) -> None:
    pricing = http.get("/v1/pricing").json()["pricing"]
    assert (pricing["currency"], pricing["vat_rate"]) == ("EUR", "19.00")
    (cx23,) = [row for row in pricing["server_types"] if row["name"] == "cx23"]
    assert cx23["prices"][0]["price_monthly"] == {"net": "5.4900000000", "gross": "6.5331000000000000"}
    assert pricing["primary_ips"][0]["prices"][0]["price_hourly"]["net"] == "0.0008000000"
