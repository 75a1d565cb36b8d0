"""The profile `hostile`: each of its troubles occurs, and as often as it says."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

import pytest
import requests

from scaler.simulator import SimulatedWorld
from scaler.simulator.profiles import PROFILES
from tests.simulator.droplets import made, order, seen
from tests.support.sim_http import Http

TROUBLES = {"rate_limit", "respond", "drop_before", "accept_then_drop", "accept_then_status"}


@pytest.fixture
def hostile(world: SimulatedWorld) -> SimulatedWorld:
    """A hostile world whose answers come at once and in which no request fails."""
    world.set_profile("hostile", http_latency_s=0, http_jitter_s=0, failing_requests=0)
    return world


@pytest.mark.parametrize("cloud", ["hetzner", "digitalocean"])
def test_it_is_hostile_in_every_knob_that_other_profiles_leave_alone(cloud: str) -> None:
    hostile = asdict(PROFILES["hostile"][cloud])  # type: ignore[index]
    assert {"failing_requests", "failing_actions", "failing_creates", "list_lag_s", "read_lag_s"} <= {
        knob for knob, value in hostile.items() if value > 0
    }
    assert (hostile["list_lag_s"], hostile["delete_s"], hostile["failing_requests"]) == (8.0, 8.0, 0.01)


def test_so_many_requests_fail_and_in_each_way(http: Http, world: SimulatedWorld) -> None:
    world.set_knobs("hetzner", failing_requests=0.2)
    answers: Counter[str] = Counter()
    for _ in range(300):
        try:
            answers[str(http.get("/v1/locations").status_code)] += 1
        except requests.ConnectionError:
            answers["dropped"] += 1
    effects = Counter(effect for entry in world.log() for effect in entry.effects)
    assert set(effects) == TROUBLES
    assert answers["429"] == effects["rate_limit"]
    assert answers["503"] == effects["respond"] + effects["accept_then_status"]
    assert 30 <= effects.total() <= 90


def test_the_same_world_fails_in_the_same_way(world: SimulatedWorld) -> None:
    first = [world.chance(0.3) for _ in range(50)]
    world.set("drawn", 0)
    assert [world.chance(0.3) for _ in range(50)] == first
    assert 5 <= sum(first) <= 25


def test_creations_are_accepted_and_fail_later(http: Http, hostile: SimulatedWorld) -> None:
    hostile.set_knobs(failing_creates=1.0)
    created = http.create().json()
    assert created["action"]["status"] == "running"
    droplet = made(http)
    hostile.advance(10)
    action = http.get(f"/v1/actions/{created['action']['id']}").json()["action"]
    assert (action["status"], action["error"]["code"]) == ("error", "action_failed")
    assert http.get(f"/v1/servers/{created['server']['id']}").json()["server"]["status"] == "off"
    assert seen(http, droplet)["status"] == "off"


def test_actions_fail_half_way(http: Http, hostile: SimulatedWorld) -> None:
    server = hostile.add_server("hetzner", "web-1").id
    hostile.set_knobs(failing_actions=1.0)
    action = http.post(f"/v1/servers/{server}/actions/poweroff").json()["action"]["id"]
    hostile.advance(5)
    assert http.get(f"/v1/actions/{action}").json()["action"]["status"] == "error"
    assert http.get(f"/v1/servers/{server}").json()["server"]["status"] == "running"


def test_lists_and_their_numbers_lag_and_so_do_reads_after_changes(http: Http, hostile: SimulatedWorld) -> None:
    hostile.set_knobs(failing_creates=0, failing_actions=0)
    server, droplet = http.create().json()["server"]["id"], made(http, tags=["old"])

    def listed() -> tuple[int, int]:
        servers = http.get("/v1/servers").json()["meta"]["pagination"]["total_entries"]
        return servers, http.get("/v2/droplets").json()["meta"]["total"]

    assert listed() == (0, 0)
    hostile.advance(8.5)
    assert listed() == (1, 1)
    assert http.put(f"/v1/servers/{server}", json={"labels": {"a": "b"}}).json()["server"]["labels"] == {"a": "b"}
    http.post("/v2/tags", json={"name": "new"})
    resource = {"resources": [{"resource_id": str(droplet), "resource_type": "droplet"}]}
    assert http.post("/v2/tags/new/resources", json=resource).status_code == 204
    assert http.get(f"/v1/servers/{server}").json()["server"]["labels"] == {}
    assert seen(http, droplet)["tags"] == ["old"]
    hostile.advance(2.5)
    assert http.get(f"/v1/servers/{server}").json()["server"]["labels"] == {"a": "b"}
    assert seen(http, droplet)["tags"] == ["old", "new"]
    http.delete(f"/v1/servers/{server}")
    hostile.vanish("digitalocean", droplet)
    assert listed() == (1, 1)
    hostile.advance(8.5)
    assert listed() == (0, 0)


def test_withdrawn_types_are_gone_and_keys_have_a_small_window(http: Http, hostile: SimulatedWorld) -> None:
    hostile.deprecate("hetzner", "cx23")
    assert http.get("/v1/server_types?name=cx23").json()["server_types"] == []
    assert [http.get("/v2/account/keys").status_code for _ in range(4)] == [200, 200, 200, 429]
    assert order(http, ssh_keys=["nobody"]).status_code == 422
