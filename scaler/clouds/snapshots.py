"""Snapshots: what a cloud that can make them of its servers answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from scaler.support.values import dataclass


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A snapshot of the account's own."""

    id: str
    """As digits."""
    name: str
    """Its description at Hetzner Cloud."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """At DigitalOcean its tags."""
    created: datetime
    available: bool = True
    """Whether it is finished, so that servers can be made from it."""
    protected: bool = False
    """Whether the cloud protects it against deletion."""


class MakingState(StrEnum):
    """How far the cloud is with a snapshot."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Making:
    """The making of a snapshot."""

    action: str
    """The id of the cloud's action that makes it; empty where it is not known."""
    state: MakingState
    snapshot: str | None = None
    """The snapshot's id, once it is known."""
    error: str = ""
    """The cloud's words, where the action failed."""


class Snapshots(Protocol):
    """The snapshots of one account. Errors are those of `Cloud`."""

    def all(self) -> list[Snapshot]:
        """Return all snapshots of the account, oldest first: also those that are being made."""

    def used(self) -> frozenset[str]:
        """Return the ids of the images that the account's servers were made from, whoever owns them."""

    def newest(self, server: str) -> str:
        """Return the id of the newest action that makes a snapshot of this server; `0` if there is none."""

    def make(self, server: str, name: str, labels: Mapping[str, str]) -> Making:
        """Ask for a snapshot of a server, and return on acceptance. A lost answer is an AmbiguousError."""

    def find(self, server: str, name: str, after: str) -> Making | None:
        """Return the making of the snapshot of this name; None if nothing is seen of it.

        Only an action that is newer than `after` (of `newest`) can be its.
        """

    def look(self, server: str, name: str, making: Making) -> Making:
        """Return how far the cloud is by now."""

    def label(self, id: str, labels: Mapping[str, str]) -> None:
        """Give a snapshot these labels too."""

    def delete(self, id: str) -> None:
        """Delete a snapshot; one that is gone already is no error."""
