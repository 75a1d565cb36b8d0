"""The stack as saved in a bucket or a database, read without the engine."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from scaler.engine.remote_backend import RemoteBackend
from scaler.records.folder_store import FolderStore
from scaler.records.store import Stored, StoreUnavailableError

NAME = "stacks/scaler/prod.json"


class _Files(FolderStore):
    """The engine's files, and how often somebody got one whole."""

    whole = 0
    asked = 0
    is_cut = False

    def names(self, folder: str = "") -> Sequence[str]:
        self.asked += 1
        if self.is_cut:
            raise StoreUnavailableError("nobody answers")
        return super().names(folder)

    def read(self, name: str, known: str | None = None) -> Stored | None:
        found = super().read(name, known)
        self.whole += bool(found and found.content)
        return found


@pytest.fixture
def files(tmp_path: Path) -> _Files:
    return _Files(tmp_path)


@pytest.fixture
def backend(files: _Files) -> RemoteBackend:
    return RemoteBackend(files, "scaler", "prod")


def saved(machine_id: str, version: int = 3) -> bytes:
    kind = "hcloud:index/server:Server"
    resource = {"urn": f"urn:pulumi:prod::scaler::{kind}::a", "custom": True, "type": kind, "id": machine_id}
    return json.dumps({"version": version, "checkpoint": {"latest": {"resources": [resource]}}}).encode()


def ids(backend: RemoteBackend) -> list[str] | None:
    found = backend.checkpoint()
    return [resource.id for resource in found.resources] if found else None


def test_it_is_read_again_only_where_it_changed(files: _Files, backend: RemoteBackend) -> None:
    version = files.write(NAME, saved("7"))
    files.write("stacks/scaler/prod-2.json", saved("8"))
    assert (ids(backend), ids(backend), files.whole) == (["7"], ["7"], 1)
    files.write(NAME, saved("9"), version)
    assert (ids(backend), files.whole) == (["9"], 2)


def test_a_zipped_one_is_read_too(files: _Files, backend: RemoteBackend) -> None:
    files.write(f"{NAME}.gz", gzip.compress(saved("7")))
    assert ids(backend) == ["7"]


@pytest.mark.parametrize(
    "there",
    [
        {},
        {"": saved("7"), ".gz": gzip.compress(saved("8"))},
        {".zst": saved("7")},
        {"": saved("7", version=5)},
        {"": b"{"},
        {"": b"[]"},
        {".gz": b"no zip"},
    ],
    ids=["none", "two", "zst", "newer", "torn", "another form", "torn zip"],
)
def test_what_only_the_engine_can_tell_is_left_to_it(
    files: _Files, backend: RemoteBackend, there: dict[str, bytes]
) -> None:
    for ending, content in there.items():
        files.write(NAME + ending, content)
    assert ids(backend) is None


def test_what_cannot_be_reached_is_not_waited_for_again(files: _Files, backend: RemoteBackend) -> None:
    files.write(NAME, saved("7"))
    files.is_cut = True
    assert ids(backend) is None
    files.is_cut = False
    assert (ids(backend), files.asked) == (None, 1)
