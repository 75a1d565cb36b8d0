"""One look, one decision, and what follows: with the real use case on a cloud in memory and a moved clock."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from scaler.autoscale.bounds import Prices
from scaler.autoscale.decision import Decision
from scaler.autoscale.memory import Memory
from scaler.autoscale.simulate import Setting, simulate
from scaler.autoscale.trace import Trace
from scaler.clouds import Catalogue, TransientError
from scaler.converge.demand import Demand, Options
from scaler.converge.pausing import pause, resume
from scaler.errors import LimitError, RefusedError
from scaler.model import Outcome, StopPolicy
from scaler.model.autoscaling import Direction, Policy, Rule, Target, Wait
from tests.autoscale.live import JOBS, Live
from tests.autoscale.load import policy
from tests.support.fakes import passing

CALM = Direction(stabilise=timedelta(minutes=5))


@pytest.fixture
def live(tmp_path: Path) -> Live:
    return Live(tmp_path)


def test_up_with_the_load_and_down_again(live: Live) -> None:
    done = live.tick(jobs=50)
    assert done.result is not None
    assert done.result.outcome is Outcome.UNCONFIRMED
    assert len(live.owned) == 5
    assert live.ready == [], "it did not wait for them"
    live.wait(timedelta(minutes=1))
    live.tick(jobs=50)
    assert len(live.ready) == 5
    assert live.is_in_order(), "the tick that saw the last one ready recorded it"
    live.tick(jobs=15)
    live.wait(timedelta(minutes=1))
    live.tick(jobs=15)
    assert len(live.ready) == 2
    assert live.is_in_order()


def test_without_changes_a_tick_is_one_list_call_and_no_engine(live: Live) -> None:
    live.tick(jobs=50)
    live.wait(timedelta(minutes=1))
    live.tick(jobs=50)
    live.cloud.calls.clear()
    live.stack.processes = 0
    done = live.tick(jobs=50)
    assert (done.result, done.outcome) == (None, Outcome.UNCHANGED)
    assert live.cloud.calls == [("list", "")]
    assert live.stack.processes == 0


def test_a_server_off_in_its_paid_hour_stays_until_it_is_needed_or_the_hour_ends(tmp_path: Path) -> None:
    live = Live(tmp_path, count=0, keep_paid=True)
    live.loop(3, jobs=50)
    assert len(live.ready) == 5
    live.loop(3, jobs=20)
    assert (len(live.ready), len(live.owned)) == (2, 5)
    assert live.is_in_order()
    live.stack.processes = 0
    live.loop(10, jobs=20)
    assert live.stack.processes == 0
    live.loop(3, jobs=40)
    assert (len(live.ready), len(live.owned), live.created) == (4, 5, 5)
    live.loop(40, jobs=40)
    assert (len(live.ready), len(live.owned), live.created) == (4, 4, 5)
    assert live.is_in_order()


def test_no_engine_starts_while_servers_boot(live: Live) -> None:
    live.cloud.boot_s = 300
    live.tick(jobs=50)
    live.stack.processes = 0
    live.loop(4, 60, jobs=50)
    assert live.stack.processes == 0
    assert live.created == 5


@pytest.mark.acceptance("T09")
def test_while_fifty_servers_drain_for_an_hour_ticks_keep_their_interval_and_look_once_each(tmp_path: Path) -> None:
    drains = StopPolicy(drain=("./drain.sh",), drain_within=timedelta(hours=2))
    live = Live(tmp_path, count=60, max=60, limit=200, stop=drains)
    live.drains.takes_s = 3600
    live.loop(3, jobs=600)
    live.loop(2, jobs=100)
    assert len(live.drains.starts) == 50
    live.cloud.calls.clear()
    live.stack.processes = 0
    for _ in range(50):
        before = live.clock.passed
        live.tick(jobs=100)
        assert live.clock.passed == before, "a tick does not wait"
        live.wait(timedelta(minutes=1))
    assert (live.cloud.calls, live.stack.processes) == ([("list", "")] * 50, 0)
    # More are wanted meanwhile: they are asked for in the same tick.
    live.tick(jobs=120)
    assert live.created == 2
    live.loop(30, jobs=120)
    assert len([call for call in live.cloud.calls if call[0] == "list"]) <= 120
    assert (len(live.ready), len(live.owned), len(live.drains.starts)) == (12, 12, 50)
    assert live.is_in_order()


def test_demand_for_six_is_six_requests_in_an_hour(tmp_path: Path) -> None:
    """Boots of five minutes, a decision every ten seconds, constant demand."""
    live = Live(tmp_path, count=0, max=50)
    live.cloud.boot_s = 300
    live.loop(360, 10, jobs=60)
    assert live.created == 6
    assert set(live.counts) == {6}
    assert len(live.ready) == 6


@pytest.mark.parametrize("rule", [Target(metric="m", value=60), Wait(metric="m", within=timedelta(minutes=1))])
def test_averages_do_not_overshoot_while_servers_boot(tmp_path: Path, rule: Rule) -> None:
    live = Live(tmp_path, policy(rule), count=2, max=50)
    live.tick(m=60)
    live.wait(timedelta(minutes=1))
    live.cloud.boot_s = 300
    for _ in range(360):
        live.tick(m=6 * 60 / max(1, len(live.ready)))
        live.clock.passed += 10
    assert max(live.counts) == 6
    assert len(live.ready) == 6
    assert live.created == 6


def test_vanished_and_hanging_servers_are_replaced(live: Live) -> None:
    live.tick(jobs=50)
    live.wait(timedelta(minutes=1))
    live.tick(jobs=50)
    live.cloud.remove("prod-worker-2")
    live.tick(jobs=50)
    live.wait(timedelta(seconds=10))
    live.tick(jobs=50)
    assert len(live.owned) == 5
    live.cloud.hang = 1
    live.tick(jobs=60)
    live.loop(15, 60, jobs=60)
    live.wait(timedelta(minutes=15))
    live.loop(3, 60, jobs=60)
    assert len(live.ready) == 6


def test_a_source_that_fails_keeps_what_was_wanted_not_what_is_left(live: Live) -> None:
    live.tick(jobs=50)
    live.wait(timedelta(minutes=1))
    live.tick(jobs=50)
    live.cloud.remove("prod-worker-2")
    for _ in range(3):
        live.tick(jobs=None)
        live.wait(timedelta(minutes=1))
    assert len(live.ready) == 5
    assert live.records.notices == ["metric jobs is missing: no value; 5 is held"]
    assert live.progress.warnings == ["worker: metric jobs is missing: no value; 5 is held"]


def test_a_source_that_dies_for_half_an_hour_then_nan_then_zeros(tmp_path: Path) -> None:
    live = Live(tmp_path, policy(JOBS, down=CALM))
    live.loop(5, 60, jobs=50)
    for value in (None, math.nan, 0.0):
        live.loop(180, 10, jobs=value)
    assert set(live.counts) == {5}
    assert len(live.ready) == 5
    assert [text.split(":")[0] for text in live.records.notices] == [
        "metric jobs is missing",
        "metric jobs is nan",
        "metric jobs is suspect",
    ]


def test_a_change_by_hand_is_kept_for_the_cooldown(tmp_path: Path) -> None:
    live = Live(tmp_path, policy(JOBS, down=Direction(cooldown=timedelta(minutes=10))))
    live.tick(jobs=20)
    live.ensure(6)
    live.loop(10, 60, jobs=20)
    assert len(live.ready) == 6
    live.tick(jobs=20)
    assert live.counts[-1] == 2


@pytest.mark.parametrize(
    ("by_hand", "count"),
    [
        (lambda live: live.ensure(6), 6),
        (lambda live: live.ensure(1), 1),
    ],
    ids=["up", "down"],
)
def test_a_change_by_hand_is_not_reverted_for_ten_minutes(
    tmp_path: Path, by_hand: Callable[[Live], object], count: int
) -> None:
    live = Live(tmp_path, policy(JOBS))
    live.loop(3, 60, jobs=30)
    by_hand(live)
    live.loop(10, 60, jobs=30)
    assert (len(live.ready), set(live.counts[-10:])) == (count, {count})
    live.loop(2, 60, jobs=30)
    assert len(live.ready) == 3
    assert live.progress.warnings == [f"worker: the count was changed from 3 to {count} by something else"]


def killed_after_acting(live: Live, **values: float) -> None:
    """A tick whose process is killed when the count is changed, and before it can save that."""
    memory: list[bytes] = []
    live.stack.moves.append(lambda: memory.append(live.memory.path.read_bytes()))
    live.tick(None, **values)
    live.memory.path.write_bytes(memory[0])


def test_a_tick_that_was_killed_is_not_taken_for_a_hand(tmp_path: Path) -> None:
    live = Live(tmp_path, policy(JOBS, down=Direction(cooldown=timedelta(minutes=3))))
    live.tick(jobs=20)
    live.wait(timedelta(minutes=1))
    killed_after_acting(live, jobs=50)
    live.wait(timedelta(minutes=1))
    live.tick(jobs=80)
    assert live.counts == [2, 5, 8]
    assert live.progress.warnings == []
    live.wait(timedelta(minutes=1))
    killed_after_acting(live, jobs=90)
    live.loop(4, 60, jobs=30)
    assert live.counts[-4:] == [9, 9, 9, 3], "the cooldown began after the change"


def test_a_hand_that_comes_after_a_killed_tick_is_told_from_it(tmp_path: Path) -> None:
    live = Live(tmp_path, policy(JOBS))
    live.tick(jobs=20)
    live.wait(timedelta(minutes=1))
    killed_after_acting(live, jobs=50)
    live.ensure(7)
    live.loop(5, 60, jobs=50)
    assert set(live.counts[-5:]) == {7}
    assert live.progress.warnings == ["worker: the count was changed from 2 to 7 by something else"]


def test_the_memory_of_an_earlier_version_is_read(live: Live) -> None:
    live.tick(jobs=50)
    document = json.loads(live.memory.path.read_text())
    for fields in document["groups"].values():
        del fields["by_hand"], fields["meant"]
    live.memory.path.write_text(json.dumps(document))
    live.tick(jobs=70)
    assert live.counts == [5, 7]
    assert live.progress.warnings == []


# ---------------------------------------------------------------------------------------------
# A clock that was ahead


def ahead(made: Policy, folder: Path) -> Live:
    """A stack whose ticks were a day ahead, until the clock was set back."""
    live = Live(folder, made)
    live.clock.ahead = timedelta(days=1)
    live.loop(10, 60, jobs=50)
    assert len(live.ready) == 5
    live.clock.ahead = timedelta(0)
    return live


@pytest.mark.acceptance("T14")
def test_after_a_clock_was_ahead_growth_waits_for_no_cooldown_that_is_none(tmp_path: Path) -> None:
    live = ahead(policy(JOBS), tmp_path)
    live.tick(jobs=90)
    assert live.counts[-1] == 9
    live.loop(4, 60, jobs=90)
    assert (len(live.ready), live.is_in_order()) == (9, True)
    assert [text for text in live.progress.warnings if "in the future" in text] == [
        "what was recorded is dated up to 23h51m in the future: a clock was ahead then, or this one is behind;"
        " it counts from now"
    ]


@pytest.mark.acceptance("T14")
def test_after_a_clock_was_ahead_cooldown_and_stabilisation_begin_now(tmp_path: Path) -> None:
    five = timedelta(minutes=5)
    live = ahead(policy(JOBS, up=Direction(cooldown=five), down=CALM), tmp_path)
    live.loop(5, 60, jobs=90)
    assert set(live.counts[-5:]) == {5}
    assert live.decisions[-5].reason.endswith("cooldown for 5m more")
    live.tick(jobs=90)
    assert live.counts[-1] == 9
    live.loop(6, 60, jobs=10)
    assert live.counts[-6:] == [9, 9, 9, 9, 9, 1]


@pytest.mark.acceptance("T14")
def test_a_memory_of_the_future_is_told_of_once_where_the_records_are_not(tmp_path: Path) -> None:
    live = ahead(policy(JOBS), tmp_path)
    now = live.clock.now()
    live.records.servers = {name: replace(one, since=now) for name, one in live.records.servers.items()}
    live.stack.saved = replace(live.stack.saved, outputs=dict(live.records.servers))
    live.loop(3, 60, jobs=90)
    assert len(live.progress.warnings) == 1
    assert "in the future" in live.progress.warnings[0]
    assert max(live.memory.load().moments) <= live.clock.now()


@pytest.mark.acceptance("T14")
def test_clocks_that_differ_by_seconds_are_no_news(tmp_path: Path) -> None:
    live = Live(tmp_path, policy(JOBS))
    live.clock.ahead = timedelta(seconds=20)
    live.tick(jobs=50)
    live.clock.ahead = timedelta(0)
    live.loop(3, 60, jobs=50)
    assert live.progress.warnings == []
    assert max(live.memory.load().moments) <= live.clock.now()


def test_a_memory_of_the_past_stays_as_it_is(tmp_path: Path) -> None:
    live = ahead(policy(JOBS, up=CALM), tmp_path)
    told = live.memory.load()
    assert told.none_after(live.clock.now() + timedelta(days=1)) == told
    assert set(told.none_after(live.clock.now()).moments) == {live.clock.now()}


# ---------------------------------------------------------------------------------------------
# Records that are lost


def test_a_lost_state_file_removes_nothing(tmp_path: Path) -> None:
    live = Live(tmp_path, policy(JOBS, down=CALM))
    live.loop(2, 60, jobs=80)
    live.records.lose()
    live.cloud.faults["list"] = passing(1)
    with pytest.raises(TransientError):
        live.tick(jobs=None)
    live.loop(3, 60, jobs=None)
    assert len(live.ready) == 8
    assert live.records.counts == {"worker": 8}


def test_a_lost_memory_removes_nothing_at_once(tmp_path: Path) -> None:
    live = Live(tmp_path, policy(JOBS, down=CALM))
    live.loop(10, 60, jobs=80)
    live.memory.path.unlink()
    live.loop(5, 60, jobs=10)
    assert len(live.ready) == 8
    live.loop(2, 60, jobs=10)
    assert len(live.ready) == 1


def test_the_servers_stay_when_memory_and_records_are_lost(tmp_path: Path) -> None:
    live = Live(tmp_path, policy(JOBS, down=CALM))
    live.loop(10, 60, jobs=80)
    live.memory.path.unlink()
    live.records.lose()
    live.loop(3, 60, jobs=None)
    assert len(live.ready) == 8


REMEMBERED = (
    '{"schema": 1, "groups": {"worker": {"asked": [], "count": %s, "meant": null, "raised": null, "lowered": null,'
    ' "by_hand": null, "health": {}, "rates": {}, "logged": ""}}}'
)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"schema": 2, "groups": {}}',
        '{"schema": 1, "groups": {"worker": 5}}',
        REMEMBERED % "-1",
        REMEMBERED % 10**30,
    ],
)
def test_a_damaged_memory_is_replaced(live: Live, content: str) -> None:
    live.tick(jobs=50)
    live.memory.path.write_text(content)
    live.tick(jobs=50)
    assert live.memory.load().histories["worker"].count == 5
    assert "is damaged and is replaced by a new one" in live.progress.warnings[0]


def test_the_memory_survives_a_round_trip(tmp_path: Path) -> None:
    live = Live(tmp_path, policy(JOBS, Target(metric="cpu", value=60), up=CALM, down=CALM))
    live.loop(3, 60, jobs=50, cpu=None)
    live.tick(jobs=80, cpu=70)
    told = live.memory.load()
    other = Memory(tmp_path / "copy.json", print)
    other.save(told)
    assert other.load() == told
    assert told.histories["worker"].asked
    live.ensure(3)
    live.tick(jobs=80, cpu=70)
    other.save(changed := live.memory.load())
    assert other.load() == changed
    assert changed.histories["worker"].by_hand == live.clock.now().replace(microsecond=0)


def test_one_process_or_many_decide_the_same(tmp_path: Path) -> None:
    """A process per tick decides as one process for all: there is no memory but the file's."""
    one, many = (
        Live(tmp_path / "one", policy(JOBS, up=CALM, down=CALM)),
        Live(tmp_path / "many", policy(JOBS, up=CALM, down=CALM)),
    )
    for tick in range(60):
        jobs = 50 + 40 * math.sin(tick / 5)
        one.tick(jobs=jobs)
        many.memory = Memory.of(tmp_path / "many", "prod", print)
        many.tick(jobs=jobs)
        one.wait(timedelta(minutes=1))
        many.wait(timedelta(minutes=1))
    assert one.decisions == many.decisions
    assert len(set(one.counts)) > 2


