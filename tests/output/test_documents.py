"""Results as JSON and YAML: what a program reads."""

from __future__ import annotations

import json

import pytest
import yaml

from scaler.model import Outcome, StepReport, StepResult
from scaler.output.render import render
from tests.support.results import CONVERGED, CREATE, result

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
            "private_ip": None,
            "type": "cx23",
            "location": "fsn1",
            "image": None,
            "created": None,
            "error": None,
            "protected": False,
            "delete_protection": False,
            "set_aside": False,
            "missing_since": None,
            "reboot_asked": False,
            "in_service": None,
            "drain_failed": None,
            "drain": None,
            "health": None,
            "outdated": None,
            "currency": None,
            "price_per_hour": None,
            "price_per_month": None,
        }
    ],
    "drift": ["prod-worker-2 is gone"],
    "held": {},
    "unchecked": {},
    "outdated": {},
    "schedules": {},
    "baking": {},
    "renamed": {},
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
    "rate_wait": None,
    "elapsed_s": 41.2,
}


def test_what_a_person_declined_was_not_done() -> None:
    declined = result(Outcome.PLANNED, steps=(StepReport(CREATE, StepResult.PENDING),), declined=True)
    assert render(declined, "text", hints=True) == "prod: declined; nothing was changed."
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
