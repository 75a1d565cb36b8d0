"""The file of a plan."""

import json
import os
from pathlib import Path

import pytest

from scaler.errors import UsageError
from scaler.records.plan_file import SCHEMA, PlanFile, _digest, read_plan_file, write_plan_file
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


SIGNED = {"kind": "scaler-plan", "schema": SCHEMA}


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({}, "it is JSON, and no plan"),
        ([], "it is JSON, and no plan"),
        ("x", "it is JSON, and no plan"),
        ({"kind": "scaler-plan"}, "another version of scaler has made it"),
        (SIGNED, "it was changed after it was written"),
        ({**SIGNED, "digest": _digest(SIGNED)}, "it is whole, and has other fields than this version of scaler reads"),
    ],
)
def test_what_is_no_plan_is_said_in_words(tmp_path: Path, document: object, why: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(document))
    with pytest.raises(UsageError) as caught:
        read_plan_file(path)
    assert caught.value.why == why
    with pytest.raises(UsageError) as caught:
        read_plan_file(tmp_path / "missing.json")
    assert caught.value.why == "No such file or directory"