# ---------------------------------------------------------------------------------------------
# What goes wrong on the way


def test_the_next_tick_continues_after_a_kill(tmp_path: Path) -> None:
    """Killed at every point of a tick: the next ticks reach the count, and never more machines."""
    for point in range(200):
        live = Live(tmp_path / str(point), policy(JOBS, up=Direction(cooldown=timedelta(minutes=3))))
        live.fuse.left = point
        try:
            live.tick(jobs=50)
        except BaseException as killed:
            assert type(killed).__name__ == "Killed"
        else:
            break
        live.fuse.left = None
        live.loop(8, 60, jobs=50)
        assert len(live.ready) == 5, f"killed at {point}"
        assert len(live.owned) == 5
    assert point > 5


def test_a_refused_count_starts_no_cooldown(tmp_path: Path) -> None:
    live = Live(tmp_path, policy(JOBS, up=Direction(cooldown=timedelta(hours=1))))
    live.cloud.faults["list"] = [*passing(1)]
    with pytest.raises(TransientError):
        live.tick(jobs=50)
    live.tick(jobs=50)
    assert len(live.owned) == 5


def test_a_quota_does_not_stop_the_decisions(live: Live) -> None:
    live.cloud.quota = 3
    done = live.tick(jobs=50)
    assert done.outcome is Outcome.FAILED
    assert len(live.owned) == 3
    live.wait(timedelta(minutes=1))
    live.tick(jobs=20)
    live.wait(timedelta(minutes=1))
    live.tick(jobs=20)
    assert len(live.ready) == 2


