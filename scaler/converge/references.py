"""What the names in a spec mean at the cloud: looked up once, before anything is created."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from scaler.clouds import Catalogue, Cloud, Image, InvalidError, NoCapacityError, Offer, Reference, Room, UnfitError
from scaler.model import Group, MachineRequest, Placement, Spec, Step
from scaler.planning.template import Current, References, Templates, new_server
from scaler.support.suggestions import nearest
from scaler.support.values import dataclass


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the placements of a plan's new servers turned out to be."""

    templates: Templates
    unfit: Mapping[tuple[str, Placement], InvalidError]
    """By group: it is not sold there, or the image or a network does not fit; it will stay so."""
    unavailable: Mapping[Placement, NoCapacityError]
    """Sold, but not to be had now by the cloud's own catalogue."""


def find_references(
    spec: Spec, creates: Iterable[Step], cloud: Cloud, catalogue: Catalogue, found: Templates, now: datetime
) -> Found:
    """Return the references for every placement of these create steps, beyond those already found.

    Raises InvalidError for a key, network or other thing that does not exist, wherever the server is.
    """
    references = dict(found.by_placement)
    unfit: dict[tuple[str, Placement], InvalidError] = {}
    unavailable: dict[Placement, NoCapacityError] = {}
    for (group, kind, location), step in {(s.group, s.type or "", s.location or ""): s for s in creates}.items():
        if (group, kind, location) in references:
            continue
        try:
            offer = _offer(catalogue, kind, location, now)
            image = _fitting_image(spec.groups[group], cloud, offer)
        except InvalidError as error:
            unfit[group, (kind, location)] = error
            continue
        if not offer.available:
            unavailable[kind, location] = NoCapacityError(
                f"{kind} is not to be had in {location} now.",
                why="the cloud's catalogue says so",
                fix="Name other types or locations in the spec.",
            )
            continue
        looked_up = _references(spec.groups[group], cloud, image)
        try:
            rooms = _check_request(new_server(spec, step, looked_up, spec.owner), cloud)
        except InvalidError as error:
            unfit[group, (kind, location)] = error
        else:
            references[group, kind, location] = replace(looked_up, rooms=rooms)
    return Found(templates=Templates(by_placement=references), unfit=unfit, unavailable=unavailable)


def current_image(group: Group, cloud: Cloud, catalogue: Catalogue) -> Image:
    """Return the image that a new server of a group would be made from; InvalidError if there is none."""
    known = [offer for kind in group.types for place in group.locations if (offer := catalogue.offer(kind, place))]
    if not known:
        raise UnfitError(
            f"No type of {group.name} is sold in its locations.", fix="Name other types or locations in the spec."
        )
    return cloud.find_image(group.image, known[0].architecture, known[0].location)


def current_template(group: Group, cloud: Cloud, catalogue: Catalogue) -> Current:
    """Return what a new server of a group would have; InvalidError if the cloud lacks some of it."""

    def ids(kind: Reference, names: Iterable[str]) -> dict[str, str]:
        return {cloud.reference(kind, name): name for name in names}

    image = current_image(group, cloud, catalogue)
    return Current(
        images=frozenset({image.id, image.name}),
        networks=ids("network", group.networks),
        firewalls=ids("firewall", group.firewalls),
        vpcs=ids("vpc", [group.vpc] if group.vpc is not None else []),
    )


def _fitting_image(group: Group, cloud: Cloud, offer: Offer) -> Image:
    image = cloud.find_image(group.image, offer.architecture, offer.location)
    if image.disk > offer.disk:
        raise UnfitError(
            f"The image {group.image} needs a disk of {image.disk} GB; {offer.type} has {offer.disk} GB.",
            why=f"image {image.id}, groups.{group.name}.type {offer.type}",
            fix="Use a type with a larger disk, or a snapshot made from a smaller one.",
        )
    return image


def missing_names(group: Group, cloud: Cloud) -> list[InvalidError]:
    """Return an error for each key, network and other thing that a group names and the cloud does not have."""
    missing = []
    for kind, name in _named(group):
        try:
            cloud.reference(kind, name)
        except InvalidError as error:
            missing.append(error)
    return missing


def _named(group: Group) -> Iterator[tuple[Reference, str]]:
    yield from (("ssh_key", name) for name in group.ssh_keys)
    yield from (("network", name) for name in group.networks)
    yield from (("firewall", name) for name in group.firewalls)
    if group.placement_group is not None:
        yield "placement_group", group.placement_group
    if group.vpc is not None:
        yield "vpc", group.vpc


def _references(group: Group, cloud: Cloud, image: Image) -> References:
    try:
        return _all_references(group, cloud, image)
    except InvalidError:
        missing = missing_names(group, cloud)
        # One of them may be there by now.
        if len(missing) < 2:
            raise
        # All that is wrong at once: who corrects one name needs no run to hear of the next.
        raise type(missing[0])(
            f"{group.name} names {len(missing)} things that are not there.",
            why="\n".join(map(str, missing)),
            fix="\n".join(dict.fromkeys(error.fix for error in missing if error.fix)),
        ) from None


def _all_references(group: Group, cloud: Cloud, image: Image) -> References:
    def ids(kind: Reference, names: Iterable[str]) -> tuple[str, ...]:
        # By its name and by its id, a thing is named once: the cloud refuses a network that it is given twice.
        return tuple(dict.fromkeys(cloud.reference(kind, name) for name in names))

    return References(
        image=image.id,
        ssh_keys=ids("ssh_key", group.ssh_keys),
        networks=ids("network", group.networks),
        firewalls=ids("firewall", group.firewalls),
        placement_group=_optional(cloud.reference, "placement_group", group.placement_group),
        vpc=_optional(cloud.reference, "vpc", group.vpc),
    )


def _check_request(request: MachineRequest, cloud: Cloud) -> tuple[Room, ...]:
    """Ask a cloud that can say it what it would refuse of a request; return what has room for some servers only."""
    check: Callable[[MachineRequest], Sequence[Room]] | None = getattr(cloud, "check_request", None)
    return tuple(check(request)) if check else ()


def _optional(reference: Callable[[Reference, str], str], kind: Reference, name: str | None) -> str | None:
    return None if name is None else reference(kind, name)


def _offer(catalogue: Catalogue, type: str, location: str, now: datetime) -> Offer:
    if type not in catalogue.types:
        raise UnfitError(f"There is no server type {type}.", fix=nearest(type, sorted(catalogue.types)))
    if location not in catalogue.locations:
        raise UnfitError(f"There is no location {location}.", fix=nearest(location, sorted(catalogue.locations)))
    offer = catalogue.offer(type, location)
    if offer is None:
        places = sorted(offer.location for offer in catalogue.offers if offer.type == type)
        raise UnfitError(f"{type} is not sold in {location}.", fix=f"It is sold in {', '.join(places)}.")
    if offer.deprecated_after and offer.deprecated_after <= now:
        raise UnfitError(
            f"{type} cannot be ordered in {location} any more.",
            why=f"the cloud sold it until {offer.deprecated_after:%Y-%m-%d}",
            fix="Name a newer type.",
        )
    return offer
