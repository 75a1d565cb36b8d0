"""What the embedded cloud once accepted in silence, and the vendors refuse. Each test names its source.

[spec] the vendor's document, [staff] a vendor's employee, [field] a user's log, [guess] what we think it says.
"""

from __future__ import annotations

from typing import Any

import pytest

from scaler.simulator import SimulatedWorld
from tests.simulator.droplets import made, order, refusal, seen
from tests.support.sim_http import Http

CLOUD_SUBNET = {"type": "cloud", "ip_range": "10.0.0.0/24", "network_zone": "eu-central"}


def refused(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def field_of(answer: Any) -> str:
    assert refused(answer) == (422, "invalid_input")
    return str(answer.json()["error"]["details"]["fields"][0]["name"])


def add(http: Http, path: str, **fields: object) -> int:
    answer = http.post(f"/v1/{path}", json={"name": path, **fields})
    assert answer.status_code == 201, answer.text
    return int(answer.json()[path[:-1]]["id"])


def network(http: Http, **fields: object) -> int:
    return add(http, "networks", **{"ip_range": "10.0.0.0/16", "subnets": [CLOUD_SUBNET], **fields})


def server(http: Http, **fields: object) -> int:
    return int(http.create(**fields).json()["server"]["id"])


def act(http: Http, path: str, action: str, **fields: object) -> Any:
    return http.post(f"/v1/{path}/actions/{action}", json=fields)


# ---------------------------------------------------------------------------------------------
# Hetzner: networks


def test_a_server_is_detached_once(http: Http) -> None:
    """[guess] The document names no code for it; `change_alias_ips` of such a server is refused too."""
    inner, web = network(http), server(http)
    assert act(http, f"servers/{web}", "attach_to_network", network=inner).status_code == 201
    assert act(http, f"servers/{web}", "detach_from_network", network=inner).status_code == 201
    assert field_of(act(http, f"servers/{web}", "detach_from_network", network=inner)) == "network"


@pytest.mark.parametrize(
    ("route", "field"),
    [
        ({"destination": "10.100.1.0/24", "gateway": "10.0.0.2"}, "destination"),
        ({"destination": "10.100.0.0/16", "gateway": "10.0.0.3"}, "destination"),
        ({"destination": "10.0.0.0/25", "gateway": "10.0.0.2"}, "destination"),
        ({"destination": "10.200.0.0/24", "gateway": "10.0.0.1"}, "gateway"),
        ({"destination": "10.200.0.0/24", "gateway": "192.168.0.2"}, "gateway"),
    ],
    ids=["the same again", "one around it", "a subnet's", "the network's own gateway", "a gateway elsewhere"],
)
def test_a_route_overlaps_with_no_other(http: Http, route: dict[str, str], field: str) -> None:
    """[field] hcloud-cloud-controller-manager PR#577 (`invalid_input`), cli#826 (`invalid gateway`)."""
    inner = network(http)
    first = act(http, f"networks/{inner}", "add_route", destination="10.100.1.0/24", gateway="10.0.0.2")
    assert first.status_code == 201
    assert field_of(act(http, f"networks/{inner}", "add_route", **route)) == field
    both = {"name": "other", "ip_range": "10.0.0.0/16", "subnets": [CLOUD_SUBNET]}
    first_route = {"destination": "10.100.1.0/24", "gateway": "10.0.0.2"}
    assert http.post("/v1/networks", json={**both, "routes": [first_route, route]}).status_code == 422
    # The way out of the network (cli#826), beside all others; and once.
    out = [act(http, f"networks/{inner}", "add_route", destination="0.0.0.0/0", gateway="10.0.0.2") for _ in range(2)]
    assert [answer.status_code for answer in out] == [201, 422]


def test_no_route_leads_to_the_public_gateway(http: Http) -> None:
    """[spec] `add_route`: the gateway cannot be 172.31.1.1."""
    subnet = {**CLOUD_SUBNET, "ip_range": "172.31.1.0/24"}
    inner = network(http, ip_range="172.16.0.0/12", subnets=[subnet])
    for gateway, status in (("172.31.1.1", 422), ("172.31.1.2", 201)):
        answer = act(http, f"networks/{inner}", "add_route", destination="10.200.0.0/24", gateway=gateway)
        assert answer.status_code == status


@pytest.mark.parametrize("ip_range", ["10.0.0.0/17", "10.1.0.0/16", "10.128.0.0/9"])
def test_a_network_only_grows_at_its_end(http: Http, ip_range: str) -> None:
    """[spec] `change_ip_range`: ranges can only be extended; only the netmask changes."""
    inner = network(http)
    assert field_of(act(http, f"networks/{inner}", "change_ip_range", ip_range=ip_range)) == "ip_range"
    assert act(http, f"networks/{inner}", "change_ip_range", ip_range="10.0.0.0/15").status_code == 201


def test_all_subnets_of_a_network_are_in_one_zone(http: Http) -> None:
    """[spec] docs.hetzner.com/cloud/networks/faq."""
    other = {"type": "cloud", "ip_range": "10.0.1.0/24", "network_zone": "us-east"}
    assert field_of(act(http, f"networks/{network(http)}", "add_subnet", **other)) == "network_zone"


def test_a_subnet_without_a_range_gets_the_first_free_one(http: Http) -> None:
    """[spec] `add_subnet`: the first available /24."""
    inner = network(http)
    assert act(http, f"networks/{inner}", "add_subnet", type="cloud", network_zone="eu-central").status_code == 201
    ranges = [subnet["ip_range"] for subnet in http.get(f"/v1/networks/{inner}").json()["network"]["subnets"]]
    assert ranges == ["10.0.0.0/24", "10.0.1.0/24"]


def test_a_deleted_network_s_servers_are_detached(http: Http) -> None:
    """[spec] `DELETE /networks/{id}`: servers that are attached are detached; a protected one stays."""
    inner = network(http)
    web = server(http, networks=[inner])
    act(http, f"networks/{inner}", "change_protection", delete=True)
    assert refused(http.delete(f"/v1/networks/{inner}")) == (423, "protected")
    act(http, f"networks/{inner}", "change_protection", delete=False)
    assert http.delete(f"/v1/networks/{inner}").status_code == 204
    assert http.get(f"/v1/servers/{web}").json()["server"]["private_net"] == []


def test_a_fourth_network_is_refused(http: Http) -> None:
    """[staff] hetzneronline/community-content#946."""
    web = server(http)
    ranges = [f"10.{number}.0.0/24" for number in range(4)]
    networks = [
        network(http, name=f"net-{number}", ip_range=each, subnets=[{**CLOUD_SUBNET, "ip_range": each}])
        for number, each in enumerate(ranges)
    ]
    attached = [act(http, f"servers/{web}", "attach_to_network", network=each) for each in networks]
    assert [answer.status_code for answer in attached] == [201, 201, 201, 422]


# ---------------------------------------------------------------------------------------------
# Hetzner: firewalls, placement groups, volumes, filters


def test_firewalls(http: Http) -> None:
    """[spec] `apply_to_resources`, `remove_from_resources`, `POST /firewalls`."""
    web = server(http, labels={"role": "web"})
    target = {"type": "server", "server": {"id": web}}
    missing = {"type": "server", "server": {"id": 7}}
    wall = add(http, "firewalls")
    for action, field in (("apply_to_resources", "apply_to"), ("remove_from_resources", "remove_from")):
        assert field_of(act(http, f"firewalls/{wall}", action)) == field
        assert refused(act(http, f"firewalls/{wall}", action, **{field: [missing]})) == (
            404,
            "firewall_resource_not_found",
        )
    twice = {"name": "twice", "apply_to": [target, target]}
    assert refused(http.post("/v1/firewalls", json=twice)) == (422, "server_already_added")
    selected = {"type": "label_selector", "label_selector": {"selector": "role=web"}}
    act(http, f"firewalls/{wall}", "apply_to_resources", apply_to=[selected])
    by_hand = act(http, f"firewalls/{wall}", "remove_from_resources", remove_from=[target])
    assert refused(by_hand) == (422, "firewall_managed_by_label_selector")
    for number in range(5):
        assert http.post("/v1/firewalls", json={"name": f"wall-{number}", "apply_to": [target]}).status_code == 201
    sixth = http.post("/v1/firewalls", json={"name": "sixth", "apply_to": [target]})
    assert field_of(sixth) == "apply_to"


@pytest.mark.parametrize("rule", [{"protocol": "tcp"}, {"protocol": "icmp", "port": "22"}])
def test_ports_of_rules(http: Http, rule: dict[str, str]) -> None:
    """[spec] `rules`: the port is for TCP and UDP alone."""
    rules = [{"direction": "in", "source_ips": ["0.0.0.0/0"], **rule}]
    assert field_of(http.post("/v1/firewalls", json={"name": "wall", "rules": rules})) == "rules"


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": "0"},
        {"port": "65536"},
        {"port": "80-22"},
        {"port": "ssh"},
        {"port": "any-5"},
        {"port": "-"},
        {"port": "22-"},
        {"port": ""},
        {"description": "d" * 256},
        {"source_ips": []},
        {"source_ips": ["everywhere"]},
        {"source_ips": ["10.0.0.1"]},
        {"source_ips": ["10.0.0.1/8"]},
        {"destination_ips": ["10.0.0.0/8"]},
        {"direction": "out"},
    ],
)
def test_a_rule_that_says_nothing_sensible(http: Http, wrong: dict[str, Any]) -> None:
    """[spec] `rules`; [guess] addresses of the other direction."""
    rule = {"direction": "in", "protocol": "tcp", "port": "22", "source_ips": ["0.0.0.0/0", "::/0"]}
    assert field_of(http.post("/v1/firewalls", json={"name": "wall", "rules": [{**rule, **wrong}]})) == "rules"
    wall = add(http, "firewalls")
    for port in ("any", "1-65535", "22"):
        assert act(http, f"firewalls/{wall}", "set_rules", rules=[{**rule, "port": port}] * 50).status_code == 201
    assert field_of(act(http, f"firewalls/{wall}", "set_rules", rules=[rule] * 51)) == "rules"


