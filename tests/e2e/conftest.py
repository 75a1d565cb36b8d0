"""Projects to run the real command line in: the embedded cloud in scaler's process, or one of the test's own."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scaler.engine import binary
from scaler.simulator import EmbeddedCloud
from tests.support.launcher import SEED
from tests.support.profile import IS_CALM, PROFILE
from tests.support.project import HETZNER, VENDORS, Project, Vendor, wrap_engine


def pytest_configure(config: pytest.Config) -> None:
    """On a hostile cloud, let tests end where they are skipped, while processes run that they started."""
    if not IS_CALM:
        for category in ("ResourceWarning", "pytest.PytestUnraisableExceptionWarning"):
            config.addinivalue_line("filterwarnings", f"ignore::{category}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On a hostile cloud, skip the tests that only hold on a pleasant one; leave out the clouds that have no turn."""
    left_out = [item for item in items if not _has_a_turn(item)]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
    for item in items:
        mark = item.get_closest_marker("calm")
        if mark and not IS_CALM:
            item.add_marker(pytest.mark.skip(reason=f"not on a {PROFILE} cloud: {mark.args[0]}"))


def pytest_report_header() -> str:
    """Say how the clouds take turns, so that a run can be repeated."""
    if SEED == "both":
        return "clouds: both, in every test"
    return f"clouds: by turns in the tests marked one_cloud, SCALER_TEST_CLOUDS={SEED}; `both` runs these on both"


def _has_a_turn(item: pytest.Item) -> bool:
    """Whether a test runs: of the two of a test that is marked `one_cloud`, the seed chooses one."""
    if SEED == "both" or not item.get_closest_marker("one_cloud"):
        return True
    assert isinstance(item, pytest.Function)
    name = f"{item.path.name}::{item.originalname} {SEED}"
    return item.callspec.params["vendor"] is random.Random(name).choice(VENDORS)  # noqa: S311 - a draw that can be repeated


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The engine of this machine, behind a wrapper that writes down each start; without one, its error says so."""
    return wrap_engine(binary.find(os.environ), tmp_path_factory.mktemp("engine"))


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's cache, so that the engine is asked for its version once."""
    return tmp_path_factory.mktemp("cache")


Make = Callable[[Vendor], Project]


@pytest.fixture
def make_project(tmp_path: Path, engine: Path, cache: Path) -> Iterator[Make]:
    """Make a project on the embedded cloud."""
    made: list[Project] = []

    def make(vendor: Vendor) -> Project:
        made.append(Project(tmp_path / f"project{len(made)}", vendor, engine, cache))
        return made[-1]

    yield make
    for project in made:
        project.close()


@pytest.fixture
def make_served(tmp_path: Path, engine: Path, cache: Path) -> Iterator[Make]:
    """Make a project on a cloud that runs in the test's process, found through the environment."""
    with EmbeddedCloud(tmp_path / "world.db") as served:
        yield lambda vendor: Project(tmp_path / "served", vendor, engine, cache, served)


@pytest.fixture(params=VENDORS, ids=lambda vendor: vendor.name)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    vendor: Vendor = request.param
    return vendor


@pytest.fixture
def project(make_project: Make, vendor: Vendor) -> Project:
    """A project, at each cloud."""
    return make_project(vendor)


@pytest.fixture
def served(make_served: Make, vendor: Vendor) -> Project:
    """A project whose cloud outlives scaler's processes, at each cloud."""
    return make_served(vendor)


@pytest.fixture
def hetzner(make_project: Make) -> Project:
    """A project at one cloud, for what does not depend on the cloud."""
    return make_project(HETZNER)
