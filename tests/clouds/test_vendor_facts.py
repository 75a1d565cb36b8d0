"""What the vendors' facts ask of the adapters, against the embedded cloud that behaves like that."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from scaler.clouds import AddressQuotaError, Cloud, GoneError, InvalidError, QuotaError
from scaler.clouds.registry import open_cloud
from scaler.model import MachineRequest, StackState
from scaler.model.lifecycle import Phase, Status
from scaler.model.ownership import Owner
from scaler.planning.assess import Findings, assess
from scaler.planning.template import References, lacking
from scaler.simulator import EmbeddedCloud
from scaler.support.clock import SystemClock
from tests.support.fakes import group, spec
from tests.support.vendors import ENVIRON, DigitalOcean, Hetzner, Vendor

pytestmark = pytest.mark.server

OWNER = Owner("shop", "prod")


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud(tmp_path / "world.db", profile="instant") as served:
        yield served


def opened(embedded: EmbeddedCloud, vendor: Vendor) -> Cloud:
    endpoint = embedded.hetzner_endpoint if vendor is Hetzner else embedded.digitalocean_endpoint
    return open_cloud(vendor.name, endpoint=endpoint, environ=ENVIRON, clock=SystemClock())


def request_for(vendor: Vendor, name: str = "prod-worker-1", **more: object) -> MachineRequest:
    image = "ubuntu-24.04" if vendor is Hetzner else "ubuntu-24-04-x64"
    fields = {"type": vendor.type, "location": vendor.location, "image": image}
    return MachineRequest(name=name, labels=OWNER.group_labels("worker", "a1b2"), **{**fields, **more})  # type: ignore[arg-type]


def lists_of_keys(embedded: EmbeddedCloud) -> int:
    return sum(entry.method == "GET" and entry.path.endswith("keys") for entry in embedded.world.log())


@pytest.mark.parametrize("vendor", [Hetzner, DigitalOcean], ids=lambda vendor: vendor.name)
def test_v2_one_list_of_keys_serves_all_of_their_names(embedded: EmbeddedCloud, vendor: Vendor) -> None:
    names = [f"key-{number}" for number in range(12)]
    keys = [embedded.world.add_ssh_key(vendor.name, name, f"ssh-ed25519 AAAA{name}") for name in names]
    with closing(opened(embedded, vendor)) as cloud:
        assert [cloud.reference("ssh_key", name) for name in names] == [str(key.id) for key in keys]
        assert lists_of_keys(embedded) == 1
        late = embedded.world.add_ssh_key(vendor.name, "late", "ssh-ed25519 AAAAlate")
        assert cloud.reference("ssh_key", "late") == str(late.id)
        with pytest.raises(InvalidError, match="key-13"):
            cloud.reference("ssh_key", "key-13")


def test_v5_a_full_placement_group_is_no_shortage_of_the_type(embedded: EmbeddedCloud) -> None:
    group = embedded.world.add("hetzner", "placement_group", "g", {"type": "spread", "labels": {}})
    with closing(opened(embedded, Hetzner)) as cloud:
        for number in range(10):
            cloud.create(request_for(Hetzner, f"prod-worker-{number}", placement_group=str(group.id)))
        with pytest.raises(InvalidError) as raised:
            cloud.create(request_for(Hetzner, "prod-worker-10", placement_group=str(group.id)))
    assert "contains already 10 servers" in raised.value.why


def test_v6_a_deleted_server_s_name_can_be_used_when_it_is_proven_gone(embedded: EmbeddedCloud) -> None:
    embedded.world.set_knobs("hetzner", delete_s=0.8)
    with closing(opened(embedded, Hetzner)) as cloud:
        for _ in range(2):
            made = cloud.create(request_for(Hetzner))
            cloud.delete(made.id)
            assert cloud.prove_gone([made.id]) == {made.id}  # type: ignore[attr-defined]


def test_v7_a_droplet_is_busy_until_its_reboot_ends(embedded: EmbeddedCloud) -> None:
    world = embedded.world
    with closing(opened(embedded, DigitalOcean)) as cloud:
        droplet = cloud.create(request_for(DigitalOcean)).id
        world.set_speed(0)
        world.set_knobs("digitalocean", power_s=6.0, action_lag_s=1.0)
        cloud.reboot(droplet)
        busy = []
        for _ in range(4):
            # Another process asks: it has not sent the reboot itself.
            with closing(opened(embedded, DigitalOcean)) as other:
                busy.append((other.get(droplet).locked, other.is_busy(droplet)))  # type: ignore[attr-defined]
            world.advance(2.5)
    assert busy == [(False, True), (False, True), (False, True), (False, False)]


def test_v7_a_droplet_is_shown_as_before_until_its_deletion_ends(embedded: EmbeddedCloud) -> None:
    world = embedded.world
    with closing(opened(embedded, DigitalOcean)) as cloud, closing(opened(embedded, DigitalOcean)) as other:
        going, failing, left = (cloud.create(request_for(DigitalOcean, f"prod-worker-{n}")).id for n in (1, 2, 3))
        world.set_speed(0)
        world.set_knobs("digitalocean", visible_after_delete_s=8.0)
        world.add_fault("action_error", method="DELETE", path=f"/{failing}$")
        for each in (going, failing):
            cloud.delete(each)
        seen = []
        for _ in range(2):
            shown = other.get(going)
            # Another process asks: it has not sent the deletions itself.
            seen.append((shown.phase, shown.locked, other.deleting([going, left])))  # type: ignore[attr-defined]
            world.advance(7.0)
        assert other.deleting([going, failing, left]) == {going}  # type: ignore[attr-defined]
    assert seen == [(Phase.RUNNING, False, {going})] * 2


def test_v8_an_image_elsewhere_is_no_shortage(embedded: EmbeddedCloud) -> None:
    image = embedded.world.add_snapshot("digitalocean", "far", disk=25, regions=["nyc3"])
    with closing(opened(embedded, DigitalOcean)) as cloud, pytest.raises(InvalidError, match="could not create"):
        cloud.create(request_for(DigitalOcean, image=str(image.id), location="fra1"))


def test_v9_networks_come_after_the_start_and_until_then_the_server_is_starting(embedded: EmbeddedCloud) -> None:
    """[staff] hcloud-go#168, [field] tonobo/hcloud-ruby#72: by `next_actions` that come after `start_server`."""
    world = embedded.world
    world.set_speed(0)
    world.set_knobs("hetzner", boot_s=8.0, attach_s=4.0)
    inner = network(embedded, "inner", "10.0.0.0/24")
    asked: dict[str, Any] = {"networks": (inner,), "firewalls": firewalls(embedded, 1)}
    references = References(image="x", **asked)
    described = spec(group(networks=("inner",), firewalls=("wall-0",)))
    with closing(opened(embedded, Hetzner)) as cloud:
        made = cloud.create(request_for(Hetzner, **asked)).id
        seen = []
        for _ in range(2):
            world.advance(9.0)
            machine = cloud.get(made)
            findings = Findings(owner=OWNER)
            server = assess(described, [machine], StackState(), {}, machine.created, findings).servers[machine.name]
            seen.append((machine.phase, lacking(machine, references), server.status, server.private_ip))
    assert seen == [
        (Phase.RUNNING, f"without the network {inner}", Status.STARTING, None),
        (Phase.RUNNING, None, Status.RUNNING, "10.0.0.2"),
    ]


