"""Names in a spec are looked up before anything is created."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes import FakeClock, FakeCloud, group, spec

from scaler.clouds import Catalogue, Image, InvalidError, Reference
from scaler.model import Action, ImageRef, Spec, Step
from scaler.parts import find_parts
from scaler.template import Parts, Templates


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


def found(cloud: FakeCloud, *steps: Step, made_for: Spec | None = None, before: Templates | None = None) -> Templates:
    return find_parts(made_for or spec(), steps, cloud, cloud.catalogue(), before or Templates())


def test_every_name_becomes_an_id() -> None:
    named = spec(
        group(ssh_keys=("deploy",), networks=("lan",), firewalls=("wall",), placement_group="apart", vpc="net")
    )
    assert found(Shop(), create(), made_for=named).of(create()) == Parts(
        image="100",
        ssh_keys=("ssh_key:deploy",),
        networks=("network:lan",),
        firewalls=("firewall:wall",),
        placement_group="placement_group:apart",
        vpc="vpc:net",
    )


def test_one_look_up_per_placement_and_none_for_those_already_known() -> None:
    cloud = Shop()
    templates = found(cloud, *(create(number=number) for number in range(1, 6)))
    assert cloud.asked == [("image", "fsn1")]
    found(cloud, create(), create(location="nbg1"), before=templates)
    assert cloud.asked == [("image", "fsn1"), ("image", "nbg1")]


@pytest.mark.parametrize(
    ("step", "message", "fix"),
    [
        (create(type="cx32"), "no server type cx32", "cx23"),
        (create(location="fsn2"), "no location fsn2", "fsn1"),
    ],
)
def test_q14_an_unknown_name_is_an_error_that_suggests_the_nearest(step: Step, message: str, fix: str) -> None:
    with pytest.raises(InvalidError, match=message) as error:
        found(Shop(), step)
    assert fix in error.value.fix


def test_a_type_that_is_not_sold_there_says_where_it_is() -> None:
    cloud = Shop()
    offers = tuple(offer for offer in cloud.catalogue().offers if (offer.type, offer.location) != ("cx23", "nbg1"))
    catalogue = Catalogue(currency="EUR", offers=offers)
    with pytest.raises(InvalidError, match="cx23 is not sold in nbg1") as error:
        find_parts(spec(), [create(location="nbg1")], cloud, catalogue, Templates())
    assert error.value.fix == "It is sold in fsn1."


def test_an_image_larger_than_the_disk_is_told_with_both_sizes() -> None:
    found(Shop(disk=40), create())
    with pytest.raises(InvalidError, match="needs a disk of 41 GB; cx23 has 40 GB"):
        found(Shop(disk=41), create())
