"""What refusals mean for the next plan: what was done in, what is known out."""

from __future__ import annotations

from dataclasses import replace

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
from scaler.converge.done import Done
from scaler.converge.journal import Journal
from scaler.converge.knowledge import Knowledge
from scaler.converge.lessons import (
    POWER_ON_TRIES,
    full_placements,
    is_lasting,
    learn,
    machines_held,
    passing_power_on,
    power_on_failed,
    quota_refusal,
)
from scaler.errors import EngineError, StateError
from scaler.model import Action, Placement, Plan, Step, StepReport, StepResult
from scaler.model.lifecycle import Status
from scaler.planning.advice import Advice
from tests.support.fakes import START, group, spec
from tests.support.worlds import known, numbered, server

FIRST: Placement = ("cx23", "fsn1")
SECOND: Placement = ("cx23", "nbg1")

LASTING = (AuthError, InvalidError, ProtectedError, GoneError, CloudError, StateError, EngineError)
PASSING = (TransientError, RateLimitedError, AmbiguousError)

PLAN = Plan(stack="prod", wanted={"worker": 3}, before={"worker": 3})
PLAN_WITH_PAID = replace(PLAN, paid_until={"prod-worker-3": START})
"""A plan that lets a server be off until its paid hour ends."""


def done(knowledge: Knowledge | None = None, **fields: object) -> Done:
    return Done(knowledge=knowledge or known(spec(), *numbered(*[Status.RUNNING] * 3)), **fields)  # type: ignore[arg-type]


def refused(error: Exception) -> Done:
    return done(refusals={"prod-worker-4": error}, placements={"prod-worker-4": FIRST})


def report(action: Action, name: str, result: StepResult = StepResult.DONE) -> StepReport:
    return StepReport(Step(action=action, server=name, group="worker", reason="wanted"), result)


# ---------------------------------------------------------------------------------------------
# Which errors are which


@pytest.mark.parametrize("kind", LASTING)
def test_lasting_errors(kind: type[Exception]) -> None:
    assert is_lasting(kind("no"))


@pytest.mark.parametrize("kind", [NoCapacityError, QuotaError, NameTakenError, BusyError, *PASSING])
def test_errors_after_which_a_run_goes_on(kind: type[Exception]) -> None:
    assert not is_lasting(kind("no"))


# ---------------------------------------------------------------------------------------------
# Capacity


def test_placements_without_capacity_come_in_their_order_with_the_cloud_s_words() -> None:
    at_second, at_first = NoCapacityError("none in nbg1"), NoCapacityError("none in fsn1")
    phase = done(
        refusals={"prod-worker-4": at_second, "prod-worker-5": at_first, "prod-worker-6": InvalidError("no")},
        placements={"prod-worker-4": SECOND, "prod-worker-5": FIRST, "prod-worker-6": FIRST},
    )
    assert list(full_placements(phase).items()) == [(FIRST, at_first), (SECOND, at_second)]


@pytest.mark.parametrize("kind", [QuotaError, NameTakenError, BusyError, *PASSING, *LASTING])
def test_no_other_refusal_makes_a_placement_full(kind: type[Exception]) -> None:
    assert full_placements(refused(kind("no"))) == {}


def test_full_placements_are_passed_over_by_every_group() -> None:
    error = NoCapacityError("sold out")
    knowledge = known(spec(group(), group("web")))
    phase = done(knowledge, refusals={"prod-worker-4": error}, placements={"prod-worker-4": FIRST})
    learned = learn(phase, PLAN, Journal())
    assert learned == replace(
        knowledge,
        advice=Advice(exhausted=frozenset({FIRST})),
        passed_over={("worker", FIRST): error, ("web", FIRST): error},
    )


# ---------------------------------------------------------------------------------------------
# The advice


def test_a_phase_without_refusals_teaches_nothing() -> None:
    phase = done(reports=(report(Action.CREATE, "prod-worker-4"), report(Action.DELETE, "prod-worker-1")))
    assert learn(phase, PLAN, Journal()) == phase.knowledge


@pytest.mark.parametrize(
    ("phase", "advice"),
    [
        (done(reports=(report(Action.ADOPT, "prod-worker-1"),)), Advice(adopted=frozenset({"prod-worker-1"}))),
        (done(reports=(report(Action.ADOPT, "prod-worker-1", StepResult.FAILED),)), Advice()),
        (refused(NameTakenError("taken")), Advice(taken=frozenset({"prod-worker-4"}))),
        (refused(NoCapacityError("sold out")), Advice(exhausted=frozenset({FIRST}))),
        (refused(QuotaError("3 servers")), Advice(withheld=frozenset({"worker"}))),
        (done(resume_refusals={"prod-worker-1": "no"}), Advice(not_resumed=frozenset({"prod-worker-1"}))),
        (
            done(power_on_refusals={"prod-worker-1": InvalidError("no")}),
            Advice(power_on_failed=frozenset({"prod-worker-1"})),
        ),
        (done(power_on_refusals={"prod-worker-1": BusyError("locked")}), Advice()),
        (refused(BusyError("locked")), Advice()),
        (refused(TransientError("502")), Advice()),
        (refused(AuthError("the token was refused")), Advice()),
        (done(moved=True), Advice()),
        (done(unanswered=TransientError("502")), Advice()),
        (done(engine_failure="exit status 255"), Advice()),
        (done(error=StateError("read-only")), Advice()),
    ],
    ids=[
        "adopted",
        "not adopted",
        "name taken",
        "no capacity",
        "quota",
        "not resumed",
        "power-on refused",
        "power-on busy",
        "busy",
        "passing",
        "lasting",
        "moved",
        "unanswered",
        "engine failure",
        "error",
    ],
)
def test_what_each_outcome_adds_to_the_advice(phase: Done, advice: Advice) -> None:
    assert learn(phase, PLAN, Journal()).advice == advice


