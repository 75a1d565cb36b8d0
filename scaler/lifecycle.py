"""The server statuses, and which of them count as supply."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """What scaler knows of a server (`contract.md` §5)."""

    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    REBOOTING = "rebooting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DELETING = "deleting"
    DELETED = "deleted"
    HANGING = "hanging"
    ERRORED = "errored"


SUPPLY = frozenset({Status.NEW, Status.STARTING, Status.RUNNING, Status.REBOOTING})
"""Servers in these statuses count towards the wanted number."""

IN_FLIGHT = frozenset({Status.STARTING, Status.STOPPING, Status.DELETING, Status.REBOOTING})
"""Servers in these statuses are on their way and turn `hanging` after their deadline."""