def test_a_quota_is_hit_once_an_hour_and_reported_once(live: Live) -> None:
    live.cloud.quota = 3
    live.loop(59, 60, jobs=50)
    assert live.created == 5, "two of them were refused, at the first tick"
    assert len(live.ready) == 3
    assert set(live.counts[1:]) == {3}
    caps = [[cap["name"] for cap in entry["caps"]] for entry in live.records.decisions]
    assert caps == [[], ["quota"], ["quota"]], "when it was reduced, and that it stays so"
    assert "and is asked again at 23:00: at most 3" in live.records.decisions[1]["reason"]
    live.loop(60, 60, jobs=50)
    assert live.created in (6, 7), "once more after an hour"
    live.cloud.quota = None
    live.loop(62, 60, jobs=50)
    assert len(live.ready) == 5


def test_a_quota_that_the_cloud_reports_is_never_hit(live: Live) -> None:
    live.cloud.quota, live.cloud.tells_quota = 3, True
    live.loop(5, 60, jobs=50)
    assert live.created == 3
    assert len(live.ready) == 3
    assert live.decisions[0].caps[-1].name == "quota"


def test_within_a_budget_nothing_is_created_at_a_price_that_is_not_known(tmp_path: Path) -> None:
    live = Live(tmp_path)
    live.loop(1, 60, jobs=10)
    before = len(live.ready)
    live.spec = replace(live.spec, budget=Decimal(1000))
    live.cloud.months = dict.fromkeys(("cx23", "cpx22"), Decimal("NaN"))
    live.loop(3, 60, jobs=90)
    assert len(live.ready) == before
    assert any("the price of" in decision.reason for decision in live.decisions)


