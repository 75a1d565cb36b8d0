"""The servers that metrics are read from, for a session or for one test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from tests.support import servers


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with servers.redis_server(tmp_path_factory.mktemp("redis")) as port:
        yield port


@pytest.fixture
def client(redis_port: int) -> Iterator[redis.Redis]:
    client = redis.Redis(port=redis_port, decode_responses=True)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def url(redis_port: int) -> str:
    return f"redis://127.0.0.1:{redis_port}/0"


@pytest.fixture
def pages() -> Iterator[servers.Pages]:
    with servers.pages() as server:
        yield server


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Prometheus with the gauges jobs{queue="a"} 30, jobs{queue="b"} 12 and odd NaN."""
    with servers.pages() as exporter:
        text = 'jobs{queue="a"} 30\njobs{queue="b"} 12\nodd NaN\n'
        exporter.pages["/metrics"] = (200, {"Content-Type": "text/plain; version=0.0.4"}, text)
        address = exporter.url.removeprefix("http://")
        with servers.prometheus_server(tmp_path_factory.mktemp("prometheus"), address) as url:
            yield url
