"""How a run goes on after a phase: what was done and what came before in, a verdict out."""

from __future__ import annotations

import pytest

from scaler.clouds import (
    AmbiguousError,
    AuthError,
    BusyError,
    CloudError,
    GoneError,
    InvalidError,
    NameTakenError,
    NoCapacityError,
    ProtectedError,
    QuotaError,
    RateLimitedError,
    TransientError,
)
from scaler.converge.decide import PAUSE_S, TRIES, Next, Verdict, decide_next
from scaler.converge.done import Done
from scaler.converge.journal import Journal
from scaler.converge.knowledge import Knowledge
from scaler.converge.lessons import POWER_ON_TRIES
from scaler.errors import EngineError, RefusedError, StateError
from scaler.model import Action, Step, StepReport, StepResult
from tests.support.fakes import spec
from tests.support.worlds import known

KNOWLEDGE = known(spec())

BUSY_WAITS = 12
"""The most rounds that wait for a server that the cloud is busy with."""

LASTING = (
    AuthError("the token was refused"),
    InvalidError("the image is bigger than the disk"),
    ProtectedError("delete protection is set"),
    GoneError("no such server"),
    CloudError("the cloud says no"),
    StateError("the state file cannot be written"),
)
PASSING = (TransientError("502"), RateLimitedError("too many requests"), AmbiguousError("no answer"))
ELSEWHERE = (NoCapacityError("sold out"), QuotaError("10 servers"), NameTakenError("taken"))
BUSY = BusyError("locked")


def done(*refusals: Exception, **fields: object) -> Done:
    """What came of a phase; the refusals in the order in which they came."""
    knowledge: Knowledge = KNOWLEDGE
    by_server = {f"prod-worker-{number}": error for number, error in enumerate(refusals, 1)}
    return Done(knowledge=knowledge, refusals=by_server, **fields)  # type: ignore[arg-type]


def after(**tallies: int) -> Journal:
    return Journal(tallies=tallies)


def decide(phase: Done, journal: Journal | None = None, *, is_late: bool = False) -> Verdict:
    return decide_next(phase, journal or Journal(), is_late=is_late)


# ---------------------------------------------------------------------------------------------
# One kind of trouble


def test_a_phase_without_trouble_is_confirmed() -> None:
    assert decide(done()) == Verdict(next=Next.CONFIRM)


def test_what_was_done_does_not_change_the_verdict() -> None:
    step = Step(action=Action.CREATE, server="prod-worker-1", group="worker", reason="wanted")
    reports = (StepReport(step, StepResult.DONE), StepReport(step, StepResult.FAILED))
    phase = done(reports=reports, failures=(CloudError("kept"),), resume_refusals={"prod-worker-2": "ended with 1"})
    assert decide(phase) == Verdict(next=Next.CONFIRM)


def test_what_ended_the_phase_ends_the_run_at_once() -> None:
    error = StateError("the state file cannot be written")
    assert decide(done(error=error)) == Verdict(next=Next.END, failure=error)


def test_a_world_that_moved_is_planned_for_again_after_a_pause() -> None:
    note = "the servers changed since the plan was made: planning again"
    assert decide(done(moved=True)) == Verdict(next=Next.AGAIN, pause_s=PAUSE_S, note=note)


def test_worlds_that_move_are_not_counted() -> None:
    assert decide(done(moved=True), after(passing=99, busy=99, power_on=99)).next is Next.AGAIN


def test_an_engine_that_failed_stops_the_run_with_its_own_words() -> None:
    verdict = decide(done(engine_failure="exit status 255"))
    assert (verdict.next, verdict.trouble, verdict.pause_s, verdict.note) == (Next.STOP, None, 0.0, None)
    assert isinstance(verdict.failure, EngineError)
    assert str(verdict.failure) == "The engine failed. (exit status 255)"


@pytest.mark.parametrize("error", LASTING, ids=lambda error: type(error).__name__)
def test_a_lasting_refusal_stops_the_run(error: Exception) -> None:
    assert decide(done(error)) == Verdict(next=Next.STOP, failure=error)


