"""The exact texts and documents that people and programs get."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from scaler.clouds import BusyError
from scaler.model import (
    Action,
    Cost,
    GroupReport,
    Outcome,
    Plan,
    PlanPhase,
    Price,
    Requests,
    Result,
    Server,
    Spec,
    Step,
    StepReport,
    StepResult,
)
from scaler.model.lifecycle import Status
from scaler.output.documents import count_by_status
from scaler.output.render import render, render_plan, render_status
from scaler.output.words import format_age, format_elapsed
from scaler.records.codec import to_json
from scaler.records.state import State

NOW = datetime(2026, 11, 24, 22, 10, tzinfo=UTC)
COST = Cost("EUR", per_hour_before=0.0264, per_hour_after=0.044, per_month_before=16.47, per_month_after=27.45)


def server(number: int, status: Status = Status.RUNNING, **fields: Any) -> Server:
    known: dict[str, Any] = {
        "id": str(4700 + number),
        "since": NOW - timedelta(minutes=number),
        "type": "cx23",
        "location": "fsn1",
        "ipv4": f"192.0.2.{number}",
    }
    return Server(name=f"prod-worker-{number}", group="worker", status=status, **known | fields)


def step(action: Action, number: int, reason: str, **fields: Any) -> Step:
    return Step(action=action, server=f"prod-worker-{number}", group="worker", reason=reason, **fields)


CREATE = step(Action.CREATE, 4, "2 of 3 are there", type="cx23", location="fsn1")
POWER_ON = step(Action.POWER_ON, 12, "it is off", id="4712")
DELETE = step(Action.DELETE, 3, "errored", id="4703")
SERVERS = (server(1), server(2), server(3, Status.ERRORED, error="no_capacity: none left"))
PLAN = Plan(
    stack="prod",
    wanted={"worker": 4},
    before={"worker": 2},
    ready={"worker": 2},
    phases=(
        PlanPhase(steps=(CREATE, POWER_ON), declared=("prod-worker-4", "prod-worker-12")),
        PlanPhase(steps=(DELETE,), declared=("prod-worker-4", "prod-worker-12")),
    ),
    drift=("prod-worker-12 was powered off by hand",),
)
SPEC = Spec(project="scaler", stack="prod", cloud="hetzner", endpoint=None, backend=None, groups={}, path=Path("p"))


def result(outcome: Outcome, **fields: Any) -> Result:
    known: dict[str, Any] = {
        "groups": {"worker": GroupReport(wanted=5, before=3, ready=5)},
        "elapsed": timedelta(seconds=108),
    }
    return Result(stack="prod", outcome=outcome, **known | fields)


def done(*steps: Step) -> tuple[StepReport, ...]:
    return tuple(StepReport(step, StepResult.DONE) for step in steps)


# ---------------------------------------------------------------------------------------------
# Results as text


def test_result_line_is_in_the_past_tense_with_counts_and_time() -> None:
    steps = done(CREATE, step(Action.CREATE, 5, "1 missing"))
    assert render(result(Outcome.CONVERGED, steps=steps), "text") == "prod: 5 of 5 ready (+2, -0) in 1m48s."


def test_nothing_to_do_says_so() -> None:
    assert render(result(Outcome.UNCHANGED), "text") == "prod already has 5 ready servers. Nothing to do."
    one = {"worker": GroupReport(wanted=1, before=1, ready=1)}
    assert render(result(Outcome.UNCHANGED, groups=one), "text") == "prod already has 1 ready server. Nothing to do."


def test_changed_servers_are_counted_where_there_are_any() -> None:
    changed = result(Outcome.CONVERGED, steps=done(CREATE, POWER_ON, DELETE))
    assert render(changed, "text") == "prod: 5 of 5 ready (+1, ~1, -1) in 1m48s."


@pytest.mark.acceptance("R10")
def test_a_failed_run_tells_what_failed_and_what_exists() -> None:
    failed = result(
        Outcome.FAILED,
        groups={"worker": GroupReport(wanted=5, before=3, ready=4)},
        steps=(
            *done(CREATE),
            StepReport(step(Action.CREATE, 10, "missing"), StepResult.FAILED, "quota: server limit\nreached"),
            StepReport(DELETE, StepResult.PENDING),
        ),
    )
    assert render(failed, "text", hints=True) == (
        "! prod-worker-10  create failed: quota: server limit reached\n"
        "prod: failed with 4 of 5 ready (+1, -0) in 1m48s.\n"
        "See what is there now: scaler status --refresh --stack prod"
    )


def test_an_unconfirmed_run_names_the_servers_that_are_not_ready() -> None:
    unconfirmed = result(
        Outcome.UNCONFIRMED,
        groups={"worker": GroupReport(wanted=3, before=1, ready=1)},
        steps=done(CREATE),
        servers=(server(1), server(2, Status.STARTING), server(3, Status.HANGING), server(4, Status.DELETED)),
    )
    assert render(unconfirmed, "text") == (
        "prod: 1 of 3 ready (+1, -0) in 1m48s. Not confirmed: prod-worker-2 starting, prod-worker-3 hanging."
    )


def test_a_refused_run_changed_nothing() -> None:
    assert render(result(Outcome.REFUSED), "text") == "prod: refused; nothing was changed."


@pytest.mark.acceptance("S02")
def test_drift_is_named_before_the_result() -> None:
    drifted = result(Outcome.CONVERGED, steps=done(CREATE), drift=("prod-worker-2 is gone",))
    assert render(drifted, "text") == ("! drift: prod-worker-2 is gone\nprod: 5 of 5 ready (+1, -0) in 1m48s.")


# ---------------------------------------------------------------------------------------------
# Plans

PLAN_TEXT = """\
prod · hetzner
  worker  have 2 ready of 2  want 4

  ! drift: prod-worker-12 was powered off by hand

  + prod-worker-4   create    cx23  fsn1  2 of 3 are there
  ~ prod-worker-12  power on              it is off
  - prod-worker-3   delete                errored

