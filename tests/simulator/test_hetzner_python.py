"""The simulator, judged by Hetzner's own Python client."""

from __future__ import annotations

from typing import Any

import hcloud
import pytest
from hcloud.firewalls import FirewallResource
from hcloud.images import Image
from hcloud.locations import Location
from hcloud.networks import NetworkSubnet
from hcloud.placement_groups import PlacementGroup
from hcloud.server_types import ServerType
from hcloud.servers import ServerCreatePublicNetwork
from hcloud.servers.client import BoundServer

from scaler.simulator import SimulatedWorld

CX23, UBUNTU = ServerType(name="cx23"), Image(name="ubuntu-24.04")


def make(client: hcloud.Client, name: str = "web-1", **options: Any) -> BoundServer:
    return client.servers.create(name, CX23, image=UBUNTU, **options).server


def test_create_with_everything(hetzner: hcloud.Client) -> None:
    key = hetzner.ssh_keys.get_by_name("deploy")
    snapshot = hetzner.images.get_all(type="snapshot", label_selector="role=worker")[0]
    group = hetzner.placement_groups.create("spread", "spread").placement_group
    firewall = hetzner.firewalls.create("ssh").firewall
    network = hetzner.networks.create(
        "inner", "10.0.0.0/16", subnets=[NetworkSubnet("10.0.1.0/24", type="cloud", network_zone="eu-central")]
    )
    response = hetzner.servers.create(
        "web-1",
        ServerType(name="cpx22"),
        image=snapshot,
        location=Location(name="nbg1"),
        ssh_keys=[key],
        labels={"role": "web"},
        user_data="#cloud-config",
        placement_group=group,
        firewalls=[firewall],
        networks=[network],
        public_net=ServerCreatePublicNetwork(enable_ipv4=True, enable_ipv6=False),
    )
    response.action.wait_until_finished()
    for action in response.next_actions:
        action.wait_until_finished()
    server = hetzner.servers.get_by_id(response.server.id)
    assert response.root_password is None
    assert (server.status, server.name, server.labels) == ("running", "web-1", {"role": "web"})
    assert (server.server_type.name, server.location.name) == ("cpx22", "nbg1")
    assert (server.image.id, server.image.name, server.image.description) == (snapshot.id, None, "worker-golden")
    assert server.public_net.ipv4.ip.startswith("127.")
    assert server.public_net.ipv6 is None
    assert [attached.firewall.id for attached in server.public_net.firewalls] == [firewall.id]
    assert [net.network.id for net in server.private_net] == [network.id]
    assert server.placement_group.id == group.id
    assert hetzner.placement_groups.get_by_id(group.id).servers == [server.id]
    assert hetzner.networks.get_by_id(network.id).servers[0].id == server.id
    assert hetzner.primary_ips.get_all()[0].assignee_id == server.id


def test_a_boot_takes_the_time_that_the_profile_says(hetzner: hcloud.Client, world: SimulatedWorld) -> None:
    world.set_knobs("hetzner", boot_s=8)
    response = hetzner.servers.create("web-1", CX23, image=UBUNTU)
    seen = []
    for _ in range(5):
        server = hetzner.servers.get_by_id(response.server.id)
        create, start = (hetzner.actions.get_by_id(action.id) for action in (response.action, *response.next_actions))
        seen.append((server.status, server.locked, create.status, start.status, start.progress))
        world.advance(2)
    assert seen == [
        ("initializing", True, "running", "running", 0),
        ("initializing", True, "running", "running", 25),
        ("initializing", True, "running", "running", 50),
        ("starting", True, "success", "running", 75),
        ("running", False, "success", "success", 100),
    ]


def test_waiting_for_an_action_in_real_time(hetzner: hcloud.Client, world: SimulatedWorld) -> None:
    world.set_knobs("hetzner", boot_s=1)
    world.set_speed(20)
    response = hetzner.servers.create("web-1", CX23, image=UBUNTU)
    assert response.next_actions[0].status == "running"
    response.next_actions[0].wait_until_finished()
    assert hetzner.servers.get_by_id(response.server.id).status == "running"


def test_120_servers_over_pages(hetzner: hcloud.Client, world: SimulatedWorld) -> None:
    for number in range(120):
        make(hetzner, f"web-{number}", labels={"parity": str(number % 2)})
    world.clear_log()
    servers = hetzner.servers.get_all()
    assert [server.name for server in servers] == [f"web-{number}" for number in range(120)]
    assert len(world.log()) == 3
    assert len({server.public_net.ipv4.ip for server in servers}) == 120
    odd = hetzner.servers.get_all(label_selector="parity in (1,3),!other")
    assert [server.name for server in odd] == [f"web-{number}" for number in range(1, 120, 2)]
    page = hetzner.servers.get_list(page=3, per_page=50)
    assert (len(page.servers), page.meta.pagination.total_entries) == (20, 120)
    assert (page.meta.pagination.previous_page, page.meta.pagination.next_page) == (2, None)
    assert len(hetzner.servers.get_list().servers) == 25
    assert len(hetzner.servers.get_list(per_page=1000).servers) == 50


