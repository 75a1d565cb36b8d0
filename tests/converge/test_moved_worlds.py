"""A world that changes between the plan and its apply."""

from __future__ import annotations

import pytest

from scaler.converge.demand import Options
from scaler.model import Action, Outcome, Plan, StopPolicy
from tests.support.fakes import Setting, group, spec


@pytest.mark.acceptance("R03")
def test_a_world_that_moved_is_planned_for_again() -> None:
    """Another run made three servers between our plan and our apply."""
    setting = Setting()

    def other_run() -> None:
        for number in (1, 2, 3):
            setting.cloud.add(f"prod-worker-{number}", setting.label())

    setting.stack.moves.append(other_run)
    result = setting.ensure(3)
    assert result.outcome is Outcome.CONVERGED
    assert not [call for call in setting.cloud.calls if call[0] == "create"]
    assert setting.ready == ["prod-worker-1", "prod-worker-2", "prod-worker-3"]
    assert setting.is_in_order()


@pytest.mark.parametrize("by_hand", [False, True])
def test_right_before_a_stop_its_server_must_still_be_the_right_one(by_hand: bool) -> None:
    """Somebody removes another one after the plan was made: then nobody is drained."""
    drain = StopPolicy(drain=("./drain.sh", "{name}"))
    setting = Setting(spec(group(stop=drain))).with_servers(worker=4)

    def approve(plan: Plan) -> bool:
        assert [(step.action, step.server) for step in plan.steps] == [(Action.DELETE, "prod-worker-4")]
        if by_hand:
            setting.cloud.remove("prod-worker-1")
        return True

    result = setting.ensure(3, options=Options(approve=approve))
    assert result.outcome is Outcome.CONVERGED
    gone = 1 if by_hand else 4
    assert setting.ready == [f"prod-worker-{number}" for number in (1, 2, 3, 4) if number != gone]
    assert setting.drains.starts == ([] if by_hand else ["prod-worker-4"])
    assert setting.is_in_order()


def test_a_world_that_never_rests_is_never_acted_on() -> None:
    setting = Setting().with_servers(worker=1)
    numbers = iter(range(100, 200))
    setting.stack.moves = [
        lambda: setting.cloud.add(f"prod-worker-{next(numbers)}", setting.label()) for _ in range(50)
    ]
    result = setting.ensure(0)
    assert result.outcome is Outcome.UNCONFIRMED
    assert setting.cloud.changes() == []


def test_a_power_on_is_not_repeated_when_the_world_moved_after_it() -> None:
    setting = Setting().with_servers(worker=1)
    setting.cloud.named("prod-worker-1").off = True
    setting.stack.moves.append(lambda: setting.cloud.add("prod-worker-2", setting.label()))
    assert setting.ensure(3).outcome is Outcome.CONVERGED
    assert len([call for call in setting.cloud.calls if call[0] == "power_on"]) == 1
