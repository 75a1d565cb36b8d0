"""Results as text, JSON, YAML and Markdown. Pure: values in, one text out, without a last newline.

Text is for people and may change; the JSON and YAML documents are a contract (`contract.md` §4, §5).
Colour repeats what a sign or a word already says.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

import click

from scaler.errors import ScalerError
from scaler.model import (
    Action,
    Cost,
    GroupReport,
    Outcome,
    Plan,
    Result,
    Server,
    Spec,
    StepReport,
    StepResult,
    Violation,
)
from scaler.model.lifecycle import Status
from scaler.planning.prices import recorded_cost
from scaler.records.codec import SCHEMA, server_to_json, to_json
from scaler.records.state import State
from scaler.support.clock import format_time

_SIGNS = {
    Action.CREATE: "+",
    Action.ADOPT: "~",
    Action.POWER_ON: "~",
    Action.POWER_OFF: "~",
    Action.UPDATE: "~",
    Action.REBOOT: "~",
    Action.REPLACE: "~",
    Action.DELETE: "-",
    Action.FORGET: "-",
}
_SIGN_COLORS = {"+": "green", "~": "yellow", "-": "red"}
_STATUS_COLORS = {
    Status.RUNNING: "green",
    Status.HANGING: "red",
    Status.ERRORED: "red",
    Status.STOPPED: "yellow",
    Status.STOPPING: "yellow",
    Status.DELETING: "yellow",
    Status.DELETED: "bright_black",
}

# ---------------------------------------------------------------------------------------------
# What callers ask for


def render(result: Result, format: str, *, color: bool = False, hints: bool = False) -> str:
    """A run's result. `format` is text, json, yaml or markdown; `hints` adds the next command."""
    if format == "text":
        return _result_text(result, color=color, hints=hints)
    if format == "markdown":
        return _result_markdown(result)
    return _serialize(result_document(result), format)


def render_plan(
    plan: Plan,
    spec: Spec,
    format: str,
    *,
    servers: Sequence[Server] = (),
    cost: Cost | None = None,
    color: bool = False,
    hints: bool = False,
) -> str:
    """What a plan would do. `servers` are the records as they are, for the documents."""
    result = planned(plan, servers=servers, cost=cost)
    if format == "text":
        return _plan_text(result, cloud=spec.cloud, color=color, hints=hints)
    return render(result, format)


def render_status(
    state: State | None,
    format: str,
    *,
    stack: str,
    now: datetime,
    color: bool = False,
    hints: bool = False,
) -> str:
    """The recorded servers of a stack; `state` is None where nothing was recorded yet."""
    if format == "text":
        return _status_text(state, stack, now, color=color, hints=hints)
    if format == "markdown":
        return _status_markdown(state, stack)
    return _serialize(status_document(state, stack), format)


def planned(plan: Plan, *, servers: Sequence[Server] = (), cost: Cost | None = None) -> Result:
    """The result of a run that ends with its plan."""
    return Result(
        stack=plan.stack,
        outcome=Outcome.PLANNED if plan.steps else Outcome.UNCHANGED,
        groups={
            name: GroupReport(
                wanted=wanted,
                before=plan.before.get(name, 0),
                ready=plan.ready.get(name, 0),
                tries=tuple(f"{kind} in {location}" for kind, location in plan.tries.get(name, ())),
            )
            for name, wanted in plan.wanted.items()
        },
        steps=tuple(StepReport(step, StepResult.PENDING) for step in plan.steps),
        servers=tuple(servers),
        drift=plan.drift,
        outdated=plan.outdated,
        kept=plan.paid_until,
        cost=cost or plan.cost,
    )


# ---------------------------------------------------------------------------------------------
# Documents


def result_document(result: Result) -> dict[str, object]:
    """The document of `-o json` (`contract.md` §4)."""
    return {
        "schema": SCHEMA,
        "stack": result.stack,
        "outcome": str(result.outcome),
        "groups": {name: _group_document(report) for name, report in result.groups.items()},
        "steps": [_step_document(report) for report in result.steps],
        "servers": [server_to_json(server) for server in result.servers],
        "drift": list(result.drift),
        "outdated": dict(result.outdated),
        "kept": {name: format_time(until) for name, until in result.kept.items()},
        "violations": [asdict(violation) for violation in result.violations],
        "cost": asdict(result.cost) if result.cost else None,
        "failures": [_failure_document(failure) for failure in result.failures],
        "requests": asdict(result.requests),
        "elapsed_s": round(result.elapsed.total_seconds(), 1),
    }


