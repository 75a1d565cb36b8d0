"""What came of a phase: its parts as one, and whether the rest may follow."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scaler.clouds import BusyError, GoneError, QuotaError, TransientError
from scaler.converge.done import Done, placements_of
from scaler.converge.knowledge import Knowledge
from scaler.errors import StateError
from scaler.model import Action, Placement, Step, StepReport, StepResult
from scaler.model.lifecycle import Status
from tests.support.fakes import spec
from tests.support.worlds import known, numbered

FIRST: Placement = ("cx23", "fsn1")
SECOND: Placement = ("cx23", "nbg1")

BEFORE = known(spec(), *numbered(Status.RUNNING))
AFTER = known(spec(), *numbered(Status.RUNNING, Status.NEW))

QUOTA = QuotaError("3 servers")


def done(*, knowledge: Knowledge = BEFORE, **fields: object) -> Done:
    return Done(knowledge=knowledge, **fields)  # type: ignore[arg-type]


def report(action: Action, name: str) -> StepReport:
    return StepReport(Step(action=action, server=name, group="worker", reason="wanted"), StepResult.DONE)


def test_two_parts_of_a_phase_become_one() -> None:
    """Reports and refusals are joined; what ended the phase, and what is known, is the later part's."""
    one, two = (report(Action.DELETE, "prod-worker-1"), report(Action.POWER_OFF, "prod-worker-2"))
    error = StateError("read-only")
    earlier = done(
        knowledge=BEFORE,
        reports=(one,),
        refusals={"a": QUOTA},
        placements={"a": FIRST},
        power_on_refusals={"p": BusyError("locked")},
        resume_refusals={"u": "ended with 1"},
        failures=(error,),
    )
    later = done(
        knowledge=AFTER,
        reports=(two,),
        refusals={"b": error},
        placements={"b": SECOND},
        power_on_refusals={"q": GoneError("gone")},
        resume_refusals={"v": "ended with 2"},
        failures=(QUOTA,),
        engine_failure="exit status 255",
    )
    both = earlier.then(later)
    assert both.knowledge is AFTER
    assert both.reports == (one, two)
    assert (set(both.refusals), set(both.placements)) == ({"a", "b"}, {"a", "b"})
    assert set(both.power_on_refusals) == {"p", "q"}
    assert set(both.resume_refusals) == {"u", "v"}
    assert both.failures == (error, QUOTA)
    assert both.engine_failure == "exit status 255"


@pytest.mark.parametrize(
    ("phase", "clean"),
    [
        (done(), True),
        (done(power_on_refusals={"a": BusyError("locked")}, failures=(QUOTA,), resume_refusals={"a": "no"}), True),
        (done(refusals={"a": QUOTA}), False),
        (done(moved=True), False),
        (done(unanswered=TransientError("502")), False),
        (done(engine_failure="exit status 255"), False),
        (done(error=StateError("read-only")), False),
    ],
    ids=["nothing", "what ends nothing", "refused", "moved", "unanswered", "engine failure", "error"],
)
def test_the_rest_of_a_phase_follows_unless_something_stopped_it(phase: Done, *, clean: bool) -> None:
    assert phase.is_clean is clean


def test_a_step_is_placed_where_its_server_is_asked_for() -> None:
    create = Step(action=Action.CREATE, server="a", group="worker", reason="wanted", type="cx23", location="fsn1")
    assert placements_of((create, replace(create, server="b", type=None, location=None))) == {
        "a": FIRST,
        "b": ("", ""),
    }
