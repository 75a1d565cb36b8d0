"""What the engine is given and what it leaves behind: secrets, passphrases, files that are lost or broken."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import events_pb2, events_pb2_grpc, provider_pb2_grpc

from scaler.engine.backend import LocalBackend, absolute_url
from scaler.engine.secrets import chosen_provider
from scaler.engine.stack import PulumiStack
from scaler.errors import EngineError, UnavailableError
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
    with pytest.raises(EngineError, match="incorrect passphrase") as caught:
        other.scale(names(2))
    assert caught.value.code == "secrets"
    assert sorted(project.machines()) == names(1)


def test_the_passphrase_s_file_is_used_and_a_changed_one_is_an_error_that_names_it(
    tmp_path: Path, served: EmbeddedCloud
) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text("correct horse\n")
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PULUMI_")}
    by_file = {**environ, "PULUMI_CONFIG_PASSPHRASE_FILE": str(secret)}
    project = Project(tmp_path / "project", served.hetzner_endpoint, environ=by_file)
    assert project.scale(names(1)).failure is None
    # Not readable with the empty one, also where the settings file is lost.
    for path in project.directory.rglob(f"Pulumi.{STACK}.yaml"):
        path.unlink()
    other = Project(project.directory, project.endpoint, environ=environ)
    with pytest.raises(EngineError, match="incorrect passphrase") as caught:
        other.scale(names(2))
    assert "PULUMI_CONFIG_PASSPHRASE_FILE" in caught.value.fix
    again = Project(project.directory, project.endpoint, environ=by_file)
    assert again.scale(names(2)).failure is None
    assert sorted(project.machines()) == names(2)


def test_a_secrets_provider_of_the_stack_s_settings_is_not_replaced(tmp_path: Path, served: EmbeddedCloud) -> None:
    """No key service answers here, so the stack cannot be made; a passphrase must not stand in for it."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PULUMI_")}
    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_MAX_ATTEMPTS": "1", "AWS_ACCESS_KEY_ID": "x"}
    keys = {**nowhere, "AWS_SECRET_ACCESS_KEY": "x", "AWS_EC2_METADATA_DISABLED": "true"}
    folder = tmp_path / "project"
    folder.mkdir()
    settings = folder / f"Pulumi.{STACK}.yaml"
    settings.write_text("secretsprovider: awskms://alias/scaler?region=us-east-1\n")
    project = Project(
        folder,
        served.hetzner_endpoint,
        environ={**environ, **keys},
        settings={"secrets_provider": chosen_provider(folder, STACK)},
    )
    with pytest.raises(EngineError) as caught:
        project.engine.prepare()
    assert caught.value.code == "secrets"
    assert settings.read_text() == "secretsprovider: awskms://alias/scaler?region=us-east-1\n"
    assert not project.backend.exists()


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
    """While the engine works, somebody else calls its plugin: from here, since a process may start late."""
    project.engine.prepare()
    change = project.change(names(1))
    hang = served.world.add_fault("hang", method="POST", seconds=3)
    run = threading.Thread(target=project.stack.apply, args=[change])
    run.start()
    wait_until(lambda: served.world.fired(hang), "a create")
    (lock,) = project.backend.locks()
    environ = Path(f"/proc/{lock.pid}/environ").read_text().split("\0")
    (port,) = [entry.rpartition(":")[2] for entry in environ if entry.startswith("PULUMI_DEBUG_PROVIDERS=")]
    words = Path(f"/proc/{lock.pid}/cmdline").read_text().split("\0")
    events = words[words.index("--event-log") + 1].removeprefix("tcp://")
    with grpc.insecure_channel(events) as channel, pytest.raises(grpc.RpcError) as refused:
        told = iter([events_pb2.EventRequest(event='{"policyEvent": {"message": "made up"}}')])
        events_pb2_grpc.EventsStub(channel).StreamEvents(told, timeout=30)
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError) as refused:
        provider_pb2_grpc.ResourceProviderStub(channel).Cancel(empty_pb2.Empty(), timeout=30)
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    run.join()
    assert project.held() == project.machines()
    assert sorted(project.held()) == names(1)
