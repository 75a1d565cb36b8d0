"""The report: the terminal's chart, the document, and the HTML as a real browser shows it."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from scaler.autoscale import report
from scaler.autoscale.report_page import page
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


def browse(page: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no browser is installed (Debian: apt-get install chromium)")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-extensions", "--no-first-run"]
    command += [f"--user-data-dir={folder / 'profile'}", "--disable-background-networking", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@pytest.mark.browser
def test_a_browser_draws_the_plots_without_an_error_or_a_request(
    simulations: Sequence[Simulation], trace: Trace, tmp_path: Path
) -> None:
    file = tmp_path / "report.html"
    # The page is measured by a script of the test's: the report itself has none, and would allow none.
    measure = """<script>
    addEventListener("securitypolicyviolation", event => log.push("csp " + event.violatedDirective));
    addEventListener("error", event => log.push("error " + event.message));
    const log = [];
    addEventListener("load", () => {
      const boxes = [...document.querySelectorAll("svg path")].map(path => path.getBBox());
      const seen = {plots: document.querySelectorAll("svg").length, boxes: boxes.map(b => [b.width, b.height]),
                    requests: performance.getEntriesByType("resource").map(entry => entry.name), log};
      document.body.dataset.seen = JSON.stringify(seen);
    });</script>"""
    html = page(simulations, trace, title="shop <prod>")
    allowing = html.replace("style-src 'unsafe-inline'", "style-src 'unsafe-inline'; script-src 'unsafe-inline'")
    assert allowing != html
    file.write_text(allowing.replace("<title>", measure + "<title>", 1))
    shown = browse(file, tmp_path, "--dump-dom", "--enable-logging=stderr")
    noted = re.search(r'data-seen="([^"]*)"', shown.stdout)
    assert noted is not None
    seen = json.loads(noted.group(1).replace("&quot;", '"'))
    assert seen["plots"] == 3, "servers, waits, arrivals"
    assert len(seen["boxes"]) == 2 * 2 + 2 + 1
    assert all(width > 900 and height > 20 for width, height in seen["boxes"]), seen["boxes"]
    assert seen["requests"] == []
    assert seen["log"] == []
    assert "CONSOLE" not in shown.stderr
    assert "shop &lt;prod&gt;</h1>" in shown.stdout


def test_the_page_allows_no_script_and_names_no_address(simulations: Sequence[Simulation], trace: Trace) -> None:
    html = page(simulations, trace, title="prod")
    assert "<script" not in html
    assert "default-src 'none'" in html
    assert not re.findall(r"(?:https?:)?//[a-z]", html)
    assert "by &lt;load&gt;" in html