def test_the_budget_caps_what_is_created_and_removes_nothing(tmp_path: Path) -> None:
    live = Live(tmp_path)
    live.spec = replace(live.spec, budget=Decimal(22))
    live.loop(3, 60, jobs=90)
    assert len(live.ready) == 4, "at 5 a month"
    assert live.decisions[0].reason.endswith("the budget is EUR 22 a month: at most 4")
    assert live.decisions[0].caps[-1].name == "budget"
    live.spec = replace(live.spec, budget=Decimal(12))
    done = live.tick(jobs=90)
    assert (len(live.ready), done.budget_left) == (4, (-8.0, "EUR")), "a smaller budget is no reason to remove any"
    live.cloud.remove("prod-worker-2")
    live.loop(3, 60, jobs=90)
    assert len(live.ready) == 3, "it is not replaced"
    live.loop(3, 60, jobs=20)
    assert len(live.ready) == 2


def test_several_groups_share_a_budget(tmp_path: Path) -> None:
    live = Live(tmp_path)
    web = replace(live.spec.groups["worker"], name="web", autoscale=None, count=2)
    live.spec = replace(live.spec, groups={"worker": live.spec.groups["worker"], "web": web}, budget=Decimal(25))
    live.loop(3, 60, jobs=90)
    assert live.decisions[-1].count == 3, "two are the web's"
    assert len(live.ready) == 5


