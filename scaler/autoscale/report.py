"""The numbers of simulations, side by side: as a table, a terminal chart, and a JSON document. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from scaler.autoscale.describe import decision_document
from scaler.autoscale.simulate import Simulation
from scaler.output.table import columns
from scaler.support.clock import format_time

_BARS = " ▁▂▃▄▅▆▇█"

ROWS: Sequence[tuple[str, Callable[[Simulation], str]]] = (
    ("servers, least to most", lambda one: f"{one.least} to {one.most}"),
    ("server-hours", lambda one: f"{one.server_hours:.1f}"),
    ("cost", lambda one: "?" if one.cost is None else f"{one.cost:.2f} {one.currency}"),
    ("wait, mean", lambda one: _seconds(one.waits.mean if one.waits else None)),
    ("wait, p95", lambda one: _seconds(one.waits.p95 if one.waits else None)),
    ("wait, worst", lambda one: _seconds(one.waits.worst if one.waits else None)),
    ("jobs that waited too long", lambda one: "?" if one.late_jobs is None else f"{one.late_jobs:.0f}"),
    ("overload, minutes", lambda one: f"{one.overload_minutes:.1f}"),
    ("changes, up and down", lambda one: f"{one.changes} ({one.ups} + {one.downs})"),
)
"""The label of each number, and how it is shown."""


def _seconds(number: float | None) -> str:
    return "?" if number is None else f"{number:.1f} s"


def document(simulations: Sequence[Simulation], *, points: int = 1000) -> dict[str, object]:
    """Return the simulations as plain values, each series reduced to at most `points` evenly spread points."""
    return {"simulations": [_simulation_document(one, points) for one in simulations]}


def _simulation_document(one: Simulation, points: int) -> dict[str, object]:
    indexes = _spread(len(one.times), points)
    waits = one.wait_by_step
    return {
        "policy": one.name,
        "servers": {"least": one.least, "most": one.most},
        "server_hours": round(one.server_hours, 2),
        "cost": None if one.cost is None else round(one.cost, 4),
        "currency": one.currency,
        "wait_s": asdict(one.waits) if one.waits else None,
        "slo_s": one.slo_s,
        "late_jobs": None if one.late_jobs is None else round(one.late_jobs, 1),
        "overload_minutes": round(one.overload_minutes, 2),
        "changes": {"all": one.changes, "up": one.ups, "down": one.downs},
        "series": {
            "time": [format_time(datetime.fromtimestamp(one.times[index], UTC)) for index in indexes],
            "wanted": [one.wanted[index] for index in indexes],
            "ready": [one.ready[index] for index in indexes],
            "wait_s": None if waits is None else [round(waits[index], 2) for index in indexes],
        },
        "decisions": [decision_document(decision) for decision in one.decisions],
    }


def _spread(length: int, points: int) -> Sequence[int]:
    if length <= points:
        return range(length)
    return [index * length // points for index in range(points)]


# ---------------------------------------------------------------------------------------------
# The terminal


def chart(simulations: Sequence[Simulation], *, width: int = 72) -> str:
    """Return servers over time, one line per policy, and the table, as plain text."""
    most = max(one.most for one in simulations)
    names = max(len(one.name) for one in simulations)
    lines = [f"{'':{names}}  0 to {most} servers, {time_span(simulations[0])}"]
    lines += [f"{one.name:{names}}  {_bars(one.wanted, most, width)}" for one in simulations]
    return "\n".join([*lines, "", *_table(simulations)])


def _bars(values: Sequence[int], most: int, width: int) -> str:
    cells = min(width, len(values))
    parts = [values[i * len(values) // cells : (i + 1) * len(values) // cells] for i in range(cells)]
    scale = (len(_BARS) - 1) / max(1, most)
    return "".join(_BARS[round(max(part) * scale)] for part in parts)


def time_span(one: Simulation) -> str:
    """Return the first and the last time of a simulation."""
    first, last = (datetime.fromtimestamp(moment, UTC) for moment in (one.times[0], one.times[-1]))
    return f"{format_time(first)} to {format_time(last)}"


def table(simulations: Sequence[Simulation]) -> list[tuple[str, ...]]:
    """Return a header with the policies' names, and one row per number."""
    return [("", *(one.name for one in simulations))] + [
        (label, *(show(one) for one in simulations)) for label, show in ROWS
    ]


def _table(simulations: Sequence[Simulation]) -> list[str]:
    return columns(table(simulations), numbers=True)
