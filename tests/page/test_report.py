"""`scaler report`: the fleet's story from the records alone."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from scaler.commands.cli import cli
from scaler.model import Price
from scaler.model.events import Event, EventName
from scaler.model.lifecycle import Status
from scaler.records.event_log import EventLog
from scaler.records.state_file import StateFile
from scaler.support.clock import SystemClock
from tests.support.records import server, state

HOUR = timedelta(hours=1)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose stack `prod` has grown to two servers, three hours ago."""
    (tmp_path / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "prod.yaml").write_text("cloud: hetzner\n")
    now = datetime.now(UTC).replace(microsecond=0)
    price = Price("EUR", Decimal("0.01"), Decimal(6))
    servers = [
        server("prod-worker-1", created=now - 90 * HOUR, since=now - 90 * HOUR, price=price),
        server("prod-worker-2", created=now - 3 * HOUR, since=now - 3 * HOUR, price=price),
    ]
    file = StateFile(tmp_path / ".scaler", "prod")
    file.save(replace(state(*servers), updated=now, wanted={"worker": 2}))
    born = Event(event=EventName.CREATING, server="prod-worker-2", group="worker", status=Status.NEW, at=now - 3 * HOUR)
    EventLog(file.events_path, SystemClock()).append(
        Event(
            event=EventName.AUTOSCALE_DECIDED,
            group="worker",
            at=now - 3 * HOUR,
            reason="2 instead of 1: jobs is 15, at 10 per server: 1.5",
            decision={"from": 1, "to": 2, "metrics": {"jobs": {"value": 15}}},
        ),
        born,
        replace(
            born, event=EventName.RUNNING, previous=Status.NEW, status=Status.RUNNING, at=born.at and born.at + HOUR
        ),
    )
    return tmp_path


def report(project: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["report", "-C", str(project), *arguments])


def test_it_says_in_words_how_the_stack_has_done(project: Path) -> None:
    ran = report(project)
    assert ran.exit_code == 0, ran.output
    first, *others = ran.stdout.splitlines()
    assert first == "All wanted servers are ready: worker 2 of 2."
    assert others[0] == (
        "Autoscaling changed the count 1 time (1 up, 0 down). "
        "The last: worker 2 instead of 1: jobs is 15, at 10 per server: 1.5."
    )
    assert others[1] == "For 1h00m, fewer servers of worker were ready than wanted."
    assert others[2].startswith("Cost at list prices: ")
    assert "whole month of what is there now: 12.00 EUR" in others[2]
    document = json.loads(report(project, "-o", "json").stdout)
    assert document["conclusion"] == [first, *others]
    assert "changed the count" not in report(project, "--since", "1h").stdout


def test_the_page_has_it_all_in_one_file(project: Path) -> None:
    ran = report(project, "--html", str(project / "week.html"))
    assert "wrote" in ran.stderr
    page = (project / "week.html").read_text()
    for text in ("worker: servers", "worker: jobs", "prod-worker-2", "worker 1 → 2", "1h00m", "Nothing went wrong."):
        assert text in page
    refused = report(project, "--html", str(project / "stacks" / "prod.yaml"))
    assert refused.exit_code != 0
    assert (project / "stacks" / "prod.yaml").read_text() == "cloud: hetzner\n"


def test_the_page_shows_each_step_of_a_roll_newest_first(project: Path) -> None:
    file = StateFile(project / ".scaler", "prod")
    at = datetime.now(UTC) - HOUR
    steps = {
        EventName.ROLL_STARTED: "worker: to image 200",
        EventName.ROLL_WAVE: "worker: wave 1: 1 to replace",
        EventName.ROLL_HELD: "worker: no wave begins: the limit is 3",
        EventName.ROLL_FINISHED: "worker: failed after wave 1, 0 are new: prod-worker-3 is unhealthy",
    }
    events = [Event(event=event, group="worker", at=at, reason=reason) for event, reason in steps.items()]
    EventLog(file.events_path, SystemClock()).append(*events)
    assert report(project, "--html", str(project / "week.html")).exit_code == 0
    page = (project / "week.html").read_text()
    places = [page.index(reason) for reason in steps.values()]
    assert places == sorted(places, reverse=True)
    for words in ("worker roll begun", "worker roll held", "worker roll ended"):
        assert words in page


def test_a_stack_of_which_nothing_is_recorded_has_a_report_too(project: Path) -> None:
    (project / "stacks" / "new.yaml").write_text("cloud: hetzner\n")
    ran = report(project, "-s", "new", "--html", str(project / "new.html"))
    assert ran.stdout == "Nothing is recorded of this stack yet.\n"
    assert "<h1>new</h1>" in (project / "new.html").read_text()
