"""The clouds behind one small Protocol.

A cloud's module states facts: what exists, what was refused and why. It decides nothing, repeats a
request only if the first one provably changed nothing, and never waits for a machine to boot.
`scaler.clouds.registry` lists them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from scaler.clouds.errors import (
    PASSING,
    ActionFailedError,
    AddressQuotaError,
    AmbiguousError,
    AuthError,
    BusyError,
    CloudError,
    GoneError,
    InvalidError,
    NameTakenError,
    NoCapacityError,
    ProtectedError,
    QuotaError,
    RateLimitedError,
    TransientError,
    UnfitError,
)
from scaler.clouds.facts import Catalogue, Image, Limits, Offer, Reference, Room, Work, amount
from scaler.clouds.protocol import Cloud

__all__ = [
    "PASSING",
    "ActionFailedError",
    "AddressQuotaError",
    "AmbiguousError",
    "AuthError",
    "BusyError",
    "Catalogue",
    "Cloud",
    "CloudError",
    "GoneError",
    "Image",
    "InvalidError",
    "Limits",
    "NameTakenError",
    "NoCapacityError",
    "Offer",
    "ProtectedError",
    "QuotaError",
    "RateLimitedError",
    "Reference",
    "Room",
    "TransientError",
    "UnfitError",
    "Work",
    "amount",
    "oldest_first",
]


class _Made(Protocol):
    """What an account has: a machine, a snapshot."""

    @property
    def id(self) -> str: ...

    @property
    def created(self) -> datetime: ...


_T = TypeVar("_T", bound=_Made)


def oldest_first(made: Sequence[_T]) -> list[_T]:
    """Sort by creation time, then by number."""
    return sorted(made, key=lambda each: (each.created, len(each.id), each.id))
