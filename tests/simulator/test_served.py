"""What clients of the vendors asked for and once got wrong, and what is not served and says so."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
import requests
from pydo.operations import _operations

from scaler.simulator import SimulatedWorld
from scaler.simulator.digitalocean import api
from tests.simulator.droplets import made
from tests.support.sim_http import Http

SUBNET = {"type": "cloud", "ip_range": "10.0.1.0/24", "network_zone": "eu-central"}


def network(http: Http, **more: Any) -> dict[str, Any]:
    answer = http.post("/v1/networks", json={"name": "inner", "ip_range": "10.0.0.0/16", "subnets": [SUBNET], **more})
    assert answer.status_code == 201
    shown: dict[str, Any] = answer.json()["network"]
    return shown


def server(http: Http, **more: Any) -> int:
    return int(http.create(**more).json()["server"]["id"])


def backup(http: Http, machine: int) -> requests.Response:
    return http.post(f"/v1/servers/{machine}/actions/create_image", json={"type": "backup", "description": "daily"})


def backups(http: Http) -> list[int]:
    return [image["bound_to"] for image in http.get("/v1/images?type=backup").json()["images"]]


def test_a_backup_is_bound_to_its_server(http: Http) -> None:
    """[spec] `create_image`, `disable_backup` and `PUT /images/{id}`; docs.hetzner.com/cloud/general/faq."""
    machine = server(http)
    assert backup(http, machine).json()["error"]["code"] == "invalid_input"
    assert http.post(f"/v1/servers/{machine}/actions/enable_backup").status_code == 201
    kept, _ = backup(http, machine).json()["image"]["id"], backup(http, machine)
    assert backups(http) == [machine, machine]
    converted = http.put(f"/v1/images/{kept}", json={"type": "snapshot"}).json()["image"]
    assert (converted["type"], converted["bound_to"]) == ("snapshot", None)
    assert backups(http) == [machine]
    assert http.post(f"/v1/servers/{machine}/actions/disable_backup").status_code == 201
    assert backups(http) == []
    http.post(f"/v1/servers/{machine}/actions/enable_backup")
    backup(http, machine)
    assert http.delete(f"/v1/servers/{machine}").status_code == 200
    assert backups(http) == []
    assert http.get(f"/v1/images/{kept}").status_code == 200


def test_addresses_and_aliases_in_a_network(http: Http) -> None:
    inner, machine = network(http)["id"], server(http)
    act = f"/v1/servers/{machine}/actions"
    outside = http.post(f"{act}/attach_to_network", json={"network": inner, "ip": "10.0.2.7"})
    assert (outside.status_code, outside.json()["error"]["code"]) == (422, "invalid_input")
    inside = {"network": inner, "ip": "10.0.1.7", "alias_ips": ["10.0.1.8"]}
    assert http.post(f"{act}/attach_to_network", json=inside).status_code == 201
    (net,) = http.get(f"/v1/servers/{machine}").json()["server"]["private_net"]
    assert (net["ip"], net["alias_ips"]) == ("10.0.1.7", ["10.0.1.8"])
    assert http.post(f"{act}/change_alias_ips", json={"network": inner, "alias_ips": []}).status_code == 201
    (net,) = http.get(f"/v1/servers/{machine}").json()["server"]["private_net"]
    assert net["alias_ips"] == []
    assert http.post(f"/v1/networks/{inner}/actions/delete_subnet", json={"ip_range": "10.0.1.0/24"}).status_code == 409


def test_a_network_keeps_its_routes_and_its_protection(http: Http) -> None:
    route = {"destination": "10.100.1.0/24", "gateway": "10.0.1.1"}
    made_so = network(http, routes=[route], expose_routes_to_vswitch=True)
    assert (made_so["routes"], made_so["expose_routes_to_vswitch"]) == ([route], True)
    act = f"/v1/networks/{made_so['id']}/actions"
    assert http.post(f"{act}/delete_route", json=route).status_code == 201
    assert http.post(f"{act}/delete_route", json=route).status_code == 422
    assert http.post(f"{act}/add_route", json=route).status_code == 201
    assert http.post(f"{act}/change_protection", json={"delete": True}).status_code == 201
    shown = http.get(f"/v1/networks/{made_so['id']}").json()["network"]
    assert (shown["routes"], shown["protection"]) == ([route], {"delete": True})
    assert http.delete(f"/v1/networks/{made_so['id']}").status_code == 423
    http.post(f"{act}/change_protection", json={"delete": False})
    assert http.post(f"{act}/delete_subnet", json={"ip_range": "10.0.1.0/24"}).status_code == 201
    assert http.delete(f"/v1/networks/{made_so['id']}").status_code == 204


def test_a_subnet_of_a_vswitch_has_no_addresses_for_servers(http: Http) -> None:
    """docs.hetzner.com/cloud/networks/connect-dedi-vswitch: its addresses are those of dedicated servers."""
    dedicated = {**SUBNET, "type": "vswitch", "vswitch_id": 7}
    inner = network(http, subnets=[dedicated])
    assert inner["subnets"][0]["vswitch_id"] == 7
    refused = http.create(networks=[inner["id"]])
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "service_error")
    act = f"/v1/networks/{inner['id']}/actions/add_subnet"
    for wrong in ({"type": "vswitch"}, {"vswitch_id": 7}):
        refused = http.post(act, json={**SUBNET, "ip_range": "10.0.2.0/24", **wrong})
        assert refused.json()["error"]["details"]["fields"][0]["name"] == "vswitch_id"


def test_a_firewall_is_applied_at_creation_and_by_labels(http: Http) -> None:
    first, second = server(http, labels={"role": "web"}), server(http, name="web-2")
    target = {"type": "server", "server": {"id": second}}
    firewall = http.post("/v1/firewalls", json={"name": "web", "apply_to": [target]}).json()
    assert [action["command"] for action in firewall["actions"]] == ["apply_firewall"]
    act = f"/v1/firewalls/{firewall['firewall']['id']}/actions"
    by_label = {"type": "label_selector", "label_selector": {"selector": "role=web"}}
    assert http.post(f"{act}/apply_to_resources", json={"apply_to": [by_label]}).status_code == 201
    shown = http.get(f"/v1/firewalls/{firewall['firewall']['id']}").json()["firewall"]
    matching = [{"type": "server", "server": {"id": first}}]
    assert shown["applied_to"] == [target, {**by_label, "applied_to_resources": matching}]
    third = server(http, name="web-3", labels={"role": "web"})
    for machine in (first, second, third):
        (applied,) = http.get(f"/v1/servers/{machine}").json()["server"]["public_net"]["firewalls"]
        assert applied["id"] == firewall["firewall"]["id"]
    gone = {"remove_from": [{"type": "server", "server": {"id": 1}}]}
    missing = http.post(f"{act}/remove_from_resources", json=gone).json()["error"]["code"]
    assert missing == "firewall_resource_not_found"
    assert http.delete(act.removesuffix("/actions")).status_code == 422
    rule = {"direction": "in", "protocol": "tcp", "port": "22", "source_ips": ["0.0.0.0/0"]}
    assert http.post(f"{act}/set_rules", json={"rules": [rule]}).status_code == 201
    (kept,) = http.get(f"/v1/firewalls/{firewall['firewall']['id']}").json()["firewall"]["rules"]
    assert kept == {**rule, "destination_ips": [], "description": None}


def test_a_primary_ip_is_assigned_to_a_server_that_is_off(http: Http) -> None:
    machine = server(http, public_net={"enable_ipv4": False}, start_after_create=False)
    ip = http.post("/v1/primary_ips", json={"name": "front", "type": "ipv4", "location": "fsn1"}).json()["primary_ip"]
    act = f"/v1/primary_ips/{ip['id']}/actions"
    assert http.post(f"{act}/assign", json={"assignee_id": machine, "assignee_type": "server"}).status_code == 201
    shown = http.get(f"/v1/servers/{machine}").json()["server"]["public_net"]["ipv4"]
    assert shown["ip"] == ip["ip"]
    assert http.post(f"{act}/unassign").status_code == 201
    assert http.post(f"{act}/change_protection", json={"delete": True}).status_code == 201
    assert http.delete(f"/v1/primary_ips/{ip['id']}").status_code == 423


def test_an_address_is_resolved_to_the_name_that_its_owner_sets(http: Http) -> None:
    machine = server(http)
    shown = http.get(f"/v1/servers/{machine}").json()["server"]["public_net"]
    ip = shown["ipv4"]
    assert ip["dns_ptr"].startswith("static.")
    act = f"/v1/primary_ips/{ip['id']}/actions"
    change = {"ip": ip["ip"], "dns_ptr": "web.example.com"}
    made_so = http.post(f"{act}/change_dns_ptr", json=change)
    assert (made_so.status_code, made_so.json()["action"]["command"]) == (201, "change_dns_ptr")
    assert [row["command"] for row in http.get(act).json()["actions"]] == ["change_dns_ptr"]
    assert http.get(f"{act}/{made_so.json()['action']['id']}").status_code == 200
    assert http.get(f"/v1/servers/{machine}").json()["server"]["public_net"]["ipv4"]["dns_ptr"] == "web.example.com"
    inside = shown["ipv6"]["ip"].replace("/64", "1")
    named = {"ip": inside, "dns_ptr": "six.example.com"}
    assert http.post(f"/v1/servers/{machine}/actions/change_dns_ptr", json=named).status_code == 201
    assert http.get(f"/v1/primary_ips/{shown['ipv6']['id']}").json()["primary_ip"]["dns_ptr"] == [named]
    assert http.post(f"{act}/change_dns_ptr", json={**change, "ip": "192.0.2.9"}).status_code == 422


def test_addresses_are_the_first_free_ones_of_the_subnet_that_is_asked_for(http: Http) -> None:
    """[code] terraform-provider-hcloud 1.68.0's tests: the gateway is that of the network, not of each subnet."""
    more = [{**SUBNET, "ip_range": "10.0.2.0/24"}, {**SUBNET, "ip_range": "10.0.0.248/30"}]
    inner = network(http, subnets=[SUBNET, *more])["id"]
    machines = [server(http, name=f"web-{number}") for number in range(4)]

    def attach(machine: int, **ask: str) -> str:
        answer = http.post(f"/v1/servers/{machine}/actions/attach_to_network", json={"network": inner, **ask})
        if answer.status_code != 201:
            return str(answer.json()["error"]["code"])
        return str(http.get(f"/v1/servers/{machine}").json()["server"]["private_net"][0]["ip"])

    assert [attach(machines[0]), attach(machines[1], ip="10.0.2.1")] == ["10.0.1.1", "10.0.2.1"]
    assert attach(machines[2], ip="10.0.2.1") == "ip_not_available"
    assert attach(machines[2], ip_range="10.0.2.0/24") == "10.0.2.2"
    http.delete(f"/v1/servers/{machines[0]}")
    assert attach(machines[3]) == "10.0.1.1"
    full = [attach(server(http, name=f"small-{number}"), ip_range="10.0.0.248/30") for number in range(3)]
    assert full == ["10.0.0.249", "10.0.0.250", "service_error"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"ip_range": "255.255.255.255/32"},
        {"ip_range": "10.0.0.0/25"},
        {"ip_range": "8.8.8.0/24"},
        {"ip_range": "fd00::/64"},
        {"subnets": [SUBNET, SUBNET]},
        {"subnets": [{**SUBNET, "ip_range": "10.0.1.0/31"}]},
        {"subnets": [{**SUBNET, "type": "bogus"}]},
        {"subnets": [{**SUBNET, "network_zone": "mars"}]},
        {"subnets": [{}]},
        {"routes": [{}]},
        {"routes": [{"destination": "x", "gateway": "y"}]},
    ],
    ids=str,
)
def test_a_network_has_private_ranges_that_do_not_overlap(http: Http, wrong: dict[str, Any]) -> None:
    """[spec] `ip_range`: RFC 1918, at least /24; of a subnet: at least /30, and apart from the others."""
    body = {"name": "inner", "ip_range": "10.0.0.0/16", "subnets": [SUBNET], **wrong}
    answer = http.post("/v1/networks", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_input")


def test_a_server_is_in_no_two_networks_that_overlap(http: Http) -> None:
    """[spec] `server_already_attached` and `networks_overlap`."""
    inner = network(http)["id"]
    other = network(http, name="other", ip_range="10.0.0.0/8", subnets=[{**SUBNET, "ip_range": "10.7.0.0/24"}])["id"]
    codes = [http.create(networks=[inner, each]).json()["error"]["code"] for each in (inner, other)]
    assert codes == ["server_already_attached", "networks_overlap"]


def test_alias_addresses_are_free_ones_of_the_network(http: Http) -> None:
    inner = network(http)["id"]
    machine = server(http, networks=[inner])
    own = http.get(f"/v1/servers/{machine}").json()["server"]["private_net"][0]["ip"]

    def change(*aliases: str) -> str:
        body = {"network": inner, "alias_ips": aliases}
        answer = http.post(f"/v1/servers/{machine}/actions/change_alias_ips", json=body).json()
        return str(answer["error"]["code"] if "error" in answer else "")

    assert [change("x"), change("8.8.8.8"), change(own)] == ["invalid_input", "invalid_input", "ip_not_available"]
    assert [change("10.0.1.9"), change("10.0.1.9", "10.0.1.10"), change()] == ["", "", ""]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/placement_groups", {"name": "apart", "type": "bogus"}),
        ("/v1/placement_groups", {"name": "apart"}),
        ("/v1/servers/{}/actions/create_image", {"type": "bogus"}),
        ("/v1/firewalls", {"name": "wall", "rules": [{}]}),
        ("/v1/firewalls", {"name": "wall", "rules": [{"direction": "in", "protocol": "bogus"}]}),
        ("/v1/firewalls", {"name": "wall", "rules": [{"direction": "in", "protocol": "tcp", "port": 80}]}),
    ],
)
def test_a_word_that_lists_could_not_show_is_refused(http: Http, path: str, body: dict[str, Any]) -> None:
    answer = http.post(path.format(server(http)), json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_input")


def test_a_firewall_is_applied_once(http: Http) -> None:
    """[spec] `firewall_already_applied`, 422."""
    machine = server(http)
    target = [{"type": "server", "server": {"id": machine}}]
    wall = http.post("/v1/firewalls", json={"name": "wall", "apply_to": target}).json()["firewall"]["id"]
    again = http.post(f"/v1/firewalls/{wall}/actions/apply_to_resources", json={"apply_to": target})
    assert (again.status_code, again.json()["error"]["code"]) == (422, "firewall_already_applied")


def test_actions_of_a_server_are_its_own_by_status_and_in_order(http: Http, world: SimulatedWorld) -> None:
    world.set_knobs("hetzner", boot_s=60)
    first, second = server(http, name="web-1"), server(http, name="web-2")
    path = f"/v1/servers/{first}/actions"
    ids = [row["id"] for row in http.get(path).json()["actions"]]
    assert [row["id"] for row in http.get(f"{path}?sort=id:desc").json()["actions"]] == ids[::-1]
    assert http.get(f"{path}?sort=bogus").status_code == 422
    assert [http.get(f"{path}?status={each}").json()["actions"] == [] for each in ("running", "error")] == [False, True]
    assert http.get(f"{path}/{ids[0]}").status_code == 200
    assert http.get(f"/v1/servers/{second}/actions/{ids[0]}").status_code == 404


def test_a_primary_ip_is_made_for_a_server(http: Http) -> None:
    machine = server(http, public_net={"enable_ipv4": False}, start_after_create=False)
    body = {"name": "front", "type": "ipv4", "assignee_id": machine, "assignee_type": "server"}
    made_so = http.post("/v1/primary_ips", json=body).json()
    assert (made_so["action"]["command"], made_so["primary_ip"]["assignee_id"]) == ("assign_primary_ip", machine)
    assert (
        http.get(f"/v1/servers/{machine}").json()["server"]["public_net"]["ipv4"]["ip"] == made_so["primary_ip"]["ip"]
    )


def test_a_server_takes_only_a_primary_ip_that_is_free_and_fits(http: Http) -> None:
    """[spec] "Operation specific errors" of `POST /servers`."""

    def made_at(location: str, version: str) -> int:
        body = {"name": f"{version}-{location}", "type": version, "location": location, "assignee_type": "server"}
        return int(http.post("/v1/primary_ips", json=body).json()["primary_ip"]["id"])

    def refused(name: str, **public_net: object) -> tuple[int, str]:
        answer = http.create(name=name, public_net=public_net)
        return answer.status_code, answer.json()["error"]["code"]

    front = made_at("fsn1", "ipv4")
    owner = server(http, public_net={"ipv4": front})
    assert refused("web-2", ipv4=front) == (422, "primary_ip_assigned")
    assert http.get(f"/v1/primary_ips/{front}").json()["primary_ip"]["assignee_id"] == owner
    assert refused("web-3", ipv4=made_at("fsn1", "ipv6")) == (412, "primary_ip_version_mismatch")
    assert refused("web-4", ipv4=made_at("nbg1", "ipv4")) == (422, "primary_ip_datacenter_mismatch")


def test_the_quota_of_addresses_is_that_of_new_ones(http: Http, world: SimulatedWorld) -> None:
    inner = network(http)["id"]
    given = http.post("/v1/primary_ips", json={"name": "front", "type": "ipv4", "location": "fsn1"}).json()
    world.set_quota("hetzner", primary_ips=2)
    assert http.create(name="both").json()["error"]["details"] == {"limits": [{"name": "primary_ip_limit"}]}
    server(http, name="one", public_net={"enable_ipv4": False})
    server(http, name="none", networks=[inner], public_net={"enable_ipv4": False, "enable_ipv6": False})
    server(http, name="given", public_net={"ipv4": given["primary_ip"]["id"], "enable_ipv6": False})
    world.set_quota("hetzner", servers=3, primary_ips=3)
    assert http.post("/v1/primary_ips", json={"name": "more", "type": "ipv4", "location": "fsn1"}).status_code == 201


def test_switches_of_networks_and_addresses_are_turned(http: Http) -> None:
    inner = network(http, expose_routes_to_vswitch=True)["id"]
    changed = http.put(f"/v1/networks/{inner}", json={"expose_routes_to_vswitch": False}).json()["network"]
    assert changed["expose_routes_to_vswitch"] is False
    made_so = http.post("/v1/primary_ips", json={"name": "six", "type": "ipv6", "location": "fsn1"}).json()[
        "primary_ip"
    ]
    path = f"/v1/primary_ips/{made_so['id']}"
    assert http.put(path, json={"auto_delete": True}).json()["primary_ip"]["auto_delete"] is True
    first = made_so["ip"].partition("/")[0]
    assert [row["id"] for row in http.get(f"/v1/primary_ips?ip={first}").json()["primary_ips"]] == [made_so["id"]]


def test_a_withdrawn_type_is_answered_by_its_id_alone(http: Http) -> None:
    assert http.get("/v1/server_types/1").json()["server_type"]["name"] == "cx11"
    assert http.get("/v1/server_types?name=cx11").json()["server_types"] == []


def test_a_network_s_range_grows_around_its_subnets(http: Http) -> None:
    act = f"/v1/networks/{network(http)['id']}/actions"
    assert http.post(f"{act}/change_ip_range", json={"ip_range": "10.0.0.0/12"}).status_code == 201
    assert http.post(f"{act}/change_ip_range", json={"ip_range": "10.9.0.0/16"}).status_code == 422
    assert http.post(f"{act}/change_ip_range", json={"ip_range": "10.x/16"}).status_code == 422
    assert [row["command"] for row in http.get(act).json()["actions"]] == ["change_ip_range"]


def test_server_types_have_the_vendor_s_ids(http: Http) -> None:
    types = http.get("/v1/server_types?per_page=50").json()["server_types"]
    ids = {row["name"]: row["id"] for row in types}
    assert {name: ids[name] for name in ("cpx12", "cpx22", "cpx32", "cx23")} == {
        "cpx12": 108,
        "cpx22": 109,
        "cpx32": 110,
        "cx23": 114,
    }


def test_images_without_a_label_and_for_arm(http: Http) -> None:
    images = http.get("/v1/images?label_selector=!role&architecture=arm&per_page=50").json()["images"]
    assert {image["architecture"] for image in images} == {"arm"}
    assert "ubuntu-24.04" in {image["name"] for image in images}
    assert http.get("/v1/images?label_selector=role").json()["meta"]["pagination"]["total_entries"] == 1


def test_droplets_of_a_tag_are_deleted_while_one_of_them_is_being_deleted(http: Http, world: SimulatedWorld) -> None:
    first, second = made(http, tags=["doomed"]), made(http, name="web-2", tags=["doomed"])
    world.set_knobs("digitalocean", visible_after_delete_s=8.0)
    assert http.delete(f"/v2/droplets/{first}").status_code == 204
    assert http.delete("/v2/droplets?tag_name=doomed").status_code == 204
    world.advance(9)
    assert http.get(f"/v2/droplets/{second}").status_code == 404


def test_a_key_with_another_comment_is_the_same_key(http: Http) -> None:
    """The fingerprint is that of the key alone, as `ssh-keygen -l -E md5` prints it."""
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPn6yjEkUPNlTvSJrzVjPVNzlGrzhtz8BzGYV8jgoLuV"
    for path, codes in (("/v1/ssh_keys", (201, 409)), ("/v2/account/keys", (201, 422))):
        first = http.post(path, json={"name": "one", "public_key": f"{key} me@home"})
        again = http.post(path, json={"name": "two", "public_key": f"{key} me@work"})
        assert (first.status_code, again.status_code) == codes
        assert first.json()["ssh_key"]["fingerprint"] == "f2:e7:e7:65:a8:45:98:fc:c0:a2:8e:e1:88:ce:fe:f4"


def test_a_disk_is_put_into_a_server_s_drive(http: Http) -> None:
    machine = f"/v1/servers/{server(http)}"
    (arm,) = http.get("/v1/isos?architecture=arm").json()["isos"]
    assert http.get(f"/v1/isos/{arm['id']}").json()["iso"] == arm
    assert http.post(f"{machine}/actions/attach_iso", json={"iso": arm["name"]}).status_code == 201
    assert http.get(machine).json()["server"]["iso"] == arm
    assert http.post(f"{machine}/actions/detach_iso").status_code == 201
    assert http.get(machine).json()["server"]["iso"] is None
    assert http.post(f"{machine}/actions/attach_iso", json={"iso": "none.iso"}).status_code == 404


def test_a_tag_in_a_url_has_the_case_that_it_was_made_with(http: Http) -> None:
    """[spec] "You must use the tag's canonical capitalization"."""
    droplet = made(http)
    named = {"resources": [{"resource_id": str(droplet), "resource_type": "droplet"}]}
    assert http.post("/v2/tags", json={"name": "PROD"}).status_code == 201
    assert http.post("/v2/tags", json={"name": "prod"}).json()["tag"]["name"] == "PROD"
    assert http.post("/v2/tags/prod/resources", json=named).status_code == 404
    assert http.post("/v2/tags/PROD/resources", json=named).status_code == 204


def test_a_reset_starts_no_server_that_is_off_and_a_rescue_has_a_password(http: Http) -> None:
    act = f"/v1/servers/{server(http)}/actions"
    assert http.post(f"{act}/poweroff").status_code == 201
    assert http.post(f"{act}/reset").status_code == 201
    assert http.get(act.removesuffix("/actions")).json()["server"]["status"] == "off"
    for action in ("enable_rescue", "reset_password"):
        assert http.post(f"{act}/{action}").json()["root_password"]


@pytest.mark.parametrize("path", ["firewalls", "volumes"])
def test_an_account_has_none_of_what_cannot_be_made(http: Http, path: str) -> None:
    assert http.get(f"/v2/{path}").json() == {path: [], "links": {}, "meta": {"total": 0}}


@pytest.mark.parametrize("path", ["kernels", "neighbors", "backups", "firewalls"])
def test_a_droplet_has_no_kernels_neighbours_backups_and_firewalls(http: Http, path: str) -> None:
    answer = http.get(f"/v2/droplets/{made(http)}/{path}")
    assert answer.json()["droplets" if path == "neighbors" else path] == []
    assert http.get(f"/v2/droplets/1/{path}").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/load_balancers/1/actions/change_type", 501),
        ("POST", "/v1/volumes", 501),
        ("POST", "/v1/servers/1/actions/request_console", 501),
        ("POST", "/v2/firewalls", 501),
        ("PUT", "/v2/load_balancers/1", 501),
        ("GET", "/v2/customers/my/balance", 501),
        ("GET", "/v2/droplets/1/backups/policy", 501),
        ("POST", "/v2/volumes", 501),
        ("POST", "/v2/projects", 501),
        ("PATCH", "/v2/projects/default", 501),
        ("DELETE", "/v2/projects/1", 501),
        ("GET", "/v2/reserved_ips/127.127.0.1/actions", 501),
        ("GET", "/v2/nfs", 501),
        ("GET", "/v2/vpc_nat_gateways", 501),
        ("POST", "/v2/security/scans", 501),
        ("PATCH", "/v1/servers", 405),
        ("DELETE", "/v2/sizes", 405),
        ("GET", "/v1/nowhere", 404),
        ("GET", "/v2/nowhere", 404),
    ],
)
def test_what_is_not_served_is_refused_as_what_it_is(http: Http, method: str, path: str, status: int) -> None:
    assert http.request(method, path).status_code == status


