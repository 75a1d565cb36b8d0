"""The host of a run's program: what it declares is what the typed classes declare, and it answers nobody else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from pulumi.runtime.proto import language_pb2, language_pb2_grpc

from scaler.engine.declarations import declare
from scaler.engine.host import hosting
from scaler.model import Change, Declaration, MachineRequest, Permits
from scaler.records.codec import server_to_json
from scaler.simulator import EmbeddedCloud
from tests.engine.stack_project import STACK, Project
from tests.support.sim_http import Http

pytestmark = pytest.mark.engine


@pytest.fixture
def twin(tmp_path: Path, served: EmbeddedCloud, either: Project) -> Iterator[Project]:
    """The same project in another folder, at the same cloud."""
    made = Project(tmp_path / "twin", either.endpoint, cloud_name=either.cloud_name)
    yield made
    made.cloud.close()


def all_kinds(project: Project, served: EmbeddedCloud) -> dict[str, MachineRequest]:
    """Servers that together have every input that a spec can give."""
    plain = replace(project.request("demo-worker-1"), user_data=None)
    full = project.request("demo-worker-2", labels={**plain.labels, "Role": "web", "camelCase": "kept"})
    full = replace(full, user_data="#!/bin/sh\necho \u00fc")
    if project.cloud_name == "digitalocean":
        return {plain.name: plain, full.name: replace(full, monitoring=True, ipv6=True)}
    with Http(served.url) as http:
        subnet = {"type": "cloud", "network_zone": "eu-central", "ip_range": "10.0.0.0/24"}
        network = http.post("/v1/networks", json={"name": "in", "ip_range": "10.0.0.0/16", "subnets": [subnet]}).json()
        firewall = http.post("/v1/firewalls", json={"name": "wall"}).json()
    full = replace(full, networks=(str(network["network"]["id"]),), firewalls=(str(firewall["firewall"]["id"]),))
    return {
        plain.name: plain,
        full.name: full,
        "demo-worker-3": replace(plain, name="demo-worker-3", public_ipv6=False),
    }


def saved(project: Project) -> dict[str, Mapping[str, Any]]:
    """Resources of the saved state by URN, without what is another at each save."""
    path = project.backend.root / "stacks" / "scaler" / f"{STACK}.json"
    text = re.sub(r'"v1:[^"]*"', '"a ciphertext"', path.read_text())
    resources = json.loads(text)["checkpoint"]["latest"]["resources"]
    never_equal = ("created", "modified", "sourcePosition", "stackTrace")
    return {item["urn"]: {key: value for key, value in item.items() if key not in never_equal} for item in resources}


def outputs_of(change: Change) -> dict[str, object]:
    return {name: server_to_json(server) for name, server in change.outputs.items()}


def test_what_it_saves_is_what_the_typed_classes_save(either: Project, twin: Project, served: EmbeddedCloud) -> None:
    requests = all_kinds(either, served)
    change = either.change(list(requests), requests=requests)
    assert either.stack.apply(change).failure is None

    def typed() -> None:
        declare(either.cloud_name, change.declared, outputs_of(change))

    shown = either.typed("preview", typed, Permits())
    assert (shown.error, set(shown.events.operations.values())) == (None, set()), "over ours, they find nothing to do"

    ours = saved(either)
    for machine in either.machines().values():
        either.cloud.delete(machine)
    served.world.advance(3600)
    twin.engine.prepare()
    assert twin.typed("up", typed, change.permits).error is None
    assert comparable(saved(twin)) == comparable(ours)


def comparable(resources: Mapping[str, Any]) -> dict[str, Any]:
    """Resources without what is another for each server, and with names instead of the engine's random ids."""
    providers = {item["id"]: urn for urn, item in resources.items() if item["type"].startswith("pulumi:providers:")}
    given = ("ipv4Address", "ipv6Address", "ipv6Network", "dropletUrn", "createdAt", "ipv4AddressPrivate")
    plain = {}
    for urn, item in resources.items():
        text = json.dumps({key: value for key, value in item.items() if key != "id"})
        for provider, name in providers.items():
            text = text.replace(provider, name)
        plain[urn] = json.loads(text)
        plain[urn]["outputs"] = {key: value for key, value in plain[urn].get("outputs", {}).items() if key not in given}
    return plain


def test_a_stranger_is_refused_and_the_program_does_not_run() -> None:
    ran = []

    def program() -> Declaration:
        ran.append(1)
        return Declaration(cloud="hetzner", servers=())

    with hosting(program) as host, grpc.insecure_channel(f"127.0.0.1:{host.port}") as channel:
        host.peers.admit(1)
        stub = language_pb2_grpc.LanguageRuntimeStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Run(language_pb2.RunRequest(monitor_address="127.0.0.1:1", project="p", stack="s"), timeout=20)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert ran == []
