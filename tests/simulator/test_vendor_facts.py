"""V1 to V10: what the real clouds do and the embedded one once did not. Each test names its source.

[spec] the vendor's document, [staff] a vendor's employee in a public thread, [field] a user's log.
"""

from __future__ import annotations

from typing import Any

import pytest

from scaler.simulator import SimulatedWorld
from tests.simulator.droplets import act, made, order, refusal, seen
from tests.support.sim_http import SERVER, Http

HOUR = 3600.0
PRIVATE = {"enable_ipv4": False, "enable_ipv6": False}


def error_of(answer: Any) -> tuple[int, str, str]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["message"]


def network(http: Http, *zones: str, name: str = "inner") -> int:
    subnets = [
        {"type": "cloud", "ip_range": f"10.0.{number}.0/24", "network_zone": zone} for number, zone in enumerate(zones)
    ]
    answer = http.post("/v1/networks", json={"name": name, "ip_range": "10.0.0.0/16", "subnets": subnets})
    assert answer.status_code == 201
    return int(answer.json()["network"]["id"])


def test_v1_a_withdrawn_type_vanishes_from_types_and_prices(http: Http, world: SimulatedWorld) -> None:
    """[spec] [staff] terraform-provider-hcloud PR#1233: a removed type is in no list; servers of it stay."""

    def names() -> tuple[set[str], set[str]]:
        types = http.get("/v1/server_types?per_page=50").json()["server_types"]
        return {row["name"] for row in types}, {
            row["name"] for row in http.get("/v1/pricing").json()["pricing"]["server_types"]
        }

    server = http.create().json()["server"]["id"]
    assert all("cx23" in listed and "cpx11" not in listed for listed in names())
    world.deprecate("hetzner", "cx23")
    assert all("cx23" in listed for listed in names())
    assert error_of(http.create(name="web-2"))[:2] == (422, "invalid_input")
    world.advance(HOUR + 1)
    assert not any("cx23" in listed for listed in names())
    assert http.get("/v1/server_types?name=cx23").json()["server_types"] == []
    assert http.get(f"/v1/servers/{server}").json()["server"]["server_type"]["name"] == "cx23"


def test_v2_ssh_keys_can_be_listed_ten_times_a_minute(http: Http, world: SimulatedWorld) -> None:
    """[spec] digitalocean/openapi: GET /v2/account/keys has a limit of its own."""
    assert [http.get("/v2/account/keys").status_code for _ in range(11)] == [200] * 10 + [429]
    refused = http.get("/v2/account/keys")
    assert refusal(refused)[:2] == (429, "too_many_requests")
    assert refused.headers["retry-after"] == "60"
    assert http.get("/v2/droplets").status_code == 200
    world.advance(61)
    assert http.get("/v2/account/keys").status_code == 200


def test_v3_a_server_without_any_interface_is_refused(http: Http) -> None:
    """[field] ansible hetzner.hcloud PR#160; hcloud-go allows it with `start_after_create: false` alone."""
    assert error_of(http.create(public_net=PRIVATE))[:2] == (422, "invalid_input")
    assert http.create(public_net=PRIVATE, start_after_create=False).status_code == 201


@pytest.mark.parametrize("zones", [(), ("us-east",)])
def test_v3_a_network_without_a_subnet_in_the_location_s_zone(
    http: Http, world: SimulatedWorld, zones: tuple[str, ...]
) -> None:
    """[field] terraform-provider-hcloud#792: 422 `service_error`, and nothing is created."""
    answer = http.create(networks=[network(http, *zones)])
    assert error_of(answer) == (422, "service_error", "no subnet or IP available")
    assert world.servers() == []


def test_v3_a_firewall_needs_a_public_interface(http: Http) -> None:
    """[spec] Hetzner: `private_net_only_server`."""
    firewall = http.post("/v1/firewalls", json={"name": "web"}).json()["firewall"]["id"]
    inner = network(http, "eu-central")
    answer = http.create(public_net=PRIVATE, networks=[inner], firewalls=[{"firewall": firewall}])
    assert error_of(answer)[:2] == (422, "private_net_only_server")


