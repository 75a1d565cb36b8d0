"""Drains outlast runs: what each run does with them, and what it leaves to the next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from scaler.clouds import AmbiguousError, BusyError, GoneError, InvalidError, TransientError
from scaler.converge.demand import Demand, Options
from scaler.converge.ensure import ensure
from scaler.errors import LockedError
from scaler.hooks.drains import DrainProcesses
from scaler.hooks.lasting import LastingCommands
from scaler.model import DrainFinding, DrainStage, Outcome, Server, StepResult, StopPolicy
from scaler.model.lifecycle import Status
from tests.support.fakes import Killed, Setting, group, spec, taken
from tests.support.processes import script, wait_until

HOUR = timedelta(hours=1)
DRAINS = StopPolicy(drain=("./drain.sh", "{name}"), drain_within=2 * HOUR)
AT_ONCE = Options(wait=False)


def stack_of(count: int, policy: StopPolicy = DRAINS, *, takes_s: float = 600, limit: int | None = None) -> Setting:
    setting = Setting(spec(group(count=count, stop=policy), limit=limit)).with_servers(worker=count)
    setting.drains.takes_s = takes_s
    return setting


def record(setting: Setting, number: int) -> Server:
    return setting.records.servers[f"prod-worker-{number}"]


def stage(setting: Setting, number: int) -> DrainStage | None:
    drain = record(setting, number).drain
    return drain.stage if drain else None


@pytest.mark.acceptance("T09")
def test_a_run_that_does_not_wait_leaves_the_drain_to_the_next_ones() -> None:
    setting = stack_of(3)
    assert setting.ensure(2, options=AT_ONCE).outcome is Outcome.UNCONFIRMED
    assert (stage(setting, 3), record(setting, 3).status) == (DrainStage.DRAINING, Status.STOPPING)
    assert setting.stack.saved.outputs["prod-worker-3"].drain is not None, "other machines see it"
    setting.stack.processes = 0
    for _ in range(3):
        setting.clock.sleep(60)
        assert setting.ensure(2, options=AT_ONCE).outcome is Outcome.UNCONFIRMED
    assert (setting.stack.processes, setting.drains.starts) == (0, ["prod-worker-3"])
    setting.clock.sleep(600)
    assert taken(setting.ensure(2)) == [("delete", "prod-worker-3")]
    assert setting.ready == setting.owned == ["prod-worker-1", "prod-worker-2"]
    assert setting.is_in_order()


def test_a_run_waits_with_its_lock_released_and_with_few_looks() -> None:
    setting = stack_of(50, takes_s=3600)
    held = []

    @contextmanager
    def unlocked() -> Iterator[None]:
        begun = setting.clock.monotonic()
        yield
        held.append(setting.clock.monotonic() - begun)

    before = setting.clock.monotonic()
    ports = replace(setting.around, unlocked=unlocked)
    result = ensure(setting.spec, Demand({"worker": 0}), Options(timeout=2 * HOUR), ports)
    assert (result.outcome, setting.owned) == (Outcome.CONVERGED, [])
    assert len([call for call in setting.cloud.calls if call[0] == "list"]) <= 120
    assert setting.progress.phases.count("waiting for draining servers") <= 2, "it says so once, not at each look"
    assert sum(held) >= 3599 and setting.clock.monotonic() - before - sum(held) < 60


def test_a_run_waits_no_longer_than_its_time_and_the_drain_goes_on() -> None:
    setting = stack_of(2)
    before = setting.clock.monotonic()
    result = setting.ensure(1, options=Options(timeout=timedelta(seconds=30)))
    assert result.outcome is Outcome.UNCONFIRMED
    assert setting.clock.monotonic() - before < 40
    assert (stage(setting, 2), len(setting.drains.started)) == (DrainStage.DRAINING, 1)
    assert setting.ensure(1).outcome is Outcome.CONVERGED
    assert setting.drains.starts == ["prod-worker-2"]


@pytest.mark.acceptance("T09")
def test_without_resume_a_new_server_is_made_at_once_while_the_old_one_drains() -> None:
    setting = stack_of(2)
    setting.ensure(1, options=AT_ONCE)
    result = setting.ensure(2, options=AT_ONCE)
    assert taken(result) == [("create", "prod-worker-3")]
    assert setting.drains.starts == ["prod-worker-2"]
    assert setting.ensure(2).outcome is Outcome.CONVERGED
    assert setting.ready == ["prod-worker-1", "prod-worker-3"]


@pytest.mark.acceptance("T10")
def test_with_resume_the_server_that_began_to_drain_last_is_taken_back() -> None:
    setting = stack_of(3, replace(DRAINS, resume=("./resume.sh", "{name}")))
    setting.ensure(2, options=AT_ONCE)
    setting.clock.sleep(5)
    setting.ensure(1, options=AT_ONCE)
    setting.cloud.calls.clear()
    result = setting.ensure(2, options=Options(apply=False))
    assert [(str(one.step.action), one.step.server) for one in result.steps] == [("resume", "prod-worker-2")]
    result = setting.ensure(2, options=AT_ONCE)
    assert taken(result) == [("resume", "prod-worker-2")]
    assert (setting.drains.resumed, setting.cloud.changes()) == (["prod-worker-2"], [])
    assert (record(setting, 2).status, record(setting, 2).drain) == (Status.RUNNING, None)
    assert "server.resumed" in [event.event for event in setting.records.events]
    assert setting.ensure(2).outcome is Outcome.CONVERGED
    assert setting.ready == ["prod-worker-1", "prod-worker-2"]


@pytest.mark.acceptance("T10")
def test_one_that_is_slow_to_be_taken_back_is_in_service_when_a_later_tick_sees_it() -> None:
    setting = stack_of(2, replace(DRAINS, resume=("./resume.sh", "{name}")))
    setting.ensure(1, options=AT_ONCE)
    setting.drains.resumes_slowly = 2
    for _ in range(2):
        result = setting.ensure(2, options=AT_ONCE)
        assert (result.outcome, taken(result)) == (Outcome.UNCONFIRMED, [("resume", "prod-worker-2")])
        assert record(setting, 2).status is Status.STOPPING
    assert setting.ensure(2, options=AT_ONCE).outcome is Outcome.CONVERGED
    assert (record(setting, 2).status, record(setting, 2).drain) == (Status.RUNNING, None)
    assert (setting.cloud.changes(), setting.drains.starts) == ([], ["prod-worker-2"])


@pytest.mark.acceptance("T10")
def test_a_command_that_outlasts_a_tick_takes_a_server_back_once(tmp_path: Path) -> None:
    log = 'echo "$0" | sed "s/.*[/]//" >> log'
    waits = f"{log}; while [ ! -e over ]; do sleep 0.05; done"
    programs = {name: (script(tmp_path, name, text),) for name, text in (("begin", log), ("back", waits))}
    drained = (script(tmp_path, "drained", f"{log}; exit 1"),)
    setting = stack_of(2, replace(DRAINS, drain=programs["begin"], drained=drained, resume=programs["back"]))
    commands = LastingCommands(share_s=0.5)

    def tick(count: int) -> Outcome:
        drains = DrainProcesses(tmp_path / "drains", tmp_path, setting.clock, commands=commands)
        setting.drains = drains  # type: ignore[assignment]
        setting.clock.sleep(10)
        return setting.ensure(count, options=AT_ONCE).outcome

    def done(name: str) -> int:
        return (tmp_path / "log").read_text().split().count(name)

    wait_until(lambda: tick(1) is Outcome.UNCONFIRMED and done("drained"), "the drain has begun")
    for _ in range(3):
        assert tick(2) is Outcome.UNCONFIRMED
    asked = done("drained")
    (tmp_path / "over").touch()
    wait_until(lambda: not commands.is_busy(record(setting, 2).id or ""), "its end")
    assert tick(2) is Outcome.CONVERGED
    assert (record(setting, 2).status, record(setting, 2).drain) == (Status.RUNNING, None)
    assert (done("begin"), done("back"), done("drained")) == (1, 1, asked)


def test_one_that_is_not_wanted_after_all_drains_anew() -> None:
    policy = replace(DRAINS, drained=("./drained.sh",), resume=("./resume.sh",))
    setting = stack_of(2, policy)
    setting.ensure(1, options=AT_ONCE)
    setting.drains.resumes_slowly = 1
    setting.ensure(2, options=AT_ONCE)
    setting.ensure(1, options=AT_ONCE)
    assert setting.drains.starts == ["prod-worker-2"] * 2
    assert setting.ensure(1).outcome is Outcome.CONVERGED
    assert setting.ready == ["prod-worker-1"]


def test_one_that_cannot_be_taken_back_drains_on_and_a_new_one_is_created() -> None:
    setting = stack_of(2, replace(DRAINS, resume=("./resume.sh", "{name}")))
    setting.drains.refuses_resume = "ended with 1"
    setting.ensure(1, options=AT_ONCE)
    assert setting.ensure(2).outcome is Outcome.CONVERGED
    assert setting.ready == ["prod-worker-1", "prod-worker-3"]


def test_a_run_that_does_not_wait_tries_once_to_take_one_back_and_the_next_creates() -> None:
    setting = stack_of(2, replace(DRAINS, resume=("./resume.sh", "{name}")))
    setting.drains.refuses_resume = "ended with 1"
    setting.ensure(1, options=AT_ONCE)
    for _ in range(3):
        setting.ensure(2, options=AT_ONCE)
    assert setting.drains.resumed == ["prod-worker-2"]
    assert setting.ensure(2).outcome is Outcome.CONVERGED
    assert setting.ready == ["prod-worker-1", "prod-worker-3"]


def test_one_whose_command_to_work_again_failed_is_told_to_stop_again() -> None:
    policy = replace(DRAINS, resume=("./resume.sh", "{name}"), drained=("./drained.sh", "{name}"))
    setting = stack_of(2, policy)
    setting.ensure(1, options=AT_ONCE)
    setting.drains.refuses_resume = "ended with 3"
    setting.ensure(2, options=AT_ONCE)
    drain = record(setting, 2).drain
    assert drain
    assert (drain.asked, drain.for_good) == (False, True)


def test_one_that_was_named_to_be_removed_is_never_taken_back() -> None:
    setting = stack_of(2, replace(DRAINS, resume=("./resume.sh", "{name}")))
    setting.run(Demand(remove=frozenset({"prod-worker-1"})), AT_ONCE)
    setting.ensure(2)
    assert (setting.drains.resumed, setting.ready) == ([], ["prod-worker-2", "prod-worker-3"])


def test_what_there_is_no_room_for_waits_for_the_drain_and_is_no_refusal() -> None:
    setting = stack_of(2, limit=2)
    setting.ensure(1, options=AT_ONCE)
    result = setting.ensure(2, options=AT_ONCE)
    assert (result.outcome, taken(result)) == (Outcome.UNCONFIRMED, [])
    assert setting.ensure(2).outcome is Outcome.CONVERGED
    assert len(setting.ready) == len(setting.owned) == 2


def test_a_drain_of_another_machine_is_waited_for_until_its_deadline() -> None:
    setting = stack_of(2)
    setting.ensure(1, options=AT_ONCE)
    setting.records.lose()
    setting.drains.announced, setting.drains.started = {}, {}
    result = setting.ensure(1, options=Options(timeout=HOUR))
    assert (result.outcome, setting.owned) == (Outcome.UNCONFIRMED, ["prod-worker-1", "prod-worker-2"])
    setting.clock.sleep(HOUR.total_seconds())
    assert setting.ensure(1).outcome is Outcome.CONVERGED
    assert (setting.owned, setting.drains.starts) == (["prod-worker-1"], ["prod-worker-2"])


def test_after_a_restart_of_the_machine_the_drain_is_repeated_in_the_time_that_is_left() -> None:
    setting = stack_of(2)
    setting.ensure(1, options=AT_ONCE)
    until = record(setting, 2).drain.until  # type: ignore[union-attr]
    setting.drains.started = {}
    setting.ensure(1, options=AT_ONCE)
    assert setting.drains.starts == ["prod-worker-2"] * 2
    assert record(setting, 2).drain.until == until  # type: ignore[union-attr]


def test_a_run_that_another_one_superseded_ends_and_changes_nothing_more() -> None:
    setting = stack_of(3)

    @contextmanager
    def unlocked() -> Iterator[None]:
        yield
        setting.ensure(3, options=AT_ONCE)

    ports = replace(setting.around, unlocked=unlocked)
    result = ensure(setting.spec, Demand({"worker": 2}), Options(), ports)
    assert result.outcome is Outcome.UNCONFIRMED
    assert setting.records.counts == {"worker": 3}
    assert setting.ensure(3).outcome is Outcome.CONVERGED
    assert len(setting.ready) == 3


def test_a_lock_that_another_run_keeps_ends_the_waiting() -> None:
    setting = stack_of(2)

    @contextmanager
    def unlocked() -> Iterator[None]:
        yield
        raise LockedError("The stack prod is locked by another run on this machine.")

    result = ensure(setting.spec, Demand({"worker": 1}), Options(), replace(setting.around, unlocked=unlocked))
    assert (result.outcome, result.failures) == (Outcome.UNCONFIRMED, ())


@pytest.mark.parametrize("policy", [DRAINS, replace(DRAINS, shutdown_within=timedelta(minutes=1))])
@pytest.mark.parametrize("options", [Options(), AT_ONCE], ids=["waits", "does not wait"])
def test_a_kill_at_any_moment_of_a_drain_leaves_what_the_next_run_ends(policy: StopPolicy, options: Any) -> None:
    moments = 0
    while True:
        setting = stack_of(3, policy, takes_s=20)
        setting.fuse.left = moments
        try:
            setting.ensure(1, options=options)
            setting.clock.sleep(30)
            setting.ensure(1, options=options)
        except Killed:
            moments += 1
        else:
            break
        finally:
            setting.fuse.left = None
        result = setting.ensure(1)
        assert (result.outcome, setting.ready, setting.owned) == (
            Outcome.UNCHANGED if result.outcome is Outcome.UNCHANGED else Outcome.CONVERGED,
            ["prod-worker-1"],
            ["prod-worker-1"],
        ), moments
        assert setting.is_in_order()
        assert (setting.drains.announced, setting.drains.started) == ({}, {}), "no drain is left"
        assert not [one for one in setting.records.servers.values() if one.status is Status.STOPPING]
    assert moments > 5


def test_no_other_server_goes_in_place_of_one_whose_drain_failed() -> None:
    setting = stack_of(3, replace(DRAINS, on_drain_failure="keep"), takes_s=1)
    found = setting.drains.find

    def find(server: Server, policy: StopPolicy) -> DrainFinding:
        setting.drains.fails = "ended with 7" if server.name == "prod-worker-3" else None
        return found(server, policy)

    setting.drains.find = find  # type: ignore[method-assign]
    result = setting.ensure(1)
    assert (result.outcome, setting.ready) == (Outcome.FAILED, ["prod-worker-1", "prod-worker-3"])
    assert {one.step.server: one.result for one in result.steps} == {
        "prod-worker-2": StepResult.DONE,
        "prod-worker-3": StepResult.FAILED,
    }


@pytest.mark.parametrize(
    ("errors", "requests"),
    [
        ([], ["shutdown", "delete"]),
        ([TransientError("502"), BusyError("locked")], ["shutdown", "shutdown", "shutdown", "delete"]),
        ([AmbiguousError("no answer")], ["shutdown", "power_off", "delete"]),
        ([InvalidError("not for this one")], ["shutdown", "power_off", "delete"]),
        ([GoneError("not found")], ["shutdown", "delete"]),
    ],
    ids=["accepted", "passing", "no answer", "refused", "gone"],
)
def test_what_the_cloud_answers_to_a_shutdown(errors: list[Exception], requests: list[str]) -> None:
    setting = stack_of(2, StopPolicy(shutdown_within=timedelta(minutes=1)))
    setting.cloud.faults = {"shutdown": list(errors)}
    assert setting.ensure(1).outcome is Outcome.CONVERGED
    assert [name for name, _ in setting.cloud.changes()] == requests
    assert setting.ready == setting.owned == ["prod-worker-1"]


@pytest.mark.parametrize("options", [Options(), AT_ONCE], ids=["waits", "does not wait"])
def test_a_failed_drain_that_a_later_run_finds_keeps_the_server_and_is_no_refusal(options: Options) -> None:
    setting = stack_of(2, replace(DRAINS, on_drain_failure="keep"), takes_s=5)
    setting.drains.fails = "ended with 7: 3 jobs left"
    setting.ensure(1, options=AT_ONCE)
    setting.clock.sleep(10)
    result = setting.ensure(1, options=options)
    assert (result.outcome, [str(failure) for failure in result.failures]) == (
        Outcome.FAILED,
        ["prod-worker-2 was kept, because its drain failed. (the drain command ended with 7: 3 jobs left)"],
    )
    assert (setting.ready, record(setting, 2).drain) == (["prod-worker-1", "prod-worker-2"], None)
    assert setting.is_in_order()


def test_a_kill_after_a_failed_drain_was_found_loses_no_result() -> None:
    moments = 0
    while True:
        setting = stack_of(2, replace(DRAINS, on_drain_failure="keep"), takes_s=5)
        setting.drains.fails = "ended with 7"
        setting.ensure(1, options=AT_ONCE)
        setting.clock.sleep(10)
        setting.fuse.left = moments
        try:
            setting.ensure(1, options=AT_ONCE)
        except Killed:
            moments += 1
        else:
            break
        finally:
            setting.fuse.left = None
        # Found again, or kept already; nobody waits for its deadline.
        setting.ensure(2)
        assert (setting.ready, record(setting, 2).drain) == (["prod-worker-1", "prod-worker-2"], None), moments
    assert moments > 2


def test_a_server_that_drains_already_is_not_replaced_once_more() -> None:
    setting = stack_of(2)
    setting.run(Demand(renew=frozenset({"prod-worker-2"})), Options(timeout=timedelta(minutes=1)))
    assert stage(setting, 2) is DrainStage.DRAINING
    assert setting.run(Demand(renew=frozenset({"prod-worker-2"}))).outcome is Outcome.CONVERGED
    assert setting.ready == setting.owned == ["prod-worker-1", "prod-worker-3"]
