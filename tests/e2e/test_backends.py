"""State in other places than a folder, shared by two machines of a team.

PostgreSQL is a real server, started from Debian's package; the engine's S3 client talks to moto, an
implementation of S3 that we did not write.
"""

from __future__ import annotations

import base64
import json
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest

from scaler.support.clock import format_time
from tests.support.project import HETZNER, Project, Vendor

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


class Backend(Protocol):
    """A place for the engine's state, and what is in it."""

    url: str
    environ: Mapping[str, str]

    def saved(self) -> bytes: ...

    def lock(self, content: str) -> None:
        """Put another run's lock on the stack."""


_LOCK = "/.pulumi/locks/organization/scaler/demo/of-elsewhere.json"


@dataclass(frozen=True)
class Database:
    url: str
    environ: Mapping[str, str] = field(default_factory=dict)

    def saved(self) -> bytes:
        return b"\n".join(map(base64.b64decode, self._query("select data->>'data' from pulumi_state").split()))

    def lock(self, content: str) -> None:
        document = json.dumps({"data": base64.b64encode(content.encode()).decode()})
        self._query(f"insert into pulumi_state (key, data) values ('postgres{_LOCK}', '{document}')")  # noqa: S608

    def _query(self, query: str) -> bytes:
        command = [str(_PROGRAMS[0] / "psql"), self.url, "-qAtc", query]
        return subprocess.run(command, check=True, capture_output=True).stdout


@dataclass(frozen=True)
class Bucket:
    endpoint: str
    environ: Mapping[str, str] = field(
        default_factory=lambda: {"AWS_ACCESS_KEY_ID": "one", "AWS_SECRET_ACCESS_KEY": "two"}
    )

    @property
    def url(self) -> str:
        return f"s3://states/team?endpoint={self.endpoint}&use_path_style=true&region=us-east-1"

    @property
    def client(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="one",
            aws_secret_access_key="two",
        )

    def saved(self) -> bytes:
        client = self.client
        keys = [item["Key"] for item in client.list_objects_v2(Bucket="states")["Contents"]]
        return b"\n".join(client.get_object(Bucket="states", Key=key)["Body"].read() for key in keys)

    def lock(self, content: str) -> None:
        self.client.put_object(Bucket="states", Key=f"team{_LOCK}", Body=content.encode())


@contextmanager
def database() -> Iterator[Database]:
    """An empty database on loopback."""
    if not _PROGRAMS:
        pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Not below the test's own folder, which only this user may enter.
    folder = Path(f"/tmp/scaler-postgres-{port}")  # noqa: S108
    folder.mkdir()
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody")
    data, control = folder / "data", str(_PROGRAMS[0] / "pg_ctl")
    options = f"-p {port} -h 127.0.0.1 -k {folder}"
    try:
        _as_nobody(str(_PROGRAMS[0] / "initdb"), "-D", str(data), "-A", "trust", "-U", "postgres", cwd=folder)
        _as_nobody(control, "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start", cwd=folder)
        yield Database(f"postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable")
        _as_nobody(control, "-D", str(data), "-m", "immediate", "-w", "stop", cwd=folder)
    finally:
        shutil.rmtree(folder)


@contextmanager
def bucket() -> Iterator[Bucket]:
    """An empty bucket on loopback."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    made = Bucket(f"http://{host}:{port}")
    made.client.create_bucket(Bucket="states")
    yield made
    made.client.close()
    server.stop()


@pytest.fixture(params=[database, bucket], ids=["postgresql", "s3"])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    with request.param() as backend:
        yield backend


@pytest.fixture
def shared(make_served: Callable[[Vendor], Project], backend: Backend) -> Project:
    """A project whose state is in the backend; whose cloud it is makes no difference."""
    project = make_served(HETZNER)
    project.environ |= backend.environ
    project.describe(backend=backend.url, groups={"worker": {"user_data_inline": "#cloud-config\n# M4RK3R\n"}})
    return project


@pytest.mark.acceptance("S14")
def test_two_machines_share_a_stack(shared: Project, backend: Backend) -> None:
    shared.run("preview", "3")
    assert not shared.state_dir.exists()
    # The engine notes its layout wherever it reads; a stack would be a checkpoint.
    assert b"checkpoint" not in backend.saved()
    grown = shared.ensure("3").document
    assert grown["outcome"] == "converged"
    assert shared.ensure("3").document["outcome"] == "unchanged"
    here = shared.records
    kept = backend.saved()
    shared.run("preview", "5")
    assert backend.saved() == kept
    assert b"checkpoint" in kept

    # Another machine: the same project, and no state file.
    shared.run("status", "--refresh", "--state-dir", "elsewhere")
    shared.run("ensure", "3", "--yes", "--expect-current", "3", "--state-dir", "elsewhere")
    there = shared.run("status", "-o", "json", "--state-dir", "elsewhere").document["servers"]
    assert {server["name"]: server for server in there} == here

    shared.run("ensure", "1", "--yes", "--state-dir", "elsewhere")
    assert set(shared.machines) == {"demo-worker-1"}
    shared.run("status", "--refresh")
    assert set(shared.records) == {"demo-worker-1"}
    # What is saved there of the user data is encrypted.
    saved = backend.saved()
    assert b"demo-worker-1" in saved
    assert b"ciphertext" in saved
    assert b"M4RK3R" not in saved
    shared.run("destroy", "--yes")
    assert shared.machines == {}


def test_a_lock_elsewhere_is_taken_away_when_it_is_so_old(shared: Project, backend: Backend) -> None:
    shared.ensure("1")
    since = datetime.now(UTC) - timedelta(minutes=50)
    lock = {"pid": 1, "username": "ci", "hostname": "elsewhere", "timestamp": format_time(since)}
    backend.lock(json.dumps(lock))
    ensure = ("ensure", "2", "--yes", "-o", "json", "--lock-timeout", "0s")
    for command in (ensure, (*ensure, "--steal-after", "1h")):
        assert "ci@elsewhere, process 1" in shared.run(*command, code=5).error["why"]
    assert len(shared.machines) == 1
    assert "took the stack's lock from ci@elsewhere" in shared.run(*ensure, "--steal-after", "45m").stderr
    assert len(shared.machines) == 2

    # Or a person who knows that its holder is dead removes it.
    backend.lock(json.dumps(lock))
    assert "--force removes them" in shared.run("unlock", "--yes").stderr
    shared.run("ensure", "3", "--yes", "--lock-timeout", "0s", code=5)
    asked = shared.run("unlock", "--force", "-o", "json", code=64).error
    assert "whoever has one" in asked["why"]
    (removed,) = shared.run("unlock", "--force", "--yes", "-o", "json").document["removed"]
    assert removed["kind"] == "engine"
    shared.run("ensure", "3", "--yes", "--lock-timeout", "0s")
    assert len(shared.machines) == 3
