"""Servers that are not needed stay, off, for the rest of their paid hour, and are taken back when they are."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from scaler.clouds import CloudError
from scaler.converge.demand import Demand, Options
from scaler.errors import LimitError, RefusedError
from scaler.model import Outcome, Server, StopPolicy
from scaler.model.lifecycle import Status
from scaler.output.documents import result_document
from scaler.output.render import render
from scaler.planning.prices import paid_until
from tests.support.fakes import START, Setting, group, spec, taken

KEEPING = spec(group(keep_paid=True))


def keeping(*minutes: int, **fields: Any) -> Setting:
    """A stack whose servers are this old, with the group's other fields."""
    setting = Setting(spec(group(keep_paid=True, **fields)))
    for number, age in enumerate(minutes, 1):
        setting.cloud.add(f"prod-worker-{number}", setting.label(), age_s=age * 60.0)
    return setting.with_servers(worker=len(minutes))


def pass_minutes(setting: Setting, minutes: float) -> None:
    setting.clock.sleep(minutes * 60)


# ---------------------------------------------------------------------------------------------
# The rule


def off(minutes_old: float, minutes_off: float) -> Server:
    return Server(
        name="prod-worker-1",
        group="worker",
        id="1",
        status=Status.STOPPED,
        since=START - timedelta(minutes=minutes_off),
        created=START - timedelta(minutes=minutes_old),
    )


@pytest.mark.parametrize(
    ("old", "since", "left"),
    [
        (10, 5, 45),  # until five minutes before its hour ends
        (54.5, 0, 0.5),
        (55, 0, None),
        (130, 5, 45),  # of the third hour
        (59, 20, None),
        (61, 20, None),  # its hour is over, and it is not kept for the next
        (100, 45, None),  # as is one that was powered off in the last minutes of its hour
    ],
)
def test_a_server_that_is_off_is_kept_within_the_hour_in_which_it_was_powered_off(
    old: float, since: float, left: float | None
) -> None:
    until = paid_until(KEEPING, off(old, since), START)
    assert until == (START + timedelta(minutes=left) if left else None)


def test_nothing_is_kept_that_is_not_paid_ahead_or_of_no_group_that_says_so() -> None:
    server = off(10, 5)
    assert paid_until(KEEPING, server, START)
    assert paid_until(spec(group()), server, START) is None
    assert paid_until(KEEPING, replace(server, group="old"), START) is None
    assert paid_until(KEEPING, replace(server, created=None), START) is None
    assert paid_until(replace(KEEPING, cloud="digitalocean"), server, START) is None


# ---------------------------------------------------------------------------------------------
# Runs


def test_what_is_not_needed_is_powered_off_taken_back_and_deleted_before_its_hour_is_over() -> None:
    setting = keeping(10, 20, 30)
    result = setting.ensure(1)
    assert (result.outcome, taken(result)) == (
        Outcome.CONVERGED,
        [("power_off", "prod-worker-1"), ("power_off", "prod-worker-2")],
    )
    assert (setting.ready, len(setting.owned)) == (["prod-worker-3"], 3)
    assert {name: until.minute for name, until in result.kept.items()} == {"prod-worker-1": 45, "prod-worker-2": 35}
    assert setting.is_in_order()

    pass_minutes(setting, 5)
    result = setting.ensure(2)
    assert (result.outcome, taken(result)) == (Outcome.CONVERGED, [("power_on", "prod-worker-1")])
    assert result.steps[0].step.reason == "it is off, and still paid for"
    assert setting.ready == ["prod-worker-1", "prod-worker-3"]

    pass_minutes(setting, 25)
    assert setting.ensure(2).outcome is Outcome.UNCHANGED
    pass_minutes(setting, 5)
    result = setting.ensure(2)
    assert (result.outcome, taken(result)) == (Outcome.CONVERGED, [("delete", "prod-worker-2")])
    assert setting.owned == setting.ready == ["prod-worker-1", "prod-worker-3"]
    assert not [call for call in setting.cloud.calls if call[0] == "create"]


def test_one_whose_hour_is_nearly_over_is_deleted_at_once() -> None:
    setting = keeping(56, 10)
    result = setting.ensure(0)
    assert taken(result) == [("delete", "prod-worker-1"), ("power_off", "prod-worker-2")]
    assert (result.outcome, setting.owned) == (Outcome.CONVERGED, ["prod-worker-2"])


def test_the_plan_says_what_is_kept_and_why() -> None:
    setting = keeping(10, 20)
    result = setting.ensure(1, options=Options(apply=False))
    (report,) = result.steps
    assert report.step.reason == (
        "worker wants 1, has 2: newest first; it is paid for, and can be taken back until 22:45 UTC"
    )
    assert setting.cloud.changes() == []
    text = render(result, "text")
    assert "~ prod-worker-1  power off" in text
    assert "kept: prod-worker-1, off and paid for until 22:45 UTC" in text
    assert result_document(result)["kept"] == {"prod-worker-1": "2026-11-24T22:45:00Z"}
    assert result.cost and (result.cost.per_month_before, result.cost.per_month_after) == (10, 5)