def test_what_the_vendor_s_client_can_ask_for_is_served_or_refused_as_what_it_is() -> None:
    """All operations of the installed pydo. Name a new part of the API in `NOT_SERVED`, if this fails."""
    builders = re.split(r"^def build_", inspect.getsource(_operations), flags=re.MULTILINE)[1:]
    asked = re.compile(r'_url = "(/v2/[^"]+)".*?HttpRequest\(\s*method="([A-Z]+)"', re.DOTALL)
    operations = [found.groups() for builder in builders if (found := asked.search(builder))]
    assert len(operations) > 500
    lost = []
    for template, method in operations:
        path = re.sub(r"{[^}]*}", "1", template)
        served = any(route.path_regex.match(path) and method in (route.methods or ()) for route in api.routes)
        if not served and not api.NOT_SERVED.match(path):
            lost.append(f"{method} {template}")
    assert lost == []


@pytest.mark.parametrize("action", ["change_kernel", "change_backup_policy"])
def test_an_action_that_is_not_served_is_refused_as_what_it_is(http: Http, action: str) -> None:
    assert http.post(f"/v2/droplets/{made(http)}/actions", json={"type": action}).status_code == 501


def test_an_image_is_not_converted_here(http: Http) -> None:
    (image,) = http.get("/v2/images?private=true").json()["images"]
    assert http.post(f"/v2/images/{image['id']}/actions", json={"type": "convert"}).status_code == 501


