"""`hcloud:index/server:Server`, property for property as the official plugin has it.

Property sets: measured with the official plugin taking over and giving back a stack; without
`userData` in the outputs, for one, it would replace every server.
"""

from __future__ import annotations

from scaler.engine.plugin.resource import Properties, ResourceType
from scaler.model import Machine, MachineRequest

_OFFICIAL_DEFAULTS: Properties = {
    "backups": False,
    "deleteProtection": False,
    "ignoreRemoteFirewallIds": False,
    "keepDisk": False,
    "rebuildProtection": False,
    "shutdownBeforeDeletion": False,
    "firewallIds": [],
}


def _request(name: str, inputs: Properties) -> MachineRequest:
    public = (inputs.get("publicNets") or [{}])[0]
    placement_group = inputs.get("placementGroupId")
    return MachineRequest(
        name=inputs.get("name") or name,
        type=inputs["serverType"],
        location=inputs["location"],
        image=str(inputs["image"]),
        labels=inputs.get("labels") or {},
        ssh_keys=tuple(inputs.get("sshKeys") or ()),
        user_data=inputs.get("userData"),
        networks=tuple(_digits(network["networkId"]) for network in inputs.get("networks") or ()),
        firewalls=tuple(_digits(firewall) for firewall in inputs.get("firewallIds") or ()),
        placement_group=None if placement_group is None else _digits(placement_group),
        public_ipv4=public.get("ipv4Enabled", True),
        public_ipv6=public.get("ipv6Enabled", True),
    )


def _digits(number: object) -> str:
    """Numbers cross gRPC as floats."""
    return f"{number:.0f}" if isinstance(number, float) else str(number)


def _outputs(inputs: Properties, machine: Machine) -> Properties:
    given = {key: value for key, value in inputs.items() if key != "__defaults"}
    return {**_OFFICIAL_DEFAULTS, **given, **_observed(machine), "location": machine.location, "name": machine.name}


def _observed(machine: Machine) -> Properties:
    details = machine.details
    return {
        "status": machine.vendor_status,
        "labels": dict(machine.labels),
        "ipv4Address": machine.ipv4 or "",
        "ipv6Address": machine.ipv6 or "",
        "ipv6Network": details.get("ipv6_network") or "",
        "primaryDiskSize": details.get("primary_disk_size") or 0,
        "backupWindow": details.get("backup_window") or "",
    }


SERVER = ResourceType(
    package="hcloud",
    type="hcloud:index/server:Server",
    labels_property="labels",
    replace_on=frozenset({"image", "location", "userData", "sshKeys"}),
    defaults={},
    request=_request,
    outputs=_outputs,
    observed=_observed,
    labels=lambda inputs: dict(inputs.get("labels") or {}),
)