def test_v4_lists_and_their_totals_lag(http: Http, world: SimulatedWorld) -> None:
    """[field] pydo#468, api-v2#202: new droplets are missing from lists and from `meta.total` for seconds."""
    world.set_knobs("digitalocean", list_lag_s=8.0)
    droplet = made(http, tags=["scaler"])
    world.advance(7)
    assert [http.get(f"/v2/droplets{query}").json()["meta"]["total"] for query in ("", "?tag_name=scaler")] == [0, 0]
    assert seen(http, droplet)["id"] == droplet
    world.advance(2)
    assert [row["id"] for row in http.get("/v2/droplets").json()["droplets"]] == [droplet]
    world.vanish("digitalocean", droplet)
    assert http.get("/v2/droplets").json()["meta"]["total"] == 1
    assert http.get(f"/v2/droplets/{droplet}").status_code == 404
    world.advance(9)
    assert http.get("/v2/droplets").json()["meta"]["total"] == 0


def test_v5_an_eleventh_server_in_a_placement_group(http: Http) -> None:
    """[field] terraform-provider-hcloud#1170."""
    group = http.post("/v1/placement_groups", json={"name": "g", "type": "spread"}).json()["placement_group"]["id"]
    assert {http.create(name=f"web-{n}", placement_group=group).status_code for n in range(10)} == {201}
    assert error_of(http.create(name="web-10", placement_group=group)) == (
        422,
        "placement_group_member_limit_reached",
        f"placement group with ID {group} contains already 10 servers",
    )
    assert http.create(name="web-10").status_code == 201


def test_v6_what_a_deleted_server_holds_is_free_when_the_deletion_has_ended(http: Http, world: SimulatedWorld) -> None:
    """[staff] cli PR#482, terraform-provider-hcloud PR#590: name, place, addresses and quota."""
    group = http.post("/v1/placement_groups", json={"name": "g", "type": "spread"}).json()["placement_group"]["id"]
    servers = [http.create(name=f"web-{n}", placement_group=group).json()["server"]["id"] for n in range(10)]
    world.set_knobs("hetzner", delete_s=4.0)
    world.set_quota("hetzner", servers=10, primary_ips=20)
    action = http.delete(f"/v1/servers/{servers[0]}").json()["action"]
    assert (action["status"], http.get(f"/v1/servers/{servers[0]}").status_code) == ("running", 404)
    assert error_of(http.create(name="web-0"))[:2] == (409, "uniqueness_error")
    assert error_of(http.create(name="new"))[:2] == (403, "resource_limit_exceeded")
    world.set_quota("hetzner", servers=11)
    assert error_of(http.create(name="new"))[2] == "Primary IP limit exceeded"
    world.set_quota("hetzner", primary_ips=22)
    assert error_of(http.create(name="new", placement_group=group))[1] == "placement_group_member_limit_reached"
    world.set_quota("hetzner", servers=10, primary_ips=20)
    world.advance(5)
    assert http.get(f"/v1/actions/{action['id']}").json()["action"]["status"] == "success"
    assert http.create(name="web-0", placement_group=group).status_code == 201


def test_v7_a_droplet_is_locked_only_while_it_is_new(http: Http, world: SimulatedWorld) -> None:
    """[staff] 2020, droplet_kit#218: `locked` says nothing about other actions; they are to be polled."""
    world.set_knobs("digitalocean", boot_s=5.0, power_s=6.0)
    droplet = made(http)
    assert (seen(http, droplet)["status"], seen(http, droplet)["locked"]) == ("new", True)
    world.advance(6)
    action = act(http, droplet, "reboot").json()["action"]["id"]
    world.advance(1)
    assert (seen(http, droplet)["status"], seen(http, droplet)["locked"]) == ("active", False)
    assert http.get(f"/v2/actions/{action}").json()["action"]["status"] == "in-progress"
    assert refusal(act(http, droplet, "power_off"))[2] == "Droplet already has a pending event."
    world.advance(6)
    assert http.get(f"/v2/actions/{action}").json()["action"]["status"] == "completed"


