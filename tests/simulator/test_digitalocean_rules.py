"""What DigitalOcean checks before it accepts something, and with which words it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from scaler.simulator import SimulatedWorld
from tests.simulator.droplets import DROPLET, act, made, order, refusal, seen
from tests.support.sim_http import Http

UNPROCESSABLE = (422, "unprocessable_entity")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": None}, "Only valid hostname characters are allowed. (a-z, A-Z, 0-9, . and -)"),
        ({"name": "web_1"}, "Only valid hostname characters are allowed. (a-z, A-Z, 0-9, . and -)"),
        ({"name": "web-"}, "Only valid hostname characters are allowed. (a-z, A-Z, 0-9, . and -)"),
        ({"name": "w" * 256}, "Only valid hostname characters are allowed. (a-z, A-Z, 0-9, . and -)"),
        ({"size": "s-9vcpu-9gb"}, "You specified an invalid size for Droplet creation."),
        ({"region": "mars1"}, "You specified an invalid region for Droplet creation."),
        ({"image": "ubuntu-99-04-x64"}, "You specified an invalid image for Droplet creation."),
        ({"image": 1}, "You specified an invalid image for Droplet creation."),
        ({"image": None}, "You specified an invalid image for Droplet creation."),
        ({"ssh_keys": [1, "aa:bb"]}, "1, aa:bb are invalid key identifiers for Droplet creation."),
        ({"vpc_uuid": "760e09ef-dc84-11e8-981e-3cfdfeaae000"}, "Failed to resolve VPC"),
        ({"user_data": "x" * 65_537}, "User data is too long (maximum is 64 KiB)"),
        ({"backup_policy": {"plan": "hourly"}}, "backup_policy: plan must be one of daily, weekly"),
        ({"backup_policy": {"hour": 3}}, "backup_policy: hour must be one of 0, 4, 8, 12, 16, 20"),
    ],
)
def test_a_wrong_order_is_refused_and_makes_nothing(
    http: Http, world: SimulatedWorld, fields: dict[str, Any], words: str
) -> None:
    assert refusal(order(http, tags=["left-behind"], **fields)) == (*UNPROCESSABLE, words)
    assert world.servers("digitalocean") == []
    assert http.get("/v2/tags/left-behind").status_code == 404


@pytest.mark.parametrize("tag", ["a.b", "a/b", "a=b", "", "t" * 256, 7])
def test_a_tag_with_other_characters_is_refused(http: Http, world: SimulatedWorld, tag: object) -> None:
    assert refusal(order(http, tags=[tag]))[:2] == UNPROCESSABLE
    assert world.servers("digitalocean") == []


def test_a_snapshot_is_usable_in_its_regions_and_on_disks_that_are_large_enough(
    http: Http, world: SimulatedWorld
) -> None:
    snapshot = world.add_snapshot("digitalocean", "big", disk=60, regions=["fra1"])
    assert made(http, image=snapshot.id, size="s-2vcpu-2gb")
    assert made(http, image=str(snapshot.id), size="s-2vcpu-2gb", region=None)
    assert refusal(order(http, image=snapshot.id))[:2] == UNPROCESSABLE
    assert refusal(order(http, image=snapshot.id, size="s-2vcpu-2gb", region="nyc3"))[:2] == UNPROCESSABLE
    moved = http.post(f"/v2/images/{snapshot.id}/actions", json={"type": "transfer", "region": "nyc3"})
    assert moved.status_code == 201
    assert made(http, image=snapshot.id, size="s-2vcpu-2gb", region="nyc3")


def test_an_unfinished_snapshot_is_pending_and_makes_no_droplet(http: Http, world: SimulatedWorld) -> None:
    snapshot = world.add_snapshot("digitalocean", "young", disk=25, ready_in=60)
    assert http.get(f"/v2/images/{snapshot.id}").json()["image"]["status"] == "pending"
    assert refusal(order(http, image=snapshot.id))[2] == "You specified an invalid image for Droplet creation."
    world.advance(61)
    assert http.get(f"/v2/images/{snapshot.id}").json()["image"]["status"] == "available"
    assert made(http, image=snapshot.id)


def test_the_droplet_limit_counts_what_is_still_being_deleted(http: Http, world: SimulatedWorld) -> None:
    world.set_quota("digitalocean", droplets=2)
    world.set_knobs(visible_after_delete_s=8.0)
    assert http.get("/v2/account").json()["account"]["droplet_limit"] == 2
    too_many = http.post("/v2/droplets", json={**DROPLET, "name": None, "names": ["a", "b", "c"]})
    words = "creating this/these droplet(s) will exceed your droplet limit"
    assert refusal(too_many) == (*UNPROCESSABLE, words)
    first = made(http)
    made(http)
    http.delete(f"/v2/droplets/{first}")
    assert refusal(order(http)) == (*UNPROCESSABLE, words)
    world.advance(9)
    assert made(http)


def test_a_full_region_refuses_all_of_a_request_and_its_sizes_say_so(http: Http, world: SimulatedWorld) -> None:
    world.set_capacity("digitalocean", "s-1vcpu-1gb", "fra1", 2)
    several = http.post("/v2/droplets", json={**DROPLET, "name": None, "names": ["a", "b", "c"]})
    assert refusal(several) == (*UNPROCESSABLE, "Region is not available")
    assert world.servers("digitalocean") == []
    made(http)
    made(http)
    assert refusal(order(http)) == (*UNPROCESSABLE, "Region is not available")
    sizes = {size["slug"]: size for size in http.get("/v2/sizes").json()["sizes"]}
    assert "fra1" not in sizes["s-1vcpu-1gb"]["regions"]
    assert "fra1" in sizes["c-2"]["regions"]
    assert made(http, region="nyc3")


def test_a_withdrawn_size_is_no_longer_sold(http: Http, world: SimulatedWorld) -> None:
    world.deprecate("digitalocean", "c-2")
    sizes = {size["slug"]: size for size in http.get("/v2/sizes").json()["sizes"]}
    assert (sizes["c-2"]["available"], sizes["c-2"]["regions"]) == (False, [])
    assert refusal(order(http, size="c-2")) == (*UNPROCESSABLE, "Size is not available in this region.")
    droplet = made(http)
    world.advance(60)
    act(http, droplet, "power_off")
    world.advance(60)
    assert act(http, droplet, "resize", size="c-2").json()["message"] == "Size is not available in this region."
    world.set_capacity("digitalocean", "s-2vcpu-4gb", "fra1", 0)
    assert act(http, droplet, "resize", size="s-2vcpu-4gb").json()["message"] == "Region is not available"
    assert seen(http, droplet)["size_slug"] == "s-1vcpu-1gb"


@pytest.mark.parametrize(
    ("asked", "features"),
    [
        ({}, ["droplet_agent", "private_networking"]),
        ({"monitoring": True}, ["droplet_agent", "monitoring", "private_networking"]),
        ({"ipv6": True, "backups": True}, ["backups", "droplet_agent", "ipv6", "private_networking"]),
        ({"with_droplet_agent": False}, ["private_networking"]),
    ],
)
def test_features_are_exactly_those_that_were_asked_for(
    http: Http, asked: dict[str, bool], features: list[str]
) -> None:
    droplet = seen(http, made(http, **asked))
    assert droplet["features"] == features
    assert bool(droplet["networks"]["v6"]) == asked.get("ipv6", False)


def test_a_tag_keeps_the_spelling_it_was_made_with(http: Http) -> None:
    made(http, tags=["Scaler:Web", "scaler:web"])
    assert seen(http, made(http, tags=["SCALER:WEB"]))["tags"] == ["Scaler:Web"]
    assert [tag["name"] for tag in http.get("/v2/tags").json()["tags"]] == ["Scaler:Web", "role:worker"]


def test_tags_put_on_from_outside_count(http: Http, world: SimulatedWorld) -> None:
    droplet = made(http)
    world.relabel("digitalocean", droplet, tags=["by-hand"])
    assert http.get("/v2/droplets?tag_name=by-hand").json()["meta"]["total"] == 1
    assert http.get("/v2/tags/by-hand").json()["tag"]["resources"]["droplets"]["count"] == 1


@pytest.mark.parametrize(
    "resource", [{"resource_id": "1", "resource_type": "droplet"}, {"resource_type": "volume"}, {}]
)
def test_what_does_not_exist_cannot_be_tagged(http: Http, resource: dict[str, str]) -> None:
    http.post("/v2/tags", json={"name": "t"})
    answer = http.post("/v2/tags/t/resources", json={"resources": [resource]})
    assert refusal(answer)[:2] == (404, "not_found")


def test_a_locked_droplet_takes_neither_actions_nor_its_deletion(http: Http, world: SimulatedWorld) -> None:
    world.set_knobs(boot_s=10)
    droplet = made(http)
    pending = (*UNPROCESSABLE, "Droplet already has a pending event.")
    assert refusal(act(http, droplet, "power_off")) == pending
    assert refusal(http.delete(f"/v2/droplets/{droplet}")) == pending
    world.advance(11)
    assert act(http, droplet, "power_off").status_code == 201


def test_power_is_not_switched_to_what_it_is(http: Http) -> None:
    droplet = made(http)
    assert refusal(act(http, droplet, "power_on"))[2] == "Droplet is already powered on."
    act(http, droplet, "power_off")
    for kind in ("power_off", "shutdown", "reboot"):
        assert refusal(act(http, droplet, kind))[2] == "Droplet is already powered off."
    assert refusal(act(http, droplet, "levitate"))[:2] == UNPROCESSABLE


def test_a_droplet_is_renamed_resized_and_rebuilt(http: Http) -> None:
    droplet = made(http)
    act(http, droplet, "rename", name="web-2")
    assert seen(http, droplet)["name"] == "web-2"
    assert refusal(act(http, droplet, "rename", name="_"))[:2] == UNPROCESSABLE
    assert refusal(act(http, droplet, "resize", size="s-2vcpu-4gb"))[:2] == UNPROCESSABLE
    act(http, droplet, "power_off")
    assert act(http, droplet, "resize", size="s-2vcpu-4gb", disk=True).status_code == 201
    assert refusal(act(http, droplet, "resize", size="s-1vcpu-1gb"))[:2] == UNPROCESSABLE
    resized = seen(http, droplet)
    assert (resized["size_slug"], resized["vcpus"], resized["memory"], resized["disk"]) == ("s-2vcpu-4gb", 2, 4096, 80)
    act(http, droplet, "rebuild", image="debian-12-x64")
    assert seen(http, droplet)["image"]["slug"] == "debian-12-x64"
    act(http, droplet, "enable_ipv6")
    act(http, droplet, "enable_backups")
    act(http, droplet, "disable_backups")
    assert seen(http, droplet)["features"] == ["droplet_agent", "ipv6", "private_networking"]


def test_all_droplets_with_a_tag_are_acted_on_together(http: Http) -> None:
    tagged = [made(http, tags=["fleet"]) for _ in range(2)]
    other = made(http)
    answer = http.post("/v2/droplets/actions?tag_name=fleet", json={"type": "power_off"})
    assert answer.status_code == 201
    assert [action["resource_id"] for action in answer.json()["actions"]] == tagged
    assert [seen(http, droplet)["status"] for droplet in (*tagged, other)] == ["off", "off", "active"]
    assert http.post("/v2/droplets/actions?tag_name=fleet", json={"type": "rebuild"}).status_code == 422


def test_a_droplet_that_is_being_deleted_does_not_keep_the_others_from_an_action(
    http: Http, world: SimulatedWorld
) -> None:
    first, second = (made(http, tags=["fleet"]) for _ in range(2))
    world.set_knobs("digitalocean", visible_after_delete_s=60)
    http.delete(f"/v2/droplets/{first}")
    answer = http.post("/v2/droplets/actions?tag_name=fleet", json={"type": "power_off"})
    assert [action["resource_id"] for action in answer.json()["actions"]] == [second]


def test_a_droplet_is_rebuilt_only_from_an_image_that_fits(http: Http, world: SimulatedWorld) -> None:
    droplet = made(http)
    elsewhere = world.add_snapshot("digitalocean", "elsewhere", disk=25, regions=("nyc3",)).id
    large = world.add_snapshot("digitalocean", "large", disk=400).id
    assert [act(http, droplet, "rebuild", image=image).status_code for image in (elsewhere, large)] == [422, 422]


def test_a_reserved_address_stays_in_its_region(http: Http) -> None:
    ip = http.post("/v2/reserved_ips", json={"region": "nyc3"}).json()["reserved_ip"]["ip"]
    body = {"type": "assign", "droplet_id": made(http, region="fra1")}
    assert http.post(f"/v2/reserved_ips/{ip}/actions", json=body).status_code == 422


def test_a_vpc_has_a_private_range_of_its_own(http: Http) -> None:
    """[spec] `ip_range`: RFC 1918, from /28 to /16, without overlap."""

    def create(name: str, **more: object) -> int:
        return http.post("/v2/vpcs", json={"name": name, "region": "fra1", **more}).status_code

    wrong = ("x", "8.8.8.0/24", "10.200.0.0/12", "10.200.0.0/29", "fd00::/64")
    assert [create("wrong", ip_range=each) for each in wrong] == [422] * len(wrong)
    ranges = ("10.10.0.0/24", "10.10.0.0/20")
    assert [create(f"named-{each[-2:]}", ip_range=each) for each in ranges] == [201, 422]
    assert [create(f"unnamed-{number}") for number in range(2)] == [201, 201]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/droplets/1"),
        ("DELETE", "/v2/droplets/1"),
        ("GET", "/v2/droplets/web-1"),
        ("POST", "/v2/droplets/1/actions"),
        ("GET", "/v2/actions/1"),
        ("GET", "/v2/images/nothing"),
        ("GET", "/v2/snapshots/1"),
        ("GET", "/v2/account/keys/1"),
        ("GET", "/v2/tags/nothing"),
        ("GET", "/v2/vpcs/nothing"),
        ("GET", "/v2/projects/nothing"),
        ("GET", "/v2/reserved_ips/203.0.113.1"),
    ],
)
def test_what_is_not_there_is_404_in_the_vendors_shape(http: Http, method: str, path: str) -> None:
    answer = http.request(method, path, json={"type": "power_off"} if method == "POST" else None)
    assert refusal(answer) == (404, "not_found", "The resource you requested could not be found.")


@pytest.mark.parametrize("query", ["page=0", "page=x", "per_page=-1", "name=a&tag_name=b"])
def test_a_wrong_query_is_refused(http: Http, query: str) -> None:
    assert refusal(http.get(f"/v2/droplets?{query}"))[:2] == UNPROCESSABLE


def test_the_vendors_images_cannot_be_changed(http: Http) -> None:
    assert refusal(http.delete("/v2/images/ubuntu-24-04-x64"))[:2] == (403, "forbidden")


def test_keys_are_added_once_and_used_by_id_or_fingerprint(http: Http) -> None:
    body = {
        "name": "mine",
        "public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPn6yjEkUPNlTvSJrzVjPVNzlGrzhtz8BzGYV8jgoLuV me",
    }
    key = http.post("/v2/account/keys", json=body).json()["ssh_key"]
    assert refusal(http.post("/v2/account/keys", json=body))[:2] == UNPROCESSABLE
    assert made(http, ssh_keys=[key["id"], key["fingerprint"]])
    assert http.delete(f"/v2/account/keys/{key['fingerprint']}").status_code == 204
    assert http.get(f"/v2/account/keys/{key['id']}").status_code == 404
    assert refusal(order(http, ssh_keys=[key["id"]]))[:2] == UNPROCESSABLE


def test_a_vpc_takes_droplets_of_its_region_alone(http: Http) -> None:
    vpc = http.post("/v2/vpcs", json={"name": "inner", "region": "nyc3"}).json()["vpc"]
    assert refusal(order(http, vpc_uuid=vpc["id"]))[:2] == UNPROCESSABLE
    droplet = made(http, region="nyc3", vpc_uuid=vpc["id"])
    assert seen(http, droplet)["vpc_uuid"] == vpc["id"]
    assert http.delete(f"/v2/vpcs/{vpc['id']}").status_code == 403
    http.delete(f"/v2/droplets/{droplet}")
    assert http.delete(f"/v2/vpcs/{vpc['id']}").status_code == 204
