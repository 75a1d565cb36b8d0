"""The statuses of a server: which count as supply, which may follow which, and how a machine's phase maps to one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum


class Status(StrEnum):
    """The status of a server in scaler's records (`contract.md` §5)."""

    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    UNHEALTHY = "unhealthy"
    REBOOTING = "rebooting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DELETING = "deleting"
    DELETED = "deleted"
    HANGING = "hanging"
    ERRORED = "errored"


IN_SERVICE = frozenset({Status.RUNNING, Status.UNHEALTHY})
"""Servers in these statuses were ready, and their health is checked."""

SUPPLY = frozenset({Status.NEW, Status.STARTING, Status.RUNNING, Status.REBOOTING})
"""Servers in these statuses count towards the wanted number."""

DEAD = frozenset({Status.HANGING, Status.ERRORED})
"""Servers in these statuses are replaced."""

DELETE_WITHIN = timedelta(minutes=5)
"""How long an accepted delete may take before the server counts as hanging."""


class Phase(StrEnum):
    """The condition of a machine as its cloud reports it, in words common to all clouds."""

    BOOTING = "booting"
    RUNNING = "running"
    OFF = "off"
    STOPPING = "stopping"
    DELETING = "deleting"
    BUSY = "busy"
    """The vendor migrates, rebuilds or resizes it."""
    UNKNOWN = "unknown"


UNSETTLED = frozenset({Phase.BUSY, Phase.UNKNOWN})
"""The vendor is at work on the machine, or reports a condition that scaler does not know: wait for another."""

_LIVE = {Status.STOPPING, Status.STOPPED, Status.DELETING, Status.DELETED, Status.HANGING, Status.ERRORED}

TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    Status.NEW: frozenset({Status.STARTING, Status.RUNNING, Status.REBOOTING, *_LIVE}),
    Status.STARTING: frozenset({Status.RUNNING, Status.REBOOTING, *_LIVE}),
    Status.RUNNING: frozenset({Status.UNHEALTHY, Status.REBOOTING, *_LIVE}),
    Status.UNHEALTHY: frozenset({Status.RUNNING, Status.REBOOTING, *_LIVE}),
    Status.REBOOTING: frozenset({Status.RUNNING, *_LIVE}),
    # Anybody can power it on at the cloud.
    Status.STOPPING: frozenset({Status.STARTING, Status.RUNNING, Status.REBOOTING, *_LIVE}),
    Status.STOPPED: frozenset({Status.STARTING, Status.RUNNING, Status.REBOOTING, *_LIVE}),
    # A delete that was recorded but never sent leaves the server as it was.
    Status.DELETING: frozenset({Status.STARTING, Status.RUNNING, Status.UNHEALTHY, Status.REBOOTING, *_LIVE}),
    Status.DELETED: frozenset({Status.NEW}),
    # A server that was given up may still come up.
    Status.HANGING: frozenset({Status.RUNNING, Status.REBOOTING, *_LIVE}),
    Status.ERRORED: frozenset({Status.NEW, Status.STARTING, Status.RUNNING, Status.REBOOTING, *_LIVE}),
}
"""Which statuses may follow a status, by a step of a run or by what somebody else does at the cloud."""


class IllegalTransitionError(ValueError):
    """A status that may not follow the previous one."""

    def __init__(self, server: str, before: Status, after: Status) -> None:
        super().__init__(f"{server} cannot go from {before} to {after}")


def check_transition(server: str, before: Status, after: Status) -> None:
    """Raise IllegalTransitionError, which names both statuses, unless `TRANSITIONS` allows the change."""
    if before is not after and after not in TRANSITIONS[before]:
        raise IllegalTransitionError(server, before, after)


def status_of(phase: Phase, locked: bool, before: Status | None, *, in_stack: bool, ready: bool) -> Status:
    """Return the status of a machine with this phase; `deadline_of` is not applied yet.

    `before` is the recorded status; None if no record of the machine is unfinished. `in_stack` is
    whether the engine's state still holds the machine: a delete that was recorded but never sent
    leaves it there. `ready` is whether a running machine passed its readiness check.
    """
    if phase is Phase.DELETING or (before is Status.DELETING and (locked or not in_stack)):
        # Some clouds show a server under deletion as it was, and only locked.
        return Status.DELETING
    if phase is Phase.RUNNING:
        return _status_of_running(locked, before, ready)
    if phase is Phase.STOPPING:
        return Status.STOPPING
    if phase in UNSETTLED:
        return _status_of_unsettled(before)
    if before in (Status.HANGING, Status.REBOOTING):
        return before
    if phase is Phase.OFF:
        return _status_of_off(locked, before)
    return Status.REBOOTING if before in IN_SERVICE else Status.STARTING


def _status_of_off(locked: bool, before: Status | None) -> Status:
    # Between "created" and "started" a machine is off and locked for a moment.
    return Status.STARTING if locked and before in (None, Status.NEW, Status.STARTING) else Status.STOPPED


def _status_of_unsettled(before: Status | None) -> Status:
    """Return the status from before the vendor began its work."""
    if before in (None, Status.NEW):
        return Status.STARTING
    # A delete that was recorded was not sent, and nobody knows whether the machine runs.
    return Status.REBOOTING if before is Status.DELETING else before


def _status_of_running(locked: bool, before: Status | None, ready: bool) -> Status:
    # The cloud unlocks a machine when its reboot is over.
    rebooting = locked and before is Status.REBOOTING
    if before is Status.UNHEALTHY:
        # Only a passed health check makes it `running` again.
        return before
    if before is Status.RUNNING or (ready and not rebooting):
        return Status.RUNNING
    return before if before in (Status.HANGING, Status.REBOOTING) else Status.STARTING


def deadline_of(status: Status, start_within: timedelta) -> timedelta | None:
    """Return how long a server may be in a status before it counts as hanging; None: for ever."""
    if status in (Status.STARTING, Status.REBOOTING):
        return start_within
    return DELETE_WITHIN if status in (Status.STOPPING, Status.DELETING) else None
