"""What a preview says of a whole roll, held against what the roll then does."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from scaler.converge.demand import Demand, Options, Reviewed, RollOrder, order_by_itself
from scaler.converge.operate import refresh
from scaler.errors import LimitError, StalePlanError
from scaler.model import Machine, Outcome
from scaler.model.events import EventName
from scaler.model.lifecycle import Phase
from scaler.model.roll import Pace
from scaler.model.schedule import RollSchedule, sizes_of_waves
from scaler.planning.prices import Priced, price_of
from tests.converge.test_rolling import FAST, Fleet


def preview(fleet: Fleet, pace: Pace, **order: object) -> RollSchedule:
    asked = RollOrder(paces={"worker": pace}, **order)  # type: ignore[arg-type]
    result = fleet.setting.run(Demand(as_wanted=True), Options(roll=asked, apply=False))
    (schedule,) = result.schedules
    return schedule


def told(fleet: Fleet) -> list[str]:
    return [event.reason or "" for event in fleet.setting.records.events if event.event == EventName.ROLL_WAVE]


@pytest.mark.acceptance("T15")
@pytest.mark.parametrize(
    ("count", "limit", "pace"),
    [
        (20, None, replace(FAST, surge=3)),
        (7, None, replace(FAST, surge=2, unavailable=1, canary=0)),
        (6, 7, replace(FAST, surge=3)),
        (6, 6, replace(FAST, surge=3, unavailable=2)),
        (1, None, replace(FAST, surge=3, canary=0)),
    ],
    ids=["surge", "surge and unavailable", "limit below the surge", "limit without a surge", "one server"],
)
def test_a_roll_has_the_waves_that_its_preview_shows(count: int, limit: int | None, pace: Pace) -> None:
    fleet = Fleet(count, limit=limit)
    shown = preview(fleet, pace)
    assert fleet.images == {"100": count}
    fleet.ready.clear()
    fleet.there.clear()
    assert fleet.roll(pace).outcome is Outcome.CONVERGED
    waves = [f"worker: wave {number}: {wave.size} to replace" for number, wave in enumerate(shown.waves, start=1)]
    assert told(fleet) == waves
    assert (shown.outdated, shown.most) == (count, max(fleet.there))
    assert shown.fewest <= min(fleet.ready)
    assert bool(shown.limited) == (limit is not None)


@pytest.mark.acceptance("T15")
@pytest.mark.parametrize("pace", [FAST, replace(FAST, surge=2, unavailable=2, canary=0)], ids=["surge", "unavailable"])
def test_no_list_that_the_cloud_is_asked_for_has_too_many_servers_or_too_few_running(pace: Pace) -> None:
    fleet, there, running = Fleet(20), list[int](), list[int]()

    def note(answer: list[Machine]) -> None:
        there.append(len(answer))
        running.append(sum(machine.phase is Phase.RUNNING for machine in answer))

    fleet.setting.cloud.on_list = note
    assert fleet.roll(pace).outcome is Outcome.CONVERGED
    assert fleet.images == {"200": 20}
    assert len(there) > 2 * fleet.record.waves, "each wave was looked at"
    assert max(there) == 20 + pace.surge
    assert min(running) >= 20 - pace.unavailable


@pytest.mark.acceptance("T15")
def test_a_roll_takes_about_as_long_as_its_preview_says() -> None:
    fleet = Fleet(20)
    fleet.setting.records.boots = {"worker": [timedelta(seconds=fleet.setting.cloud.boot_s)] * 3}
    shown = preview(fleet, replace(FAST, canary=0))
    begun = fleet.setting.clock.passed
    fleet.roll(replace(FAST, canary=0))
    took = timedelta(seconds=fleet.setting.clock.passed - begun)
    assert shown.takes is not None
    # Observations are some seconds apart, and a deletion takes its time.
    assert shown.takes <= took <= 1.5 * shown.takes


def test_a_reviewed_roll_is_carried_out_to_its_last_wave_or_not_at_all() -> None:
    fleet, order = Fleet(6), RollOrder(paces={"worker": replace(FAST, surge=2)})
    shown = fleet.setting.run(Demand(as_wanted=True), Options(roll=order, apply=False))
    steps = tuple(report.step for report in shown.steps)
    made_for = Reviewed(steps, shown.seen, shown.stack_id, sizes_of_waves(shown.schedules))
    options = Options(roll=order, reviewed=made_for)
    spec = fleet.setting.spec
    fleet.setting.spec = replace(spec, limit=7)
    with pytest.raises(StalePlanError, match="the roll would have other waves") as stale:
        fleet.setting.run(Demand(as_wanted=True), options)
    assert stale.value.why == "worker: 1/2/2/1 then, 1/1/1/1/1/1 now"
    assert fleet.images == {"100": 6}
    fleet.setting.spec = spec
    assert fleet.setting.run(Demand(as_wanted=True), options).outcome is Outcome.CONVERGED
    assert fleet.images == {"200": 6}


def test_what_is_left_of_a_roll_is_shown_when_it_goes_on() -> None:
    fleet = Fleet(6)
    fleet.roll(replace(FAST, canary=0, surge=2))
    fleet.setting.cloud.snapshots.append("300")
    fleet.setting.fuse.left = 60
    with pytest.raises(BaseException):  # noqa: B017 - it is killed
        fleet.roll(replace(FAST, surge=2))
    fleet.setting.fuse.left = None
    before = fleet.record.waves
    shown = preview(fleet, replace(FAST, surge=2))
    has_open = bool(fleet.record.size)
    fleet.roll(replace(FAST, surge=2))
    assert fleet.images == {"300": 6}
    assert len(shown.waves) == fleet.record.waves - before + has_open


def test_what_a_roll_costs_is_in_its_preview() -> None:
    fleet = Fleet(3)
    fleet.setting.records.boots = {"worker": [timedelta(minutes=1)]}
    fleet.setting.cloud.months["cpx22"] = Decimal(8)
    catalogue = fleet.setting.cloud.catalogue()
    worker = replace(fleet.setting.spec.groups["worker"], types=("cpx22",))
    fleet.setting.spec = replace(fleet.setting.spec, groups={"worker": worker})
    cost = preview(fleet, replace(FAST, surge=3, canary=0)).cost
    assert cost is not None
    old, new = (price_of(catalogue, Priced(kind, "fsn1", ipv4=True)) for kind in ("cx23", "cpx22"))
    assert old is not None
    assert new is not None
    month = [float(3 * (each.per_month or 0)) for each in (old, new)]
    assert month[0] < month[1]
    assert [cost.per_month_before, cost.per_month_after] == pytest.approx(month)
    hour = float(new.per_hour)
    assert cost.extra is not None
    # At Hetzner a started hour is paid.
    assert 3 * hour < cost.extra < 6 * hour


def with_kept_prices(fleet: Fleet) -> None:
    """Make the cloud one where servers keep the price at which they were ordered."""
    cloud = fleet.setting.cloud
    listed = cloud.catalogue
    cloud.catalogue = lambda: replace(listed(), keeps_prices=True)  # type: ignore[method-assign]


@pytest.mark.acceptance("T15")
@pytest.mark.parametrize("keeps", [True, False])
def test_a_higher_price_for_the_same_type_is_named_where_servers_keep_theirs(keeps: bool) -> None:
    fleet = Fleet(3)
    if keeps:
        with_kept_prices(fleet)
    refresh(fleet.setting.spec, fleet.setting.around)
    fleet.setting.cloud.months["cx23"] = Decimal(6)
    # A run that reads the prices for a new server changes none of a server that is there.
    fleet.setting.cloud.snapshots.pop()
    fleet.setting.ensure(4)
    assert [int(server.price.per_month or 0) for server in priced(fleet)] == ([5, 5, 5, 6] if keeps else [6] * 4)
    fleet.setting.cloud.snapshots.append("200")
    cost = preview(fleet, FAST).cost
    assert cost is not None
    assert (cost.per_month_before, cost.per_month_after) == (21 if keeps else 24, 24)
    found = [(each.servers, each.type, each.per_month_before, each.per_month_after) for each in cost.repriced]
    assert found == ([(3, "cx23", 5, 6)] if keeps else [])
    assert fleet.roll().outcome is Outcome.CONVERGED
    assert [int(server.price.per_month or 0) for server in priced(fleet)] == [6] * 4


def priced(fleet: Fleet) -> list[Any]:
    """The records of the servers that are there, by name."""
    records = fleet.setting.records.servers
    return [records[name] for name in sorted(fleet.setting.owned)]


# ---------------------------------------------------------------------------------------------
# Limits, for the whole roll before its first wave


def with_budget(fleet: Fleet, servers: Decimal | int) -> None:
    """Allow what so many servers cost a month."""
    price = price_of(fleet.setting.cloud.catalogue(), Priced("cx23", "fsn1", ipv4=True))
    assert price is not None
    fleet.setting.spec = replace(fleet.setting.spec, budget=(price.per_month or Decimal(0)) * servers)


def test_the_budget_bounds_the_surge() -> None:
    fleet = Fleet(4)
    with_budget(fleet, Decimal("5.5"))
    shown = preview(fleet, replace(FAST, surge=3))
    assert ([wave.size for wave in shown.waves], shown.most) == ([1, 1, 1, 1], 5)
    assert "the budget is" in shown.limited
    assert fleet.roll(replace(FAST, surge=3)).outcome is Outcome.CONVERGED
    assert (fleet.images, max(fleet.there)) == ({"200": 4}, 5)


def test_without_room_in_the_budget_a_roll_goes_on_only_if_servers_may_be_out_of_service() -> None:
    fleet = Fleet(4)
    with_budget(fleet, 4)
    with pytest.raises(LimitError, match="no room to roll worker"):
        fleet.roll(FAST)
    assert fleet.images == {"100": 4}
    assert fleet.roll(replace(FAST, unavailable=1)).outcome is Outcome.CONVERGED
    assert (fleet.images, max(fleet.there), min(fleet.ready)) == ({"200": 4}, 4, 3)


def test_a_type_that_the_budget_has_no_money_for_is_refused_before_the_first_wave() -> None:
    fleet = Fleet(4)
    with_budget(fleet, 6)
    worker = replace(fleet.setting.spec.groups["worker"], types=("cpx22",))
    fleet.setting.cloud.months["cpx22"] = Decimal(50)
    fleet.setting.spec = replace(fleet.setting.spec, groups={"worker": worker})
    for order in (Options(apply=False), Options()):
        asked = replace(order, roll=RollOrder(paces={"worker": replace(FAST, unavailable=1)}))
        with pytest.raises(LimitError, match="no room to roll worker") as refused:
            fleet.setting.run(Demand(as_wanted=True), asked)
        assert "when all are new the stack costs" in (refused.value.why or "")
    assert fleet.images == {"100": 4}


def test_the_accounts_quota_bounds_the_surge() -> None:
    fleet = Fleet(4)
    fleet.setting.cloud.quota, fleet.setting.cloud.tells_quota = 5, True
    shown = preview(fleet, replace(FAST, canary=0))
    assert [wave.size for wave in shown.waves] == [1, 1, 1, 1]
    assert "the account allows 5" in shown.limited
    assert fleet.roll(replace(FAST, canary=0)).outcome is Outcome.CONVERGED
    assert (fleet.images, max(fleet.there)) == ({"200": 4}, 5)


def test_a_roll_by_itself_that_has_no_room_holds_and_the_counts_are_kept() -> None:
    fleet = Fleet(3, limit=3)
    worker = replace(fleet.setting.spec.groups["worker"], image_changes="roll", roll=FAST)
    fleet.setting.spec = replace(fleet.setting.spec, groups={"worker": worker})
    order = order_by_itself(fleet.setting.spec)
    result = fleet.setting.ensure(3, options=Options(roll=order))
    assert (result.outcome, fleet.images) == (Outcome.CONVERGED, {"100": 3})
    assert fleet.setting.ensure(3, options=Options(roll=order)).outcome is Outcome.UNCHANGED
    assert fleet.record.held == "the limit is 3, with 3 wanted or there"
