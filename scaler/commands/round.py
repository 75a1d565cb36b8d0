"""How a command ended whose result is not that of one run: for several stacks, or about something else than servers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from scaler.errors import ExitCode, ScalerError
from scaler.model import Outcome, Result
from scaler.support.values import dataclass

_SEVERITY = (
    ExitCode.OK,
    ExitCode.CHANGES_PENDING,
    ExitCode.UNCONFIRMED,
    ExitCode.LOCKED,
    ExitCode.STALE_PLAN,
    ExitCode.UNAVAILABLE,
    ExitCode.REFUSED,
    ExitCode.CREDENTIALS,
    ExitCode.SPEC,
    ExitCode.USAGE,
    ExitCode.ERROR,
)
"""From what needs nobody, over what the next run puts right, to what needs a person."""


def worst(codes: Iterable[int]) -> int:
    """Return the exit code of several stacks: 0 if there is none."""
    return max(codes, key=lambda code: _SEVERITY.index(ExitCode(code)), default=ExitCode.OK)


@dataclass(frozen=True)
class Round:
    """How a command ended for each stack, for the reports."""

    outcome: str
    """Of the stack for which it ended worst."""
    ends: Mapping[str, Result | ScalerError]


@dataclass(frozen=True, kw_only=True)
class PlainResult:
    """How a command ended that is not about the number of servers, such as `pause`, for the reports."""

    stack: str
    outcome: Outcome
    changed: bool
    facts: Mapping[str, object]
    """As the command prints them for programs."""
    markdown: str


Ended = Result | Round | PlainResult
"""How a command ended without an error."""
