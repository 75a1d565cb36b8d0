"""Whole numbers of servers and the groups that they are of, checked alike for the command line and the library."""

from __future__ import annotations

from collections.abc import Mapping

from scaler.errors import UsageError
from scaler.model import Spec
from scaler.support.suggestions import nearest
from scaler.support.text import answered, quoted

MOST = 10_000
"""No account gets as many servers; a larger count is a slip."""


def all_counts(spec: Spec, counts: Mapping[str, int]) -> dict[str, int]:
    """Return the wanted count of every group: the spec's, where `counts` says nothing else. UsageError."""
    return {
        **{name: group.count for name, group in spec.groups.items()},
        **{known_group(spec, name): check_count(count) for name, count in counts.items()},
    }


def check_count(count: int) -> int:
    """Return the count, if it is a whole number from 0 to `MOST`; else UsageError."""
    if not isinstance(count, int) or isinstance(count, bool):
        raise UsageError(f"{answered(count)} is no count.", fix="Give a whole number, such as 5.")
    if count < 0:
        raise UsageError(f"A count cannot be negative: {count}.", fix="Give 0 or more.")
    if count > MOST:
        raise UsageError(f"{count} servers are more than scaler handles.", fix=f"Give at most {MOST}.")
    return count


def check_by(by: int) -> int:
    """Return the number of servers to add or remove, if it is one from 1 to `MOST`; else UsageError."""
    if check_count(by) == 0:
        raise UsageError("Nothing to change: the amount must be at least 1.", fix="Give 1 or more.")
    return by


def known_group(spec: Spec, name: str) -> str:
    """Return the group's name; UsageError, with the known ones, if the spec has no such group."""
    if name not in spec.groups:
        raise UsageError(f"There is no group {quoted(name)} in {spec.stack}.", fix=nearest(name, list(spec.groups)))
    return name


def only_group(spec: Spec, *, fix: str) -> str:
    """Return the spec's group, when it has one; UsageError with this cure when it has several."""
    if len(spec.groups) > 1:
        raise UsageError(
            f"{spec.stack} has several groups, and none was named.",
            why=f"groups: {', '.join(spec.groups)}",
            fix=fix,
        )
    return next(iter(spec.groups))
