"""Many servers in few words: names with following numbers as one range, equal lines as one line. Pure.

Text and Markdown are folded; documents for programs never are.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import TypeVar

from scaler.model import StepReport
from scaler.planning.names import natural

H = TypeVar("H", bound=Hashable)

FEW = 3
"""So many equal things are shown one by one."""

_RUN = 3
"""Names with following numbers become a range from so many on."""


def folded_steps(reports: Iterable[StepReport]) -> Iterator[tuple[StepReport, ...]]:
    """Yield neighbours that differ only in the server's name together if they are more than `FEW`, others alone."""
    for _, equal in itertools.groupby(reports, _all_but_name):
        group = tuple(equal)
        if len(group) > FEW:
            yield group
        else:
            yield from ((each,) for each in group)


def _all_but_name(report: StepReport) -> Hashable:
    step = report.step
    return step.action, step.group, step.type, step.location, step.reason, report.result, report.error


def name_ranges(names: Iterable[str]) -> str:
    """Return `dev-web-1, dev-worker-4 … -60`: all names in natural order, what they have in common said once."""
    parts: list[str] = []
    before = None
    for prefix, ends in _runs(names):
        shown = [f"-{end}" for end in ends]
        if prefix is None or prefix != before:
            shown[0] = ends[0] if prefix is None else f"{prefix}-{ends[0]}"
        parts += [f"{shown[0]} … {shown[-1]}"] if len(shown) >= _RUN else shown
        before = prefix
    return ", ".join(parts)


def by_reason(reasons: Mapping[str, H]) -> dict[str, H]:
    """Return a reason for each server's name as one for each set of names, where more than `FEW` have the same."""
    names = sorted(reasons, key=natural)
    alike: dict[H, list[str]] = {}
    for name in names:
        alike.setdefault(reasons[name], []).append(name)
    found: dict[str, H] = {}
    for name in names:
        group = alike[reasons[name]]
        if len(group) <= FEW:
            found[name] = reasons[name]
        elif group[0] == name:
            found[name_ranges(group)] = reasons[name]
    return found


def names_or_ranges(names: Iterable[str]) -> str:
    """Return names in full if they are few, else as ranges."""
    known = sorted(names, key=natural)
    return ", ".join(known) if len(known) <= FEW else name_ranges(known)


def _runs(names: Iterable[str]) -> Iterator[tuple[str | None, list[str]]]:
    """Yield what the names begin with, and their numbers as long as each is the next; None, and a name without one."""
    for prefix, group in itertools.groupby(sorted(names, key=natural), _prefix):
        run: list[str] = []
        for name in group:
            end = name if prefix is None else name.rpartition("-")[2]
            if run and (prefix is None or int(end) != int(run[-1]) + 1):
                yield prefix, run
                run = []
            run.append(end)
        yield prefix, run


def _prefix(name: str) -> str | None:
    prefix, _, end = name.rpartition("-")
    return prefix if prefix and end.isdecimal() else None
