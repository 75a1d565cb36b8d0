"""Every store behaves the same: documents that only replace the version that was read."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from scaler.errors import CredentialsError, ScalerError, UsageError
from scaler.records.folder_store import FolderStore
from scaler.records.store import ConflictError, DocumentStore, StoreUnavailableError, is_shared, open_store, save
from tests.support.backends import bucket, container, database
from tests.support.google_storage import google_bucket
from tests.support.watches import Wire

_Open = Callable[[str], DocumentStore]


@pytest.fixture(
    params=[None, database, bucket, container, google_bucket],
    ids=["folder", "postgresql", "s3", "azblob", "gs"],
    scope="module",
)
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], DocumentStore]]:
    """What opens the store of a stack."""
    with ExitStack() as closing:
        if request.param is None:
            folder = tmp_path_factory.mktemp("folder")
            yield lambda stack: FolderStore(folder / stack)
            return
        backend = closing.enter_context(request.param())

        def open_it(stack: str) -> DocumentStore:
            found = open_store(backend.url, "team", stack, backend.environ, patience=timedelta(seconds=30))
            assert found
            closing.callback(found.close)
            return found

        yield open_it


@pytest.fixture
def open_one(opened: _Open, request: pytest.FixtureRequest) -> Callable[[], DocumentStore]:
    """What opens the store of a stack that no other test uses; each call is another machine."""
    name = request.node.originalname.replace("_", "-")
    return lambda: opened(name)


pytestmark = pytest.mark.server


def test_a_document_is_replaced_by_who_read_it(open_one: Callable[[], DocumentStore]) -> None:
    ours, theirs = open_one(), open_one()
    assert ours.read("records.json") is None
    first = ours.write("records.json", b"one")
    with pytest.raises(ConflictError):
        theirs.write("records.json", b"two")
    found = theirs.read("records.json")
    assert found and (found.version, found.content) == (first, b"one")
    second = theirs.write("records.json", b"two", found.version)
    with pytest.raises(ConflictError):
        ours.write("records.json", b"three", first)
    # Who knows the version gets no content.
    unchanged = ours.read("records.json", second)
    assert unchanged and unchanged.version == second and unchanged.content is None
    changed = ours.read("records.json", first)
    assert changed and changed.content == b"two"


def test_what_was_deleted_is_no_version_to_replace(open_one: Callable[[], DocumentStore]) -> None:
    ours = open_one()
    version = ours.write("records.json", b"one")
    ours.delete("records.json")
    ours.delete("records.json")
    assert ours.read("records.json", version) is None
    with pytest.raises(ConflictError):
        ours.write("records.json", b"two", version)
    ours.write("records.json", b"three")
    with pytest.raises(ConflictError):
        ours.write("records.json", b"two", version)


def test_documents_are_listed_by_stack(open_one: Callable[[], DocumentStore], opened: _Open) -> None:
    ours, other = open_one(), opened("another")
    other.write("records.json", b"other")
    for name in ("records.json", "events/00000002.jsonl", "events/00000001.jsonl"):
        ours.write(name, b"x")
    assert ours.names() == ["events/00000001.jsonl", "events/00000002.jsonl", "records.json"]
    assert other.names() == ["records.json"]


def test_of_many_writers_one_wins(open_one: Callable[[], DocumentStore]) -> None:
    machines = [open_one() for _ in range(6)]

    def write(number: int, after: str | None) -> str | None:
        try:
            return save(machines[number], "lease.json", f"{number} after {after}".encode(), after)
        except ConflictError:
            return None

    version: str | None = None
    with ThreadPoolExecutor(len(machines)) as pool:
        for _ in range(5):
            answers = list(pool.map(write, range(len(machines)), [version] * len(machines)))
            (version,) = [answer for answer in answers if answer]
            found = machines[0].read("lease.json")
            assert found and found.version == version


def test_a_write_whose_answer_was_lost_is_known_again(open_one: Callable[[], DocumentStore]) -> None:
    ours = open_one()
    first = ours.write("records.json", b"one")
    second = ours.write("records.json", b"two", first)
    # The client repeats what was carried out already.
    assert save(ours, "records.json", b"two", first) == second
    with pytest.raises(ConflictError):
        save(ours, "records.json", b"another two", first)


def test_what_is_too_large_is_not_read(open_one: Callable[[], DocumentStore], monkeypatch: pytest.MonkeyPatch) -> None:
    ours = open_one()
    if isinstance(ours, FolderStore):
        pytest.skip("the bound of files is tested in tests/support/test_documents.py")
    ours.write("records.json", b"x" * 2000)
    monkeypatch.setattr(ours, "_largest", 1000)
    with pytest.raises(ValueError, match="it has more than"):
        ours.read("records.json")


_NOWHERE = {
    "s3": "s3://states?endpoint=http://127.0.0.1:1&s3ForcePathStyle=true",
    "azblob": "azblob://states?localemu=true&protocol=http&domain=127.0.0.1:1",
    "gs": "gs://states",
    "postgresql": "postgres://someone:53cr3t@127.0.0.1:1/state",
}

_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "one",
    "AWS_SECRET_ACCESS_KEY": "two",
    "AZURE_STORAGE_ACCOUNT": "acme",
    "AZURE_STORAGE_KEY": "a2V5",
    "STORAGE_EMULATOR_HOST": "127.0.0.1:1",
}


@pytest.mark.parametrize("kind", _NOWHERE)
def test_a_store_that_cannot_be_reached_says_so_soon(kind: str) -> None:
    store = open_store(_NOWHERE[kind], "team", "demo", _CREDENTIALS, patience=timedelta(seconds=2))
    assert store
    for attempt in (lambda: store.read("records.json"), lambda: store.write("records.json", b""), store.names):
        with pytest.raises(StoreUnavailableError) as failed:
            attempt()
        assert "53cr3t" not in str(failed.value)
    store.close()


def _config(url: str, environ: dict[str, str]) -> dict[str, Any]:
    found: Any = open_store(url, "team", "demo", environ)
    return dict(found._objects.config) | {"prefix": found._objects.prefix}


def test_the_urls_parameters_are_the_engines(tmp_path: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "one", "AWS_SECRET_ACCESS_KEY": "two"}
    plain = _config("s3://states/team/prod?region=eu-central-1", keys)
    assert (plain["region"], plain["prefix"]) == ("eu-central-1", "team/prod/.scaler/team/demo")
    assert "endpoint" not in plain
    hosted = _config("s3://states?endpoint=minio:9000&disableSSL=true", keys | {"AWS_REGION": "local"})
    assert (hosted["endpoint"], hosted["region"]) == ("http://states.minio:9000", "local")
    by_path = _config("s3://states?endpoint=https://minio:9000&s3ForcePathStyle=true", keys)
    assert by_path["endpoint"] == "https://minio:9000"

    (tmp_path / "credentials").write_text("[ci]\naws_access_key_id = three\naws_secret_access_key = four\n")
    (tmp_path / "config").write_text("[profile ci]\nregion = eu-west-3\n[profile sso]\nsso_session = x\n")
    files = {
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
    }
    of_profile = _config("s3://states?profile=ci", files | keys)
    assert (of_profile["access_key_id"], of_profile["region"]) == ("three", "eu-west-3")
    with pytest.raises(CredentialsError, match="The AWS profile sso has no keys"):
        _config("s3://states?profile=sso", files)

    azure = _config("azblob://states?storage_account=acme", {"AZURE_STORAGE_KEY": "a2V5"})
    assert azure["endpoint"] == "https://acme.blob.core.windows.net"
    words = "AccountName=acme;AccountKey=a2V5;BlobEndpoint=https://acme.example/blobs"
    assert (
        _config("azblob://states", {"AZURE_STORAGE_CONNECTION_STRING": words})["endpoint"]
        == "https://acme.example/blobs"
    )
    key = {"AZURE_STORAGE_KEY": "a2V5"}
    assert _config("azblob://states?storage_account=acme&cdn=true&domain=cdn.example", key)["endpoint"] == (
        "https://cdn.example"
    )
    assert _config("azblob://states?storage_account=acme&domain=127.0.0.1:1", key)["endpoint"] == (
        "https://127.0.0.1:1/acme"
    )
    universe = _config("gs://states?universe_domain=own.example", {"GOOGLE_OAUTH_ACCESS_TOKEN": "t"})
    assert universe["base_url"] == "https://storage.own.example"
    assert _config("gs://states/x", {"GOOGLE_OAUTH_ACCESS_TOKEN": "t"})["prefix"] == "x/.scaler/team/demo"


def test_an_address_that_is_none_is_an_error() -> None:
    with pytest.raises(UsageError, match="none that scaler understands"):
        open_store("s3://me@127.0.0.1:1", "team", "demo", _CREDENTIALS)
    # The library panics.
    store = open_store("s3://states", "team", "demo", _CREDENTIALS | {"AWS_ENDPOINT_URL": "http://no host"})
    assert store
    with pytest.raises(StoreUnavailableError):
        store.read("records.json")


@pytest.mark.parametrize(
    ("url", "environ", "mode"),
    [
        ("postgres://me@db.example/state", {}, "require"),
        ("postgres://me@db.example/state?sslmode=disable", {}, "disable"),
        ("postgres://me@db.example/state", {"PGSSLMODE": "prefer"}, None),
        ("postgres://me@127.0.0.1/state", {}, None),
        ("postgres:///state?host=/run/postgresql", {}, None),
        ("postgres:///state", {"PGHOST": "db.example"}, "require"),
    ],
)
def test_a_database_elsewhere_is_reached_with_tls_unless_something_else_is_chosen(
    url: str, environ: dict[str, str], mode: str | None
) -> None:
    store: Any = open_store(url, "team", "demo", environ)
    assert dict(parse_qsl(urlsplit(store._url).query)).get("sslmode") == mode


def test_only_some_backends_share_records() -> None:
    assert not any(map(is_shared, [None, "file:///tmp", "https://api.pulumi.com"]))
    assert open_store("file:///tmp", "team", "demo", {}) is None
    with pytest.raises(ScalerError, match="names a table that cannot be one"):
        open_store("postgres://host/state?table=a;b", "team", "demo", {})


@pytest.mark.parametrize("url", ["s3://states", "postgres://host/state"])
def test_a_missing_package_is_named_with_its_command(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("scaler.records.object_store", "scaler.records.database_store"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name in ("obstore", "psycopg"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ScalerError, match="which is not installed") as missing:
        open_store(url, "team", "demo", {})
    assert "shared" in missing.value.fix


@pytest.mark.parametrize("store", [database, bucket], ids=["postgresql", "s3"])
def test_a_network_that_loses_everything_is_left(store: Callable[[], AbstractContextManager[Any]]) -> None:
    """Nothing is refused, and no answer comes: the read ends all the same, and the next one works again."""
    with store() as backend, closing(Wire(backend.port)) as wire:
        url = backend.url.replace(f":{backend.port}", f":{wire.port}")
        opened = open_store(url, "team", "demo", backend.environ, patience=timedelta(seconds=1))
        assert opened
        version = opened.write("records.json", b"one")
        wire.is_cut = True
        with pytest.raises(StoreUnavailableError):
            opened.read("records.json")
        wire.is_cut = False
        found = opened.read("records.json")
        assert found and (found.version, found.content) == (version, b"one")
        opened.close()
