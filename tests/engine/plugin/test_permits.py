"""The plugin does only what the plan names, and only to machines that are ours."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2

from scaler.clouds import CloudError, InvalidError
from scaler.model import Permits
from tests.engine.plugin.client import DIGITALOCEAN, HETZNER, LABELS, NAME, OWNER, Plug, Plugged, Vendor, urn

pytestmark = pytest.mark.server

NOTHING = Permits()
MAY_CREATE = Permits(create=frozenset({NAME}))


def existing(plug: Plug, vendor: Vendor, labels: dict[str, str] | None = None) -> str:
    """A machine from before this operation; returns its id."""
    plugged = plug(vendor, MAY_CREATE)
    machine_id, _ = plugged.create(vendor.inputs)
    plugged.world.advance(3600)
    if labels is not None:
        plugged.cloud.set_labels(machine_id, labels)
    plugged.world.clear_log()
    return machine_id


def refused(call: Callable[[], object], code: grpc.StatusCode = grpc.StatusCode.FAILED_PRECONDITION) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() is code
    return str(caught.value.details())


def changes(plugged: Plugged) -> list[str]:
    return [f"{entry.method} {entry.path}" for entry in plugged.requests() if entry.method != "GET"]


@pytest.mark.parametrize(
    ("what", "call"),
    [
        ("create demo-worker-1", lambda plugged, machine_id: plugged.create(plugged.vendor.inputs)),
        ("delete demo-worker-1", lambda plugged, machine_id: plugged.delete(machine_id)),
        (
            "update demo-worker-1",
            lambda plugged, machine_id: plugged.update(
                machine_id, plugged.vendor.inputs, plugged.vendor.inputs, plugged.vendor.labelled(role="web")
            ),
        ),
    ],
    ids=["create", "delete", "update"],
)
@pytest.mark.parametrize(
    "others",
    [
        NOTHING,
        Permits(
            create=frozenset({"demo-worker-2"}),
            adopt={"demo-worker-2": "1"},
            update=frozenset({"demo-worker-2"}),
            delete={"demo-worker-2": "1", NAME: "999"},
            forget={"demo-worker-2": "1", NAME: "999"},
        ),
    ],
    ids=["an empty plan", "a plan for others"],
)
def test_what_the_plan_does_not_name_is_refused(
    plug: Plug, vendor: Vendor, others: Permits, what: str, call: Callable[[Plugged, str], Any]
) -> None:
    machine_id = existing(plug, vendor)
    plugged = plug(vendor, others)
    assert what in refused(lambda: call(plugged, machine_id))
    assert plugged.requests() == []
    assert plugged.cloud.get(machine_id).labels == LABELS


def test_a_replace_by_the_engine_adopts_nothing(plug: Plug, vendor: Vendor) -> None:
    """Create would find the old server by its name, and the engine would then delete it."""
    machine_id = existing(plug, vendor)
    plugged = plug(vendor, Permits(update=frozenset({NAME})))
    refused(lambda: plugged.create({**vendor.inputs, "userData": "changed"}))
    refused(lambda: plugged.delete(machine_id))
    assert (plugged.names(), plugged.operation.accepted) == ([NAME], {})


def test_update_of_more_than_labels_is_refused_even_if_named(plug: Plug, vendor: Vendor) -> None:
    machine_id = existing(plug, vendor)
    plugged = plug(vendor, Permits(update=frozenset({NAME})))
    details = refused(
        lambda: plugged.update(machine_id, vendor.inputs, vendor.inputs, {**vendor.inputs, "name": "other"})
    )
    assert "not name" in details
    assert changes(plugged) == []


def test_only_the_named_machine_is_adopted(plug: Plug, vendor: Vendor) -> None:
    machine_id = existing(plug, vendor)
    plugged = plug(vendor, Permits(adopt={NAME: machine_id}))
    adopted, outputs = plugged.create(vendor.inputs)
    assert (adopted, outputs["name"], plugged.operation.accepted) == (machine_id, NAME, {NAME: machine_id})
    assert changes(plugged) == []
    assert plugged.names() == [NAME]


def test_a_machine_of_another_owner_is_neither_adopted_nor_deleted(plug: Plug, vendor: Vendor) -> None:
    machine_id = existing(plug, vendor, {**LABELS, "scaler-stack": "other"})
    adopting = plug(vendor, Permits(adopt={NAME: machine_id}))
    assert "carries another owner's labels" in refused(lambda: adopting.create(vendor.inputs))
    deleting = plug(vendor, Permits(delete={NAME: machine_id}))
    assert "carries another owner's labels" in refused(lambda: deleting.delete(machine_id))
    assert (changes(deleting), deleting.names(), deleting.operation.deleted) == ([], [NAME], {})


@pytest.mark.acceptance("T07")
def test_a_named_machine_whose_labels_of_ours_are_absent_is_ours(plug: Plug, vendor: Vendor) -> None:
    machine_id = existing(plug, vendor, {"note": "by-hand"})
    adopting = plug(vendor, Permits(adopt={NAME: machine_id}))
    assert adopting.create(vendor.inputs)[0] == machine_id
    deleting = plug(vendor, Permits(delete={NAME: machine_id}))
    deleting.delete(machine_id)
    assert deleting.operation.deleted == {NAME: machine_id}


def test_delete_of_a_named_machine(plug: Plug, vendor: Vendor) -> None:
    machine_id = existing(plug, vendor)
    plugged = plug(vendor, Permits(delete={NAME: machine_id}))
    plugged.delete(machine_id)
    plugged.world.advance(3600)
    assert (plugged.names(), plugged.operation.deleted) == ([], {NAME: machine_id})


@pytest.mark.parametrize("looked", [False, True], ids=["gone before the list", "gone after the list"])
def test_delete_of_a_gone_machine_succeeds(plug: Plug, vendor: Vendor, looked: bool) -> None:
    machine_id = existing(plug, vendor)
    plugged = plug(vendor, Permits(delete={NAME: machine_id}))
    if looked:
        plugged.operation.snapshot()
    plugged.world.vanish(vendor.name, int(machine_id))
    plugged.delete(machine_id)
    assert plugged.operation.deleted == {NAME: machine_id}


def test_forget_asks_nothing(plug: Plug, vendor: Vendor) -> None:
    machine_id = existing(plug, vendor, {})
    plugged = plug(vendor, Permits(forget={NAME: machine_id}))
    assert plugged.read(machine_id, vendor.inputs, vendor.inputs).id == ""
    plugged.delete(machine_id)
    assert (plugged.requests(), plugged.names(), plugged.operation.deleted) == ([], [NAME], {})


def test_one_list_answers_every_read(plug: Plug, vendor: Vendor) -> None:
    machine_id = existing(plug, vendor)
    plugged = plug(vendor, NOTHING)
    threads = [threading.Thread(target=plugged.read, args=(machine_id, {}, {})) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.path for entry in plugged.requests()] == [vendor.machines]


def test_a_machine_that_the_list_misses_is_not_gone(plug: Plug, vendor: Vendor) -> None:
    machine_id = existing(plug, vendor)
    plugged = plug(vendor, NOTHING)
    plugged.world.add_fault("list_misses", path=f"{vendor.machines}$", names=[NAME], times=None)
    assert plugged.read(machine_id, {}, {}).id == machine_id
    assert [entry.path for entry in plugged.requests()] == [vendor.machines, f"{vendor.machines}/{machine_id}"]


def test_a_machine_that_is_nowhere_is_gone(plug: Plug, vendor: Vendor) -> None:
    machine_id = existing(plug, vendor)
    plugged = plug(vendor, NOTHING)
    plugged.world.vanish(vendor.name, int(machine_id))
    assert plugged.read(machine_id, vendor.inputs, vendor.inputs) == provider_pb2.ReadResponse()


def test_a_failed_list_is_no_answer(plug: Plug, vendor: Vendor) -> None:
    """Nothing is dropped from the state, and the list is not asked for again by each Read."""
    machine_id = existing(plug, vendor)
    plugged = plug(vendor, NOTHING)
    fault = plugged.world.add_fault("respond", path=f"{vendor.machines}$", status=403, times=None)
    for _ in range(2):
        refused(lambda: plugged.read(machine_id, {}, {}), grpc.StatusCode.UNKNOWN)
    assert plugged.world.fired(fault) == 1
    assert isinstance(plugged.operation.failed_list, CloudError)


def test_a_failed_get_is_no_answer(plug: Plug, vendor: Vendor) -> None:
    machine_id = existing(plug, vendor)
    plugged = plug(vendor, NOTHING)
    plugged.world.add_fault("list_misses", path=f"{vendor.machines}$", names=[NAME])
    plugged.world.add_fault("respond", path=f"{vendor.machines}/{machine_id}$", status=500, times=None)
    refused(lambda: plugged.read(machine_id, {}, {}), grpc.StatusCode.UNKNOWN)


def test_what_the_cloud_refuses_is_kept_for_the_run(plug: Plug, vendor: Vendor) -> None:
    plugged = plug(vendor, MAY_CREATE)
    wrong = {"hetzner": {"image": "nonsense"}, "digitalocean": {"image": "nonsense"}}[vendor.name]
    refused(lambda: plugged.create({**vendor.inputs, **wrong}), grpc.StatusCode.UNKNOWN)
    assert isinstance(plugged.operation.errors[NAME], InvalidError)
    assert (plugged.operation.accepted, plugged.names()) == ({}, [])


def test_another_resource_type_names_the_way_out(plug: Plug) -> None:
    plugged = plug(HETZNER, NOTHING)
    plugged.urn = urn(DIGITALOCEAN.type)
    details = refused(lambda: plugged.check({}))
    assert "`plugin: official`" in details
    assert DIGITALOCEAN.type in details


def test_cancel_is_answered_while_every_worker_waits_and_stops_what_is_not_sent(plug: Plug, vendor: Vendor) -> None:
    plugged = plug(vendor, MAY_CREATE)
    machine_id = existing(plug, vendor)
    hang = plugged.world.add_fault("hang", path=f"{vendor.machines}$", seconds=600)
    reads = [plugged.stub.Read.future(provider_pb2.ReadRequest(urn=plugged.urn, id=machine_id)) for _ in range(8)]
    while plugged.world.fired(hang) == 0:
        threading.Event().wait(0.01)
    plugged.stub.Cancel(empty_pb2.Empty(), timeout=10)
    for operation in (lambda: plugged.create(vendor.inputs), lambda: plugged.delete(machine_id)):
        with pytest.raises(grpc.RpcError):
            operation()
    assert not any(read.done() for read in reads)
    assert changes(plugged) == []
    for read in reads:
        read.cancel()
    assert OWNER.owns(plugged.cloud.get(machine_id).labels)
