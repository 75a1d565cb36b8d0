"""Refusals: each at its boundary, with the number in the words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scaler.errors import ExitCode, RefusedError
from scaler.model import Outcome
from scaler.model.lifecycle import Status
from scaler.planning.guards import check_expectation, check_plan, check_wanted
from scaler.planning.plan import plan
from tests.support.fakes import Setting, group, spec
from tests.support.worlds import numbered, server, world


@pytest.mark.acceptance("Q03")
def test_exactly_the_limit_is_allowed_and_one_more_refused() -> None:
    tight = spec(group("worker"), group("web"), limit=5)
    check_wanted(tight, {"worker": 3, "web": 2})
    with pytest.raises(RefusedError) as refused:
        check_wanted(tight, {"worker": 3, "web": 3})
    assert (refused.value.code, refused.value.exit_code) == ("above_limit", ExitCode.REFUSED)
    assert "asked to have 6 servers, 1 above its limit of 5" in str(refused.value)


@pytest.mark.acceptance("S08")
@pytest.mark.parametrize(("count", "code"), [(0, "below_min"), (1, None), (4, None), (5, "above_max")])
def test_counts_stay_within_a_groups_bounds(count: int, code: str | None) -> None:
    bounded = spec(group(min=1, max=4))
    if code is None:
        check_wanted(bounded, {"worker": count})
        return
    with pytest.raises(RefusedError) as refused:
        check_wanted(bounded, {"worker": count})
    assert refused.value.code == code
    assert str(spec().path) in refused.value.why


def test_servers_being_deleted_count_towards_the_limit() -> None:
    tight = spec(group(), limit=3)
    here = world(tight, *numbered(Status.RUNNING, Status.DELETING, Status.DELETING), orphans=["prod-worker-2"])
    made = plan(tight, here, {"worker": 3})
    with pytest.raises(RefusedError, match="would hold 5 servers, 2 above its limit of 3"):
        check_plan(tight, here, made)


@pytest.mark.acceptance("Q05")
def test_deleted_servers_do_not_count_towards_the_limit() -> None:
    setting = Setting(spec(group(), limit=3)).with_servers(worker=3)
    setting.ensure(1)
    assert [record.status for record in setting.records.servers.values()].count(Status.DELETED) == 2
    assert setting.ensure(3).outcome is Outcome.CONVERGED
    assert len(setting.ready) == 3


def test_what_is_deleted_on_the_way_makes_room() -> None:
    tight = spec(group(), limit=3)
    here = world(tight, *numbered(Status.RUNNING, Status.HANGING, Status.HANGING))
    check_plan(tight, here, plan(tight, here, {"worker": 3}))


def test_above_the_limit_one_may_still_remove() -> None:
    tight = spec(group(), limit=1)
    here = world(tight, *numbered(*[Status.RUNNING] * 4))
    check_plan(tight, here, plan(tight, here, {"worker": 1}))


def test_protected_servers_in_the_way_are_named() -> None:
    guarded = spec(group(protect=frozenset({"prod-worker-1"})))
    here = world(
        guarded, server("prod-worker-1"), replace(server("prod-worker-2"), protected=True), server("prod-worker-3")
    )
    check_plan(guarded, here, plan(guarded, here, {"worker": 2}))
    made = plan(guarded, here, {"worker": 1})
    with pytest.raises(RefusedError, match="cannot go down to 1") as refused:
        check_plan(guarded, here, made)
    assert refused.value.why == (
        "prod-worker-1: groups.worker.protect names it in stacks/prod.yaml; prod-worker-2: by `scaler protect`"
    )
    check_plan(guarded, here, made, ignore_protection=True)


def test_another_number_than_expected() -> None:
    here = world(spec(), *numbered(Status.RUNNING, Status.STARTING, Status.STOPPED))
    made = plan(spec(), here, {"worker": 5})
    check_expectation(made, None)
    check_expectation(made, 2)
    with pytest.raises(RefusedError, match="has 2 servers, not the expected 3"):
        check_expectation(made, 3)
