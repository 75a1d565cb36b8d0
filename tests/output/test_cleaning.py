"""Texts from outside, in any field of what is printed: nothing that a terminal, a log or a CI system would obey."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import Enum
from typing import Any

import pytest

from scaler.model import Action, GroupReport, Outcome, Result, StepReport, StepResult, Violation
from scaler.model.lifecycle import Status
from scaler.output.cleaning import cleaned
from scaler.output.render import planned, render, render_plan, render_status
from scaler.records.state import State
from tests.support.results import COST, NOW, PLAN, SERVERS, SPEC, result, server, step

EVIL = (
    "a\x1b]0;owned\x07",
    "a\r\n::stop-commands::x",
    "::add-mask::x",
    "a\n\n</details># b |",
    "##vso[task.complete]",
    "\x9b31m",
    "\u202egnp",
    "a\u2028b",
)


def poisoned(value: Any, text: str, turn: list[int]) -> Any:
    """The value with this text in each field of text, numbered so that names stay different."""
    if isinstance(value, str) and not isinstance(value, Enum):
        turn[0] += 1
        return f"{text}{turn[0]}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value) if field.init]
        return dataclasses.replace(value, **{name: poisoned(getattr(value, name), text, turn) for name in fields})
    if isinstance(value, Mapping):
        return {poisoned(key, text, turn): poisoned(content, text, turn) for key, content in value.items()}
    if isinstance(value, tuple | frozenset):
        return type(value)(poisoned(one, text, turn) for one in value)
    return value


def everything(outcome: Outcome) -> Result:
    return result(
        outcome,
        groups={"worker": GroupReport(wanted=3, before=1, ready=1, tries=("cx23 in fsn1", "cx33 in nbg1"))},
        steps=tuple(
            StepReport(step(action, number, "why", type="cx23", location="fsn1"), StepResult.FAILED, "error")
            for number, action in enumerate(Action)
        ),
        servers=tuple(
            server(number, status, error="error", outdated="image", type="cx23") for number, status in enumerate(Status)
        ),
        drift=("drift",),
        violations=(Violation(policy="p", pack="q", level="advisory", server="prod-worker-1", message="m"),),
        cost=COST,
        outdated={"prod-worker-1": "image"},
        renamed={"old": "new"},
        kept={"prod-worker-1": NOW},
    )


@pytest.mark.parametrize("text", EVIL)
@pytest.mark.parametrize("format", ["text", "markdown"])
def test_whatever_a_field_holds_nothing_obeys_it(text: str, format: str) -> None:
    shown = [render(poisoned(everything(outcome), text, [0]), format, hints=True) for outcome in Outcome]
    shown.append(render_plan(poisoned(PLAN, text, [0]), SPEC, format))
    state = State(
        stack="prod",
        project="shop",
        cloud="hetzner",
        serial=1,
        updated=NOW,
        wanted={"worker": 3},
        servers=everything(Outcome.FAILED).servers,
    )
    shown.append(render_status(poisoned(state, text, [0]), format, stack="prod", now=NOW))
    for document in shown:
        lines = document.split("\n")
        assert all(line.isprintable() for line in lines)
        assert not [line for line in lines if line.strip().startswith(("::", "# b"))]
        assert "##vso[" not in document
    if format == "markdown":
        assert all(document.count("</details>") == document.count("<details>") for document in shown)


def test_what_is_fine_stays_as_it_is() -> None:
    before = everything(Outcome.PLANNED)
    assert cleaned(before) == before
    assert cleaned(planned(PLAN, servers=SERVERS)) == planned(PLAN, servers=SERVERS)
