"""Simulations as a terminal chart, a JSON document, and one HTML file that needs nothing else.

The HTML holds its plots as SVG. It has no script, and its content security policy forbids it to
load anything, so that it can be mailed and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from html import escape

from scaler.autoscale.explain import decision_document
from scaler.autoscale.simulate import Simulation
from scaler.autoscale.trace import Trace
from scaler.support.clock import format_time

_BARS = " ▁▂▃▄▅▆▇█"

_COLORS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2")

# ---------------------------------------------------------------------------------------------
# The numbers

_ROWS: Sequence[tuple[str, Callable[[Simulation], str]]] = (
    ("servers, least to most", lambda one: f"{one.least} to {one.most}"),
    ("server-hours", lambda one: f"{one.server_hours:.1f}"),
    ("cost", lambda one: "?" if one.cost is None else f"{one.cost:.2f} {one.currency}"),
    ("wait, mean", lambda one: _seconds(one.waits.mean if one.waits else None)),
    ("wait, p95", lambda one: _seconds(one.waits.p95 if one.waits else None)),
    ("wait, worst", lambda one: _seconds(one.waits.worst if one.waits else None)),
    ("overload, minutes", lambda one: f"{one.overload_minutes:.1f}"),
    ("changes, up and down", lambda one: f"{one.changes} ({one.ups} + {one.downs})"),
)


def _seconds(number: float | None) -> str:
    return "?" if number is None else f"{number:.1f} s"


def document(simulations: Sequence[Simulation], *, points: int = 1000) -> dict[str, object]:
    """All of it as plain values; `points` at most of each series, evenly spread."""
    return {"simulations": [_simulation_document(one, points) for one in simulations]}


def _simulation_document(one: Simulation, points: int) -> dict[str, object]:
    kept = _spread(len(one.times), points)
    waits = one.wait_by_step
    return {
        "policy": one.name,
        "servers": {"least": one.least, "most": one.most},
        "server_hours": round(one.server_hours, 2),
        "cost": None if one.cost is None else round(one.cost, 4),
        "currency": one.currency,
        "wait_s": asdict(one.waits) if one.waits else None,
        "overload_minutes": round(one.overload_minutes, 2),
        "changes": {"all": one.changes, "up": one.ups, "down": one.downs},
        "series": {
            "time": [format_time(datetime.fromtimestamp(one.times[index], UTC)) for index in kept],
            "wanted": [one.wanted[index] for index in kept],
            "ready": [one.ready[index] for index in kept],
            "wait_s": None if waits is None else [round(waits[index], 2) for index in kept],
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
    """Servers over time, one line per policy, and the numbers side by side. Plain text."""
    most = max(one.most for one in simulations)
    names = max(len(one.name) for one in simulations)
    lines = [f"{'':{names}}  0 to {most} servers, {_span_of(simulations[0])}"]
    lines += [f"{one.name:{names}}  {_bars(one.wanted, most, width)}" for one in simulations]
    return "\n".join([*lines, "", *_table(simulations)])


def _bars(values: Sequence[int], most: int, width: int) -> str:
    cells = min(width, len(values))
    parts = [values[i * len(values) // cells : (i + 1) * len(values) // cells] for i in range(cells)]
    scale = (len(_BARS) - 1) / max(1, most)
    return "".join(_BARS[round(max(part) * scale)] for part in parts)


def _span_of(one: Simulation) -> str:
    first, last = (datetime.fromtimestamp(moment, UTC) for moment in (one.times[0], one.times[-1]))
    return f"{format_time(first)} to {format_time(last)}"


def table(simulations: Sequence[Simulation]) -> list[tuple[str, ...]]:
    """The numbers side by side: a head with the policies' names, and one row per number."""
    return [("", *(one.name for one in simulations))] + [
        (label, *(tell(one) for one in simulations)) for label, tell in _ROWS
    ]