def test_missing_prices_stop_no_decision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live = Live(tmp_path)
    live.loop(2, 60, jobs=20)
    live.spec = replace(live.spec, budget=Decimal(25))

    def refuse() -> None:
        raise passing(1)[0]

    monkeypatch.setattr(live.cloud, "catalogue", refuse)
    done = live.tick(jobs=10)
    assert (done.decisions["worker"].count, done.budget_left) == (1, None)


def test_a_watch_reads_the_prices_once_an_hour(tmp_path: Path) -> None:
    live = Live(tmp_path)
    prices, before = Prices(live.clock), live.cloud.catalogue
    read: list[float] = []

    def catalogue() -> Catalogue:
        read.append(live.clock.passed)
        return before()

    live.cloud.catalogue = catalogue  # type: ignore[method-assign]
    for _ in range(100):
        prices.of(live.cloud, live.around.place)
        live.wait(timedelta(minutes=1))
    assert read == [0, 3600]


def test_the_stacks_limit_caps_the_count(tmp_path: Path) -> None:
    live = Live(tmp_path, limit=4)
    live.tick(jobs=90)
    assert len(live.owned) == 4
    assert live.decisions[0].caps[-1].name == "limit"


def test_a_preview_changes_and_remembers_nothing(live: Live) -> None:
    done = live.tick(Options(apply=False), jobs=50)
    assert done.result is not None
    assert done.result.outcome is Outcome.PLANNED
    assert len(done.result.steps) == 5
    assert live.owned == []
    assert not live.memory.path.exists()
    assert live.records.decisions == []


