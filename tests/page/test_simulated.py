"""Simulations as a page: what it concludes, what it assumes, and that a real browser draws it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from scaler.autoscale.queue_model import Queue, late, waits
from scaler.autoscale.simulate import Simulation
from scaler.autoscale.trace import Trace
from scaler.page.render import one_file
from scaler.page.simulated import simulation_page
from scaler.page.view import Chart, Curve
from tests.autoscale.simulated import SETTING, by_load_and_by_queue, rising_and_falling
from tests.support.browser import Browser


@pytest.fixture(scope="module")
def trace() -> Trace:
    return rising_and_falling()


@pytest.fixture(scope="module")
def simulations(trace: Trace) -> Sequence[Simulation]:
    return by_load_and_by_queue(trace, replace(SETTING, slo=timedelta(seconds=90)))


@pytest.mark.browser
@pytest.mark.parametrize(("width", "dark"), [(390, True), (1280, False)])
def test_a_browser_draws_the_charts_without_a_complaint_or_a_request(
    simulations: Sequence[Simulation], trace: Trace, tmp_path: Path, tab: Browser, width: int, dark: bool
) -> None:
    file = tmp_path / "report.html"
    file.write_text(one_file(simulation_page(simulations, trace, title="shop <prod>")), encoding="utf-8")
    tab.open(file.as_uri(), width=width, dark=dark)
    painted = tab.painted()
    tab.screenshot(tmp_path / "page.png")
    assert len(painted) == 3, "servers, waits, arrivals"
    assert all(len(colors) > 5 for colors in painted)
    assert tab.run("document.querySelector('h1').textContent") == "shop <prod>"
    assert tab.run("document.documentElement.scrollWidth") <= width
    assert [each for each in tab.requested if not each.startswith("data:")] == [file.as_uri()]
    assert tab.complaints == []


def test_the_conclusion_is_in_words_and_compares(simulations: Sequence[Simulation], trace: Trace) -> None:
    def conclusion(*shown: Simulation) -> list[str]:
        return [sentence.text for sentence in simulation_page(shown, trace, title="prod").sentences]

    usual = replace(simulations[0], name="usual", cost=2.0, currency="EUR", late_jobs=10.2)
    calmer = replace(simulations[1], name="calmer", cost=1.76, currency="EUR", late_jobs=3.0)
    assert conclusion(usual, calmer) == [
        "usual costs 2.00 EUR and lets 10 jobs wait longer than 90 s.",
        "calmer costs 12 % less and lets 3 jobs wait longer than 90 s (usual: 10 jobs).",
    ]
    assert conclusion(calmer, usual)[1].startswith("usual costs 14 % more and")
    assert conclusion(usual, replace(usual, name="same"))[1].startswith("same costs as much and")
    unpriced = [replace(one, cost=None, late_jobs=None, overload_minutes=12.4) for one in (usual, calmer)]
    unpriced = [replace(one, server_hours=hours) for one, hours in zip(unpriced, (100, 125), strict=True)]
    assert conclusion(*unpriced) == [
        "usual uses 100 server-hours and has too few servers ready for 12 min.",
        "calmer uses 25 % more server-hours and has too few servers ready for 12 min (usual: 12 min).",
    ]


def test_the_assumptions_stand_side_by_side(simulations: Sequence[Simulation], trace: Trace) -> None:
    tables = {table.title: table for table in simulation_page(simulations, trace, title="prod").tables}
    shown = {row[0]: row[1:] for row in tables["Assumptions"].rows}
    assert tables["Assumptions"].head == ["", "by <load>", "by queue"]
    assert shown["boot"] == ["1m", "1m"]
    assert shown["work of a server"] == ["2 jobs a second", "2 jobs a second"]
    assert shown["waits too long after"] == ["90 s", "90 s"]
    assert shown["price"] == ["0.0088 EUR an hour", "0.0088 EUR an hour"]
    assert shown["rules"] == ["target cpu: value 70, tolerance 0.1", "backlog jobs: within 1m, throughput 2"]
    assert shown["down"][0] == "after 10m of asking"


def test_jobs_are_late_whose_step_waited_too_long() -> None:
    queue = Queue(1.0)
    for step, rate in enumerate((1.0, 5.0, 0.0, 0.0, 0.0)):
        queue.advance(10.0 * step, 10, rate, 1)
    by_step = waits(queue)[1]
    assert late(queue, by_step, 29) == 50, "those of the second step, whose last one waits 40 s"
    assert late(queue, by_step, 60) == 0


def test_a_long_chart_keeps_each_lowest_and_highest_value() -> None:
    values: list[float | None] = [1.0] * 100_000
    values[77_777], values[33_333], values[5] = 9.0, -3.0, None
    chart = Chart(title="x", times=list(range(100_000)), lines=[Curve(label="x", values=values)])
    document: Any = chart.document()
    [line] = document["lines"]
    drawn = dict(zip(document["times"], line["values"], strict=True))
    assert len(drawn) < 2000
    assert (drawn[77_777], drawn[33_333]) == (9, -3)
    assert (min(drawn), max(drawn)) == (0, 99_999)


def test_the_page_names_no_address_and_runs_only_what_it_names(simulations: Sequence[Simulation], trace: Trace) -> None:
    html = one_file(simulation_page(simulations, trace, title="prod"))
    assert "by &lt;load&gt;" in html
    assert "'unsafe-inline'" not in html
    assert not re.findall(r"""(?:src|href)=["'](?!data:,)""", html)