def test_a_server_gets_no_type_that_is_sold_out(http: Http, world: SimulatedWorld) -> None:
    """[guess] of a server that exists the refusal is that of a new one."""
    web = server(http, start_after_create=False)
    world.set_capacity("hetzner", "cx33", "fsn1", 0)
    refusal = act(http, f"servers/{web}", "change_type", server_type="cx33", upgrade_disk=False)
    assert refused(refusal) == (412, "resource_unavailable")
    assert http.get(f"/v1/servers/{web}").json()["server"]["server_type"]["name"] == "cx23"


def test_a_server_is_in_one_placement_group(http: Http) -> None:
    """[spec] `already_in_placement_group`; [guess] leaving none."""
    group = add(http, "placement_groups", type="spread")
    web = server(http, start_after_create=False)
    assert refused(act(http, f"servers/{web}", "remove_from_placement_group")) == (422, "invalid_input")
    assert act(http, f"servers/{web}", "add_to_placement_group", placement_group=group).status_code == 201
    act(http, f"servers/{web}", "poweroff")
    again = act(http, f"servers/{web}", "add_to_placement_group", placement_group=group)
    assert refused(again) == (422, "already_in_placement_group")


def test_an_iso_is_detached_once_and_attached_over_another(http: Http) -> None:
    """[spec] `attach_iso`: one that is attached is detached; [guess] detaching none."""
    web = server(http)
    isos = [row["name"] for row in http.get("/v1/isos").json()["isos"]][:2]
    assert [act(http, f"servers/{web}", "attach_iso", iso=iso).status_code for iso in isos] == [201, 201]
    detached = [act(http, f"servers/{web}", "detach_iso").status_code for _ in range(2)]
    assert detached == [201, 422]


