"""Which step follows for a server on its way out of service: a table."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from scaler.model import Drain, DrainFinding, DrainStage, DrainState, Phase, StopPolicy
from scaler.planning.drains import (
    LAST_WORDS,
    PROTECTED,
    Act,
    Move,
    first_stage,
    next_move,
    pause_until_news,
    refused,
    stop_policy,
)
from tests.support.fakes import START, group

NOW = START
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)

DRAINS = StopPolicy(drain=("./drain.sh",), drain_within=5 * MINUTE)
BOTH = replace(DRAINS, shutdown_within=MINUTE)
KEEPS = replace(DRAINS, on_drain_failure="keep")
CHECKED = replace(DRAINS, drained=("./drained.sh",))

BEGUN = Drain(since=NOW - 2 * MINUTE, until=NOW + 3 * MINUTE, reason="surplus")
LATE = replace(BEGUN, since=NOW - 5 * MINUTE, until=NOW)
ENDED = replace(BEGUN, stage=DrainStage.ENDED)
DOWN = replace(BEGUN, stage=DrainStage.SHUTTING_DOWN, until=NOW + MINUTE)
ASKED = replace(DOWN, asked=True)
OFF = replace(BEGUN, stage=DrainStage.POWERING_OFF, until=NOW + MINUTE)

WORKING, DONE, LOST, ELSEWHERE = (
    DrainFinding(state) for state in (DrainState.WORKING, DrainState.DONE, DrainState.LOST, DrainState.ELSEWHERE)
)
FAILED = DrainFinding(DrainState.FAILED, "ended with 3: 2 jobs left")


def noted(drain: Drain, *notes: str, **fields: Any) -> Drain:
    return replace(drain, notes=notes, **fields)


FAILURE = "the drain command ended with 3: 2 jobs left"
TIME_OUT = "the drain command did not end within 5m"

DRAINING = [
    # what was found, of which drain, by which policy: what follows
    (WORKING, BEGUN, DRAINS, Move(BEGUN)),
    (ELSEWHERE, BEGUN, DRAINS, Move(BEGUN)),
    (LOST, BEGUN, DRAINS, Move(BEGUN, Act.START_DRAIN)),
    (LOST, BEGUN, CHECKED, Move(BEGUN, Act.START_DRAIN)),
    (DONE, BEGUN, DRAINS, Move(ENDED)),
    (DONE, BEGUN, BOTH, Move(DOWN, Act.SHUT_DOWN)),
    (DONE, BEGUN, KEEPS, Move(ENDED)),
    (FAILED, BEGUN, DRAINS, Move(noted(ENDED, FAILURE))),
    (FAILED, BEGUN, BOTH, Move(noted(DOWN, FAILURE), Act.SHUT_DOWN)),
    (FAILED, BEGUN, KEEPS, Move(noted(BEGUN, FAILURE), Act.KEEP)),
    # At its deadline, a process of this machine gets the time to say its last words.
    (WORKING, LATE, DRAINS, Move(LATE)),
    (WORKING, replace(LATE, until=NOW - LAST_WORDS), DRAINS, None),
    (ELSEWHERE, LATE, DRAINS, Move(noted(LATE, TIME_OUT, stage=DrainStage.ENDED))),
    (ELSEWHERE, LATE, KEEPS, Move(noted(LATE, TIME_OUT), Act.KEEP)),
    (LOST, LATE, DRAINS, Move(noted(LATE, TIME_OUT, stage=DrainStage.ENDED))),
    (DONE, LATE, KEEPS, Move(replace(LATE, stage=DrainStage.ENDED))),
    (
        DrainFinding(DrainState.WORKING, "ended with 1: 1 job left"),
        LATE,
        CHECKED,
        Move(noted(LATE, f"{TIME_OUT}: ended with 1: 1 job left", stage=DrainStage.ENDED)),
    ),
]


@pytest.mark.parametrize(("found", "drain", "policy", "expected"), DRAINING)
def test_what_follows_while_a_server_drains(
    found: DrainFinding, drain: Drain, policy: StopPolicy, expected: Move | None
) -> None:
    move = next_move(drain, policy, found, Phase.RUNNING, NOW)
    if expected is None:
        assert move.drain.stage is DrainStage.ENDED
    else:
        assert move == expected


STOPPING = [
    (DOWN, Phase.RUNNING, NOW, Move(DOWN, Act.SHUT_DOWN)),
    (ASKED, Phase.RUNNING, NOW, Move(ASKED)),
    (ASKED, Phase.STOPPING, NOW, Move(ASKED)),
    (ASKED, Phase.OFF, NOW, Move(replace(ENDED, until=ASKED.until))),
    (
        ASKED,
        Phase.RUNNING,
        NOW + MINUTE,
        Move(noted(OFF, "did not shut down within 1m", until=NOW + 2 * MINUTE), Act.POWER_OFF),
    ),
    (OFF, Phase.RUNNING, NOW, Move(OFF, Act.POWER_OFF)),
    (replace(OFF, asked=True), Phase.RUNNING, NOW, Move(replace(OFF, asked=True))),
    (
        replace(OFF, asked=True),
        Phase.RUNNING,
        NOW + MINUTE,
        Move(noted(ENDED, "the power could not be cut in time", until=OFF.until)),
    ),
    (ENDED, Phase.RUNNING, NOW, Move(ENDED)),
    (ENDED, Phase.OFF, NOW, Move(ENDED)),
    # A drain that powers its server off needs no request.
    (BEGUN, Phase.OFF, NOW, Move(replace(ENDED, until=NOW + MINUTE))),
    # One that was to be off and stay: it rests, or is deleted if it could not be powered off.
    (replace(ASKED, then="power_off"), Phase.OFF, NOW, None),
    (replace(ENDED, then="power_off"), Phase.RUNNING, NOW, Move(ENDED)),
]


@pytest.mark.parametrize(("drain", "phase", "now", "expected"), STOPPING)
def test_what_follows_after_the_drain(drain: Drain, phase: Phase, now: Any, expected: Move | None) -> None:
    move = next_move(drain, BOTH, WORKING, phase, now)
    if expected is None:
        assert move.act is Act.REST
    else:
        assert move == expected


def test_a_server_that_was_protected_meanwhile_is_kept_when_its_drain_has_ended() -> None:
    assert next_move(BEGUN, DRAINS, DONE, Phase.RUNNING, NOW, is_protected=True).act is Act.KEEP
    assert next_move(BEGUN, DRAINS, WORKING, Phase.RUNNING, NOW, is_protected=True) == Move(BEGUN)


RESUMES = replace(BOTH, resume=("./resume.sh",))

PROTECTED_MEANWHILE = [
    (BEGUN, RESUMES, WORKING, Phase.RUNNING, Act.TAKE_BACK),
    (BEGUN, RESUMES, DONE, Phase.RUNNING, Act.TAKE_BACK),
    (replace(BEGUN, for_good=True), RESUMES, WORKING, Phase.RUNNING, Act.WAIT),
    (replace(BEGUN, for_good=True), RESUMES, DONE, Phase.RUNNING, Act.KEEP),
    (BEGUN, BOTH, DONE, Phase.RUNNING, Act.KEEP),
    (DOWN, RESUMES, DONE, Phase.RUNNING, Act.KEEP),
    (ASKED, RESUMES, DONE, Phase.STOPPING, Act.WAIT),
    (ASKED, RESUMES, DONE, Phase.OFF, Act.KEEP),
    (OFF, RESUMES, DONE, Phase.RUNNING, Act.KEEP),
    (replace(ASKED, then="power_off"), RESUMES, DONE, Phase.OFF, Act.REST),
]


@pytest.mark.parametrize(("drain", "policy", "found", "phase", "act"), PROTECTED_MEANWHILE)
def test_what_follows_for_a_server_that_was_protected_meanwhile(
    drain: Drain, policy: StopPolicy, found: DrainFinding, phase: Phase, act: Act
) -> None:
    move = next_move(drain, policy, found, phase, NOW, is_protected=True)
    assert (move.act, PROTECTED in move.drain.notes) == (act, act is Act.KEEP)


def test_one_that_could_not_be_taken_back_drains_on() -> None:
    assert next_move(BEGUN, RESUMES, WORKING, Phase.RUNNING, NOW, is_protected=True, may_return=False) == Move(BEGUN)
    move = next_move(BEGUN, RESUMES, DONE, Phase.RUNNING, NOW, is_protected=True, may_return=False)
    assert move.act is Act.KEEP


def test_a_request_that_is_refused_for_good_is_followed_by_the_next_stage() -> None:
    cut = noted(OFF, "not for this one")
    assert refused(DOWN, "not for this one", NOW) == cut
    assert refused(cut, "nor this", NOW) == noted(ENDED, "not for this one", "nor this", until=OFF.until)


@pytest.mark.parametrize(
    ("policy", "stage", "within"),
    [
        (DRAINS, DrainStage.DRAINING, 5 * MINUTE),
        (BOTH, DrainStage.DRAINING, 5 * MINUTE),
        (StopPolicy(shutdown_within=MINUTE), DrainStage.SHUTTING_DOWN, MINUTE),
        (StopPolicy(), DrainStage.ENDED, timedelta(0)),
    ],
)
def test_how_it_begins(policy: StopPolicy, stage: DrainStage, within: timedelta) -> None:
    begun = first_stage(Drain(since=NOW, until=NOW), policy, NOW)
    assert (begun.stage, begun.until - NOW) == (stage, within)


def test_what_is_to_be_powered_off_gets_a_minute_for_its_shutdown() -> None:
    assert stop_policy(group(), "power_off").shutdown_within == MINUTE
    assert stop_policy(group(), "delete").shutdown_within is None
    assert stop_policy(None, "delete") == StopPolicy()


@pytest.mark.parametrize(
    ("drains", "waited", "pause"),
    [
        ([BEGUN], 0, 3 * MINUTE + LAST_WORDS),
        ([BEGUN, ASKED], 0, SECOND),
        ([ASKED], 19, SECOND),
        ([ASKED], 20, 2 * SECOND),
        ([replace(BEGUN, until=NOW - MINUTE)], 0, SECOND),
        ([], 0, SECOND),
    ],
)
def test_looks_are_as_rare_as_what_can_happen(drains: list[Drain], waited: int, pause: timedelta) -> None:
    assert pause_until_news(drains, NOW, waited * SECOND) == pause
