"""Create requests whose answer never came: one server, in the state, whatever the cloud did."""

from __future__ import annotations

from dataclasses import replace

import grpc
import pytest

from scaler.clouds import AmbiguousError, NameTakenError
from scaler.model import MachineRequest, Permits
from tests.engine.plugin.client import DIGITALOCEAN, HETZNER, NAME, Plug, Plugged, Vendor

pytestmark = pytest.mark.server

MAY_CREATE = Permits(create=frozenset({NAME}))


def make(plugged: Plugged, **changed: object) -> str:
    """A machine as the Create that is tested would make it; returns its id."""
    request = plugged.provider.resource.request(NAME, {**plugged.vendor.inputs, **changed})
    return plugged.cloud.create(request).id


def posts(plugged: Plugged) -> int:
    return len([entry for entry in plugged.requests("POST") if entry.path == plugged.vendor.machines])


@pytest.mark.parametrize("lost", ["accept_then_drop", "accept_then_hang", "truncated_json"])
def test_made_and_not_answered(plug: Plug, vendor: Vendor, lost: str) -> None:
    plugged = plug(vendor, MAY_CREATE)
    plugged.world.add_fault(lost, method="POST", path=f"{vendor.machines}$")
    machine_id, outputs = plugged.create(vendor.inputs)
    assert (plugged.names(), posts(plugged)) == ([NAME], 1)
    assert plugged.cloud.get(machine_id).name == outputs["name"] == NAME
    assert (plugged.operation.accepted, plugged.operation.errors) == ({NAME: machine_id}, {})


def test_made_and_the_lists_lag_behind(plug: Plug, vendor: Vendor) -> None:
    plugged = plug(vendor, MAY_CREATE)
    plugged.operation.snapshot()
    plugged.world.add_fault("accept_then_drop", method="POST", path=f"{vendor.machines}$")
    plugged.world.add_fault("list_misses", path=f"{vendor.machines}$", method="GET", names=[NAME], times=2)
    machine_id, _ = plugged.create(vendor.inputs)
    assert (plugged.names(), plugged.operation.accepted) == ([NAME], {NAME: machine_id})


def test_v4_a_lost_droplet_is_looked_for_as_long_as_lists_lag(plug: Plug) -> None:
    """New droplets are missing from lists for seconds (pydo#468); a second one of the name would be one too many."""
    plugged = plug(DIGITALOCEAN, MAY_CREATE)
    plugged.operation.snapshot()
    began = plugged.operation.cloud.requests
    plugged.world.add_fault("accept_then_drop", method="POST", path="/v2/droplets$")
    plugged.world.add_fault("list_misses", path="/v2/droplets$", method="GET", names=[NAME], times=5)
    machine_id, _ = plugged.create(DIGITALOCEAN.inputs)
    assert (plugged.names(), plugged.operation.accepted, posts(plugged)) == ([NAME], {NAME: machine_id}, 1)
    assert began.list + 6 == plugged.operation.cloud.requests.list


def test_a_look_that_fails_is_repeated(plug: Plug, vendor: Vendor) -> None:
    plugged = plug(vendor, MAY_CREATE)
    plugged.operation.snapshot()
    plugged.world.add_fault("accept_then_drop", method="POST", path=f"{vendor.machines}$")
    plugged.world.add_fault("respond", path=f"{vendor.machines}$", method="GET", status=403, times=2)
    machine_id, _ = plugged.create(vendor.inputs)
    assert (plugged.names(), plugged.operation.accepted) == ([NAME], {NAME: machine_id})


@pytest.mark.parametrize("looks_fail", [False, True], ids=["not there", "nobody can tell"])
def test_not_made_and_not_answered(plug: Plug, vendor: Vendor, looks_fail: bool) -> None:
    plugged = plug(vendor, MAY_CREATE)
    plugged.operation.snapshot()
    plugged.world.add_fault("drop_before", method="POST", path=f"{vendor.machines}$")
    if looks_fail:
        plugged.world.add_fault("respond", path=f"{vendor.machines}$", method="GET", status=403, times=None)
    with pytest.raises(grpc.RpcError):
        plugged.create(vendor.inputs)
    assert isinstance(plugged.operation.errors[NAME], AmbiguousError)
    assert (plugged.names(), plugged.operation.accepted, posts(plugged)) == ([], {}, 1)


def test_of_several_the_oldest_new_one_is_kept(plug: Plug) -> None:
    """At DigitalOcean a name can be taken twice: by a request that was repeated on its way, for one."""
    plugged = plug(DIGITALOCEAN, MAY_CREATE)
    before = make(plugged)
    plugged.operation.snapshot()
    plugged.world.advance(60)
    oldest = make(plugged)
    plugged.world.advance(60)
    plugged.world.add_fault("accept_then_drop", method="POST", path="/v2/droplets$")
    machine_id, _ = plugged.create(DIGITALOCEAN.inputs)
    assert machine_id == oldest != before
    assert plugged.names() == [NAME] * 3


def test_a_name_taken_by_our_own_request(plug: Plug) -> None:
    """Hetzner answers a request that was repeated on its way with `uniqueness_error`."""
    plugged = plug(HETZNER, MAY_CREATE)
    plugged.operation.snapshot()
    made = make(plugged)
    machine_id, _ = plugged.create(HETZNER.inputs)
    assert (machine_id, plugged.names()) == (made, [NAME])


@pytest.mark.parametrize("whose", ["foreign", "ours from before"])
def test_a_name_taken_by_another(plug: Plug, whose: str) -> None:
    plugged = plug(HETZNER, MAY_CREATE)
    if whose == "foreign":
        plugged.cloud.create(MachineRequest(name=NAME, type="cx23", location="fsn1", image="ubuntu-24.04"))
    else:
        make(plugged)
    with pytest.raises(grpc.RpcError):
        plugged.create(HETZNER.inputs)
    assert isinstance(plugged.operation.errors[NAME], NameTakenError)
    assert (plugged.operation.accepted, plugged.names()) == ({}, [NAME])


def test_w14_a_name_taken_by_our_own_request_that_no_list_shows_yet(plug: Plug) -> None:
    """A run was killed after its request, and lists lag: whoever has the name is not known to be somebody else."""
    plugged = plug(HETZNER, MAY_CREATE)
    plugged.operation.snapshot()
    made = make(plugged)
    # The list of all names, and two lists by this name.
    plugged.world.add_fault("list_misses", path="/v1/servers$", method="GET", names=[NAME], times=3)
    machine_id, _ = plugged.create(HETZNER.inputs)
    assert (machine_id, plugged.names(), posts(plugged)) == (made, [NAME], 2)


def test_w20_one_refusal_tells_of_all_names(plug: Plug) -> None:
    names = [f"demo-worker-{number}" for number in range(1, 6)]
    plugged = plug(HETZNER, Permits(create=frozenset(names)))
    for name in names[:4]:
        plugged.world.add_server("hetzner", name)
    request = plugged.provider.resource.request(NAME, dict(HETZNER.inputs))
    for name in names[:4]:
        with pytest.raises(NameTakenError, match=name):
            plugged.operation.create(replace(request, name=name))
    plugged.operation.create(replace(request, name=names[4]))
    assert posts(plugged) == 2