def _remarks(result: Result) -> list[str]:
    """What else is to be known of the servers: found other than recorded, or made of what the spec no longer says."""
    drift = [f"drift: {sentence}" for sentence in result.drift]
    old = [f"outdated: {name} ({why})" for name, why in result.outdated.items()]
    kept = [f"kept: {name}, off and paid for until {until:%H:%M} UTC" for name, until in result.kept.items()]
    return drift + old + kept


def _failure_document(failure: Exception) -> dict[str, str]:
    """As errors are told (`contract.md` §3). Of an unknown exception only the kind: its text may quote anything."""
    if isinstance(failure, ScalerError):
        return failure.facts
    return {"code": "internal", "message": type(failure).__name__, "why": "", "fix": ""}


def _group_document(report: GroupReport) -> dict[str, object]:
    numbers: dict[str, object] = {"wanted": report.wanted, "before": report.before, "ready": report.ready}
    return {**numbers, "tries": list(report.tries)} if report.tries else numbers


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


def status_document(state: State | None, stack: str) -> dict[str, object]:
    """The state file's document, `counts`: servers per status, all statuses, zeros included, and `cost`."""
    nothing = {
        "schema": SCHEMA,
        "stack": stack,
        "project": None,
        "cloud": None,
        "serial": 0,
        "updated": None,
        "wanted": {},
        "servers": [],
    }
    recorded = to_json(state) if state else nothing
    servers = state.servers if state else ()
    return {**recorded, "counts": count_by_status(servers), "cost": asdict(recorded_cost(servers))}


def count_by_status(servers: Iterable[Server]) -> dict[str, int]:
    """How many servers are in each status: all statuses, in their order, zeros included."""
    counted = Counter(server.status for server in servers)
    return {str(status): counted[status] for status in Status}


def _serialize(document: Mapping[str, object], format: str) -> str:
    if format == "json":
        return json.dumps(document, indent=2)
    if format == "yaml":
        import yaml

        return yaml.safe_dump(document, sort_keys=False, allow_unicode=True).rstrip()
    raise ValueError(f"no such format: {format}")


# ---------------------------------------------------------------------------------------------
# Text


def _result_text(result: Result, *, color: bool, hints: bool) -> str:
    if result.declined:
        return f"{result.stack}: nothing was changed, as you said."
    if result.outcome == Outcome.PLANNED or (result.outcome == Outcome.REFUSED and result.steps):
        return _plan_text(result, cloud=None, color=color, hints=hints)
    lines = [f"! {one_line(sentence)}" for sentence in _remarks(result)]
    lines += _failures(result, color=color)
    lines.append(click.style(_headline(result), bold=True) if color else _headline(result))
    if hints and result.outcome in (Outcome.UNCONFIRMED, Outcome.FAILED):
        lines.append(f"See what is there now: scaler status --refresh --stack {result.stack}")
    return "\n".join(lines)


def _headline(result: Result) -> str:
    """The result in one sentence, in the past tense."""
    wanted, ready = _wanted(result), _ready(result)
    numbers = f"{ready} of {wanted} ready ({_changes(result)}) in {format_duration(result.elapsed)}"
    match result.outcome:
        case Outcome.UNCHANGED:
            return f"{result.stack} already has {_count(ready, 'ready server')}. Nothing to do."
        case Outcome.UNCONFIRMED:
            return f"{result.stack}: {numbers}. Not confirmed: {_unready(result)}."
        case Outcome.FAILED:
            return f"{result.stack}: failed with {numbers}."
        case Outcome.REFUSED:
            return f"{result.stack}: refused; nothing was changed."
        case Outcome.PLANNED:
            return _summary(result)
        case Outcome.CONVERGED:
            return f"{result.stack}: {numbers}."


def _changes(result: Result) -> str:
    """`+2, -0`: what was done; changes only where there are any."""
    signs = Counter(_SIGNS[report.step.action] for report in result.steps if report.result == StepResult.DONE)
    return ", ".join(f"{sign}{signs[sign]}" for sign in "+~-" if sign != "~" or signs[sign])


def _unready(result: Result) -> str:
    waiting = [
        f"{server.name} {server.status}"
        for server in result.servers
        if server.status not in (Status.RUNNING, Status.DELETED)
    ]
    return ", ".join(waiting) or "the servers were not looked at"


def _failures(result: Result, *, color: bool) -> list[str]:
    failed = [report for report in result.steps if report.result == StepResult.FAILED]
    width = max((len(report.step.server) for report in failed), default=0)
    return [
        _paint("!", "red", color)
        + f" {report.step.server:<{width}}  {_words(report.step.action)} failed: "
        + one_line(report.error or "no reason told")
        for report in failed
    ]


