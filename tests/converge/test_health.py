"""Health: who is unhealthy, who is replaced, and what each run leaves to the next."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from scaler.converge import operate
from scaler.converge.demand import Demand, Options
from scaler.errors import RefusedError
from scaler.model import Action, DrainStage, HealthPolicy, Outcome, Readiness, Server, StopPolicy
from scaler.model.lifecycle import Status
from scaler.model.ownership import carries
from tests.support.fakes import Killed, Setting, group, spec, taken

EVERY = timedelta(seconds=30)
CHECKED = HealthPolicy(check=Readiness(kind="http", url="http://{ip}/"), every=EVERY, failures=3, at_most=50)
READY = Readiness(kind="tcp", port=22)
AT_ONCE = Options(wait=False)


def stack_of(count: int, policy: HealthPolicy = CHECKED, *, limit: int | None = None, **fields: Any) -> Setting:
    made_for = spec(group(count=count, healthy=policy, **fields), limit=limit)
    return Setting(made_for).with_servers(worker=count)


def record(setting: Setting, number: int) -> Server:
    return setting.records.servers[f"prod-worker-{number}"]


def looks(setting: Setting, times: int, count: int, options: Options | None = None) -> list[Outcome]:
    """Run `ensure` so often, each time after the pause between two checks."""
    outcomes = []
    for _ in range(times):
        setting.clock.sleep(EVERY.total_seconds())
        outcomes.append(setting.ensure(count, options=options).outcome)
    return outcomes


def unhealthy(setting: Setting) -> list[str]:
    return sorted(name for name, server in setting.records.servers.items() if server.status is Status.UNHEALTHY)


def deleted(setting: Setting) -> list[str]:
    """The names that the deleted servers had: here, a machine's id is its number."""
    return [f"prod-worker-{known}" for operation, known in setting.cloud.changes() if operation == "delete"]


def created(setting: Setting) -> list[str]:
    return [name for operation, name in setting.cloud.changes() if operation == "create"]


@pytest.mark.acceptance("T11")
def test_a_server_that_fails_several_times_in_a_row_is_replaced_once_its_successor_is_ready() -> None:
    setting = stack_of(3, stop=StopPolicy(drain=("./drain.sh",)))
    setting.health.failing = {"prod-worker-2"}
    assert looks(setting, 2, 3) == [Outcome.CONVERGED] * 2
    failed = record(setting, 2).health
    assert failed is not None and (failed.failures, failed.problem) == (2, "HTTP 500")
    assert setting.stack.saved.outputs["prod-worker-2"].health is not None, "runs on other machines count on"
    setting.clock.sleep(30)
    result = setting.ensure(3)
    assert taken(result) == [("create", "prod-worker-4"), ("delete", "prod-worker-2")]
    reasons = [report.step.reason for report in result.steps]
    assert reasons == [
        "instead of prod-worker-2, unhealthy: HTTP 500 (3 checks in a row failed)",
        "unhealthy: HTTP 500 (3 checks in a row failed)",
    ]
    assert result.outcome is Outcome.CONVERGED
    assert setting.drains.starts == ["prod-worker-2"], "it was drained before it went"
    assert setting.ready == setting.owned == ["prod-worker-1", "prod-worker-3", "prod-worker-4"]
    assert looks(setting, 3, 3) == [Outcome.UNCHANGED] * 3
    assert setting.is_in_order()


def test_a_check_counts_again_only_after_the_pause_between_two() -> None:
    setting = stack_of(2)
    setting.health.failing = {"prod-worker-1"}
    for _ in range(10):
        setting.ensure(2)
    health = record(setting, 1).health
    assert health is not None and health.failures == 1


def test_a_server_that_recovers_is_running_again_and_begins_to_count_anew() -> None:
    setting = stack_of(2)
    setting.health.failing = {"prod-worker-1"}
    looks(setting, 2, 2)
    setting.health.failing = set()
    looks(setting, 1, 2)
    setting.health.failing = {"prod-worker-1"}
    looks(setting, 2, 2)
    assert (unhealthy(setting), created(setting)) == ([], [])


def test_one_that_is_held_back_and_recovers_is_running_again() -> None:
    setting = stack_of(2, limit=2)
    setting.health.failing = {"prod-worker-1"}
    assert looks(setting, 4, 2)[2:] == [Outcome.UNCONFIRMED] * 2
    assert unhealthy(setting) == ["prod-worker-1"]
    setting.health.failing = set()
    assert looks(setting, 2, 2) == [Outcome.CONVERGED, Outcome.UNCHANGED]
    assert (unhealthy(setting), setting.cloud.changes()) == ([], [])
    assert setting.is_in_order()


