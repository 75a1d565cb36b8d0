"""The recorded properties, and how to give a server of scaler's the official plugin's.

The files in `recorded/` are one server each, as pulumi-resource-hcloud (terraform-provider-hcloud
1.68.0) and pulumi-resource-digitalocean left it after a refresh, and as scaler's plugin has it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from scaler.simulator.profiles import CloudName

Properties = dict[str, Any]

SETS: list[tuple[CloudName, str]] = [
    ("hetzner", "plain"),
    ("hetzner", "full"),
    ("hetzner", "nov4"),
    ("hetzner", "nov6"),
    ("digitalocean", "plain"),
    ("digitalocean", "full"),
]
"""Cloud and name of each recorded set. `full`: user data, key, label, and network, firewall and placement group, or
VPC, monitoring and IPv6. `nov4`: the same without public IPv4."""

USER_DATA = "#cloud-config\n"

DECLARED: Mapping[CloudName, tuple[str, ...]] = {
    "hetzner": (
        "name",
        "serverType",
        "location",
        "image",
        "labels",
        "sshKeys",
        "userData",
        "networks",
        "firewallIds",
        "placementGroupId",
        "publicNets",
    ),
    "digitalocean": ("name", "size", "region", "image", "tags", "sshKeys", "userData", "vpcUuid", "monitoring", "ipv6"),
}
"""The inputs that scaler's program declares, of both plugins."""


def recorded(cloud: CloudName, name: str, plugin: Literal["official", "scaler"]) -> Properties:
    """Return the outputs of a server as this plugin keeps them."""
    path = Path(__file__).parent / "recorded" / f"{cloud}-{name}-{plugin}.json"
    outputs: Properties = json.loads(path.read_text(encoding="utf-8"))
    if outputs.get("userData") == "HASH":
        outputs["userData"] = hashed(cloud, USER_DATA)
    return outputs


def hashed(cloud: CloudName, user_data: str) -> str:
    """Return what the official plugin keeps of user data."""
    digest = hashlib.sha1(user_data.encode(), usedforsecurity=False)
    return base64.b64encode(digest.digest()).decode() if cloud == "hetzner" else digest.hexdigest()


def declared(cloud: CloudName, name: str) -> Properties:
    """Return what the program declares for a server of a set."""
    ours = recorded(cloud, name, "scaler")
    return {key: ours[key] for key in DECLARED[cloud] if ours.get(key) not in (None, [])}


def refreshed(inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Properties:
    """Return the inputs after a refresh by the official plugin: those that there were, with the outputs' values."""
    return {key: outputs.get(key, value) for key, value in inputs.items()}


def officially(cloud: CloudName, id: str, inputs: Mapping[str, Any], ours: Mapping[str, Any]) -> Properties:
    """Return what the official plugin would keep of a server of which scaler's plugin keeps `ours`."""
    template = recorded(cloud, "full" if inputs.get("userData") else "plain", "official")
    outputs = {**template, **ours, "id": id, "userData": None, "sshKeys": inputs.get("sshKeys")}
    if inputs.get("userData"):
        outputs["userData"] = hashed(cloud, inputs["userData"])
    if cloud == "digitalocean":
        return outputs
    outputs["placementGroupId"] = inputs.get("placementGroupId") or 0
    outputs["publicNets"] = [{**net, "ipv4": 0, "ipv6": 0} for net in inputs.get("publicNets") or ()]
    outputs["networks"] = [
        {**network, "ip": f"10.0.0.{number}", "macAddress": f"86:00:00:00:00:{number:02}", "subnetId": ""}
        for number, network in enumerate(inputs.get("networks") or (), 2)
    ]
    return outputs