def test_one_phase_can_teach_several_things_beside_what_is_known() -> None:
    before = Advice(
        taken=frozenset({"prod-worker-9"}), exhausted=frozenset({SECOND}), renew=frozenset({"prod-worker-2"})
    )
    phase = done(
        replace(known(spec(), *numbered(*[Status.RUNNING] * 3)), advice=before),
        reports=(report(Action.ADOPT, "prod-worker-1"),),
        refusals={"prod-worker-4": NameTakenError("taken"), "prod-worker-5": NoCapacityError("sold out")},
        placements={"prod-worker-4": FIRST, "prod-worker-5": FIRST},
        power_on_refusals={"prod-worker-3": GoneError("gone")},
    )
    assert learn(phase, PLAN, Journal()).advice == Advice(
        taken=frozenset({"prod-worker-4", "prod-worker-9"}),
        exhausted=frozenset({FIRST, SECOND}),
        renew=frozenset({"prod-worker-2"}),
        adopted=frozenset({"prod-worker-1"}),
        power_on_failed=frozenset({"prod-worker-3"}),
    )


# ---------------------------------------------------------------------------------------------
# Power


def test_only_passing_and_busy_power_ons_are_worth_another_try() -> None:
    kinds = (BusyError, *PASSING, InvalidError, GoneError, AuthError, NoCapacityError, QuotaError)
    phase = done(power_on_refusals={kind.__name__: kind("no") for kind in kinds})
    assert passing_power_on(phase) == {"BusyError", "TransientError", "RateLimitedError", "AmbiguousError"}


@pytest.mark.parametrize(
    ("rounds", "failed"),
    [
        (1, {"lasting"}),
        (POWER_ON_TRIES, {"lasting"}),
        (POWER_ON_TRIES + 1, {"lasting", "busy", "passing"}),
    ],
)
def test_power_ons_are_tried_again_so_often(rounds: int, failed: set[str]) -> None:
    """The count has this round in it already."""
    phase = done(
        power_on_refusals={
            "lasting": InvalidError("no"),
            "busy": BusyError("locked"),
            "passing": TransientError("502"),
        }
    )
    journal = Journal(tallies={"power_on": rounds})
    assert power_on_failed(phase, journal) == failed
    assert learn(phase, PLAN, journal).advice.power_on_failed == failed


def test_other_troubles_do_not_use_up_the_tries_of_a_power_on() -> None:
    phase = done(power_on_refusals={"prod-worker-1": BusyError("locked")})
    assert power_on_failed(phase, Journal(tallies={"passing": 99, "busy": 99})) == frozenset()


# ---------------------------------------------------------------------------------------------
# Quota


def test_the_quota_s_refusal_is_the_first_one() -> None:
    first, second = QuotaError("3 servers"), QuotaError("3 addresses")
    phase = done(refusals={"a": NoCapacityError("sold out"), "b": first, "c": second})
    assert quota_refusal(phase) is first


@pytest.mark.parametrize("kind", [NoCapacityError, NameTakenError, BusyError, *PASSING])
def test_the_quota_is_met_beside_refusals_after_which_a_run_goes_on(kind: type[Exception]) -> None:
    error = QuotaError("3 servers")
    assert quota_refusal(done(refusals={"a": kind("no"), "b": error})) is error
    assert quota_refusal(done(refusals={"a": kind("no")})) is None


@pytest.mark.parametrize("kind", LASTING)
def test_a_lasting_refusal_ends_the_run_whatever_the_quota_says(kind: type[Exception]) -> None:
    phase = done(refusals={"a": QuotaError("3 servers"), "b": kind("no")}, placements={"a": FIRST, "b": FIRST})
    assert quota_refusal(phase) is None
    assert learn(phase, PLAN_WITH_PAID, Journal()) == phase.knowledge


def test_machines_held_are_those_that_exist_by_the_records() -> None:
    held = [server(f"prod-worker-{status}", status) for status in Status]
    refused_create = replace(server("prod-worker-refused", Status.ERRORED), id=None)
    assert machines_held(known(spec(), *held, refused_create)) == len(Status) - 1  # not the deleted one


QUOTA = QuotaError("3 servers")


@pytest.mark.parametrize(
    ("plan", "most_before", "most", "withheld"),
    [
        (PLAN, None, None, True),
        (PLAN, 5, 5, True),
        (PLAN_WITH_PAID, None, 3, False),
        (PLAN_WITH_PAID, 5, 3, False),
        (PLAN_WITH_PAID, 3, 3, True),
    ],
    ids=[
        "nothing can make room",
        "nothing can make room below a known limit",
        "what is paid for makes room",
        "what is paid for makes room below the limit that the account named",
        "it made room already, and that did not help",
    ],
)
def test_a_quota_withholds_creates_or_makes_room(
    plan: Plan, most_before: int | None, most: int | None, *, withheld: bool
) -> None:
    knowledge = replace(known(spec(), *numbered(*[Status.RUNNING] * 3)), advice=Advice(most=most_before))
    phase = done(knowledge, refusals={"prod-worker-4": QUOTA}, placements={"prod-worker-4": FIRST})
    learned = learn(phase, plan, Journal())
    assert learned.advice == Advice(most=most, withheld=frozenset({"worker"} if withheld else ()))
    assert learned.shortfalls == ((QUOTA,) if withheld else ())
