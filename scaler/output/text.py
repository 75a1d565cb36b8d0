"""Results, plans and the recorded state as text for people, which may change with any version.

Colour repeats what a sign or a word already says.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import click

from scaler.model import Outcome, Result, Server, Step, StepReport, StepResult, Violation
from scaler.model.lifecycle import Status
from scaler.output.folding import folded_steps, name_ranges
from scaler.output.sentences import (
    SIGNS,
    action_words,
    cost_planned,
    cost_recorded,
    count_ready,
    headline,
    identity_words,
    lost_stack_words,
    order_words,
    plan_summary,
    protection_word,
    remarks,
    server_remarks,
    service_word,
    without_deleted,
)
from scaler.output.table import columns
from scaler.output.words import format_age, format_count
from scaler.records.lock_note import LockHolder
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


def result_text(result: Result, *, color: bool, hints: bool, reasons: bool = False) -> str:
    """Return the remarks, the failures and the headline of a result, or the plan if it ended with one."""
    if result.declined:
        return f"{result.stack}: declined; nothing was changed."
    if result.outcome == Outcome.PLANNED or (result.outcome == Outcome.REFUSED and result.steps):
        return plan_text(result, cloud=None, color=color, hints=hints)
    lines = _steps(result.steps, color=color) if reasons else []
    lines += [f"! {one_line(sentence)}" for sentence in remarks(result)]
    lines += _failures(result, color=color)
    lines.append(_bold(headline(result), color))
    if hints and result.outcome in (Outcome.UNCONFIRMED, Outcome.FAILED):
        lines.append(f"To see what exists now: scaler status --refresh --stack {result.stack}")
    return "\n".join(lines)


def _failures(result: Result, *, color: bool) -> list[str]:
    failed = [report for report in result.steps if report.result == StepResult.FAILED]
    lines = columns(
        [
            f"! {name_ranges(report.step.server for report in equal)}",
            f"{action_words(equal[0].step.action)} failed: {one_line(equal[0].error or 'no reason given')}",
        ]
        for equal in folded_steps(failed)
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


def _steps(reports: Sequence[StepReport], *, color: bool) -> list[str]:
    """Return one line per step, or one for many equal steps.

    The sign is painted last, since colour codes would count as width.
    """
    groups = list(folded_steps(reports))
    rows = iter(columns(_step_cells(group[0].step) for group in groups if len(group) == 1))
    signs = [SIGNS[group[0].step.action] for group in groups]
    lines = [next(rows) if len(group) == 1 else _folded_line(group) for group in groups]
    return [f"  {_paint(sign, _SIGN_COLORS[sign], color)}{line[3:]}" for sign, line in zip(signs, lines, strict=True)]


def _step_cells(step: Step) -> list[str]:
    sign = SIGNS[step.action]
    words = [action_words(step.action), step.type or "", step.location or "", one_line(step.reason)]
    return [f"  {sign} {step.server}", *words]


def _folded_line(equal: Sequence[StepReport]) -> str:
    """Return `+ 57 create dev-worker-4 … -60, cx23 in fsn1: why`."""
    step = equal[0].step
    names = name_ranges(report.step.server for report in equal)
    what = " in ".join(filter(None, (step.type, step.location)))
    begin = f"  {SIGNS[step.action]} {len(equal)} {action_words(step.action)} {names}"
    return f"{begin}{f', {what}' if what else ''}: {one_line(step.reason)}"


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
    state: State | None,
    stack: str,
    now: datetime,
    lost: Mapping[str, State],
    holder: LockHolder | None,
    protected: Collection[str] = (),
    *,
    color: bool,
    width: int | None = None,
) -> str:
    """Return the recorded servers of a stack; `state` is None if nothing was recorded yet.

    `protected` are the names that the spec protects; marks of `scaler protect` are in the records.
    """
    warnings = [f"{_paint('!', 'yellow', color)} {one_line(lost_stack_words(*one))}" for one in lost.items()]
    warnings += [f"{_paint('!', 'yellow', color)} locked by {holder.words(now)}"] if holder else []
    if state is None:
        lines = ["No servers. Nothing is recorded for this stack yet.", *warnings]
        return "\n".join(lines + _first_steps(stack))
    servers = without_deleted(state.servers)
    header = (
        f"{state.stack} · {state.cloud} · {count_ready(servers)} of {sum(state.wanted.values())} ready"
        f" · updated {format_age(state.updated, now)}"
    )
    head = [header, one_line(identity_words(state.identity))] if state.identity else [header]
    table, hidden = _server_table(servers, protected, now, width, color=color) if servers else (["No servers."], ())
    table += [] if servers else _first_steps(stack)
    errors = [
        f"{_paint('!', 'red', color)} {server.name}: {one_line(server.error)}" for server in servers if server.error
    ]
    deleted = len(state.servers) - len(servers)
    notes = [f"{format_count(deleted, 'deleted server')} not shown."] if deleted else []
    notes += [f"Too wide for this terminal: {', '.join(hidden)}."] if hidden else []
    notes += cost_recorded(state.servers)
    orders = [
        *warnings,
        *(f"{_paint('!', 'yellow', color)} {one_line(words)}" for words in order_words(state.orders, now)),
    ]
    remarked = [one_line(words) for words in server_remarks(servers)]
    return "\n\n".join("\n".join(lines) for lines in (head, orders, table, errors, remarked, notes) if lines)


def _first_steps(stack: str) -> list[str]:
    return [
        f"To make those that the spec asks for: scaler ensure --stack {stack}",
        f"To ask the cloud: scaler status --refresh --stack {stack}",
    ]


_DISPENSABLE = ("ID", "LOCATION", "TYPE", "GROUP", "SINCE", "IN SERVICE")
"""The columns that a narrow terminal does without, the first ones first."""


def _server_table(
    servers: Sequence[Server], protected: Collection[str], now: datetime, width: int | None, *, color: bool
) -> tuple[list[str], tuple[str, ...]]:
    """Return the lines of the table, and the columns that are left out since the lines would be too long.

    Columns that are empty throughout are left out with their name, except those that every server has.
    """
    cells = [_server_cells(server, protected, now) for server in servers]
    shown = [name for name in cells[0] if name not in _OPTIONAL or any(row[name] for row in cells)]
    hidden: list[str] = []
    lines = _table_lines(shown, cells)
    for name in _DISPENSABLE:
        if width is None or max(map(len, lines)) <= width:
            break
        if name in shown:
            shown.remove(name)
            hidden.append(name)
            lines = _table_lines(shown, cells)
    if not color:
        return lines, tuple(hidden)
    # The status column begins at the same place in every line.
    start = lines[0].index("STATUS")
    painted = [
        line[:start] + line[start:].replace(server.status, _paint_status(server.status), 1)
        for server, line in zip(servers, lines[1:], strict=True)
    ]
    return [_bold(lines[0], color), *painted], tuple(hidden)


_OPTIONAL = ("IN SERVICE", "PROTECTED", "PRIVATE IP")


def _server_cells(server: Server, protected: Collection[str], now: datetime) -> dict[str, str]:
    return {
        "NAME": server.name,
        "GROUP": server.group,
        "STATUS": str(server.status),
        "IN SERVICE": "" if server.in_service is None else service_word(server),
        "PROTECTED": protection_word(server, protected),
        "SINCE": format_age(server.since, now),
        "TYPE": server.type or "-",
        "LOCATION": server.location or "-",
        "IPV4": server.ipv4 or "-",
        "PRIVATE IP": server.private_ip or "",
        "ID": server.id or "-",
    }


def _table_lines(names: Sequence[str], cells: Sequence[Mapping[str, str]]) -> list[str]:
    return columns([names, *([one_line(row[name]) or "-" for name in names] for row in cells)])


def _paint_status(status: Status) -> str:
    return _paint(str(status), _STATUS_COLORS.get(status), True)


def _paint(text: str, name: str | None, color: bool) -> str:
    return click.style(text, fg=name) if color and name else text


def _bold(text: str, color: bool) -> str:
    return click.style(text, bold=True) if color else text
