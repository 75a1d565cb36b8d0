"""The stage of the samples: every scene is a copy of a stack that is prepared once."""

from __future__ import annotations

import pytest

from tests.faults.stage import Theatre


@pytest.fixture(scope="session")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Theatre:
    return Theatre(tmp_path_factory.mktemp("faults"))
