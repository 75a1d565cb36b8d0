"""Failures on order, at DigitalOcean's routes."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from scaler.simulator import SimulatedWorld
from tests.simulator.droplets import DROPLET, act, made, order, refusal, seen
from tests.support.sim_http import Http

DAY = 86_400.0
CREATE: dict[str, Any] = {"method": "POST", "path": "/v2/droplets$"}


@pytest.fixture
def world(world: SimulatedWorld) -> SimulatedWorld:
    """Things take long enough here to be seen under way."""
    world.set_knobs(boot_s=30.0, power_s=5.0, shutdown_s=10.0, visible_after_delete_s=8.0)
    return world


def _running(http: Http, world: SimulatedWorld, **fields: object) -> int:
    droplet = made(http, **fields)
    world.advance(31)
    return droplet


@pytest.mark.parametrize("effect", ["stuck_new", "stuck_initializing", "stuck_locked"])
def test_a_stuck_droplet_stays_new_and_locked_and_the_next_one_does_not(
    http: Http, world: SimulatedWorld, effect: str
) -> None:
    world.add_fault(effect, **CREATE, body={"name": "web-2"})
    ids = [made(http, name=f"web-{n}") for n in (1, 2, 3)]
    world.advance(DAY)
    assert [(seen(http, each)["status"], seen(http, each)["locked"]) for each in ids] == [
        ("active", False),
        ("new", True),
        ("active", False),
    ]
    (action,) = http.get(f"/v2/droplets/{ids[1]}/actions").json()["actions"]
    assert (action["status"], action["completed_at"]) == ("in-progress", None)


def test_an_action_that_never_ends_excludes_others(http: Http, world: SimulatedWorld) -> None:
    droplet = _running(http, world)
    world.add_fault("stuck_locked", method="POST", path="/actions$")
    act(http, droplet, "power_off")
    world.advance(DAY)
    assert seen(http, droplet)["status"] == "active"
    assert refusal(http.delete(f"/v2/droplets/{droplet}"))[2] == "Droplet already has a pending event."


def test_a_stuck_deletion_deletes_nothing(http: Http, world: SimulatedWorld) -> None:
    droplet = _running(http, world)
    world.add_fault("stuck_locked", method="DELETE")
    assert http.delete(f"/v2/droplets/{droplet}").status_code == 204
    world.advance(DAY)
    assert seen(http, droplet)["status"] == "active"
    assert refusal(http.delete(f"/v2/droplets/{droplet}"))[2] == "Droplet already has a pending event."


def test_a_slow_droplet_boots_so_many_times_longer(http: Http, world: SimulatedWorld) -> None:
    world.add_fault("slow", **CREATE, factor=4)
    droplet = made(http)
    world.advance(119)
    assert seen(http, droplet)["status"] == "new"
    world.advance(2)
    assert seen(http, droplet)["status"] == "active"


@pytest.mark.parametrize(("keep", "left"), [(True, 1), (False, 0)])
def test_a_creation_fails_after_it_was_accepted(http: Http, world: SimulatedWorld, keep: bool, left: int) -> None:
    world.add_fault("action_error", **CREATE, keep=keep)
    answer = order(http)
    assert answer.status_code == 202
    world.advance(31)
    action = answer.json()["links"]["actions"][0]["id"]
    assert http.get(f"/v2/actions/{action}").json()["action"]["status"] == "errored"
    assert [droplet["status"] for droplet in http.get("/v2/droplets").json()["droplets"]] == ["off"] * left


def test_a_failed_action_changes_nothing(http: Http, world: SimulatedWorld) -> None:
    droplet = _running(http, world)
    world.add_fault("action_error", method="POST", path="/actions$")
    action = act(http, droplet, "rename", name="other").json()["action"]["id"]
    world.advance(6)
    assert http.get(f"/v2/droplets/{droplet}/actions/{action}").json()["action"]["status"] == "errored"
    assert (seen(http, droplet)["name"], seen(http, droplet)["locked"]) == ("web-1", False)


def test_a_guest_may_ignore_the_shutdown(http: Http, world: SimulatedWorld) -> None:
    droplet = _running(http, world)
    world.add_fault("shutdown_ignored", path="/actions$", body={"type": "shutdown"})
    action = act(http, droplet, "shutdown").json()["action"]["id"]
    world.advance(60)
    assert seen(http, droplet)["status"] == "active"
    assert http.get(f"/v2/actions/{action}").json()["action"]["status"] == "errored"
    assert act(http, droplet, "power_off").status_code == 201


def test_a_list_may_miss_what_a_get_finds(http: Http, world: SimulatedWorld) -> None:
    first, second = made(http), made(http)
    world.add_fault("list_misses", method="GET", path="/v2/droplets$", ids=[first], times=1)
    assert [each["id"] for each in http.get("/v2/droplets").json()["droplets"]] == [second]
    assert seen(http, first)["id"] == first
    assert http.get("/v2/droplets").json()["meta"]["total"] == 2


def test_a_list_may_be_stale(http: Http, world: SimulatedWorld) -> None:
    old = _running(http, world)
    http.delete(f"/v2/droplets/{old}")
    world.advance(9)
    new = made(http)
    world.add_fault("stale_list", method="GET", path="/v2/droplets$", seconds=20)
    assert [each["id"] for each in http.get("/v2/droplets").json()["droplets"]] == [old]
    assert [each["id"] for each in http.get("/v2/droplets").json()["droplets"]] == [new]


def test_lists_and_actions_may_lag(http: Http, world: SimulatedWorld) -> None:
    world.set_knobs(list_lag_s=3.0, action_lag_s=2.0)
    answer = order(http).json()
    action = answer["links"]["actions"][0]["id"]
    assert http.get("/v2/droplets").json()["droplets"] == []
    assert http.get(f"/v2/actions/{action}").status_code == 404
    world.advance(3)
    assert len(http.get("/v2/droplets").json()["droplets"]) == 1
    assert http.get(f"/v2/actions/{action}").status_code == 200


def test_a_lost_answer_leaves_a_droplet_and_a_second_try_makes_another(http: Http, world: SimulatedWorld) -> None:
    world.add_fault("accept_then_drop", **CREATE)
    with pytest.raises(requests.ConnectionError):
        order(http)
    order(http)
    assert [thing.name for thing in world.servers("digitalocean")] == ["web-1", "web-1"]


def test_a_request_that_is_dropped_before_leaves_nothing(http: Http, world: SimulatedWorld) -> None:
    world.add_fault("drop_before", **CREATE)
    with pytest.raises(requests.ConnectionError):
        order(http)
    assert world.servers("digitalocean") == []


def test_an_accepted_request_may_be_answered_with_an_error(http: Http, world: SimulatedWorld) -> None:
    world.add_fault("accept_then_status", **CREATE, status=503)
    assert refusal(order(http))[:2] == (503, "service_unavailable")
    assert len(world.servers("digitalocean")) == 1


@pytest.mark.parametrize(
    ("status", "code"), [(500, "server_error"), (503, "service_unavailable"), (429, "too_many_requests")]
)
def test_any_status_may_be_ordered(http: Http, world: SimulatedWorld, status: int, code: str) -> None:
    rule = world.add_fault("respond", path="/v2/", status=status, times=2)
    assert refusal(order(http))[:2] == (status, code)
    assert refusal(http.get("/v2/account"))[:2] == (status, code)
    assert http.get("/v2/account").status_code == 200
    assert (world.fired(rule), world.servers("digitalocean")) == (2, [])


def test_fields_may_be_null_at_any_depth(http: Http, world: SimulatedWorld) -> None:
    droplet = _running(http, world)
    world.add_fault("null_fields", path=f"/v2/droplets/{droplet}$", fields=["region", "networks"])
    broken = seen(http, droplet)
    assert (broken["region"], broken["networks"], broken["name"]) == (None, None, "web-1")
    assert seen(http, droplet)["region"]["slug"] == "fra1"


def test_an_answer_may_be_cut_short(http: Http, world: SimulatedWorld) -> None:
    world.add_fault("truncated_json", path="/v2/droplets$")
    with pytest.raises(requests.JSONDecodeError):
        http.get("/v2/droplets").json()


def test_capacity_and_quota_may_end_at_a_request(http: Http, world: SimulatedWorld) -> None:
    world.add_fault("capacity", **CREATE, skip=1, location="fra1")
    assert made(http)
    assert refusal(order(http))[2] == "Region is not available"
    world.add_fault("quota", **CREATE, droplets=1)
    assert "droplet limit" in refusal(order(http, region="nyc3"))[2]


def test_a_token_may_be_revoked_or_become_read_only(http: Http, world: SimulatedWorld) -> None:
    world.add_fault("token_readonly", **CREATE)
    assert refusal(order(http))[:2] == (403, "forbidden")
    assert http.get("/v2/droplets").status_code == 200
    world.add_fault("token_revoked", path="/v2/droplets$")
    assert refusal(http.get("/v2/droplets"))[:2] == (401, "unauthorized")


def test_edits_from_outside_are_seen_at_once(http: Http, world: SimulatedWorld) -> None:
    droplet = _running(http, world)
    world.rename("digitalocean", droplet, "renamed")
    world.resize("digitalocean", droplet, "s-2vcpu-2gb")
    world.set_status("digitalocean", droplet, "archive")
    shown = seen(http, droplet)
    assert (shown["name"], shown["size_slug"], shown["status"]) == ("renamed", "s-2vcpu-2gb", "archive")
    world.vanish("digitalocean", droplet)
    assert http.get(f"/v2/droplets/{droplet}").status_code == 404


def test_the_log_tells_what_was_asked_and_never_the_token(http: Http, world: SimulatedWorld) -> None:
    order(http)
    (entry,) = world.log()
    assert (entry.method, entry.path, entry.status) == ("POST", "/v2/droplets", 202)
    assert DROPLET["size"] in str(entry.body)
    assert "tttttt" not in repr(entry)
