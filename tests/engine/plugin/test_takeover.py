"""A server that the official plugin made or refreshed is no other server to ours, and stays readable to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from scaler.engine.inputs import server_inputs
from scaler.engine.plugin import RESOURCES
from scaler.model import Permits
from scaler.simulator.profiles import CloudName
from tests.engine.plugin.client import NAME, VENDORS, Plug, Plugged, unpack
from tests.support.official.properties import SETS, declared, recorded, refreshed

pytestmark = pytest.mark.server


def ignoring(cloud: CloudName, news: Mapping[str, Any], old_inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What the engine makes of `ignore_changes`: an ignored input keeps its old value, or its absence."""
    fixed = server_inputs(cloud).fixed
    kept = {key: old_inputs[key] for key in fixed if key in old_inputs}
    return {**{key: value for key, value in news.items() if key not in fixed}, **kept}


@pytest.mark.parametrize("by", ["made", "refreshed"])
@pytest.mark.parametrize(("cloud", "name"), SETS)
def test_nothing_differs(cloud: CloudName, name: str, by: str) -> None:
    resource = RESOURCES[cloud]
    outputs, wanted = recorded(cloud, name, "official"), declared(cloud, name)
    old_inputs = {**(refreshed(wanted, outputs) if by == "refreshed" else wanted), "__defaults": []}
    news = resource.check(ignoring(cloud, wanted, old_inputs))
    assert resource.changed(outputs, old_inputs, news) == []
    if by == "made":
        # Nor where nothing is ignored: the same program, run by hand.
        assert resource.changed(outputs, old_inputs, resource.check(wanted)) == []


@pytest.mark.parametrize("by", ["made", "refreshed"])
@pytest.mark.parametrize(("cloud", "name"), SETS)
def test_a_label_differs_and_nothing_else(cloud: CloudName, name: str, by: str) -> None:
    resource = RESOURCES[cloud]
    outputs, wanted = recorded(cloud, name, "official"), declared(cloud, name)
    old_inputs = refreshed(wanted, outputs) if by == "refreshed" else wanted
    labels = [*wanted["tags"], "role:web"] if cloud == "digitalocean" else {**wanted["labels"], "role": "web"}
    news = ignoring(cloud, {**wanted, resource.labels_property: labels}, old_inputs)
    assert resource.changed(outputs, old_inputs, resource.check(news)) == [resource.labels_property]


@pytest.mark.parametrize(("cloud", "name"), SETS)
def test_a_real_difference_is_one(cloud: CloudName, name: str) -> None:
    resource, outputs, wanted = RESOURCES[cloud], recorded(cloud, name, "official"), declared(cloud, name)
    for key in ("image", "userData"):
        assert resource.changed(outputs, wanted, {**wanted, key: "another"}) == [key]


def made(plug: Plug, cloud: CloudName, name: str) -> tuple[Plugged, str, dict[str, Any]]:
    """A server in the cloud, of which the official plugin keeps the recorded properties."""
    vendor = next(each for each in VENDORS if each.name == cloud)
    plugged = plug(vendor, Permits(create=frozenset({NAME}), update=frozenset({NAME})))
    machine_id, _ = plugged.create(vendor.inputs)
    return plugged, machine_id, {**recorded(cloud, name, "official"), "id": machine_id, "name": NAME}


@pytest.mark.parametrize(("cloud", "name"), SETS)
def test_read_and_update_keep_what_only_the_official_plugin_knows(plug: Plug, cloud: CloudName, name: str) -> None:
    plugged, machine_id, outputs = made(plug, cloud, name)
    wanted = declared(cloud, name)
    answer = plugged.read(machine_id, outputs, wanted)
    observed = plugged.provider.resource.observed(plugged.cloud.get(machine_id))
    assert unpack(answer.properties) == {**outputs, **observed}
    label = plugged.provider.resource.labels_property
    assert unpack(answer.inputs) == {**wanted, label: observed[label]}

    news = {**wanted, label: plugged.vendor.labelled(role="web")[label]}
    assert plugged.update(machine_id, outputs, wanted, news) == {**outputs, label: news[label]}
    assert plugged.cloud.get(machine_id).labels["role"] == "web"
