"""A roll: the replacement of a group's outdated servers, in waves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta
from enum import StrEnum

from scaler.support.values import dataclass


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast a roll goes, and how carefully."""

    surge: int = 1
    """How many servers there may be beside the wanted ones."""
    unavailable: int = 0
    """How many of the wanted servers may be out of service."""
    canary: int = 1
    """How many servers the first wave has, at most; 0: as many as the others."""
    bake: timedelta = timedelta(minutes=2)
    """How long new servers must have been ready and healthy before old ones go."""


@dataclass(frozen=True, kw_only=True)
class RollWindow:
    """A while in which waves may begin, from each moment of a cron expression on."""

    cron: str
    length: timedelta


@dataclass(frozen=True, kw_only=True)
class RollWindows:
    """When autoscaling may begin a wave."""

    timezone: str = "UTC"
    """Of the cron expressions."""
    windows: tuple[RollWindow, ...] = ()
    """Empty: at any time."""


def pace_problem(pace: Pace) -> str:
    """Say why a roll of this pace would never go on, as a predicate; empty if it does."""
    if pace.surge + pace.unavailable == 0:
        return "must have room: surge and unavailable are both 0"
    return ""


class RollState(StrEnum):
    """Where a roll stands."""

    ROLLING = "rolling"
    FAILED = "failed"
    """A wave failed: no more are begun."""
    ABANDONED = "abandoned"
    DONE = "done"


@dataclass(frozen=True, kw_only=True)
class RollTarget:
    """What a roll makes new servers from."""

    images: frozenset[str]
    """Id and name of the image: clouds tell a server's image by either."""
    digest: str
    """The hash of all else that a new server has by the spec."""


@dataclass(frozen=True, kw_only=True)
class Roll:
    """A roll of one group, as the orders of the stack hold it from before its first create on."""

    since: datetime
    target: RollTarget
    pace: Pace
    state: RollState = RollState.ROLLING
    good: str | None = None
    """The image that most of its servers had when the roll began: servers that are added meanwhile are made from it."""
    undoes: RollTarget | None = None
    """The target that this roll takes back; None: it goes forward."""
    undone: Mapping[str, str] = field(default_factory=dict)
    """Name → id of the servers that a roll back replaces."""
    waves: int = 0
    """Waves begun."""
    size: int = 0
    """New servers of the open wave; 0: none is open."""
    ahead: int = 0
    """How many of the wave's old servers go before the new ones are there: `size` less the room for a surge."""
    wave: frozenset[str] = frozenset()
    """Names of the new servers of the open wave, or of the wave that failed."""
    accepted: Mapping[str, str] = field(default_factory=dict)
    """Name → id of the new servers of concluded waves."""
    replaced: Mapping[str, str] = field(default_factory=dict)
    """Name → image of the servers that went, or are going."""
    error: str = ""
    """Why it failed."""
    held: str = ""
    """Why its next wave does not begin now; empty: nothing keeps it."""

    @property
    def is_rolling(self) -> bool:
        """Return whether it goes on."""
        return self.state is RollState.ROLLING

    @property
    def refused(self) -> RollTarget | None:
        """Return the target that is not begun again by itself; None if there is none."""
        return self.undoes or (self.target if self.state in (RollState.FAILED, RollState.ABANDONED) else None)

    @property
    def avoided(self) -> frozenset[str]:
        """Return the images that servers are not made from outside of a wave, where `good` is known."""
        if self.undoes:
            return self.undoes.images
        return self.target.images if self.state in (RollState.ROLLING, RollState.FAILED) else frozenset()
