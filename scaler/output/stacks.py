"""All stacks of a project in one table, one line each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

import click

from scaler.model.lifecycle import Status
from scaler.output.sentences import count_ready, lost_stack_words, without_deleted
from scaler.output.table import columns, markdown_table
from scaler.output.words import format_age
from scaler.planning.prices import recorded_cost
from scaler.records.state import State
from scaler.support.text import one_line

_HEAD = ("stack", "cloud", "ready", "wanted", "others", "per month", "updated", "pause")


def stacks_text(states: Mapping[str, State | None], now: datetime, lost: Mapping[str, State], *, color: bool) -> str:
    """Return a table with a line for each stack; None for one of which nothing is recorded."""
    head = [name.upper() for name in _HEAD]
    lines = columns([head, *([one_line(cell) for cell in _cells(*each, now)] for each in states.items())])
    lines[0] = click.style(lines[0], bold=True) if color else lines[0]
    warnings = [f"! {one_line(lost_stack_words(*one))}" for one in lost.items()]
    is_empty = not any(state and without_deleted(state.servers) for state in states.values())
    next_step = [f"To make the servers of one: scaler ensure --stack {next(iter(states))}"] if is_empty else []
    return "\n\n".join("\n".join(part) for part in (lines, warnings, next_step) if part)


def stacks_markdown(states: Mapping[str, State | None], now: datetime, lost: Mapping[str, State]) -> str:
    """Return the same as a Markdown table."""
    warnings = [f"- {one_line(lost_stack_words(*one))}" for one in lost.items()]
    return "\n\n".join([markdown_table(_HEAD, (_cells(*each, now) for each in states.items())), *warnings])


def _cells(stack: str, state: State | None, now: datetime) -> list[str]:
    if state is None:
        return [stack, "-", "0", "-", "nothing recorded", "-", "-", ""]
    servers = without_deleted(state.servers)
    others = Counter(server.status for server in servers if not server.running)
    cost = recorded_cost(servers)
    pause = state.orders.active_pause(now)
    return [
        stack,
        state.cloud,
        str(count_ready(servers)),
        str(sum(state.wanted.values())),
        ", ".join(f"{others[status]} {status}" for status in Status if others[status]) or "-",
        f"{cost.currency} {cost.per_month:.2f}" if cost.known else "-",
        format_age(state.updated, now),
        str(pause) if pause else "",
    ]
