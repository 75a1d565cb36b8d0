"""What others have planted in a shared state folder: links, pipes. No file outside is touched, and nothing waits."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from scaler.commands.main import main
from scaler.engine.backend import LocalBackend
from scaler.engine.housekeeping import leftovers, remove, surplus
from scaler.errors import StateError
from scaler.hooks import drain_process
from scaler.hooks.drains import DrainProcesses
from scaler.model import Drain
from scaler.model.events import Event, EventName
from scaler.records.event_log import EventLog
from scaler.records.folder_store import FolderStore
from scaler.records.run_lock import RunLock
from scaler.records.state_file import StateFile
from scaler.records.store import StoreUnavailableError
from scaler.simulator.world import SimulatedWorld
from scaler.support.clock import SystemClock
from scaler.support.files import open_file, replace_file
from scaler.support.sessions import isolated
from tests.support.records import server, state

Plant = Callable[[Path], None]


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim"
    path.write_text("precious")
    return path


@pytest.fixture(params=["link", "dangling link", "hard link", "pipe"])
def plant(request: pytest.FixtureRequest, victim: Path) -> Plant:
    if request.param == "pipe":
        return os.mkfifo
    if request.param == "hard link":
        return lambda path: path.hardlink_to(victim)
    return lambda path: path.symlink_to(victim if request.param == "link" else victim.with_name("new"))


@pytest.fixture
def folder(tmp_path: Path, victim: Path) -> Path:
    """The state folder; the test also proves that nothing outside was written."""
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


def untouched(victim: Path) -> bool:
    return victim.read_text() == "precious" and not victim.with_name("new").exists()


def test_the_state_file(folder: Path, victim: Path, plant: Plant) -> None:
    (folder / "prod.json").symlink_to(victim)
    plant(folder / ".prod.json.tmp")
    replace_file(folder / "prod.json", b"{}")
    assert untouched(victim)
    assert not (folder / "prod.json").is_symlink()
    (folder / "prod.json").unlink()
    StateFile(folder, "prod").save(state(server()))
    assert untouched(victim)


def test_the_event_log(folder: Path, victim: Path, plant: Plant) -> None:
    plant(folder / "prod.events.jsonl")
    warnings: list[str] = []
    EventLog(folder / "prod.events.jsonl", SystemClock(), warn=warnings.append).append(
        Event(event=EventName.RUN_STARTED)
    )
    assert untouched(victim)
    assert re.search("not followed|hard link", "".join(warnings))


@pytest.mark.parametrize("name", ["prod.lock.json", "prod.lock"])
def test_the_run_s_lock(folder: Path, victim: Path, plant: Plant, name: str) -> None:
    plant(folder / name)
    if name == "prod.lock" and not (folder / name).is_symlink():
        # A pipe and a file of others can be locked like one of ours, and nothing is written to them.
        plant(folder / "prod.lock.json")
    lock = RunLock(folder, "prod")
    with (
        pytest.raises(StateError),
        lock.held("ensure", SystemClock(), within=timedelta(0), note=lambda text: None),
    ):
        pytest.fail("the lock was taken through what others planted")
    assert untouched(victim)


def test_the_embedded_cloud_s_world(folder: Path, victim: Path, plant: Plant) -> None:
    plant(folder / "embedded.sqlite")
    with pytest.raises(StateError, match=r"not followed|hard link"):
        SimulatedWorld(folder / "embedded.sqlite")
    assert untouched(victim)


def test_the_lock_of_a_drain(folder: Path, victim: Path) -> None:
    (folder / "4711.json.lock").symlink_to(victim.with_name("new"))
    job = {"file": str(folder / "4711.json"), "record": {}, "words": ["true"], "directory": "/", "within_s": 1}
    given = json.dumps({**job, "end_within_s": 1}).encode()
    program = isolated("scaler.hooks.drain_process")
    ran = subprocess.run(program, input=given, capture_output=True, check=False)
    assert ran.returncode not in (0, drain_process.ANOTHER_DRAINS)
    assert untouched(victim)


def test_the_event_log_is_not_read_through_a_link(folder: Path, victim: Path, plant: Plant) -> None:
    plant(folder / "prod.events.jsonl")
    with suppress(StateError):  # A hard link is read: whoever made it may have copied the file.
        assert EventLog(folder / "prod.events.jsonl", SystemClock()).read() == []
    (folder / "prod.events.jsonl").unlink()
    (folder / "prod.events.jsonl").symlink_to("/dev/null")
    with pytest.raises(StateError, match="not followed"):
        EventLog(folder / "prod.events.jsonl", SystemClock()).read()
    assert untouched(victim)


def test_a_device_is_no_file_of_its_own() -> None:
    with pytest.raises(OSError, match="not followed"):
        open_file("/dev/null", os.O_WRONLY)


@pytest.mark.parametrize(
    "place",
    [
        "engine",
        "engine/logs",
        "prod.drains",
        "pulumi/.pulumi/history",
        "pulumi/.pulumi/history/shop/prod",
        "pulumi/.pulumi/locks",
        "pulumi/.pulumi/locks/organization/shop/prod",
    ],
)
def test_nothing_is_removed_in_a_folder_that_a_link_leads_to(folder: Path, tmp_path: Path, place: str) -> None:
    """Old logs, copies, drains and half locks are removed by each run: in these places there may be another folder."""
    theirs = tmp_path / "documents"
    ways = (".", "logs", "shop/prod", "organization/shop/prod")
    kept = [theirs / way / name for way in ways for name in ("1.json", "a.log", "prod-1.json", "prod-2.json")]
    for path in kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("precious")
        os.utime(path, (0, 0))
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).symlink_to(theirs)
    backend = LocalBackend(folder / "pulumi/.pulumi", "shop", "prod")
    remove(leftovers(folder / "engine", backend, SystemClock().now()))
    remove(surplus(folder / "engine", backend, keep=0))
    backend.heal_half_files(SystemClock().now())
    backend.heal_locks()
    DrainProcesses(folder / "prod.drains", tmp_path, SystemClock()).keep_only(())
    assert [path for path in kept if not path.exists()] == []


@pytest.mark.parametrize("name", ["embedded.sqlite", "embedded.sqlite-wal", "embedded.sqlite-shm"])
def test_the_embedded_cloud_s_files(folder: Path, victim: Path, plant: Plant, name: str) -> None:
    SimulatedWorld(folder / "embedded.sqlite").close()
    (folder / name).unlink(missing_ok=True)
    plant(folder / name)
    with pytest.raises(StateError, match=r"cannot (be used|use)"):
        SimulatedWorld(folder / "embedded.sqlite")
    assert untouched(victim)


def test_init_writes_to_no_link(folder: Path, victim: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / ".gitignore").symlink_to(victim)
    assert main(["init", "-C", str(folder)]) == 1
    assert untouched(victim)
    assert "it is a link" in capsys.readouterr().err


@pytest.mark.parametrize("place", [".scaler", ".scaler/shop", ".scaler/shop/prod"])
def test_records_beside_the_engine_s_state_follow_no_link(folder: Path, tmp_path: Path, place: str) -> None:
    theirs = tmp_path / "documents"
    theirs.mkdir()
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).symlink_to(theirs)
    with pytest.raises(StoreUnavailableError) as caught:
        FolderStore(folder, ".scaler/shop/prod").write("lock.json", b"{}")
    assert "not followed" in caught.value.why
    assert not list(theirs.iterdir())


def test_drains_follow_no_link(folder: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "documents"
    theirs.mkdir()
    (folder / "prod.drains").symlink_to(theirs)
    clock = SystemClock()
    drain = Drain(since=clock.now(), until=clock.now() + timedelta(minutes=5))
    with pytest.raises(StateError) as caught:
        DrainProcesses(folder / "prod.drains", tmp_path, clock).announce([replace(server(), id="4711", drain=drain)])
    assert "not followed" in caught.value.why
    assert not list(theirs.iterdir())
