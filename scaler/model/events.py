"""Events, and their names, which the event log, the notifications and the spec share."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from scaler.model.lifecycle import Status
from scaler.support.values import dataclass


class EventName(StrEnum):
    """The events, as the event log and `notify` name them."""

    RUN_STARTED = "run.started"
    RUN_FINISHED = "run.finished"
    CREATING = "server.creating"
    RUNNING = "server.running"
    REBOOTING = "server.rebooting"
    STOPPING = "server.stopping"
    DRAINING = "server.draining"
    RESUMED = "server.resumed"
    STOPPED = "server.stopped"
    DELETING = "server.deleting"
    DELETED = "server.deleted"
    ERRORED = "server.errored"
    HANGING = "server.hanging"
    UNHEALTHY = "server.unhealthy"
    VANISHED = "server.vanished"
    ADOPTED = "server.adopted"
    SNAPSHOT_CREATING = "snapshot.creating"
    SNAPSHOT_CREATED = "snapshot.created"
    SNAPSHOT_FAILED = "snapshot.failed"
    SNAPSHOT_DELETED = "snapshot.deleted"
    ROLL_STARTED = "roll.started"
    ROLL_WAVE = "roll.wave"
    ROLL_HELD = "roll.held"
    ROLL_FINISHED = "roll.finished"
    LIMIT_HIT = "limit.hit"
    DRIFT_FOUND = "drift.found"
    IDENTITY_REFUSED = "identity.refused"
    IDENTITY_RECOGNISED = "identity.recognised"
    AUTOSCALE_DECIDED = "autoscale.decided"
    AUTOSCALE_METRIC = "autoscale.metric"
    AUTOSCALE_PAUSED = "autoscale.paused"
    AUTOSCALE_RESUMED = "autoscale.resumed"


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened. `EventLog.append` sets `run`, `cause` and, if it is missing, `at`."""

    event: str
    """An `EventName`; a text, since a newer scaler may write names that this one does not know."""
    server: str | None = None
    group: str | None = None
    previous: Status | None = None
    """The status that the server left (`from` in the log)."""
    status: Status | None = None
    """The status that it entered (`to` in the log); None if its record is gone."""
    reason: str | None = None
    """Why: the plan's reason, or the error."""
    cause: str | None = None
    """What started the run, such as `ensure worker=5`."""
    at: datetime | None = None
    run: str | None = None
    result: Mapping[str, object] | None = None
    """The result of a finished run: its outcome, numbers by group, requests and seconds."""
    decision: Mapping[str, object] | None = None
    """What autoscaling decided for a group, with everything that led to it."""
