"""The plugin on the embedded cloud, and a gRPC client of it as the engine is one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import grpc
from google.protobuf import json_format, struct_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from scaler.clouds import Cloud
from scaler.engine.plugin import RESOURCES
from scaler.engine.plugin.operation import Operation
from scaler.engine.plugin.provider import Provider
from scaler.model import Permits
from scaler.model.ownership import Owner, encode_tags
from scaler.simulator import SimulatedWorld
from scaler.simulator.profiles import CloudName
from scaler.simulator.world import LoggedRequest
from scaler.support.clock import SystemClock

TOKEN = "t0ken" + "x" * 59
OWNER = Owner("scaler", "demo")
NAME = "demo-worker-1"
LABELS = OWNER.group_labels("worker", "abc")
TAGS = sorted(encode_tags(LABELS))
DEADLINE_S = 30.0


class HurriedClock:
    """The machine's clock, except that nobody waits: `sleep` moves it forward by as much."""

    def __init__(self) -> None:
        self._real = SystemClock()
        self._ahead = 0.0
        self._lock = threading.Lock()

    def now(self) -> datetime:
        return self._real.now() + timedelta(seconds=self._ahead)

    def monotonic(self) -> float:
        return self._real.monotonic() + self._ahead

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self._ahead += seconds


@dataclass(frozen=True)
class Vendor:
    """What differs between the two resource types."""

    name: CloudName
    machines: str
    """The path of the cloud's list."""
    inputs: Mapping[str, Any]
    """What the program declares for a server."""
    labels_property: str

    @property
    def type(self) -> str:
        return RESOURCES[self.name].type

    def labelled(self, **more: str) -> dict[str, Any]:
        """The inputs with further labels."""
        labels = {**LABELS, **more}
        return {
            **self.inputs,
            self.labels_property: labels if self.name == "hetzner" else sorted(encode_tags(labels)),
        }


HETZNER = Vendor(
    "hetzner",
    "/v1/servers",
    {
        "name": NAME,
        "serverType": "cx23",
        "location": "fsn1",
        "image": "ubuntu-24.04",
        "labels": LABELS,
        "userData": "#cloud-config",
    },
    "labels",
)
DIGITALOCEAN = Vendor(
    "digitalocean",
    "/v2/droplets",
    {
        "name": NAME,
        "size": "s-1vcpu-1gb",
        "region": "fra1",
        "image": "ubuntu-24-04-x64",
        "tags": TAGS,
        "userData": "#cloud-config",
        "monitoring": False,
        "ipv6": False,
    },
    "tags",
)
VENDORS = (HETZNER, DIGITALOCEAN)


def urn(type: str, name: str = NAME) -> str:
    return f"urn:pulumi:demo::scaler::scaler:index:ServerGroup${type}::{name}"


def pack(properties: Mapping[str, Any]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update(dict(properties))
    return struct


def unpack(struct: struct_pb2.Struct) -> dict[str, Any]:
    return dict(json_format.MessageToDict(struct))


@dataclass
class Plugged:
    """One engine operation: what it may do, the cloud that it does it to, and calls to its plugin."""

    vendor: Vendor
    world: SimulatedWorld
    cloud: Cloud
    operation: Operation
    provider: Provider

    def __post_init__(self) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.provider.port}")
        self.stub = provider_pb2_grpc.ResourceProviderStub(self.channel)
        self.urn = urn(self.vendor.type)

    def requests(self, method: str = ".*") -> list[LoggedRequest]:
        """What was asked of the cloud, in order."""
        return [entry for entry in self.world.log() if method in (".*", entry.method)]

    def names(self) -> list[str]:
        """The machines that exist, by name."""
        now = self.world.now
        return sorted(str(thing.name) for thing in self.world.servers(self.vendor.name) if thing.exists(now))

    def check(self, news: Mapping[str, Any]) -> dict[str, Any]:
        request = provider_pb2.CheckRequest(urn=self.urn, news=pack(news))
        return unpack(self.stub.Check(request, timeout=DEADLINE_S).inputs)

    def diff(self, olds: Mapping[str, Any], old_inputs: Mapping[str, Any], news: Mapping[str, Any]) -> Any:
        request = provider_pb2.DiffRequest(
            urn=self.urn, id="1", olds=pack(olds), old_inputs=pack(old_inputs), news=pack(news)
        )
        return self.stub.Diff(request, timeout=DEADLINE_S)

    def create(self, inputs: Mapping[str, Any], *, preview: bool = False) -> tuple[str, dict[str, Any]]:
        request = provider_pb2.CreateRequest(urn=self.urn, properties=pack(inputs), preview=preview)
        answer = self.stub.Create(request, timeout=DEADLINE_S)
        return answer.id, unpack(answer.properties)

    def read(self, id: str, properties: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
        request = provider_pb2.ReadRequest(urn=self.urn, id=id, properties=pack(properties), inputs=pack(inputs))
        return self.stub.Read(request, timeout=DEADLINE_S)

    def update(
        self,
        id: str,
        olds: Mapping[str, Any],
        old_inputs: Mapping[str, Any],
        news: Mapping[str, Any],
        *,
        preview: bool = False,
    ) -> dict[str, Any]:
        request = provider_pb2.UpdateRequest(
            urn=self.urn, id=id, olds=pack(olds), old_inputs=pack(old_inputs), news=pack(news), preview=preview
        )
        return unpack(self.stub.Update(request, timeout=DEADLINE_S).properties)

    def delete(self, id: str) -> None:
        self.stub.Delete(provider_pb2.DeleteRequest(urn=self.urn, id=id), timeout=DEADLINE_S)


Plug = Callable[[Vendor, Permits], Plugged]
"""Begins an operation with these permits."""