# ---------------------------------------------------------------------------------------------
# The log


def test_each_decision_is_logged_once_and_whole(tmp_path: Path) -> None:
    live = Live(tmp_path, policy(JOBS, down=CALM))
    live.loop(5, 60, jobs=50)
    for jobs in (30, 31, 32, 33, 34, 35, 36):
        live.loop(1, 60, jobs=jobs)
    told = [(entry["from"], entry["to"], [cap["name"] for cap in entry["caps"]]) for entry in live.records.decisions]
    assert told == [(2, 5, []), (5, 5, []), (5, 5, ["stabilisation"]), (5, 4, []), (4, 4, [])]
    first = live.records.decisions[0]
    assert first["metrics"]["jobs"] == {"value": 50, "at": "2026-11-24T22:00:00Z", "state": "ok", "error": None}
    assert first["proposals"][0]["rule"] == "backlog jobs"
    assert first["reason"] == "5 instead of 2: jobs is 50, at 10 per server: 5"


# ---------------------------------------------------------------------------------------------
# Live and simulated


def test_a_trace_in_the_live_loop_gives_the_simulations_decisions_one_by_one(tmp_path: Path) -> None:
    made = policy(Target(metric="cpu", value=60), up=Direction(cooldown=timedelta(minutes=2), step=4), down=CALM)
    values: list[float | None] = [
        60 + 50 * math.sin(index / 30) + (300 if 200 < index < 220 else 0) for index in range(500)
    ]
    values[300:310] = [None] * 10
    values[350] = math.nan
    live = Live(tmp_path, made, count=3, min=1)
    live.cloud.boot_s = 95
    live.cloud.delete_s = 0
    start = live.clock.now().timestamp()
    live.ensure(3)
    live.wait(timedelta(minutes=2))
    begin = live.clock.now().timestamp()
    assert begin == int(begin) >= start
    trace = Trace([begin + 10 * index for index in range(len(values))], {"cpu": values})
    seen: list[Any] = []
    worker = live.spec.groups["worker"]
    simulate("p", worker, trace, Setting(cloud="hetzner", boots=(timedelta(seconds=95),)), seen.append)
    for index, value in enumerate(values):
        live.clock.passed = begin - start + 10 * index
        live.tick(cpu=None if value is None else value)
    for simulated, decided in zip(seen, live.decisions, strict=True):
        # NaN is not equal to itself; the words for it are.
        assert repr(_without_history(simulated)) == repr(_without_history(decided))
    assert len({decision.count for decision in live.decisions}) > 5
    assert sum(1 for decision in live.decisions if decision.change) > 20