@pytest.mark.acceptance("T11")
def test_of_many_that_fail_at_most_the_share_goes_within_an_hour_and_the_rest_is_held() -> None:
    setting = stack_of(20, replace(CHECKED, at_most=25))
    setting.health.failing = {f"prod-worker-{number}" for number in range(1, 100)} - {"prod-worker-20"}
    looks(setting, 2, 20)
    setting.clock.sleep(30)
    result = setting.ensure(20)
    assert len(deleted(setting)) == len(created(setting)) == 5
    assert result.outcome is Outcome.UNCONFIRMED
    held = result.held["worker"]
    assert len(held.servers) == 14
    assert held.why == (
        "healthy.at_most allows 5 of 20 within an hour, since the check, the network or this machine may be wrong"
    )
    assert looks(setting, 20, 20)[-1] is Outcome.UNCONFIRMED
    assert len(deleted(setting)) == 5, "ten minutes later, too"
    assert len(setting.owned) == 20
    setting.clock.sleep(3600)
    setting.ensure(20)
    assert len(deleted(setting)) == 10, "an hour later as many again"


@pytest.mark.acceptance("T11")
def test_if_all_fail_at_once_one_goes_and_the_others_only_if_its_successor_passes() -> None:
    setting = stack_of(20)
    old = {f"prod-worker-{number}" for number in range(1, 21)}
    setting.health.failing = {*old, "prod-worker-21"}
    looks(setting, 2, 20)
    setting.clock.sleep(30)
    result = setting.ensure(20)
    assert len(deleted(setting)) == len(created(setting)) == 1
    assert result.outcome is Outcome.UNCONFIRMED
    assert result.held["worker"].why == (
        "while no server of the group passes, only 1 goes within an hour, since the check, the network or this machine"
        " may be wrong"
    )
    assert looks(setting, 10, 20) == [Outcome.UNCONFIRMED] * 10
    assert len(deleted(setting)) == 1, "its successor fails as well: the servers are not the trouble"
    # It passes: then the old ones are.
    setting.health.failing = old
    looks(setting, 2, 20)
    assert len(deleted(setting)) == 10


def test_where_none_can_be_reached_from_here_nothing_is_bought_or_deleted_however_long() -> None:
    setting = stack_of(3)
    setting.health.unreachable = {f"prod-worker-{number}" for number in (1, 2, 3)}
    assert looks(setting, 10, 3) == [Outcome.UNCONFIRMED] * 10
    assert (setting.cloud.changes(), unhealthy(setting)) == ([], [])
    result = setting.ensure(3)
    assert result.unchecked["worker"].startswith("none of its servers can be checked from here")
    # One answers: then the others are the trouble.
    setting.health.unreachable.discard("prod-worker-3")
    looks(setting, 3, 3)
    assert len(deleted(setting)) == 1, "half of three, rounded down"


def test_one_that_was_unhealthy_before_is_not_replaced_while_none_can_be_reached() -> None:
    setting = stack_of(4, limit=4)
    setting.health.failing = {"prod-worker-1"}
    looks(setting, 3, 4)
    assert unhealthy(setting) == ["prod-worker-1"]
    setting.spec = replace(setting.spec, limit=5)
    setting.health.unreachable = {f"prod-worker-{number}" for number in range(1, 5)}
    assert looks(setting, 3, 4) == [Outcome.UNCONFIRMED] * 3
    assert setting.cloud.changes() == []


def test_a_limit_without_room_for_both_holds_it_back_and_says_so() -> None:
    setting = stack_of(3, limit=3)
    setting.health.failing = {"prod-worker-2"}
    looks(setting, 3, 3)
    result = setting.ensure(3)
    assert (result.outcome, setting.cloud.changes()) == (Outcome.UNCONFIRMED, [])
    assert result.held["worker"].servers == ("prod-worker-2",)
    assert result.held["worker"].why == "there is no room for a new server beside it"


def test_a_protected_server_is_never_replaced_for_its_health() -> None:
    setting = stack_of(3, protect=frozenset({"prod-worker-1"}))
    setting.health.failing = {"prod-worker-1"}
    assert looks(setting, 4, 3)[-1] is Outcome.UNCONFIRMED
    assert setting.cloud.changes() == []
    # Nor does another one go instead of it.
    looks(setting, 1, 2)
    assert deleted(setting) == []


def test_max_change_holds() -> None:
    setting = stack_of(3)
    setting.health.failing = {"prod-worker-2"}
    looks(setting, 2, 3)
    setting.clock.sleep(30)
    with pytest.raises(RefusedError, match="--max-change is 1"):
        setting.ensure(3, options=Options(max_change=1))
    assert setting.cloud.changes() == []


@pytest.mark.acceptance("T11")
def test_runs_that_do_not_wait_take_the_old_one_away_only_when_the_new_one_is_ready() -> None:
    setting = stack_of(3, stop=StopPolicy(drain=("./drain.sh",)))
    setting.drains.takes_s = 60
    setting.health.failing = {"prod-worker-2"}
    setting.cloud.boot_s = 100
    looks(setting, 3, 3, AT_ONCE)
    assert created(setting) == ["prod-worker-4"]
    assert unhealthy(setting) == ["prod-worker-2"], "it serves on while the new one boots"
    looks(setting, 2, 3, AT_ONCE)
    assert record(setting, 2).status is Status.UNHEALTHY
    looks(setting, 2, 3, AT_ONCE)
    drain = record(setting, 2).drain
    assert drain is not None and drain.stage is DrainStage.DRAINING and drain.for_good
    looks(setting, 4, 3, AT_ONCE)
    assert setting.owned == ["prod-worker-1", "prod-worker-3", "prod-worker-4"]
    assert (created(setting), deleted(setting)) == (["prod-worker-4"], ["prod-worker-2"])