def _plan_text(result: Result, *, cloud: str | None, color: bool, hints: bool) -> str:
    if result.outcome == Outcome.UNCHANGED:
        return _result_text(result, color=color, hints=hints)
    lines = [" · ".join(part for part in (result.stack, cloud) if part)]
    lines += _columns(
        [f"  {name}", f"have {report.ready} ready of {report.before}", f"want {report.wanted}"]
        for name, report in result.groups.items()
    )
    for name, report in result.groups.items():
        if len(report.tries) > 1:
            lines.append(f"  {name} tries {', then '.join(report.tries)}")
    if remarks := _remarks(result):
        lines += ["", *(f"  ! {one_line(sentence)}" for sentence in remarks)]
    lines += ["", *_step_lines(result.steps, color=color), ""]
    if result.violations:
        lines += [*(_violation_line(violation, color=color) for violation in result.violations), ""]
    lines.append(click.style(_summary(result), bold=True) if color else _summary(result))
    if result.cost:
        lines.append(_cost(result.cost))
    if result.outcome == Outcome.REFUSED:
        lines.append(_headline(result))
    elif hints:
        numbers = " ".join(f"{name}={report.wanted}" for name, report in result.groups.items())
        lines.append(f"To do this: scaler ensure {numbers} --stack {result.stack}")
    return "\n".join(lines)


def _step_lines(steps: Sequence[StepReport], *, color: bool) -> list[str]:
    """Sign, server, action, what, where, why; the sign is painted after the columns are laid out."""
    lines = _columns(
        [
            f"  {_SIGNS[step.action]} {step.server}",
            _words(step.action),
            step.type or "",
            step.location or "",
            one_line(step.reason),
        ]
        for step in (report.step for report in steps)
    )
    signs = [_SIGNS[report.step.action] for report in steps]
    return [f"  {_paint(sign, _SIGN_COLORS[sign], color)}{line[3:]}" for sign, line in zip(signs, lines, strict=True)]


def _violation_line(violation: Violation, *, color: bool) -> str:
    sign = _paint("!", "red" if violation.forbids else "yellow", color)
    return f"  {sign} {violation.level} policy: {one_line(str(violation))}"


def _summary(result: Result) -> str:
    signs = Counter(_SIGNS[report.step.action] for report in result.steps)
    return f"Plan: {signs['+']} to add, {signs['~']} to change, {signs['-']} to remove."


def _cost(cost: Cost) -> str:
    delta = cost.per_hour_after - cost.per_hour_before
    return (
        f"Cost: {cost.currency} {delta:+.4f}/h, then {cost.currency} {cost.per_hour_after:.4f}/h, "
        f"and at most {cost.currency} {cost.per_month_after:.2f}/month (now {cost.per_month_before:.2f}); "
        "list prices, net."
    )


def _status_text(state: State | None, stack: str, now: datetime, *, color: bool, hints: bool) -> str:
    if state is None:
        lines = ["No servers. Nothing is recorded for this stack yet."]
        return "\n".join(lines + [f"Ask the cloud: scaler status --refresh --stack {stack}"] * hints)
    servers = _present(state.servers)
    ready = sum(server.status == Status.RUNNING for server in servers)
    header = (
        f"{state.stack} · {state.cloud} · {ready} of {sum(state.wanted.values())} ready"
        f" · updated {format_age(state.updated, now)}"
    )
    body = _status_table(servers, now, color=color) if servers else ["No servers."]
    errors = [
        f"{_paint('!', 'red', color)} {server.name}: {one_line(server.error)}" for server in servers if server.error
    ]
    deleted = len(state.servers) - len(servers)
    notes = [f"{_count(deleted, 'deleted server')} not shown."] if deleted else []
    notes += _recorded_cost(state)
    return "\n\n".join("\n".join(part) for part in ([header], body, errors, notes) if part)


def _recorded_cost(state: State) -> list[str]:
    """What the recorded servers cost, in one line; nothing where nothing is paid for."""
    cost = recorded_cost(state.servers)
    if not cost.known:
        return [f"Cost: not known for {_count(cost.unknown, 'server')}."] if cost.unknown else []
    unknown = f" Not known for {_count(cost.unknown, 'more server')}." if cost.unknown else ""
    return [
        f"Cost: {_count(cost.known, 'server')}, {cost.currency} {cost.per_hour:.4f}/h, "
        f"and at most {cost.currency} {cost.per_month:.2f}/month; list prices, net.{unknown}"
    ]


