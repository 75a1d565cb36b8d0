"""`digitalocean:index/droplet:Droplet`, property for property as the official plugin has it.

Without `monitoring` in the outputs, for one, the official plugin would replace every droplet
when it takes the stack over.
"""

from __future__ import annotations

from scaler.engine.plugin.resource import Properties, ResourceType
from scaler.model import Machine, MachineRequest
from scaler.model.ownership import decode_tags, encode_tags

_OFFICIAL_DEFAULTS: Properties = {
    "resizeDisk": True,
    "gracefulShutdown": False,
    "backups": False,
    "ipv6": False,
    "monitoring": False,
    "volumeIds": [],
}


def _request(name: str, inputs: Properties) -> MachineRequest:
    return MachineRequest(
        name=inputs.get("name") or name,
        type=inputs["size"],
        location=inputs["region"],
        image=str(inputs["image"]),
        labels=decode_tags(inputs.get("tags") or ()),
        ssh_keys=tuple(inputs.get("sshKeys") or ()),
        user_data=inputs.get("userData"),
        vpc=inputs.get("vpcUuid"),
        monitoring=bool(inputs.get("monitoring")),
        ipv6=bool(inputs.get("ipv6")),
    )


def _outputs(inputs: Properties, machine: Machine) -> Properties:
    given = {key: value for key, value in inputs.items() if key != "__defaults"}
    fixed = {
        "name": machine.name,
        "dropletUrn": machine.details.get("urn") or f"do:droplet:{machine.id}",
        "createdAt": machine.details.get("created_at") or "",
    }
    return {**_OFFICIAL_DEFAULTS, **given, **_observed(machine), **fixed, "tags": list(inputs.get("tags") or ())}


def _observed(machine: Machine) -> Properties:
    details = machine.details
    properties: Properties = {
        "status": machine.vendor_status,
        "locked": machine.locked,
        "tags": sorted(encode_tags(machine.labels)),
        "ipv4Address": machine.ipv4 or "",
        "ipv4AddressPrivate": details.get("ipv4_private") or "",
        "ipv6Address": machine.ipv6 or "",
        "disk": details.get("disk") or 0,
        "memory": details.get("memory") or 0,
        "vcpus": details.get("vcpus") or 0,
        "priceHourly": details.get("price_hourly") or 0,
        "priceMonthly": details.get("price_monthly") or 0,
    }
    if details.get("vpc_uuid"):
        properties["vpcUuid"] = details["vpc_uuid"]
    return properties


DROPLET = ResourceType(
    package="digitalocean",
    type="digitalocean:index/droplet:Droplet",
    labels_property="tags",
    unique_names=False,
    replace_on=frozenset(
        {
            "image",
            "region",
            "userData",
            "sshKeys",
            "monitoring",
            "vpcUuid",
            "dropletAgent",
            "publicNetworking",
            "gpuPartitionMode",
        }
    ),
    replace_off=frozenset({"ipv6"}),
    defaults={"resizeDisk": True},
    request=_request,
    outputs=_outputs,
    observed=_observed,
    labels=lambda inputs: decode_tags(inputs.get("tags") or ()),
)
