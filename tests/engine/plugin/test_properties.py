"""The property sets of the official plugins: each key that is wrong or missing is an update or a replace of a fleet."""

from __future__ import annotations

from typing import Any

import pytest
from pulumi.runtime.proto import provider_pb2

from scaler.model import Permits
from tests.engine.plugin.client import DIGITALOCEAN, HETZNER, LABELS, NAME, TAGS, VENDORS, Plug, Vendor, unpack

pytestmark = pytest.mark.server

MAY_CREATE = Permits(create=frozenset({NAME}))


def test_check_adds_what_the_official_plugin_adds(plug: Plug, vendor: Vendor) -> None:
    added: dict[str, dict[str, Any]] = {
        "hetzner": {"__defaults": []},
        "digitalocean": {"resizeDisk": True, "__defaults": ["resizeDisk"]},
    }
    plugged = plug(vendor, Permits())
    assert plugged.check(vendor.inputs) == {**vendor.inputs, **added[vendor.name]}


def test_check_leaves_what_is_given(plug: Plug) -> None:
    given = {**DIGITALOCEAN.inputs, "resizeDisk": False}
    assert plug(DIGITALOCEAN, Permits()).check(given) == {**given, "__defaults": []}


def test_hetzner_outputs(plug: Plug) -> None:
    plugged = plug(HETZNER, MAY_CREATE)
    machine_id, outputs = plugged.create(plugged.check(HETZNER.inputs))
    machine = plugged.cloud.get(machine_id)
    assert outputs == {
        "name": NAME,
        "serverType": "cx23",
        "location": "fsn1",
        "image": "ubuntu-24.04",
        "labels": LABELS,
        "userData": "#cloud-config",
        "backups": False,
        "deleteProtection": False,
        "ignoreRemoteFirewallIds": False,
        "keepDisk": False,
        "rebuildProtection": False,
        "shutdownBeforeDeletion": False,
        "firewallIds": [],
        "status": "initializing",
        "ipv4Address": machine.ipv4,
        "ipv6Address": machine.ipv6,
        "ipv6Network": machine.details["ipv6_network"],
        "primaryDiskSize": 40,
        "backupWindow": "",
    }


def test_digitalocean_outputs(plug: Plug) -> None:
    plugged = plug(DIGITALOCEAN, MAY_CREATE)
    machine_id, outputs = plugged.create(plugged.check(DIGITALOCEAN.inputs))
    details = plugged.cloud.get(machine_id).details
    assert outputs == {
        "name": NAME,
        "size": "s-1vcpu-1gb",
        "region": "fra1",
        "image": "ubuntu-24-04-x64",
        "tags": TAGS,
        "userData": "#cloud-config",
        "monitoring": False,
        "ipv6": False,
        "resizeDisk": True,
        "gracefulShutdown": False,
        "backups": False,
        "volumeIds": [],
        "status": "new",
        "locked": True,
        "dropletUrn": f"do:droplet:{machine_id}",
        "createdAt": details["created_at"],
        "disk": details["disk"],
        "memory": details["memory"],
        "vcpus": details["vcpus"],
        "priceHourly": details["price_hourly"],
        "priceMonthly": details["price_monthly"],
        "vpcUuid": details["vpc_uuid"],
        "ipv4Address": "",
        "ipv4AddressPrivate": "",
        "ipv6Address": "",
    }


def test_a_preview_of_create_asks_nothing(plug: Plug, vendor: Vendor) -> None:
    plugged = plug(vendor, MAY_CREATE)
    machine_id, outputs = plugged.create(vendor.inputs, preview=True)
    assert (machine_id, outputs, plugged.requests()) == ("", vendor.inputs, [])


def test_read_renews_what_is_seen_and_keeps_the_rest(plug: Plug, vendor: Vendor) -> None:
    plugged = plug(vendor, MAY_CREATE)
    machine_id, outputs = plugged.create(plugged.check(vendor.inputs))
    old = {**outputs, "status": "old", "ipv4Address": "192.0.2.1", "image": "kept", "userData": "kept", "__meta": "{}"}
    plugged.world.advance(3600)
    answer = plugged.read(machine_id, old, {**vendor.inputs, "__defaults": []})
    machine = plugged.cloud.get(machine_id)
    seen: dict[str, object] = {
        "status": {"hetzner": "running", "digitalocean": "active"}[vendor.name],
        "ipv4Address": machine.ipv4,
    }
    if vendor is DIGITALOCEAN:
        seen |= {"locked": False, "ipv4AddressPrivate": machine.details["ipv4_private"]}
    assert answer.id == machine_id
    assert unpack(answer.properties) == {**old, **seen}
    assert unpack(answer.inputs) == {**vendor.inputs, "__defaults": []}


def test_read_tells_of_labels_changed_by_hand(plug: Plug, vendor: Vendor) -> None:
    plugged = plug(vendor, MAY_CREATE)
    machine_id, outputs = plugged.create(vendor.inputs)
    plugged.cloud.set_labels(machine_id, {**LABELS, "by": "hand"})
    answer = plug(vendor, Permits()).read(machine_id, outputs, vendor.inputs)
    changed = vendor.labelled(by="hand")[vendor.labels_property]
    assert unpack(answer.properties)[vendor.labels_property] == changed
    assert unpack(answer.inputs) == {**vendor.inputs, vendor.labels_property: changed}