def test_filters(hetzner: hcloud.Client) -> None:
    for name in ("b", "c", "a"):
        make(hetzner, name)
    assert hetzner.servers.get_by_name("c").name == "c"
    assert hetzner.servers.get_by_name("nobody") is None
    hetzner.servers.get_by_name("b").power_off()
    assert [row.name for row in hetzner.servers.get_all(status=["off"])] == ["b"]
    assert [row.name for row in hetzner.servers.get_all(status=["off", "running"])] == ["b", "c", "a"]


def test_power_actions_take_their_time_and_change_the_status(hetzner: hcloud.Client, world: SimulatedWorld) -> None:
    world.set_knobs("hetzner", power_s=2, shutdown_s=10)
    server = make(hetzner)

    def status_after(seconds: float) -> str:
        world.advance(seconds)
        server.reload()
        return str(server.status)

    assert server.power_off().status == "running"
    assert (status_after(1), status_after(2)) == ("stopping", "off")
    assert server.power_off().status == "success"
    assert server.power_on().command == "start_server"
    assert (status_after(1), status_after(2)) == ("starting", "running")
    assert server.shutdown().status == "success", "it only says that the signal was sent"
    assert (status_after(1), status_after(10)) == ("stopping", "off")
    server.power_on()
    assert status_after(2) == "running"
    assert server.reboot().command == "reboot_server"
    assert status_after(1) == "running"
    with pytest.raises(hcloud.APIException) as raised:
        server.power_off()
    assert raised.value.code == "locked"


def test_labels_and_name(hetzner: hcloud.Client) -> None:
    server = make(hetzner, labels={"a": "1"})
    assert server.update(labels={"b": "2"}).labels == {"b": "2"}
    assert server.update(name="web-2").name == "web-2"
    assert hetzner.servers.get_by_name("web-2").labels == {"b": "2"}
    make(hetzner, "web-3")
    with pytest.raises(hcloud.APIException) as raised:
        server.update(name="web-3")
    assert raised.value.code == "uniqueness_error"


def test_delete(hetzner: hcloud.Client, world: SimulatedWorld) -> None:
    world.set_knobs("hetzner", delete_s=2)
    server = make(hetzner)
    action = server.delete()
    assert action.command == "delete_server"
    with pytest.raises(hcloud.APIException) as raised:
        hetzner.servers.get_by_id(server.id)
    assert (raised.value.code, raised.value.correlation_id is None) == ("not_found", False)
    assert hetzner.servers.get_all() == []
    assert hetzner.primary_ips.get_all() == []
    world.advance(2)
    assert hetzner.actions.get_by_id(action.id).status == "success"
    again = make(hetzner)
    assert again.id != server.id
    with pytest.raises(hcloud.APIException):
        server.delete()


def test_protection(hetzner: hcloud.Client) -> None:
    server = make(hetzner)
    server.change_protection(delete=True, rebuild=True)
    with pytest.raises(hcloud.APIException) as raised:
        server.delete()
    assert raised.value.code == "protected"
    server.change_protection(delete=False, rebuild=False)
    server.delete()


def test_snapshots(hetzner: hcloud.Client, world: SimulatedWorld) -> None:
    world.set_knobs("hetzner", snapshot_s_per_gb=1)
    server = make(hetzner)
    response = server.create_image(description="web golden", labels={"role": "web"})
    assert response.image.status == "creating"
    with pytest.raises(hcloud.APIException) as raised:
        hetzner.servers.create("early", CX23, image=response.image)
    assert raised.value.code == "resource_unavailable"
    world.advance(60)
    images = hetzner.images.get_all(type="snapshot", sort="created:desc")
    assert [image.description for image in images] == ["web golden", "worker-golden"]
    image = images[0]
    assert (image.created_from.id, image.disk_size, image.labels) == (server.id, 40, {"role": "web"})
    made = hetzner.servers.create("from-snapshot", CX23, image=image).server
    assert image.update(description="renamed", labels={"x": "y"}).description == "renamed"
    image.delete()
    assert hetzner.servers.get_by_id(made.id).image is None