@pytest.mark.parametrize("error", ELSEWHERE, ids=lambda error: type(error).__name__)
def test_what_can_be_had_elsewhere_or_otherwise_is_planned_again_at_once(error: Exception) -> None:
    trouble = "name" if isinstance(error, NameTakenError) else None
    assert decide(done(error)) == Verdict(next=Next.AGAIN, trouble=trouble)


@pytest.mark.parametrize(("rounds", "expected"), [(TRIES - 2, Next.AGAIN), (TRIES - 1, Next.STOP)])
def test_names_that_others_have_are_refused_so_often(rounds: int, expected: Next) -> None:
    error = NameTakenError("taken")
    verdict = decide(done(error), after(name=rounds))
    assert (verdict.next, verdict.trouble) == (expected, "name")
    assert verdict.failure is (error if expected is Next.STOP else None)


@pytest.mark.parametrize("where", ["refused", "unanswered"])
@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
def test_a_passing_trouble_is_tried_again_after_a_pause(error: Exception, where: str) -> None:
    phase = done(error) if where == "refused" else done(unanswered=error)
    expected = Verdict(next=Next.AGAIN, trouble="passing", pause_s=PAUSE_S, note=f"trying again: {error}")
    assert decide(phase) == expected


def test_a_busy_server_is_waited_for() -> None:
    assert decide(done(BUSY)) == Verdict(next=Next.WAIT, trouble="busy", pause_s=5.0, note="waiting: locked")


def test_a_busy_server_is_not_waited_for_when_the_time_is_up() -> None:
    assert decide(done(BUSY), is_late=True) == Verdict(next=Next.STOP, trouble="busy", failure=BUSY)


@pytest.mark.parametrize(
    ("phase", "expected"),
    [(done(), Next.CONFIRM), (done(moved=True), Next.AGAIN), (done(ELSEWHERE[0]), Next.AGAIN)],
    ids=["nothing", "moved", "elsewhere"],
)
def test_the_run_s_time_stops_only_what_would_wait(phase: Done, expected: Next) -> None:
    assert decide(phase, is_late=True) == decide(phase, is_late=False)
    assert decide(phase, is_late=True).next is expected


@pytest.mark.parametrize("phase", [done(PASSING[0]), done(unanswered=PASSING[0])], ids=["refused", "unanswered"])
def test_a_passing_trouble_is_not_tried_again_when_the_time_is_up(phase: Done) -> None:
    assert decide(phase, is_late=True) == Verdict(next=Next.STOP, trouble="passing", failure=PASSING[0])


# ---------------------------------------------------------------------------------------------
# How often


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [(0, Next.AGAIN), (TRIES - 1, Next.AGAIN), (TRIES, Next.STOP), (TRIES + 1, Next.STOP)],
)
@pytest.mark.parametrize("where", ["refused", "unanswered"])
def test_passing_troubles_are_tried_again_so_often(rounds: int, expected: Next, where: str) -> None:
    error = PASSING[0]
    verdict = decide(done(error) if where == "refused" else done(unanswered=error), after(passing=rounds))
    assert (verdict.next, verdict.trouble) == (expected, "passing")
    assert verdict.failure is (error if expected is Next.STOP else None)
    assert verdict.pause_s == (0.0 if expected is Next.STOP else PAUSE_S)


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [(0, Next.WAIT), (BUSY_WAITS - 1, Next.WAIT), (BUSY_WAITS, Next.STOP), (BUSY_WAITS + 1, Next.STOP)],
)
def test_busy_servers_are_waited_for_so_often(rounds: int, expected: Next) -> None:
    verdict = decide(done(BUSY), after(busy=rounds))
    assert (verdict.next, verdict.trouble) == (expected, "busy")
    assert verdict.failure is (BUSY if expected is Next.STOP else None)


def test_each_kind_of_trouble_has_a_count_of_its_own() -> None:
    assert decide(done(BUSY), after(passing=99)).next is Next.WAIT
    assert decide(done(PASSING[0]), after(busy=99)).next is Next.AGAIN