def _table(simulations: Sequence[Simulation]) -> list[str]:
    rows = table(simulations)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            [f"{row[0]:<{widths[0]}}", *(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]


# ---------------------------------------------------------------------------------------------
# HTML

_WIDTH, _HEIGHT = 1000, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 12, 28

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1060px; margin: 2rem auto; padding: 0 1rem; color: #1f2937; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; } th, td { padding: .3rem .8rem; text-align: right; }
th:first-child, td:first-child { text-align: left; } tr { border-bottom: 1px solid #e5e7eb; }
svg { width: 100%; height: auto; } svg text { font-size: 12px; fill: #6b7280; }
.grid { stroke: #e5e7eb; } .line { fill: none; stroke-width: 1.6; } .thin { stroke-width: 1; stroke-dasharray: 3 3; }
.key { display: inline-block; width: 1em; height: .3em; margin: 0 .4em .2em 1.2em; }
@media (prefers-color-scheme: dark) {
  body { background: #111827; color: #e5e7eb; } tr { border-color: #374151; } .grid { stroke: #374151; }
}
"""


def html(simulations: Sequence[Simulation], trace: Trace, *, title: str) -> str:
    """The report as one HTML document."""
    plots = [
        _plot("Servers: wanted, and ready (dashed)", simulations, [("wanted", ""), ("ready", " thin")]),
        *([_plot("Waiting time in seconds", simulations, [("wait_by_step", "")])] if _has_waits(simulations) else []),
        *(_trace_plot(name, trace) for name in trace.columns),
    ]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{escape(title)}</h1><p>{_span_of(simulations[0])}, {len(trace.times)} moments</p>",
            _html_table(simulations),
            _legend(simulations),
            *plots,
            *(_html_decisions(one) for one in simulations),
            "</body></html>",
        ]
    )


def _has_waits(simulations: Sequence[Simulation]) -> bool:
    return any(one.wait_by_step is not None for one in simulations)


def _html_table(simulations: Sequence[Simulation]) -> str:
    head = "".join(f"<th>{escape(one.name)}</th>" for one in simulations)
    rows = "".join(
        f"<tr><td>{escape(label)}</td>" + "".join(f"<td>{escape(tell(one))}</td>" for one in simulations) + "</tr>"
        for label, tell in _ROWS
    )
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _legend(simulations: Sequence[Simulation]) -> str:
    keys = (
        f'<span class="key" style="background:{_color(index)}"></span>{escape(one.name)}'
        for index, one in enumerate(simulations)
    )
    return f"<p>{''.join(keys)}</p>"


def _color(index: int) -> str:
    return _COLORS[index % len(_COLORS)]


def _html_decisions(one: Simulation, most: int = 200) -> str:
    rows = "".join(
        f"<tr><td>{format_time(decision.at)}</td><td>{decision.supply.current}</td><td>{decision.count}</td>"
        f"<td>{escape(decision.reason)}</td></tr>"
        for decision in one.decisions[:most]
        if decision.change
    )
    left = max(0, len(one.decisions) - most)
    more = f"<p>and {left} more, in the JSON document</p>" if left else ""
    head = "<thead><tr><th>time</th><th>from</th><th>to</th><th>why</th></tr></thead>"
    title = f"{escape(one.name)}: {one.changes} changes"
    return f"<details><summary>{title}</summary><table>{head}<tbody>{rows}</tbody></table>{more}</details>"


# -- plots -------------------------------------------------------------------------------------


def _plot(title: str, simulations: Sequence[Simulation], series: Sequence[tuple[str, str]]) -> str:
    lines = [
        (f"{one.name}: {name}", _color(index), style, getattr(one, name), one.times)
        for index, one in enumerate(simulations)
        for name, style in series
        if getattr(one, name) is not None
    ]
    return _svg(title, lines)


def _trace_plot(name: str, trace: Trace) -> str:
    values = [0.0 if value is None or value != value else value for value in trace.columns[name]]  # noqa: PLR0124 - NaN
    return _svg(f"Recorded: {name}", [(name, "#6b7280", "", values, trace.times)])


Line = tuple[str, str, str, Sequence[float], Sequence[float]]


def _svg(title: str, lines: Sequence[Line]) -> str:
    times = lines[0][4]
    start, end = times[0], max(times[-1], times[0] + 1)
    top = _round_up(max(max(values) for _, _, _, values, _ in lines))

    def at(moment: float, value: float) -> tuple[float, float]:
        across = (moment - start) / (end - start) * (_WIDTH - _LEFT - _RIGHT)
        return _LEFT + across, _HEIGHT - _BOTTOM - value / top * (_HEIGHT - _TOP - _BOTTOM)

    parts = [_axes(top, start, end, at)]
    for label, color, style, values, moments in lines:
        path = _path(values, moments, at)
        name = escape(label)
        parts.append(f'<path class="line{style}" stroke="{color}" d="{path}"><title>{name}</title></path>')
    label = escape(title)
    return (
        f'<h2>{label}</h2><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
    )


Place = Callable[[float, float], tuple[float, float]]


def _axes(top: float, start: float, end: float, at: Place) -> str:
    parts = []
    for share in (0.0, 0.5, 1.0):
        x, y = at(start, top * share)
        parts.append(f'<line class="grid" x1="{x:.0f}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{x - 6:.0f}" y="{y + 4:.1f}" text-anchor="end">{top * share:g}</text>')
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        moment = start + (end - start) * share
        x, _ = at(moment, 0)
        text = datetime.fromtimestamp(moment, UTC).strftime("%a %d %b %H:%M")
        parts.append(f'<text x="{x:.0f}" y="{_HEIGHT - 8}" text-anchor="{anchor}">{text}</text>')
    return "".join(parts)


def _path(values: Sequence[float], times: Sequence[float], at: Place) -> str:
    """Steps; of many points in one column of the picture, the lowest and the highest stay, so that no peak is lost."""
    columns = _WIDTH - _LEFT - _RIGHT
    length = len(values)
    cells = min(length, columns)
    points: list[tuple[float, float]] = []
    for cell in range(cells):
        first, last = cell * length // cells, (cell + 1) * length // cells
        part = values[first:last]
        low, high = min(part), max(part)
        points.append((times[first], values[first]))
        if low < high:
            points += [(times[first], low), (times[first], high), (times[first], values[last - 1])]
    x, y = at(*points[0])
    path = [f"M{x:.1f} {y:.1f}"]
    for moment, value in points[1:]:
        x, y = at(moment, value)
        path.append(f"H{x:.1f}V{y:.1f}")
    return "".join(path)


def _round_up(number: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50 …, for the axis."""
    if number <= 0:
        return 1.0
    scale = 10.0 ** len(str(int(number))[1:]) if number >= 1 else 1.0
    return next(step * scale for step in (1, 2, 5, 10) if step * scale >= number)
