"""The engine's files, read without the engine: checkpoints, and locks of the living and the dead."""

from __future__ import annotations

import gzip
import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scaler.engine.backend import LocalBackend, absolute_url
from scaler.engine.checkpoint import Checkpoint, read_deployment
from scaler.engine.locks import Lock, is_stale, locks_in, remove_lock
from scaler.errors import EngineError, StateError
from scaler.support.clock import parse_time

URN = "urn:pulumi:prod::scaler::scaler:index:ServerGroup$hcloud:index/server:Server::prod-worker-1"
SINCE = "2026-11-24T22:10:00Z"


def deployment(**more: Any) -> dict[str, Any]:
    return {
        "resources": [
            {
                "urn": "urn:pulumi:prod::scaler::pulumi:pulumi:Stack::x",
                "type": "pulumi:pulumi:Stack",
                "outputs": {"a": 1},
            },
            {"urn": "urn:p", "type": "pulumi:providers:hcloud", "custom": True, "id": "provider"},
            {"urn": "urn:g", "type": "scaler:index:ServerGroup"},
            {"urn": URN, "type": "hcloud:index/server:Server", "custom": True, "id": "7", "outputs": {"name": "n"}},
        ],
        **more,
    }


@pytest.fixture
def backend(tmp_path: Path) -> LocalBackend:
    found = LocalBackend.at(f"file://{tmp_path}", "scaler", "prod")
    assert found is not None
    (found.root / "stacks" / "scaler").mkdir(parents=True)
    return found


def file_of(backend: LocalBackend, suffix: str = ".json") -> Path:
    return backend.root / "stacks" / "scaler" / f"prod{suffix}"


def content(latest: dict[str, Any] | None, version: int = 3) -> bytes:
    return json.dumps({"version": version, "checkpoint": {"stack": "prod", "latest": latest}}).encode()


# ---------------------------------------------------------------------------------------------
# The checkpoint


def test_servers_outputs_and_pending_operations() -> None:
    pending = [{"resource": {"urn": URN}, "type": "creating"}]
    read = read_deployment(deployment(pending_operations=pending))
    assert [(resource.name, resource.id, resource.outputs) for resource in read.resources] == [
        ("prod-worker-1", "7", {"name": "n"})
    ]
    assert (read.outputs, read.pending) == ({"a": 1}, (URN,))


def test_a_resource_that_waits_for_its_replacements_delete_is_not_the_server() -> None:
    doubled = deployment()
    doubled["resources"].append({**doubled["resources"][-1], "id": "6", "delete": True})
    assert [resource.id for resource in read_deployment(doubled).resources] == ["7"]


def test_an_empty_deployment() -> None:
    assert read_deployment({}) == Checkpoint()


@pytest.mark.parametrize("zipped", [False, True])
def test_the_file_is_read_plain_and_zipped(backend: LocalBackend, zipped: bool) -> None:
    whole = content(deployment())
    file_of(backend, ".json.gz" if zipped else ".json").write_bytes(gzip.compress(whole) if zipped else whole)
    assert backend.exists()
    assert [resource.id for resource in backend.checkpoint().resources] == ["7"]


def test_no_file_and_no_deployment_are_an_empty_stack(backend: LocalBackend) -> None:
    assert not backend.exists()
    assert backend.checkpoint() == Checkpoint()
    file_of(backend).write_bytes(content(None))
    assert backend.exists()
    assert backend.checkpoint() == Checkpoint()


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b"\xff\xfe",
        b"{}",
        b'{"version": 3, "checkpoint": []}',
        content({"resources": [{}]})[:-9],
        content({"resources": [{"custom": True}]}),
        content({"resources": 7}),
        content(deployment(), version=99),
    ],
)
def test_a_damaged_checkpoint_is_an_error_that_names_the_file(backend: LocalBackend, damaged: bytes) -> None:
    file_of(backend).write_bytes(damaged)
    with pytest.raises(EngineError) as error:
        backend.checkpoint()
    assert str(file_of(backend)) in error.value.why
    assert error.value.fix


def test_a_backend_in_the_place_of_a_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        backend = LocalBackend.at(folder.as_uri(), "scaler", "prod")
        assert backend is not None
        with pytest.raises(StateError, match="cannot be written") as error:
            backend.make()
        assert str(folder) in error.value.what