def test_one_that_was_asked_to_be_removed_goes() -> None:
    setting = keeping(10, 20)
    result = setting.run(Demand(remove=frozenset({"prod-worker-2"})))
    assert taken(result) == [("delete", "prod-worker-2")]
    assert setting.owned == ["prod-worker-1"]


def test_destroy_keeps_nothing() -> None:
    setting = keeping(10, 20, 30)
    setting.ensure(1)
    result = setting.ensure(0, options=Options(everything=True))
    assert (result.outcome, setting.owned) == (Outcome.CONVERGED, [])


def test_one_that_cannot_be_powered_off_is_deleted() -> None:
    setting = keeping(10, 20)
    setting.cloud.faults = {name: [CloudError("no", why="server_error")] for name in ("shutdown", "power_off")}
    result = setting.ensure(1)
    assert taken(result) == [("power_off", "prod-worker-1"), ("delete", "prod-worker-1")]
    assert [str(report.result) for report in result.steps] == ["failed", "done"]
    assert (result.outcome, setting.owned) == (Outcome.CONVERGED, ["prod-worker-2"])


def test_one_that_cannot_be_powered_on_again_is_replaced() -> None:
    setting = keeping(10, 20)
    setting.ensure(1)
    setting.cloud.faults["power_on"] = [CloudError("no", why="server_error")]
    result = setting.ensure(2)
    assert (result.outcome, setting.owned) == (Outcome.CONVERGED, setting.ready)
    assert len(setting.ready) == 2 and "prod-worker-1" not in setting.ready


def test_one_of_an_image_that_is_not_the_specs_any_more_is_not_kept() -> None:
    setting = keeping(10, 20)
    setting.cloud.named("prod-worker-2").image = "99"
    assert taken(setting.ensure(1)) == [("delete", "prod-worker-2")]


def test_one_whose_drain_says_keep_serves_on() -> None:
    setting = keeping(10, 20, stop=StopPolicy(drain=("/bin/false",), on_drain_failure="keep"))
    setting.drains.fails = "ended with 1"
    result = setting.ensure(1)
    assert result.outcome is Outcome.FAILED
    assert setting.ready == setting.owned == ["prod-worker-1", "prod-worker-2"]


# ---------------------------------------------------------------------------------------------
# What is only paid for is in nobody's way


def two_groups(*, limit: int | None = None, budget: Decimal | None = None) -> Setting:
    """Three workers, of which two are kept, beside an empty group."""
    made_for = spec(group("worker", keep_paid=True), group("web", count=0), limit=limit)
    setting = Setting(replace(made_for, budget=budget))
    for number in (1, 2, 3):
        setting.cloud.add(f"prod-worker-{number}", setting.label(), age_s=600)
    setting.with_servers(worker=3, web=0)
    setting.ensure(worker=1, web=0)
    assert (len(setting.ready), len(setting.owned)) == (1, 3)
    return setting


@pytest.mark.parametrize(("web", "owned"), [(1, 4), (2, 3), (3, 4)])
def test_it_makes_room_under_the_limit(web: int, owned: int) -> None:
    setting = two_groups(limit=4)
    result = setting.ensure(worker=1, web=web)
    assert (result.outcome, len(setting.ready), len(setting.owned)) == (Outcome.CONVERGED, 1 + web, owned)
    with pytest.raises(LimitError):
        setting.ensure(worker=1, web=4)


def test_it_makes_room_in_a_quota_that_can_be_read() -> None:
    setting = two_groups()
    setting.cloud.quota, setting.cloud.tells_quota = 4, True
    result = setting.ensure(worker=1, web=3)
    assert (result.outcome, len(setting.ready), len(setting.owned)) == (Outcome.CONVERGED, 4, 4)


def test_it_makes_room_in_a_quota_that_is_found_out_by_a_refusal() -> None:
    setting = two_groups()
    setting.cloud.quota = 4
    result = setting.ensure(worker=1, web=3)
    assert (result.outcome, len(setting.ready), len(setting.owned)) == (Outcome.CONVERGED, 4, 4)


def test_it_counts_in_no_budget() -> None:
    setting = two_groups(budget=Decimal(15))
    result = setting.ensure(worker=1, web=2)
    assert (result.outcome, len(setting.ready)) == (Outcome.CONVERGED, 3)
    with pytest.raises(LimitError):
        setting.ensure(worker=1, web=3, options=Options(approve=lambda plan: True))


def test_a_power_off_is_a_change_like_a_delete() -> None:
    setting = keeping(10, 20, 30)
    with pytest.raises(RefusedError, match="would change by 2 servers"):
        setting.ensure(1, options=Options(max_change=1))
    assert len(setting.ready) == 3
