"""Two watches of one stack, on two machines that share nothing but the backend: one acts, and the other takes over."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import requests

from tests.support.backends import Database, database
from tests.support.project import HETZNER, Project, Vendor, finish, wait_until
from tests.support.watches import POLICY, Machine, cut, kill, stop, watches


@pytest.fixture
def backend() -> Iterator[Database]:
    with database() as backend:
        yield backend


@pytest.fixture
def project(make_served: Callable[[Vendor], Project]) -> Project:
    project = make_served(HETZNER)
    project.describe(groups={"worker": {"count": 1, "min": 1, "max": 6, "autoscale": POLICY}})
    (project.folder / "jobs").write_text("10")
    return project


@pytest.fixture
def start(project: Project, backend: Database) -> Iterator[Callable[..., Machine]]:
    """What starts a watch on another machine."""
    with watches(project, backend) as start:
        yield start


@pytest.mark.calm("the exact requests depend on those that fail")
@pytest.mark.parametrize(
    ("trouble", "in_a_tick"),
    [(kill, False), (kill, True), (stop, True), (cut, True)],
    ids=["killed_between_ticks", "killed_in_a_create", "stopped_in_a_create", "cut_off_in_a_create"],
)
def test_another_watch_takes_over_and_the_count_is_exact(
    project: Project,
    start: Callable[[str], Machine],
    trouble: Callable[[Machine, Project], None],
    in_a_tick: bool,
) -> None:
    first = start("first")
    wait_until(lambda: first.shown("scaler_ready") == 1, "one ready server")
    second = start("second")
    wait_until(lambda: second.role == "standby", "a second watch that stands by")
    assert first.role == "active"
    assert (first.shown("scaler_active"), second.shown("scaler_active")) == (1, 0)

    if in_a_tick:
        hanging = project.fault("hang_forever", "POST", skip=1)
        (project.folder / "jobs").write_text("40")
        wait_until(lambda: project.world.fired(hanging), "a create that hangs")
    trouble(first, project)
    (project.folder / "jobs").write_text("40")
    wait_until(lambda: second.role == "active", "the other one acting")
    wait_until(lambda: second.shown("scaler_ready") == 4, "four ready servers")
    assert len(project.machines) == 4

    # The first one comes back, in the middle of its tick.
    project.world.clear_faults()
    first.wire.is_cut = False
    if trouble is not kill:
        first.process.send_signal(signal.SIGCONT)
        wait_until(lambda: first.role == "standby", "the first one standing by")
    # The memory is the first one's, so neither takes the other's count for a person's.
    (project.folder / "jobs").write_text("20")
    wait_until(lambda: second.shown("scaler_ready") == 2, "two ready servers")
    assert second.role == "active"
    assert len(project.machines) == 2
    assert len(project.world.servers(project.vendor.name)) == 2
    assert "by hand" not in (project.folder / "second.log").read_text()


def test_a_watch_that_ends_hands_over_at_once(project: Project, start: Callable[[str], Machine]) -> None:
    first = start("first")
    wait_until(lambda: first.shown("scaler_ready") == 1, "one ready server")
    second = start("second")
    wait_until(lambda: second.role == "standby", "a second watch that stands by")
    first.process.send_signal(signal.SIGTERM)
    assert finish(first.process).code == 0
    wait_until(lambda: second.role == "active", "the other one acting")
    text = (project.folder / "second.log").read_text()
    assert re.search(r"standby: process \d+ on \S+ acts", text)
    wait_until(lambda: "active: this watch acts now" in (project.folder / "second.log").read_text(), "that it says so")


@pytest.mark.calm("the counts of the ticks depend on what the cloud refuses")
def test_another_service_takes_over_each_stack_and_the_counts_are_exact(
    project: Project, start: Callable[..., Machine]
) -> None:
    for stack in ("one", "two"):
        spec = project.spec_path.read_text().replace("- jobs", f"- jobs-{stack}")
        (project.folder / "stacks" / f"{stack}.yaml").write_text(spec)
        (project.folder / f"jobs-{stack}").write_text("10")
    project.spec_path.unlink()

    def names() -> list[str]:
        return sorted(str(server.name) for server in project.world.servers(project.vendor.name))

    def roles(machine: Machine) -> dict[str, str]:
        with suppress(requests.RequestException):
            stacks = requests.get(f"{machine.address}/healthz", timeout=2).json()["stacks"]
            return {name: facts["role"] for name, facts in stacks.items()}
        return {}

    first = start("first", "--all")
    wait_until(lambda: names() == ["one-worker-1", "two-worker-1"], "a server of each stack")
    second = start("second", "--all")
    wait_until(lambda: roles(second) == {"one": "standby", "two": "standby"}, "a second service that stands by")
    assert roles(first) == {"one": "active", "two": "active"}
    kill(first, project)
    (project.folder / "jobs-two").write_text("30")
    wait_until(lambda: roles(second) == {"one": "active", "two": "active"}, "the other one acting for both")
    grown = ["one-worker-1", "two-worker-1", "two-worker-2", "two-worker-3"]
    wait_until(lambda: names() == grown, "three servers of the second stack")
