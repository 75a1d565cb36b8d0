"""Refusals: each at its boundary, with the number in the words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scaler.errors import ExitCode, RefusedError
from scaler.model import Action, Outcome, Server
from scaler.model.lifecycle import Status
from scaler.planning.guards import check_change, check_expectation, check_plan, check_wanted, check_zero
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


def test_a_placement_group_has_ten_servers_at_most() -> None:
    """V5: the cloud refuses the eleventh, with ten created; so it is refused before the first."""
    shared = spec(group("worker", placement_group="apart"), group("web", placement_group="apart"), group("free"))
    check_wanted(shared, {"worker": 6, "web": 4, "free": 30})
    with pytest.raises(RefusedError, match="worker, web: 11 servers are too many for the placement group apart") as no:
        check_wanted(shared, {"worker": 6, "web": 5, "free": 0})
    assert no.value.code == "placement_group_full"
    check_wanted(shared, {"worker": 6, "web": 5}, have={"worker": 7, "web": 5})


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
    check_expectation(here, made, None)
    check_expectation(here, made, 2)
    with pytest.raises(RefusedError, match="has 2 servers, not the expected 3"):
        check_expectation(here, made, 3)


# ---------------------------------------------------------------------------------------------
# Groups that the spec no longer has


def old(*statuses: Status) -> list[Server]:
    """Servers of a group `old`."""
    return [server(f"prod-old-{number}", status, group_name="old") for number, status in enumerate(statuses, 1)]


def test_the_last_servers_of_a_removed_group_are_not_removed_unless_zero_is_allowed() -> None:
    here = world(spec(), *old(Status.RUNNING, Status.RUNNING))
    made = plan(spec(), here, {"worker": 0})
    with pytest.raises(RefusedError, match="would lose all its servers: 2 now, 0 wanted") as refused:
        check_zero(here, made, allowed=False)
    assert refused.value.code == "to_zero"
    check_zero(here, made, allowed=True)
    check_zero(here, plan(spec(), here, {"worker": 1}), allowed=False)


def test_servers_of_a_removed_group_count_in_a_change_in_the_limit_and_in_an_expectation() -> None:
    tight = spec(group(), limit=3)
    here = world(tight, *numbered(Status.RUNNING), *old(Status.RUNNING, Status.RUNNING))
    made = plan(tight, here, {"worker": 2})
    check_change(made, 3)
    with pytest.raises(RefusedError, match="would change by 3 servers, 1 too many"):
        check_change(made, 2)
    check_plan(tight, here, made)
    # There is no moment with more than the limit: the old ones go first.
    assert [{step.action for step in phase.steps} for phase in made.phases] == [{Action.DELETE}, {Action.CREATE}]
    check_expectation(here, made, 3)
    with pytest.raises(RefusedError, match="has 3 servers, not the expected 1"):
        check_expectation(here, made, 1)


def test_servers_of_a_removed_group_that_stay_count_in_the_limit() -> None:
    tight = spec(group(), limit=3)
    here = world(tight, *old(Status.RUNNING, Status.DELETING, Status.DELETING))
    with pytest.raises(RefusedError, match="would hold 4 servers, 1 above its limit of 3"):
        check_plan(tight, here, plan(tight, here, {"worker": 2}))


def test_a_protected_server_of_a_renamed_group_is_named() -> None:
    renamed = spec(group("jobs", 2))
    servers = old(Status.RUNNING, Status.RUNNING)
    here = world(renamed, replace(servers[0], protected=True), servers[1])
    made = plan(renamed, here, {"jobs": 2})
    assert made.renamed == {"old": "jobs"}
    with pytest.raises(RefusedError) as refused:
        check_plan(renamed, here, made)
    assert str(refused.value).startswith(
        "prod-old-1 cannot be removed: protected, of old, which the spec no longer has (jobs looks like its new name)."
    )
    assert refused.value.why == "prod-old-1: by `scaler protect`"
    assert "Put groups.old back into stacks/prod.yaml" in refused.value.fix
