"""State on PostgreSQL, shared by two machines of a team: a real server, started from Debian's package."""

from __future__ import annotations

import base64
import json
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from e2e_project import Project

from scaler.clock import format_time

_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]


def _as_nobody(*command: str, cwd: Path) -> None:
    """The server refuses to run as root."""
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    subprocess.run(
        command,
        cwd=cwd,
        check=True,
        stdout=subprocess.DEVNULL,
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
    )


@pytest.fixture
def database() -> Iterator[str]:
    """An empty database on loopback; its URL as a Pulumi backend."""
    if not _PROGRAMS:
        pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Not below the test's own folder, which only this user may enter.
    folder = Path(f"/tmp/scaler-postgres-{port}")
    folder.mkdir()
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody")
    data, control = folder / "data", str(_PROGRAMS[0] / "pg_ctl")
    options = f"-p {port} -h 127.0.0.1 -k {folder}"
    try:
        _as_nobody(str(_PROGRAMS[0] / "initdb"), "-D", str(data), "-A", "trust", "-U", "postgres", cwd=folder)
        _as_nobody(control, "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start", cwd=folder)
        yield f"postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable"
        _as_nobody(control, "-D", str(data), "-m", "immediate", "-w", "stop", cwd=folder)
    finally:
        shutil.rmtree(folder)


def everything_saved(database: str) -> bytes:
    """What the engine has in the database."""
    query = "select data->>'data' from pulumi_state"
    rows = subprocess.run([_PROGRAMS[0] / "psql", database, "-Atc", query], check=True, capture_output=True).stdout
    return b"\n".join(map(base64.b64decode, rows.split()))


def test_s14_two_machines_share_a_stack_on_postgresql(served: Project, database: str) -> None:
    served.describe(backend=database, groups={"worker": {"user_data_inline": "#cloud-config\n# M4RK3R\n"}})
    grown = served.ensure("3").document
    assert grown["outcome"] == "converged"
    assert served.ensure("3").document["outcome"] == "unchanged"
    here = served.records

    # Another machine: the same project, and no state file.
    served.run("status", "--refresh", "--state-dir", "elsewhere")
    served.run("ensure", "3", "--yes", "--expect-current", "3", "--state-dir", "elsewhere")
    there = served.run("status", "-o", "json", "--state-dir", "elsewhere").document["servers"]
    assert {server["name"]: server for server in there} == here

    served.run("ensure", "1", "--yes", "--state-dir", "elsewhere")
    assert set(served.machines) == {"demo-worker-1"}
    served.run("status", "--refresh")
    assert set(served.records) == {"demo-worker-1"}
    # What is in the database of the user data is encrypted.
    saved = everything_saved(database)
    assert b"demo-worker-1" in saved
    assert b"ciphertext" in saved
    assert b"M4RK3R" not in saved
    served.run("destroy", "--yes")
    assert served.machines == {}


def test_a_lock_on_postgresql_is_taken_away_when_it_is_so_old(served: Project, database: str) -> None:
    served.describe(backend=database)
    served.ensure("1")
    since = datetime.now(UTC) - timedelta(minutes=50)
    lock = {"pid": 1, "username": "ci", "hostname": "elsewhere", "timestamp": format_time(since)}
    document = json.dumps({"data": base64.b64encode(json.dumps(lock).encode()).decode()})
    key = "postgres/.pulumi/locks/organization/scaler/demo/of-elsewhere.json"
    insert = f"insert into pulumi_state (key, data) values ('{key}', '{document}')"
    subprocess.run([_PROGRAMS[0] / "psql", database, "-qc", insert], check=True)
    ensure = ("ensure", "2", "--yes", "-o", "json", "--lock-timeout", "0s")
    for command in (ensure, (*ensure, "--steal-after", "1h")):
        assert "ci@elsewhere, process 1" in served.run(*command, code=5).error["why"]
    assert len(served.machines) == 1
    assert "took the stack's lock from ci@elsewhere" in served.run(*ensure, "--steal-after", "45m").stderr
    assert len(served.machines) == 2
