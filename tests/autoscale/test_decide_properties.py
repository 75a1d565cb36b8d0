"""What holds for every policy, load and past."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaler.autoscale.decide import decide, decide_stack
from scaler.autoscale.decision import Bound, Ceiling, History, Sample, Supply
from scaler.model.autoscaling import Backlog, Direction, Policy, Schedule, Steps, Target, Threshold, Wait, Window
from tests.autoscale.load import START, group, policy, spec

COUNTS = st.integers(0, 30)
LOADS = st.floats(0, 1e6, allow_nan=False)
SPANS = st.sampled_from([timedelta(0), timedelta(minutes=1), timedelta(minutes=10)])
DIRECTIONS = st.builds(Direction, stabilise=SPANS, cooldown=SPANS, step=st.none() | st.integers(1, 5))
TOLERANCES = st.sampled_from([0.0, 0.1, 0.5])
TABLES = st.lists(st.integers(-3, 10), min_size=1, max_size=4).map(
    lambda counts: tuple(Threshold(100.0 * index, count) for index, count in enumerate(sorted(counts)))
)
RULES = st.one_of(
    st.builds(Target, metric=st.just("load"), value=st.floats(1, 1e3), tolerance=TOLERANCES),
    st.builds(Backlog, metric=st.just("load"), per_server=st.floats(1, 1e3), tolerance=TOLERANCES),
    st.builds(Wait, metric=st.just("load"), within=st.just(timedelta(minutes=1)), tolerance=TOLERANCES),
    st.builds(Steps, metric=st.just("load"), steps=TABLES, relative=st.just(True)),
    TABLES.map(
        lambda steps: Steps(metric="load", steps=tuple(Threshold(s.start, abs(s.count)) for s in _rising(steps)))
    ),
)
SCHEDULES = st.builds(
    Schedule,
    timezone=st.just("UTC"),
    windows=st.tuples(
        st.builds(Window, cron=st.just("* * * * *"), length=st.just(timedelta(hours=1)), min=COUNTS, max=COUNTS)
    ),
)


def _rising(steps: Iterable[Threshold]) -> list[Threshold]:
    return [Threshold(step.start, step.count + 3) for step in steps]


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    rules = draw(st.lists(RULES, min_size=1, max_size=3)) + draw(st.lists(SCHEDULES, max_size=1))
    return policy(*rules, up=draw(DIRECTIONS), down=draw(DIRECTIONS))


@st.composite
def supplies(draw: st.DrawFn) -> Supply:
    current = draw(COUNTS)
    return Supply(current, current, draw(st.integers(0, current)))


@st.composite
def histories(draw: st.DrawFn) -> History:
    ages = sorted(draw(st.lists(st.integers(0, 3600), max_size=5, unique=True)), reverse=True)
    moment = st.none() | st.integers(0, 3600).map(lambda age: START - timedelta(seconds=age))
    return History(
        asked=tuple((START - timedelta(seconds=age), draw(COUNTS)) for age in ages),
        count=draw(st.none() | COUNTS),
        raised=draw(moment),
        lowered=draw(moment),
        by_hand=draw(moment),
    )


@given(policies(), supplies(), histories(), LOADS, st.integers(0, 10), st.integers(0, 10), COUNTS)
# Neither a deadline nor slow generation: a loaded machine is no fault.
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_never_outside_min_max_and_limit(
    policy: Policy, supply: Supply, history: History, load: float, low: int, more: int, limit: int
) -> None:
    worker = group(policy, min=low, max=low + more)
    ceiling = Ceiling("limit", max(limit, low), "the stack's limit")
    count = decide(worker, {"load": Sample(load, START)}, supply, history, START, (ceiling,)).count
    assert low <= count <= min(low + more, max(limit, low))


@given(
    st.lists(st.tuples(policies(), supplies(), st.integers(0, 5), LOADS), min_size=1, max_size=3),
    st.none() | st.integers(0, 40),
    st.integers(0, 40),
)
@settings(max_examples=200)
def test_groups_together_keep_every_bound_and_only_the_limit_takes_servers_away(
    drawn: list[tuple[Policy, Supply, int, float]], limit: int, affordable: int
) -> None:
    groups = [group(made, min=low, max=40, name=f"g{index}") for index, (made, _, low, _) in enumerate(drawn)]
    supplies = {one.name: drawn[index][1] for index, one in enumerate(groups)}
    samples = {one.name: {"load": Sample(drawn[index][3], START)} for index, one in enumerate(groups)}
    bound = Bound("budget", "the budget", lambda counts: sum(counts.values()) <= affordable)
    free, bounded, limited = (
        decide_stack(spec(*groups, limit=most), samples, supplies, {}, START, None, bounds)
        for most, bounds in ((None, ()), (None, (bound,)), (limit, (bound,)))
    )
    there = {one.name: max(supplies[one.name].supply, one.min) for one in groups}
    counts = {name: decision.count for name, decision in bounded.items()}
    assert all(min(there[name], free[name].count) <= count <= free[name].count for name, count in counts.items())
    assert sum(counts.values()) <= affordable or all(count <= there[name] for name, count in counts.items())
    assert all(limited[name].count <= count for name, count in counts.items())
    assert limit is None or sum(decision.count for decision in limited.values()) <= limit


@given(policies(), supplies(), histories(), LOADS, LOADS)
# Neither a deadline nor slow generation: a loaded machine is no fault.
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_more_load_never_means_fewer_servers(
    policy: Policy, supply: Supply, history: History, one: float, other: float
) -> None:
    worker = group(policy, max=40)
    less, more = (
        decide(worker, {"load": Sample(load, START)}, supply, history, START).count for load in sorted((one, other))
    )
    assert less <= more


@given(policies(), supplies(), histories(), st.none() | LOADS)
@settings(max_examples=200)
def test_the_same_input_gives_the_same_decision_and_tells_why(
    policy: Policy, supply: Supply, history: History, load: float
) -> None:
    worker = group(policy, max=40)
    first, second = (decide(worker, {"load": Sample(load, START)}, supply, history, START) for _ in range(2))
    assert first == second
    after = first.caps[-1].after if first.caps else first.asked
    assert after == first.count, "what was asked for, and the caps, explain the count"


@given(policies(), supplies(), histories(), st.integers(0, 10))
@settings(max_examples=200)
def test_a_metric_that_is_missing_never_lowers_the_count(
    policy: Policy, supply: Supply, history: History, low: int
) -> None:
    worker = group(policy, min=low, max=40)
    windows = [rule for rule in policy.rules if isinstance(rule, Schedule)]
    tops = [window.max for rule in windows for window in rule.windows if window.max is not None]
    count = decide(worker, {"load": Sample(None, START, "gone")}, supply, history, START).count
    assert count >= min([supply.current, *tops])
