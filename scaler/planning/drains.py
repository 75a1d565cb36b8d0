"""Which step follows for a server on its way out of service. Pure.

A server is drained, shut down, powered off if that takes too long, and then deleted, or kept off. Each
run and each tick takes it one step further: nobody waits for it with a lock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from enum import Enum, auto

from scaler.model.drain import Drain, DrainFinding, DrainStage, DrainState
from scaler.model.lifecycle import Phase
from scaler.model.spec import Group, StopPolicy
from scaler.support.durations import format_duration
from scaler.support.values import dataclass

LAST_WORDS = timedelta(seconds=15)
"""How long after its deadline a drain of this machine may take to end, and to say its last words."""

_SHUTDOWN_WITHIN = timedelta(minutes=1)
"""What a server that is to be powered off gets for its shutdown, where its group says nothing of it."""

_POWER_OFF_WITHIN = timedelta(minutes=1)

_QUICK_LOOKS = timedelta(seconds=20)
"""For so long a shutdown is looked at every second, then every two."""


class Act(Enum):
    """What a run does for a server on its way out of service."""

    WAIT = auto()
    TAKE_OFF = auto()
    """Take its `in_service` label off, and go on when that is done."""
    START_DRAIN = auto()
    SHUT_DOWN = auto()
    POWER_OFF = auto()
    KEEP = auto()
    """Let it serve on: its drain failed, or it was protected meanwhile."""
    TAKE_BACK = auto()
    """Leave it to the plan to put it back to work: it was protected meanwhile."""
    REST = auto()
    """It is off, and stays so."""


PROTECTED = "it was protected meanwhile"
"""The note of a drain whose server is kept for this."""


@dataclass(frozen=True)
class Move:
    """The next record of a drain, and what is to be done for it."""

    drain: Drain
    act: Act = Act.WAIT


def stop_policy(group: Group | None, then: str) -> StopPolicy:
    """Return how a server is stopped; `group` is None if the spec has it no longer."""
    policy = group.stop if group else StopPolicy()
    if then == "power_off" and policy.shutdown_within is None:
        return replace(policy, shutdown_within=_SHUTDOWN_WITHIN)
    return policy


def first_stage(drain: Drain, policy: StopPolicy, now: datetime, *, is_labelled: bool = False) -> Drain:
    """Return the record with which a server's way out of service begins.

    `is_labelled`: whether it may carry an `in_service` label, which must be off before anything else.
    """
    if is_labelled:
        return replace(drain, stage=DrainStage.UNLABELLING)
    if policy.drain:
        return replace(drain, stage=DrainStage.DRAINING, until=now + policy.drain_within)
    return _after_drain(drain, policy, now)


def next_move(
    drain: Drain,
    policy: StopPolicy,
    found: DrainFinding,
    phase: Phase,
    now: datetime,
    *,
    is_protected: bool = False,
    may_return: bool = True,
) -> Move:
    """Return what follows for a server in this phase; `found` is what is known of its drain on this machine.

    A server that was protected meanwhile is taken back at once, if it can be. Otherwise its drain ends by
    itself, and no further step follows: neither a shutdown nor its deletion. Not `may_return`: all servers
    are to go, or taking it back failed.
    """
    if is_protected and may_return and may_resume(drain, policy):
        return Move(drain, Act.TAKE_BACK)
    if is_protected and drain.stage is DrainStage.UNLABELLING:
        return Move(_noted(drain, PROTECTED), Act.KEEP)
    move = _next_move(drain, policy, found, phase, now)
    is_further = move.act in (Act.SHUT_DOWN, Act.POWER_OFF) or move.drain.stage is DrainStage.ENDED
    if is_protected and is_further and move.act is not Act.REST:
        return Move(_noted(move.drain, PROTECTED), Act.KEEP)
    return move


def may_resume(drain: Drain, policy: StopPolicy) -> bool:
    """Return whether a server on its way out of service can be put back to work."""
    is_early = drain.stage in (DrainStage.UNLABELLING, DrainStage.DRAINING)
    return bool(policy.resume) and is_early and not drain.for_good


def _next_move(drain: Drain, policy: StopPolicy, found: DrainFinding, phase: Phase, now: datetime) -> Move:
    if drain.stage is DrainStage.UNLABELLING:
        return Move(drain, Act.TAKE_OFF)
    if drain.stage is DrainStage.DRAINING:
        move = _drain(drain, policy, found, phase, now)
        if move.drain.stage is DrainStage.DRAINING:
            return move
        drain = move.drain
    if drain.stage is not DrainStage.ENDED and phase is Phase.OFF:
        drain = _ended(drain)
    if drain.stage is DrainStage.SHUTTING_DOWN:
        return _shut_down(drain, policy, now)
    if drain.stage is DrainStage.POWERING_OFF:
        if now < drain.until:
            return Move(drain, Act.WAIT if drain.asked else Act.POWER_OFF)
        drain = _ended(_noted(drain, "the power could not be cut in time"))
    if drain.then == "power_off" and phase is Phase.OFF:
        return Move(drain, Act.REST)
    # One that cannot be powered off is deleted: it would serve on, and nobody counts it.
    return Move(replace(drain, then="delete"))


def after_label(drain: Drain, policy: StopPolicy, phase: Phase, now: datetime) -> Move:
    """Return what follows for a server whose `in_service` label was just taken off, as far as it needs no new look."""
    begun = first_stage(drain, policy, now)
    move = next_move(begun, policy, DrainFinding(DrainState.LOST), phase, now)
    return Move(begun) if move.act in (Act.KEEP, Act.REST) else move


def refused(drain: Drain, why: str, now: datetime) -> Drain:
    """Return what follows when the cloud refuses the request of a stage for good: the next one."""
    drain = _noted(drain, why)
    return _cut_power(drain, now) if drain.stage is DrainStage.SHUTTING_DOWN else _ended(drain)


def gone(drain: Drain) -> Drain:
    """Return what follows when the cloud says that there is no such server."""
    return _ended(drain)


def pause_until_news(drains: Iterable[Drain], now: datetime, waited: timedelta) -> timedelta:
    """Return after which time something can have changed, whatever becomes of the drains' processes.

    `waited`: for how long this run has waited by now.
    """
    return max(min((_pause(drain, now, waited) for drain in drains), default=timedelta(0)), timedelta(seconds=1))


def _pause(drain: Drain, now: datetime, waited: timedelta) -> timedelta:
    if drain.stage is DrainStage.DRAINING:
        return drain.until + LAST_WORDS - now
    return timedelta(seconds=1 if waited < _QUICK_LOOKS else 2)


def _drain(drain: Drain, policy: StopPolicy, found: DrainFinding, phase: Phase, now: datetime) -> Move:
    if phase is Phase.OFF or found.state is DrainState.DONE:
        return Move(_after_drain(drain, policy, now))
    is_over = now >= drain.until
    is_killed_by_itself = found.state is DrainState.WORKING and not policy.drained
    if found.state is DrainState.FAILED:
        why = f"the drain command {found.why}"
    elif is_over and (not is_killed_by_itself or now >= drain.until + LAST_WORDS):
        why = f"the drain command did not end within {format_duration(drain.until - drain.since)}"
        why += f": {found.why}" if found.why else ""
    else:
        return Move(drain, Act.START_DRAIN if found.state is DrainState.LOST and not is_over else Act.WAIT)
    failed = _noted(drain, why)
    if policy.on_drain_failure == "keep":
        return Move(failed, Act.KEEP)
    return Move(_after_drain(failed, policy, now))


def _shut_down(drain: Drain, policy: StopPolicy, now: datetime) -> Move:
    if now < drain.until:
        return Move(drain, Act.WAIT if drain.asked else Act.SHUT_DOWN)
    within = policy.shutdown_within or _SHUTDOWN_WITHIN
    cut = _cut_power(_noted(drain, f"did not shut down within {format_duration(within)}"), now)
    return Move(cut, Act.POWER_OFF)


def _after_drain(drain: Drain, policy: StopPolicy, now: datetime) -> Drain:
    if policy.shutdown_within is None:
        return _ended(drain)
    return replace(drain, stage=DrainStage.SHUTTING_DOWN, until=now + policy.shutdown_within, asked=False)


def _cut_power(drain: Drain, now: datetime) -> Drain:
    return replace(drain, stage=DrainStage.POWERING_OFF, until=now + _POWER_OFF_WITHIN, asked=False)


def _ended(drain: Drain) -> Drain:
    return replace(drain, stage=DrainStage.ENDED, asked=False)


def _noted(drain: Drain, note: str) -> Drain:
    return replace(drain, notes=(*drain.notes, note))