@pytest.mark.parametrize(
    ("rounds", "pause_s"),
    [(1, PAUSE_S), (POWER_ON_TRIES, PAUSE_S), (POWER_ON_TRIES + 1, 0.0)],
)
@pytest.mark.parametrize("error", [*PASSING, BUSY], ids=lambda error: type(error).__name__)
def test_the_run_pauses_before_it_powers_a_server_on_again(error: CloudError, rounds: int, pause_s: float) -> None:
    """The count has this round in it already."""
    phase = done(power_on_refusals={"prod-worker-1": error})
    assert decide(phase, after(power_on=rounds)) == Verdict(next=Next.CONFIRM, pause_s=pause_s)


def test_a_power_on_that_was_refused_for_good_is_not_paused_for() -> None:
    phase = done(power_on_refusals={"prod-worker-1": InvalidError("no such action")})
    assert decide(phase, after(power_on=1)) == Verdict(next=Next.CONFIRM)


# ---------------------------------------------------------------------------------------------
# Several kinds in one phase


ENDED = RefusedError("a policy forbids it")


@pytest.mark.parametrize(
    ("phase", "expected", "failure"),
    [
        (done(LASTING[0], error=ENDED, moved=True, unanswered=PASSING[0], engine_failure="255"), Next.END, ENDED),
        (done(LASTING[0], moved=True, unanswered=PASSING[0], engine_failure="255"), Next.AGAIN, None),
        (done(LASTING[0], unanswered=PASSING[0], engine_failure="255"), Next.AGAIN, None),
        (done(LASTING[0], engine_failure="255"), Next.STOP, LASTING[0]),
    ],
    ids=["an error before all", "moved before unanswered", "unanswered before refusals", "refusals before the engine"],
)
def test_one_kind_of_trouble_comes_before_another(phase: Done, expected: Next, failure: Exception | None) -> None:
    verdict = decide(phase)
    assert (verdict.next, verdict.failure) == (expected, failure)


def test_moved_comes_before_unanswered() -> None:
    assert decide(done(moved=True, unanswered=PASSING[0])).trouble is None


def test_unanswered_comes_before_what_was_refused() -> None:
    assert decide(done(BUSY, unanswered=PASSING[1])).note == "trying again: too many requests"


@pytest.mark.parametrize("lasting_last", [False, True])
def test_a_lasting_refusal_comes_before_every_other(*, lasting_last: bool) -> None:
    others = (*PASSING, BUSY, *ELSEWHERE)
    refusals = (*others, LASTING[0]) if lasting_last else (LASTING[0], *others)
    assert decide(done(*refusals)) == Verdict(next=Next.STOP, failure=LASTING[0])


def test_of_two_lasting_refusals_the_first_is_the_run_s_failure() -> None:
    assert decide(done(LASTING[1], LASTING[0])).failure is LASTING[1]


@pytest.mark.parametrize("passing_last", [False, True])
def test_a_passing_trouble_comes_before_a_busy_server(*, passing_last: bool) -> None:
    others = (BUSY, *ELSEWHERE)
    refusals = (*others, PASSING[0]) if passing_last else (PASSING[0], *others)
    verdict = decide(done(*refusals))
    assert (verdict.next, verdict.trouble) == (Next.AGAIN, "passing")


@pytest.mark.parametrize("busy_last", [False, True])
def test_a_busy_server_comes_before_what_can_be_had_elsewhere(*, busy_last: bool) -> None:
    refusals = (*ELSEWHERE, BUSY) if busy_last else (BUSY, *ELSEWHERE)
    verdict = decide(done(*refusals))
    assert (verdict.next, verdict.trouble) == (Next.WAIT, "busy")


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        (done(ELSEWHERE[0], power_on_refusals={"prod-worker-9": BUSY}), Verdict(next=Next.AGAIN)),
        (done(LASTING[0], power_on_refusals={"prod-worker-9": BUSY}), Verdict(next=Next.STOP, failure=LASTING[0])),
    ],
    ids=["elsewhere", "lasting"],
)
def test_other_refusals_come_before_a_power_on_that_is_tried_again(phase: Done, expected: Verdict) -> None:
    assert decide(phase, after(power_on=1)) == expected


def test_a_tick_leaves_what_the_cloud_is_busy_with_to_the_next_one() -> None:
    verdict = decide_next(done(BUSY), Journal(), is_late=False, is_patient=False)
    assert verdict == Verdict(next=Next.END, note="left to the next run: locked")
