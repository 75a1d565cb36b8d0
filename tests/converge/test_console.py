"""What people do in the vendor's console: delete protection, labels, and what the vendor does by itself."""

from __future__ import annotations

import pytest

from scaler.converge.demand import Demand, Options
from scaler.converge.operate import protect
from scaler.errors import RefusedError
from scaler.model import Outcome, Plan
from scaler.model.lifecycle import Status
from tests.support.fakes import Setting, group, spec, taken

# ---------------------------------------------------------------------------------------------
# Delete protection


@pytest.mark.acceptance("T06")
def test_another_server_goes_in_place_of_one_with_delete_protection() -> None:
    setting = Setting().with_servers(worker=3)
    setting.cloud.named("prod-worker-3").protected = True
    result = setting.ensure(2)
    assert (result.outcome, taken(result)) == (Outcome.CONVERGED, [("delete", "prod-worker-2")])
    assert setting.ready == ["prod-worker-1", "prod-worker-3"]


@pytest.mark.acceptance("T06")
@pytest.mark.parametrize(
    "demand", [Demand(renew=frozenset({"prod-worker-3"})), Demand(remove=frozenset({"prod-worker-3"}))]
)
def test_a_named_server_with_delete_protection_is_refused_before_anything_is_done(demand: Demand) -> None:
    setting = Setting().with_servers(worker=3)
    setting.cloud.named("prod-worker-3").protected = True
    with pytest.raises(RefusedError, match="prod-worker-3 is protected") as refused:
        setting.run(demand)
    assert refused.value.why == "its delete protection is on at the cloud"
    assert setting.cloud.changes() == []


@pytest.mark.acceptance("T06")
def test_a_count_that_needs_a_server_with_delete_protection_is_refused_and_names_it() -> None:
    setting = Setting().with_servers(worker=2)
    setting.cloud.named("prod-worker-2").protected = True
    with pytest.raises(RefusedError, match="cannot go down to 0") as refused:
        setting.ensure(0)
    assert refused.value.why == "prod-worker-2: its delete protection is on at the cloud"
    assert setting.cloud.changes() == []


def test_a_dead_server_with_delete_protection_stays_beside_its_successor() -> None:
    setting = Setting().with_servers(worker=2)
    records = setting.records.servers
    records["prod-worker-1"] = records["prod-worker-1"].become(Status.HANGING, setting.clock.now())
    box = setting.cloud.named("prod-worker-1")
    box.protected, box.ready = True, None
    for _ in range(3):
        setting.ensure(2)
    assert setting.ready == ["prod-worker-2", "prod-worker-3"]
    assert setting.owned == ["prod-worker-1", "prod-worker-2", "prod-worker-3"]
    assert "prod-worker-1 is hanging and protected: nothing was done about it" in setting.progress.warnings


@pytest.mark.acceptance("T06")
def test_delete_protection_that_comes_after_the_plan_and_before_the_shutdown_is_respected() -> None:
    setting = Setting(spec(group(keep_paid=True))).with_servers(worker=3)
    chosen: list[str] = []

    def approve(plan: Plan) -> bool:
        chosen.extend(step.server for step in plan.steps)
        setting.cloud.named(chosen[0]).protected = True
        return True

    result = setting.ensure(2, options=Options(approve=approve))
    assert chosen == ["prod-worker-3"]
    assert taken(result) == [("power_off", "prod-worker-2")]
    assert setting.ready == ["prod-worker-1", "prod-worker-3"]


def test_destroy_is_refused_while_the_cloud_protects_a_server() -> None:
    setting = Setting().with_servers(worker=2)
    setting.cloud.named("prod-worker-2").protected = True
    with pytest.raises(RefusedError, match="prod-worker-2: delete protection is on at the cloud"):
        setting.ensure(0, options=Options(everything=True))
    assert setting.cloud.changes() == []


def test_destroy_removes_what_scaler_protects() -> None:
    setting = Setting().with_servers(worker=2)
    protect(setting.spec, ["prod-worker-1"], setting.around, protected=True)
    assert setting.ensure(0, options=Options(everything=True)).outcome is Outcome.CONVERGED
    assert setting.owned == []
