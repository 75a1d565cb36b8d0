"""When a machine that the cloud denies is gone: lists lag, and so may reads by id. Pure.

Contract 7.2. A create that was accepted exists until `GRACE` is over. A machine that was seen before
is gone once it was denied twice, `PROOF_S` apart; where most of a stack is denied at once, `MASS_PROOF_S`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from scaler.model import Machine, Server, StackEntry
from scaler.model.lifecycle import Phase, Status
from scaler.model.ownership import GROUP, Owner

GRACE = timedelta(seconds=60)
"""For so long after an accepted create, a denial proves nothing."""

PROOF_S = 10.0
"""Seconds between the first denial and the one that proves an absence."""

MASS_PROOF_S = 30.0
"""The same, when most of a stack is denied."""

_MEANT_FOR = timedelta(minutes=30)
"""How long a run may still be deleting what another run sees alive: no operation of the engine lasts longer."""

_PHASES = {Status.RUNNING: Phase.RUNNING, Status.UNHEALTHY: Phase.RUNNING, Status.STOPPED: Phase.OFF}


def is_mass_loss(missing: int, recorded: int) -> bool:
    """Whether more than half of the recorded servers, and at least two, are missing."""
    return missing >= 2 and 2 * missing > recorded


def proof_s(missing: int, recorded: int) -> float:
    """Seconds for which machines must be denied until they are gone."""
    return MASS_PROOF_S if is_mass_loss(missing, recorded) else PROOF_S


def is_accepted(record: Server | None, now: datetime) -> bool:
    """Whether a record is of a create that was accepted a moment ago and of which nothing was seen yet."""
    return (
        record is not None
        and record.id is not None
        and record.created is None
        and record.status is Status.STARTING
        and now - record.since < GRACE
    )


def is_meant(record: Server | None, now: datetime) -> bool:
    """Whether a run asked for the absence of a machine, or proved it before.

    Who sees it alive records that, but cannot know whether the other run's request is still under way: on another
    machine, that run may have the stack's lock.
    """
    if record is None:
        return False
    is_recalled = record.previous is Status.DELETING and now - record.since < _MEANT_FOR
    return is_recalled or record.status in (Status.DELETING, Status.DELETED)


def remembered(missed: str, record: Server | None, entry: StackEntry | None, owner: Owner, now: datetime) -> Machine:
    """A machine as it is known, while its absence is not proven; from its record, or the engine's state."""
    group = record.group if record else entry.group if entry else ""
    labels: Mapping[str, str] = entry.labels if entry else {**owner.labels, GROUP: group}
    return Machine(
        id=missed,
        name=record.name if record else entry.name if entry else missed,
        phase=_PHASES.get(record.status, Phase.BOOTING) if record else Phase.BOOTING,
        vendor_status="not seen",
        seen=False,
        labels=labels,
        type=(record.type if record else None) or "",
        location=(record.location if record else None) or "",
        image=record.image if record else None,
        created=(record.created or record.since) if record else now,
        ipv4=record.ipv4 if record else None,
        ipv6=record.ipv6 if record else None,
        private_ip=record.private_ip if record else None,
    )
