"""Kills, interrupts, locks and deadlines, on processes of the real engine."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from scaler.engine import binary as engine_binary
from scaler.engine.locks import is_stale
from scaler.errors import EngineError, LockedError
from scaler.model import Applied
from scaler.simulator import EmbeddedCloud
from tests.engine.stack_project import Project, names, wait_until

pytestmark = pytest.mark.engine

HANG_S = 2.0
"""How long the cloud takes to answer a create: the moment in which things are killed."""

Driver = subprocess.Popen[str]
_DRIVER = Path(__file__).with_name("driver.py")


@pytest.fixture
def drive(project: Project, served: EmbeddedCloud) -> Iterator[Callable[[int], Driver]]:
    """Scale the project's stack in a process of its own, at a cloud that answers creates slowly."""
    project.engine.prepare()
    started: list[Driver] = []

    def start(count: int) -> Driver:
        served.world.add_fault("hang", method="POST", path="/v1/servers$", seconds=HANG_S, times=None)
        process = subprocess.Popen(
            [sys.executable, _DRIVER, project.directory, project.endpoint, str(count)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def engine_of(parent: int) -> int | None:
    """The engine that a process started."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return next((int(child) for child in children if "pulumi" in Path(f"/proc/{child}/comm").read_text()), None)


def creating(project: Project, served: EmbeddedCloud, driver: Driver, creates: int = 1) -> int:
    """Wait until so many creates are under way; returns the engine's process id."""
    wait_until(lambda: sum(report.fired for report in served.world.faults()) >= creates, "the creates")
    engine = engine_of(driver.pid)
    assert engine is not None
    assert [lock.pid for lock in project.backend.locks()] == [engine]
    return engine


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].startswith(" Z")
    except FileNotFoundError:
        return True


def repair(project: Project, served: EmbeddedCloud, count: int) -> None:
    """The next run: adopts what is there and makes the rest."""
    served.world.clear_faults()
    machines = project.machines()
    change = project.change(names(count))
    held = project.held()
    adopt = {name: number for name, number in machines.items() if name not in held}
    create = frozenset(names(count)) - frozenset(machines)
    permits = type(change.permits)(adopt=adopt, create=create)
    applied = project.stack.apply(project.change(names(count), permits))
    assert applied.failure is None
    assert sorted(project.record()) == names(count)
    assert project.held() == project.machines()
    assert sorted(project.held()) == names(count)
    assert (project.checkpoint().pending, project.backend.locks()) == ((), [])


def test_python_is_killed(project: Project, served: EmbeddedCloud, drive: Callable[[int], Driver]) -> None:
    """The engine's output is a file: it lives on, saves, and unlocks."""
    driver = drive(3)
    engine = creating(project, served, driver)
    driver.kill()
    driver.wait()
    wait_until(lambda: ended(engine), "the engine's end")
    assert project.backend.locks() == []
    assert project.checkpoint().pending == ()
    repair(project, served, 3)


def test_the_engine_is_killed(project: Project, served: EmbeddedCloud, drive: Callable[[int], Driver]) -> None:
    driver = drive(2)
    engine = creating(project, served, driver, 2)
    os.kill(engine, signal.SIGKILL)
    assert driver.wait(60) == 1
    # What had been sent is waited for: the next look at the cloud sees it.
    assert sorted(project.machines()) == names(2)
    (lock,) = project.backend.locks()
    assert (lock.pid, lock.hostname, is_stale(lock)) == (engine, socket.gethostname(), True)
    assert project.stack.read().pending == ()
    assert project.backend.locks() == []
    assert list(lock.path.parent.iterdir()) == [] if lock.path else False
    repair(project, served, 2)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_is_forwarded_once(
    project: Project, served: EmbeddedCloud, drive: Callable[[int], Driver], number: signal.Signals, code: int
) -> None:
    """A second interrupt would make the engine leave without saving; what was accepted must be in the state."""
    driver = drive(2)
    engine = creating(project, served, driver)
    os.killpg(driver.pid, number)  # as a terminal does it: the whole group
    assert driver.wait(60) == code
    assert ended(engine)
    assert project.backend.locks() == []
    assert project.held() == project.machines() != {}
    assert project.checkpoint().pending == ()


def test_an_operation_that_exceeds_the_deadline_fails_and_leaves_no_lock(
    project: Project, served: EmbeddedCloud
) -> None:
    served.world.add_fault("hang", method="POST", seconds=HANG_S)
    project.engine.prepare()
    project.engine = project.open_engine(deadline=timedelta(seconds=1))
    with pytest.raises(EngineError, match="did not end in time"):
        project.scale(names(1))
    assert project.backend.locks() == []


# ---------------------------------------------------------------------------------------------
# Locks


@pytest.fixture
def dead() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.fixture
def living(tmp_path: Path) -> Iterator[int]:
    """A process that is called as the engine is."""
    (tmp_path / "pulumi").symlink_to("/bin/sleep")
    process = subprocess.Popen([str(tmp_path / "pulumi"), "600"])
    yield process.pid
    process.kill()
    process.wait()


def test_a_dead_runs_lock_is_removed_by_the_operation_that_meets_it(project: Project, dead: int) -> None:
    change = project.change(names(1))
    project.engine.prepare()
    lock = project.lock_file(dead, socket.gethostname())
    lock.with_name(f"{lock.name}.attrs").write_text("{}")
    applied = project.stack.apply(change)
    assert (applied.failure, list(applied.accepted)) == (None, names(1))
    assert list(lock.parent.iterdir()) == []


@pytest.mark.parametrize("where", ["a living process here", "another host"])
def test_a_living_runs_lock_is_waited_for(project: Project, living: int, dead: int, where: str) -> None:
    project.engine = project.open_engine(lock_timeout=timedelta(seconds=0))
    project.engine.prepare()
    here = where == "a living process here"
    pid, host = (living, socket.gethostname()) if here else (dead, "elsewhere")
    lock = project.lock_file(pid, host)
    with pytest.raises(LockedError) as caught:
        project.scale(names(1))
    assert f"ann@{host}, process {pid}, since 2026-11-24T21:10:00Z" in caught.value.why
    assert lock.exists()
    assert project.machines() == {}


def test_a_lock_that_is_released_meanwhile(project: Project, living: int) -> None:
    project.engine.prepare()
    lock = project.lock_file(living, socket.gethostname())
    released = threading.Timer(1.0, lock.unlink)
    released.start()
    applied = project.scale(names(1))
    released.join()
    assert applied == Applied(accepted=project.machines())


def test_preview_takes_no_lock(project: Project, living: int) -> None:
    project.engine.prepare()
    project.lock_file(living, socket.gethostname())
    assert project.stack.preview(project.change(names(1))).operations == {"demo-worker-1": "create"}


def test_a_recycled_process_id_and_a_zombie_are_dead(project: Project, tmp_path: Path) -> None:
    project.engine.prepare()
    project.lock_file(os.getpid(), socket.gethostname())  # alive, and no engine
    assert [is_stale(lock) for lock in project.backend.locks()] == [True]
    (tmp_path / "pulumi").symlink_to("/bin/true")
    zombie = subprocess.Popen([str(tmp_path / "pulumi")])
    project.lock_file(zombie.pid, socket.gethostname())
    wait_until(lambda: ended(zombie.pid), "the zombie")
    assert [is_stale(lock) for lock in project.backend.locks()] == [True]
    zombie.wait()


def test_a_lock_that_cannot_be_read_is_nobodys(project: Project) -> None:
    project.engine = project.open_engine(lock_timeout=timedelta(seconds=0))
    project.engine.prepare()
    lock = project.lock_file(1, "here")
    lock.write_text('{"pid": ')
    assert project.backend.heal_locks() == []
    with pytest.raises(EngineError, match="unexpected end of JSON"):
        project.scale(names(1))
    assert lock.exists()
    assert project.machines() == {}


def failing_engine(project: Project, folder: Path, text: str, times: int) -> Path:
    """A `pulumi` whose first operations end with this text, as while another engine writes or removes its lock."""
    failures = folder / "failures"
    failures.write_text("x" * times)
    binary = folder / "pulumi"
    real = engine_binary.find(project.environ)
    binary.write_text(
        f"""#!/bin/bash
if [[ -s {shlex.quote(str(failures))} && "$*" == *--exec-kind* ]]; then
  truncate -s -1 {shlex.quote(str(failures))}
  printf '%s\\n' {shlex.quote(text)} >&2
  exit 255
fi
exec {shlex.quote(str(real))} "$@"
"""
    )
    binary.chmod(0o755)
    return binary


@pytest.mark.parametrize(
    "text",
    [
        "error: unexpected end of JSON input",
        'error: blob (key ".pulumi/locks/organization/scaler/demo/1.json") (code=NotFound): no such file',
    ],
    ids=["while it was written", "after it was removed"],
)
def test_a_lock_that_was_read_at_a_bad_moment_is_looked_at_again(project: Project, tmp_path: Path, text: str) -> None:
    project.engine.prepare()
    project.engine = project.open_engine(binary=failing_engine(project, tmp_path, text, times=2))
    assert project.scale(names(1)).failure is None
    assert list(project.machines()) == names(1)


def test_what_stays_unreadable_is_no_lock_at_a_bad_moment(project: Project, tmp_path: Path) -> None:
    text = "error: unexpected end of JSON input"
    project.engine.prepare()
    project.engine = project.open_engine(binary=failing_engine(project, tmp_path, text, times=100))
    with pytest.raises(EngineError, match="unexpected end of JSON"):
        project.scale(names(1))
    assert project.machines() == {}
