"""For authors of clouds and of programs on top of scaler: a cloud to test against, and what every cloud must do.

In a project's top-level `conftest.py`, `pytest_plugins = ["scaler.testing"]` gives the fixtures
`embedded_cloud`, `embedded_clock` and `embedded_faults`, and failed checks show their values. A
cloud of one's own is proved by a subclass of `CloudConformance` that says how to open it:

    class TestMyCloud(CloudConformance):
        request_facts = {"type": "small", "location": "here", "image": "1"}

        @pytest.fixture
        def cloud(self, tmp_path):
            return MyCloud(tmp_path)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest

from scaler.clouds import Cloud, GoneError, InvalidError, NameTakenError, amount
from scaler.model import Machine, MachineRequest
from scaler.model.lifecycle import Phase
from scaler.model.ownership import Owner
from scaler.simulator import EmbeddedCloud, SimulatedWorld

OWNER = Owner("conformance", "prod")
STRANGER = Owner("conformance", "staging")

__all__ = [
    "CloudConformance",
    "EmbeddedClock",
    "EmbeddedCloud",
    "FaultRules",
    "embedded_clock",
    "embedded_cloud",
    "embedded_faults",
]


class EmbeddedClock:
    """A `scaler.support.clock.Clock` over an embedded cloud's world: sleeping moves its time, and takes none."""

    def __init__(self, world: SimulatedWorld) -> None:
        self._world = world
        world.set_speed(0)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._world.now, UTC)

    def monotonic(self) -> float:
        return self._world.now

    def sleep(self, seconds: float) -> None:
        self._world.advance(seconds)


class FaultRules:
    """Failures on order, each of which has to come about: a rule that hits no request proves nothing."""

    def __init__(self, world: SimulatedWorld) -> None:
        self._world = world

    def __call__(self, effect: str, **rule: Any) -> int:
        """`SimulatedWorld.add_fault`: what happens (`scaler.simulator.faults`), to which requests, how often.

        Return the rule's id.
        """
        return self._world.add_fault(effect, **rule)

    @property
    def unused(self) -> list[str]:
        """The rules that have hit nothing yet."""
        return [f"{report.rule.to_json()}" for report in self._world.faults() if not report.fired]


@pytest.fixture
def embedded_cloud(tmp_path: Path) -> Iterator[EmbeddedCloud]:
    """A cloud of its own for one test, on loopback, whose servers boot at once and whose clock obeys the test.

    `.hetzner_endpoint` and `.digitalocean_endpoint` are its APIs; `.world` has its faults, its clock
    and everything that happens behind a program's back.
    """
    with EmbeddedCloud(tmp_path / "embedded.sqlite", profile="instant") as cloud:
        yield cloud


@pytest.fixture
def embedded_clock(embedded_cloud: EmbeddedCloud) -> EmbeddedClock:
    """The embedded cloud's time: from now on it stands still, except while somebody sleeps on this clock."""
    return EmbeddedClock(embedded_cloud.world)


@pytest.fixture
def embedded_faults(embedded_cloud: EmbeddedCloud) -> Iterator[FaultRules]:
    """Order failures of the embedded cloud: `embedded_faults("respond", method="POST", path="/servers$", status=503)`.

    The test fails if one of them has hit no request at its end.
    """
    rules = FaultRules(embedded_cloud.world)
    yield rules
    assert rules.unused == [], "these faults hit no request"


