"""kill -9 in the middle of a scale-up, and a run right after it: no duplicate, no orphan, no manual step.

Each moment is a request or an engine process that the test holds still while it kills; nothing depends on
how fast anything is. The cloud runs in the test's process, so it outlives the killed one.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.support.project import DIGITALOCEAN, HETZNER, Project, Vendor, is_alive, wait_until

Moment = Callable[[Project], None]
"""Arranges that the run that is under way comes to a halt at some moment, and waits for it."""


@contextmanager
def _paused_before(project: Project, operation: str) -> Iterator[None]:
    """The engine waits before an operation until the block ends: faults ordered in it hit that operation first."""
    earlier = len(project.engine_runs)
    go_on = project.hold_engine(operation)
    wait_until(lambda: operation in [name for _, name in project.engine_runs[earlier:]], operation)
    yield
    go_on()


def _wait_for(project: Project, fault: int, often: int = 1) -> None:
    wait_until(lambda: project.world.fired(fault) == often, f"fault {fault}, {often} times")


def observing(project: Project) -> None:
    _wait_for(project, project.fault("hang_forever", "GET", times=None))


def before_anything_is_declared(project: Project) -> None:
    """The records say what is meant, the engine holds the stack's lock, and its first look is not answered."""
    with _paused_before(project, "up"):
        look = project.fault("hang_forever", "GET", times=None)
    _wait_for(project, look)
    assert {record["status"] for record in project.records.values()} == {"running", "new"}
    assert project.creates == []


def in_the_middle_of_the_creates(project: Project) -> None:
    """One create is carried out and its answer lost, others are not carried out, one is through.

    At DigitalOcean the one whose answer is lost is for several servers.
    """
    with _paused_before(project, "up"):
        lost = project.fault("accept_then_drop", "POST", skip=1)
        silent = project.fault("hang_forever", "POST", skip=2, times=None)
        # After the look under the lock, the next is for the server whose answer was lost.
        lookup = project.fault("hang_forever", "GET", skip=1, times=None)
    _wait_for(project, lost)
    if project.vendor is DIGITALOCEAN:
        wait_until(lambda: project.world.fired(lookup), "a look for a server whose answer was lost")
        assert len(project.machines) > 4
    else:
        _wait_for(project, silent, 2)
        _wait_for(project, lookup)
        assert len(project.machines) == 4


def confirming(project: Project) -> None:
    """All are accepted, none is ready."""
    wait_until(lambda: len(project.creates) == 4, "all creates")
    seen = len(project.lists)
    wait_until(lambda: len(project.lists) > seen + 1, "a look after the creates")


def recording(project: Project) -> None:
    """All are ready; the engine that would record it waits for its list."""
    with _paused_before(project, "refresh"):
        assert len(project.machines) == 6
        look = project.fault("hang_forever", "GET", times=None)
    _wait_for(project, look)


MOMENTS: tuple[Moment, ...] = (
    observing,
    before_anything_is_declared,
    in_the_middle_of_the_creates,
    confirming,
    recording,
)
CASES = [
    *((HETZNER, moment, False) for moment in MOMENTS),
    # While it observes and while it confirms there is no engine to kill.
    *((HETZNER, moment, True) for moment in (before_anything_is_declared, in_the_middle_of_the_creates, recording)),
    (DIGITALOCEAN, in_the_middle_of_the_creates, False),
]


def _named(case: object) -> str | None:
    if isinstance(case, Vendor):
        return case.name
    return {True: "with_engine", False: "alone"}.get(case) if isinstance(case, bool) else getattr(case, "__name__", "")


@pytest.mark.calm("a failed creation is replaced under another name")
@pytest.mark.acceptance("S04", "R08")
@pytest.mark.parametrize(("vendor", "moment", "with_engine"), CASES, ids=_named)
def test_killed_while_scaling_up(served: Project, moment: Moment, with_engine: bool) -> None:
    project = served
    project.ensure("2")
    two = project.agreed()
    project.world.clear_log()

    if moment is confirming:
        project.world.set_knobs(boot_s=3600)
    process = project.start("ensure", "6", "--yes")
    try:
        moment(project)
    finally:
        process.kill()
        process.communicate()
    engine, _ = project.engine_runs[-1]
    if with_engine and is_alive(engine):
        os.kill(engine, signal.SIGKILL)
    project.world.clear_faults()
    if moment is confirming:
        project.world.advance(3600)
        project.world.set_knobs(boot_s=0)

    project.ensure("6")
    six = project.agreed()
    assert sorted(six) == [f"demo-worker-{number}" for number in range(1, 7)]
    assert two.items() < six.items()
    assert len(project.world.servers(project.vendor.name)) == 6
    # Nothing was made only to be thrown away.
    assert project.requests("DELETE") == []
    assert project.ensure("6").document["outcome"] == "unchanged"
