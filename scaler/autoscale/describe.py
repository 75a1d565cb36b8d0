"""Describe decisions: as a document for programs and the event log, and as lines for people. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

from scaler.autoscale.decision import Decision, Reading, SampleState
from scaler.support.clock import format_time
from scaler.support.text import one_line


def decision_document(decision: Decision) -> dict[str, object]:
    """Return a decision with everything that led to it, as plain values."""
    return {
        "group": decision.group,
        "at": format_time(decision.at),
        "from": decision.supply.current,
        "to": decision.count,
        "ready": decision.supply.ready,
        "supply": decision.supply.supply,
        "asked": decision.asked,
        "reason": decision.reason,
        "metrics": {reading.metric: reading_document(reading) for reading in decision.readings},
        "proposals": [
            {"rule": proposal.rule, "count": proposal.count, "reason": proposal.reason}
            for proposal in decision.proposals
        ],
        "caps": [
            {"name": cap.name, "from": cap.before, "to": cap.after, "reason": cap.reason} for cap in decision.caps
        ],
        "notices": list(decision.notices),
    }


def reading_document(reading: Reading) -> dict[str, object]:
    """Return a reading as plain values."""
    value = reading.value
    return {
        # JSON has no NaN and no infinity.
        "value": value if value is None or math.isfinite(value) else str(value),
        "at": format_time(reading.at),
        "state": str(reading.state),
        "error": reading.error or None,
    }


def decision_lines(decision: Decision) -> Iterator[str]:
    """Yield the lines that show a decision to a person, from the metrics to the count."""
    supply = decision.supply
    yield f"{decision.group}: {_headline(decision)} ({supply.ready} of {supply.supply} ready)"
    for reading in decision.readings:
        value = "no value" if reading.value is None else f"{reading.value:.6g}"
        state = "" if reading.state is SampleState.OK else f"  {reading.state}: {reading.error}"
        yield f"  metric {reading.metric:<12} {value}{state}"
    for proposal in decision.proposals:
        yield f"  {proposal.rule:<19} {proposal.count}: {one_line(proposal.reason)}"
    for cap in decision.caps:
        yield f"  {cap.name:<19} {cap.before} becomes {cap.after}: {one_line(cap.reason)}"
    for notice in decision.notices:
        yield f"  ! {one_line(notice)}"


def _headline(decision: Decision) -> str:
    current = decision.supply.current
    return f"{current} → {decision.count}" if decision.change else f"{current} stays"
