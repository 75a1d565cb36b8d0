"""What a group's servers are created from, and in what an existing one differs. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from scaler.model import Group, Machine, MachineRequest, Server, Spec, Step
from scaler.model.ownership import GROUP, TEMPLATE, Owner


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """The cloud's ids for the names in a group's spec, looked up before anything is created."""

    image: str
    ssh_keys: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    firewalls: tuple[str, ...] = ()
    placement_group: str | None = None
    vpc: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates:
    """The references of every group, by placement: an image's id can differ by it."""

    by_placement: Mapping[tuple[str, str, str], References] = field(default_factory=dict)
    """(group, type, location) → references."""

    def of(self, step: Step) -> References:
        """Return the references for a create step."""
        return self.by_placement[step.group, step.type or "", step.location or ""]


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


def outdated(group: Group, machine: Machine, images: Collection[str] = ()) -> str | None:
    """Return in what a machine differs from a new one of its group; None if no difference can be seen.

    `images` are the id and the name of the image of a new server, if known.
    """
    differences = []
    if machine.labels.get(TEMPLATE) not in (None, fingerprint(group)):
        differences.append("other user data or keys")
    if machine.type not in group.types:
        differences.append(f"type {machine.type}, not {' or '.join(group.types)}")
    if machine.location not in group.locations:
        differences.append(f"in {machine.location}, not {' or '.join(group.locations)}")
    if images and machine.image is not None and machine.image not in images:
        differences.append(f"image {machine.image}, not {min(images)}")
    return "; ".join(differences) or None


def new_server(spec: Spec, step: Step, references: References, owner: Owner) -> MachineRequest:
    """Return the request for a create step."""
    group = spec.groups[step.group]
    assert step.type is not None  # noqa: S101 - every create step has a placement
    assert step.location is not None  # noqa: S101
    return MachineRequest(
        name=step.server,
        type=step.type,
        location=step.location,
        image=references.image,
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
