"""What a page shows, as values: sentences, charts and tables. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from scaler.support.values import dataclass

Tone = Literal["plain", "good", "bad"]


@dataclass(frozen=True)
class Sentence:
    """A part of the conclusion, or a cell that has a tone."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One series of a chart."""

    label: str
    values: Sequence[float | None]
    """One for each time of the chart; None: not known."""
    color: int = 0
    """Which of the six colors. The lines of one chart differ in their dashes too."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Lines over time, each of which keeps its value until the next time."""

    title: str
    times: Sequence[float]
    """Seconds since 1970, rising."""
    lines: Sequence[Curve]
    whole: bool = False
    """Whether the values are whole numbers."""

    def document(self, most: int = 400) -> dict[str, object]:
        """Return it for the script that draws it, in `most` parts of which each line keeps its lowest and highest."""
        kept = _notable(len(self.times), [line.values for line in self.lines], most)
        return {
            "title": self.title,
            "whole": self.whole,
            "times": [round(self.times[index], 1) for index in kept],
            "lines": [
                {"label": line.label, "color": line.color, "values": [_rounded(line.values[index]) for index in kept]}
                for line in self.lines
            ],
        }


@dataclass(frozen=True)
class Link:
    """A cell that leads to another page."""

    text: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under a heading."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str | Link | Sentence]]
    folded: bool = False
    """Whether only its title is shown at first."""
    kind: Literal["list", "compared", "numbers"] = "list"
    """Whether a row stands for itself, or its cells are compared with each other; numbers are set to the right."""
    empty: str = ""
    """What to say without rows; empty: then the table is left out."""


@dataclass(frozen=True, kw_only=True)
class WebPage:
    """A page."""

    title: str
    subtitle: str
    sentences: Sequence[Sentence]
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    links: Sequence[Link] = ()


def _notable(length: int, lines: Sequence[Sequence[float | None]], most: int) -> list[int]:
    """Return the indexes that are drawn: all, or of each part the first, and where each line is lowest and highest."""
    if length <= 2 * most:
        return list(range(length))
    kept = {0, length - 1}
    for part in range(most):
        indexes = range(part * length // most, (part + 1) * length // most)
        kept.add(indexes[0])
        for values in lines:
            known = [index for index in indexes if values[index] is not None]
            if known:
                kept |= {
                    min(known, key=lambda index: values[index] or 0),
                    max(known, key=lambda index: values[index] or 0),
                }
    return sorted(kept)


def _rounded(value: float | None) -> float | None:
    # JSON has neither NaN nor infinity.
    return None if value is None or not abs(value) < 1e300 else float(f"{value:.6g}")
