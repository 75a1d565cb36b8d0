"""A server's inputs under the names of the official resource types: what a program declares for it."""

from __future__ import annotations

from collections.abc import Callable

from scaler.engine.plugin import generic, resource_type
from scaler.engine.plugin.resource import Properties
from scaler.model import MachineRequest
from scaler.model.ownership import encode_tags
from scaler.support.values import dataclass


@dataclass(frozen=True)
class ServerInputs:
    """How servers of one cloud are declared."""

    type: str
    """The token of the resource type."""
    package: str | None
    """The Python package with the typed classes, whose version the engine asks a plugin for; None without one."""
    labels: str
    """The only input of an existing server that changes."""
    fixed: tuple[str, ...]
    """Inputs of an existing server that never change, whatever the spec says now: a replacement is a new server
    under a new name, confirmed before the old one is deleted, and never the engine's own replace."""
    of: Callable[[MachineRequest], Properties]
    """Request → inputs. What is None is not declared; `userData` is a secret."""


def server_inputs(cloud: str) -> ServerInputs:
    """Return how servers of a cloud are declared; one that has no official plugin gets the generic type."""
    return _CLOUDS.get(cloud) or ServerInputs(
        type=generic.server_of(cloud).type,
        package=None,
        labels="labels",
        fixed=tuple(generic.FIXED),
        of=generic.inputs_of,
    )


def _hetzner(request: MachineRequest) -> Properties:
    both = request.public_ipv4 and request.public_ipv6
    networks = [{"networkId": int(network), "aliasIps": []} for network in request.networks]
    public = [{"ipv4Enabled": request.public_ipv4, "ipv6Enabled": request.public_ipv6}]
    return {
        "name": request.name,
        "serverType": request.type,
        "location": request.location,
        "image": request.image,
        "labels": dict(request.labels),
        "sshKeys": list(request.ssh_keys) or None,
        "userData": request.user_data,
        "networks": networks or None,
        "firewallIds": [int(firewall) for firewall in request.firewalls] or None,
        "placementGroupId": int(request.placement_group) if request.placement_group else None,
        "publicNets": None if both else public,
    }


def _digitalocean(request: MachineRequest) -> Properties:
    return {
        "name": request.name,
        "size": request.type,
        "region": request.location,
        "image": request.image,
        "tags": sorted(encode_tags(request.labels)),
        "sshKeys": list(request.ssh_keys) or None,
        "userData": request.user_data,
        "vpcUuid": request.vpc,
        "monitoring": request.monitoring,
        "ipv6": request.ipv6,
    }


def _fixed(of: Callable[[MachineRequest], Properties], labels: str) -> tuple[str, ...]:
    return tuple(name for name in of(MachineRequest(name="", type="", location="", image="")) if name != labels)


_NEVER_DECLARED = {
    "hetzner": (
        "allowDeprecatedImages",
        "backups",
        "datacenter",
        "deleteProtection",
        "ignoreRemoteFirewallIds",
        "iso",
        "keepDisk",
        "rebuildProtection",
        "rescue",
        "shutdownBeforeDeletion",
    ),
    "digitalocean": (
        "backupPolicy",
        "backups",
        "dropletAgent",
        "gpuPartitionMode",
        "gracefulShutdown",
        "privateNetworking",
        "publicNetworking",
        "volumeIds",
    ),
}
"""Inputs that scaler does not know: the official plugin would switch off what was switched on in the console."""

_CLOUDS = {
    "hetzner": ServerInputs(
        type=resource_type("hetzner").type,
        package="pulumi_hcloud",
        labels="labels",
        fixed=_fixed(_hetzner, "labels") + _NEVER_DECLARED["hetzner"],
        of=_hetzner,
    ),
    "digitalocean": ServerInputs(
        type=resource_type("digitalocean").type,
        package="pulumi_digitalocean",
        labels="tags",
        fixed=_fixed(_digitalocean, "tags") + _NEVER_DECLARED["digitalocean"],
        of=_digitalocean,
    ),
}
