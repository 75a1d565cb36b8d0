"""The file of a plan."""

import os
from pathlib import Path

import pytest

from scaler.errors import UsageError
from scaler.records.plan_file import PlanFile, write_plan_file
from tests.support.records import NOW

PLAN = PlanFile(
    stack="prod",
    project="shop",
    id=None,
    wanted={},
    spec="0",
    seen={},
    steps=(),
    cost=None,
    made_at=NOW,
    scaler="1",
    engine=None,
)


def test_a_pipe_that_nobody_reads_is_an_error_and_one_that_somebody_reads_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "plan"
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match="cannot be written"):
        write_plan_file(PLAN, pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_plan_file(PLAN, pipe)
    assert b"scaler-plan" in os.read(reader, 4096)
    os.close(reader)
