"""State in other places than a folder, shared by two machines of a team."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from scaler.support.clock import format_time
from tests.support.backends import Backend, bucket, container, database
from tests.support.project import HETZNER, Project, Vendor


@pytest.fixture(params=[database, bucket, container], ids=["postgresql", "s3", "azblob"])
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
