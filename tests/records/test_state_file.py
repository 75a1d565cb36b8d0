"""The state file: damage, kills, several writers, full disks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scaler.errors import StateError
from scaler.records.codec import server_to_json, to_json
from scaler.records.state_file import CorruptStateError, StateFile
from tests.support.records import full_disk, server, state


def test_absent_file_is_no_state(tmp_path: Path) -> None:
    assert StateFile(tmp_path / "never-made", "prod").load() is None


def test_save_makes_the_folder_and_counts(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "a" / "b", "prod")
    first = file.save(state(server()))
    second = file.save(first)
    assert (first.serial, second.serial) == (1, 2)
    assert file.load() == second
    assert file.path == tmp_path / "a" / "b" / "prod.json"


def test_serial_never_goes_back(tmp_path: Path) -> None:
    file = StateFile(tmp_path, "prod")
    file.save(state(serial=41))
    assert file.save(state(serial=7)).serial == 43


DAMAGED = [
    pytest.param(b"", id="empty"),
    pytest.param(b'{"schema": 1, "stack": "prod", "serv', id="torn"),
    pytest.param(b"\xff\xfe\x00", id="binary"),
    pytest.param(b"[" * 200_000, id="nested"),
    pytest.param(b"[]", id="list"),
    pytest.param(b'{"stack": "prod"}', id="no schema"),
    pytest.param(b'{"schema": true}', id="schema is no number"),
    pytest.param(json.dumps(to_json(state()) | {"servers": {}}).encode(), id="servers is no list"),
    pytest.param(json.dumps(to_json(state()) | {"servers": [None]}).encode(), id="server is no object"),
    pytest.param(json.dumps(to_json(state()) | {"wanted": []}).encode(), id="wanted is no object"),
    pytest.param(json.dumps(to_json(state()) | {"stack": "test"}).encode(), id="another stack's"),
    *(
        pytest.param(json.dumps(to_json(state(server())) | changed).encode(), id=str(changed)[:40])
        for changed in (
            {"wanted": {"worker": -1}},
            {"wanted": {"worker": 10**30}},
            {"wanted": {"worker": 200_000}},
            {"serial": -1},
            {"serial": 10**30},
            {"schema": 10**30},
            {"servers": [{**server_to_json(server()), "currency": "EUR", "price_per_hour": "-1"}]},
            {"servers": [{**server_to_json(server()), "currency": "EUR", "price_per_hour": "1e999999"}]},
        )
    ),
]


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_file_is_named_and_set_aside_never_lost(tmp_path: Path, content: bytes) -> None:
    file = StateFile(tmp_path, "prod")
    file.path.write_bytes(content)
    with pytest.raises(CorruptStateError) as caught:
        file.load()
    assert str(file.path) in caught.value.what
    assert caught.value.why
    assert "scaler status --refresh --stack prod" in caught.value.fix
    assert file.path.read_bytes() == content

    saved = file.save(state(server()))

    assert file.load() == saved
    assert (tmp_path / "prod.json.corrupt-1").read_bytes() == content


def test_set_aside_keeps_every_damaged_file(tmp_path: Path) -> None:
    file = StateFile(tmp_path, "prod")
    for number in (1, 2, 3):
        file.path.write_text(f"damage {number}")
        assert file.set_aside() == tmp_path / f"prod.json.corrupt-{number}"
    assert (tmp_path / "prod.json.corrupt-2").read_text() == "damage 2"
    assert file.load() is None


def test_a_newer_scalers_file_is_not_overwritten(tmp_path: Path) -> None:
    file = StateFile(tmp_path, "prod")
    file.path.write_text(json.dumps({"schema": 9, "stack": "prod"}))
    with pytest.raises(StateError, match="newer scaler"):
        file.save(state())
    assert json.loads(file.path.read_text()) == {"schema": 9, "stack": "prod"}


def test_a_folder_that_is_a_file_is_a_clear_error(tmp_path: Path) -> None:
    blocker = tmp_path / "state"
    blocker.write_text("")
    file = StateFile(blocker, "prod")
    with pytest.raises(StateError) as saving:
        file.save(state())
    with pytest.raises(StateError) as loading:
        file.load()
    assert saving.value.code == "state_unwritable"
    assert "--state-dir" in saving.value.fix
    assert (loading.value.code, loading.value.why) == ("state_unreadable", f"Not a directory: {file.path}")


def test_read_only_folder_is_a_clear_error(tmp_path: Path) -> None:
    file = StateFile(tmp_path, "prod")
    before = file.save(state(server()))
    tmp_path.chmod(0o555)
    try:
        if os.access(tmp_path, os.W_OK):
            pytest.skip("this user may write everywhere (root), so no folder is read-only")
        with pytest.raises(StateError) as caught:
            file.save(before)
    finally:
        tmp_path.chmod(0o755)
    assert caught.value.why == "Permission denied"
    assert file.load() == before


def test_full_disk_keeps_the_old_state_and_leaves_nothing_behind(tmp_path: Path) -> None:
    file = StateFile(tmp_path, "prod")
    before = file.save(state(server()))
    with full_disk(), pytest.raises(StateError) as caught:
        file.save(state(*(server(f"prod-worker-{number}") for number in range(50))))
    assert caught.value.code == "state_unwritable"
    assert caught.value.why == os.strerror(27)  # EFBIG
    assert "Free disk space" in caught.value.fix
    assert file.load() == before
    assert not list(tmp_path.glob(".prod.json*tmp"))


def test_what_a_killed_writer_left_is_cleaned_up(tmp_path: Path) -> None:
    file = StateFile(tmp_path, "prod")
    (tmp_path / ".prod.json.tmp").write_text('{"schema": 1, "sta' + "x" * 100_000)
    saved = file.save(state(server()))
    assert file.load() == saved
    assert {path.name for path in tmp_path.iterdir()} <= {"prod.json", "prod.json.lock"}


WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from scaler.model.lifecycle import Status
from scaler.model import Server
from scaler.records.state import State
from scaler.records.state_file import StateFile

directory, writer, saves = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
now = datetime(2026, 11, 24, 22, 10, tzinfo=UTC)
servers = tuple(
    Server(name=f"prod-{writer}-{n}", group=writer, id=str(n), status=Status.RUNNING, since=now, error="x" * 500)
    for n in range(100)
)
state = State(stack="prod", project="scaler", cloud="hetzner", updated=now, wanted={writer: 100}, servers=servers)
file = StateFile(directory, "prod")
print("ready", flush=True)
while saves:
    file.save(state)
    saves -= 1
"""


