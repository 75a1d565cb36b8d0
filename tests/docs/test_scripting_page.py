"""The page for scripts tells every field of a result and every variable that is read."""

from __future__ import annotations

import re
from pathlib import Path

from scaler.model import Cost, Outcome, Requests, Result, StepResult
from scaler.output.documents import result_document

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/scripting.md").read_text(encoding="utf-8")
OUR_OWN_WORDS = {"SCALER_OUTCOME", "SCALER_COMPLETE"}
"""What we write, and click's."""


def test_every_field_of_a_result_is_told() -> None:
    document = result_document(Result(stack="prod", outcome=Outcome.CONVERGED, groups={}))
    fields = [*document, *Requests.__dataclass_fields__, *Cost.__dataclass_fields__, *Outcome, *StepResult]
    assert [field for field in fields if f"`{field}`" not in PAGE] == []


def test_every_variable_that_is_read_is_told() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "scaler").rglob("*.py"))
    read = (
        set(re.findall(r"\bSCALER_[A-Z][A-Z_]+\b|\bGITHUB_[A-Z_]+\b|\bNO_COLOR\b|\bFORCE_COLOR\b", code))
        - OUR_OWN_WORDS
    )
    assert {"SCALER_STACK", "SCALER_ENGINE", "SCALER_HTTP_TIMEOUT"} <= read
    assert [name for name in sorted(read) if f"`{name}`" not in PAGE] == []