def test_if_its_successor_fails_too_the_old_one_stays() -> None:
    setting = stack_of(2, ready=READY)
    setting.health.failing = {"prod-worker-1"}
    setting.readiness.failing = {f"prod-worker-{number}" for number in range(3, 30)}
    looks(setting, 3, 2)
    assert "prod-worker-1" in setting.owned
    assert "prod-worker-1" not in deleted(setting)


def test_what_starts_drains_is_off_or_is_set_aside_is_not_checked() -> None:
    setting = stack_of(4, ready=READY)
    setting.readiness.failing = {"prod-worker-5"}
    setting.ensure(5, options=AT_ONCE)
    setting.cloud.named("prod-worker-1").off = True
    setting.health.asked.clear()
    setting.clock.sleep(30)
    operate.refresh(setting.spec, setting.around)
    assert set(setting.health.asked) == {"prod-worker-2", "prod-worker-3", "prod-worker-4"}


def test_refresh_checks_and_records_and_replaces_nothing() -> None:
    setting = stack_of(3)
    setting.health.failing = {"prod-worker-2"}
    for _ in range(4):
        setting.clock.sleep(30)
        result = operate.refresh(setting.spec, setting.around)
    assert unhealthy(setting) == ["prod-worker-2"]
    assert setting.cloud.changes() == []
    assert setting.stack.saved.outputs["prod-worker-2"].status is Status.UNHEALTHY
    setting.clock.sleep(1)
    assert taken(setting.ensure(3)) == [("create", "prod-worker-4"), ("delete", "prod-worker-2")]
    assert result.servers


def test_a_preview_shows_the_replacement_and_saves_nothing() -> None:
    setting = stack_of(3)
    setting.health.failing = {"prod-worker-2"}
    looks(setting, 2, 3)
    before = dict(setting.records.servers)
    setting.clock.sleep(30)
    shown = setting.ensure(3, options=Options(apply=False))
    assert [(report.step.action, report.step.server) for report in shown.steps] == [
        (Action.CREATE, "prod-worker-4"),
        (Action.DELETE, "prod-worker-2"),
    ]
    assert (setting.cloud.changes(), dict(setting.records.servers)) == ([], before)


def test_relative_counts_count_an_unhealthy_server() -> None:
    setting = stack_of(3, limit=4)
    setting.health.failing = {"prod-worker-2"}
    looks(setting, 3, 3)
    setting.run(Demand(by={"worker": 1}))
    assert setting.records.counts == {"worker": 4}


def test_a_reboot_is_a_remedy() -> None:
    setting = stack_of(2, limit=2)
    setting.health.failing = {"prod-worker-2"}
    looks(setting, 3, 2)
    setting.health.failing = set()
    operate.reboot(setting.spec, setting.around, names=["prod-worker-2"])
    assert (record(setting, 2).status, record(setting, 2).health) == (Status.RUNNING, None)


@pytest.mark.parametrize("runs_before_kill", range(14))
def test_a_run_killed_anywhere_in_a_replacement_is_gone_on_with(runs_before_kill: int) -> None:
    setting = stack_of(3, stop=StopPolicy(drain=("./drain.sh",)))
    setting.health.failing = {"prod-worker-2"}
    looks(setting, 2, 3)
    setting.clock.sleep(30)
    setting.fuse.left = runs_before_kill
    with suppress(Killed):
        setting.ensure(3)
    setting.fuse.left = None
    looks(setting, 3, 3)
    assert len(setting.ready) == len(setting.owned) == 3
    assert "prod-worker-2" not in setting.owned
    assert deleted(setting) == ["prod-worker-2"], "nobody else was removed"
    assert len(created(setting)) == 1
    assert setting.is_in_order()


@pytest.mark.acceptance("T11", "T12")
def test_a_check_that_is_wrong_about_all_leaves_the_rest_in_service() -> None:
    label = ("lb", "web")
    setting = stack_of(20, replace(CHECKED, at_most=25), in_service=label)
    setting.ensure(20)

    def in_service() -> int:
        return sum(carries(box.labels, label) for box in setting.cloud.boxes.values())

    assert in_service() == 20
    setting.health.failing = {f"prod-worker-{number}" for number in range(1, 100)}
    for _ in range(20):
        looks(setting, 1, 20)
        assert in_service() >= 19
    assert len(deleted(setting)) == 1
    setting.health.failing = set()
    looks(setting, 1, 20)
    assert in_service() == 20


def test_one_that_is_unhealthy_is_out_of_service_at_once_and_back_when_it_recovers() -> None:
    label = ("lb", "web")
    setting = stack_of(3, limit=3, in_service=label)
    setting.ensure(3)
    setting.health.failing = {"prod-worker-2"}
    looks(setting, 3, 3)
    assert not carries(setting.cloud.named("prod-worker-2").labels, label)
    setting.health.failing = set()
    looks(setting, 1, 3)
    assert carries(setting.cloud.named("prod-worker-2").labels, label)
