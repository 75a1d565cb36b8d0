"""Names in a spec are looked up before anything is created."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from scaler.clouds import Image, InvalidError, Reference, Room, UnfitError
from scaler.converge.references import Found, find_references, missing_names
from scaler.model import Action, ImageRef, MachineRequest, Spec, Step
from scaler.planning.template import References, Templates
from tests.support.fakes import START, FakeClock, FakeCloud, group, spec


class Shop(FakeCloud):
    """A cloud that remembers what it was asked, and whose image is of a given size."""

    def __init__(self, disk: int = 20) -> None:
        super().__init__(FakeClock())
        self.disk = disk
        self.asked: list[tuple[str, str]] = []

    def find_image(self, image: ImageRef, architecture: str, location: str) -> Image:
        self.asked.append(("image", location))
        return replace(super().find_image(image, architecture, location), disk=self.disk)

    def reference(self, kind: Reference, name: str) -> str:
        self.asked.append((kind, name))
        return f"{kind}:{name}"


def create(type: str = "cx23", location: str = "fsn1", number: int = 1) -> Step:
    name = f"prod-worker-{number}"
    return Step(action=Action.CREATE, server=name, group="worker", reason="", type=type, location=location)


def look(cloud: FakeCloud, *steps: Step, made_for: Spec | None = None, before: Templates | None = None) -> Found:
    return find_references(made_for or spec(), steps, cloud, cloud.catalogue(), before or Templates(), START)


def found(cloud: FakeCloud, *steps: Step, made_for: Spec | None = None, before: Templates | None = None) -> Templates:
    looked = look(cloud, *steps, made_for=made_for, before=before)
    assert not looked.unfit
    return looked.templates


def why_unfit(cloud: FakeCloud, step: Step) -> InvalidError:
    """Why the only placement that is looked at cannot be used."""
    looked = look(cloud, step)
    assert looked.templates == Templates()
    (error,) = looked.unfit.values()
    return error


class Empty(Shop):
    """A cloud that has images and types, and nothing else."""

    def reference(self, kind: Reference, name: str) -> str:
        raise UnfitError(f"There is no {kind} {name}.", fix=f"Make {name}.")


def test_all_names_that_are_missing_are_said_at_once() -> None:
    named = group(ssh_keys=("me", "you"), networks=("lan",), firewalls=("wall",), placement_group="apart", vpc="net")
    names = ("me", "you", "lan", "wall", "apart", "net")
    assert [error.fix for error in missing_names(named, Empty())] == [f"Make {name}." for name in names]
    with pytest.raises(UnfitError, match="names 6 things that are not there") as caught:
        look(Empty(), create(), made_for=spec(named))
    assert caught.value.fix.splitlines() == [f"Make {name}." for name in names]
    with pytest.raises(UnfitError, match="There is no vpc net"):
        look(Empty(), create(), made_for=spec(group(vpc="net")))


def test_every_name_becomes_an_id() -> None:
    named = spec(
        group(ssh_keys=("deploy",), networks=("lan",), firewalls=("wall",), placement_group="apart", vpc="net")
    )
    assert replace(found(Shop(), create(), made_for=named).of(create()), rooms=()) == References(
        image="100",
        ssh_keys=("ssh_key:deploy",),
        networks=("network:lan",),
        firewalls=("firewall:wall",),
        placement_group="placement_group:apart",
        vpc="vpc:net",
    )


def test_what_is_named_twice_is_given_once() -> None:
    class ByAnyWord(Shop):
        """Its network 7 goes by its name too."""

        def reference(self, kind: Reference, name: str) -> str:
            return {"lan": "7"}.get(name, name)

    named = spec(group(networks=("lan", "7", "8")))
    assert found(ByAnyWord(), create(), made_for=named).of(create()).networks == ("7", "8")


def test_one_look_up_per_placement_and_none_for_those_already_known() -> None:
    cloud = Shop()
    templates = found(cloud, *(create(number=number) for number in range(1, 6)))
    assert cloud.asked == [("image", "fsn1")]
    found(cloud, create(), create(location="nbg1"), before=templates)
    assert cloud.asked == [("image", "fsn1"), ("image", "nbg1")]


@pytest.mark.acceptance("Q14")
@pytest.mark.parametrize(
    ("step", "message", "fix"),
    [
        (create(type="cx32"), "no server type cx32", "cx23"),
        (create(location="fsn2"), "no location fsn2", "fsn1"),
    ],
)
def test_an_unknown_name_is_an_error_that_suggests_the_nearest(step: Step, message: str, fix: str) -> None:
    error = why_unfit(Shop(), step)
    assert message in error.what
    assert fix in error.fix


def test_a_type_that_is_not_sold_there_says_where_it_is() -> None:
    cloud = Shop()
    cloud.unsold = {("cx23", "nbg1")}
    error = why_unfit(cloud, create(location="nbg1"))
    assert (error.what, error.fix) == ("cx23 is not sold in nbg1.", "It is sold in fsn1.")


def test_an_image_larger_than_the_disk_is_told_with_both_sizes() -> None:
    found(Shop(disk=40), create())
    error = why_unfit(Shop(disk=41), create())
    assert "needs a disk of 41 GB; cx23 has 40 GB" in error.what


@pytest.mark.parametrize(("days", "sold"), [(-1, False), (0, False), (1, True)])
def test_a_type_past_its_end_is_not_ordered(days: int, sold: bool) -> None:
    cloud = Shop()
    catalogue = cloud.catalogue()
    ending = [replace(offer, deprecated_after=START + timedelta(days=days)) for offer in catalogue.offers]
    looked = find_references(spec(), [create()], cloud, replace(catalogue, offers=tuple(ending)), Templates(), START)
    assert bool(looked.templates.by_placement) is sold
    assert [error.what for error in looked.unfit.values()] == ["cx23 cannot be ordered in fsn1 any more."] * (not sold)


def test_what_the_catalogue_has_none_of_is_no_fault_of_the_spec() -> None:
    cloud = Shop()
    cloud.shown_full = {("cx23", "fsn1")}
    looked = look(cloud, create(), create(location="nbg1", number=2))
    assert list(looked.unavailable) == [("cx23", "fsn1")]
    assert list(looked.templates.by_placement) == [("worker", "cx23", "nbg1")]
    assert looked.unfit == {}


def test_a_key_that_does_not_exist_is_an_error_at_every_placement() -> None:
    class Keyless(Shop):
        def reference(self, kind: Reference, name: str) -> str:
            raise InvalidError(f"there is no {kind} {name}")

    with pytest.raises(InvalidError, match="no ssh_key deploy"):
        look(Keyless(), create(), made_for=spec(group(ssh_keys=("deploy",))))


def test_a_network_that_a_location_cannot_use_is_found_before_anything_is_created() -> None:
    """V3: the create alone was refused; and other locations are tried."""

    room = Room(kind="network", id="network:lan", name="lan", most=3, members=frozenset(), why="it is small")

    class Zoned(Shop):
        def check_request(self, request: MachineRequest) -> Sequence[Room]:
            self.asked.append(("check", f"{request.networks[0]} {request.vpc} {request.location}"))
            if request.location == "fsn1":
                raise InvalidError("no subnet there")
            return [room]

    cloud, inner = Zoned(), spec(group(networks=("lan",), vpc="net"))
    looked = look(cloud, create(), create(location="nbg1", number=2), made_for=inner)
    assert list(looked.templates.by_placement) == [("worker", "cx23", "nbg1")]
    ((group_name, place), error) = next(iter(looked.unfit.items()))
    assert (group_name, place, error.what) == ("worker", ("cx23", "fsn1"), "no subnet there")
    assert looked.templates.by_placement["worker", "cx23", "nbg1"].rooms == (room,)
    assert cloud.asked.count(("check", "network:lan vpc:net nbg1")) == 1
