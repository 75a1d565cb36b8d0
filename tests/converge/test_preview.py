"""What is shown before anything is changed, and that exactly this is done."""

from __future__ import annotations

import pytest

from scaler.converge.demand import Options
from scaler.errors import EngineError
from scaler.model import Outcome, Plan, Preview
from tests.support.fakes import Setting, group, spec, taken


@pytest.mark.acceptance("S01")
@pytest.mark.parametrize("wanted", [0, 1, 3, 5])
def test_the_previewed_steps_are_the_steps_taken(wanted: int) -> None:
    setting = Setting(spec(group(labels={"role": "worker"}))).with_servers(worker=4)
    setting.cloud.remove("prod-worker-1")
    setting.cloud.named("prod-worker-3").off = True
    setting.cloud.named("prod-worker-4").labels["note"] = "by hand"
    setting.cloud.add("prod-worker-9", {**setting.label(), "stray": "yes"}, age_s=9999)
    before = setting.cloud.changes()
    previewed = setting.ensure(wanted, options=Options(apply=False))
    assert previewed.outcome is Outcome.PLANNED
    assert setting.cloud.changes() == before
    result = setting.ensure(wanted)
    assert result.outcome is Outcome.CONVERGED
    assert sorted(taken(result)) == sorted(taken(previewed))
    assert setting.is_in_order()


def test_a_person_who_says_no_changes_nothing() -> None:
    setting = Setting()
    shown: list[Plan] = []

    def refuse(plan: Plan) -> bool:
        shown.append(plan)
        return False

    assert setting.ensure(2, options=Options(approve=refuse)).outcome is Outcome.PLANNED
    assert [step.server for step in shown[0].steps] == ["prod-worker-1", "prod-worker-2"]
    assert setting.cloud.changes() == []
    assert setting.records.servers == {}


def test_a_preview_that_differs_from_the_plan_stops_the_run() -> None:
    setting = Setting()
    shown = Preview(operations={"prod-worker-1": "delete"})
    setting.stack.preview = lambda change, packs=(): shown  # type: ignore[method-assign]
    with pytest.raises(EngineError, match="something else than the plan"):
        setting.ensure(1, options=Options(approve=lambda plan: True))
    assert setting.cloud.changes() == []
