"""Recorded load replayed: the queue model against sums done by hand, bills, traces, and whole simulations."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from scaler.autoscale.billing import bill
from scaler.autoscale.decision import Decision
from scaler.autoscale.queue_model import Queue, waits
from scaler.autoscale.simulate import Setting, simulate
from scaler.autoscale.trace import Trace, TraceError, load_trace, trace_of
from scaler.errors import UsageError
from scaler.model import Price
from scaler.model.autoscaling import (
    Backlog,
    Direction,
    HorizonSource,
    HttpSource,
    Learned,
    Policy,
    RedisSource,
    Target,
    Wait,
)
from scaler.model.events import Event, EventName
from tests.autoscale.load import START, Fleet, group, metric, policy

SETTING = Setting(cloud="hetzner", boots=(timedelta(minutes=5),))
CALM = Direction(stabilise=timedelta(minutes=5))


def trace(step: float = 10, **columns: Sequence[float | None]) -> Trace:
    length = len(next(iter(columns.values())))
    return Trace([START.timestamp() + step * index for index in range(length)], columns)


def measured(policy: Policy) -> Policy:
    """The policy with sources that a trace stands in for."""
    web = HttpSource(url="http://metrics/")
    return replace(policy, metrics={name: replace(one, source=web) for name, one in policy.metrics.items()})


# ---------------------------------------------------------------------------------------------
# The queue model


def test_no_job_waits_in_a_queue_that_keeps_up() -> None:
    queue = Queue(throughput=2.0)
    for step in range(100):
        queue.advance(step * 10, 10, rate=6.0, ready=3)
    summary, each = waits(queue)
    assert (queue.backlog, queue.busy, queue.oldest()) == (0, 1, 0)
    assert (summary.mean, summary.p95, summary.worst, set(each)) == (0, 0, 0, {0})


def test_a_burst_is_worked_off_in_order() -> None:
    """600 jobs in the first minute at 4/s: served at 4/s from the start, done after 150 s."""
    queue = Queue(throughput=4.0)
    for step in range(30):
        queue.advance(step * 10, 10, rate=10.0 if step < 6 else 0.0, ready=1)
        if step == 5:
            assert queue.backlog == 360
            assert queue.time_to_clear(1) == 90
            assert queue.oldest() == pytest.approx(60 - 240 / 10)
    summary, each = waits(queue)
    # The job that arrives at t is the 10 t-th and is begun at 10 t / 4.
    assert each[:6] == pytest.approx([15, 30, 45, 60, 75, 90])
    assert summary.worst == pytest.approx(90)
    assert summary.mean == pytest.approx(52.5)
    assert queue.backlog == 0


def test_a_job_that_is_never_started_waits_until_the_end() -> None:
    queue = Queue(throughput=1.0)
    for step in range(10):
        queue.advance(step * 10, 10, rate=1.0, ready=0)
    summary, _ = waits(queue)
    assert summary.worst == 90
    assert queue.oldest() == 100


# ---------------------------------------------------------------------------------------------
# Bills

CX23 = Price("EUR", Decimal("0.01"), Decimal("6"))


def lived(seconds: float, start: datetime = START) -> tuple[datetime, datetime]:
    return start, start + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("cloud", "seconds", "cost"),
    [
        ("hetzner", 1, "0.01"),
        ("hetzner", 3600, "0.01"),
        ("hetzner", 3601, "0.02"),
        ("hetzner", 25 * 86400, "6"),
        ("digitalocean", 1, "0.01"),
        ("digitalocean", 7200, "0.02"),
        ("digitalocean", 5400, "0.015"),
    ],
)
def test_the_clouds_billing_rules(cloud: str, seconds: float, cost: str) -> None:
    assert bill(cloud, CX23, [lived(seconds)]) == Decimal(cost)


def test_the_cap_is_per_calendar_month_and_server() -> None:
    start = datetime(2026, 1, 30, tzinfo=UTC)
    # Two days of January, and all of February: 0.48 + the cap.
    assert bill("hetzner", CX23, [lived(30 * 86400, start)]) == Decimal("6.48")
    assert bill("hetzner", CX23, [lived(86400), lived(86400)]) == Decimal("0.48")


# ---------------------------------------------------------------------------------------------
# Traces


def test_the_forms_of_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    expected = Trace([1767225600.0, 1767225660.0], {"jobs": [3.0, None], "cpu": [0.5, 0.75]})
    path.write_text("time,jobs,cpu\n2026-01-01T00:00:00Z,3,0.5\n1767225660,,0.75\n")
    assert load_trace(path) == expected
    rows = [{"time": 1767225600, "jobs": 3, "cpu": 0.5}, {"time": "2026-01-01T00:01:00Z", "jobs": None, "cpu": 0.75}]
    path.write_text(json.dumps(rows))
    assert load_trace(path) == expected
    series = [
        {"metric": {"__name__": "jobs", "queue": "a"}, "values": [[1767225600, "3"]]},
        {"metric": {"of": "cpu"}, "values": [[1767225600, "0.5"], [1767225660, "0.75"]]},
    ]
    path.write_text(json.dumps({"status": "success", "data": {"resultType": "matrix", "result": series}}))
    assert load_trace(path) == expected


def matrix(*series: object) -> str:
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": list(series)}})


def test_a_moment_without_a_number_was_not_recorded(tmp_path: Path) -> None:
    """Prometheus says NaN where a query divides by nothing."""
    path = tmp_path / "trace"
    path.write_text(matrix({"metric": {"__name__": "a"}, "values": [[1, "NaN"], [2, "3"]]}))
    assert load_trace(path) == Trace([1.0, 2.0], {"a": [None, 3.0]})
    path.write_text("time,a\n1,nan\n2,3\n")
    assert load_trace(path) == Trace([1.0, 2.0], {"a": [None, 3.0]})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "names no column time"),
        ("a,b\n1,2\n", "names no column time"),
        ("time,a\n", "it is empty"),
        ("time\n1\n", "it has a time and no values"),
        ("time,a\n1,2\n1,3\n", "the times do not rise: 1 is followed by 1"),
        ("time,a\nnoon,2\n", "line 2: 'noon' is no time"),
        ("time,a\n1,many\n", "line 2: a: 'many' is no number"),
        ("time,a\n1\n", "line 2 has another number of fields"),
        ("time,a,a\n0,1,2\n", "the first line names the column 'a' twice"),
        ("time,a\n0001-01-01T00:00:00Z,1\n9999-12-31T23:59:59Z,1\n", "line 2: '0001-01-01T00:00:00Z' is no time"),
        ("time,a\n1767225600000,1\n", "is no time in the years"),
        ("[1]", "something else than objects"),
        ('[{"a": 1}]', "item 0 has no time"),
        ("[", "it is no JSON, at line 1, column 2"),
        ('{"status": "error"}', "no answer to a range query"),
        (matrix({"metric": {}}), "series 1 has no `values`"),
        (matrix({"values": []}), "series 1 has no `metric`"),
        (matrix({"metric": {"a": 1}, "values": []}), "series 1 has no `metric`"),
        (matrix({"metric": {}, "histograms": [[1, {}]]}), "series 1 is a native histogram"),
        (matrix({"metric": {}, "values": [[1, None]]}), "series 1, point 1 is no number"),
        (matrix({"metric": {}, "values": [[1, "2"], [2, "+Inf"]]}), "series 1, point 2 is infinite"),
        (matrix({"metric": {}, "values": [["NaN", "2"]]}), "series 1, point 1: the time is no number"),
        (matrix({"metric": {}, "values": [[1]]}), "series 1, point 1 is no pair"),
        (matrix({"metric": {}, "values": [[-1, "2"]]}), "is no time in the years"),
        (matrix(7), "series 1 is no object"),
        ("time,a\n1,inf\n", "line 2: a is infinite"),
        ("time,a\n1,'" + "x" * 200_000, "field larger"),
        ("[" * 200_000, "nested too deep"),
    ],
    ids=lambda text: text[:40],
)
def test_files_that_are_not_recorded_load(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "trace"
    path.write_text(text)
    with pytest.raises(TraceError) as caught:
        load_trace(path)
    assert why in caught.value.why


# ---------------------------------------------------------------------------------------------
# Simulations


def test_the_decisions_are_those_of_the_real_code() -> None:
    """The trace's values, fed one by one to `decide` with a fleet that boots as long, give the same decisions."""
    cpu: list[float | None] = [
        60 + 50 * math.sin(index / 40) + (200 if 300 < index < 330 else 0) for index in range(1000)
    ]
    cpu[500:520] = [None] * 20
    worker = group(measured(policy(Target(metric="cpu", value=60), up=Direction(cooldown=CALM.stabilise), down=CALM)))
    seen: list[Decision] = []
    result = simulate("p", worker, trace(cpu=cpu), SETTING, seen.append)
    fleet = Fleet(worker, worker.count, boot=timedelta(minutes=5))
    for value in cpu:
        fleet.step(10, cpu=value)
    assert seen == fleet.decisions
    assert result.wanted == fleet.counts
    assert result.changes == sum(1 for decision in fleet.decisions if decision.change) > 10


