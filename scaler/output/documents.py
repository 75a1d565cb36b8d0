"""Results and the recorded state as JSON and YAML documents: a contract (`contract.md` §4, §5)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from datetime import timedelta

from scaler.errors import ScalerError
from scaler.model import GroupReport, Held, RateWait, Result, Server, StepReport
from scaler.model.lifecycle import Status
from scaler.model.schedule import RollSchedule
from scaler.planning.prices import recorded_cost
from scaler.records.codec import SCHEMA, server_to_json, to_json
from scaler.records.lock_note import LockHolder
from scaler.records.state import State
from scaler.support.clock import format_time


def result_document(result: Result) -> dict[str, object]:
    """Return the document of `-o json` (`contract.md` §4)."""
    return {
        "schema": SCHEMA,
        "stack": result.stack,
        "outcome": str(result.outcome),
        "groups": {name: _group_document(report) for name, report in result.groups.items()},
        "steps": [_step_document(report) for report in result.steps],
        "servers": [server_to_json(server) for server in result.servers],
        "drift": list(result.drift),
        **health_document(result.held, result.unchecked),
        "outdated": dict(result.outdated),
        "schedules": {schedule.group: _schedule_document(schedule) for schedule in result.schedules},
        "baking": {name: format_time(until) for name, until in result.baking.items()},
        "renamed": dict(result.renamed),
        "kept": {name: format_time(until) for name, until in result.kept.items()},
        "violations": [asdict(violation) for violation in result.violations],
        "cost": asdict(result.cost) if result.cost else None,
        "failures": [_failure_document(failure) for failure in result.failures],
        "requests": asdict(result.requests),
        "rate_wait": _rate_wait_document(result.rate_wait),
        "elapsed_s": round(result.elapsed.total_seconds(), 1),
    }


def health_document(held: Mapping[str, Held], unchecked: Mapping[str, str]) -> dict[str, object]:
    """Return the unhealthy servers that are not replaced now, and the groups that cannot be checked, each with why."""
    return {
        "held": {name: {"servers": list(each.servers), "why": each.why} for name, each in held.items()},
        "unchecked": dict(unchecked),
    }


def _failure_document(failure: Exception) -> dict[str, str]:
    """Return an error's facts (`contract.md` §3).

    Return only the kind of an exception that is not ours: its text may quote a secret.
    """
    if isinstance(failure, ScalerError):
        return failure.facts
    return {"code": "internal", "message": type(failure).__name__, "why": "", "fix": ""}


def _rate_wait_document(rate_wait: RateWait | None) -> dict[str, int] | None:
    return {"requests": rate_wait.requests, "wait_s": round(rate_wait.wait.total_seconds())} if rate_wait else None


def _group_document(report: GroupReport) -> dict[str, object]:
    numbers: dict[str, object] = {"wanted": report.wanted, "before": report.before, "ready": report.ready}
    return {**numbers, "tries": list(report.tries)} if report.tries else numbers


def _schedule_document(schedule: RollSchedule) -> dict[str, object]:
    return {
        "outdated": schedule.outdated,
        "waves": [{**asdict(wave), "takes_s": _seconds(schedule.time_of(wave))} for wave in schedule.waves],
        "most": schedule.most,
        "fewest": schedule.fewest,
        "takes_s": _seconds(schedule.takes),
        "boot_s": _seconds(schedule.boot),
        "bake_s": _seconds(schedule.bake),
        "removal_s": _seconds(schedule.removal),
        "limited": schedule.limited or None,
        "held": schedule.held or None,
        "cost": asdict(schedule.cost) if schedule.cost else None,
    }


def _seconds(length: timedelta | None) -> int | None:
    return None if length is None else round(length.total_seconds())


def _step_document(report: StepReport) -> dict[str, object]:
    return {
        "action": str(report.step.action),
        "server": report.step.server,
        "group": report.step.group,
        "type": report.step.type,
        "location": report.step.location,
        "reason": report.step.reason,
        "result": str(report.result),
        "error": report.error,
    }


def status_document(
    state: State | None, stack: str, lost: Collection[str] = (), holder: LockHolder | None = None
) -> dict[str, object]:
    """Return the document of the state file with `counts`, the servers in each status, and `cost` besides.

    `locked_by` is who holds the stack's lock, or null; `without_spec` names the project's stacks that have servers
    and no spec.
    """
    nothing = {
        "schema": SCHEMA,
        "stack": stack,
        "project": None,
        "cloud": None,
        "serial": 0,
        "updated": None,
        "wanted": {},
        "servers": [],
        "orders": {"serial": 0, "pause": None, "operations": []},
    }
    recorded = to_json(state) if state else nothing
    servers = state.servers if state else ()
    more = {"counts": count_by_status(servers), "cost": asdict(recorded_cost(servers)), "without_spec": sorted(lost)}
    locked_by = holder and {**asdict(holder), "since": format_time(holder.since)}
    return {**recorded, **more, "locked_by": locked_by}


def stacks_document(states: Mapping[str, State | None], lost: Collection[str] = ()) -> dict[str, object]:
    """Return the documents of several stacks by name; `without_spec` is the project's."""
    documents = {stack: status_document(state, stack) for stack, state in states.items()}
    stacks = {
        stack: {key: document[key] for key in document if key != "without_spec"}
        for stack, document in documents.items()
    }
    return {"schema": SCHEMA, "stacks": stacks, "without_spec": sorted(lost)}


def count_by_status(servers: Iterable[Server]) -> dict[str, int]:
    """Count the servers in each status: all statuses, in their order, zeros included."""
    counted = Counter(server.status for server in servers)
    return {str(status): counted[status] for status in Status}


def serialize(document: Mapping[str, object], format: str) -> str:
    """Return a document as text. `format` is json or yaml; ValueError for another."""
    if format == "json":
        return json.dumps(document, indent=2)
    if format == "yaml":
        import yaml

        return yaml.safe_dump(document, sort_keys=False, allow_unicode=True).rstrip()
    raise ValueError(f"no such format: {format}")