def start_writer(directory: Path, name: str, saves: int) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-c", WRITER, str(directory), name, str(saves)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


@pytest.mark.acceptance("S04")
def test_a_kill_at_any_moment_of_a_save_leaves_a_whole_state(tmp_path: Path) -> None:
    file = StateFile(tmp_path, "prod")
    last = file.save(state(server()))
    for kill in range(6):
        with start_writer(tmp_path, f"writer{kill}", saves=-1) as writer:
            # A loop of saves is all that the writer does, so a kill mostly falls within one.
            while (now := file.load()) is None or now.serial < last.serial + 2 + kill:
                pass
            writer.kill()
        found = file.load()
        assert found is not None
        assert found.serial >= last.serial + 2 + kill
        assert [item.name for item in found.servers] == [f"prod-writer{kill}-{n}" for n in range(100)]
        last = file.save(found)
        assert {path.name for path in tmp_path.iterdir()} <= {"prod.json", "prod.json.lock"}


@pytest.mark.acceptance("S11")
def test_two_writers_take_turns_and_no_serial_is_given_twice(tmp_path: Path) -> None:
    file = StateFile(tmp_path, "prod")
    with start_writer(tmp_path, "left", 20) as left, start_writer(tmp_path, "right", 20) as right:
        while left.poll() is None or right.poll() is None:
            seen = file.load()
            if seen is not None:
                assert {item.group for item in seen.servers} in ({"left"}, {"right"})
    assert (left.returncode, right.returncode) == (0, 0)
    final = file.load()
    assert final is not None
    assert final.serial == 40


def test_state_loads_neither_pulumi_nor_pydantic_nor_rich_nor_filelock() -> None:
    script = (
        "import sys, scaler.records.state_file, scaler.records.event_log; "
        "print([name for name in ('pulumi', 'pydantic', 'rich', 'filelock') if name in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
