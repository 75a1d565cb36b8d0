"""What the engine is given and what it leaves behind: secrets, passphrases, files that are lost or broken."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from pulumi.automation._server import LanguageServer
from pulumi.runtime.proto import language_pb2_grpc

from scaler.engine import binary
from scaler.engine.backend import LocalBackend, absolute_url
from scaler.engine.plugin import resource_type
from scaler.engine.plugin.operation import Operation
from scaler.engine.plugin.server import serve
from scaler.engine.stack import PulumiStack
from scaler.errors import EngineError, UnavailableError
from scaler.model import Permits, Server
from scaler.model.lifecycle import Status
from scaler.program import run_by_hand
from scaler.records.state import State
from scaler.records.state_file import StateFile
from scaler.simulator import EmbeddedCloud
from tests.engine.stack_project import STACK, TOKEN, Project, names, wait_until

pytestmark = pytest.mark.engine

SECRET_VARIABLES = dict.fromkeys(
    ("HCLOUD_TOKEN", "DIGITALOCEAN_TOKEN", "DIGITALOCEAN_ACCESS_TOKEN", "HCLOUD_TOKEN_FILE"), TOKEN
)


@pytest.fixture
def with_tokens(tmp_path: Path, served: EmbeddedCloud) -> Iterator[Project]:
    """A project of someone who has the token in the environment."""
    project = Project(tmp_path / "project", served.hetzner_endpoint, environ={**os.environ, **SECRET_VARIABLES})
    yield project
    project.cloud.close()


@pytest.mark.acceptance("S12")
def test_the_token_reaches_neither_the_engine_nor_any_file(with_tokens: Project, served: EmbeddedCloud) -> None:
    project = with_tokens
    project.engine.prepare()
    change = project.change(names(2))
    hang = served.world.add_fault("hang", method="POST", seconds=1)
    run = threading.Thread(target=project.stack.apply, args=[change])
    run.start()
    wait_until(lambda: served.world.fired(hang), "a create")
    (lock,) = project.backend.locks()
    seen = [Path(f"/proc/{lock.pid}/{part}").read_bytes() for part in ("cmdline", "environ")]
    run.join()
    project.record()
    project.scale([])

    assert b"PULUMI_BACKEND_URL" in seen[1]
    files = [path for path in project.directory.rglob("*") if path.is_file()]
    assert {"history", "stacks", "logs"} <= {part for path in files for part in path.parts}
    leaks = [str(path) for path in files if TOKEN in path.read_text(errors="replace")]
    assert (leaks, [part for part in seen if TOKEN.encode() in part]) == ([], [])


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
def test_the_passphrase(tmp_path: Path, served: EmbeddedCloud, passphrase: str | None) -> None:
    """The user's own is used if there is one, and none is needed."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PULUMI_")}
    own = {} if passphrase is None else {"PULUMI_CONFIG_PASSPHRASE": passphrase}
    project = Project(tmp_path / "project", served.hetzner_endpoint, environ={**environ, **own})
    assert project.scale(names(1)).failure is None
    other = Project(project.directory, project.endpoint, environ={**environ, "PULUMI_CONFIG_PASSPHRASE": "wrong"})
    assert "passphrase" in str(other.scale(names(2)).failure)
    assert sorted(project.machines()) == names(1)


def test_a_lost_stack_file_is_harmless(project: Project) -> None:
    project.scale(names(1))
    for path in project.directory.rglob(f"Pulumi.{STACK}.yaml"):
        path.unlink()
    again = Project(project.directory, project.endpoint)
    assert again.scale(names(2)).failure is None
    assert again.held() == again.machines()
    assert sorted(again.record()) == names(2)


@pytest.mark.parametrize("content", [b"", b'{"version": 3, "checkpo', b"\xff\xfe"])
def test_a_torn_checkpoint_is_mended_from_the_engines_copy(project: Project, content: bytes) -> None:
    """What a full disk or a kill leaves; servers that the copy does not know carry our labels and are adopted."""
    project.scale(names(1))
    project.scale(names(2))
    (path,) = (project.backend.root / "stacks").rglob(f"{STACK}.json")
    path.write_bytes(content)
    assert set(project.stack.read().entries) <= set(names(2))
    assert sorted(project.machines()) == names(2)


def test_a_checkpoint_of_another_shape_is_an_error(project: Project) -> None:
    project.scale(names(1))
    (path,) = (project.backend.root / "stacks").rglob(f"{STACK}.json")
    path.write_bytes(b"[]")
    with pytest.raises(EngineError) as caught:
        project.stack.read()
    assert str(path) in str(caught.value.why)
    assert caught.value.fix
    assert sorted(project.machines()) == names(1)


@pytest.mark.parametrize("before", [{}, {"PULUMI_DIY_BACKEND_GZIP": "true"}], ids=["plain", "compressed"])
@pytest.mark.parametrize("after", [{}, {"PULUMI_DIY_BACKEND_GZIP": "true"}], ids=["then plain", "then compressed"])
def test_compressed_checkpoints(
    tmp_path: Path, served: EmbeddedCloud, before: dict[str, str], after: dict[str, str]
) -> None:
    for count, environ in ((1, before), (2, after)):
        project = Project(tmp_path / "project", served.hetzner_endpoint, environ={**os.environ, **environ})
        project.scale(names(count))
        assert project.held() == project.machines()
        assert sorted(project.held()) == names(count)


