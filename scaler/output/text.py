"""Results, plans and the recorded state as text for people, which may change with any version.

Colour repeats what a sign or a word already says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import click

from scaler.model import Outcome, Result, Server, StepReport, StepResult, Violation
from scaler.model.lifecycle import Status
from scaler.output.sentences import (
    SIGNS,
    action_words,
    cost_planned,
    cost_recorded,
    count_ready,
    drain_words,
    headline,
    identity_words,
    lost_stack_words,
    plan_summary,
    remarks,
    service_word,
    without_deleted,
)
from scaler.output.table import columns
from scaler.output.words import format_age, format_count
from scaler.records.state import State
from scaler.support.text import one_line

_SIGN_COLORS = {"+": "green", "~": "yellow", "-": "red"}
_STATUS_COLORS = {
    Status.RUNNING: "green",
    Status.HANGING: "red",
    Status.UNHEALTHY: "red",
    Status.ERRORED: "red",
    Status.STOPPED: "yellow",
    Status.STOPPING: "yellow",
    Status.DELETING: "yellow",
    Status.DELETED: "bright_black",
}

# ---------------------------------------------------------------------------------------------
# Results


def result_text(result: Result, *, color: bool, hints: bool) -> str:
    """Return the remarks, the failures and the headline of a result, or the plan if it ended with one."""
    if result.declined:
        return f"{result.stack}: declined; nothing was changed."
    if result.outcome == Outcome.PLANNED or (result.outcome == Outcome.REFUSED and result.steps):
        return plan_text(result, cloud=None, color=color, hints=hints)
    lines = [f"! {one_line(sentence)}" for sentence in remarks(result)]
    lines += _failures(result, color=color)
    lines.append(_bold(headline(result), color))
    if hints and result.outcome in (Outcome.UNCONFIRMED, Outcome.FAILED):
        lines.append(f"To see what exists now: scaler status --refresh --stack {result.stack}")
    return "\n".join(lines)


def _failures(result: Result, *, color: bool) -> list[str]:
    failed = [report for report in result.steps if report.result == StepResult.FAILED]
    lines = columns(
        [
            f"! {report.step.server}",
            f"{action_words(report.step.action)} failed: {one_line(report.error or 'no reason given')}",
        ]
        for report in failed
    )
    return [_paint(line[0], "red", color) + line[1:] for line in lines]


# ---------------------------------------------------------------------------------------------
# Plans


def plan_text(result: Result, *, cloud: str | None, color: bool, hints: bool) -> str:
    """Return the counts, remarks, steps, policy violations, sum and cost of a plan."""
    if result.outcome == Outcome.UNCHANGED:
        return result_text(result, color=color, hints=hints)
    sections = [
        _counts(result, cloud),
        [f"  ! {one_line(sentence)}" for sentence in remarks(result)],
        _steps(result.steps, color=color),
        [_violation(violation, color=color) for violation in result.violations],
        _sum(result, color=color, hints=hints),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def _counts(result: Result, cloud: str | None) -> list[str]:
    lines = [" · ".join(part for part in (result.stack, cloud) if part)]
    lines += columns(
        [f"  {name}", f"have {report.ready} ready of {report.before}", f"want {report.wanted}"]
        for name, report in result.groups.items()
    )
    for name, report in result.groups.items():
        if len(report.tries) > 1:
            lines.append(f"  {name} tries {', then '.join(report.tries)}")
    return lines


def _steps(steps: Sequence[StepReport], *, color: bool) -> list[str]:
    """Return one line per step. The sign is painted last, since colour codes would count as width."""
    lines = columns(
        [
            f"  {SIGNS[step.action]} {step.server}",
            action_words(step.action),
            step.type or "",
            step.location or "",
            one_line(step.reason),
        ]
        for step in (report.step for report in steps)
    )
    signs = [SIGNS[report.step.action] for report in steps]
    return [f"  {_paint(sign, _SIGN_COLORS[sign], color)}{line[3:]}" for sign, line in zip(signs, lines, strict=True)]


def _violation(violation: Violation, *, color: bool) -> str:
    sign = _paint("!", "red" if violation.forbids else "yellow", color)
    return f"  {sign} {violation.level} policy: {one_line(str(violation))}"


def _sum(result: Result, *, color: bool, hints: bool) -> list[str]:
    lines = [_bold(plan_summary(result), color)]
    if result.cost:
        lines.append(cost_planned(result.cost))
    if result.outcome == Outcome.REFUSED:
        lines.append(headline(result))
    elif hints:
        numbers = " ".join(f"{name}={report.wanted}" for name, report in result.groups.items())
        lines.append(f"To do this: scaler ensure {numbers} --stack {result.stack}")
    return lines


# ---------------------------------------------------------------------------------------------
# The recorded state


def status_text(
    state: State | None, stack: str, now: datetime, lost: Mapping[str, State], *, color: bool, hints: bool
) -> str:
    """Return the recorded servers of a stack; `state` is None if nothing was recorded yet."""
    warnings = [f"{_paint('!', 'yellow', color)} {one_line(lost_stack_words(*one))}" for one in lost.items()]
    if state is None:
        lines = ["No servers. Nothing is recorded for this stack yet.", *warnings]
        return "\n".join(lines + [f"To ask the cloud: scaler status --refresh --stack {stack}"] * hints)
    servers = without_deleted(state.servers)
    header = (
        f"{state.stack} · {state.cloud} · {count_ready(servers)} of {sum(state.wanted.values())} ready"
        f" · updated {format_age(state.updated, now)}"
    )
    head = [header, one_line(identity_words(state.identity))] if state.identity else [header]
    table = _server_table(servers, now, color=color) if servers else ["No servers."]
    errors = [
        f"{_paint('!', 'red', color)} {server.name}: {one_line(server.error)}" for server in servers if server.error
    ]
    outdated = [f"{server.name} is outdated: {one_line(server.outdated)}" for server in servers if server.outdated]
    draining = [f"{server.name}: {one_line(words)}" for server in servers if (words := drain_words(server))]
    deleted = len(state.servers) - len(servers)
    notes = [f"{format_count(deleted, 'deleted server')} not shown."] if deleted else []
    notes += cost_recorded(state.servers)
    pause = state.orders.active_pause(now)
    orders = [*warnings, *([f"{_paint('!', 'yellow', color)} {one_line(str(pause))}"] if pause else [])]
    orders += [
        f"{_paint('!', 'yellow', color)} `{one_line(operation.command)}` has not finished: repeat it to go on with it"
        for operation in state.orders.operations
    ]
    return "\n\n".join("\n".join(lines) for lines in (head, orders, table, errors, outdated, draining, notes) if lines)


def _server_table(servers: Sequence[Server], now: datetime, *, color: bool) -> list[str]:
    # Columns that are empty throughout are left out, with their name.
    private = "PRIVATE IP" if any(server.private_ip for server in servers) else ""
    service = "IN SERVICE" if any(server.in_service is not None for server in servers) else ""
    head = ["NAME", "GROUP", "STATUS", service, "SINCE", "TYPE", "LOCATION", "IPV4", private, "ID"]
    rows = [
        [
            server.name,
            server.group,
            str(server.status),
            service_word(server) if service else "",
            format_age(server.since, now),
            server.type or "-",
            server.location or "-",
            server.ipv4 or "-",
            (server.private_ip or "-") if private else "",
            server.id or "-",
        ]
        for server in servers
    ]
    lines = columns([head, *([one_line(cell) for cell in row] for row in rows)])
    if not color:
        return lines
    # The status column begins at the same place in every line.
    start = lines[0].index("STATUS")
    painted = [
        line[:start] + line[start:].replace(server.status, _paint_status(server.status), 1)
        for server, line in zip(servers, lines[1:], strict=True)
    ]
    return [_bold(lines[0], color), *painted]


def _paint_status(status: Status) -> str:
    return _paint(str(status), _STATUS_COLORS.get(status), True)


def _paint(text: str, name: str | None, color: bool) -> str:
    return click.style(text, fg=name) if color and name else text


def _bold(text: str, color: bool) -> str:
    return click.style(text, bold=True) if color else text
