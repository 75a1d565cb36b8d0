"""The report: the terminal's chart, and the document."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from scaler.autoscale import report
from scaler.autoscale.simulate import Setting, Simulation, compare
from scaler.autoscale.trace import Trace
from scaler.model import Price
from scaler.model.autoscaling import Backlog, Direction, HttpSource, Rule, Target
from tests.autoscale.load import START, group, policy


@pytest.fixture(scope="module")
def trace() -> Trace:
    arrivals = [max(0.0, 8 + 7 * math.sin(index / 300)) for index in range(3000)]
    return Trace([START.timestamp() + 10 * index for index in range(3000)], {"arrivals": arrivals})


@pytest.fixture(scope="module")
def simulations(trace: Trace) -> Sequence[Simulation]:
    rules: dict[str, Rule] = {
        "by <load>": Target(metric="cpu", value=70),
        "by queue": Backlog(metric="jobs", within=timedelta(minutes=1), throughput=2.0),
    }
    groups = {}
    for name, rule in rules.items():
        made = policy(rule, down=Direction(stabilise=timedelta(minutes=10)))
        metrics = {key: replace(one, source=HttpSource(url="http://x/")) for key, one in made.metrics.items()}
        groups[name] = group(replace(made, metrics=metrics), min=1)
    return compare(groups, trace, Setting(cloud="hetzner", throughput=2.0, price=Price("EUR", Decimal("0.0088"))))


def test_the_chart_compares_side_by_side(simulations: Sequence[Simulation]) -> None:
    text = report.chart(simulations, width=40)
    lines = text.splitlines()
    assert re.fullmatch(r"by <load>  [ ▁▂▃▄▅▆▇█]{40}", lines[1])
    assert re.search(r"^cost +\d+\.\d\d EUR +\d+\.\d\d EUR$", text, re.MULTILINE)
    assert max(map(len, lines)) < 80


def test_the_document_is_json_and_thinned(simulations: Sequence[Simulation]) -> None:
    document = json.loads(json.dumps(report.document(simulations, points=100), allow_nan=False))
    first = document["simulations"][0]
    assert [len(first["series"][name]) for name in ("time", "wanted", "ready", "wait_s")] == [100] * 4
    assert first["changes"]["all"] == first["changes"]["up"] + first["changes"]["down"] > 0
    assert all(decision["reason"] for decision in first["decisions"])
