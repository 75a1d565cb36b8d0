"""Results and plans as text: what a person reads."""

from __future__ import annotations

import json

import click
import pytest

from scaler.model import Action, GroupReport, Outcome, Plan, StepReport, StepResult
from scaler.model.lifecycle import Status
from scaler.output.render import render, render_plan
from tests.support.results import COST, CREATE, DELETE, PLAN, POWER_ON, SERVERS, SPEC, done, result, server, step


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
def test_a_failed_run_says_what_failed_and_what_exists() -> None:
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
        "To see what exists now: scaler status --refresh --stack prod"
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