def test_a_compression_that_cannot_be_read_is_not_written_and_is_no_empty_stack(
    tmp_path: Path, served: EmbeddedCloud
) -> None:
    environ = {**os.environ, "PULUMI_DIY_BACKEND_ZSTD": "true"}
    project = Project(tmp_path / "project", served.hetzner_endpoint, environ=environ)
    assert project.scale(names(1)).failure is None
    assert project.held() == project.machines()
    (path,) = (project.backend.root / "stacks").rglob(f"{STACK}.json")
    path.rename(path.with_suffix(".json.zst"))
    with pytest.raises(EngineError, match="compressed") as caught:
        project.stack.read()
    assert "PULUMI_DIY_BACKEND_ZSTD" in caught.value.fix


def test_a_folder_with_characters_that_urls_use(tmp_path: Path, served: EmbeddedCloud) -> None:
    project = Project(tmp_path / "my pro#ject 100%41 ?x=y", served.hetzner_endpoint)
    assert project.scale(names(1)).failure is None
    assert project.held() == project.machines()
    assert (project.directory / ".scaler" / "pulumi" / ".pulumi" / "stacks" / "scaler" / f"{STACK}.json").exists()


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file://.scaler/pulumi", "{folder}/.scaler/pulumi"),
        ("file:///else where", "/else where"),
        ("file://../up%20one", "{parent}/up one"),
        ("file://state?no_tmp_dir=true", "{folder}/state"),
    ],
)
def test_where_a_backend_url_points(tmp_path: Path, url: str, path: str) -> None:
    folder = tmp_path / "a#b"
    found = LocalBackend.at(absolute_url(url, folder), "scaler", STACK)
    assert found is not None
    assert found.root == Path(path.format(folder=folder, parent=tmp_path)) / ".pulumi"


def test_a_backend_that_cannot_be_reached(project: Project) -> None:
    """Nothing is asked of the cloud, and the error names the backend."""
    url = "s3://bucket?endpoint=127.0.0.1:1&region=x&disableSSL=true&s3ForcePathStyle=true"
    environ = {**project.environ, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_MAX_ATTEMPTS": "1"}
    engine = project.open_engine(backend=url, environ=environ)
    change = project.change(names(1))
    stack = PulumiStack(project.spec, lambda: engine, None, project.cloud, project.clock)
    with pytest.raises(UnavailableError, match="cannot reach its backend") as caught:
        stack.apply(change)
    assert "refused" in caught.value.why
    assert project.machines() == {}


def test_the_engine_is_let_in_and_others_are_not(project: Project, served: EmbeddedCloud) -> None:
    """While the engine works, a neighbour calls its plugin."""
    client = (
        "import sys, grpc; from google.protobuf import empty_pb2;"
        "from pulumi.runtime.proto import provider_pb2_grpc;"
        "stub = provider_pb2_grpc.ResourceProviderStub(grpc.insecure_channel('127.0.0.1:' + sys.argv[1]))\n"
        "try: stub.Cancel(empty_pb2.Empty(), timeout=30)\n"
        "except grpc.RpcError as error: print(error.code().name)"
    )
    project.engine.prepare()
    change = project.change(names(1))
    hang = served.world.add_fault("hang", method="POST", seconds=3)
    run = threading.Thread(target=project.stack.apply, args=[change])
    run.start()
    wait_until(lambda: served.world.fired(hang), "a create")
    (lock,) = project.backend.locks()
    environ = Path(f"/proc/{lock.pid}/environ").read_text().split("\0")
    (port,) = [entry.rpartition(":")[2] for entry in environ if entry.startswith("PULUMI_DEBUG_PROVIDERS=")]
    said = subprocess.run([sys.executable, "-c", client, port], capture_output=True, text=True, check=True)
    run.join()
    assert said.stdout == "PERMISSION_DENIED\n"
    assert project.held() == project.machines()
    assert sorted(project.held()) == names(1)


# ---------------------------------------------------------------------------------------------
# The program that `pulumi up` runs by hand


def save_state(project: Project, servers: dict[str, Server]) -> None:
    StateFile(project.directory / ".scaler", STACK).save(
        State(
            stack=STACK,
            project="scaler",
            cloud=project.cloud_name,
            serial=1,
            updated=project.clock.now(),
            wanted={"worker": len(servers)},
            servers=tuple(servers.values()),
        )
    )


def by_hand(project: Project, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, str], str | None]:
    """Preview the program as the engine runs it in `stacks/`; returns the operations but `same`, and the error."""
    monkeypatch.chdir(project.directory / "stacks")
    monkeypatch.delenv("SCALER_STATE_DIR", raising=False)
    with project.serving() as port:
        ran = project.engine.preview(run_by_hand, port, refresh=False)
    return {urn.rpartition("::")[2]: kind for urn, kind in ran.events.operations.items()}, ran.error


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
    deleted = dataclasses.replace(recorded["demo-worker-1"], name="demo-worker-2", id="99", status=Status.DELETED)
    save_state(project, {**recorded, "demo-worker-2": deleted})
    assert by_hand(project, monkeypatch) == ({}, None)


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
