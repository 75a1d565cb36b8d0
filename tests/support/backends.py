"""Places for the engine's state that machines share, on loopback: a database and three kinds of bucket.

PostgreSQL is a real server, started from Debian's package. S3 is moto and Azure Blob Storage is azurite, which
implement their protocols and which we did not write.
"""

from __future__ import annotations

import base64
import itertools
import json
import logging
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.support.servers import await_true, free_port, listens, needs, running

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

    @property
    def url(self) -> str: ...

    @property
    def environ(self) -> Mapping[str, str]: ...

    @property
    def port(self) -> int: ...

    def saved(self) -> bytes: ...

    def lock(self, content: str) -> None:
        """Put another run's lock on the stack."""


_LOCK = "/.pulumi/locks/organization/scaler/demo/of-elsewhere.json"


@dataclass(frozen=True)
class Database:
    port: int
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres?sslmode=disable"

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
    port: int
    name: str
    environ: Mapping[str, str] = field(
        default_factory=lambda: {"AWS_ACCESS_KEY_ID": "one", "AWS_SECRET_ACCESS_KEY": "two"}
    )

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"s3://{self.name}/team?endpoint={self.endpoint}&use_path_style=true&region=us-east-1"

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
        keys = [item["Key"] for item in client.list_objects_v2(Bucket=self.name)["Contents"]]
        return b"\n".join(client.get_object(Bucket=self.name, Key=key)["Body"].read() for key in keys)

    def lock(self, content: str) -> None:
        self.client.put_object(Bucket=self.name, Key=f"team{_LOCK}", Body=content.encode())


@contextmanager
def database() -> Iterator[Database]:
    """An empty database on loopback."""
    if not _PROGRAMS:
        pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
    port = free_port()
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
        yield Database(port)
        _as_nobody(control, "-D", str(data), "-m", "immediate", "-w", "stop", cwd=folder)
    finally:
        shutil.rmtree(folder)


_NUMBERS = itertools.count(1)


@contextmanager
def bucket() -> Iterator[Bucket]:
    """An empty bucket on loopback."""
    from moto.server import ThreadedMotoServer

    # It writes a line for each request.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    assert server._server
    server._server.app = _one_write_at_a_time(server._server.app)
    _, port = server.get_host_and_port()
    # All servers of one process share their buckets.
    made = Bucket(port, f"states-{port}-{next(_NUMBERS)}")
    made.client.create_bucket(Bucket=made.name)
    yield made
    made.client.close()
    server.stop()


def _one_write_at_a_time(application: Any) -> Any:
    """As S3 does it: moto looks at a write's condition and then writes, and another thread may come between."""
    lock = threading.Lock()

    def serve(environ: Any, start: Any) -> Any:
        with nullcontext() if environ["REQUEST_METHOD"] in ("GET", "HEAD") else lock:
            return application(environ, start)

    return serve


@contextmanager
def bucket_apart() -> Iterator[Bucket]:
    """An empty bucket on loopback whose server is a process of its own, for many clients that hold it to a time."""
    made = Bucket(free_port(), "states")
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(made.port)]
        with running(command, Path(name), dict(os.environ)):
            await_true(lambda: listens(made.port), "moto")
            made.client.create_bucket(Bucket=made.name)
            yield made
            made.client.close()


_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's own, which its documentation publishes."""


@dataclass(frozen=True)
class Container:
    port: int
    environ: Mapping[str, str] = field(
        default_factory=lambda: {"AZURE_STORAGE_ACCOUNT": _ACCOUNT, "AZURE_STORAGE_KEY": _KEY}
    )

    @property
    def url(self) -> str:
        return f"azblob://states/team?localemu=true&protocol=http&domain=127.0.0.1:{self.port}"

    def client(self, prefix: str) -> Any:
        from obstore.store import AzureStore

        return AzureStore(
            "states",
            prefix=prefix,
            account_name=_ACCOUNT,
            account_key=_KEY,
            endpoint=f"http://127.0.0.1:{self.port}/{_ACCOUNT}",
            client_options={"allow_http": True},
        )

    def saved(self) -> bytes:
        import obstore

        client = self.client("team")
        paths = [item["path"].removeprefix("team/") for page in obstore.list(client) for item in page]
        return b"\n".join(bytes(obstore.get(client, path).bytes()) for path in paths)

    def lock(self, content: str) -> None:
        import obstore

        obstore.put(self.client("team"), _LOCK.lstrip("/"), content.encode())


@contextmanager
def container() -> Iterator[Container]:
    """An empty container on loopback."""
    program = needs("azurite-blob", "nodejs npm; then: npm install --global azurite")
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [program, "--blobPort", str(port), "--location", name]
        with running([*command, "--skipApiVersionCheck", "--disableTelemetry", "--silent"], folder):
            await_true(lambda: listens(port), "azurite")
            made = Container(port)
            _make_container(port)
            yield made


def _make_container(port: int) -> None:
    """Create the container, with a request that is signed as Azure wants it: obstore makes none."""
    import hashlib
    import hmac
    from datetime import UTC, datetime

    import requests

    date = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    headers = {"x-ms-date": date, "x-ms-version": "2021-08-06", "Content-Length": "0"}
    resource = f"/{_ACCOUNT}/{_ACCOUNT}/states\nrestype:container"
    text = f"PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:2021-08-06\n{resource}"
    signature = hmac.digest(base64.b64decode(_KEY), text.encode(), hashlib.sha256)
    headers["Authorization"] = f"SharedKey {_ACCOUNT}:{base64.b64encode(signature).decode()}"
    url = f"http://127.0.0.1:{port}/{_ACCOUNT}/states?restype=container"
    requests.put(url, headers=headers, timeout=30).raise_for_status()


STORES: Mapping[str, Callable[[], AbstractContextManager[Backend]]] = {
    "postgresql": database,
    "s3": bucket,
    "azblob": container,
}
