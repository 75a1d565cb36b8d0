"""Recorded load: a list of times, and the metrics' values at each of them.

Three formats are read: CSV with a `time` column, JSON (a list of objects with a `time`), and the
answer of Prometheus to a range query. A time is RFC 3339 or seconds since 1970.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from scaler.autoscale.matrix import series_in
from scaler.errors import UsageError
from scaler.model.events import Event
from scaler.support.clock import format_time, parse_time, time_at
from scaler.support.documents import parse_json, read_file
from scaler.support.text import LONGEST, one_line, quoted
from scaler.support.values import dataclass

SERVERS = "servers"
"""The column with the number of ready servers at the time of the recording. With it, averages are corrected."""

_LARGEST = 64 << 20
"""Bytes of a file: a year of ten metrics, each minute, has about as many."""


@dataclass(frozen=True)
class Trace:
    """Recorded load."""

    times: Sequence[float]
    """Seconds since 1970, rising."""
    columns: Mapping[str, Sequence[float | None]]
    """By name, one value per time; None where none was recorded."""

    def moment(self, index: int) -> datetime:
        return datetime.fromtimestamp(self.times[index], UTC)

    @property
    def last_step(self) -> float:
        """How long the last values hold, in seconds: as long as the ones before."""
        return self.times[-1] - self.times[-2] if len(self.times) > 1 else 60.0


class TraceError(UsageError):
    """The file is not recorded load."""

    code = "trace_invalid"


def load_trace(path: Path) -> Trace:
    """Read recorded load from a file. Raise TraceError with what is wrong, and where."""
    try:
        text = read_file(path, _LARGEST, wait=True).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        reason = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else reason
        raise TraceError(f"{path} cannot be read.", why=reason, fix="Name a readable CSV or JSON file.") from None
    try:
        rows = _json_rows(text) if text.lstrip()[:1] in ("[", "{") else _csv_rows(text)
        return _trace(rows)
    except (ValueError, csv.Error) as error:
        raise TraceError(
            f"{path} is no recorded load.",
            why=one_line(str(error), LONGEST),
            fix="Give CSV with a time column, a JSON list of objects with a time, or an answer to query_range.",
        ) from None


Rows = Sequence[tuple[float, Mapping[str, float | None]]]


def trace_of(events: Iterable[Event], group: str, since: datetime) -> Trace:
    """Return what the logged decisions for a group have measured since then. TraceError if there are none.

    A decision is logged when it differs from the last one, so a value holds until the next of them.
    """
    rows: dict[float, Mapping[str, float | None]] = {}
    for event in events:
        decision = event.decision
        if decision is None or event.group != group or event.at is None or event.at < since:
            continue
        with suppress(ValueError):
            rows[event.at.timestamp()] = {SERVERS: _number(decision.get("ready"), SERVERS), **_measured(decision)}
    try:
        return _trace(sorted(rows.items()))
    except ValueError:
        raise TraceError(
            f"No decision for {group} is recorded since {format_time(since)}.",
            fix="Run `scaler autoscale` for a while, go further back with --since, or give a file.",
        ) from None


def _measured(decision: Mapping[str, object]) -> Mapping[str, float | None]:
    """Return the values of the metrics in a decision's document."""
    metrics = decision.get("metrics")
    readings = metrics.items() if isinstance(metrics, Mapping) else ()
    values = {str(name): reading.get("value") for name, reading in readings if isinstance(reading, Mapping)}
    # What is infinite is written as a text, and no load.
    return {name: value if isinstance(value, int | float) else None for name, value in values.items()}


def _csv_rows(text: str) -> Rows:
    lines = csv.DictReader(text.splitlines())
    if "time" not in (lines.fieldnames or ()):
        raise ValueError("the first line names no column time")
    if twice := [name for name, number in Counter(lines.fieldnames).items() if number > 1]:
        # The last one would win, unseen.
        raise ValueError(f"the first line names the column {quoted(twice[0])} twice")
    rows = []
    for line in lines:
        if None in line or None in line.values():
            raise ValueError(f"line {lines.line_num} has another number of fields than the first")
        rows.append(_row(line, f"line {lines.line_num}"))
    return rows


def _json_rows(text: str) -> Rows:
    document = parse_json(text)
    if isinstance(document, dict):
        return _prometheus_rows(document)
    if not all(isinstance(item, dict) for item in document):
        raise ValueError("the list holds something else than objects")
    return [_row(item, f"item {index}") for index, item in enumerate(document)]


def _row(fields: Mapping[str, Any], where: str) -> tuple[float, Mapping[str, float | None]]:
    if "time" not in fields:
        raise ValueError(f"{where} has no time")
    values = {str(name): _number(value, f"{where}: {name}") for name, value in fields.items() if name != "time"}
    return _time(fields["time"], where), values


def _prometheus_rows(document: Mapping[str, Any]) -> Rows:
    """Return one column per series, named by its `__name__`, else by the value of its only label, else `value`."""
    found = series_in(document.get("data"))
    names = [_series_name(series.labels) for series in found]
    if len(set(names)) < len(names):
        raise ValueError(f"several series have the same name: {', '.join(names)}")
    rows: dict[float, dict[str, float | None]] = {}
    for name, series in zip(names, found, strict=True):
        for moment, value in series.points:
            at = _time(moment, f"series {name}")
            rows.setdefault(at, {})[name] = None if math.isnan(value) else value
    return [(moment, {name: rows[moment].get(name) for name in names}) for moment in sorted(rows)]


def _series_name(labels: Mapping[str, str]) -> str:
    return labels.get("__name__") or (next(iter(labels.values())) if len(labels) == 1 else "value")


def _time(value: object, where: str) -> float:
    text = str(value).strip()
    try:
        return _moment(text).timestamp()
    except ValueError:
        raise ValueError(f"{where}: {quoted(text)} is no time in the years 1970 to 5138") from None


def _moment(text: str) -> datetime:
    try:
        number = float(text)
    except ValueError:
        return parse_time(text)
    return time_at(number)


def _number(value: object, where: str) -> float | None:
    """Return None for an empty field, null and NaN: the value was not recorded."""
    if value is None or value == "":
        return None
    try:
        number = float(str(value))
    except ValueError:
        raise ValueError(f"{where}: {quoted(str(value))} is no number") from None
    if math.isinf(number):
        raise ValueError(f"{where} is infinite")
    return None if math.isnan(number) else number


def _trace(rows: Rows) -> Trace:
    if not rows:
        raise ValueError("it is empty")
    times = [moment for moment, _ in rows]
    for earlier, later in pairwise(times):
        if later <= earlier:
            raise ValueError(f"the times do not rise: {earlier:.0f} is followed by {later:.0f}")
    names = list(dict.fromkeys(name for _, values in rows for name in values))
    if not names:
        raise ValueError("it has a time and no values")
    return Trace(times, {name: [values.get(name) for _, values in rows] for name in names})
