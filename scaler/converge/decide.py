"""Decide how a run goes on after a phase: wait for its servers, plan again, or stop. Pure."""

from __future__ import annotations

from enum import Enum, auto

from scaler.clouds import PASSING, BusyError, NameTakenError
from scaler.converge.done import Done
from scaler.converge.journal import Journal
from scaler.converge.lessons import POWER_ON_TRIES, is_lasting, passing_power_on
from scaler.errors import SEE_DOCTOR, EngineError
from scaler.support.values import dataclass

PAUSE_S = 2.0
"""Before trying again after a passing trouble, or when another run moved the world."""

TRIES = 3
"""How many rounds may end with a passing trouble of the cloud, or with names that others have."""

_BUSY_PAUSE_S = 5.0
"""Before asking again for a server that the cloud itself is busy with."""

_BUSY_WAITS = 12
"""How many rounds may wait for it: a minute, in which servers boot."""


class Next(Enum):
    """What a run does after a phase."""

    CONFIRM = auto()
    """Wait for the servers, then plan again."""
    AGAIN = auto()
    """Plan again at once: nothing was done, or what was refused can be asked otherwise."""
    WAIT = auto()
    """Plan again; the round does not count, since the cloud is busy with a server by an action of its own."""
    STOP = auto()
    """Wait for the servers, then end."""
    END = auto()
    """End at once."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How a run goes on, and what it notes of it."""

    next: Next
    trouble: str | None = None
    """What the journal counts one more round of."""
    pause_s: float = 0.0
    note: str | None = None
    failure: Exception | None = None


def decide_next(done: Done, journal: Journal, *, is_late: bool, is_patient: bool = True) -> Verdict:
    """Decide by what was done in a phase, and by how often each trouble came before.

    `is_late`: the run's time is up. Not `is_patient`: it leaves what the cloud is busy with to the next run.
    """
    if done.error:
        return Verdict(next=Next.END, failure=done.error)
    if done.moved:
        note = "the servers changed since the plan was made: planning again"
        return Verdict(next=Next.AGAIN, pause_s=PAUSE_S, note=note)
    if done.unanswered:
        return _try_again(done.unanswered, journal, is_late=is_late)
    if done.refusals:
        return _after_refusals(done, journal, is_late=is_late, is_patient=is_patient)
    if done.engine_failure:
        return Verdict(
            next=Next.STOP, failure=EngineError("The engine failed.", why=done.engine_failure, fix=SEE_DOCTOR)
        )
    is_powered_again = passing_power_on(done) and journal.count("power_on") <= POWER_ON_TRIES
    return Verdict(next=Next.CONFIRM, pause_s=PAUSE_S if is_powered_again else 0.0)


def _after_refusals(done: Done, journal: Journal, *, is_late: bool, is_patient: bool) -> Verdict:
    errors = list(done.refusals.values())
    for error in errors:
        if is_lasting(error):
            return Verdict(next=Next.STOP, failure=error)
    for error in errors:
        if isinstance(error, PASSING):
            return _try_again(error, journal, is_late=is_late)
    for error in errors:
        if isinstance(error, BusyError) and not is_patient:
            return Verdict(next=Next.END, note=f"left to the next run: {error}")
        if isinstance(error, BusyError):
            return _wait_for(error, journal, is_late=is_late)
    if taken := next((error for error in errors if isinstance(error, NameTakenError)), None):
        is_hopeless = journal.count("name") + 1 >= TRIES
        return Verdict(
            next=Next.STOP if is_hopeless else Next.AGAIN, trouble="name", failure=taken if is_hopeless else None
        )
    return Verdict(next=Next.AGAIN)


def _try_again(error: Exception, journal: Journal, *, is_late: bool) -> Verdict:
    if is_late or journal.count("passing") >= TRIES:
        return Verdict(next=Next.STOP, trouble="passing", failure=error)
    return Verdict(next=Next.AGAIN, trouble="passing", pause_s=PAUSE_S, note=f"trying again: {error}")


def _wait_for(error: BusyError, journal: Journal, *, is_late: bool) -> Verdict:
    """Wait for a server that boots: some clouds lock it, so that it cannot be deleted until it has booted."""
    if is_late or journal.count("busy") >= _BUSY_WAITS:
        return Verdict(next=Next.STOP, trouble="busy", failure=error)
    return Verdict(next=Next.WAIT, trouble="busy", pause_s=_BUSY_PAUSE_S, note=f"waiting: {error}")
