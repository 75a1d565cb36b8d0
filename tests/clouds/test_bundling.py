"""Concurrent creates at DigitalOcean over real HTTP: few requests, and every caller gets its own droplet or error."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from scaler.clouds import AmbiguousError, Cloud, CloudError, InvalidError, NoCapacityError, QuotaError
from scaler.clouds.bundling import WINDOW_S
from scaler.clouds.deadlines import Deadlines
from scaler.clouds.registry import open_cloud
from scaler.model import Machine, MachineRequest
from scaler.model.ownership import Owner
from scaler.simulator import EmbeddedCloud
from tests.support.http_stub import Answer, HurriedClock, Stub, reply
from tests.support.vendors import ENVIRON, DigitalOcean

pytestmark = pytest.mark.server

OWNER = Owner("shop", "prod")
LABELS = OWNER.group_labels("worker", "a1b2")
TEN = [f"prod-worker-{number}" for number in range(1, 11)]

PATIENCE_S = 300
"""How long to wait for what certainly comes: a busy machine may answer late, and only a deadlock takes longer."""

PATIENT = Deadlines(connect=PATIENCE_S, read=PATIENCE_S)
"""No fault of these tests withholds an answer, and a create whose answer is late would be in doubt."""


class HeldClock(HurriedClock):
    """Whoever sleeps in here waits until the test lets them go: the first of each bundle."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def sleep(self, seconds: float) -> None:
        if seconds == WINDOW_S:
            assert self.go.wait(PATIENCE_S)
        super().sleep(seconds)


def request(name: str) -> MachineRequest:
    return MachineRequest(
        name=name, type="s-1vcpu-1gb", location="fra1", image="ubuntu-24-04-x64", labels=LABELS, user_data="#!/bin/sh"
    )


def create(cloud: Cloud, clock: HeldClock, names: list[str]) -> Mapping[str, Machine | CloudError]:
    """What each create comes to, of a multiple of ten at once."""

    def ask(name: str) -> Machine | CloudError:
        try:
            return cloud.create(request(name))
        except CloudError as error:
            return error

    with ThreadPoolExecutor(len(names)) as threads:
        calls = {name: threads.submit(ask, name) for name in names}
        try:
            done = as_completed(calls.values(), timeout=PATIENCE_S)
            for _ in range(len(names) * 9 // 10):
                next(done)
        finally:
            clock.go.set()
    return {name: call.result() for name, call in calls.items()}


Embedded = tuple[EmbeddedCloud, Cloud, HeldClock]


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Embedded]:
    with EmbeddedCloud(tmp_path / "world.db", profile="instant") as served, _opened(served.digitalocean_endpoint) as at:
        yield served, *at


@contextmanager
def _opened(endpoint: str) -> Iterator[tuple[Cloud, HeldClock]]:
    clock = HeldClock()
    cloud = open_cloud("digitalocean", endpoint=endpoint, environ=ENVIRON, clock=clock, deadlines=PATIENT)
    yield cloud, clock
    cloud.close()


def asked(served: EmbeddedCloud) -> list[list[str]]:
    """The names in each create request."""
    return [row.names for row in served.world.log() if row.method == "POST"]


def names(served: EmbeddedCloud) -> list[str]:
    return sorted(droplet.name or "" for droplet in served.world.servers("digitalocean"))


def test_thirty_are_three_requests(embedded: Embedded) -> None:
    served, cloud, clock = embedded
    wanted = [f"prod-worker-{number}" for number in range(1, 31)]
    outcomes = create(cloud, clock, wanted)
    assert [str(outcome) for outcome in outcomes.values() if isinstance(outcome, CloudError)] == []
    assert {name: outcome.name for name, outcome in outcomes.items() if isinstance(outcome, Machine)} == {
        name: name for name in wanted
    }
    assert names(served) == sorted(wanted)
    assert [len(some) for some in asked(served)] == [10, 10, 10]
    assert cloud.requests.create == 3
    listed = cloud.list_owned(OWNER)
    assert {machine.id: machine.name for machine in listed} == {
        outcome.id: outcome.name for outcome in outcomes.values() if isinstance(outcome, Machine)
    }
    assert {tuple(sorted(machine.labels.items())) for machine in listed} == {tuple(sorted(LABELS.items()))}


