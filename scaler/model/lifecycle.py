"""The server statuses: which count as supply, and how a machine's condition becomes one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
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

DEAD = frozenset({Status.HANGING, Status.ERRORED})
"""Servers in these statuses are replaced."""

FINISHED = frozenset({Status.DELETED})
"""Records in these statuses are of machines that are no more."""

DELETE_WITHIN = timedelta(minutes=5)
"""How long an accepted delete may take before the server counts as hanging."""


class Phase(StrEnum):
    """A machine's condition as its cloud tells it, in words common to all clouds."""

    BOOTING = "booting"
    RUNNING = "running"
    OFF = "off"
    STOPPING = "stopping"
    DELETING = "deleting"
    BUSY = "busy"
    """Being migrated, rebuilt or resized."""
    UNKNOWN = "unknown"


_LIVE = {Status.STOPPING, Status.STOPPED, Status.DELETING, Status.DELETED, Status.HANGING, Status.ERRORED}

TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    Status.NEW: frozenset({Status.STARTING, Status.RUNNING, Status.REBOOTING, *_LIVE}),
    Status.STARTING: frozenset({Status.RUNNING, Status.REBOOTING, *_LIVE}),
    Status.RUNNING: frozenset({Status.REBOOTING, *_LIVE}),
    Status.REBOOTING: frozenset({Status.RUNNING, *_LIVE}),
    # Anybody can power it on at the cloud.
    Status.STOPPING: frozenset({Status.STARTING, Status.RUNNING, Status.REBOOTING, *_LIVE}),
    Status.STOPPED: frozenset({Status.STARTING, Status.RUNNING, Status.REBOOTING, *_LIVE}),
    # A delete that was meant and not carried out leaves the server as it was.
    Status.DELETING: frozenset({Status.STARTING, Status.RUNNING, Status.REBOOTING, *_LIVE}),
    Status.DELETED: frozenset({Status.NEW}),
    # What was given up may come up after all.
    Status.HANGING: frozenset({Status.RUNNING, Status.REBOOTING, *_LIVE}),
    Status.ERRORED: frozenset({Status.NEW, Status.STARTING, Status.RUNNING, Status.REBOOTING, *_LIVE}),
}
"""What may follow what: by our own doing, or by what is seen at the cloud, where anybody can act."""


class IllegalTransitionError(ValueError):
    """A status that cannot follow the one before."""

    def __init__(self, server: str, before: Status, after: Status) -> None:
        super().__init__(f"{server} cannot go from {before} to {after}")


def check_transition(server: str, before: Status, after: Status) -> None:
    """Raise IllegalTransitionError, with both names, for what the table does not have."""
    if before is not after and after not in TRANSITIONS[before]:
        raise IllegalTransitionError(server, before, after)


def status_of(phase: Phase, locked: bool, before: Status | None, *, in_stack: bool, ready: bool) -> Status:
    """The status that a machine's condition means, given what it was before; deadlines apart.

    `before` is None for a machine of which there is no unfinished record. `in_stack` tells whether the
    engine's state still holds it: a delete that was meant but not carried out leaves it there.
    `ready` tells whether the readiness check passed, for a machine that runs.
    """
    if phase is Phase.DELETING or (before is Status.DELETING and (locked or not in_stack)):
        # Some clouds show a server under deletion as it was, and only locked.
        return Status.DELETING
    if phase is Phase.RUNNING:
        # A reboot is over when its action is; until then the machine is locked.
        if before is Status.RUNNING or (ready and not (locked and before is Status.REBOOTING)):
            return Status.RUNNING
        return before if before in (Status.HANGING, Status.REBOOTING) else Status.STARTING
    if phase is Phase.STOPPING:
        return Status.STOPPING
    if before in (Status.HANGING, Status.REBOOTING):
        return before
    if phase is Phase.OFF:
        # Between "created" and "started" a machine is off and locked for a moment.
        return Status.STARTING if locked and before in (None, Status.NEW, Status.STARTING) else Status.STOPPED
    if phase is Phase.BOOTING:
        return Status.REBOOTING if before is Status.RUNNING else Status.STARTING
    return Status.REBOOTING


def deadline_of(status: Status, start_within: timedelta) -> timedelta | None:
    """How long a server may be in a status before it counts as hanging; None: for ever."""
    if status in (Status.STARTING, Status.REBOOTING):
        return start_within
    return DELETE_WITHIN if status in (Status.STOPPING, Status.DELETING) else None
