"""The result of a run, and the reports that it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta
from enum import StrEnum

from scaler.model.change import Violation
from scaler.model.health import Held
from scaler.model.plan import Step
from scaler.model.prices import Cost
from scaler.model.schedule import RollSchedule
from scaler.model.server import Server
from scaler.support.values import dataclass


class Outcome(StrEnum):
    CONVERGED = "converged"
    UNCONFIRMED = "unconfirmed"
    FAILED = "failed"
    REFUSED = "refused"
    PLANNED = "planned"
    UNCHANGED = "unchanged"


class StepResult(StrEnum):
    DONE = "done"
    FAILED = "failed"
    PENDING = "pending"


@dataclass(frozen=True)
class StepReport:
    """A step and its result."""

    step: Step
    result: StepResult
    error: str | None = None


@dataclass(frozen=True)
class GroupReport:
    """A group's numbers: wanted, supply before, ready now."""

    wanted: int
    before: int
    ready: int
    tries: tuple[str, ...] = ()
    """Where new servers are tried, in this order, such as `cx23 in fsn1`; empty if none is needed."""


@dataclass(frozen=True)
class Requests:
    """Requests sent to the cloud during the run."""

    total: int = 0
    create: int = 0
    list: int = 0
    retried: int = 0


@dataclass(frozen=True)
class RateWait:
    """How long the cloud's rate limit makes a plan take, at least."""

    requests: int
    """About how many the plan needs."""
    wait: timedelta


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of a run, as every command prints it (`contract.md` §4)."""

    stack: str
    outcome: Outcome
    groups: Mapping[str, GroupReport]
    steps: tuple[StepReport, ...] = ()
    servers: tuple[Server, ...] = ()
    drift: tuple[str, ...] = ()
    violations: tuple[Violation, ...] = ()
    """Policies that the plan does not pass."""
    cost: Cost | None = None
    requests: Requests = Requests()
    rate_wait: RateWait | None = None
    """None: the cloud's rate limit does not hold the plan up."""
    elapsed: timedelta = timedelta(0)
    failures: tuple[Exception, ...] = ()
    """All errors of the run; a step that failed has its own error in `steps` besides."""
    held: Mapping[str, Held] = field(default_factory=dict)
    """The unhealthy servers that are not replaced now, by group."""
    unchecked: Mapping[str, str] = field(default_factory=dict)
    """Groups of which no server's health can be checked from here → why."""
    outdated: Mapping[str, str] = field(default_factory=dict)
    """Servers that differ from a new one → in what."""
    schedules: tuple[RollSchedule, ...] = ()
    """Of the rolls that a plan begins or goes on with."""
    baking: Mapping[str, datetime] = field(default_factory=dict)
    """Groups whose roll waits until the new servers of its wave have baked → when that may be."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Groups with servers that the spec no longer has → the group that looks like their new name."""
    kept: Mapping[str, datetime] = field(default_factory=dict)
    """Servers that are off and paid for → until when they can be powered on again."""
    stack_id: str | None = None
    """The stack's id; None: it had none when the run began."""
    seen: Mapping[str, str] = field(default_factory=dict)
    """Name → id of the machines that the run began with; for plan files, not for printing."""
    declined: bool = False
    """Whether a person was asked and said no, so that nothing was changed."""