Plan: 1 to add, 1 to change, 1 to remove.
Cost: EUR +0.0176/h, then EUR 0.0440/h, and at most EUR 27.45/month (now 16.47); list prices, net."""


def test_plan_shows_signs_first_then_why_then_the_sum() -> None:
    assert render_plan(PLAN, SPEC, "text", servers=SERVERS, cost=COST) == PLAN_TEXT


def test_plan_with_hints_names_the_command_that_does_it() -> None:
    assert render_plan(PLAN, SPEC, "text", servers=SERVERS, cost=COST, hints=True) == (
        f"{PLAN_TEXT}\nTo do this: scaler ensure worker=4 --stack prod"
    )


def test_colour_only_repeats_what_signs_and_words_say() -> None:
    colored = render_plan(PLAN, SPEC, "text", servers=SERVERS, cost=COST, color=True)
    assert click.style("+", fg="green") in colored
    assert click.style("-", fg="red") in colored
    assert click.unstyle(colored) == PLAN_TEXT


def test_cost_is_left_out_where_it_is_unknown() -> None:
    assert "Cost" not in render_plan(PLAN, SPEC, "text")


def test_a_plan_without_steps_is_nothing_to_do() -> None:
    nothing = Plan(stack="prod", wanted={"worker": 2}, before={"worker": 2}, ready={"worker": 2})
    assert render_plan(nothing, SPEC, "text", servers=SERVERS) == "prod already has 2 ready servers. Nothing to do."
    assert json.loads(render_plan(nothing, SPEC, "json"))["outcome"] == "unchanged"


@pytest.mark.acceptance("S01")
def test_a_planned_result_shows_the_same_steps_as_its_plan() -> None:
    document = json.loads(render_plan(PLAN, SPEC, "json", servers=SERVERS, cost=COST))
    assert document["outcome"] == "planned"
    assert document["groups"] == {"worker": {"wanted": 4, "before": 2, "ready": 2}}
    assert [(step["action"], step["server"], step["result"]) for step in document["steps"]] == [
        ("create", "prod-worker-4", "pending"),
        ("power_on", "prod-worker-12", "pending"),
        ("delete", "prod-worker-3", "pending"),
    ]
    assert document["drift"] == ["prod-worker-12 was powered off by hand"]


# ---------------------------------------------------------------------------------------------
# Documents

CONVERGED = result(
    Outcome.CONVERGED,
    steps=(*done(CREATE), StepReport(DELETE, StepResult.FAILED, "locked: busy")),
    servers=(server(4),),
    drift=("prod-worker-2 is gone",),
    cost=COST,
    requests=Requests(total=14, create=2, list=9),
    elapsed=timedelta(seconds=41.234),
    failures=(
        BusyError("prod-worker-3 was not deleted.", why="locked: busy", fix="try again"),
        ValueError("Bearer s3cr3t"),
    ),
)
DOCUMENT = {
    "schema": 1,
    "stack": "prod",
    "outcome": "converged",
    "groups": {"worker": {"wanted": 5, "before": 3, "ready": 5}},
    "steps": [
        {
            "action": "create",
            "server": "prod-worker-4",
            "group": "worker",
            "type": "cx23",
            "location": "fsn1",
            "reason": "2 of 3 are there",
            "result": "done",
            "error": None,
        },
        {
            "action": "delete",
            "server": "prod-worker-3",
            "group": "worker",
            "type": None,
            "location": None,
            "reason": "errored",
            "result": "failed",
            "error": "locked: busy",
        },
    ],
    "servers": [
        {
            "name": "prod-worker-4",
            "group": "worker",
            "id": "4704",
            "status": "running",
            "since": "2026-11-24T22:06:00Z",
            "previous": None,
            "ipv4": "192.0.2.4",
            "ipv6": None,
            "type": "cx23",
            "location": "fsn1",
            "image": None,
            "created": None,
            "error": None,
            "protected": False,
            "reboot_asked": False,
            "currency": None,
            "price_per_hour": None,
            "price_per_month": None,
        }
    ],
    "drift": ["prod-worker-2 is gone"],
    "outdated": {},
    "kept": {},
    "violations": [],
    "cost": {
        "currency": "EUR",
        "per_hour_before": 0.0264,
        "per_hour_after": 0.044,
        "per_month_after": 27.45,
        "per_month_before": 16.47,
    },
    "failures": [
        {"code": "busy", "message": "prod-worker-3 was not deleted.", "why": "locked: busy", "fix": "try again"},
        {"code": "internal", "message": "ValueError", "why": "", "fix": ""},
    ],
    "requests": {"total": 14, "create": 2, "list": 9, "retried": 0},
    "elapsed_s": 41.2,
}


def test_what_a_person_declined_was_not_done() -> None:
    declined = result(Outcome.PLANNED, steps=(StepReport(CREATE, StepResult.PENDING),), declined=True)
    assert render(declined, "text", hints=True) == "prod: nothing was changed, as you said."
    assert json.loads(render(declined, "json"))["outcome"] == "planned"


def test_json_is_exactly_the_contract() -> None:
    text = render(CONVERGED, "json", color=True, hints=True)
    assert json.loads(text) == DOCUMENT
    assert list(json.loads(text)) == list(DOCUMENT)


def test_yaml_says_the_same_as_json() -> None:
    text = render(CONVERGED, "yaml")
    assert yaml.safe_load(text) == DOCUMENT
    assert text.startswith("schema: 1\nstack: prod\noutcome: converged\n")


def test_unknown_cost_is_null() -> None:
    assert json.loads(render(result(Outcome.CONVERGED), "json"))["cost"] is None


def test_an_unknown_format_is_an_error() -> None:
    with pytest.raises(ValueError, match="no such format: xml"):
        render(CONVERGED, "xml")


# ---------------------------------------------------------------------------------------------
# Markdown

MARKDOWN = """\
### prod: 5 of 5 ready (+1, -0) in 41s.