class CloudConformance:
    """What scaler relies on in every cloud. Each test gets a fresh account."""

    request_facts: ClassVar[Mapping[str, Any]] = {}
    """What a create request needs to be accepted: type, location and image at least."""
    within_s: ClassVar[float] = 10.0
    """How long the cloud may take until a machine runs, is off, or is gone."""

    def order(self, name: str = "prod-worker-1", owner: Owner = OWNER) -> MachineRequest:
        """A create request that the cloud accepts."""
        return MachineRequest(name=name, labels=owner.group_labels("worker", "a1b2"), **self.request_facts)

    def eventually(self, true: Callable[[], bool]) -> None:
        """Ask until it is so."""
        until = time.monotonic() + self.within_s
        while not true():
            assert time.monotonic() < until, "it did not become so in time"
            time.sleep(0.05)

    def phase(self, cloud: Cloud, machine: Machine) -> Phase:
        return cloud.get(machine.id).phase

    def test_what_was_created_is_listed_found_and_read(self, cloud: Cloud) -> None:
        made = cloud.create(self.order())
        assert made.name == "prod-worker-1"
        assert OWNER.owns(made.labels)
        assert [machine.id for machine in cloud.list_owned(OWNER)] == [made.id]
        assert [machine.id for machine in cloud.find("prod-worker-1", OWNER)] == [made.id]
        read = cloud.get(made.id)
        assert (read.name, read.type, read.location) == (made.name, made.type, made.location)
        assert dict(read.labels) == dict(self.order().labels)
        assert read.created.tzinfo is not None

    def test_a_machine_comes_to_run(self, cloud: Cloud) -> None:
        made = cloud.create(self.order())
        self.eventually(lambda: self.phase(cloud, made) is Phase.RUNNING)

    def test_what_was_deleted_is_gone(self, cloud: Cloud) -> None:
        made = cloud.create(self.order())
        self.eventually(lambda: self.phase(cloud, made) is Phase.RUNNING)
        cloud.delete(made.id)
        self.eventually(lambda: not cloud.list_owned(OWNER))
        with pytest.raises(GoneError):
            cloud.get(made.id)
        with pytest.raises(GoneError):
            cloud.delete(made.id)

    def test_what_never_was_is_gone_too(self, cloud: Cloud) -> None:
        for ask in (cloud.get, cloud.delete, cloud.power_on, cloud.power_off, cloud.reboot):
            with pytest.raises(GoneError):
                ask("987654321")

    def test_only_the_owners_are_listed_and_found(self, cloud: Cloud) -> None:
        ours = cloud.create(self.order("prod-worker-1"))
        theirs = cloud.create(self.order("prod-worker-2", STRANGER))
        assert [machine.id for machine in cloud.list_owned(OWNER)] == [ours.id]
        assert [machine.id for machine in cloud.list_owned(STRANGER)] == [theirs.id]
        assert cloud.find("prod-worker-2", OWNER) == []

    def test_the_oldest_come_first(self, cloud: Cloud) -> None:
        made = [cloud.create(self.order(f"prod-worker-{number}")).id for number in (3, 1, 2)]
        assert [machine.id for machine in cloud.list_owned(OWNER)] == made

    def test_a_name_is_taken_once_or_both_are_found(self, cloud: Cloud) -> None:
        first = cloud.create(self.order())
        try:
            second = cloud.create(self.order())
        except NameTakenError:
            if names := getattr(cloud, "names", None):
                cloud.create(self.order("of-others", STRANGER))
                assert set(names()) == {"prod-worker-1", "of-others"}
            assert [machine.id for machine in cloud.find("prod-worker-1", OWNER)] == [first.id]
        else:
            assert [machine.id for machine in cloud.find("prod-worker-1", OWNER)] == [first.id, second.id]

    def test_power(self, cloud: Cloud) -> None:
        made = cloud.create(self.order())
        self.eventually(lambda: self.phase(cloud, made) is Phase.RUNNING)
        cloud.power_off(made.id)
        self.eventually(lambda: self.phase(cloud, made) is Phase.OFF)
        cloud.power_on(made.id)
        self.eventually(lambda: self.phase(cloud, made) is Phase.RUNNING)
        cloud.reboot(made.id)
        self.eventually(lambda: self.phase(cloud, made) is Phase.RUNNING and not cloud.get(made.id).locked)
        cloud.shutdown(made.id)
        self.eventually(lambda: self.phase(cloud, made) is Phase.OFF)

    def test_cpu_use_is_a_share_or_not_measured_or_refused(self, cloud: Cloud) -> None:
        made = cloud.create(self.order())
        self.eventually(lambda: self.phase(cloud, made) is Phase.RUNNING)
        try:
            measured = cloud.cpu(made.id)
        except InvalidError:
            return
        assert measured is None or 0 <= measured <= 1.05
        with pytest.raises(GoneError):
            cloud.cpu("987654321")

    def test_labels_become_exactly_what_was_said(self, cloud: Cloud) -> None:
        made = cloud.create(self.order())
        labels = {**OWNER.group_labels("web", "c3d4"), "role": "web"}
        cloud.set_labels(made.id, labels)
        self.eventually(lambda: dict(cloud.get(made.id).labels) == labels)

    def test_many_at_once(self, cloud: Cloud) -> None:
        with ThreadPoolExecutor(10) as pool:
            made = list(pool.map(lambda number: cloud.create(self.order(f"prod-worker-{number}")), range(20)))
        assert {machine.id for machine in cloud.list_owned(OWNER)} == {machine.id for machine in made}
        assert len({machine.id for machine in made}) == 20

    def test_the_type_and_place_are_in_the_catalogue(self, cloud: Cloud) -> None:
        offer = cloud.catalogue().offer(self.request_facts["type"], self.request_facts["location"])
        assert offer is not None
        assert amount(offer.per_hour) == offer.per_hour

    def test_what_the_account_may_have_is_a_count_or_not_told(self, cloud: Cloud) -> None:
        cloud.create(self.order())
        limits = cloud.limits()
        if limits.servers is not None:
            assert limits.in_use is not None
            assert 1 <= limits.in_use <= limits.servers

    def test_requests_are_counted(self, cloud: Cloud) -> None:
        before = cloud.requests
        cloud.create(self.order())
        cloud.list_owned(OWNER)
        after = cloud.requests
        assert (after.create - before.create, after.list - before.list) == (1, 1)
        assert after.total - before.total >= 2
