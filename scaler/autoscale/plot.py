"""Line plots as SVG. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

COLORS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2")

_WIDTH, _HEIGHT = 1000, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 12, 28


@dataclass(frozen=True, slots=True)
class Line:
    """One series of a plot."""

    label: str
    color: str
    style: str
    """Further CSS classes, each with a space before it."""
    values: Sequence[float]
    times: Sequence[float]
    """Seconds since 1970, one for each value."""


def svg(title: str, lines: Sequence[Line]) -> str:
    """Return a heading and the plot of lines that have the same times, as HTML with SVG."""
    times = lines[0].times
    start, end = times[0], max(times[-1], times[0] + 1)
    top = _round_up(max(max(line.values) for line in lines))

    def at(moment: float, value: float) -> tuple[float, float]:
        across = (moment - start) / (end - start) * (_WIDTH - _LEFT - _RIGHT)
        return _LEFT + across, _HEIGHT - _BOTTOM - value / top * (_HEIGHT - _TOP - _BOTTOM)

    parts = [_axes(top, start, end, at)]
    for line in lines:
        path, name = _path(line.values, line.times, at), escape(line.label)
        parts.append(f'<path class="line{line.style}" stroke="{line.color}" d="{path}"><title>{name}</title></path>')
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
    """Return the path of a step line. Each pixel column keeps its lowest and highest point, so that no peak is lost."""
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
    """Return the next of 1, 2, 5, 10, 20, 50 …, for the axis."""
    if number <= 0:
        return 1.0
    scale = 10.0 ** len(str(int(number))[1:]) if number >= 1 else 1.0
    return next(step * scale for step in (1, 2, 5, 10) if step * scale >= number)