- drift: prod-worker-2 is gone

|  | server | action | why | result |
| --- | --- | --- | --- | --- |
| `+` | prod-worker-4 | create | 2 of 3 are there | done |
| `-` | prod-worker-3 | delete | errored | failed: locked: busy |

Cost: EUR +0.0176/h, then EUR 0.0440/h, and at most EUR 27.45/month (now 16.47); list prices, net.

<details><summary>1 server</summary>

| server | group | status | type | location | ipv4 | error |
| --- | --- | --- | --- | --- | --- | --- |
| prod-worker-4 | worker | running | cx23 | fsn1 | 192.0.2.4 |  |

</details>"""


def test_markdown_of_a_result() -> None:
    assert render(CONVERGED, "markdown") == MARKDOWN


def test_markdown_of_a_plan() -> None:
    assert (
        render_plan(PLAN, SPEC, "markdown")
        == """\
### prod: plan

**Plan: 1 to add, 1 to change, 1 to remove.**

- drift: prod-worker-12 was powered off by hand

|  | server | action | why | result |
| --- | --- | --- | --- | --- |
| `+` | prod-worker-4 | create | 2 of 3 are there | pending |
| `~` | prod-worker-12 | power on | it is off | pending |
| `-` | prod-worker-3 | delete | errored | pending |"""
    )


def test_another_sides_words_break_neither_table_nor_page_nor_terminal() -> None:
    words = "a | b\n<script> & \x1b[31mred\x07"
    bad = result(Outcome.FAILED, steps=(StepReport(CREATE, StepResult.FAILED, words),))
    assert "| failed: a \\| b &lt;script> &amp; [31mred |" in render(bad, "markdown")
    assert render(bad, "text").splitlines()[0] == "! prod-worker-4  create failed: a | b <script> & [31mred"
    assert json.loads(render(bad, "json"))["steps"][0]["error"] == words


# ---------------------------------------------------------------------------------------------
# Status

STATE = State(
    stack="prod",
    project="scaler",
    cloud="hetzner",
    serial=42,
    updated=NOW - timedelta(seconds=42),
    wanted={"worker": 3},
    servers=(
        *(replace(item, price=Price("EUR", Decimal("0.0096"), Decimal("5.99"))) for item in SERVERS[:2]),
        *SERVERS[2:],
        server(4, Status.NEW, id=None, type=None, location=None, ipv4=None),
        server(5, Status.DELETED),
    ),
)
STATUS_TEXT = """\
prod · hetzner · 2 of 3 ready · updated 42 s ago

