"""A stack of its own for every test, on a world of its own."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from scaler.simulator import EmbeddedCloud
from tests.engine.stack_project import Project


@pytest.fixture(scope="session", autouse=True)
def typed_classes() -> None:
    """Import them once, without the vendors' own deprecation warnings."""
    with warnings.catch_warnings(action="ignore"):
        import pulumi_digitalocean  # noqa: F401
        import pulumi_hcloud  # noqa: F401


@pytest.fixture
def served(tmp_path: Path) -> Iterator[EmbeddedCloud]:
    """An embedded cloud in which boots take no time."""
    with EmbeddedCloud(tmp_path / "world.db", profile="instant") as served:
        yield served


@pytest.fixture
def project(tmp_path: Path, served: EmbeddedCloud) -> Iterator[Project]:
    """A project at Hetzner, for what does not depend on the cloud."""
    made = Project(tmp_path / "project", served.hetzner_endpoint)
    yield made
    made.cloud.close()


@pytest.fixture(params=["hetzner", "digitalocean"])
def either(request: pytest.FixtureRequest, tmp_path: Path, served: EmbeddedCloud) -> Iterator[Project]:
    """A project at each cloud."""
    endpoint = served.hetzner_endpoint if request.param == "hetzner" else served.digitalocean_endpoint
    made = Project(tmp_path / "project", endpoint, cloud_name=request.param)
    yield made
    made.cloud.close()
