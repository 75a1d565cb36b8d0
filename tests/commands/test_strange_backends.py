"""Nothing connects to a host that only Pulumi.yaml or the spec names: shown with a real listener.

It listens on this machine, and is named as 0.0.0.0, which is not one of the addresses that need no permission.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import launcher
from tests.support.listener import Listener, listening

pytestmark = pytest.mark.server

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "one",
    "AWS_SECRET_ACCESS_KEY": "two",
    "AZURE_STORAGE_ACCOUNT": "acme",
    "AZURE_STORAGE_KEY": "a2V5",
    "GOOGLE_OAUTH_ACCESS_TOKEN": "three",
    "PGPASSWORD": "four",
    "PULUMI_ACCESS_TOKEN": "five",
}

COMMANDS = (
    ("status",),
    ("history",),
    ("why", "demo-worker-1"),
    ("simulate", "--metrics", "load.csv"),
    ("preview", "1"),
    ("ensure", "1", "--yes"),
    ("autoscale", "--yes"),
    ("refresh",),
    ("orphans",),
    ("prune",),
    ("unlock",),
    ("doctor",),
)


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as found:
        yield found


URLS = {
    "s3 endpoint": "s3://b/x?region=r&endpoint=http://0.0.0.0:{port}&use_path_style=true",
    "s3 region": "s3://b/x?region=x@0.0.0.0:{port}/",
    "azblob domain": "azblob://c?storage_account=acme&domain=0.0.0.0:{port}&protocol=http&localemu=true",
    "azblob account": "azblob://c?protocol=http&storage_account=0.0.0.0:{port}/",
    "azblob protocol": "azblob://c?storage_account=acme&protocol=http://127.0.0.1:{port}/%3F",
    "gs universe": "gs://b?universe_domain=0.0.0.0:{port}",
    "postgres": "postgres://me@0.0.0.0:{port}/db",
    "postgres host": "postgres://me@127.0.0.1:1/db?host=0.0.0.0&port={port}",
    "postgresql": "postgresql://me@0.0.0.0:{port}/db",
    "cloud": "http://0.0.0.0:{port}",
}


def run(folder: Path, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return launcher.run(command, cwd=folder, env={**launcher.ENVIRON, "HOME": str(folder), **CREDENTIALS, **environ})


def make_project(folder: Path, backend: str) -> None:
    (folder / "Pulumi.yaml").write_text(f"name: shop\nruntime: python\nbackend:\n  url: {backend!r}\n")
    (folder / "stacks" / "demo.yaml").write_text(
        "cloud: hetzner\nendpoint: embedded\ngroups:\n  worker:\n    count: 1\n    max: 3\n    type: cx23\n"
        "    location: fsn1\n    image: debian-13\n    autoscale:\n      metrics: {load: {fixed: 1}}\n"
        "      rules: [{backlog: {metric: load, per_server: 1}}]\n"
    )
    (folder / "load.csv").write_text("time,load\n2026-01-01T00:00:00Z,1\n2026-01-01T01:00:00Z,2\n")


def test_no_command_connects_to_a_host_that_only_the_project_names(tmp_path: Path, listener: Listener) -> None:
    (tmp_path / "stacks").mkdir()
    for kind, url in URLS.items():
        make_project(tmp_path, url.format(port=listener.port))
        for command in COMMANDS:
            ran = run(tmp_path, *command)
            assert ran.returncode, (kind, command, ran.stdout)
            assert "state backend" in ran.stdout + ran.stderr or "its backend" in ran.stderr, (kind, command, ran)
            assert listener.connections == 0, (kind, command)


@pytest.mark.parametrize("kind", ["s3 endpoint", "azblob domain", "postgres"])
def test_it_connects_if_the_environment_names_the_host(tmp_path: Path, listener: Listener, kind: str) -> None:
    """So the listener would have seen the others."""
    (tmp_path / "stacks").mkdir()
    make_project(tmp_path, "file://states")
    run(tmp_path, "status", PULUMI_BACKEND_URL=URLS[kind].format(port=listener.port))
    assert listener.connections > 0
