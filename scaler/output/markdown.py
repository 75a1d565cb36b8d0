"""Results and the recorded state as Markdown, for a CI summary or a comment."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from scaler.model import Outcome, Result, Server, StepReport
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
from scaler.output.table import markdown_table, markdown_text
from scaler.output.words import format_count
from scaler.records.state import State

_MOST_ROWS = 200
"""Rows of a table of a result: a comment on GitHub holds 65536 characters."""


def result_markdown(result: Result) -> str:
    """Return a result: headline, cost, remarks, steps, and the servers to unfold; fold the steps of a plan."""
    planned = result.outcome == Outcome.PLANNED
    parts = [f"### {markdown_text(result.stack)}: plan" if planned else f"### {markdown_text(headline(result))}"]
    if planned or result.outcome == Outcome.REFUSED:
        parts.append(f"**{plan_summary(result)}**")
    if result.cost:
        parts.append(markdown_text(cost_planned(result.cost)))
    parts.append(_list(remarks(result)))
    parts.append(_list(f"{violation.level} policy: {violation}" for violation in result.violations))
    if result.steps:
        steps = _steps(result.steps)
        parts.append(_folded(format_count(len(result.steps), "step"), steps) if planned else steps)
    if servers := without_deleted(result.servers):
        parts.append(_folded(format_count(len(servers), "server"), _limited(_servers(servers[:_MOST_ROWS]), servers)))
    return "\n\n".join(part for part in parts if part)


def status_markdown(
    state: State | None,
    stack: str,
    now: datetime,
    lost: Mapping[str, State],
    holder: str | None,
    protected: Collection[str] = (),
) -> str:
    """Return the recorded servers of a stack; `state` is None if nothing was recorded yet."""
    servers = without_deleted(state.servers if state else ())
    sentences = [*(lost_stack_words(*one) for one in lost.items()), *([f"locked by {holder}"] if holder else [])]
    sentences += order_words(state.orders, now) if state else []
    warnings = [_list(sentences)] if sentences else []
    if state is None or not servers:
        return "\n\n".join([f"### {markdown_text(stack)}", *warnings, "No servers."])
    head = [f"### {markdown_text(stack)}: {count_ready(servers)} of {sum(state.wanted.values())} ready"]
    head += [markdown_text(identity_words(state.identity))] if state.identity else []
    remarked = server_remarks(servers)
    parts = [*head, *warnings, _servers(servers, protected), *([_list(remarked)] if remarked else [])]
    return "\n\n".join([*parts, *map(markdown_text, cost_recorded(state.servers))])


def _list(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {markdown_text(sentence)}" for sentence in sentences)


def _folded(summary: str, text: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{text}\n\n</details>"


def _limited(table: str, whole: Sequence[object]) -> str:
    """Return a table of the first rows, and how many it leaves out."""
    left_out = len(whole) - _MOST_ROWS
    return f"{table}\n\n… and {left_out} more." if left_out > 0 else table


def _steps(reports: Sequence[StepReport]) -> str:
    """Return a row per step, or one for many equal steps."""
    rows = [_step_cells(equal) for equal in folded_steps(reports)]
    return _limited(markdown_table(["", "server", "action", "why", "result"], rows[:_MOST_ROWS]), rows)


def _step_cells(equal: Sequence[StepReport]) -> list[str]:
    report, names = equal[0], name_ranges(each.step.server for each in equal)
    return [
        f"`{SIGNS[report.step.action]}`",
        names if len(equal) == 1 else f"{len(equal)}: {names}",
        action_words(report.step.action),
        report.step.reason,
        f"{report.result}: {report.error}" if report.error else str(report.result),
    ]


def _servers(servers: Iterable[Server], protected: Collection[str] = ()) -> str:
    known = list(servers)
    # Columns that few stacks need are there only where one does.
    private = ["private ip"] if any(server.private_ip for server in known) else []
    guarded = ["protected"] if any(protection_word(server, protected) for server in known) else []
    service = ["in service"] if any(server.in_service is not None for server in known) else []
    return markdown_table(
        ["server", "group", "status", *service, *guarded, "type", "location", "ipv4", *private, "error"],
        (
            [
                server.name,
                server.group,
                str(server.status),
                *([service_word(server)] if service else []),
                *([protection_word(server, protected)] if guarded else []),
                server.type or "",
                server.location or "",
                server.ipv4 or "",
                *([server.private_ip or ""] if private else []),
                server.error or "",
            ]
            for server in known
        ),
    )