@pytest.mark.parametrize("free", [0, 1, 5, 9])
def test_what_the_account_has_room_for_is_made(embedded: Embedded, free: int) -> None:
    served, cloud, clock = embedded
    for number in range(20):
        served.world.add_server("digitalocean", f"other-{number}")
    served.world.set_quota("digitalocean", droplets=20 + free)
    outcomes = create(cloud, clock, TEN)
    made = {name for name, outcome in outcomes.items() if isinstance(outcome, Machine)}
    assert len(made) == free
    assert made == {name for name in names(served) if name in TEN}
    assert [type(outcome) for name, outcome in outcomes.items() if name not in made] == [QuotaError] * (10 - free)
    assert len(asked(served)) < 10


def test_what_the_region_has_room_for_is_made(embedded: Embedded) -> None:
    served, cloud, clock = embedded
    served.world.set_capacity("digitalocean", "s-1vcpu-1gb", "fra1", 4)
    outcomes = create(cloud, clock, TEN)
    assert len(names(served)) == 4
    assert [type(outcome) for outcome in outcomes.values()].count(NoCapacityError) == 6


@pytest.mark.parametrize(
    ("effect", "more", "made"),
    [
        ("accept_then_drop", {}, 10),
        ("accept_then_status", {"status": 502}, 10),
        ("truncated_json", {}, 10),
        ("null_fields", {"fields": ["networks"]}, 10),
        ("drop_before", {}, 0),
    ],
)
def test_an_answer_that_is_lost_leaves_all_in_doubt_and_each_is_found_by_its_name(
    embedded: Embedded, effect: str, more: dict[str, Any], made: int
) -> None:
    served, cloud, clock = embedded
    served.world.add_fault(effect, method="POST", path="/v2/droplets$", **more)
    outcomes = create(cloud, clock, TEN)
    assert [type(outcome) for outcome in outcomes.values()] == [AmbiguousError] * 10
    assert [name for name, outcome in outcomes.items() if name not in str(outcome)] == []
    assert len(asked(served)) == 1
    assert len(names(served)) == made
    assert [len(cloud.find(name, OWNER)) for name in TEN] == [made // 10] * 10


def test_what_an_answer_does_not_name_is_in_doubt_alone(on: Callable[[Answer], tuple[Cloud, HeldClock]]) -> None:
    droplets = [DigitalOcean.machine(number, name, LABELS) for number, name in enumerate(TEN[:-1], start=1)]
    cloud, clock = on(reply(202, {"droplets": droplets, "links": {"actions": []}}))
    outcomes = dict(create(cloud, clock, TEN))
    left_out = outcomes.pop(TEN[-1])
    assert isinstance(left_out, AmbiguousError)
    assert TEN[-1] in str(left_out)
    assert {name: getattr(outcome, "id", None) for name, outcome in outcomes.items()} == {
        name: str(number) for number, name in enumerate(TEN[:-1], start=1)
    }


def test_what_is_refused_for_another_reason_is_refused_to_all_in_their_own_names(embedded: Embedded) -> None:
    served, cloud, clock = embedded
    served.world.add_fault("respond", method="POST", status=422, code="unprocessable_entity", message="no such image")
    outcomes = create(cloud, clock, TEN)
    assert [type(outcome) for outcome in outcomes.values()] == [InvalidError] * 10
    assert [name for name, outcome in outcomes.items() if f"create droplet {name} " not in str(outcome)] == []
    assert (len(asked(served)), names(served)) == (1, [])


def test_a_bundle_that_comes_too_early_is_sent_again_as_one(embedded: Embedded) -> None:
    served, cloud, clock = embedded
    served.world.add_fault("rate_limit", method="POST", headers={"retry-after": "1"})
    outcomes = create(cloud, clock, TEN)
    assert {type(outcome) for outcome in outcomes.values()} == {Machine}
    assert names(served) == sorted(TEN)
    assert cloud.requests.retried == 1


@pytest.fixture
def on() -> Iterator[Callable[[Answer], tuple[Cloud, HeldClock]]]:
    """Open a cloud on a stub that gives one answer."""
    opened: list[tuple[Cloud, Stub]] = []

    def open_on(answer: Answer) -> tuple[Cloud, HeldClock]:
        stub = Stub(answer).__enter__()
        clock = HeldClock()
        cloud = open_cloud("digitalocean", endpoint=stub.url, environ=ENVIRON, clock=clock, deadlines=PATIENT)
        opened.append((cloud, stub))
        return cloud, clock

    yield open_on
    for cloud, stub in opened:
        cloud.close()
        stub.__exit__()
