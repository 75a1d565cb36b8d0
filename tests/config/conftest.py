"""What the tests of specs share."""

from pathlib import Path

import pytest


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project folder's `stacks/`, with two scripts beside it, one of which may be executed."""
    for name, mode in (("drain.sh", 0o755), ("plain.sh", 0o644)):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(mode)
    (tmp_path / "stacks").mkdir()
    return tmp_path / "stacks"
