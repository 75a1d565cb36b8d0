"""What the Pulumi program declares: the planned servers, by the official resource types.

The engine runs it inside a scaler run; `scaler.program` runs the same declarations by hand. The
caller decides which servers to declare and which outputs to export.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pulumi

from scaler.engine.checkpoint import SERVER_GROUP
from scaler.engine.plugin import generic
from scaler.model import Declared, MachineRequest
from scaler.model.ownership import encode_tags


class ServerGroup(pulumi.ComponentResource):
    """The servers of one group, so that `pulumi stack` shows them together."""

    def __init__(self, name: str) -> None:
        super().__init__(SERVER_GROUP, name)


_FIXED = {
    "hetzner": [
        "name",
        "image",
        "userData",
        "sshKeys",
        "serverType",
        "location",
        "networks",
        "firewallIds",
        "placementGroupId",
        "publicNets",
    ],
    "digitalocean": ["name", "image", "userData", "sshKeys", "size", "region", "vpcUuid", "monitoring", "ipv6"],
}
"""Inputs of an existing server that never change, whatever the spec says now: a replacement is a new server
under a new name, confirmed before the old one is deleted, and never the engine's own replace."""

_LABELS = {"hetzner": "labels", "digitalocean": "tags"}


def declare(cloud: str, servers: Iterable[Declared], outputs: Mapping[str, Any], *, keep_labels: bool = False) -> None:
    """Register the servers under their groups, and export the outputs as plain values.

    `keep_labels`: existing servers keep their labels too, whatever is declared.
    """
    fixed = list(_FIXED.get(cloud, generic.FIXED))
    if keep_labels:
        fixed.append(_LABELS.get(cloud, "labels"))
    groups: dict[str, ServerGroup] = {}
    for server in servers:
        # A component needs a name, also where nobody knows a server's group any more.
        group = server.group or "unknown"
        if group not in groups:
            groups[group] = ServerGroup(group)
        options = pulumi.ResourceOptions(parent=groups[group], ignore_changes=fixed if server.exists else None)
        if cloud in _DECLARE:
            _DECLARE[cloud](server.name, server.request, options)
        else:
            inputs = {**generic.inputs_of(server.request), "userData": _secret(server.request.user_data)}
            pulumi.CustomResource(generic.server_of(cloud).type, server.name, inputs, options)
    for name, value in outputs.items():
        pulumi.export(name, value)


def _secret(text: str | None) -> pulumi.Output[str] | None:
    """Return a value that the engine encrypts wherever it saves it, and never shows."""
    return None if text is None else pulumi.Output.secret(text)


def _declare_hetzner(name: str, request: MachineRequest, options: pulumi.ResourceOptions) -> None:
    import pulumi_hcloud as hcloud

    both = request.public_ipv4 and request.public_ipv6
    hcloud.Server(
        name,
        name=request.name,
        server_type=request.type,
        location=request.location,
        image=request.image,
        labels=dict(request.labels),
        ssh_keys=list(request.ssh_keys) or None,
        user_data=_secret(request.user_data),
        networks=[hcloud.ServerNetworkArgs(network_id=int(network), alias_ips=[]) for network in request.networks]
        or None,
        firewall_ids=[int(firewall) for firewall in request.firewalls] or None,
        placement_group_id=int(request.placement_group) if request.placement_group else None,
        public_nets=None
        if both
        else [hcloud.ServerPublicNetArgs(ipv4_enabled=request.public_ipv4, ipv6_enabled=request.public_ipv6)],
        opts=options,
    )


def _declare_digitalocean(name: str, request: MachineRequest, options: pulumi.ResourceOptions) -> None:
    import pulumi_digitalocean as digitalocean

    digitalocean.Droplet(
        name,
        name=request.name,
        size=request.type,
        region=request.location,
        image=request.image,
        tags=sorted(encode_tags(request.labels)),
        ssh_keys=list(request.ssh_keys) or None,
        user_data=_secret(request.user_data),
        vpc_uuid=request.vpc,
        monitoring=request.monitoring,
        ipv6=request.ipv6,
        opts=options,
    )


_DECLARE = {"hetzner": _declare_hetzner, "digitalocean": _declare_digitalocean}


def preload(cloud: str) -> None:
    """Import the cloud's resource types now: the import takes time, and the caller waits for something else anyway."""
    package = {"hetzner": "pulumi_hcloud", "digitalocean": "pulumi_digitalocean"}.get(cloud)
    if package:
        __import__(package)
