"""What is known of the health of a server in service."""

from __future__ import annotations

from datetime import datetime

from scaler.model.spec import CheckResult
from scaler.support.values import dataclass


@dataclass(frozen=True, kw_only=True)
class Health:
    """What the health checks of a server found; part of its record, between runs too."""

    checked: datetime
    """When it was checked last."""
    failures: int = 0
    """How many checks in a row it has failed."""
    problem: str = ""
    """What was wrong at the last check that failed; empty while it passes."""


@dataclass(frozen=True)
class CheckReport:
    """What came of one check of a server, and in which words."""

    result: CheckResult
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Replacement:
    """A server that is replaced because it was unhealthy; remembered for as long as it limits how many are."""

    server: str
    """Its name."""
    id: str
    """Its machine's: a later server of the same name is another one."""
    group: str
    since: datetime
    """When its replacement was decided."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """Unhealthy servers of a group that are not replaced now, and why."""

    servers: tuple[str, ...]
    """Their names."""
    why: str
