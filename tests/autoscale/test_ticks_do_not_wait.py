"""A tick waits for nothing: what takes time is remembered, and a later tick decides. Only waiting moves the clock."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from threading import Event

import pytest

from scaler.errors import UnrecognisedError
from scaler.hooks.readiness import ReadinessChecker
from scaler.model import Outcome, Readiness, Server, StopPolicy
from scaler.model.lifecycle import Status
from tests.autoscale.live import Live

FOR_EVER = 1e9


@pytest.fixture
def live(tmp_path: Path) -> Live:
    made = Live(tmp_path)
    made.tick(jobs=50)
    made.wait(timedelta(minutes=2))
    made.tick(jobs=50)
    assert len(made.ready) == 5
    made.wait(timedelta(minutes=10))
    made.cloud.calls.clear()
    return made


def tick(live: Live, jobs: float) -> list[tuple[str, str]]:
    """Tick, and return what was asked of the cloud; no time passes meanwhile."""
    begun = live.clock.passed
    live.cloud.calls.clear()
    live.tick(jobs=jobs)
    assert live.clock.passed == begun, "the tick waited"
    return list(live.cloud.calls)


def deny(live: Live, *numbers: int, seconds: float = FOR_EVER) -> list[str]:
    ids = [live.cloud.named(f"prod-worker-{number}").id for number in numbers]
    live.cloud.denied |= dict.fromkeys(ids, live.clock.passed + seconds)
    return ids


def missing(live: Live) -> set[str]:
    return {name for name, server in live.records.servers.items() if server.missing_since}


@pytest.mark.acceptance("R06")
def test_a_missing_server_is_replaced_by_the_tick_that_has_the_proof(live: Live) -> None:
    lost = live.cloud.named("prod-worker-3").id
    live.cloud.remove("prod-worker-3")
    processes = live.stack.processes
    assert tick(live, 50) == [("list", ""), ("get", lost)]
    assert missing(live) == {"prod-worker-3"}
    live.wait(timedelta(seconds=5))
    assert tick(live, 50) == [("list", ""), ("get", lost)]
    assert live.stack.processes == processes, "nothing is recorded in the stack of what is not decided"
    live.wait(timedelta(seconds=5))
    assert [call for call in tick(live, 50) if call[0] == "create"] == [("create", "prod-worker-3")]
    live.wait(timedelta(minutes=1))
    tick(live, 50)
    assert len(live.ready) == len(live.owned) == 5
    assert missing(live) == set()
    assert live.is_in_order()


def test_one_that_is_seen_again_was_never_gone(live: Live) -> None:
    deny(live, 3, seconds=8)
    tick(live, 50)
    live.wait(timedelta(seconds=30))
    assert tick(live, 50) == [("list", "")]
    assert (missing(live), live.created) == (set(), 0)
    # It is missing anew: what was denied before does not count.
    deny(live, 3, seconds=8)
    tick(live, 50)
    assert (missing(live), live.created) == ({"prod-worker-3"}, 0)


@pytest.mark.acceptance("T04")
def test_most_servers_missing_at_once_are_no_loss_for_half_a_minute_and_then_a_refusal(live: Live) -> None:
    deny(live, 1, 2, 3, 4)
    tick(live, 50)
    live.wait(timedelta(seconds=20))
    tick(live, 50)
    live.wait(timedelta(seconds=10))
    with pytest.raises(UnrecognisedError):
        tick(live, 50)
    assert live.created == 0
    live.cloud.denied.clear()
    tick(live, 50)
    assert len(live.ready) == 5


def test_what_the_load_needs_more_is_made_meanwhile_and_nothing_is_removed(live: Live) -> None:
    deny(live, 3)
    tick(live, 70)
    assert live.created == 2
    live.wait(timedelta(seconds=1))
    for _ in range(3):
        tick(live, 10)
        live.wait(timedelta(seconds=1))
    assert not [call for call in live.cloud.calls if call[0] in ("delete", "shutdown")]
    live.wait(timedelta(minutes=30))
    tick(live, 70)
    live.wait(timedelta(minutes=2))
    tick(live, 70)
    assert len(live.ready) >= 7


def test_a_server_that_was_kept_because_its_drain_failed_is_not_drained_by_every_tick(tmp_path: Path) -> None:
    keeping = StopPolicy(drain=("./drain.sh", "{name}"), on_drain_failure="keep")
    live = Live(tmp_path, stop=keeping, in_service=("lb", "web"))
    live.drains.fails = "ended with 7: 2 jobs left"
    for _ in range(3):
        live.tick(jobs=50)
        live.wait(timedelta(minutes=10))
    live.tick(jobs=40)
    live.wait(timedelta(minutes=1))
    failed = live.tick(jobs=40)
    assert failed.result and failed.result.outcome is Outcome.FAILED
    (kept,) = live.drains.starts
    live.progress.warnings.clear()
    live.cloud.calls.clear()
    for _ in range(5):
        live.wait(timedelta(minutes=1))
        assert live.tick(jobs=40).result is None, "there is nothing to do"
    assert (live.drains.starts, live.cloud.changes(), live.progress.warnings) == ([kept], [], [])
    record = live.records.servers[kept]
    assert (record.drain_failed, record.in_service) == ("the drain command ended with 7: 2 jobs left", True)
    assert len(live.ready) == 5

    # A person's order tries again.
    assert live.ensure(4).outcome is Outcome.FAILED
    assert live.drains.starts == [kept, kept]
    live.drains.fails = None
    assert live.ensure(4).outcome is Outcome.CONVERGED
    assert kept not in live.owned


@pytest.fixture
def checked(tmp_path: Path) -> Live:
    return Live(tmp_path, ready=Readiness(kind="function", successes=2))


def test_a_readiness_check_that_hangs_holds_no_request_up(checked: Live, tmp_path: Path) -> None:
    answered = Event()

    def hang(how: Readiness, server: Server) -> str | None:
        answered.wait(60)
        return None

    try:
        checked.readiness = ReadinessChecker(checked.clock, tmp_path, {"function": hang})  # type: ignore[assignment]
        checked.tick(jobs=20)
        checked.wait(timedelta(minutes=1))
        begun = checked.clock.passed
        checked.tick(jobs=20)
        assert checked.clock.passed - begun <= 8, "it waits for one check, where there is nothing else to do"
        checked.cloud.calls.clear()
        begun = checked.clock.passed
        checked.tick(jobs=50)
        assert [name for name, _ in checked.cloud.calls].count("create") == 3
        assert checked.clock.passed == begun, "the load is answered first"
        assert {server.status for server in checked.records.servers.values()} == {Status.STARTING}
    finally:
        answered.set()


def test_a_boot_that_hangs_is_not_waited_for(checked: Live) -> None:
    checked.cloud.hang = 2
    checked.tick(jobs=20)
    checked.wait(timedelta(minutes=1))
    assert tick(checked, 20) == [("list", "")]


def test_checks_that_go_well_are_finished_by_the_tick_that_began_them(checked: Live) -> None:
    checked.tick(jobs=20)
    checked.wait(timedelta(minutes=1))
    checked.tick(jobs=20)
    assert {server.status for server in checked.records.servers.values()} == {Status.RUNNING}
    assert checked.is_in_order(), "and recorded"
