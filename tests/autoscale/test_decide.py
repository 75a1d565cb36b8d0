"""The number from the load, row by row: what each rule proposes, what caps it, and what is not believed."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from scaler.autoscale.decide import decide, decide_stack
from scaler.autoscale.decision import Ceiling, History, Sample, SampleState, Supply
from scaler.model.autoscaling import Backlog, Direction, Learned, Schedule, Steps, Target, Threshold, Wait, Window
from tests.autoscale.load import EAGER, START, Fleet, group, metric, policy, spec

CPU = Target(metric="cpu", value=60)
JOBS = Backlog(metric="jobs", per_server=10)
WAIT = Wait(metric="wait", within=timedelta(seconds=60))
MINUTE = timedelta(minutes=1)


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


# ---------------------------------------------------------------------------------------------
# Each rule


@pytest.mark.parametrize(
    ("rule", "value", "supply", "count"),
    [
        # target: ceil(ready * metric / target), a dead band of 10 %
        (CPU, 60, Supply(3, 3, 3), 3),
        (CPU, 90, Supply(4, 4, 4), 6),
        (CPU, 66, Supply(4, 4, 4), 4),
        (CPU, 66.1, Supply(4, 4, 4), 5),
        (CPU, 54, Supply(4, 4, 4), 4),
        (CPU, 44, Supply(4, 4, 4), 3),
        (CPU, 0, Supply(4, 4, 4), 0),
        # floating point makes no servers: 3 * 0.3 / 0.1 is 9.000…2
        (Target(metric="cpu", value=0.1), 0.3, Supply(3, 3, 3), 9),
        # two ready, two on their way: they are not asked for again, and not sent away either
        (CPU, 120, Supply(4, 4, 2), 4),
        (CPU, 180, Supply(4, 4, 2), 6),
        (CPU, 67, Supply(4, 4, 2), 4),
        (CPU, 60, Supply(4, 4, 2), 4),
        # nothing to measure by
        (CPU, 90, Supply(0, 0, 0), 1),
        (CPU, 0, Supply(0, 0, 0), 0),
        (CPU, 90, Supply(2, 2, 0), 2),
        # backlog: jobs per server
        (JOBS, 0, Supply(3, 3, 3), 0),
        (JOBS, 30, Supply(3, 3, 3), 3),
        (JOBS, 31, Supply(3, 3, 3), 4),
        (JOBS, 31, Supply(3, 3, 0), 4),
        (JOBS, 1, Supply(0, 0, 0), 1),
        (replace(JOBS, tolerance=0.1), 33, Supply(3, 3, 3), 3),
        # backlog: done within a time, at a known throughput: 2/s * 60 s = 120 jobs per server
        (Backlog(metric="jobs", within=MINUTE, throughput=2.0), 240, Supply(1, 1, 1), 2),
        (Backlog(metric="jobs", within=MINUTE, throughput=2.0), 241, Supply(1, 1, 1), 3),
        # waiting time
        (WAIT, 120, Supply(2, 2, 2), 4),
        (WAIT, 30, Supply(4, 4, 4), 2),
        (WAIT, 63, Supply(4, 4, 4), 4),
        (WAIT, 5, Supply(0, 0, 0), 1),
        # jobs get older while servers boot: that asks for no more of them
        (WAIT, 600, Supply(4, 4, 2), 4),
        # steps
        (Steps(metric="jobs", steps=(Threshold(0, 1), Threshold(100, 3), Threshold(1000, 8))), 99, Supply(3, 3, 3), 1),
        (Steps(metric="jobs", steps=(Threshold(0, 1), Threshold(100, 3), Threshold(1000, 8))), 100, Supply(1, 1, 1), 3),
        (Steps(metric="jobs", steps=(Threshold(0, 1), Threshold(100, 3), Threshold(1000, 8))), 5e6, Supply(1, 1, 1), 8),
        (
            Steps(metric="jobs", steps=(Threshold(0, -1), Threshold(10, 0), Threshold(50, 2)), relative=True),
            5,
            Supply(3, 3, 3),
            2,
        ),
        (
            Steps(metric="jobs", steps=(Threshold(0, -1), Threshold(10, 0), Threshold(50, 2)), relative=True),
            20,
            Supply(3, 3, 3),
            3,
        ),
        (
            Steps(metric="jobs", steps=(Threshold(0, -1), Threshold(10, 0), Threshold(50, 2)), relative=True),
            50,
            Supply(3, 3, 3),
            5,
        ),
        (
            Steps(metric="jobs", steps=(Threshold(0, -1), Threshold(10, 0), Threshold(50, 2)), relative=True),
            50,
            Supply(5, 5, 3),
            5,
        ),
        (
            Steps(metric="jobs", steps=(Threshold(0, -1), Threshold(10, 0), Threshold(50, 2)), relative=True),
            5,
            Supply(0, 0, 0),
            0,
        ),
    ],
)
def test_what_a_rule_asks_for(rule: Target | Backlog | Wait | Steps, value: float, supply: Supply, count: int) -> None:
    samples = {rule.metric: Sample(value, START)}
    assert decide(group(policy(rule)), samples, supply, History(), START).count == count


def test_up_if_one_rule_asks_and_down_if_all_agree() -> None:
    both = Fleet(group(policy(CPU, JOBS)), 4)
    assert both.decide(cpu=90, jobs=10).count == 6
    assert both.decide(cpu=30, jobs=80).count == 8
    assert both.decide(cpu=30, jobs=40).count == 4
    assert both.decide(cpu=30, jobs=30).count == 3


def test_the_throughput_is_learned_from_a_counter_while_jobs_wait() -> None:
    rule = Backlog(metric="jobs", within=MINUTE, throughput=Learned(metric="done"))
    fleet = Fleet(group(policy(rule, metrics={"jobs": metric("jobs"), "done": metric("done")})), 0)
    assert fleet.step(jobs=500, done=0).count == 1, "one server, to learn from"
    assert fleet.step(jobs=500, done=0).count == 1
    # 60 jobs in a minute by one server: 1/s, so 60 jobs per server within the minute.
    assert fleet.step(jobs=440, done=60).count == 8
    # An idle minute, and a counter that was started anew, teach nothing.
    assert fleet.step(jobs=0, done=61).count == 0
    assert fleet.step(jobs=120, done=0).count == 2


def test_a_learned_throughput_can_start_from_a_guess() -> None:
    rule = Backlog(metric="jobs", within=MINUTE, throughput=Learned(metric="done", initial=5))
    fleet = Fleet(group(policy(rule, metrics={"jobs": metric("jobs"), "done": metric("done")})), 1)
    assert fleet.step(jobs=900, done=0).count == 3


# ---------------------------------------------------------------------------------------------
# Schedules

OFFICE = Window(cron="0 8 * * mon-fri", length=timedelta(hours=10), min=5, max=8)


@pytest.mark.parametrize(
    ("moment", "count"),
    [
        (datetime(2026, 3, 2, 6, 59, tzinfo=UTC), 2),  # Monday in Berlin, 7:59
        (datetime(2026, 3, 2, 7, 0, tzinfo=UTC), 5),
        (datetime(2026, 3, 2, 16, 59, 59, tzinfo=UTC), 5),
        (datetime(2026, 3, 2, 17, 0, tzinfo=UTC), 2),
        (datetime(2026, 3, 1, 12, 0, tzinfo=UTC), 2),  # Sunday
        (datetime(2026, 6, 1, 6, 0, tzinfo=UTC), 5),  # summer time: an hour earlier in UTC
        (datetime(2026, 6, 1, 5, 59, 30, tzinfo=UTC), 2),
    ],
)
def test_a_schedule_alone_gives_its_min_or_the_specs_count(moment: datetime, count: int) -> None:
    worker = group(policy(Schedule(timezone="Europe/Berlin", windows=(OFFICE,))))
    assert decide(worker, {}, Supply(2, 2, 2), History(), moment).count == count


def test_a_schedules_bounds_hold_for_the_other_rules() -> None:
    worker = group(policy(JOBS, Schedule(timezone="UTC", windows=(OFFICE,))))
    fleet = Fleet(worker, 2)
    assert fleet.decide(jobs=0).count == 5
    assert fleet.decide(jobs=60).count == 6
    assert fleet.decide(jobs=500).count == 8
    fleet.now += timedelta(hours=12)
    assert fleet.decide(jobs=500).count == 20


def test_a_schedule_never_leaves_the_groups_bounds() -> None:
    window = Window(cron="* * * * *", length=timedelta(hours=1), min=50, max=60)
    worker = group(policy(JOBS, Schedule(timezone="UTC", windows=(window,))), max=9)
    assert Fleet(worker, 2).decide(jobs=0).count == 9


# ---------------------------------------------------------------------------------------------
# Stabilisation, cooldown, step


def test_down_only_when_asked_for_the_whole_window_and_by_the_mildest_of_it() -> None:
    fleet = Fleet(group(policy(JOBS, down=Direction(stabilise=minutes(5)))), 6)
    fleet.step(jobs=60)
    for jobs in (20, 40, 20, 20):
        assert fleet.step(jobs=jobs).count == 6
    assert fleet.step(jobs=20).count == 6, "the 60 of five minutes ago held until four minutes ago"
    assert fleet.step(jobs=20).count == 4
    assert fleet.step(jobs=20).count == 4
    assert fleet.step(jobs=20).count == 2


def test_up_only_when_asked_for_the_whole_window() -> None:
    fleet = Fleet(group(policy(JOBS, up=Direction(stabilise=minutes(2)))), 1)
    fleet.step(jobs=10)
    assert fleet.step(jobs=90).count == 1
    assert fleet.step(jobs=50).count == 1
    assert fleet.step(jobs=70).count == 5


@pytest.mark.acceptance("T14")
@pytest.mark.parametrize(
    ("ahead", "state", "error"),
    [
        (timedelta(days=27_000), SampleState.STALE, "dated 27000d in the future"),
        (timedelta(seconds=67), SampleState.STALE, "dated 1m7s in the future"),
        # The source's clock is a minute ahead, and it took the five seconds that it may.
        (timedelta(seconds=65), SampleState.OK, ""),
    ],
)
def test_a_sample_of_the_future_is_not_fresh(ahead: timedelta, state: SampleState, error: str) -> None:
    decision = Fleet(group(policy(JOBS)), 3).decide(jobs=Sample(80, START + ahead))
    assert [(reading.state, reading.error) for reading in decision.readings] == [(state, error)]
    assert decision.count == (8 if state is SampleState.OK else 3)


def test_a_lost_memory_shrinks_nothing_at_once() -> None:
    fleet = Fleet(group(policy(JOBS, down=Direction(stabilise=minutes(5)))), 6)
    assert fleet.step(jobs=0).count == 6
    assert "asked for less than 5m" in fleet.decisions[0].reason


def test_cooldowns_per_direction() -> None:
    pause = Direction(cooldown=minutes(3))
    fleet = Fleet(group(policy(JOBS, up=pause, down=pause)), 1)
    assert fleet.step(jobs=30).count == 3
    assert fleet.step(jobs=50).count == 3, "up waits for the last up"
    assert fleet.step(jobs=10).count == 3, "down waits for the last change of either kind"
    assert fleet.step(jobs=10).count == 1
    assert fleet.step(jobs=40).count == 4, "up does not wait for a down"


def test_no_change_starts_no_cooldown() -> None:
    fleet = Fleet(group(policy(JOBS, up=Direction(cooldown=minutes(30)))), 3)
    for _ in range(5):
        fleet.step(jobs=30)
    assert fleet.step(jobs=50).count == 5


def test_a_change_by_hand_starts_the_cooldowns_and_is_reported_once() -> None:
    pause = Direction(cooldown=minutes(10))
    fleet = Fleet(group(policy(JOBS, up=pause, down=pause)), 3)
    fleet.step(jobs=30)
    fleet.by_hand(8)
    for _ in range(10):
        assert fleet.step(jobs=30).count == 8
    assert fleet.step(jobs=30).count == 3
    assert fleet.notices == ["the count was changed from 3 to 8 by something else"]


@pytest.mark.parametrize("by_hand", [0, 1, 8])
def test_without_cooldowns_a_change_by_hand_is_kept_for_ten_minutes(by_hand: int) -> None:
    fleet = Fleet(group(policy(JOBS)), 3)
    fleet.step(jobs=30)
    fleet.by_hand(by_hand)
    for left in range(10, 0, -1):
        assert fleet.step(jobs=30).count == by_hand
        assert fleet.decisions[-1].reason.endswith(f"the change by hand is kept for {left}m more")
    assert fleet.step(jobs=30).count == 3
    assert fleet.step(jobs=50).count == 5, "what it decides itself is not kept"
    assert fleet.notices == [f"the count was changed from 3 to {by_hand} by something else"]


@pytest.mark.parametrize(("by_hand", "minutes_kept"), [(1, 20), (8, 15)])
def test_a_longer_cooldown_keeps_a_change_by_hand_for_longer(by_hand: int, minutes_kept: int) -> None:
    slow = policy(JOBS, up=Direction(cooldown=minutes(20)), down=Direction(cooldown=minutes(15)))
    fleet = Fleet(group(slow), 3)
    fleet.step(jobs=30)
    fleet.by_hand(by_hand)
    for _ in range(minutes_kept):
        assert fleet.step(jobs=30).count == by_hand
    assert fleet.step(jobs=30).count == 3


def test_a_second_change_by_hand_is_kept_as_long() -> None:
    fleet = Fleet(group(policy(JOBS)), 3)
    fleet.step(jobs=30)
    for by_hand in (8, 5):
        fleet.by_hand(by_hand)
        for _ in range(9):
            assert fleet.step(jobs=30).count == by_hand
    fleet.step(jobs=30)
    assert fleet.step(jobs=30).count == 3


def test_a_decision_that_was_not_carried_out_starts_no_cooldown() -> None:
    fleet = Fleet(group(policy(JOBS, up=Direction(cooldown=minutes(10)))), 1)
    fleet.history = fleet.decide(jobs=30).history
    fleet.now += MINUTE
    assert fleet.step(jobs=30).count == 3


def test_the_largest_step() -> None:
    fleet = Fleet(group(policy(JOBS, up=Direction(step=4), down=Direction(step=2))), 0)
    for jobs in (150, 150, 150, 150, 150, 0, 0):
        fleet.step(jobs=jobs)
    assert fleet.counts == [4, 8, 12, 15, 15, 13, 11]


def test_neither_cooldown_nor_step_keeps_the_count_below_min() -> None:
    slow = Direction(cooldown=timedelta(hours=5), step=1)
    fleet = Fleet(group(policy(JOBS, up=slow, down=slow), min=4), 6)
    fleet.step(jobs=50)
    fleet.by_hand(0)
    assert fleet.step(jobs=0).count == 4


# ---------------------------------------------------------------------------------------------
# Limits


def test_a_ceiling_is_named_in_the_reason() -> None:
    decision = decide(
        group(policy(JOBS)),
        {"jobs": Sample(150, START)},
        Supply(2, 2, 2),
        History(),
        START,
        (Ceiling("budget", 7, "the budget allows no more"),),
    )
    assert (decision.asked, decision.count) == (15, 7)
    assert decision.reason.endswith("the budget allows no more: at most 7")


def test_groups_share_the_limit_and_no_existing_server_is_removed_for_growth() -> None:
    both = spec(group(policy(JOBS), name="web"), group(policy(JOBS), name="worker"), limit=10)
    supplies = {"web": Supply(4, 4, 4), "worker": Supply(2, 2, 2)}
    samples = {"web": {"jobs": Sample(50, START)}, "worker": {"jobs": Sample(200, START)}}
    decisions = decide_stack(both, samples, supplies, {}, START)
    assert {name: decision.count for name, decision in decisions.items()} == {"web": 5, "worker": 5}
    assert [cap.name for cap in decisions["worker"].caps] == ["limit"]


def test_groups_without_a_policy_count_towards_the_limit() -> None:
    both = spec(group(None, name="web"), group(policy(JOBS), name="worker"), limit=10)
    supplies = {"web": Supply(7, 7, 7), "worker": Supply(2, 2, 2)}
    decisions = decide_stack(both, {"worker": {"jobs": Sample(90, START)}}, supplies, {}, START)
    assert {name: decision.count for name, decision in decisions.items()} == {"worker": 3}


# ---------------------------------------------------------------------------------------------
# What is not believed


@pytest.mark.parametrize(
    ("sample", "state"),
    [
        (Sample(None, START, "connection refused"), SampleState.MISSING),
        (Sample(math.nan, START), SampleState.NAN),
        (Sample(-1, START), SampleState.NEGATIVE),
        (Sample(math.inf, START), SampleState.ABSURD),
        (Sample(2e9, START), SampleState.ABSURD),
        (Sample(1, START - minutes(6)), SampleState.STALE),
    ],
)
def test_an_unusable_value_holds_the_count(sample: Sample, state: SampleState) -> None:
    fleet = Fleet(group(policy(CPU, JOBS)), 5)
    for _ in range(20):
        decision = fleet.step(cpu=replace(sample, at=sample.at + (fleet.now - START)), jobs=0)
        assert decision.count == 5
        assert decision.readings[0].state is state
    assert len(fleet.notices) == 1
    assert fleet.decide(cpu=sample, jobs=70).count == 7, "another rule may still ask for more"


def test_on_error_max() -> None:
    fleet = Fleet(group(policy(JOBS, on_error="max"), max=12), 5)
    assert fleet.step(jobs=None).count == 12


def test_a_source_that_fails_then_returns_nan_then_zero_changes_nothing() -> None:
    fleet = Fleet(group(policy(CPU, down=Direction(stabilise=minutes(5)))), 6)
    for _ in range(10):
        fleet.step(cpu=60)
    for value in [None] * 30 + [math.nan] * 30 + [0.0] * 30:
        fleet.step(cpu=Sample(value, fleet.now, "connection refused" if value is None else ""))
    assert set(fleet.counts) == {6}
    assert fleet.notices == [
        "metric cpu is missing: connection refused; 6 is held",
        "metric cpu is nan: not a number; 6 is held",
        "metric cpu is suspect: zero right after a failure; 6 is held",
    ]
    fleet.step(cpu=60)
    assert fleet.notices[3:] == ["metric cpu is back: 60"]


def test_zeros_after_a_failure_are_used_after_distrust_zero() -> None:
    fleet = Fleet(group(policy(JOBS)), 6)
    fleet.step(jobs=None)
    for _ in range(60):
        assert fleet.step(jobs=0).count == 6
    assert fleet.step(jobs=0).count == 0


def test_a_queue_that_is_empty_is_no_failure() -> None:
    fleet = Fleet(group(policy(JOBS)), 6)
    fleet.step(jobs=60)
    assert fleet.step(jobs=0).count == 0
    assert fleet.notices == []


# ---------------------------------------------------------------------------------------------
# Over time


def test_a_metric_that_swings_within_the_tolerance_changes_nothing() -> None:
    fleet = Fleet(group(policy(CPU)), 10)
    for tick in range(720):
        fleet.step(10, cpu=60 * (1 + 0.1 * math.sin(tick / 7)))
    for sign in (1, -1) * 20:
        fleet.step(10, cpu=60 + sign * 6)
    assert set(fleet.counts) == {10}


@pytest.mark.parametrize("boot", [minutes(5)])
def test_a_step_of_the_load_does_not_overshoot_while_servers_boot(boot: timedelta) -> None:
    """Demand for six servers at 60 %; the loop runs every ten seconds for an hour."""
    fleet = Fleet(group(policy(CPU), max=50), 2, boot=boot)
    for _ in range(360):
        fleet.step(10, cpu=6 * 60 / max(1, fleet.supply.ready))
    assert max(fleet.counts) == 6
    assert fleet.counts[-1] == 6
    assert sum(max(0, decision.change) for decision in fleet.decisions) == 4


def test_jobs_that_wait_longer_while_servers_boot_ask_for_no_more() -> None:
    fleet = Fleet(group(policy(WAIT), max=50), 2, boot=minutes(5))
    for tick in range(29):
        fleet.step(10, wait=120 + 10 * tick)
    assert max(fleet.counts) == 4


def test_the_same_input_gives_the_same_decision() -> None:
    worker = group(policy(CPU, JOBS, up=EAGER, down=Direction(stabilise=minutes(5))))
    samples = {"cpu": Sample(77, START), "jobs": Sample(12, START)}
    first, second = (decide(worker, samples, Supply(3, 3, 2), History(), START) for _ in range(2))
    assert first == second