def test_a_volume_that_is_not_there(http: Http, world: SimulatedWorld) -> None:
    """[spec] 404 `not_found`: a server without the volume that it was to have is no answer."""
    assert refused(http.create(volumes=[7])) == (404, "not_found")
    assert world.servers() == []


@pytest.mark.parametrize(
    ("method", "path", "fields", "name"),
    [
        ("POST", "firewalls/{firewalls}/actions/set_rules", {}, "rules"),
        ("POST", "primary_ips", {"name": "ip", "type": "ipv4", "assignee_type": "load_balancer"}, "assignee_type"),
        ("POST", "primary_ips/{primary_ips}/actions/assign", {"assignee_type": "x", "assignee_id": 7}, "assignee_type"),
        ("POST", "primary_ips/{primary_ips}/actions/change_protection", {}, "delete"),
        ("POST", "servers/{servers}/actions/enable_rescue", {"type": "freebsd64"}, "type"),
        ("PUT", "images/{images}", {"type": "system"}, "type"),
    ],
)
def test_what_the_document_requires_or_enumerates(
    http: Http, world: SimulatedWorld, method: str, path: str, fields: dict[str, object], name: str
) -> None:
    """[spec] required fields and enumerations of the requests."""
    ids = {
        "servers": server(http),
        "firewalls": add(http, "firewalls"),
        "primary_ips": add(http, "primary_ips", type="ipv4", assignee_type="server", location="fsn1"),
        "images": world.add_snapshot("hetzner", "golden").id,
    }
    assert field_of(http.request(method, f"/v1/{path.format(**ids)}", json=fields)) == name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("servers?status=runing", "status"),
        ("images?type=snapshots", "type"),
        ("images?status=ready", "status"),
        ("images?architecture=x64", "architecture"),
        ("images?include_deprecated=maybe", "include_deprecated"),
        ("isos?architecture=x64", "architecture"),
        ("actions?id=1&status=done", "status"),
        ("servers?sort=colour", "sort"),
        ("servers?label_selector=a%3D%3D%3Db", "label_selector"),
        ("servers?page=0", "page"),
        ("servers?per_page=x", "per_page"),
    ],
)
def test_a_filter_has_only_the_values_of_the_document(http: Http, path: str, name: str) -> None:
    """[spec] enumerations of the query's parameters; 422 `invalid_input` is how Hetzner refuses input."""
    assert field_of(http.get(f"/v1/{path}")) == name