NAME           GROUP   STATUS   SINCE      TYPE  LOCATION  IPV4       ID
prod-worker-1  worker  running  1 min ago  cx23  fsn1      192.0.2.1  4701
prod-worker-2  worker  running  2 min ago  cx23  fsn1      192.0.2.2  4702
prod-worker-3  worker  errored  3 min ago  cx23  fsn1      192.0.2.3  4703
prod-worker-4  worker  new      4 min ago  -     -         -          -

! prod-worker-3: no_capacity: none left

1 deleted server not shown.
Cost: 2 servers, EUR 0.0192/h, and at most EUR 11.98/month; list prices, net. Not known for 1 more server."""


def status(state: State | None, format: str, **options: Any) -> str:
    return render_status(state, format, stack="prod", now=NOW, **options)


@pytest.mark.acceptance("P31")
def test_status_has_a_name_column() -> None:
    assert status(STATE, "text") == STATUS_TEXT


def test_status_in_colour_says_the_same() -> None:
    colored = status(STATE, "text", color=True)
    assert click.style("errored", fg="red") in colored
    assert click.unstyle(colored) == STATUS_TEXT


@pytest.mark.acceptance("P32")
def test_without_servers_status_says_so() -> None:
    empty = State(stack="prod", project="scaler", cloud="hetzner", updated=NOW, wanted={"worker": 0})
    assert status(empty, "text") == "prod · hetzner · 0 of 0 ready · updated just now\n\nNo servers."
    assert status(empty, "markdown") == "### prod\n\nNo servers."


@pytest.mark.acceptance("P32")
def test_without_a_record_status_says_so_in_every_format() -> None:
    assert status(None, "text") == "No servers. Nothing is recorded for this stack yet."
    assert status(None, "text", hints=True) == (
        "No servers. Nothing is recorded for this stack yet.\nAsk the cloud: scaler status --refresh --stack prod"
    )
    assert status(None, "markdown") == "### prod\n\nNo servers."
    document = json.loads(status(None, "json"))
    assert (document["schema"], document["stack"], document["servers"]) == (1, "prod", [])


@pytest.mark.acceptance("P28")
def test_counts_list_every_status_in_order_with_zeros() -> None:
    servers = [
        server(1, Status.NEW),
        server(2),
        server(3),
        server(4, Status.STOPPED),
        server(5, Status.STOPPED),
    ]
    expected = {
        "new": 1,
        "starting": 0,
        "running": 2,
        "rebooting": 0,
        "stopping": 0,
        "stopped": 2,
        "deleting": 0,
        "deleted": 0,
        "hanging": 0,
        "errored": 0,
    }
    assert list(count_by_status(servers).items()) == list(expected.items())


@pytest.mark.acceptance("P28")
def test_status_document_is_the_state_and_its_counts() -> None:
    document = json.loads(status(STATE, "json"))
    assert list(document) == [*to_json(STATE), "counts", "cost"]
    assert document["cost"] == {"currency": "EUR", "per_hour": 0.0192, "per_month": 11.98, "known": 2, "unknown": 1}
    assert document["serial"] == 42
    assert [server["name"] for server in document["servers"]][-1] == "prod-worker-5"
    assert document["counts"] == count_by_status(STATE.servers)
    assert yaml.safe_load(status(STATE, "yaml")) == document


def test_status_as_markdown() -> None:
    assert (
        status(STATE, "markdown")
        == """\
