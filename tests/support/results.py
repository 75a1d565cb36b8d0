"""Results, plans and servers for the tests of what is printed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from scaler.clouds import BusyError
from scaler.model import (
    Action,
    Cost,
    GroupReport,
    Outcome,
    Plan,
    PlanPhase,
    Requests,
    Result,
    Server,
    Spec,
    Step,
    StepReport,
    StepResult,
)
from scaler.model.lifecycle import Status

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
