"""What the names in a spec mean at the cloud: looked up once, before anything is created."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from scaler.clouds import Catalogue, Cloud, InvalidError, Offer, Reference
from scaler.model import Group, Spec, Step
from scaler.suggest import nearest
from scaler.template import Parts, Templates


def find_parts(spec: Spec, creates: Iterable[Step], cloud: Cloud, catalogue: Catalogue, found: Templates) -> Templates:
    """The parts for every placement of these create steps, beyond those already found.

    Raises InvalidError for a type, location, image, key or network that does not exist.
    """
    parts = dict(found.parts)
    for step in creates:
        key = (step.group, step.type or "", step.location or "")
        if key not in parts:
            offer = _offer(catalogue, key[1], key[2])
            parts[key] = _parts(spec.groups[step.group], cloud, offer)
    return Templates(parts=parts)


def _parts(group: Group, cloud: Cloud, offer: Offer) -> Parts:
    image = cloud.find_image(group.image, offer.architecture, offer.location)
    if image.disk > offer.disk:
        raise InvalidError(
            f"The image {group.image} needs a disk of {image.disk} GB; {offer.type} has {offer.disk} GB.",
            why=f"image {image.id}, groups.{group.name}.type {offer.type}",
            fix="Use a type with a larger disk, or a snapshot made from a smaller one.",
        )

    def ids(kind: Reference, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(cloud.reference(kind, name) for name in names)

    return Parts(
        image=image.id,
        ssh_keys=ids("ssh_key", group.ssh_keys),
        networks=ids("network", group.networks),
        firewalls=ids("firewall", group.firewalls),
        placement_group=_optional(cloud.reference, "placement_group", group.placement_group),
        vpc=_optional(cloud.reference, "vpc", group.vpc),
    )


def _optional(reference: Callable[[Reference, str], str], kind: Reference, name: str | None) -> str | None:
    return None if name is None else reference(kind, name)


def _offer(catalogue: Catalogue, type: str, location: str) -> Offer:
    if type not in catalogue.types:
        raise InvalidError(f"There is no server type {type}.", fix=nearest(type, sorted(catalogue.types)))
    if location not in catalogue.locations:
        raise InvalidError(f"There is no location {location}.", fix=nearest(location, sorted(catalogue.locations)))
    offer = catalogue.offer(type, location)
    if offer is None:
        places = sorted(offer.location for offer in catalogue.offers if offer.type == type)
        raise InvalidError(f"{type} is not sold in {location}.", fix=f"It is sold in {', '.join(places)}.")
    return offer
