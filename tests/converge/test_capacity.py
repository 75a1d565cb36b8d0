"""Where servers are tried, how many the account allows, and what goes on without them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from scaler.clouds import AuthError, Catalogue, CloudError, InvalidError
from scaler.converge.demand import Demand, Options
from scaler.converge.operate import look, refresh
from scaler.errors import ExitCode, LimitError, RefusedError
from scaler.model import MachineRequest, Outcome, Price, Result
from tests.support.fakes import LOCATIONS, START, TYPES, Setting, group, spec, taken

PLACES = [(kind, location) for kind in TYPES for location in LOCATIONS]


def creates(setting: Setting) -> int:
    return sum(1 for call in setting.cloud.calls if call[0] == "create")


def places(setting: Setting) -> Counter[tuple[str, str]]:
    return Counter((box.type, box.location) for box in setting.cloud.boxes.values())


def failures(result: Result) -> str:
    return "\n".join(map(str, result.failures))


# ---------------------------------------------------------------------------------------------
# Capacity


def test_the_first_two_pairs_are_sold_out_and_the_third_gives_the_count() -> None:
    setting = Setting()
    setting.cloud.full = set(PLACES[:2])
    result = setting.ensure(1)
    assert (result.outcome, places(setting)) == (Outcome.CONVERGED, {PLACES[2]: 1})
    assert [(report.step.type, report.step.location) for report in result.steps] == [PLACES[2]]
    assert creates(setting) == 3
    # For five minutes they are not asked again; then they are, once each.
    setting.clock.sleep(280)
    setting.cloud.calls.clear()
    assert setting.ensure(2).outcome is Outcome.CONVERGED
    assert (creates(setting), places(setting)) == (1, {PLACES[2]: 2})
    setting.clock.sleep(300)
    setting.cloud.calls.clear()
    setting.cloud.full = {PLACES[0]}
    assert setting.ensure(3).outcome is Outcome.CONVERGED
    assert (creates(setting), places(setting)) == (2, {PLACES[2]: 2, PLACES[1]: 1})


def test_the_search_for_capacity_ends_with_the_runs_time_and_the_next_run_goes_on() -> None:
    setting = Setting()
    setting.cloud.full = set(PLACES)
    refuse = setting.cloud._refuse

    def answer_late(request: MachineRequest) -> None:
        setting.clock.sleep(20)
        refuse(request)

    setting.cloud._refuse = answer_late  # type: ignore[method-assign]
    result = setting.ensure(1, options=Options(timeout=timedelta(seconds=30)))
    assert (result.outcome, creates(setting), setting.owned) == (Outcome.UNCONFIRMED, 2, [])
    assert any("the time is up (30s)" in warning for warning in setting.progress.warnings)
    assert setting.clock.passed < 60
    # Only the two places that were asked count as sold out.
    setting.cloud.full = set(PLACES[:2])
    assert setting.ensure(1).outcome is Outcome.CONVERGED
    assert (creates(setting), places(setting)) == (3, {PLACES[2]: 1})
    assert setting.is_in_order()


def test_what_the_catalogue_has_none_of_is_not_asked_for() -> None:
    setting = Setting()
    setting.cloud.full = setting.cloud.shown_full = set(PLACES[:3])
    assert setting.ensure(2).outcome is Outcome.CONVERGED
    assert (creates(setting), places(setting)) == (2, {PLACES[3]: 2})


def test_the_plan_names_what_it_will_try() -> None:
    setting = Setting()
    setting.cloud.unsold = {PLACES[0]}
    setting.cloud.shown_full = {PLACES[2]}
    result = setting.ensure(2, options=Options(apply=False))
    assert result.groups["worker"].tries == ("cx23 in nbg1", "cpx22 in fsn1", "cpx22 in nbg1")
    assert {(report.step.type, report.step.location) for report in result.steps} == {PLACES[1]}


def test_nothing_to_be_had_anywhere_is_told_place_by_place() -> None:
    setting = Setting()
    setting.cloud.full = {PLACES[0]}
    setting.cloud.shown_full = {PLACES[1]}
    setting.cloud.unsold = set(PLACES[2:])
    result = setting.ensure(2)
    assert (result.outcome, setting.owned) == (Outcome.FAILED, [])
    told = failures(result)
    assert "no capacity for 2 more of worker" in told
    assert "cx23 in fsn1: no capacity (resource_unavailable)" in told
    assert "cx23 in nbg1: cx23 is not to be had in nbg1 now" in told
    assert "cpx22 in fsn1: There is no server type cpx22" in told
    # The next run remembers, and says the same without asking.
    setting.cloud.calls.clear()
    again = setting.ensure(2)
    assert (again.outcome, creates(setting)) == (Outcome.FAILED, 0)
    assert "cx23 in fsn1: there was none at 22:00 UTC" in failures(again)


def test_no_capacity_in_one_group_does_not_keep_another_from_shrinking() -> None:
    setting = Setting(spec(group("worker", 0), group("other", 0))).with_servers(worker=1, other=3)
    setting.cloud.full = set(PLACES)
    result = setting.ensure(worker=2, other=1)
    assert result.outcome is Outcome.FAILED
    assert setting.ready == setting.owned == ["prod-other-1", "prod-worker-1"]
    assert setting.is_in_order()
    assert "no capacity for 1 more of worker" in failures(result)


def test_what_cannot_be_replaced_stays() -> None:
    setting = Setting().with_servers(worker=2)
    setting.cloud.full = set(PLACES)
    result = setting.run(Demand(renew=frozenset({"prod-worker-1"})))
    assert result.outcome is Outcome.FAILED
    assert setting.ready == ["prod-worker-1", "prod-worker-2"]


def test_spread_over_the_locations() -> None:
    setting = Setting(spec(group(spread=True))).with_servers(worker=1)
    assert setting.ensure(5).outcome is Outcome.CONVERGED
    assert places(setting) == {("cx23", "fsn1"): 3, ("cx23", "nbg1"): 2}


def test_spread_takes_another_type_before_it_leaves_a_location_empty() -> None:
    setting = Setting(spec(group(spread=True)))
    setting.cloud.full = {("cx23", "nbg1")}
    assert setting.ensure(4).outcome is Outcome.CONVERGED
    assert places(setting) == {("cx23", "fsn1"): 2, ("cpx22", "nbg1"): 2}


# ---------------------------------------------------------------------------------------------
# What fits


def test_an_image_that_fits_nowhere_stops_the_run_before_anything_changes() -> None:
    setting = Setting().with_servers(worker=2)
    setting.cloud.disk = 41
    with pytest.raises(InvalidError) as refused:
        setting.ensure(3, options=Options(apply=False))
    assert "needs a disk of 41 GB; cx23 has 40 GB" in str(refused.value)
    assert setting.cloud.changes() == []
    assert setting.ensure(1).outcome is Outcome.CONVERGED


@pytest.mark.acceptance("Q14")
def test_a_type_that_does_not_exist_is_told_with_the_nearest() -> None:
    setting = Setting(spec(group(types=("cx32",))))
    with pytest.raises(InvalidError) as refused:
        setting.ensure(1)
    assert (refused.value.what, refused.value.fix) == ("There is no server type cx32.", "Did you mean cx23?")


def test_all_that_is_wrong_with_the_placements_is_told_at_once() -> None:
    setting = Setting(spec(group(types=("cx32", "cx23"))))
    setting.cloud.disk = 41
    with pytest.raises(InvalidError, match="no type and location at which servers of worker can be") as refused:
        setting.ensure(1)
    assert "There is no server type cx32" in refused.value.why
    assert "needs a disk of 41 GB" in refused.value.why


def test_a_placement_that_is_not_sold_is_passed_over_with_a_note() -> None:
    setting = Setting()
    setting.cloud.unsold = {PLACES[0]}
    assert setting.ensure(1).outcome is Outcome.CONVERGED
    assert places(setting) == {PLACES[1]: 1}
    assert "worker passes over cx23 in fsn1: cx23 is not sold in fsn1." in setting.progress.notes


# ---------------------------------------------------------------------------------------------
# The account's quota


def test_a_quota_that_can_be_read_is_refused_before_anything_is_asked() -> None:
    setting = Setting(spec(group(count=0))).with_servers(worker=20)
    setting.cloud.quota, setting.cloud.tells_quota = 25, True
    for apply in (False, True):
        with pytest.raises(LimitError, match="would hold 30 servers, 5 too many: the account allows 25") as refused:
            setting.ensure(30, options=Options(apply=apply))
        assert (refused.value.code, refused.value.exit_code) == ("quota", ExitCode.REFUSED)
    assert setting.cloud.changes() == []
    assert setting.ensure(25).outcome is Outcome.CONVERGED


def test_servers_of_others_count_towards_the_accounts_quota() -> None:
    setting = Setting()
    setting.cloud.quota, setting.cloud.tells_quota = 5, True
    for number in range(3):
        setting.cloud.add(f"another-{number}", {})
    with pytest.raises(LimitError, match="1 too many: the account allows 2") as refused:
        setting.ensure(3)
    assert "3 of its servers are not of this stack" in refused.value.why
    assert setting.ensure(2).outcome is Outcome.CONVERGED


def test_a_quota_that_cannot_be_read_is_run_into_once_an_hour() -> None:
    setting = Setting()
    setting.cloud.quota = 2
    assert setting.ensure(4).outcome is Outcome.FAILED
    setting.cloud.calls.clear()
    with pytest.raises(LimitError, match="2 too many: the account allows 2"):
        setting.ensure(4)
    assert setting.cloud.changes() == []
    setting.clock.sleep(3600)
    setting.cloud.quota = 4
    assert setting.ensure(4).outcome is Outcome.CONVERGED


def test_a_quota_that_may_not_be_read_is_no_obstacle() -> None:
    setting = Setting()

    def forbidden() -> None:
        raise AuthError("may not", why="forbidden")

    setting.cloud.limits = forbidden  # type: ignore[assignment, method-assign]
    assert setting.ensure(2).outcome is Outcome.CONVERGED


@pytest.mark.parametrize("told", [True, False])
def test_a_quota_does_not_keep_another_group_from_shrinking(told: bool) -> None:
    setting = Setting(spec(group("worker", 0), group("other", 0))).with_servers(worker=1, other=3)
    setting.cloud.quota, setting.cloud.tells_quota = 4, told
    result = setting.ensure(worker=5, other=2)
    assert result.outcome is Outcome.FAILED
    assert setting.ready == setting.owned == ["prod-other-1", "prod-other-2", "prod-worker-1"]
    assert setting.is_in_order()
    assert result.failures


def test_at_the_quota_what_goes_goes_first() -> None:
    setting = Setting(spec(group("worker", 0), group("other", 0))).with_servers(worker=1, other=3)
    setting.cloud.quota, setting.cloud.tells_quota = 4, True
    result = setting.ensure(worker=3, other=1)
    assert result.outcome is Outcome.CONVERGED, failures(result)
    assert len(setting.ready) == 4


# ---------------------------------------------------------------------------------------------
# The budget, the largest change, and nothing at all


def test_a_plan_above_the_budget_is_refused_with_the_sum() -> None:
    # A server is 5.00 a month, and the budget is for three of them.
    setting = Setting(replace(spec(group()), budget=Decimal(15)))
    for apply in (False, True):
        with pytest.raises(LimitError, match=r"cost EUR 20\.00 a month, EUR 5\.00 above its budget of EUR 15\.00"):
            setting.ensure(4, options=Options(apply=apply))
    assert setting.cloud.changes() == []
    result = setting.ensure(3)
    assert result.outcome is Outcome.CONVERGED
    assert result.cost is not None
    assert (result.cost.per_month_before, result.cost.per_month_after) == (0.0, 15.0)


def test_a_server_whose_price_nobody_knows_is_held_against_no_budget() -> None:
    """V1: a withdrawn type is in no price list: it counts with the price in its record, and without one it stops."""
    setting = Setting().with_servers(worker=2)
    setting.spec = replace(setting.spec, budget=Decimal(15))
    setting.cloud.unsold = {(TYPES[0], location) for location in LOCATIONS}
    setting.spec = replace(setting.spec, groups={"worker": replace(setting.spec.groups["worker"], types=TYPES)})
    with pytest.raises(LimitError, match=r"cost EUR 20\.00 a month"):
        setting.ensure(4)
    setting.records.servers = {name: replace(one, price=None) for name, one in setting.records.servers.items()}
    setting.stack.saved = replace(setting.stack.saved, outputs={})
    before = len(setting.cloud.changes())
    with pytest.raises(LimitError, match="is not known, so it cannot be held against its budget") as refused:
        setting.ensure(3)
    assert (refused.value.code, len(setting.cloud.changes())) == ("price_unknown", before)
    assert f"{TYPES[0]} in {LOCATIONS[0]}" in refused.value.why


@pytest.mark.parametrize("price", ["NaN", "Infinity", "-5", "1e999999999"])
def test_a_price_that_is_no_amount_of_money_passes_no_budget_and_is_in_no_sum(price: str) -> None:
    setting = Setting(replace(spec(group()), budget=Decimal(7)))
    setting.cloud.months = {TYPES[0]: Decimal(price)}
    with pytest.raises(LimitError, match="is not known, so it cannot be held against its budget") as refused:
        setting.ensure(3)
    assert (refused.value.code, refused.value.exit_code, setting.cloud.changes()) == ("price_unknown", 3, [])

    setting.spec = replace(setting.spec, budget=None)
    made = setting.ensure(3)
    assert made.cost is not None
    assert (made.cost.per_hour_after, made.cost.per_month_after) == (0, 0)
    assert all(server.price is None for server in setting.records.servers.values())
    assert any("the cloud names no price for" in line for line in setting.progress.warnings)


def test_a_plan_that_only_removes_tells_what_is_saved_and_needs_no_prices() -> None:
    setting = Setting().with_servers(worker=3)
    shown = setting.ensure(1, options=Options(apply=False)).cost
    assert shown is not None
    assert (shown.per_hour_before, shown.per_hour_after) == (0.03, 0.01)
    assert (shown.per_month_before, shown.per_month_after) == (15.0, 5.0)

    def unreadable() -> None:
        raise CloudError("no", why="server_error")

    setting.cloud.catalogue = unreadable  # type: ignore[assignment, method-assign]
    assert setting.ensure(0, options=Options(apply=False)).cost is None
    assert setting.ensure(0, options=Options(approve=lambda plan: True)).outcome is Outcome.CONVERGED


def test_servers_are_recorded_with_their_prices_and_keep_them() -> None:
    setting = Setting().with_servers(worker=2)
    priced = {"prod-worker-1": Decimal(5), "prod-worker-2": Decimal(5)}

    def recorded() -> dict[str, Decimal | None]:
        return {
            name: server.price.per_month if server.price else None for name, server in setting.records.servers.items()
        }

    assert recorded() == priced
    assert dict(setting.stack.saved.outputs) == setting.records.servers
    read: list[int] = []
    catalogue = setting.cloud.catalogue

    def read_again() -> Catalogue:
        read.append(1)
        return replace(catalogue(), offers=tuple(replace(offer, per_month=Decimal(6)) for offer in catalogue().offers))

    setting.cloud.catalogue = read_again  # type: ignore[method-assign]
    # Nothing to do, and no price to be learned: nothing is read.
    assert setting.ensure(2).outcome is Outcome.UNCHANGED
    assert (recorded(), read) == (priced, [])
    # A look reads the catalogue for the image of new servers, and leaves the known prices.
    look(setting.spec, setting.around)
    assert (recorded(), read) == (priced, [1])
    # A run that reads them anyway writes down what it read, of every server.
    setting.ensure(3)
    assert recorded() == dict.fromkeys(["prod-worker-1", "prod-worker-2", "prod-worker-3"], Decimal(6))
    assert dict(setting.stack.saved.outputs) == setting.records.servers


def test_records_without_prices_cost_no_run_and_are_completed_by_a_look() -> None:
    setting = Setting().with_servers(worker=2)
    bare = {name: replace(server, price=None) for name, server in setting.records.servers.items()}
    setting.records.servers = bare
    setting.stack.saved = replace(setting.stack.saved, outputs=bare)
    assert setting.ensure(2).outcome is Outcome.UNCHANGED
    assert [server.price for server in setting.records.servers.values()] == [None, None]
    look(setting.spec, setting.around)
    assert [server.price for server in setting.records.servers.values()] == [
        Price("EUR", Decimal("0.01"), Decimal(5))
    ] * 2
    # What a look learned is in the state file alone, and no reason to start the engine.
    assert setting.ensure(2).outcome is Outcome.UNCHANGED
    assert setting.stack.processes == 0
    refresh(setting.spec, setting.around)
    assert dict(setting.stack.saved.outputs) == setting.records.servers
    # The stack tells whoever has no state file.
    setting.records.lose()
    setting.ensure(2)
    assert dict(setting.stack.saved.outputs) == setting.records.servers


def test_without_the_prices_a_look_is_as_good_in_all_else() -> None:
    setting = Setting()
    setting.cloud.add("prod-worker-1", setting.label())

    def unreadable() -> None:
        raise CloudError("no", why="server_error")

    setting.cloud.catalogue = unreadable  # type: ignore[assignment, method-assign]
    look(setting.spec, setting.around)
    assert setting.records.servers["prod-worker-1"].price is None
    assert setting.progress.notes == [
        "the prices cannot be read: no (server_error)",
        "which servers of worker are outdated is not known: no (server_error)",
    ]


def test_a_server_of_another_type_than_recorded_has_no_price_that_was_another_s() -> None:
    setting = Setting().with_servers(worker=1)
    setting.cloud.named("prod-worker-1").type = "cpx22"
    setting.ensure(1)
    assert setting.records.servers["prod-worker-1"].price is None


def test_above_the_budget_one_may_still_remove_and_replace_fewer() -> None:
    setting = Setting().with_servers(worker=5)
    setting.spec = replace(setting.spec, budget=Decimal(10))
    for name in ("prod-worker-1", "prod-worker-2"):
        setting.cloud.named(name).off = True
    setting.cloud.faults["power_on"] = [CloudError("no", why="server_error") for _ in range(2)]
    result = setting.ensure(4)
    assert (result.outcome, len(setting.ready)) == (Outcome.CONVERGED, 4)
    assert "create" in {action for action, _ in taken(result)}


def test_more_change_than_allowed_is_refused_with_the_number() -> None:
    setting = Setting(spec(group("worker", 0), group("other", 0))).with_servers(worker=3)
    for apply in (False, True):
        with pytest.raises(RefusedError, match="change by 5 servers, 1 too many: --max-change is 4") as refused:
            setting.ensure(worker=1, other=3, options=Options(apply=apply, max_change=4))
        assert refused.value.code == "max_change"
    assert setting.cloud.changes() == []
    assert setting.ensure(worker=1, other=3, options=Options(max_change=5)).outcome is Outcome.CONVERGED


def test_replacing_on_the_way_does_not_exceed_the_largest_change() -> None:
    setting = Setting()
    setting.cloud.hang = 1
    result = setting.ensure(2, options=Options(max_change=2))
    assert result.outcome is Outcome.FAILED
    assert "--max-change is 2" in failures(result)
    assert setting.ready == ["prod-worker-2"]
    assert [action for action, _ in taken(result)] == ["create", "create"]


def test_a_whole_stack_is_not_emptied_by_a_slip() -> None:
    setting = Setting(spec(group("worker", 0), group("other", 0))).with_servers(worker=2, other=1)
    careful = Options(allow_zero=False)
    for options in (careful, replace(careful, apply=False)):
        with pytest.raises(RefusedError, match="would lose all its servers: 3 now, 0 wanted") as refused:
            setting.ensure(worker=0, other=0, options=options)
        assert refused.value.code == "to_zero"
    assert setting.cloud.changes() == []
    # One group of several, what was asked for by difference, and what is empty already.
    assert setting.ensure(worker=0, other=1, options=careful).outcome is Outcome.CONVERGED
    assert setting.run(Demand(by={"other": -1}), careful).outcome is Outcome.CONVERGED
    assert setting.owned == []
    assert setting.ensure(worker=0, other=0, options=careful).outcome is Outcome.UNCHANGED


# ---------------------------------------------------------------------------------------------
# Relabelled by hand, and the paid hour


def test_a_relabelled_server_is_told_as_such_and_not_as_gone() -> None:
    setting = Setting().with_servers(worker=2)
    setting.cloud.named("prod-worker-1").labels["scaler-stack"] = "other"
    result = setting.ensure(1)
    told = "prod-worker-1 (1) exists but carries another owner's labels; it was left alone and is still paid for"
    assert result.drift == (told,)
    assert [(report.step.action, report.step.reason) for report in result.steps] == [
        ("forget", "it carries another owner's labels")
    ]
    assert "1" in setting.cloud.boxes


def test_by_billing_the_server_goes_whose_paid_hour_ends_first() -> None:
    setting = Setting(spec(group(scale_down="billing"))).with_servers(worker=0)
    for number, age_s in ((1, 3000), (2, 3500), (3, 600), (4, 3700)):
        setting.cloud.add(f"prod-worker-{number}", setting.label(), age_s=age_s)
    assert setting.ensure(4).outcome is Outcome.CONVERGED
    result = setting.ensure(2)
    assert setting.ready == ["prod-worker-3", "prod-worker-4"]
    assert {report.step.reason for report in result.steps} == {"worker wants 2, has 4: its paid hour ends first"}
    assert setting.clock.now() > START
