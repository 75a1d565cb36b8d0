"""A count by the user's own function: what it is told, what it may answer, and that nonsense moves no server."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from scaler.autoscale.decide import Load
from scaler.autoscale.decision import Sample, SampleState
from scaler.autoscale.simulate import Setting, simulate
from scaler.autoscale.trace import Trace
from scaler.config.spec import load
from scaler.errors import InvalidSpecError
from scaler.model import Extension
from scaler.model.autoscaling import Direction, HttpSource, Metric, Policy
from tests.autoscale.live import JOBS, Live
from tests.autoscale.load import START, Fleet, group, metric, policy
from tests.config.test_autoscale import START as SPEC
from tests.config.test_autoscale import write

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "extend.md"


def asks(function: Callable[[Any], object], **rest: Any) -> Policy:
    metrics = {"jobs": metric("jobs")}
    defaults: dict[str, Any] = {"metrics": metrics, "function": Extension("fleet:count", function), "down": Direction()}
    return Policy(**(defaults | rest))


def test_the_function_receives_the_load() -> None:
    told: list[Load] = []
    fleet = Fleet(group(asks(told.append), min=1, max=9), current=4, booting=[START + timedelta(minutes=1)])
    decision = fleet.step(jobs=12)
    facts = {"current": 4, "supply": 4, "ready": 3, "min": 1, "max": 9}
    assert told == [Load(group="worker", at=START, metrics={"jobs": 12}, **facts)]
    assert decision.proposals[0].reason == "fleet:count has no opinion"
    assert (decision.count, decision.notices) == (4, ())


def test_its_answer_is_the_count_within_all_bounds() -> None:
    fleet = Fleet(group(asks(lambda load: math.ceil(load.metrics["jobs"] / 3)), min=1, max=6), current=2)
    assert [fleet.step(jobs=jobs).count for jobs in (9, 30, 3, 0)] == [3, 6, 1, 1]
    assert fleet.decisions[0].reason == "3 instead of 2: fleet:count says 3"
    assert fleet.decisions[1].caps[-1].name == "max"


def test_it_counts_as_one_more_rule() -> None:
    made = policy(JOBS, function=Extension("fleet:count", lambda load: 3))
    fleet = Fleet(group(made), current=3)
    assert [fleet.step(jobs=jobs).count for jobs in (10, 50, 10)] == [3, 5, 3], "the largest wins"


def fails(load: Load) -> object:
    raise ValueError("boom")


def exits(load: Load) -> object:
    raise SystemExit(3)


class Unprintable:
    def __repr__(self) -> str:
        raise ValueError


NONSENSE = [
    (fails, SampleState.MISSING, "ValueError: boom"),
    (exits, SampleState.MISSING, "SystemExit: 3"),
    (lambda load: load.metrics["job"], SampleState.MISSING, "KeyError: 'job'"),
    (lambda load: -1, SampleState.NEGATIVE, "-1 is negative"),
    (lambda load: 2.5, SampleState.NAN, "it answered 2.5, which is no whole number"),
    (lambda load: math.nan, SampleState.NAN, "it answered nan, which is no whole number"),
    (lambda load: True, SampleState.NAN, "it answered True, which is no whole number"),
    (lambda load: "3", SampleState.NAN, "it answered '3', which is no whole number"),
    (lambda load: Unprintable(), SampleState.NAN, "it answered a Unprintable, which is no whole number"),
    (lambda load: 10**400, SampleState.ABSURD, "more than 10000"),
]


@pytest.mark.parametrize(("function", "state", "words"), NONSENSE)
def test_a_wrong_answer_holds_the_count_and_is_reported_once(
    function: Callable[[Any], object], state: SampleState, words: str
) -> None:
    answers: list[Callable[[Any], object]] = [lambda load: 5, *[function] * 180, lambda load: 4]

    def asked(load: Load) -> object:
        return answers.pop(0)(load)

    fleet = Fleet(group(asks(asked)), current=5)
    for _ in range(182):
        fleet.step(10, jobs=1)
    assert set(fleet.counts[:-1]) == {5}
    assert fleet.counts[-1] == 4
    begun, over = fleet.notices
    assert begun.startswith(f"function fleet:count is {state}: ")
    assert words in begun
    assert begun.endswith("; 5 is held")
    assert over == "function fleet:count is back: 4"


def test_on_error_max_applies_to_functions() -> None:
    fleet = Fleet(group(asks(fails, on_error="max"), max=8), current=2)
    assert fleet.step(jobs=1).count == 8


def test_the_function_receives_none_for_an_unusable_metric() -> None:
    told: list[float | None] = []

    def two(load: Load) -> int:
        told.append(load.metrics["jobs"])
        return 2

    fleet = Fleet(group(asks(two)), current=2)
    for value in (None, math.nan, -1, 1e12, Sample(7, START - timedelta(hours=1)), 0, 7):
        fleet.step(jobs=value)
    assert told == [None] * 6 + [7]


def test_in_the_loop_a_function_that_fails_keeps_the_servers(tmp_path: Path) -> None:
    answers: list[Callable[[Any], object]] = [lambda load: 3]
    source = HttpSource(url="http://x/")

    def asked(load: Load) -> object:
        return answers[-1](load)

    made = asks(asked, metrics={"jobs": Metric(name="jobs", source=source)})
    live = Live(tmp_path, made)
    live.loop(2, 60, jobs=1)
    answers.append(fails)
    live.loop(30, 60, jobs=1)
    assert len(live.ready) == 3
    assert live.records.notices == ["function fleet:count is missing: ValueError: boom; 3 is held"]
    assert live.memory.load().histories["worker"].health["fleet:count"].state is SampleState.MISSING
    assert live.records.decisions[-1]["metrics"]["fleet:count"]["error"] == "ValueError: boom"


def test_a_simulation_calls_the_function() -> None:
    source = HttpSource(url="http://x/")
    metrics = {"jobs": Metric(name="jobs", source=source)}
    made = asks(lambda load: math.ceil(load.metrics["jobs"] / 10), metrics=metrics)
    arrivals = [0.0] * 10 + [5.0] * 20 + [0.0] * 40
    trace = Trace([60.0 * minute for minute in range(len(arrivals))], {"arrivals": arrivals})
    setting = Setting(cloud="hetzner", boots=(timedelta(seconds=90),), throughput=1.0)
    done = simulate("mine", group(made, max=9, count=1), trace, setting)
    assert (done.least, done.most) == (0, 9)


# ---------------------------------------------------------------------------------------------
# In the spec


def test_a_spec_names_it(tmp_path: Path) -> None:
    (tmp_path / "stacks").mkdir()
    (tmp_path / "fleet.py").write_text("def count(load):\n    return 2 * load.current\n")
    metrics = "      metrics: {jobs: {fixed: 1}}\n"
    path = write(tmp_path / "stacks", f"{metrics}      function: fleet:count\n", SPEC)
    made = load(path, "shop").groups["worker"].autoscale
    assert made is not None
    assert (made.rules, str(made.function)) == ((), "fleet:count")
    assert Fleet(group(made), current=3).step(jobs=1).count == 6


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ("      metrics: {}\n", "autoscale must have rules or a function; add rules"),
        ("      function: fleet:cuont\n", "autoscale.function names what is not in fleet: cuont; did you mean count?"),
        ("      function: fleet\n", "autoscale.function must be module:function, not 'fleet'"),
        ("      function: fleet:count\n      rules: []\n", "autoscale.rules must not be empty"),
    ],
)
def test_functions_that_a_spec_cannot_name(tmp_path: Path, block: str, problem: str) -> None:
    (tmp_path / "stacks").mkdir()
    (tmp_path / "fleet.py").write_text("def count(load):\n    return 1\n")
    with pytest.raises(InvalidSpecError) as caught:
        load(write(tmp_path / "stacks", block, SPEC), "shop")
    [told] = caught.value.problems
    assert problem in str(told)


def test_the_documented_function_does_what_the_page_says(tmp_path: Path) -> None:
    [code] = re.findall(r"```python\n(# load\.py\n.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "load.py").write_text(code)
    from scaler.hooks.functions import load_function

    function = Extension("load:count", load_function("load:count", tmp_path))
    jobs = {"jobs": metric("jobs"), "cpu": metric("cpu")}
    fleet = Fleet(group(Policy(metrics=jobs, function=function, down=Direction()), min=1), current=2)
    assert [fleet.step(jobs=value, cpu=cpu).count for value, cpu in ((100, 50), (100, 95), (0, 10))] == [4, 5, 1]
    assert fleet.step(jobs=None, cpu=10).count == 1, "without a number it has no opinion"
