"""What a run did so far: each addition is a new journal, and the old one stays as it was."""

from __future__ import annotations

from scaler.clouds import CloudError
from scaler.converge.journal import Journal
from scaler.errors import StateError
from scaler.model import Action, Step, StepReport, StepResult


def report(
    name: str, action: Action = Action.CREATE, result: StepResult = StepResult.DONE, reason: str = "wanted"
) -> StepReport:
    return StepReport(Step(action=action, server=name, group="worker", reason=reason), result)


def test_reports_come_in_the_order_in_which_they_were_made() -> None:
    first, second, third = report("b"), report("a"), report("c")
    assert Journal().report([first, second]).report([third]).reports == (first, second, third)


def test_a_later_attempt_s_report_replaces_the_earlier_one_of_the_same_step() -> None:
    failed, other, again = report("a", result=StepResult.FAILED), report("b"), report("a", reason="tried again")
    assert Journal().report([failed, other]).report([again]).reports == (other, again)


def test_two_reports_of_one_step_at_once_leave_the_later() -> None:
    failed, again = report("a", result=StepResult.FAILED), report("a")
    assert Journal().report([failed, again]).reports == (again,)


def test_other_actions_on_the_same_server_are_other_steps() -> None:
    adopted, deleted = report("a", Action.ADOPT), report("a", Action.DELETE)
    assert Journal().report([adopted]).report([deleted]).reports == (adopted, deleted)


def test_the_steps_tried_and_the_steps_done() -> None:
    created = report("a")
    failed = report("b", Action.DELETE, StepResult.FAILED)
    pending = report("c", Action.REBOOT, StepResult.PENDING)
    journal = Journal().report([created, failed, pending])
    assert journal.steps == [created.step, failed.step, pending.step]
    assert journal.done == {(Action.CREATE, "a")}


def test_failures_are_added_in_their_order() -> None:
    first, second, third = CloudError("one"), StateError("two"), CloudError("three")
    assert Journal().fail(first).fail().fail(second, third).failures == (first, second, third)


def test_troubles_are_counted_each_by_itself() -> None:
    journal = Journal().tally("busy").tally("passing").tally("busy")
    assert (journal.count("busy"), journal.count("passing"), journal.count("replace")) == (2, 1, 0)


def test_a_journal_never_changes() -> None:
    journal = Journal(tallies={"busy": 1})
    journal.report([report("a")])
    journal.fail(CloudError("one"))
    journal.tally("busy")
    assert journal == Journal(tallies={"busy": 1})
