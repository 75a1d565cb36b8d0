"""The cloud in memory does what every cloud must: what the tests of the run build on is no kinder than a real one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from scaler.clouds import AmbiguousError, Cloud, InvalidError, NameTakenError, NoCapacityError, QuotaError
from scaler.model import ImageRef
from scaler.model.lifecycle import Phase
from scaler.testing import OWNER, CloudConformance
from tests.support.fakes import LOCATIONS, TYPES, FakeClock, FakeCloud


class FakeConformance(CloudConformance):
    """The suite over a cloud whose time only sleeping moves."""

    request_facts: ClassVar[Mapping[str, Any]] = {"type": TYPES[0], "location": LOCATIONS[0], "image": "100"}

    def eventually(self, true: Callable[[], bool]) -> None:
        for _ in range(40):
            if true():
                return
            self.clock.sleep(0.5)
        pytest.fail("it did not become so in time")

    @pytest.fixture
    def cloud(self) -> Cloud:
        self.clock = FakeClock()
        return self.make(self.clock)

    def make(self, clock: FakeClock) -> FakeCloud:
        raise NotImplementedError


class TestLikeHetzner(FakeConformance):
    def make(self, clock: FakeClock) -> FakeCloud:
        return FakeCloud(clock)


class TestLikeDigitalOcean(FakeConformance):
    def make(self, clock: FakeClock) -> FakeCloud:
        return FakeCloud(
            clock, name="digitalocean", unique_names=False, tells_deleting=False, quota=25, tells_quota=True
        )


# ---------------------------------------------------------------------------------------------
# What test_conformance.py asks of our own clouds beyond it

ORDER = FakeConformance().order


@pytest.fixture
def cloud() -> FakeCloud:
    return FakeCloud(FakeClock())


def test_create_returns_before_the_machine_has_booted(cloud: FakeCloud) -> None:
    made = cloud.create(ORDER())
    assert made.phase is Phase.BOOTING
    cloud.clock.sleep(cloud.boot_s)
    assert cloud.get(made.id).phase is Phase.RUNNING


def test_a_delete_returns_before_the_machine_is_gone(cloud: FakeCloud) -> None:
    made = cloud.create(ORDER())
    cloud.delete(made.id)
    assert cloud.get(made.id).phase is Phase.DELETING
    cloud.clock.sleep(cloud.delete_s)
    assert cloud.list_owned(OWNER) == []


def test_a_name_is_taken_until_its_machine_is_gone(cloud: FakeCloud) -> None:
    made = cloud.create(ORDER())
    cloud.delete(made.id)
    with pytest.raises(NameTakenError):
        cloud.create(ORDER())
    cloud.clock.sleep(cloud.delete_s)
    assert cloud.create(ORDER()).name == made.name


def test_a_create_that_was_carried_out_without_an_answer(cloud: FakeCloud) -> None:
    cloud.lost_answers = 1
    with pytest.raises(AmbiguousError):
        cloud.create(ORDER())
    assert [machine.name for machine in cloud.find("prod-worker-1", OWNER)] == ["prod-worker-1"]


def test_powering_off_what_is_off_is_done(cloud: FakeCloud) -> None:
    made = cloud.create(ORDER())
    for _ in range(2):
        cloud.power_off(made.id)
        assert cloud.get(made.id).phase is Phase.OFF


def test_what_is_full_or_above_the_quota_is_refused_and_makes_nothing(cloud: FakeCloud) -> None:
    cloud.full = {(TYPES[0], LOCATIONS[0])}
    with pytest.raises(NoCapacityError):
        cloud.create(ORDER())
    cloud.full, cloud.quota = set(), 0
    with pytest.raises(QuotaError):
        cloud.create(ORDER())
    assert cloud.boxes == {}


@pytest.mark.parametrize(
    "wrong", [{"type": "cx99"}, {"location": "mars"}, {"image": "1"}, {"name": "no_host name"}], ids=str
)
def test_a_request_that_is_wrong(cloud: FakeCloud, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidError):
        cloud.create(replace(ORDER(), **wrong))
    assert cloud.boxes == {}


@pytest.mark.parametrize(("kind", "value"), [("name", "goldn"), ("id", "1"), ("selector", "role=wroker")])
def test_an_image_that_is_not_there_names_the_one_that_is(cloud: FakeCloud, kind: Any, value: str) -> None:
    with pytest.raises(InvalidError, match=value) as caught:
        cloud.find_image(ImageRef(kind, value), "x86", LOCATIONS[0])
    assert "golden" in caught.value.fix


def test_an_image_of_another_architecture(cloud: FakeCloud) -> None:
    with pytest.raises(InvalidError, match="arm"):
        cloud.find_image(ImageRef("name", "golden"), "arm", LOCATIONS[0])


def test_a_reference_to_nothing_names_what_there_is(cloud: FakeCloud) -> None:
    assert cloud.reference("ssh_key", "deploy") == "deploy"
    with pytest.raises(InvalidError, match="deplyo") as caught:
        cloud.reference("ssh_key", "deplyo")
    assert "deploy" in caught.value.fix
