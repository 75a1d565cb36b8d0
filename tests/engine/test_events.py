"""What is kept of the events and the output of an operation, however much a policy pack writes."""

from __future__ import annotations

import tempfile
from types import SimpleNamespace
from typing import Any

from scaler.engine.events import Events
from scaler.engine.process import _content

_NONE = {"resource_pre_event": None, "res_op_failed_event": None, "policy_event": None, "diagnostic_event": None}


def diagnostic(severity: str, message: str) -> Any:
    return SimpleNamespace(
        **{**_NONE, "diagnostic_event": SimpleNamespace(severity=severity, message=message, urn="u")}
    )


def violation(level: str) -> Any:
    return SimpleNamespace(**{**_NONE, "policy_event": SimpleNamespace(enforcement_level=level)})


def test_a_loud_pack_does_not_fill_the_memory() -> None:
    events = Events()
    for number in range(10_100):
        events.receive(diagnostic("error", f"{number} " + "x" * 21_000))
        events.receive(diagnostic("info#err", f"\x1b[31m{number} " + "x" * 21_000))
    assert len(events.errors) == len(events.errors_of["u"]) == 10_000
    assert max(map(len, events.errors)) == 20_000
    assert events.last_line.startswith("10099 xxx")
    assert len(events.last_line) <= 20_000


def test_the_violation_that_refuses_a_plan_is_kept_however_many_warn() -> None:
    events = Events()
    for _ in range(12_000):
        events.receive(violation("advisory"))
    events.receive(violation("mandatory"))
    assert len(events.violations) == 10_001
    assert events.violations[-1].enforcement_level == "mandatory"


def test_the_end_of_a_long_output_is_read() -> None:
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as file:
        file.write("é" * 1000 + "error: the last")
        file.flush()
        assert _content(file, 15) == "error: the last"
        assert _content(file, 16)[-16:] == "\ufffderror: the last"
        assert len(_content(file, 1 << 20)) == 1015