def _status_table(servers: Sequence[Server], now: datetime, *, color: bool) -> list[str]:
    head = ["NAME", "GROUP", "STATUS", "SINCE", "TYPE", "LOCATION", "IPV4", "ID"]
    rows = [
        [
            server.name,
            server.group,
            str(server.status),
            format_age(server.since, now),
            server.type or "-",
            server.location or "-",
            server.ipv4 or "-",
            server.id or "-",
        ]
        for server in servers
    ]
    lines = _columns([head, *rows])
    if not color:
        return lines
    # The status column begins at the same place in every line.
    start = lines[0].index("STATUS")
    painted = [
        line[:start] + line[start:].replace(server.status, _paint_status(server.status), 1)
        for server, line in zip(servers, lines[1:], strict=True)
    ]
    return [click.style(lines[0], bold=True), *painted]


def _paint_status(status: Status) -> str:
    return _paint(str(status), _STATUS_COLORS.get(status), True)


def _paint(text: str, name: str | None, color: bool) -> str:
    return click.style(text, fg=name) if color and name else text


def _columns(rows: Iterable[Sequence[str]]) -> list[str]:
    """The rows as lines with aligned columns; a column that is empty in every row is left out."""
    table = [list(row) for row in rows]
    columns = [column for column in zip(*table, strict=True) if any(column)]
    widths = [max(len(cell) for cell in column) for column in columns]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in zip(*columns, strict=True)
    ]


# ---------------------------------------------------------------------------------------------
# Markdown


def _result_markdown(result: Result) -> str:
    parts = [f"### {_cell(_headline(result))}" if result.outcome != Outcome.PLANNED else f"### {result.stack}: plan"]
    if result.outcome in (Outcome.PLANNED, Outcome.REFUSED):
        parts.append(f"**{_summary(result)}**")
    if remarks := _remarks(result):
        parts.append("\n".join(f"- {_cell(sentence)}" for sentence in remarks))
    if result.violations:
        parts.append(
            "\n".join(f"- {violation.level} policy: {_cell(str(violation))}" for violation in result.violations)
        )
    if result.steps:
        parts.append(_steps_markdown(result.steps))
    if result.cost:
        parts.append(_cost(result.cost))
    if servers := _present(result.servers):
        summary = _count(len(servers), "server")
        parts.append(f"<details><summary>{summary}</summary>\n\n{_servers_markdown(servers)}\n\n</details>")
    return "\n\n".join(parts)


def _steps_markdown(steps: Sequence[StepReport]) -> str:
    return _table(
        ["", "server", "action", "why", "result"],
        (
            [
                f"`{_SIGNS[report.step.action]}`",
                report.step.server,
                _words(report.step.action),
                report.step.reason,
                f"{report.result}: {report.error}" if report.error else str(report.result),
            ]
            for report in steps
        ),
    )


def _status_markdown(state: State | None, stack: str) -> str:
    servers = _present(state.servers if state else ())
    if state is None or not servers:
        return f"### {stack}\n\nNo servers."
    ready = sum(server.status == Status.RUNNING for server in servers)
    head = f"### {stack}: {ready} of {sum(state.wanted.values())} ready"
    return "\n\n".join([head, _servers_markdown(servers), *_recorded_cost(state)])


def _servers_markdown(servers: Iterable[Server]) -> str:
    return _table(
        ["server", "group", "status", "type", "location", "ipv4", "error"],
        (
            [
                server.name,
                server.group,
                str(server.status),
                server.type or "",
                server.location or "",
                server.ipv4 or "",
                server.error or "",
            ]
            for server in servers
        ),
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    """A text that neither ends a table cell nor is taken for HTML."""
    return one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")


# ---------------------------------------------------------------------------------------------
# Words


def format_duration(elapsed: timedelta) -> str:
    """`0.4s`, `48s`, `1m07s`, `1h05m`."""
    seconds = elapsed.total_seconds()
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60}h{minutes % 60:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def format_age(moment: datetime, now: datetime) -> str:
    """`just now`, `42 s ago`, `3 min ago`, `5 h ago`, `8 d ago`."""
    seconds = int((now - moment).total_seconds())
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return "just now"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _words(action: Action) -> str:
    return action.value.replace("_", " ")


def one_line(text: str) -> str:
    """Another side's words on one line, without what would steer a terminal."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _present(servers: Iterable[Server]) -> list[Server]:
    """Without the records of deleted servers, which only the documents show."""
    return [server for server in servers if server.status != Status.DELETED]


def _wanted(result: Result) -> int:
    return sum(report.wanted for report in result.groups.values())


def _ready(result: Result) -> int:
    return sum(report.ready for report in result.groups.values())