def test_v9_a_type_that_is_not_sold_in_the_location_is_no_shortage(embedded: EmbeddedCloud) -> None:
    """[field] autobase-tech/autobase#1403; the catalogue says it before a create is sent."""
    with closing(opened(embedded, Hetzner)) as cloud:
        assert cloud.catalogue().offer("cx23", "ash") is None
        with pytest.raises(InvalidError) as raised:
            cloud.create(request_for(Hetzner, location="ash"))
    assert "unsupported location for server type" in raised.value.why


@pytest.mark.parametrize("vendor", [Hetzner, DigitalOcean], ids=lambda vendor: vendor.name)
@pytest.mark.parametrize("wrong", [{"user_data": 7}, {"image": str(1 << 70)}], ids=["type", "id"])
def test_v10_what_cannot_be_understood_is_refused_and_not_in_doubt(
    embedded: EmbeddedCloud, vendor: Vendor, wrong: dict[str, Any]
) -> None:
    """[spec] 422, and one request: nobody looks for a server that may have come of it."""
    with closing(opened(embedded, vendor)) as cloud:
        with pytest.raises(InvalidError):
            cloud.create(request_for(vendor, **wrong))
        with pytest.raises(GoneError):
            cloud.get(str(1 << 70))
    assert [entry.method for entry in embedded.world.log()].count("POST") == 1
    assert embedded.world.servers(vendor.name) == []


