"""What tests set and read through an embedded cloud's `/_sim` routes."""

from __future__ import annotations

import json

import pytest

from scaler.simulator import SimulatedWorld
from scaler.simulator.clock import timestamp
from tests.support.sim_http import Http


def test_the_state_tells_what_exists(http: Http) -> None:
    created = http.create().json()["server"]
    state = http.get("/_sim/state").json()
    assert (state["profile"], state["requests"]) == ("instant", 1)
    (server,) = state["servers"]["hetzner"]
    assert (server["id"], server["name"], server["status"]) == (created["id"], "web-1", "running")
    assert state["servers"]["digitalocean"] == []


def test_the_log(http: Http) -> None:
    http.get("/v1/servers?name=a", headers={"User-Agent": "tester/1"})
    (entry,) = http.get("/_sim/log").json()["log"]
    assert (entry["method"], entry["path"], entry["query"], entry["status"], entry["agent"]) == (
        "GET",
        "/v1/servers",
        "name=a",
        200,
        "tester/1",
    )
    assert http.get(f"/_sim/log?after={entry['id']}").json() == {"log": []}
    http.delete("/_sim/log")
    assert http.get("/_sim/log").json() == {"log": []}


@pytest.mark.parametrize(
    "text", ['{"name": "web-1", "user_data": "s3cret"}', '{"user_data": "s3cret', '["user_data s3cret"]']
)
def test_the_log_shows_no_user_data(http: Http, text: str) -> None:
    """Any local process may read it, also that of a run with `endpoint: embedded`."""
    http.post("/v1/servers", data=text, headers={"Content-Type": "application/json"})
    (entry,) = http.get("/_sim/log").json()["log"]
    assert "s3cret" not in json.dumps(entry)
    assert ("web-1" in json.dumps(entry)) == ("web-1" in text)


def test_profile_clock_and_faults(http: Http, world: SimulatedWorld) -> None:
    assert http.post("/_sim/profile", json={"profile": "realistic", "knobs": {"boot_s": 5}}).status_code == 200
    assert (world.profile, world.knobs("digitalocean").boot_s) == ("realistic", 5)
    before = world.now
    http.post("/_sim/clock", json={"advance_s": 90})
    assert world.now == before + 90
    rule = {"match": {"method": "GET", "path": "/servers$"}, "effect": {"kind": "respond", "status": 503}}
    number = http.post("/_sim/faults", json=rule).json()["id"]
    assert http.get("/v1/servers").status_code == 503
    (report,) = http.get("/_sim/faults").json()["faults"]
    assert (report["id"], report["fired"], report["effect"]["kind"]) == (number, 1, "respond")
    http.delete(f"/_sim/faults/{number}")
    assert world.faults() == []
    http.post("/_sim/reset", json={})
    assert world.profile == "fast"


def test_edits_over_http_change_the_world(http: Http, world: SimulatedWorld) -> None:
    number = http.post("/_sim/hetzner/add_server", json={"name": "foreign", "labels": {"a": "b"}}).json()["id"]
    for edit, arguments in (
        ("rename", {"name": "other"}),
        ("relabel", {"labels": {"c": "d"}}),
        ("power_off", {}),
    ):
        assert http.post(f"/_sim/hetzner/{edit}", json={"id": number, **arguments}).status_code == 200
    server = world.server("hetzner", number)
    assert (server.name, server.body["labels"], server.status(world.now)) == ("other", {"c": "d"}, "off")
    assert http.post("/_sim/hetzner/vanish", json={"id": number}).status_code == 200
    assert world.servers() == []
    http.post("/_sim/hetzner/quota", json={"servers": 0})
    assert http.create().json()["error"]["code"] == "resource_limit_exceeded"


def test_a_load_that_is_set_is_measured_from_then_on(http: Http, world: SimulatedWorld) -> None:
    number = http.post("/_sim/hetzner/add_server", json={"name": "a", "type": "cpx22"}).json()["id"]
    world.set_speed(0)
    world.advance(120)
    assert http.post("/_sim/hetzner/cpu", json={"id": number, "share": 0.5}).status_code == 200
    start, end = (timestamp(world.now + seconds) for seconds in (-120, 600))
    query: dict[str, str | float] = {"type": "cpu", "start": start, "end": end, "step": 60}
    told = http.get(f"/v1/servers/{number}/metrics", params=query).json()["metrics"]
    values = [float(value) for _, value in told["time_series"]["cpu"]["values"]]
    assert told["step"] == 60
    assert values[-1] == pytest.approx(2.0), "two cores; the moment before it was set was idle"
    world.advance(60)
    told = http.get(f"/v1/servers/{number}/metrics", params=query).json()["metrics"]
    assert float(told["time_series"]["cpu"]["values"][-1][1]) == pytest.approx(100.0)
    assert http.get(f"/v1/servers/{number}/metrics", params={"type": "ram"}).json()["error"]["code"] == "invalid_input"
    world.power_off("hetzner", number)
    told = http.get(f"/v1/servers/{number}/metrics", params=query).json()["metrics"]
    assert told["time_series"]["cpu"]["values"] == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/_sim/profile", {"profile": "slow"}),
        ("/_sim/profile", {"knobs": {"boots": 1}}),
        ("/_sim/faults", {"effect": "explode"}),
        ("/_sim/hetzner/vanish", {"id": 42}),
        ("/_sim/hetzner/vanish", {"nonsense": 42}),
        ("/_sim/hetzner/explode", {}),
        ("/_sim/hetzner/cpu", {"id": 42, "share": 2}),
        ("/_sim/aws/vanish", {"id": 42}),
        ("/_sim/hetzner/quota", {"gardens": 1}),
        ("/_sim/clock", {"advance_s": "soon"}),
        ("/_sim/clock", [1]),
    ],
)
def test_requests_that_make_no_sense(http: Http, path: str, body: object) -> None:
    answer = http.post(path, json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_the_control_plane_needs_no_token_and_is_not_logged(http: Http) -> None:
    del http.headers["Authorization"]
    assert http.get("/_sim/state").status_code == 200
    assert http.get("/_sim/log").json() == {"log": []}