# ---------------------------------------------------------------------------------------------
# DigitalOcean


def test_name_and_names(http: Http) -> None:
    """[spec] `POST /v2/droplets`: a request has a name, or names."""
    assert refusal(order(http, names=["a", "b"]))[0] == 422


def test_a_reserved_ip_is_unassigned_once(http: Http) -> None:
    """[field] terraform-provider-digitalocean PR#109: 422 for one that is not assigned."""
    droplet = made(http)
    ips = [http.post("/v2/reserved_ips", json={"region": "fra1"}).json()["reserved_ip"]["ip"] for _ in range(2)]

    def work(ip: str, kind: str, **fields: object) -> int:
        return http.post(f"/v2/reserved_ips/{ip}/actions", json={"type": kind, **fields}).status_code

    assert [work(ips[0], kind, droplet_id=droplet) for kind in ("assign", "unassign", "unassign")] == [201, 201, 422]
    # [spec] A droplet has one reserved address.
    assert [work(ip, "assign", droplet_id=droplet) for ip in (ips[0], ips[0], ips[1])] == [201, 201, 422]


def test_a_reserved_ip_waits_for_the_droplet_s_event(http: Http, world: SimulatedWorld) -> None:
    """[field] terraform-provider-digitalocean#1034."""
    world.set_knobs("digitalocean", boot_s=5.0)
    droplet = made(http)
    ip = http.post("/v2/reserved_ips", json={"region": "fra1"}).json()["reserved_ip"]["ip"]
    answer = http.post(f"/v2/reserved_ips/{ip}/actions", json={"type": "assign", "droplet_id": droplet})
    assert refusal(answer)[2] == "Droplet already has a pending event."