@pytest.mark.parametrize("kept", [0, 5, 20, -1])
def test_a_torn_zipped_checkpoint_is_an_error(backend: LocalBackend, kept: int) -> None:
    file_of(backend, ".json.gz").write_bytes(gzip.compress(content(deployment()))[:kept])
    with pytest.raises(EngineError):
        backend.checkpoint()


def test_a_garbled_zipped_checkpoint_is_an_error(backend: LocalBackend) -> None:
    zipped = bytearray(gzip.compress(content(deployment())))
    zipped[15:25] = b"\xff" * 10
    file_of(backend, ".json.gz").write_bytes(bytes(zipped))
    with pytest.raises(EngineError):
        backend.checkpoint()


# ---------------------------------------------------------------------------------------------
# Where it is


def test_a_relative_folder_is_the_projects(tmp_path: Path) -> None:
    assert absolute_url("file://.scaler/pulumi", tmp_path) == f"file://{tmp_path}/.scaler/pulumi"
    assert absolute_url("file:///srv/state", tmp_path) == "file:///srv/state"
    assert absolute_url("s3://bucket/a", tmp_path) == "s3://bucket/a"


@pytest.mark.parametrize("name", ["plain", "a b", "50%", "a#b", "a?b", "ü"])
def test_any_folder_name_survives_the_url(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    found = LocalBackend.at(absolute_url("file://.", tmp_path / name), "scaler", "prod")
    assert found is not None
    assert found.root == tmp_path / name / ".pulumi"


def test_other_backends_are_not_folders() -> None:
    assert LocalBackend.at("https://api.pulumi.com", "scaler", "prod") is None


# ---------------------------------------------------------------------------------------------
# Locks


def lock(backend: LocalBackend, name: str, pid: int, host: str | None = None) -> Path:
    folder = backend.root / "locks" / "organization" / "scaler" / "prod"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(
        json.dumps({"pid": pid, "username": "me", "hostname": host or socket.gethostname(), "timestamp": SINCE})
    )
    return path


def dead_pid() -> int:
    ended = subprocess.Popen(["true"])
    ended.wait()
    return ended.pid


def test_a_dead_owners_lock_is_removed_and_a_strangers_kept(backend: LocalBackend) -> None:
    dead = lock(backend, "dead", dead_pid())
    elsewhere = lock(backend, "elsewhere", dead_pid(), host="another-host")
    assert [item.path for item in backend.heal_locks()] == [dead]
    assert (dead.exists(), elsewhere.exists()) == (False, True)
    assert [item.hostname for item in backend.locks()] == ["another-host"]


def test_the_id_of_a_dead_engine_that_another_program_has_now_is_stale(backend: LocalBackend) -> None:
    lock(backend, "reused", os.getpid())
    (found,) = backend.locks()
    assert is_stale(found)


def test_a_living_engines_lock_is_kept(backend: LocalBackend, tmp_path: Path) -> None:
    engine = tmp_path / "pulumi"
    engine.symlink_to("/bin/sleep")
    running = subprocess.Popen([engine, "60"])
    try:
        held = lock(backend, "held", running.pid)
        assert backend.heal_locks() == []
        assert held.exists()
    finally:
        running.kill()
        running.wait()
    assert [item.path for item in backend.heal_locks()] == [held]


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '{"pid": "x", "username": "", "hostname": "", "timestamp": ""}'])
def test_a_lock_that_is_being_written_is_not_touched(backend: LocalBackend, text: str) -> None:
    half = lock(backend, "half", 1)
    half.write_text(text)
    assert (backend.locks(), backend.heal_locks()) == ([], [])
    assert half.exists()


def test_holders_are_read_from_the_engines_words() -> None:
    words = (
        "error: the stack is currently locked by 1 lock(s). Either wait for the other process(es) to end or delete "
        f"the lock file with `pulumi cancel`.\n  s3://b/x.json: created by me@runner-7 (pid 4711) at {SINCE}"
    )
    assert locks_in(words) == [Lock(4711, "me", "runner-7", parse_time(SINCE))]
    assert locks_in("something else") == []


# ---------------------------------------------------------------------------------------------
# A checkpoint that a full disk cut off