def test_a_droplet_is_not_made_without_the_volumes_that_it_names(http: Http) -> None:
    order = {"name": "web", "region": "fra1", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64"}
    volumes = ["7724db7c-e098-11e5-b522-000f53304e51"]
    assert http.post("/v2/droplets", json={**order, "volumes": volumes}).status_code == 422
    assert http.get("/v2/droplets").json()["droplets"] == []
    assert http.post("/v2/droplets", json={**order, "volumes": []}).status_code == 202


def test_actions_of_images_are_found_under_the_image(http: Http, world: SimulatedWorld) -> None:
    """[spec] both vendors; a transfer is waited for by its image's address (godo v1.202.0, image_actions.go)."""
    machine = server(http)
    made_so = http.post(f"/v1/servers/{machine}/actions/create_image").json()
    path = f"/v1/images/{made_so['image']['id']}/actions"
    assert [row["command"] for row in http.get(path).json()["actions"]] == ["create_image"]
    for each in (path, "/v1/images/actions"):
        assert http.get(f"{each}/{made_so['action']['id']}").json()["action"]["command"] == "create_image"
    image = world.add_snapshot("digitalocean", "golden", disk=25, regions=["fra1"]).id
    path = f"/v2/images/{image}/actions"
    moved = http.post(path, json={"type": "transfer", "region": "nyc3"}).json()["action"]
    assert http.get(f"{path}/{moved['id']}").json()["action"]["type"] == "transfer"
    assert [row["id"] for row in http.get(path).json()["actions"]] == [moved["id"]]
    other = world.add_snapshot("digitalocean", "other", disk=25).id
    assert http.get(f"/v2/images/{other}/actions/{moved['id']}").status_code == 404


def test_an_image_is_described_anew(http: Http, world: SimulatedWorld) -> None:
    """[spec] `PUT /v2/images/{id}`."""
    path = f"/v2/images/{world.add_snapshot('digitalocean', 'golden', disk=25).id}"
    shown = http.put(path, json={"description": "for workers", "distribution": "Debian"}).json()["image"]
    assert (shown["name"], shown["description"], shown["distribution"]) == ("golden", "for workers", "Debian")
    assert http.put(path, json={"distribution": "bogus"}).status_code == 422


def test_a_vpc_has_its_droplets_as_members(http: Http) -> None:
    """[spec] `GET /v2/vpcs/{id}/members`."""
    vpc = http.post("/v2/vpcs", json={"name": "inner", "region": "fra1"}).json()["vpc"]["id"]
    droplet, _ = made(http, vpc_uuid=vpc), made(http, name="web-2")
    (member,) = http.get(f"/v2/vpcs/{vpc}/members?resource_type=droplet").json()["members"]
    assert (member["urn"], member["name"]) == (f"do:droplet:{droplet}", "web-1")
    assert http.get(f"/v2/vpcs/{vpc}/members?resource_type=volume").json()["members"] == []
    assert http.get(f"/v2/vpcs/{droplet}/members").status_code == 404
