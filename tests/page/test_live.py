"""The live page in a real browser: drawn, without a complaint, and without asking anybody else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import requests

from scaler.autoscale.exposition import Exposition
from scaler.autoscale.seen import Seen
from scaler.errors import SpecError
from scaler.model import Price
from scaler.model.events import Event, EventName
from scaler.model.lifecycle import Status
from scaler.model.orders import Orders, Pause
from scaler.page.fleet import FleetStory
from scaler.page.render import one_file
from scaler.records.event_log import EventLog
from scaler.records.state import State
from scaler.records.state_file import StateFile
from tests.support.browser import Browser
from tests.support.fakes import START, FakeClock
from tests.support.records import server, state
from tests.support.served import served

pytestmark = [pytest.mark.server, pytest.mark.browser]

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
MINUTE = timedelta(minutes=1)
BLUE, ORANGE, GREEN = "11,87,184", "194,65,12", "23,112,58"


def decided(minutes_ago: int, before: int, after: int, jobs: float) -> Event:
    return Event(
        event=EventName.AUTOSCALE_DECIDED,
        group="worker",
        at=START - minutes_ago * MINUTE,
        reason=f"{after} instead of {before}: jobs is {jobs:g} {HOSTILE}",
        decision={"from": before, "to": after, "metrics": {"jobs": {"value": jobs}}},
    )


def became(minutes_ago: int, name: str, previous: Status | None, status: Status, event: EventName) -> Event:
    at = START - minutes_ago * MINUTE
    return Event(event=event, server=name, group="worker", previous=previous, status=status, at=at, reason="it had to")


EVENTS = [
    decided(300, 1, 2, 15),
    became(299, "prod-worker-2", None, Status.STARTING, EventName.CREATING),
    became(298, "prod-worker-2", Status.STARTING, Status.RUNNING, EventName.RUNNING),
    became(200, "prod-worker-2", Status.RUNNING, Status.STOPPING, EventName.DRAINING),
    decided(200, 2, 1, 3),
    became(100, "prod-worker-3", Status.STARTING, Status.ERRORED, EventName.ERRORED),
]


def recorded() -> State:
    price = Price("EUR", Decimal("0.01"), Decimal(6))
    created = START - timedelta(hours=30)
    first = server("prod-worker-1", created=created, since=created, price=price, ipv4="192.0.2.1", protected=True)
    pause = Pause(since=START - MINUTE, until=START + 60 * MINUTE, reason="maintenance")
    made = replace(state(first), updated=START, wanted={"worker": 2})
    return replace(made, orders=Orders(serial=1, pause=pause))


@pytest.fixture
def exposition() -> Exposition:
    shown = Exposition(timedelta(seconds=10), FakeClock())
    figures = shown.of("prod")
    figures.settle(None)
    for minutes in range(60):
        figures._seen.append(Seen(START - (60 - minutes) * MINUTE, "worker", 1 + minutes % 3, {"jobs": float(minutes)}))
    return shown


def record(folder: Path) -> None:
    StateFile(folder, "prod").save(recorded())
    EventLog(StateFile(folder, "prod").events_path, FakeClock()).append(*EVENTS)


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1280, False)])
def test_the_page_shows_the_stack(exposition: Exposition, tmp_path: Path, tab: Browser, width: int, dark: bool) -> None:
    record(tmp_path)
    with served(exposition, tmp_path) as url:
        tab.open(url, width=width, dark=dark)
        text = tab.run("document.body.innerText")
        painted = tab.painted()
        legend = tab.run("[...document.querySelectorAll('.u-series + .u-series .u-value')].map(each => each.innerText)")
        assert tab.run("document.documentElement.scrollWidth") <= width, "nothing sticks out"
        assert {each.removeprefix(url) for each in tab.requested if not each.startswith("data:")} == {
            *("/", "/static/uplot.css", "/static/page.css", "/static/uplot.js", "/static/page.js"),
        }
        tab.screenshot(tmp_path / "page.png")
    assert tab.complaints == []
    assert len(painted) == 2, "the counts, and the load"
    assert legend[:3] == ["2", "1", "59"], "without a pointer, the last values"
    if not dark:
        assert {BLUE, ORANGE} <= painted[0]
        assert GREEN in painted[1]
    assert "1 server short of what is wanted: worker 1 of 2 ready." in text
    assert "Autoscaling is paused until" in text
    assert "prod-worker-1" in text
    assert "protected" in text
    assert f"2 instead of 1: jobs is 15 {HOSTILE}" in text, "as text, not as markup"
    assert "prod-worker-2 drain" in text
    assert "prod-worker-3 failed" in text
    # 30 hours at 0.01, at most 6 a month.
    assert "0.30 EUR this month" in text


def test_it_follows_the_records_and_says_when_it_cannot(exposition: Exposition, tmp_path: Path, tab: Browser) -> None:
    with served(exposition, tmp_path) as url:
        tab.open(url)
        assert "Nothing is recorded of this stack yet." in tab.run("document.body.innerText")
        exposition.of("prod").failed(SpecError("it is broken"), 1.0)
        tab.wait_for("document.body.innerText.includes('The last tick failed: it is broken')")
        assert tab.complaints == []
    tab.wait_for("!document.getElementById('stale').hidden")
    assert "Not up to date since" in tab.run("document.getElementById('stale').textContent")


def test_several_stacks_have_a_page_each(exposition: Exposition, tmp_path: Path, tab: Browser) -> None:
    record(tmp_path)
    exposition.of("test").failed(SpecError("it is broken"), 1.0)
    (tmp_path / "late.json").write_text("{")
    exposition.of("late").settle(None)
    with served(exposition, tmp_path) as url:
        tab.open(url)
        text = tab.run("document.body.innerText")
        assert "2 of 3 stacks are in trouble: late, test." in text
        assert "The state file" in text, "what cannot be read hides no other stack"
        links = tab.run("[...document.querySelectorAll('td a')].map(link => link.pathname)")
        assert links == ["/stacks/late", "/stacks/prod", "/stacks/test"]
        tab.open(f"{url}{links[1]}?since=7d")
        assert tab.run("document.title") == "prod"
        assert "all stacks" in tab.run("document.body.innerText")
        tab.open(f"{url}{links[0]}")
        assert "The state file" in tab.run("document.body.innerText"), "and its page says so"
        assert tab.complaints == []
        for path, code in (("/stacks/nothing", 404), ("/stacks/prod?since=1y", 400), ("/static/nothing", 404)):
            assert requests.get(url + path, timeout=30).status_code == code


def test_one_file_needs_nothing_else(tmp_path: Path, tab: Browser) -> None:
    fleet = FleetStory(
        stack=f"prod {HOSTILE}", state=recorded(), events=EVENTS, since=START - timedelta(days=1), now=START
    )
    file = tmp_path / "report.html"
    file.write_text(one_file(fleet.page), encoding="utf-8")
    tab.open(file.as_uri(), width=390)
    assert len(tab.painted()) == 2
    assert [each for each in tab.requested if not each.startswith("data:")] == [file.as_uri()]
    assert tab.complaints == []
    # What is not named by its hash does not run.
    tab.run("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))")
    assert tab.run("window.ran") is None
