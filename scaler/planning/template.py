"""What a group's servers are created from, and in what an existing one differs. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from scaler.clouds import Room
from scaler.model import Group, Machine, MachineRequest, Server, Spec, Step
from scaler.model.ownership import GROUP, TEMPLATE, Owner
from scaler.support.durations import format_duration
from scaler.support.values import dataclass


@dataclass(frozen=True, kw_only=True)
class References:
    """The cloud's ids for the names in a group's spec, looked up before anything is created."""

    image: str
    ssh_keys: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    firewalls: tuple[str, ...] = ()
    placement_group: str | None = None
    vpc: str | None = None
    rooms: tuple[Room, ...] = ()
    """What of these has room for some servers only."""


@dataclass(frozen=True, kw_only=True)
class Templates:
    """The references of every group, by placement: an image's id can differ by it."""

    by_placement: Mapping[tuple[str, str, str], References] = field(default_factory=dict)
    """(group, type, location) → references."""

    def of(self, step: Step) -> References:
        """Return the references for a create step."""
        return self.by_placement[step.group, step.type or "", step.location or ""]


@dataclass(frozen=True, kw_only=True)
class Current:
    """What a new server of a group would have now: what the names in the spec mean at the cloud."""

    images: frozenset[str] = frozenset()
    """Id and name of its image; empty: unknown."""
    networks: Mapping[str, str] = field(default_factory=dict)
    """Id → name in the spec, as for the next two."""
    firewalls: Mapping[str, str] = field(default_factory=dict)
    vpcs: Mapping[str, str] = field(default_factory=dict)
    """The VPC; empty: the spec names none."""


def fingerprint(group: Group) -> str:
    """Return a short hash of what cannot be read back from a server: its user data and keys."""
    made_of = json.dumps([group.user_data, sorted(group.ssh_keys)])
    return hashlib.sha256(made_of.encode()).hexdigest()[:8]


def labels_of(spec: Spec, machine: Machine, group: str, owner: Owner) -> dict[str, str]:
    """Return the labels that an existing machine of a group should carry.

    It keeps its template label, and those that people and other tools gave it: the spec and scaler
    decide only about labels of their own.
    """
    wanted = spec.groups[group].labels if group in spec.groups else {}
    return {**owner.claim(machine.labels), **wanted, **owner.labels, GROUP: group}


def outdated(group: Group, machine: Machine, current: Current, now: datetime) -> str | None:
    """Return in what a machine differs from a new one of its group; None if no difference can be seen.

    A network or a firewall that it has beside those of the spec is no difference: others attach them too.
    """
    differences = []
    if machine.labels.get(TEMPLATE) not in (None, fingerprint(group)):
        differences.append("other user data or keys")
    if machine.type not in group.types:
        differences.append(f"type {machine.type}, not {' or '.join(group.types)}")
    if machine.location not in group.locations:
        differences.append(f"in {machine.location}, not {' or '.join(group.locations)}")
    if current.images and machine.image is not None and machine.image not in current.images:
        differences.append(f"image {machine.image}, not {min(current.images)}")
    differences += _unattached(machine, current)
    if group.lifetime is not None and now - machine.created > group.lifetime:
        differences.append(f"older than {format_duration(group.lifetime)}")
    return "; ".join(differences) or None


def lacking(machine: Machine, references: References) -> str | None:
    """Return what a new machine should have had from its create request on and has not; None if nothing is seen."""

    def of_ids(*ids: str) -> dict[str, str]:
        return dict(zip(ids, ids, strict=True))

    vpcs = of_ids(references.vpc) if references.vpc else {}
    asked = Current(networks=of_ids(*references.networks), firewalls=of_ids(*references.firewalls), vpcs=vpcs)
    return "; ".join(_unattached(machine, asked)) or None


def _unattached(machine: Machine, current: Current) -> list[str]:
    """Return which networks and firewalls of the spec a machine lacks; nothing where its cloud tells none of them."""
    details = machine.details
    kinds: tuple[tuple[str, Mapping[str, str], object], ...] = (
        ("network", current.networks, _network_ids(details.get("private_net"))),
        ("firewall", current.firewalls, details.get("firewall_ids")),
        ("VPC", current.vpcs, [details["vpc_uuid"]] if details.get("vpc_uuid") else None),
    )
    return [
        f"not in the VPC {name}" if kind == "VPC" else f"without the {kind} {name}"
        for kind, wanted, attached in kinds
        if isinstance(attached, list)
        for known, name in wanted.items()
        if known not in map(str, attached)
    ]


def _network_ids(rows: object) -> list[object] | None:
    return [row["network"] for row in rows] if isinstance(rows, list) else None


def new_server(spec: Spec, step: Step, references: References, owner: Owner) -> MachineRequest:
    """Return the request for a create step."""
    group = spec.groups[step.group]
    assert step.type is not None  # noqa: S101 - every create step has a placement
    assert step.location is not None  # noqa: S101
    return MachineRequest(
        name=step.server,
        type=step.type,
        location=step.location,
        image=step.image or references.image,
        labels={**group.labels, **owner.group_labels(group.name, fingerprint(group))},
        ssh_keys=references.ssh_keys,
        user_data=group.user_data,
        networks=references.networks,
        firewalls=references.firewalls,
        placement_group=references.placement_group,
        public_ipv4=group.public_ipv4,
        public_ipv6=group.public_ipv6,
        vpc=references.vpc,
        monitoring=group.monitoring,
        ipv6=group.ipv6,
    )


def existing_server(spec: Spec, machine: Machine, group_name: str, owner: Owner) -> MachineRequest:
    """Return the inputs to declare for an existing machine: its own facts, and the labels that it should have."""
    group = spec.groups.get(group_name)
    return MachineRequest(
        name=machine.name,
        type=machine.type,
        location=machine.location,
        image=machine.image or "unknown",
        labels=labels_of(spec, machine, group_name, owner),
        ssh_keys=group.ssh_keys if group else (),
        user_data=group.user_data if group else None,
        monitoring=group.monitoring if group else False,
        ipv6=group.ipv6 if group else False,
    )


def recorded_server(spec: Spec, server: Server, owner: Owner) -> MachineRequest:
    """Return the inputs to declare for a server of the state file, when the cloud cannot be asked."""
    group = spec.groups.get(server.group)
    template = {TEMPLATE: fingerprint(group)} if group else {}
    return MachineRequest(
        name=server.name,
        type=server.type or "unknown",
        location=server.location or "unknown",
        image=server.image or "unknown",
        labels={**(group.labels if group else {}), **owner.labels, GROUP: server.group, **template},
        ssh_keys=group.ssh_keys if group else (),
        user_data=group.user_data if group else None,
        monitoring=group.monitoring if group else False,
        ipv6=group.ipv6 if group else False,
    )
