"""A server's working life at both embedded clouds: ticks with a moved clock, over real clients, checks and drains."""

from __future__ import annotations

import gc
import tracemalloc
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from scaler.autoscale.memory import Memory
from scaler.hooks.drains import DrainProcesses
from scaler.hooks.health import HealthChecker
from scaler.model import HealthPolicy, Readiness, StopPolicy
from scaler.model.lifecycle import Status
from tests.autoscale.live import Live
from tests.support.embedded import embedded
from tests.support.processes import HttpServer, script, wait_until
from tests.support.project import HETZNER, VENDORS, Vendor

pytestmark = pytest.mark.server

LB = ("lb", "web")
HALF_A_MINUTE = timedelta(seconds=30)


@pytest.fixture(params=VENDORS, ids=lambda vendor: vendor.name)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    vendor: Vendor = request.param
    return vendor


@pytest.mark.acceptance("T11", "T12")
def test_an_endpoint_that_fails_for_all_servers_at_once_costs_one_of_them(vendor: Vendor, tmp_path: Path) -> None:
    with ExitStack() as stack:
        good, bad = stack.enter_context(HttpServer(200)), stack.enter_context(HttpServer(500))

        def checked(by: HttpServer) -> HealthPolicy:
            check = Readiness(kind="http", url=f"{by.url}/{{name}}")
            return HealthPolicy(check=check, every=HALF_A_MINUTE, failures=3, at_most=25)

        made = Live(tmp_path, count=20, max=30, healthy=checked(good), in_service=LB, stop=StopPolicy(drain=("true",)))
        live, world = stack.enter_context(embedded(made, vendor, tmp_path, boot_s=20))
        made.health = HealthChecker(tmp_path)  # type: ignore[assignment]
        live.loop(3, 30, jobs=200)
        first = world.machines
        assert len(first) == 20 and world.labelled(LB) == set(first)
        world.clear_log()

        def change(healthy: HealthPolicy) -> None:
            (group,) = live.spec.groups.values()
            live.spec = replace(live.spec, groups={group.name: replace(group, healthy=healthy)})

        change(checked(bad))
        for _ in range(20):
            live.loop(1, 30, jobs=200)
            assert len(world.labelled(LB)) >= 19
            assert len(first.keys() & world.machines.keys()) >= 19
        assert len(first.keys() - world.machines.keys()) == 1
        assert len(bad.asked) > 300, "all of them are checked again and again"
        assert any("may be wrong" in held.why for held in live.tick(jobs=200).held.values())
        change(checked(good))
        live.loop(4, 30, jobs=200)
        left = world.machines
        assert len(left) == 20 and world.labelled(LB) == set(left)
        assert len(first.keys() & left.keys()) == 19
        assert {one.status for one in live.records.servers.values() if not one.finished} == {Status.RUNNING}


@pytest.mark.acceptance("T09")
def test_ticks_from_cron_find_a_drain_that_another_process_began(vendor: Vendor, tmp_path: Path) -> None:
    drain = script(tmp_path, "drain.sh", f"cd {tmp_path}; echo >> begun; while [ ! -e over ]; do sleep 0.05; done")
    made = Live(tmp_path, count=3, stop=StopPolicy(drain=(drain,), drain_within=timedelta(hours=1)))
    with embedded(made, vendor, tmp_path, boot_s=20) as (live, world):

        def tick(jobs: float) -> None:
            """As a new process does it, which knows only what is written down."""
            live.memory = Memory.of(tmp_path, live.spec.stack, live.progress.warn)
            live.drains = DrainProcesses(tmp_path / "drains", tmp_path, live.clock)  # type: ignore[assignment]
            live.loop(1, 60, jobs=jobs)

        for _ in range(3):
            tick(30)
        assert len(world.machines) == 3
        first = world.machines
        tick(20)
        wait_until((tmp_path / "begun").exists, "the drain")
        (leaving,) = [server for server in live.records.servers.values() if server.drain]
        tick(20)
        # The load rises meanwhile: a new server is asked for by the next tick.
        tick(40)
        assert len(world.machines) == 5
        assert first.keys() <= world.machines.keys()
        (tmp_path / "over").touch()
        wait_until(lambda: '"code": 0' in (tmp_path / "drains" / f"{leaving.id}.json").read_text(), "its result")
        tick(40)
        tick(40)
        assert len(world.machines) == 4 and int(leaving.id or 0) not in world.machines
        assert (tmp_path / "begun").read_text().count("\n") == 1, "it was begun once"
        assert list((tmp_path / "drains").glob("*.json")) == []


@pytest.mark.acceptance("T09")
def test_fifty_servers_that_drain_for_an_hour_cost_a_list_a_minute_and_no_memory(tmp_path: Path) -> None:
    drains = StopPolicy(drain=("./drain.sh",), drain_within=timedelta(hours=2))
    made = Live(tmp_path, count=52, max=60, limit=200, stop=drains)
    with embedded(made, HETZNER, tmp_path) as (live, world):
        live.drains.takes_s = 3600
        live.loop(2, jobs=520)
        live.loop(1, jobs=20)
        assert len(live.drains.starts) == 50
        world.clear_log()
        tracemalloc.start()
        try:
            sizes = [_size_after(live, 29), _size_after(live, 29)]
        finally:
            tracemalloc.stop()
        assert world.asked("GET") <= 120
        assert sizes[1] - sizes[0] < 100_000, f"bytes of memory after half an hour and an hour: {sizes}"
        live.loop(6, jobs=20)
        assert len(world.machines) == 2
        assert len(live.drains.starts) == 50, "each began once"


def _size_after(live: Live, ticks: int) -> int:
    """How much memory is in use after some ticks that have nothing to do."""
    for _ in range(ticks):
        before = live.clock.passed
        assert live.tick(jobs=20).result is None
        assert live.clock.passed == before, "a tick does not wait"
        live.wait(timedelta(minutes=1))
    live.decisions.clear()
    live.records.decisions.clear()
    live.progress = type(live.progress)()
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
