"""`<cloud>:index/server:Server`, for clouds that have no official plugin: those that users add.

Inputs and outputs are named after `MachineRequest` and `Machine`, in the engine's camel case.
"""

from __future__ import annotations

from scaler.engine.plugin.resource import Properties, ResourceType
from scaler.model import Machine, MachineRequest


def server_of(cloud: str) -> ResourceType:
    """Return the resource type of the servers of any cloud."""
    return ResourceType(
        package=cloud,
        type=f"{cloud}:index/server:Server",
        labels_property="labels",
        replace_on=frozenset({"type", "location", "image", "userData", "sshKeys"}),
        defaults={},
        request=_request,
        outputs=_outputs,
        observed=_observed,
        labels=lambda inputs: dict(inputs.get("labels") or {}),
    )


def inputs_of(request: MachineRequest) -> Properties:
    """Return what a program declares for a server; the inverse of `request`."""
    return {
        "name": request.name,
        "type": request.type,
        "location": request.location,
        "image": request.image,
        "labels": dict(request.labels),
        "sshKeys": list(request.ssh_keys),
        "userData": request.user_data,
        "networks": list(request.networks),
        "firewalls": list(request.firewalls),
        "placementGroup": request.placement_group,
        "publicIpv4": request.public_ipv4,
        "publicIpv6": request.public_ipv6,
        "vpc": request.vpc,
        "monitoring": request.monitoring,
        "ipv6": request.ipv6,
    }


FIXED = sorted(set(inputs_of(MachineRequest(name="", type="", location="", image=""))) - {"labels"})
"""Inputs of an existing server that never change."""


def _request(name: str, inputs: Properties) -> MachineRequest:
    return MachineRequest(
        name=inputs.get("name") or name,
        type=inputs["type"],
        location=inputs["location"],
        image=str(inputs["image"]),
        labels=inputs.get("labels") or {},
        ssh_keys=tuple(inputs.get("sshKeys") or ()),
        user_data=inputs.get("userData"),
        networks=tuple(inputs.get("networks") or ()),
        firewalls=tuple(inputs.get("firewalls") or ()),
        placement_group=inputs.get("placementGroup"),
        public_ipv4=inputs.get("publicIpv4", True),
        public_ipv6=inputs.get("publicIpv6", True),
        vpc=inputs.get("vpc"),
        monitoring=inputs.get("monitoring", False),
        ipv6=inputs.get("ipv6", False),
    )


def _outputs(inputs: Properties, machine: Machine) -> Properties:
    given = {key: value for key, value in inputs.items() if key != "__defaults"}
    return {**given, **_observed(machine), "name": machine.name}


def _observed(machine: Machine) -> Properties:
    return {
        "status": machine.vendor_status,
        "labels": dict(machine.labels),
        "ipv4Address": machine.ipv4 or "",
        "ipv6Address": machine.ipv6 or "",
    }