def test_a_burst_costs_what_it_costs() -> None:
    """Ten minutes of 20 jobs/s at 1/s and server, with boots of five minutes."""
    rule = Backlog(metric="jobs", within=timedelta(minutes=1), throughput=1.0)
    worker = group(measured(policy(rule, down=CALM)), min=1, count=1, max=30)
    arrivals = [0.0] * 60 + [20.0] * 60 + [0.0] * 360
    price = replace(SETTING, price=Price("EUR", Decimal("0.01")))
    result = simulate("p", worker, trace(arrivals=arrivals), price)
    assert result.most == 30
    assert result.least == 1
    assert result.waits is not None
    assert result.waits.worst >= 300, "nobody is served by the new ones before they have booted"
    assert 10 < result.overload_minutes < 30
    assert result.cost == pytest.approx(0.01 * (2 + 29)), "the first server lives 80 minutes, the others within an hour"
    assert result.wanted[-1] == 1


def test_keeping_paid_servers_costs_less_and_no_job_waits_longer() -> None:
    """A day of load that comes and goes every twenty minutes."""
    arrivals = [20.0 if index // 60 % 2 else 2.0 for index in range(8_640)]
    rule = Backlog(metric="jobs", within=timedelta(minutes=2), throughput=1.0)
    at_once = group(measured(policy(rule, down=CALM)), min=1, count=2, max=30)
    setting = replace(SETTING, boots=(timedelta(minutes=1),), price=Price("EUR", Decimal("0.01")))
    kept, deleted = (
        simulate("p", replace(at_once, keep_paid=keep), trace(arrivals=arrivals), setting) for keep in (True, False)
    )
    assert kept.cost is not None
    assert deleted.cost is not None
    assert kept.cost <= 0.85 * deleted.cost
    assert kept.waits == deleted.waits
    assert kept.wanted == deleted.wanted
    on_digitalocean = replace(setting, cloud="digitalocean")
    alike = [
        simulate("p", replace(at_once, keep_paid=keep), trace(arrivals=arrivals), on_digitalocean)
        for keep in (True, False)
    ]
    assert alike[0] == alike[1]


def test_a_budget_caps_a_simulation_and_removes_nothing() -> None:
    worker = group(measured(policy(Backlog(metric="jobs", per_server=10))), count=2, min=1)
    poor = replace(SETTING, budget=Decimal(20), price=Price("EUR", Decimal("0.01"), Decimal(6)))
    assert simulate("p", worker, trace(jobs=[90.0] * 3), poor).wanted == [3, 3, 3]
    rich = simulate("p", worker, trace(jobs=[90.0] * 3), replace(poor, start=5))
    assert rich.wanted == [5, 5, 5]
    assert rich.decisions == [] or rich.decisions[0].change == 0
    unknown = replace(poor, price=Price("EUR", Decimal("0.01")))
    assert simulate("p", worker, trace(jobs=[90.0]), unknown).most == 9


def test_more_servers_wait_less() -> None:
    arrivals = [5 + 4 * math.sin(index / 100) for index in range(2000)]
    rules = {name: Target(metric="cpu", value=value) for name, value in (("tight", 90), ("roomy", 50))}
    tight, roomy = (
        simulate(
            name,
            group(measured(policy(rule, down=CALM)), min=1),
            trace(arrivals=arrivals),
            replace(SETTING, throughput=1.0),
        )
        for name, rule in rules.items()
    )
    assert roomy.waits is not None
    assert tight.waits is not None
    assert roomy.waits.mean < tight.waits.mean
    assert roomy.server_hours > tight.server_hours


def test_the_values_of_modelled_metrics() -> None:
    metrics = {
        "pending": replace(metric("pending"), source=HorizonSource(url="redis://x", measure="pending")),
        "wait": replace(metric("wait"), source=HorizonSource(url="redis://x")),
        "age": replace(metric("age"), source=RedisSource(url="redis://x", key="a", measure="age")),
        "busy": replace(metric("busy"), source=HttpSource(url="http://x")),
        "done": replace(metric("done"), source=HttpSource(url="http://x")),
    }
    learn = Learned(metric="done", initial=1.0)
    rules = (
        Backlog(metric="pending", within=timedelta(minutes=1), throughput=learn),
        Wait(metric="wait", within=timedelta(minutes=1)),
        Wait(metric="age", within=timedelta(minutes=1)),
        Target(metric="busy", value=0.5),
    )
    seen: list[Decision] = []
    setting = replace(SETTING, throughput=1.0, limit=2)
    simulate("p", group(policy(*rules, metrics=metrics), min=2), trace(arrivals=[4.0] * 10), setting, seen.append)
    # After 60 s two servers have done 120 of 240 jobs; the 120th came after 30 s.
    told = {reading.metric: reading.value for reading in seen[6].readings}
    assert told == pytest.approx({"pending": 120, "wait": 60, "age": 30, "busy": 1, "done": 120})


def test_the_logged_decisions_are_recorded_load() -> None:
    def decided(minute: int, group: str, **values: object) -> Event:
        readings = {name: {"value": value, "at": "", "state": "ok", "error": None} for name, value in values.items()}
        decision = {"group": group, "ready": minute, "metrics": readings}
        at = START + timedelta(minutes=minute)
        return Event(event=EventName.AUTOSCALE_DECIDED, at=at, group=group, decision=decision)

    events = [
        decided(0, "worker", jobs=1.0),
        decided(1, "worker", jobs=20.0),
        decided(2, "web", jobs=5.0),
        Event(event=EventName.RUN_STARTED, at=START + timedelta(minutes=3)),
        decided(4, "worker", jobs="inf"),
        decided(5, "worker", jobs=30.0, age=7),
    ]
    found = trace_of(events, "worker", START + timedelta(minutes=1))
    assert [found.moment(index) for index in range(3)] == [START + timedelta(minutes=minute) for minute in (1, 4, 5)]
    assert found.columns == {"servers": [1, 4, 5], "jobs": [20, None, 30], "age": [None, None, 7]}
    with pytest.raises(TraceError, match="No decision for worker is recorded since"):
        trace_of(events, "worker", START + timedelta(minutes=6))


def test_averages_are_corrected_by_the_recorded_number_of_servers() -> None:
    worker = group(measured(policy(Target(metric="cpu", value=60))), count=8)
    seen: list[Decision] = []
    simulate("p", worker, trace(cpu=[90.0] * 3, servers=[4.0] * 3), SETTING, seen.append)
    assert seen[0].readings[0].value == 45, "90 % on four servers are 45 % on eight"
    assert [decision.count for decision in seen] == [6, 6, 6]


def test_what_a_trace_must_have() -> None:
    jobs = group(measured(policy(Backlog(metric="jobs", per_server=5))))
    with pytest.raises(UsageError, match="no column for the metric jobs"):
        simulate("p", jobs, trace(cpu=[1.0]), SETTING)
    with pytest.raises(UsageError, match="not known how many jobs a server does"):
        simulate("p", jobs, trace(arrivals=[1.0]), SETTING)
    with pytest.raises(UsageError, match="has no autoscale block"):
        simulate("p", group(None), trace(cpu=[1.0]), SETTING)


def test_a_week_at_ten_seconds_is_replayed_whole() -> None:
    cpu = [60 + 40 * math.sin(2 * math.pi * index / 8640) for index in range(60_480)]
    worker = group(measured(policy(Target(metric="cpu", value=60), down=CALM)))
    result = simulate("p", worker, trace(cpu=cpu), SETTING)
    assert len(result.wanted) == 60_480
    assert result.server_hours > 7 * 24
