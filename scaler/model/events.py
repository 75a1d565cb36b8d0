"""What can happen: the names that the event log, notifications and the spec share."""

from __future__ import annotations

from enum import StrEnum


class EventName(StrEnum):
    """What can happen, as the event log and `notify` name it."""

    RUN_STARTED = "run.started"
    RUN_FINISHED = "run.finished"
    CREATING = "server.creating"
    RUNNING = "server.running"
    REBOOTING = "server.rebooting"
    STOPPING = "server.stopping"
    STOPPED = "server.stopped"
    DELETING = "server.deleting"
    DELETED = "server.deleted"
    ERRORED = "server.errored"
    HANGING = "server.hanging"
    VANISHED = "server.vanished"
    ADOPTED = "server.adopted"
    LIMIT_HIT = "limit.hit"
    DRIFT_FOUND = "drift.found"
    AUTOSCALE_DECIDED = "autoscale.decided"
    AUTOSCALE_METRIC = "autoscale.metric"
