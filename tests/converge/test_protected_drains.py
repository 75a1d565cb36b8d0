"""Servers that are protected while they drain: they stay, and another goes in their place if one may."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest

from scaler.converge.demand import Demand, Options
from scaler.converge.operate import protect
from scaler.errors import RefusedError
from scaler.model import Outcome, StepResult, StopPolicy
from scaler.model.lifecycle import Status
from tests.support.fakes import Setting, group, spec, taken

AT_ONCE = Options(wait=False, patient=False)
WAITS = Options(timeout=timedelta(hours=2))
DRAINS = StopPolicy(drain=("./drain.sh", "{name}"), drain_within=timedelta(hours=1))
SHUTS_DOWN = replace(DRAINS, shutdown_within=timedelta(minutes=1))
RESUMES = replace(SHUTS_DOWN, resume=("./resume.sh", "{name}"))


def stack_of(count: int, policy: StopPolicy, *, takes_s: float = 600.0) -> Setting:
    setting = Setting(spec(group(count=count, stop=policy))).with_servers(worker=count)
    setting.drains.takes_s = takes_s
    return setting


def mark(setting: Setting, names: Iterable[str]) -> None:
    protect(setting.spec, [f"prod-worker-{name}" for name in names], setting.around, protected=True)
    setting.cloud.calls.clear()


def reached(setting: Setting, count: int) -> None:
    """Run until all drains are over."""
    setting.clock.sleep(1200)
    assert setting.ensure(count, options=WAITS).outcome in (Outcome.CONVERGED, Outcome.UNCHANGED)
    assert setting.is_in_order()


@pytest.mark.parametrize("policy", [DRAINS, SHUTS_DOWN], ids=["drained", "shut down after it"])
def test_another_goes_when_the_drain_has_ended(policy: StopPolicy) -> None:
    setting = stack_of(3, policy)
    setting.ensure(2, options=AT_ONCE)
    mark(setting, "3")
    result = setting.ensure(2, options=WAITS)
    assert result.outcome is Outcome.CONVERGED
    assert setting.ready == setting.owned == ["prod-worker-1", "prod-worker-3"]
    assert {one.step.server: one.result for one in result.steps} == {
        "prod-worker-2": StepResult.DONE,
        "prod-worker-3": StepResult.FAILED,
    }
    assert not [about for operation, about in setting.cloud.calls if operation == "shutdown" and about == "3"]
    words = ["prod-worker-3: it was protected meanwhile", "prod-worker-3 stays as its drain left it: nothing puts"]
    for text in words:
        assert [warning for warning in setting.progress.warnings if warning.startswith(text)]


def test_one_that_can_be_taken_back_is_so_at_once() -> None:
    setting = stack_of(3, RESUMES)
    setting.ensure(2, options=AT_ONCE)
    mark(setting, "3")
    previewed = setting.ensure(2, options=Options(apply=False))
    assert [(one.step.action, one.step.server) for one in previewed.steps] == [
        ("resume", "prod-worker-3"),
        ("delete", "prod-worker-2"),
    ]
    assert "it was protected meanwhile, by `scaler protect`" in previewed.steps[0].step.reason
    setting.ensure(2, options=AT_ONCE)
    assert setting.drains.resumed == ["prod-worker-3"]
    reached(setting, 2)
    assert setting.ready == ["prod-worker-1", "prod-worker-3"]


def test_no_other_goes_before_it_is_back() -> None:
    setting = stack_of(3, RESUMES)
    setting.ensure(2, options=AT_ONCE)
    mark(setting, "3")
    setting.drains.refuses_resume = "ended with 1"
    setting.ensure(2, options=AT_ONCE)
    assert setting.drains.starts == ["prod-worker-3"], "two serve, and two are wanted"
    setting.clock.sleep(1200)
    assert setting.ensure(2, options=WAITS).outcome is Outcome.CONVERGED
    assert setting.ready == ["prod-worker-1", "prod-worker-3"]


def test_one_that_is_being_shut_down_already_stays_off_and_is_named() -> None:
    setting = stack_of(3, SHUTS_DOWN, takes_s=1)
    setting.ensure(2, options=AT_ONCE)
    setting.clock.sleep(5)
    setting.ensure(2, options=AT_ONCE)
    assert ("shutdown", "3") in setting.cloud.calls
    mark(setting, "3")
    setting.clock.sleep(1200)
    assert setting.ensure(2, options=WAITS).outcome is Outcome.UNCONFIRMED
    assert "prod-worker-3 is stopped and protected: nothing was done about it" in setting.progress.warnings
    assert (setting.ready, len(setting.owned)) == (["prod-worker-1", "prod-worker-2"], 3)
    assert setting.ensure(3).outcome is Outcome.CONVERGED


@pytest.mark.parametrize("policy", [SHUTS_DOWN, RESUMES], ids=["stays", "is taken back"])
def test_where_no_other_may_go_the_run_says_so(policy: StopPolicy) -> None:
    setting = stack_of(2, policy)
    setting.ensure(1, options=AT_ONCE)
    mark(setting, "12")
    setting.clock.sleep(1200)
    try:
        result = setting.ensure(1)
    except RefusedError as error:
        assert "protected servers are in the way" in str(error)
    else:
        assert result.outcome is Outcome.FAILED
        words = (
            "prod-worker-2 was kept, because it was protected meanwhile"
            if policy is SHUTS_DOWN
            else "worker cannot go down to 1: protected servers are in the way"
        )
        assert words in str(result.failures[0])
    assert len(setting.ready) == 2
    assert setting.cloud.changes() == []


def test_two_are_protected_and_one_may_go_in_their_place() -> None:
    setting = stack_of(4, SHUTS_DOWN)
    setting.ensure(2, options=AT_ONCE)
    mark(setting, "134")
    setting.clock.sleep(1200)
    result = setting.ensure(2, options=WAITS)
    assert result.outcome is Outcome.FAILED
    assert setting.ready == ["prod-worker-1", "prod-worker-3", "prod-worker-4"]


def test_nothing_goes_in_place_of_one_that_was_named() -> None:
    setting = stack_of(3, RESUMES)
    setting.run(Demand(remove=frozenset({"prod-worker-2"})), AT_ONCE)
    mark(setting, "2")
    setting.clock.sleep(1200)
    result = setting.ensure(2, options=WAITS)
    assert result.outcome is Outcome.FAILED
    assert (setting.drains.resumed, len(setting.ready)) == ([], 3)


def test_destroy_takes_none_back() -> None:
    setting = stack_of(2, RESUMES)
    setting.ensure(1, options=AT_ONCE)
    mark(setting, "2")
    assert setting.ensure(0, options=Options(everything=True)).outcome is Outcome.CONVERGED
    assert (setting.owned, setting.drains.resumed) == ([], [])


def test_a_tick_takes_it_back(tmp_path: object) -> None:
    setting = stack_of(3, RESUMES)
    setting.ensure(2, options=AT_ONCE)
    mark(setting, "3")
    from scaler.converge.drains import has_news
    from scaler.converge.observe import observe

    assert has_news(observe(setting.spec, setting.around), setting.around)
    assert taken(setting.ensure(2, options=AT_ONCE))[0] == ("resume", "prod-worker-3")
    assert setting.records.servers["prod-worker-3"].status is Status.RUNNING
