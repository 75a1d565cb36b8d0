"""The loop, on a moved clock: its interval, its errors, its end, its spec; and what it shows over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from scaler.autoscale.exposition import Exposition
from scaler.autoscale.figures import Figures
from scaler.autoscale.watch import Duty, Watch
from scaler.errors import SpecError, UsageError
from scaler.model import Spec
from scaler.model.autoscaling import Direction
from tests.autoscale.live import JOBS, Live
from tests.autoscale.load import policy
from tests.support import servers
from tests.support.fakes import FakeClock, passing
from tests.support.served import served

TEN = timedelta(seconds=10)


class Recorded:
    def __init__(self) -> None:
        self.events: list[str] = []
        self.skipped = 0

    def began(self, waited_s: float, skipped: int) -> None:
        self.skipped += skipped

    def ticked(self, done: Any, took_s: float) -> None:
        self.events.append("ticked")

    def failed(self, error: Exception, took_s: float) -> None:
        self.events.append(f"failed: {error}")

    def reloaded(self, spec: Spec) -> None:
        self.events.append(f"reloaded: limit {spec.limit}")

    def stands_by(self, active: str) -> None:
        self.events.append(f"stands by: {active}")

    def rests(self, spec: Spec) -> None:
        self.events.append("rests")

    def reload_failed(self, error: Exception, spec: Spec | None) -> None:
        self.events.append(f"reload failed: {error}" if spec else f"no spec yet: {error}")


class Loop:
    """A watch whose ticks take as long as the test says, and end it after the last."""

    def __init__(self, spec: Spec, takes: Iterable[float], errors: Any = (), specs: Any = ()) -> None:
        self.clock, self.listener = FakeClock(), Recorded()
        self.begun: list[float] = []
        self.takes, self.errors, self.specs = list(takes), dict(errors), dict(specs)
        self.spec = spec
        self.seen: list[int | None] = []
        self.watch = Watch(
            interval=TEN,
            clock=self.clock,
            load=self.load,
            open=lambda spec: nullcontext(Duty(self.tick)),
            listener=self.listener,
        )

    def load(self) -> Spec:
        found: Spec | Exception = self.specs.get(len(self.begun), self.spec)
        if isinstance(found, Exception):
            raise found
        self.spec = found
        return found

    def tick(self, spec: Spec, now: datetime) -> Any:
        number = len(self.begun)
        self.begun.append(self.clock.passed)
        self.seen.append(spec.limit)
        self.clock.passed += self.takes[number]
        if number + 1 == len(self.takes):
            self.watch.stop()
        if number in self.errors:
            raise self.errors[number]


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    return Live(tmp_path).spec


def test_the_interval_does_not_drift_whatever_ticks_take(spec: Spec) -> None:
    loop = Loop(spec, takes=[0.3, 7.7, 3.1, 0, 9.9, 2])
    loop.watch.run()
    assert loop.begun == pytest.approx([0, 10, 20, 30, 40, 50])
    assert loop.listener.skipped == 0


def test_a_long_tick_skips_the_missed_ones(spec: Spec) -> None:
    loop = Loop(spec, takes=[1, 25, 1, 1])
    loop.watch.run()
    assert loop.begun == pytest.approx([0, 10, 40, 50])
    assert loop.listener.skipped == 2


def test_the_watch_continues_after_every_exception(spec: Spec) -> None:
    loop = Loop(spec, takes=[1] * 4, errors={0: passing()[0], 1: ZeroDivisionError("oops"), 2: UsageError("no")})
    loop.watch.run()
    assert [text.partition(":")[0] for text in loop.listener.events] == ["failed", "failed", "failed", "ticked"]


def test_a_base_exception_ends_the_watch(spec: Spec) -> None:
    loop = Loop(spec, takes=[1] * 4, errors={1: KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        loop.watch.run()
    assert len(loop.begun) == 2


def test_stop_ends_the_watch_after_the_current_tick(spec: Spec) -> None:
    loop = Loop(spec, takes=[3])
    loop.watch.run()
    assert loop.clock.passed == 3


def test_stop_is_obeyed_during_a_sleep(spec: Spec) -> None:
    loop = Loop(spec, takes=[1] * 9)
    loop.clock.on_tick = lambda: loop.watch.stop() if loop.clock.passed > 14 else None
    loop.watch.run()
    assert loop.clock.passed < 15
    assert len(loop.begun) == 2


def test_a_changed_spec_is_used_from_the_next_tick_and_an_invalid_one_is_not(spec: Spec) -> None:
    newer = replace(spec, limit=7)
    broken = SpecError("1 problem")
    loop = Loop(spec, takes=[1] * 6, specs={2: broken, 3: broken, 4: newer})
    loop.watch.run()
    assert loop.seen == [None, None, None, None, 7, 7]
    assert loop.listener.events == [
        *["ticked"] * 2,
        *["reload failed: 1 problem", "ticked"] * 2,
        "reloaded: limit 7",
        *["ticked"] * 2,
    ]


def test_a_watch_waits_for_its_first_valid_spec_that_has_something_to_scale(spec: Spec) -> None:
    nothing = replace(spec, groups={name: replace(one, autoscale=None) for name, one in spec.groups.items()})
    loop = Loop(spec, takes=[1])
    found: list[Spec | Exception] = [SpecError("1 problem"), nothing, spec, spec]

    def load() -> Spec:
        loop.specs = {0: found.pop(0)}
        return loop.load()

    loop.watch.load = load
    loop.watch.run()
    assert loop.listener.events == ["no spec yet: 1 problem", "rests", "ticked"]
    assert loop.begun == pytest.approx([20])


def test_a_stack_whose_policies_were_removed_is_left_alone_until_it_has_one_again(spec: Spec) -> None:
    nothing = replace(spec, groups={name: replace(one, autoscale=None) for name, one in spec.groups.items()})
    loop = Loop(spec, takes=[1, 1])
    found = [spec, spec, nothing, nothing, spec]

    def load() -> Spec:
        loop.specs = {len(loop.begun): found.pop(0)}
        return loop.load()

    loop.watch.load = load
    loop.watch.run()
    assert [event for event in loop.listener.events if not event.startswith("reloaded")] == [
        "ticked",
        "rests",
        "rests",
        "ticked",
    ]
    assert loop.listener.skipped == 0, "nothing was due meanwhile"


# ---------------------------------------------------------------------------------------------
# HTTP


@pytest.fixture
def exposition(tmp_path: Path) -> Iterator[Exposition]:
    clock = FakeClock()
    shown = Exposition(TEN, clock)
    with served(shown, tmp_path) as url:
        shown.clock, shown.address = clock, url  # type: ignore[attr-defined]
        yield shown


@pytest.fixture
def figures(exposition: Exposition) -> Figures:
    figures = exposition.of("prod")
    figures.settle(None)
    return figures


def address_of(exposition: Exposition) -> str:
    address: str = exposition.address  # type: ignore[attr-defined]
    return address


def numbers(exposition: Exposition) -> dict[tuple[str, ...], float]:
    """Every sample, by its name and its labels' values in the labels' order."""
    answer = requests.get(f"{address_of(exposition)}/metrics", timeout=5)
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    return {
        (sample.name, *(value for name, value in sorted(sample.labels.items()) if name != "stack")): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_the_exposed_metrics(tmp_path: Path, exposition: Exposition, figures: Figures) -> None:
    live = Live(tmp_path, policy(JOBS, down=Direction(stabilise=timedelta(minutes=5))))
    figures.ticked(live.tick(jobs=50), 2.0)
    live.wait(timedelta(minutes=1))
    figures.ticked(live.tick(jobs=None), 0.2)
    shown = numbers(exposition)
    assert shown["scaler_wanted", "worker"] == 5
    assert shown["scaler_ready", "worker"] == 5
    assert shown["scaler_servers", "worker", "running"] == 5
    assert shown["scaler_servers", "worker", "hanging"] == 0
    assert shown["scaler_decisions_total", "up", "worker"] == 1
    assert shown["scaler_decisions_total", "none", "worker"] == 1
    assert shown["scaler_requests_total", "create"] == 5
    assert shown["scaler_runs_total", "unconfirmed"] == 1
    assert shown["scaler_runs_total", "converged"] == 1
    assert shown["scaler_run_duration_seconds_count",] == 2
    assert shown["scaler_run_duration_seconds_sum",] == 2.2
    assert shown["scaler_metric_ok", "worker", "jobs"] == 0
    assert shown["scaler_last_success_timestamp_seconds",] > 1.7e9
    figures.failed(passing()[0], 1.0)
    assert numbers(exposition)["scaler_runs_total", "error"] == 1
    assert ("scaler_budget_left", "EUR") not in shown, "it has no budget"


def test_the_rest_of_the_budget_is_exposed_while_there_is_a_budget(
    tmp_path: Path, exposition: Exposition, figures: Figures
) -> None:
    live = Live(tmp_path)
    live.spec = replace(live.spec, budget=Decimal(27))
    figures.ticked(live.tick(jobs=30), 1.0)
    assert numbers(exposition)["scaler_budget_left", "EUR"] == 12, "three servers at 5 a month are planned"
    live.wait(timedelta(minutes=1))
    figures.ticked(live.tick(jobs=30), 1.0)
    figures.ticked(live.tick(jobs=30), 1.0)
    assert numbers(exposition)["scaler_budget_left", "EUR"] == 12, "and are there"
    live.spec = replace(live.spec, budget=None)
    figures.ticked(live.tick(jobs=30), 1.0)
    assert ("scaler_budget_left", "EUR") not in numbers(exposition)


def test_healthy_means_that_ticks_finish(exposition: Exposition, figures: Figures) -> None:
    def health() -> tuple[int, dict[str, Any]]:
        answer = requests.get(f"{address_of(exposition)}/healthz", timeout=5)
        return answer.status_code, answer.json()

    assert health()[0] == 200
    figures.failed(passing()[0], 1.0)
    code, facts = health()
    assert (code, facts["healthy"]) == (200, True)
    assert "try later" in facts["error"]
    exposition.clock.passed += 1000  # type: ignore[attr-defined]
    code, facts = health()
    assert (code, facts["healthy"], facts["last_tick_s_ago"]) == (503, False, 1000)


def test_each_stack_has_its_own_figures_and_health_names_the_one_that_is_stale(
    tmp_path: Path, exposition: Exposition, figures: Figures
) -> None:
    def health() -> tuple[int, dict[str, Any]]:
        answer = requests.get(f"{address_of(exposition)}/healthz", timeout=5)
        return answer.status_code, answer.json()

    def families() -> dict[tuple[str, str], float]:
        text = requests.get(f"{address_of(exposition)}/metrics", timeout=5).text
        assert text.count("# TYPE scaler_runs_total") == 1, "all of one name together"
        return {
            (sample.labels["stack"], sample.name): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name in ("scaler_runs_total", "scaler_skipped_ticks_total", "scaler_active")
        }

    test = exposition.of("test")
    assert health()[1]["stacks"]["test"]["role"] == "starting"
    test.settle(Held("process 4711 on app-1"))
    live = Live(tmp_path)
    figures.began(0.0, 0)
    figures.ticked(live.tick(jobs=50), 2.0)
    test.began(1.5, 3)
    test.failed(passing()[0], 1.0)
    assert families() == {
        ("prod", "scaler_runs_total"): 1,
        ("prod", "scaler_skipped_ticks_total"): 0,
        ("prod", "scaler_active"): 1,
        ("test", "scaler_runs_total"): 1,
        ("test", "scaler_skipped_ticks_total"): 3,
        ("test", "scaler_active"): 0,
    }
    code, facts = health()
    assert (code, facts["healthy"], facts["stale"], facts["role"]) == (200, True, [], "mixed")
    assert facts["error"].startswith("test: ")
    assert facts["stacks"]["prod"] == {"healthy": True, "last_tick_s_ago": 0, "error": None, "role": "active"}
    assert facts["stacks"]["test"]["active"] == "process 4711 on app-1"

    exposition.clock.passed += 1000  # type: ignore[attr-defined]
    figures.failed(passing()[0], 1.0)
    code, facts = health()
    assert (code, facts["healthy"], facts["stale"], facts["last_tick_s_ago"]) == (503, False, ["test"], 1000)
    # A stack whose spec has been invalid since it began is in trouble, but its watch is not.
    test.reload_failed(SpecError("1 problem"), None)
    assert health()[0] == 200
    assert health()[1]["stacks"]["test"]["error"] == "1 problem"

    exposition.forget("test")
    assert {stack for stack, _ in families()} == {"prod"}
    assert list(health()[1]["stacks"]) == ["prod"]
    exposition.forget("prod")
    assert health() == (
        200,
        {"healthy": True, "last_tick_s_ago": 0, "error": None, "role": "active", "stale": [], "stacks": {}},
    )


@dataclass(frozen=True)
class Held:
    """The turn of a watch that stands by for another one."""

    holder: str
    is_held: bool = False


def test_prometheus_itself_scrapes_it(tmp_path: Path, exposition: Exposition, figures: Figures) -> None:
    live = Live(tmp_path / "state")
    figures.ticked(live.tick(jobs=50), 2.0)
    folder = tmp_path / "prometheus"
    folder.mkdir()
    address = address_of(exposition).removeprefix("http://")
    with servers.prometheus_server(folder, address, awaited="scaler_wanted") as url:
        answer = requests.get(f"{url}/api/v1/query", params={"query": "scaler_wanted"}, timeout=5).json()
    [series] = answer["data"]["result"]
    assert series["value"][1] == "5"
    assert json.dumps(series["metric"], sort_keys=True).count("worker") == 1