def test_change_type_and_rebuild(hetzner: hcloud.Client, world: SimulatedWorld) -> None:
    server = make(hetzner)
    with pytest.raises(hcloud.APIException) as raised:
        server.change_type(ServerType(name="cx33"), upgrade_disk=True)
    assert raised.value.code == "server_not_stopped"
    server.power_off()
    server.change_type(ServerType(name="cx33"), upgrade_disk=True).wait_until_finished()
    server.reload()
    assert (server.server_type.name, server.primary_disk_size, server.status) == ("cx33", 80, "running")
    world.set_knobs("hetzner", boot_s=5)
    server.rebuild(Image(name="debian-12"))
    server.reload()
    assert (server.status, server.image.name) == ("rebuilding", "ubuntu-24.04")
    world.advance(10)
    server.reload()
    assert (server.status, server.image.name) == ("running", "debian-12")


def test_networks_and_firewalls_of_a_server_that_exists(hetzner: hcloud.Client) -> None:
    server = make(hetzner)
    network = hetzner.networks.create("inner", "10.0.0.0/16")
    network.add_subnet(NetworkSubnet("10.0.1.0/24", type="cloud", network_zone="eu-central"))
    server.attach_to_network(network)
    firewall = hetzner.firewalls.create("ssh").firewall
    firewall.apply_to_resources([FirewallResource("server", server=server)])
    server.reload()
    assert len(server.private_net) == len(server.public_net.firewalls) == 1
    with pytest.raises(hcloud.APIException) as raised:
        firewall.delete()
    assert raised.value.code == "resource_in_use"
    server.detach_from_network(network)
    firewall.remove_from_resources([FirewallResource("server", server=server)])
    assert network.delete()
    assert firewall.delete()


def test_a_placement_group_is_full_at_ten(hetzner: hcloud.Client) -> None:
    group = hetzner.placement_groups.create("spread", "spread").placement_group
    for number in range(10):
        make(hetzner, f"web-{number}", placement_group=PlacementGroup(id=group.id))
    with pytest.raises(hcloud.APIException) as raised:
        make(hetzner, "web-10", placement_group=PlacementGroup(id=group.id))
    assert raised.value.code == "placement_group_member_limit_reached"


def test_primary_ips_outlive_servers_if_told_to(hetzner: hcloud.Client) -> None:
    ip = hetzner.primary_ips.create("ipv4", "front", location=Location(name="fsn1"), auto_delete=False).primary_ip
    server = make(hetzner, public_net=ServerCreatePublicNetwork(ipv4=ip, enable_ipv6=False))
    assert server.public_net.ipv4.ip == ip.ip
    server.delete()
    kept = hetzner.primary_ips.get_by_name("front")
    assert kept.assignee_id is None
    assert kept.delete()


def test_the_catalogue(hetzner: hcloud.Client) -> None:
    assert [place.name for place in hetzner.locations.get_all()] == ["fsn1", "nbg1", "hel1", "ash", "hil", "sin"]
    kind = hetzner.server_types.get_by_name("cx23")
    assert (kind.cores, kind.memory, kind.disk, kind.architecture) == (2, 4.0, 40, "x86")
    price = kind.prices[0]
    assert (price["location"], price["price_monthly"]["net"]) == ("fsn1", "5.4900000000")
    assert price["price_hourly"]["net"] == "0.0088000000"
    assert hetzner.server_types.get_by_name("cax11").architecture == "arm"
    assert hetzner.images.get_by_name_and_architecture("ubuntu-24.04", "arm").architecture == "arm"
    assert hetzner.images.get_by_name_and_architecture("ubuntu-20.04", "x86") is None
    assert hetzner.images.get_by_name_and_architecture("ubuntu-20.04", "x86", include_deprecated=True)
    assert [iso.architecture for iso in hetzner.isos.get_all()] == ["x86", "x86", "arm"]
    assert hetzner.volumes.get_all() == []


def test_ssh_keys_are_unique_by_name_and_content(hetzner: hcloud.Client) -> None:
    content = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPn6yjEkUPNlTvSJrzVjPVNzlGrzhtz8BzGYV8jgoLuV"
    key = hetzner.ssh_keys.create("mine", f"{content} mine", labels={"a": "b"})
    assert hetzner.ssh_keys.get_by_fingerprint(key.fingerprint).name == "mine"
    other = content.replace("PNlTv", "PNlTw")
    for name, public_key in (("mine", other), ("other", f"{content} another comment")):
        with pytest.raises(hcloud.APIException) as raised:
            hetzner.ssh_keys.create(name, public_key)
        assert raised.value.code == "uniqueness_error"
    key.delete()
