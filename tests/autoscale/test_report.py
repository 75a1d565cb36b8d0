"""The report: the terminal's chart, and the document."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import pytest

from scaler.autoscale import report
from scaler.autoscale.simulate import Simulation
from scaler.autoscale.trace import Trace
from tests.autoscale.simulated import by_load_and_by_queue, rising_and_falling


@pytest.fixture(scope="module")
def trace() -> Trace:
    return rising_and_falling()


@pytest.fixture(scope="module")
def simulations(trace: Trace) -> Sequence[Simulation]:
    return by_load_and_by_queue(trace)


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