@pytest.mark.parametrize("left", [b"", b'{"version": 3, "chec'])
def test_a_torn_checkpoint_gives_way_to_the_copy_from_before(backend: LocalBackend, left: bytes) -> None:
    path = file_of(backend)
    path.write_bytes(left)
    path.with_name(path.name + ".bak").write_bytes(content(deployment()))
    assert backend.heal_checkpoint()
    assert [resource.id for resource in backend.checkpoint().resources] == ["7"]
    assert not backend.heal_checkpoint()


def test_without_a_whole_copy_a_torn_checkpoint_stays(backend: LocalBackend) -> None:
    path = file_of(backend)
    path.write_bytes(b"")
    assert not backend.heal_checkpoint()
    path.with_name(path.name + ".bak").write_bytes(b"{")
    assert not backend.heal_checkpoint()
    assert path.read_bytes() == b""


def test_a_whole_checkpoint_of_another_version_is_no_torn_one(backend: LocalBackend) -> None:
    path = file_of(backend)
    path.write_bytes(content(deployment(), version=99))
    path.with_name(path.name + ".bak").write_bytes(content(deployment()))
    assert not backend.heal_checkpoint()


# ---------------------------------------------------------------------------------------------
# Locks that are not whole


def half_lock(backend: LocalBackend, name: str, age_s: float) -> Path:
    path = backend.root / "locks" / "organization" / backend.project / backend.stack / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    os.utime(path, (NOW.timestamp() - age_s,) * 2)
    return path


NOW = parse_time(SINCE)


@pytest.mark.parametrize("name", ["a.json", "a.json.18eb21d3e2b78772.tmp"])
def test_a_half_lock_is_removed_once_nobody_can_be_writing_it(backend: LocalBackend, name: str) -> None:
    path = half_lock(backend, name, 1)
    backend.heal_half_files(NOW)
    assert backend.half_locks() == [path]
    half_lock(backend, name, 6)
    backend.heal_half_files(NOW)
    assert backend.half_locks() == []
    assert not path.exists()


def test_half_attributes_are_removed_and_whole_ones_stay(backend: LocalBackend) -> None:
    """A kill between the two steps in which the engine's library writes them leaves an empty file."""
    half, whole = (backend.root / "stacks" / "scaler" / f"{backend.stack}.json{end}.attrs" for end in ("", ".bak"))
    half.parent.mkdir(parents=True, exist_ok=True)
    half.write_bytes(b"")
    whole.write_text('{"user.content_type": "application/json"}\n')
    for age_s, left in ((1, [half]), (6, [])):
        os.utime(half, (NOW.timestamp() - age_s,) * 2)
        backend.heal_half_files(NOW)
        assert backend.half_attributes() == left
    assert whole.exists() and not half.exists()


@pytest.mark.parametrize(
    ("content", "torn"),
    [(b"", True), (b"[" * 200_000, True), (b"[]", False), (b'{"pid": 1e999}', False), (b'{"pid": 0}', False)],
    ids=["empty", "deep", "list", "infinite", "zero"],
)
def test_a_lock_that_names_nobody_is_seen(backend: LocalBackend, content: bytes, torn: bool) -> None:
    folder = backend.root / "locks" / "organization" / "scaler" / "prod"
    folder.mkdir(parents=True)
    path = folder / "1.json"
    path.write_bytes(content)
    assert backend.locks() == []
    # Only half a lock is certainly nobody's: what is whole may be of an engine that names its owner in another way.
    assert (backend.half_locks(), backend.nameless_locks()) == (([path], []) if torn else ([], [path]))


def test_locks_that_an_error_names_wrongly_are_left_out() -> None:
    text = "created by u@h (pid {}) at {}"
    assert locks_in(text.format(10**30, SINCE)) == []
    assert locks_in(text.format(1, "noon")) == []
    assert len(locks_in(text.format(1, SINCE))) == 1


def test_a_lock_that_cannot_be_removed_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "lock.json").mkdir()
    with pytest.raises(StateError, match=r"lock\.json cannot be removed"):
        remove_lock(Lock(1, "me", "here", parse_time("2026-01-01T00:00:00Z"), tmp_path / "lock.json"))