def test_the_lists_of_references_are_read_once_by_all_threads(embedded: EmbeddedCloud) -> None:
    with closing(opened(embedded, DigitalOcean)) as cloud:
        threads = [threading.Thread(target=cloud.reference, args=("ssh_key", "deploy")) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert lists_of_keys(embedded) == 1


# ---------------------------------------------------------------------------------------------
# What only a create would refuse is refused before the first one: by both, of the same request


def network(embedded: EmbeddedCloud, name: str, ip_range: str, subnet: str | None = None) -> str:
    subnets = [
        {"type": "cloud", "ip_range": subnet or ip_range, "network_zone": "eu-central", "gateway": ip_range[:-4] + "1"}
    ]
    body = {"ip_range": ip_range, "labels": {}, "subnets": subnets, "routes": []}
    return str(embedded.world.add("hetzner", "network", name, body).id)


def firewalls(embedded: EmbeddedCloud, number: int) -> tuple[str, ...]:
    body: dict[str, object] = {"rules": [], "labels": {}, "selectors": []}
    return tuple(str(embedded.world.add("hetzner", "firewall", f"wall-{each}", body).id) for each in range(number))


@pytest.mark.parametrize(
    ("ranges", "walls", "why"),
    [
        (("10.0.0.0/16", "10.0.4.0/24"), 0, "10.0.0.0/16 and 10.0.4.0/24"),
        (("10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24", "10.0.3.0/24"), 0, "at most 3"),
        ((), 6, "at most 5"),
    ],
    ids=["networks whose addresses overlap", "a fourth network", "a sixth firewall"],
)
def test_what_does_not_fit_together(embedded: EmbeddedCloud, ranges: tuple[str, ...], walls: int, why: str) -> None:
    """[spec] `networks_overlap`, firewalls; [staff] hetzneronline/community-content#946: three networks."""
    named: dict[str, Any] = {
        "networks": tuple(network(embedded, f"net-{number}", each) for number, each in enumerate(ranges)),
        "firewalls": firewalls(embedded, walls),
    }
    with closing(opened(embedded, Hetzner)) as cloud:
        check = cloud.check_request  # type: ignore[attr-defined]
        with pytest.raises(InvalidError) as raised:
            check(request_for(Hetzner, **named))
        assert why in raised.value.why
        with pytest.raises(InvalidError):
            cloud.create(request_for(Hetzner, **named))
        assert embedded.world.servers() == []
        fewer = {key: ids[:-1] for key, ids in named.items()}
        check(request_for(Hetzner, **fewer))
        cloud.create(request_for(Hetzner, **fewer))


@pytest.mark.parametrize(
    ("ip_range", "subnet", "most"), [("10.0.0.0/24", "10.0.0.0/29", 5), ("10.0.0.0/24", "10.0.0.8/29", 6)]
)
def test_a_network_has_as_many_addresses_as_its_room_says(
    embedded: EmbeddedCloud, ip_range: str, subnet: str, most: int
) -> None:
    """[field] terraform-provider-hcloud#792: `service_error`, no subnet or IP available."""
    inner = (network(embedded, "inner", ip_range, subnet),)
    with closing(opened(embedded, Hetzner)) as cloud:
        (room,) = cloud.check_request(request_for(Hetzner, networks=inner))  # type: ignore[attr-defined]
        assert (room.most, room.members) == (most, frozenset())
        made = [cloud.create(request_for(Hetzner, f"prod-worker-{number}", networks=inner)) for number in range(most)]
        with pytest.raises(InvalidError, match="could not create"):
            cloud.create(request_for(Hetzner, "one-more", networks=inner))
    with closing(opened(embedded, Hetzner)) as cloud:
        (room,) = cloud.check_request(request_for(Hetzner, networks=inner))  # type: ignore[attr-defined]
        assert room.members == {machine.id for machine in made}


def test_a_refused_address_is_no_refused_server(embedded: EmbeddedCloud) -> None:
    """[field] 2026-03: `resource_limit_exceeded` with `primary_ip_limit`."""
    embedded.world.set_quota("hetzner", primary_ips=1)
    inner = (network(embedded, "inner", "10.0.0.0/24"),)
    with closing(opened(embedded, Hetzner)) as cloud:
        with pytest.raises(AddressQuotaError):
            cloud.create(request_for(Hetzner))
        cloud.create(request_for(Hetzner, public_ipv4=False, public_ipv6=False, networks=inner))
        embedded.world.set_quota("hetzner", servers=1)
        with pytest.raises(QuotaError) as raised:
            cloud.create(request_for(Hetzner, "one-more"))
    assert not isinstance(raised.value, AddressQuotaError)


@pytest.mark.parametrize("vendor", [Hetzner, DigitalOcean], ids=lambda vendor: vendor.name)
@pytest.mark.parametrize("work", ["delete", "reboot"])
def test_what_was_accepted_and_failed_is_told_once(embedded: EmbeddedCloud, vendor: Vendor, work: str) -> None:
    with closing(opened(embedded, vendor)) as cloud, closing(opened(embedded, vendor)) as other:
        machine, well = (cloud.create(request_for(vendor, f"prod-worker-{number}")).id for number in (1, 2))
        embedded.world.add_fault("action_error", method="DELETE|POST", path=f"/{machine}(/|$)")
        for each in (machine, well):
            getattr(cloud, work)(each)
        for asker in (cloud, other):
            # Another process knows no action's id, and asks the machine, or the account.
            told = asker.failed([machine], work)  # type: ignore[attr-defined]
            assert list(told) == [machine]
            assert "failed" in told[machine] or "errored" in told[machine]
            assert asker.failed([machine], work) == {}  # type: ignore[attr-defined]
        if work == "reboot":
            assert other.failed([well], work) == {}  # type: ignore[attr-defined]