def test_update_changes_the_labels_and_nothing_else(plug: Plug, vendor: Vendor) -> None:
    plugged = plug(vendor, Permits(create=frozenset({NAME}), update=frozenset({NAME})))
    inputs = plugged.check(vendor.inputs)
    machine_id, outputs = plugged.create(inputs)
    wanted = plugged.check(vendor.labelled(role="web"))
    updated = plugged.update(machine_id, outputs, inputs, wanted)
    assert updated == {**outputs, vendor.labels_property: wanted[vendor.labels_property]}
    assert plugged.cloud.get(machine_id).labels == {**LABELS, "role": "web"}


def test_a_preview_of_update_asks_nothing(plug: Plug, vendor: Vendor) -> None:
    plugged = plug(vendor, Permits())
    wanted = vendor.labelled(role="web")
    assert plugged.update("1", vendor.inputs, vendor.inputs, wanted, preview=True) == wanted
    assert plugged.requests() == []


REPLACED = {
    "hetzner": ("image", "location", "userData", "sshKeys"),
    "digitalocean": (
        "image",
        "region",
        "userData",
        "sshKeys",
        "monitoring",
        "vpcUuid",
        "dropletAgent",
        "publicNetworking",
        "gpuPartitionMode",
    ),
}
CHANGED_IN_PLACE = {
    "hetzner": ("name", "labels", "serverType", "backups", "networks", "firewallIds", "placementGroupId", "publicNets"),
    "digitalocean": ("name", "tags", "size", "backups", "volumeIds"),
}
RULES = [
    (vendor, name, replaces)
    for vendor in VENDORS
    for names, replaces in ((REPLACED, True), (CHANGED_IN_PLACE, False))
    for name in names[vendor.name]
]


@pytest.mark.parametrize(
    ("vendor", "name", "replaces"), RULES, ids=[f"{vendor.name}-{name}" for vendor, name, _ in RULES]
)
def test_which_change_replaces(plug: Plug, vendor: Vendor, name: str, replaces: bool) -> None:
    plugged = plug(vendor, Permits())
    for old, new in (("old", "new"), (None, "new"), ("old", None)):
        olds = {**vendor.inputs, name: old}
        news = {**vendor.inputs, name: new}
        answer = plugged.diff(olds, olds, news)
        assert list(answer.diffs) == [name]
        assert list(answer.replaces) == ([name] if replaces else [])
        assert answer.changes == provider_pb2.DiffResponse.DIFF_SOME
        assert answer.deleteBeforeReplace is False


@pytest.mark.parametrize(("old", "new", "replaces"), [(True, False, ["ipv6"]), (False, True, [])])
def test_ipv6_replaces_only_when_it_is_switched_off(plug: Plug, old: bool, new: bool, replaces: list[str]) -> None:
    olds, news = {**DIGITALOCEAN.inputs, "ipv6": old}, {**DIGITALOCEAN.inputs, "ipv6": new}
    answer = plug(DIGITALOCEAN, Permits()).diff(olds, olds, news)
    assert (list(answer.diffs), list(answer.replaces)) == (["ipv6"], replaces)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"__defaults": ["a"]}, {"__defaults": []}),
        (
            {"publicNets": [{"ipv4Enabled": True, "__defaults": ["ipv4Enabled"]}]},
            {"publicNets": [{"ipv4Enabled": True, "__defaults": []}]},
        ),
        ({"publicNets": [{"more": {"__defaults": []}}]}, {"publicNets": [{"more": {}}]}),
        ({"firewallIds": []}, {}),
        ({"sshKeys": None}, {"sshKeys": []}),
        ({"userData": ""}, {}),
        ({"placementGroupId": 4}, {"placementGroupId": 4.0}),
    ],
)
def test_what_is_no_difference(plug: Plug, vendor: Vendor, old: dict[str, Any], new: dict[str, Any]) -> None:
    same = {key: value for key, value in vendor.inputs.items() if key != "userData"}
    answer = plug(vendor, Permits()).diff({**same, **old}, {**same, **old}, {**same, **new})
    assert (list(answer.diffs), answer.changes) == ([], provider_pb2.DiffResponse.DIFF_NONE)


def test_a_server_just_made_shows_no_difference(plug: Plug, vendor: Vendor) -> None:
    plugged = plug(vendor, MAY_CREATE)
    inputs = plugged.check(vendor.inputs)
    machine_id, outputs = plugged.create(inputs)
    read = plugged.read(machine_id, outputs, inputs)
    assert list(plugged.diff(outputs, inputs, inputs).diffs) == []
    assert list(plugged.diff(unpack(read.properties), unpack(read.inputs), inputs).diffs) == []


def test_all_of_hetzners_inputs_reach_the_cloud(plug: Plug) -> None:
    plugged = plug(HETZNER, MAY_CREATE)
    world = plugged.world
    network = world.add("hetzner", "network", "net", {"ip_range": "10.0.0.0/8", "subnets": []}).id
    request = plugged.provider.resource.request(
        NAME,
        {
            **HETZNER.inputs,
            "sshKeys": ["deploy"],
            "networks": [{"networkId": network, "aliasIps": []}],
            "firewallIds": [38],
            "placementGroupId": 897,
            "publicNets": [{"ipv4Enabled": False, "ipv6Enabled": True}],
        },
    )
    assert (request.networks, request.firewalls, request.placement_group) == ((str(network),), ("38",), "897")
    assert (request.public_ipv4, request.public_ipv6, request.ssh_keys) == (False, True, ("deploy",))