def test_the_default_vpc_stays(http: Http) -> None:
    """[spec] `DELETE /v2/vpcs/{id}`: the default VPC of a region cannot be deleted."""
    (default,) = [vpc["id"] for vpc in http.get("/v2/vpcs?per_page=50").json()["vpcs"] if vpc["region"] == "fra1"]
    assert refusal(http.delete(f"/v2/vpcs/{default}"))[:2] == (403, "forbidden")


def test_vpcs(http: Http) -> None:
    """[spec] `POST`, `PUT` and `PATCH` of a VPC: the name's pattern, the description's length."""
    body = {"name": "inner", "region": "fra1", "description": "x" * 255}
    for wrong in ({"name": "in ner"}, {"description": "x" * 256}):
        assert refusal(http.post("/v2/vpcs", json={**body, **wrong}))[0] == 422
    vpc = f"/v2/vpcs/{http.post('/v2/vpcs', json=body).json()['vpc']['id']}"
    assert http.request("PATCH", vpc, json={"description": "short"}).json()["vpc"]["description"] == "short"
    assert http.put(vpc, json={"name": "other"}).json()["vpc"]["name"] == "other"
    assert refusal(http.put(vpc, json={"description": "no name"}))[0] == 422
    assert refusal(http.put(vpc, json={"name": "default-fra1"}))[0] == 422
    assert http.get(vpc).json()["vpc"]["name"] == "other"


def test_a_droplet_without_public_networking_has_no_public_address(http: Http) -> None:
    """[spec] `public_networking` of `POST /v2/droplets`."""
    assert [net["type"] for net in seen(http, made(http, public_networking=False))["networks"]["v4"]] == ["private"]
    assert refusal(order(http, public_networking="yes"))[0] == 422


@pytest.mark.parametrize(
    "path", ["images?type=snapshot", "images?private=maybe", "snapshots?resource_type=image", "droplets?type=gpu"]
)
def test_a_filter_of_digitalocean_has_only_the_values_of_the_document(http: Http, path: str) -> None:
    """[spec] enumerations of the query's parameters."""
    assert refusal(http.get(f"/v2/{path}"))[:2] == (422, "unprocessable_entity")


# ---------------------------------------------------------------------------------------------
# The control plane


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("faults", {"effect": "drop_before", "tims": 3}),
        ("faults", {"effect": {"kind": "hang", "second": 3}}),
        ("faults", {"effect": "drop_before", "match": {"methd": "GET"}}),
        ("faults", {"effect": "drop_before", "times": "many"}),
        ("faults", {"effect": "drop_before", "skip": "x"}),
        ("clock", {"advance": 3}),
        ("profile", {"profil": "instant"}),
        ("profile", {"knobs": {"boot": 3}}),
        ("reset", {"all": True}),
        ("hetzner/vanish", {"id": 7, "name": "web"}),
        ("hetzner/quota", {"server": 3}),
    ],
)
def test_a_misspelt_key_of_the_control_plane(http: Http, world: SimulatedWorld, path: str, document: object) -> None:
    """A rule that is obeyed in part is none: the test that ordered it would pass without it."""
    profile = world.profile
    assert http.post(f"/_sim/{path}", json=document).status_code == 400
    assert (world.faults(), world.profile) == ([], profile)


@pytest.mark.parametrize(
    ("path", "fields", "field"),
    [
        ("servers/{}/actions/change_type", {"server_type": "cx33"}, "upgrade_disk"),
        ("servers/{}/actions/create_image", {"type": ""}, "type"),
        ("primary_ips", {"name": "ip", "type": "ipv4", "location": 0}, ""),
    ],
)
def test_what_is_required_or_one_of_few_words(http: Http, path: str, fields: dict[str, Any], field: str) -> None:
    """[spec] a value that is not sent, and one that is empty, are two things."""
    answer = http.post(f"/v1/{path.format(server(http, start_after_create=False))}", json=fields)
    assert refused(answer) == (422, "invalid_input")
    assert not field or field_of(answer) == field


def test_the_rescue_system_has_keys_of_the_account(http: Http) -> None:
    """[spec] `enable_rescue`: ids of SSH keys."""
    path = f"servers/{server(http)}"
    assert refused(act(http, path, "enable_rescue", ssh_keys=["x"])) == (404, "not_found")
