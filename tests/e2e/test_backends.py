"""State in other places than a folder, shared by two machines of a team."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from scaler.support.clock import format_time
from tests.support.backends import STORES, Backend, database
from tests.support.foreign import VOLUME
from tests.support.project import HETZNER, Project, Vendor, finish, is_alive, wait_until

_IN_DATABASE = pytest.mark.parametrize("backend", [database], ids=["postgresql"], indirect=True)
"""One backend is enough where the engine alone talks to it: what scaler reads is the engine's text."""


@pytest.fixture(params=[*STORES.values()], ids=[*STORES])
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

    oldest = shared.by_age[0]
    shared.run("ensure", "1", "--yes", "--state-dir", "elsewhere")
    assert set(shared.machines) == {oldest}
    shared.run("status", "--refresh")
    assert set(shared.records) == {oldest}
    # What is saved there of the user data is encrypted.
    saved = backend.saved()
    assert oldest.encode() in saved
    assert b"ciphertext" in saved
    assert b"M4RK3R" not in saved
    shared.run("destroy", "--yes")
    assert shared.machines == {}


@_IN_DATABASE
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
    assert "ci@elsewhere, process 1" in shared.run("unlock", "--yes", "-o", "json", code=5).error["why"]
    shared.run("ensure", "3", "--yes", "--lock-timeout", "0s", code=5)
    asked = shared.run("unlock", "--force", "-o", "json", code=64).error
    assert "ci@elsewhere, process 1" in asked["why"]
    (removed,) = shared.run("unlock", "--force", "--yes", "-o", "json").document["removed"]
    assert removed["kind"] == "engine"
    assert "ci@elsewhere, process 1" in removed["holder"]
    shared.run("ensure", "3", "--yes", "--lock-timeout", "0s")
    assert len(shared.machines) == 3


def test_who_has_the_lock_is_known_on_another_machine(shared: Project) -> None:
    shared.ensure("1")
    elsewhere = ("--state-dir", "elsewhere", "-o", "json")
    assert shared.run("status", *elsewhere).document["locked_by"] is None
    hanging = shared.fault("hang_forever", "POST", times=None)
    first = shared.start("ensure", "2", "--yes")
    engine = None
    try:
        wait_until(lambda: shared.world.fired(hanging), "a create that hangs")
        engine = next(pid for pid, operation in reversed(shared.engine_runs) if operation == "up")
        # Neither may give up while it is looked at, however slow this machine is.
        for process in (first.pid, engine):
            os.kill(process, signal.SIGSTOP)
        words = rf"\S+@{socket.gethostname()}, process {engine}, since \S+, for \S+: `ensure worker=2`"
        waited = shared.run("ensure", "3", "--yes", "--lock-timeout", "1s", *elsewhere, code=5)
        assert re.fullmatch(words, waited.error["why"])
        # It asks for no longer than a second.
        locked_by = wait_until(lambda: shared.run("status", *elsewhere).document["locked_by"], "an answer in time")
        assert (locked_by["command"], locked_by["pid"]) == ("ensure worker=2", engine)
        checks = {check["check"]: check for check in shared.run("doctor", *elsewhere).document["checks"]}
        assert re.search(words, checks["lock demo"]["message"])
        assert re.search(words, shared.run("unlock", "--yes", *elsewhere, code=5).error["why"])
    finally:
        first.kill()
        first.communicate()
        if engine:
            with suppress(ProcessLookupError):
                os.kill(engine, signal.SIGKILL)
    shared.world.clear_faults()
    # The holder was on this host, and is dead: nobody has to force anything.
    wait_until(lambda: not is_alive(engine), "the end of the engine")
    (removed,) = shared.run("unlock", "--yes", *elsewhere).document["removed"]
    assert re.fullmatch(words, removed["holder"])
    assert shared.run("status", *elsewhere).document["locked_by"] is None
    shared.run("ensure", "2", "--yes", "--lock-timeout", "0s", *elsewhere)
    assert len(shared.machines) == 2


def pulumi(shared: Project, *arguments: str) -> None:
    """Run the engine by hand, as a person would."""
    environ = {**shared.environ, "PULUMI_CONFIG_PASSPHRASE": ""}
    subprocess.run([str(shared.engine), "--non-interactive", *arguments], cwd=shared.folder, env=environ, check=True)


@_IN_DATABASE
def test_a_foreign_resource_that_comes_after_the_plan_is_seen_under_the_lock(shared: Project, backend: Backend) -> None:
    shared.environ["PULUMI_BACKEND_URL"] = backend.url
    shared.ensure("1")
    exported = shared.folder / "stack.json"
    pulumi(shared, "stack", "export", "--stack", "demo", "--file", str(exported))
    before = exported.read_bytes()
    document = json.loads(before)
    volume = {"urn": VOLUME, "custom": True, "type": "hcloud:index/volume:Volume", "id": "1"}
    document["deployment"]["resources"].append(volume)
    with_volume = shared.folder / "with-volume.json"
    with_volume.write_text(json.dumps(document), encoding="utf-8")

    asked = len(shared.changes)
    for operation, command in (("up", ("ensure", "2", "--yes")), ("preview", ("preview", "2"))):
        release = shared.hold_engine(operation)
        begun = len(shared.engine_runs)
        running = shared.start(*command, "-o", "json")
        wait_until(lambda: operation in [word for _, word in shared.engine_runs[begun:]], operation)  # noqa: B023
        pulumi(shared, "stack", "import", "--stack", "demo", "--file", str(with_volume))
        release()
        ran = finish(running)
        assert (ran.code, ran.error["code"]) == (3, "foreign_resources"), ran.stderr
        assert VOLUME in ran.error["why"]
        pulumi(shared, "stack", "export", "--stack", "demo", "--file", str(exported))
        assert VOLUME in exported.read_text(encoding="utf-8")
        (shared.folder / "without.json").write_bytes(before)
        pulumi(shared, "stack", "import", "--stack", "demo", "--file", "without.json")
    assert len(shared.changes) == asked
    shared.ensure("2")
    assert len(shared.machines) == 2
