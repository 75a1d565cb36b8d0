"""How far a server is on its way out of service."""

from __future__ import annotations

from datetime import datetime
from enum import Enum, StrEnum, auto
from typing import Literal

from scaler.support.values import dataclass


class DrainStage(StrEnum):
    """The stages on the way out of service, in their order."""

    UNLABELLING = "unlabelling"
    """Its `in_service` label is taken off."""
    DRAINING = "draining"
    SHUTTING_DOWN = "shutting_down"
    POWERING_OFF = "powering_off"
    ENDED = "ended"
    """Nothing more to wait for: the server may be deleted."""


@dataclass(frozen=True, kw_only=True)
class Drain:
    """How far a server is on its way out of service; part of its record, between runs too."""

    since: datetime
    """When it began, by whatever machine."""
    until: datetime
    """When its stage times out. The drain itself has one deadline, however often it is repeated."""
    stage: DrainStage = DrainStage.DRAINING
    then: Literal["delete", "power_off"] = "delete"
    """What it is stopped for."""
    asked: bool = False
    """Whether the request of this stage was accepted, or may have been; of a drain with `drained`, its command."""
    for_good: bool = False
    """It is replaced, was named to be removed, or could not be taken back: do not take it back."""
    reason: str = ""
    """Why the server goes, as the plan said it."""
    notes: tuple[str, ...] = ()
    """What went wrong so far."""


class DrainState(Enum):
    """What is known of a drain on this machine."""

    WORKING = auto()
    DONE = auto()
    FAILED = auto()
    LOST = auto()
    """It was never started, or was killed: it lives no more and has no result."""
    ELSEWHERE = auto()
    """Another machine began it."""


@dataclass(frozen=True)
class DrainFinding:
    """What was found of a drain."""

    state: DrainState
    why: str = ""
    """How it failed, as a predicate: `ended with 3: 2 jobs left`."""
