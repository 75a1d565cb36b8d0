"""Plain `pulumi preview`, without scaler: the program of a stack declares what is recorded, and policies judge it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from pulumi.automation._server import LanguageServer
from pulumi.runtime.proto import language_pb2_grpc

from scaler.engine import binary
from scaler.engine.plugin import resource_type
from scaler.engine.plugin.operation import Operation
from scaler.engine.plugin.server import serve
from scaler.model import Permits, Server
from scaler.model.identity import Identity
from scaler.model.lifecycle import Status
from scaler.model.orders import Orders
from scaler.program import run_by_hand
from scaler.records.state import State
from scaler.records.state_file import StateFile
from tests.engine.stack_project import STACK, Project, names

pytestmark = pytest.mark.engine

IDENTITY = Identity(id="1d1d1d1d", project="scaler", cloud="hetzner", endpoint="embedded")


def save_state(
    project: Project, servers: dict[str, Server], orders: Orders | None = None, identity: Identity = IDENTITY
) -> None:
    StateFile(project.directory / ".scaler", STACK).save(
        State(
            stack=STACK,
            project="scaler",
            cloud=project.cloud_name,
            serial=1,
            updated=project.clock.now(),
            wanted={"worker": len(servers)},
            servers=tuple(servers.values()),
            identity=identity,
            orders=orders or Orders(),
        )
    )


def by_hand(project: Project, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, str], str | None]:
    """Preview the program as the engine runs it in `stacks/`; returns the operations but `same`, and the error.

    The engine's own provider, through which the program reads the saved outputs, is no operation.
    """
    monkeypatch.chdir(project.directory / "stacks")
    monkeypatch.delenv("SCALER_STATE_DIR", raising=False)
    ran = project.typed("preview", run_by_hand, Permits())
    operations = {urn: kind for urn, kind in ran.events.operations.items() if "::pulumi:providers:pulumi::" not in urn}
    return {urn.rpartition("::")[2]: kind for urn, kind in operations.items()}, ran.error


def test_by_hand_nothing_differs(either: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what the spec changed since, nor a template that the state file does not know, is a difference."""
    either.scale(names(2))
    recorded = dict(either.record())
    gone = either.record_of("demo-worker-7", None)
    save_state(either, {**recorded, gone.name: gone})
    spec = either.directory / "stacks" / f"{STACK}.yaml"
    spec.write_text(spec.read_text().replace("#cloud-config", "#changed") + "    labels: {role: web}\n")
    assert by_hand(either, monkeypatch) == ({}, None)


def test_by_hand_without_a_state_file_it_stops(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.scale(names(1))
    operations, error = by_hand(project, monkeypatch)
    assert "scaler status --refresh" in str(error)
    assert "Traceback" not in str(error)
    assert "delete" not in operations.values()


def test_by_hand_a_deleted_record_is_not_declared(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.scale(names(1))
    recorded = dict(project.record())
    deleted = replace(recorded["demo-worker-1"], name="demo-worker-2", id="99", status=Status.DELETED)
    save_state(project, {**recorded, "demo-worker-2": deleted})
    assert by_hand(project, monkeypatch) == ({}, None)


def test_by_hand_the_stack_keeps_its_id(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.scale(names(1))
    save_state(project, dict(project.record()))
    project.stack.establish(IDENTITY)
    monkeypatch.chdir(project.directory / "stacks")
    monkeypatch.delenv("SCALER_STATE_DIR", raising=False)
    assert project.typed("up", run_by_hand, Permits()).error is None
    assert project.stack.read().identity == IDENTITY
    assert set(project.held()) == {"demo-worker-1"}


def test_by_hand_a_state_file_that_is_older_than_the_stack_is_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine has asked for more, or has made a server, since this one's file was written."""
    project.scale(names(2))
    recorded = dict(project.record())
    project.stack.establish(IDENTITY)
    save_state(project, {"demo-worker-1": recorded["demo-worker-1"]})
    operations, error = by_hand(project, monkeypatch)
    assert "demo-worker-2 of the stack is unknown here" in str(error)
    assert "scaler status --refresh" in str(error)
    assert "delete" not in operations.values()
    asked = Orders(serial=3, wanted={"worker": 2})
    project.stack.record(lambda machines: recorded, IDENTITY, lambda: asked)
    save_state(project, recorded)
    assert project.typed("up", run_by_hand, Permits()).error is not None
    assert set(project.held()) == set(names(2))
    assert "serial 3 there, and 0 here" in str(by_hand(project, monkeypatch)[1])
    save_state(project, recorded, asked)
    assert by_hand(project, monkeypatch) == ({}, None)
    save_state(project, recorded, asked, replace(IDENTITY, id="0ther1d0"))
    assert "1d1d1d1d there, and 0ther1d0 here" in str(by_hand(project, monkeypatch)[1])


@contextmanager
def language_host(program: Callable[[], None]) -> Iterator[int]:
    """What runs a program for the engine in place of `pulumi-language-python`; yields its port."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(LanguageServer(program), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(0).wait()


def preview_by_hand(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`pulumi preview …` in the project folder, by the engine's own command line and without scaler's run."""
    with (
        language_host(run_by_hand) as host,
        serve(Operation(project.cloud, project.spec.owner, Permits()), workers=4, clock=project.clock) as provider,
    ):
        command = [str(binary.find(project.environ)), "preview", "--stack", STACK, "--non-interactive"]
        process = subprocess.Popen(
            [*command, *arguments, f"--client=127.0.0.1:{host}"],
            cwd=project.directory,
            env={
                "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
                "HOME": str(project.directory / "home"),
                "PULUMI_BACKEND_URL": project.backend_url,
                "PULUMI_CONFIG_PASSPHRASE": "",
                "PULUMI_SKIP_UPDATE_CHECK": "true",
                "PULUMI_DEBUG_PROVIDERS": f"{resource_type(project.cloud_name).package}:{provider.port}",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        provider.peers.admit(process.pid)
        output, _ = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, output)


def test_the_policy_pack_judges_plain_pulumi_too(either: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the page on policies has it for a machine without Python's language host."""
    shutil.copytree(Path(__file__).parents[2] / "policies", either.directory / "policies")
    # Absolute: the engine starts it in the folder of the program.
    pack = either.directory / "policies" / "analyzer"
    monkeypatch.chdir(either.directory)
    monkeypatch.delenv("SCALER_STATE_DIR", raising=False)
    either.scale(names(2))
    save_state(either, dict(either.record()))
    types = next(iter(either.spec.groups.values())).types

    def judged(config: dict[str, object]) -> subprocess.CompletedProcess[str]:
        (either.directory / "config.json").write_text(json.dumps(config), encoding="utf-8")
        return preview_by_hand(either, "--policy-pack", str(pack), "--policy-pack-config", "config.json")

    content = judged({"allowed-types": {"types": list(types)}, "largest-stack": {"most": 2}})
    assert content.returncode == 0, content.stdout
    assert "scaler-policies" in content.stdout
    assert "violation" not in content.stdout

    complaining = judged({"allowed-types": {"types": ["another"]}, "largest-stack": {"most": 1}})
    assert complaining.returncode != 0
    for words in ("allowed-types", "largest-stack", f"{types[0]} is not allowed", "demo-worker-1", "demo-worker-2"):
        assert words in complaining.stdout
    advised = judged({"largest-stack": {"most": 1, "enforcementLevel": "advisory"}})
    assert advised.returncode == 0, advised.stdout
    assert "[advisory]" in advised.stdout
    assert "largest-stack" in advised.stdout