### prod: 2 of 3 ready

| server | group | status | type | location | ipv4 | error |
| --- | --- | --- | --- | --- | --- | --- |
| prod-worker-1 | worker | running | cx23 | fsn1 | 192.0.2.1 |  |
| prod-worker-2 | worker | running | cx23 | fsn1 | 192.0.2.2 |  |
| prod-worker-3 | worker | errored | cx23 | fsn1 | 192.0.2.3 | no_capacity: none left |
| prod-worker-4 | worker | new |  |  |  |  |

Cost: 2 servers, EUR 0.0192/h, and at most EUR 11.98/month; list prices, net. Not known for 1 more server."""
    )


def test_status_of_servers_without_prices_says_so() -> None:
    told = status(replace(STATE, servers=SERVERS), "text")
    assert told.splitlines()[-1] == "Cost: not known for 3 servers."
    cost = json.loads(status(replace(STATE, servers=SERVERS), "json"))["cost"]
    assert cost == {"currency": None, "per_hour": 0.0, "per_month": 0.0, "known": 0, "unknown": 3}
    assert "Cost" not in status(replace(STATE, servers=()), "text")


# ---------------------------------------------------------------------------------------------
# Words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0s"),
        (0.44, "0.4s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (67, "1m07s"),
        (3599.6, "1h00m"),
        (3900, "1h05m"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert format_elapsed(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "just now"), (0, "just now"), (42, "42 s ago"), (180, "3 min ago"), (7200, "2 h ago"), (800_000, "9 d ago")],
)
def test_ages(seconds: int, text: str) -> None:
    assert format_age(NOW - timedelta(seconds=seconds), NOW) == text


def test_rendering_loads_neither_pulumi_nor_rich_nor_yaml() -> None:
    script = (
        "import sys, scaler.output.render; "
        "print([name for name in ('pulumi', 'pydantic', 'rich', 'yaml') if name in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
