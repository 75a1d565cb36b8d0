"""Simulations as one HTML file that needs nothing else.

The plots are SVG. The page has no script, and its content security policy forbids it to load
anything, so that it can be sent by mail and archived.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from scaler.autoscale.plot import COLORS, Line, svg
from scaler.autoscale.report import ROWS, time_span
from scaler.autoscale.simulate import Simulation
from scaler.autoscale.trace import Trace
from scaler.support.clock import format_time

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


def page(simulations: Sequence[Simulation], trace: Trace, *, title: str) -> str:
    """Return the report as one HTML document."""
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
            f"<h1>{escape(title)}</h1><p>{time_span(simulations[0])}, {len(trace.times)} moments</p>",
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
        f"<tr><td>{escape(label)}</td>" + "".join(f"<td>{escape(show(one))}</td>" for one in simulations) + "</tr>"
        for label, show in ROWS
    )
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _legend(simulations: Sequence[Simulation]) -> str:
    keys = (
        f'<span class="key" style="background:{_color(index)}"></span>{escape(one.name)}'
        for index, one in enumerate(simulations)
    )
    return f"<p>{''.join(keys)}</p>"


def _color(index: int) -> str:
    return COLORS[index % len(COLORS)]


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


def _plot(title: str, simulations: Sequence[Simulation], series: Sequence[tuple[str, str]]) -> str:
    lines = [
        Line(f"{one.name}: {name}", _color(index), style, getattr(one, name), one.times)
        for index, one in enumerate(simulations)
        for name, style in series
        if getattr(one, name) is not None
    ]
    return svg(title, lines)


def _trace_plot(name: str, trace: Trace) -> str:
    values = [0.0 if value is None or value != value else value for value in trace.columns[name]]  # noqa: PLR0124 - NaN
    return svg(f"Recorded: {name}", [Line(name, "#6b7280", "", values, trace.times)])