def _without_history(decision: Decision) -> Decision:
    readings = tuple(replace(reading, error="") for reading in decision.readings)
    history = decision.history
    return replace(decision, readings=readings, history=replace(history, health=dict(sorted(history.health.items()))))


def test_refusals_are_reported(live: Live) -> None:
    live.spec = replace(live.spec, limit=1, groups={"worker": replace(live.spec.groups["worker"], min=2)})
    with pytest.raises((RefusedError, LimitError)):
        live.tick(jobs=50)
    assert live.owned == []


# ---------------------------------------------------------------------------------------------
# A person beside the watch, here or elsewhere with the same backend


def elsewhere(live: Live, folder: Path) -> Live:
    """Another machine with the same backend and cloud, and records and a memory of its own."""
    other = Live(folder, live.spec.groups["worker"].autoscale)
    other.clock, other.cloud, other.stack = live.clock, live.cloud, live.stack
    return other


@pytest.mark.acceptance("T13")
@pytest.mark.parametrize("cooldown", [timedelta(0), timedelta(minutes=20)], ids=["ten-minutes", "cooldown"])
@pytest.mark.parametrize("count", [6, 1], ids=["up", "down"])
def test_a_change_by_hand_from_elsewhere_is_not_reverted_at_once(
    tmp_path: Path, count: int, cooldown: timedelta
) -> None:
    live = Live(tmp_path, policy(JOBS, up=Direction(cooldown=cooldown), down=Direction(cooldown=cooldown)))
    live.loop(3, 60, jobs=30)
    elsewhere(live, tmp_path / "other").ensure(count)
    kept = max(10, int(cooldown.total_seconds()) // 60)
    live.loop(kept, 60, jobs=30)
    assert (len(live.ready), set(live.counts[-kept:])) == (count, {count})
    live.loop(2, 60, jobs=30)
    assert len(live.owned) == 3


@pytest.mark.acceptance("T13")
def test_after_destroy_the_watch_stays_away_until_ensure_or_resume(tmp_path: Path) -> None:
    live = Live(tmp_path, policy(JOBS))
    live.loop(3, 60, jobs=30)
    there = elsewhere(live, tmp_path / "other")
    there.run(Demand({"worker": 0}), Options(everything=True))
    live.stack.processes = 0
    live.loop(40, 60, jobs=30)
    assert (live.owned, live.stack.processes) == ([], 0)
    assert live.tick(jobs=30).pause
    resume(there.spec, there.around)
    live.loop(12, 60, jobs=30)
    assert len(live.ready) == 3
    there.run(Demand({"worker": 0}), Options(everything=True))
    there.run(Demand({"worker": 1}), Options(resumes=True))
    live.loop(10, 60, jobs=30)
    assert (len(live.ready), live.tick(jobs=30).pause) == (1, None)
    live.loop(2, 60, jobs=30)
    assert len(live.ready) == 3


def test_a_paused_tick_changes_nothing_and_ends_with_its_time(tmp_path: Path) -> None:
    live = Live(tmp_path, policy(JOBS))
    live.loop(3, 60, jobs=30)
    pause(live.spec, live.around, length=timedelta(minutes=30))
    live.cloud.remove("prod-worker-2")
    live.cloud.calls.clear()
    live.loop(29, 60, jobs=90)
    assert {operation for operation, _ in live.cloud.calls} <= {"list", "get"}
    live.loop(3, 60, jobs=90)
    assert len(live.ready) == 9
    orders = live.records.orders()
    assert orders
    assert orders.pause is None
