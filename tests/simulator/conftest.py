"""A world of its own for every test: instant, and its time moves only when a test moves it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hcloud
import pytest

from scaler.simulator import EmbeddedCloud, SimulatedWorld
from tests.support.sim_http import TOKEN, Http


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[EmbeddedCloud]:
    """An embedded cloud in which nothing takes time and time stands still."""
    with EmbeddedCloud(tmp_path / "world.db", profile="instant", clock_speed=0) as served:
        yield served


@pytest.fixture
def world(cloud: EmbeddedCloud) -> SimulatedWorld:
    """Its world."""
    return cloud.world


@pytest.fixture
def http(cloud: EmbeddedCloud) -> Iterator[Http]:
    """Bare HTTP to it."""
    with Http(cloud.url) as session:
        yield session


@pytest.fixture
def hetzner(cloud: EmbeddedCloud) -> hcloud.Client:
    """Hetzner's own Python client, pointed at it."""
    return hcloud.Client(TOKEN, api_endpoint=cloud.hetzner_endpoint, poll_interval=0.01, poll_max_retries=200)
