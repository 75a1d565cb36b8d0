"""What the cloud measures: over the embedded cloud's HTTP, and over clouds of one's own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from scaler.autoscale.decision import Sample
from scaler.autoscale.metrics import Fleet, MetricError, MetricRead, Sources, read
from scaler.autoscale.tick import run_tick
from scaler.clouds import Cloud
from scaler.clouds.registry import open_cloud
from scaler.converge.demand import Options
from scaler.model import MachineRequest
from scaler.model.autoscaling import CloudSource, CommandSource, Metric
from scaler.model.ownership import Owner
from scaler.simulator import EmbeddedCloud, SimulatedWorld
from scaler.support.clock import SystemClock
from scaler.testing import embedded_cloud
from tests.autoscale.live import Live
from tests.support.own_cloud import FolderCloud

__all__ = ["embedded_cloud"]

OWNER = Owner("shop", "prod")
TOKENS = {"HCLOUD_TOKEN": "t" * 64, "DIGITALOCEAN_TOKEN": "t"}


def asked(open_one: Callable[[], AbstractContextManager[Cloud]], group: str = "worker") -> MetricRead:
    fleet = Fleet(OWNER, open_one)
    return MetricRead(5, datetime.now(UTC), {}, Path("/"), SystemClock(), group=group, fleet=fleet)


@contextlib.contextmanager
def hetzner(embedded: EmbeddedCloud) -> Iterator[Cloud]:
    cloud = open_cloud("hetzner", endpoint=embedded.hetzner_endpoint, environ=TOKENS, clock=SystemClock())
    yield cloud
    cloud.close()


def add(world: SimulatedWorld, name: str, cpu: float | None = None, group: str = "worker", **facts: Any) -> int:
    world.advance(-600)  # it has been there for a while
    server = world.add_server("hetzner", name, labels=OWNER.group_labels(group, "a"), **facts)
    world.advance(600)
    if cpu is not None:
        world.set_cpu("hetzner", server.id, cpu)
        server = world.server("hetzner", server.id)
        server.body["cpu"] = [[moment - 300, share] for moment, share in server.body["cpu"]]
        world.save(server)
    return server.id


def test_the_mean_of_the_groups_running_servers_in_percent(embedded_cloud: EmbeddedCloud) -> None:
    world = embedded_cloud.world
    add(world, "prod-worker-1", 0.9)
    add(world, "prod-worker-2", 0.5, type="cpx22")
    add(world, "prod-worker-3", 0.1, status="off")
    add(world, "prod-worker-4", status="initializing")
    add(world, "prod-web-1", 0.2, group="web")
    world.add_server("hetzner", "foreign")
    assert read(CloudSource(), asked(lambda: hetzner(embedded_cloud))).number == pytest.approx(70)
    assert read(CloudSource(), asked(lambda: hetzner(embedded_cloud), "web")).number == pytest.approx(20)
    paths = [row.path for row in world.log()]
    assert (len(paths), sum("metrics" in path for path in paths)) == (5, 3), "one list, and one request per server"


def refusal(open_one: Callable[[], AbstractContextManager[Cloud]]) -> str:
    with pytest.raises(MetricError) as caught:
        read(CloudSource(), asked(open_one))
    return str(caught.value)


def test_servers_that_are_not_ready_do_not_count_in_the_mean(embedded_cloud: EmbeddedCloud) -> None:
    add(embedded_cloud.world, "prod-worker-1", 0.8)
    coming = add(embedded_cloud.world, "prod-worker-2", 0.0)
    request = asked(lambda: hetzner(embedded_cloud))
    assert read(CloudSource(), request).number == pytest.approx(40)
    assert request.fleet is not None
    request = replace(request, fleet=replace(request.fleet, coming=frozenset({str(coming)})))
    assert read(CloudSource(), request).number == pytest.approx(80)


def test_the_requests_of_reading_are_counted(embedded_cloud: EmbeddedCloud, tmp_path: Path) -> None:
    add(embedded_cloud.world, "prod-worker-1", 0.5)
    fleet = Fleet(OWNER, lambda: hetzner(embedded_cloud))
    cpu = Metric(name="cpu", source=CloudSource())
    Sources({}, tmp_path, SystemClock()).read({("worker", "cpu"): cpu}, fleet)
    [sent] = fleet.sent
    assert (sent.total, sent.list) == (2, 1)
    live = Live(tmp_path)
    now = live.clock.now()
    samples = {"worker": {"jobs": Sample(0.0, now)}}
    done = run_tick(live.spec, samples, live.memory, live.around, now=now, options=Options(), read=fleet.sent)
    assert done.requests.total == len(live.cloud.calls) + 2


def test_without_a_running_server_there_is_no_number(embedded_cloud: EmbeddedCloud) -> None:
    assert refusal(lambda: hetzner(embedded_cloud)) == "of 0 running servers of worker none was measured yet"


def test_a_server_deleted_during_the_reading_does_not_count(embedded_cloud: EmbeddedCloud) -> None:
    add(embedded_cloud.world, "prod-worker-1", 0.8)
    add(embedded_cloud.world, "prod-worker-2", 0.4)
    embedded_cloud.world.add_fault("respond", method="GET", path="metrics$", status=404, code="not_found")
    assert read(CloudSource(), asked(lambda: hetzner(embedded_cloud))).number in (pytest.approx(80), pytest.approx(40))


def test_a_cloud_that_refuses_is_quoted(embedded_cloud: EmbeddedCloud) -> None:
    add(embedded_cloud.world, "prod-worker-1", 0.8)
    embedded_cloud.world.set_tokens("hetzner", revoked=True)
    assert "unauthorized: unable to authenticate" in refusal(lambda: hetzner(embedded_cloud))


# ---------------------------------------------------------------------------------------------
# Clouds of one's own


class Older(FolderCloud):
    """Written before there was the method."""

    cpu = None  # type: ignore[assignment]


class Unwilling(FolderCloud):
    def cpu(self, id: str) -> float | None:
        raise NotImplementedError("secret words")


def folder(tmp_path: Path, kind: type[FolderCloud] = FolderCloud) -> Any:
    cloud = kind(tmp_path)
    for number in (1, 2):
        labels = OWNER.group_labels("worker", "a")
        cloud.create(
            MachineRequest(name=f"prod-worker-{number}", labels=labels, type="small", location="here", image="1")
        )
    return lambda: contextlib.nullcontext(cloud)


def test_a_users_cloud_with_cpu(tmp_path: Path) -> None:
    opened = folder(tmp_path)
    assert "none was measured yet" in refusal(opened)
    with opened() as cloud:
        cloud._change("1", cpu=0.25)
    assert read(CloudSource(), asked(opened)).number == 25


def test_a_users_cloud_without_cpu_is_named_in_the_error(tmp_path: Path) -> None:
    assert refusal(folder(tmp_path, Older)) == "the cloud folder does not report how busy its servers are"
    told = refusal(folder(tmp_path / "b", Unwilling))
    assert told == "the cloud folder does not report how busy server 1 is: NotImplementedError"


def test_without_a_cloud_there_is_no_number() -> None:
    with pytest.raises(MetricError, match="there is no cloud to ask"):
        read(CloudSource(), MetricRead(5, datetime.now(UTC), {}, Path("/"), SystemClock()))


# ---------------------------------------------------------------------------------------------
# Several groups


def test_groups_with_the_same_metric_are_both_read(tmp_path: Path) -> None:
    """Of the same name and from the same source: the one that still runs is another group's."""
    sources = Sources({"PATH": "/usr/bin:/bin"}, tmp_path, SystemClock())
    slow = Metric(name="jobs", source=CommandSource(command=("sh", "-c", "sleep 0.3; echo 5")))
    told = sources.read({("web", "jobs"): slow, ("worker", "jobs"): slow})
    assert [sample.value for sample in told.values()] == [5, 5]