def test_v8_an_image_that_is_not_in_the_region(http: Http, world: SimulatedWorld) -> None:
    """[field] api-v2#36."""
    image = world.add_snapshot("digitalocean", "far", disk=25, regions=["nyc3"]).id
    status, _, message = refusal(order(http, image=image, region="fra1"))
    assert (status, "image you specified is not available in the selected region" in message) == (422, True)


def test_v9_networks_and_firewalls_come_with_actions_of_their_own(http: Http, world: SimulatedWorld) -> None:
    """[staff] hcloud-go#168: `private_net` is filled by the `attach_to_network` among the `next_actions`.

    [field] tonobo/hcloud-ruby#72: these come after `start_server`.
    """
    world.set_knobs("hetzner", boot_s=8.0, attach_s=2.0)
    firewall = http.post("/v1/firewalls", json={"name": "web"}).json()["firewall"]["id"]
    created = http.create(networks=[network(http, "eu-central")], firewalls=[{"firewall": firewall}]).json()
    commands = [action["command"] for action in created["next_actions"]]
    assert commands == ["start_server", "attach_to_network", "apply_firewall"]
    assert created["server"]["private_net"] == []
    assert created["server"]["public_net"]["firewalls"] == [{"id": firewall, "status": "pending"}]
    path = f"/v1/servers/{created['server']['id']}"
    world.advance(9)
    server = http.get(path).json()["server"]
    assert (server["status"], server["locked"], server["private_net"]) == ("running", True, [])
    world.advance(2)
    server = http.get(path).json()["server"]
    assert [net["ip"] for net in server["private_net"]] == ["10.0.0.2"]
    assert server["public_net"]["firewalls"] == [{"id": firewall, "status": "applied"}]
    assert server["locked"] is False


def test_v9_a_type_that_is_not_sold_in_the_location(http: Http) -> None:
    """[field] autobase-tech/autobase#1403: `invalid_input`, and not a code of its own; the words are the message."""
    answer = http.create(location="ash")
    assert error_of(answer) == (422, "invalid_input", "unsupported location for server type")
    assert answer.json()["error"]["details"] == {}


@pytest.mark.parametrize("fields", [{"networks": "x"}, {"labels": [1]}, {"public_net": 7}, {"image": 1 << 70}])
def test_v10_a_wrong_type_is_no_server_error(http: Http, fields: dict[str, Any]) -> None:
    """[spec] a request that does not fit is 422; `test_wrong_types.py` tries every route and field."""
    assert http.post("/v1/servers", json={**SERVER, **fields}).status_code == 422


def test_v6_what_a_server_used_is_in_use_until_its_deletion_has_ended(http: Http, world: SimulatedWorld) -> None:
    """[staff] terraform-provider-hcloud PR#590: also for who deletes it, or gives it to another server."""
    group = http.post("/v1/placement_groups", json={"name": "g", "type": "spread"}).json()["placement_group"]["id"]
    wall = http.post("/v1/firewalls", json={"name": "wall"}).json()["firewall"]["id"]
    ip = http.post("/v1/primary_ips", json={"name": "ip", "type": "ipv4", "location": "fsn1"}).json()["primary_ip"]
    given = {"public_net": {"ipv4": ip["id"]}}
    inner = network(http, "eu-central")
    server = http.create(placement_group=group, firewalls=[{"firewall": wall}], networks=[inner], **given).json()
    world.set_knobs("hetzner", delete_s=4.0)
    assert http.delete(f"/v1/servers/{server['server']['id']}").status_code == 200

    def statuses() -> list[int]:
        subnet = http.post(f"/v1/networks/{inner}/actions/delete_subnet", json={"ip_range": "10.0.0.0/24"})
        taken = [http.create(name="other", **given), subnet]
        paths = (f"/v1/placement_groups/{group}", f"/v1/firewalls/{wall}")
        return [answer.status_code for answer in (*taken, *map(http.delete, paths))]

    assert statuses() == [422, 409, 422, 422]
    assert http.delete(f"/v1/primary_ips/{ip['id']}").status_code == 422
    world.advance(5)
    assert statuses() == [201, 201, 204, 204]
