"""Plan files: a plan on disk, bound to its content, its spec and the machines that it was made for."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from scaler.errors import StalePlanError, UsageError
from scaler.model import Action, Result, Spec, Step
from scaler.model.roll import Pace
from scaler.model.schedule import RollSchedule
from scaler.records.roll_codec import given_to_json, pace_to_json
from scaler.support.clock import format_time, parse_time
from scaler.support.documents import parse_json, read_file
from scaler.support.files import FILE, failure_reason
from scaler.support.text import LONGEST, one_line
from scaler.support.values import dataclass
from scaler.support.version import VERSION

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class PlanFile:
    """The content of a plan file."""

    stack: str
    project: str
    id: str | None
    """The stack's id; None: it had none when the plan was made."""
    wanted: Mapping[str, int]
    spec: str
    """The hash of the spec; see `spec_hash`."""
    seen: Mapping[str, str]
    """Name → id of the machines that it was made for."""
    steps: tuple[Step, ...]
    cost: Mapping[str, Any] | None
    made_at: datetime
    scaler: str
    engine: str | None
    roll: Mapping[str, Any] | None = None
    """What it does about rolls: `do`, `by_itself`, the pace of each group, what of it was `given`; None: nothing."""
    schedules: Mapping[str, Any] = field(default_factory=dict)
    """By group: the waves of its roll, how long it takes, and what it costs."""

    @property
    def waves(self) -> dict[str, list[tuple[int, int]]]:
        """Return by group the size of each wave, and how many servers go ahead of it."""
        return {
            name: [(wave["size"], wave["ahead"]) for wave in schedule["waves"]]
            for name, schedule in self.schedules.items()
        }


def plan_file_of(
    result: Result,
    spec: Spec,
    *,
    made_at: datetime,
    engine: str | None,
    rolls: Mapping[str, Pace] | None = None,
    given: Mapping[str, Any] | None = None,
    do: str = "roll",
    by_itself: bool = False,
) -> PlanFile:
    """Return the plan file for the result of a preview. `rolls`: the groups that it rolls, and how fast.

    `given`, `do` and `by_itself` are those of the order that it was made for.
    """
    return PlanFile(
        stack=result.stack,
        project=spec.project,
        id=result.stack_id,
        wanted={name: group.wanted for name, group in result.groups.items()},
        spec=spec_hash(spec),
        seen=dict(result.seen),
        steps=tuple(report.step for report in result.steps),
        cost=asdict(result.cost) if result.cost else None,
        roll={
            "do": do,
            "by_itself": by_itself,
            "paces": {name: pace_to_json(pace) for name, pace in rolls.items()},
            "given": given_to_json(given or {}),
        }
        if rolls
        else None,
        schedules={schedule.group: _schedule_to_json(schedule) for schedule in result.schedules},
        made_at=made_at,
        scaler=VERSION,
        engine=engine,
    )


def _schedule_to_json(schedule: RollSchedule) -> dict[str, Any]:
    return {
        "outdated": schedule.outdated,
        "waves": [asdict(wave) for wave in schedule.waves],
        "most": schedule.most,
        "fewest": schedule.fewest,
        "takes_s": round(schedule.takes.total_seconds()) if schedule.takes else None,
        "cost": asdict(schedule.cost) if schedule.cost else None,
    }


def spec_hash(spec: Spec) -> str:
    """Return a hash of the values of a spec, user data included. Comments and the order of keys do not count."""
    values = asdict(spec)
    del values["path"]
    return _hash(json.dumps(values, sort_keys=True, default=_plain))


def write_plan_file(plan: PlanFile, path: Path) -> None:
    """Write the file, readable only for its owner and group. UsageError if it cannot be written."""
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": "scaler-plan",
        **asdict(plan),
        "made_at": format_time(plan.made_at),
        "steps": [asdict(step) for step in plan.steps],
    }
    try:
        # A link or a device is written to: who names it means it.
        with open(path, "w", encoding="utf-8", opener=_opened) as file:
            file.write(json.dumps({**content, "digest": _digest(content)}, indent=2, default=str) + "\n")
    except OSError as error:
        raise UsageError(
            f"The plan cannot be written to {path}.", why=failure_reason(error), fix="Name another file with --out."
        ) from error


def _opened(name: str, flags: int) -> int:
    # Opened so, a pipe without a reader is an error and no endless wait.
    descriptor = os.open(name, flags | os.O_NONBLOCK, FILE)
    os.set_blocking(descriptor, True)
    return descriptor


def read_plan_file(path: Path) -> PlanFile:
    """Read a file. UsageError if it is not a plan, or was changed after it was written."""
    try:
        return _plan_in(parse_json(read_file(path, wait=True)))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} is not a plan that can be applied.",
            why=one_line(failure_reason(error), LONGEST),
            fix="Make one with `scaler preview --out plan.json`.",
            code="plan_invalid",
        ) from error


def _plan_in(content: Any) -> PlanFile:
    """Return the plan in a document; ValueError if it is none."""
    if not isinstance(content, dict) or content.get("kind") != "scaler-plan":
        raise ValueError("it is JSON, and no plan")
    if content.get("schema") != SCHEMA:
        raise ValueError("another version of scaler has made it")
    if content.pop("digest", None) != _digest(content):
        raise ValueError("it was changed after it was written")
    try:
        return PlanFile(
            **{key: value for key, value in content.items() if key not in ("schema", "kind", "made_at", "steps")},
            made_at=parse_time(content["made_at"]),
            steps=tuple(Step(**{**step, "action": Action(step["action"])}) for step in content["steps"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        raise ValueError("it is whole, and has other fields than this version of scaler reads") from None


def check_plan_file(plan: PlanFile, spec: Spec, *, now: datetime, max_age: timedelta) -> None:
    """Raise StalePlanError if the plan is too old, or was made for another spec or version."""
    age = now - plan.made_at
    if age > max_age:
        raise _stale(f"it is {_minutes(age)} old", f"--max-age is {_minutes(max_age)}")
    if (plan.stack, plan.project) != (spec.stack, spec.project):
        raise UsageError(
            f"The plan is for stack {plan.stack} of project {plan.project},"
            f" and this is stack {spec.stack} of project {spec.project}.",
            fix="Set the name back, or make a plan here with `scaler preview --out`.",
        )
    if plan.spec != spec_hash(spec):
        raise _stale("the spec has changed", str(spec.path))
    if plan.scaler != VERSION:
        raise _stale("it was made by another version of scaler", f"{plan.scaler} then, {VERSION} now")


def _stale(what: str, why: str) -> StalePlanError:
    return StalePlanError(
        f"The plan is out of date: {what}. Nothing was changed.",
        why=why,
        fix="Make a new one with `scaler preview --out`.",
    )


def _minutes(length: timedelta) -> str:
    return f"{length.total_seconds() / 60:.0f}m"


def _digest(content: Mapping[str, Any]) -> str:
    return _hash(json.dumps(content, sort_keys=True, default=str))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, (set, frozenset)) else str(value)
