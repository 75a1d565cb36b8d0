"""Results, plans and the recorded state in the format that a command asks for.

Pure: values in, one text out, without a last newline. `format` is text, json, yaml or markdown; the text of
records is as wide as `width` at most, the columns of a terminal.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from scaler.model import Cost, GroupReport, Outcome, Plan, Result, Server, Spec, StepReport, StepResult
from scaler.output.cleaning import cleaned
from scaler.output.documents import result_document, serialize, stacks_document, status_document
from scaler.output.markdown import result_markdown, status_markdown
from scaler.output.stacks import stacks_markdown, stacks_text
from scaler.output.text import plan_text, result_text, status_text
from scaler.output.width import fit
from scaler.records.lock_note import LockHolder
from scaler.records.state import State


def render(
    result: Result,
    format: str,
    *,
    color: bool = False,
    hints: bool = False,
    reasons: bool = False,
) -> str:
    """Return the result of a run; `hints` adds the next command to the text, `reasons` each step with its reason."""
    if format == "text":
        return result_text(cleaned(result), color=color, hints=hints, reasons=reasons)
    if format == "markdown":
        return result_markdown(cleaned(result))
    return serialize(result_document(result), format)


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
    """Return what a plan would do. `servers` are the records before it, for the documents."""
    result = planned(plan, servers=servers, cost=cost)
    if format == "text":
        return plan_text(cleaned(result), cloud=spec.cloud, color=color, hints=hints)
    return render(result, format)


def render_status(
    state: State | None,
    format: str,
    *,
    stack: str,
    now: datetime,
    holder: LockHolder | None = None,
    lost: Mapping[str, State] | None = None,
    protected: Collection[str] = (),
    color: bool = False,
    width: int | None = None,
) -> str:
    """Return the recorded servers of a stack; `state` is None if nothing was recorded yet.

    `holder` has the stack's lock; `lost` are the project's stacks that have servers and no spec, by
    name; `protected` are the servers that the spec protects.
    """
    lost = lost or {}
    if format == "text":
        text = status_text(cleaned(state), stack, now, lost, cleaned(holder), protected, color=color, width=width)
        return fit(text, width)
    if format == "markdown":
        return status_markdown(
            cleaned(state), stack, now, lost, cleaned(holder.words(now)) if holder else None, protected
        )
    return serialize(status_document(state, stack, lost, holder), format)


def render_stacks(
    states: Mapping[str, State | None],
    format: str,
    *,
    now: datetime,
    lost: Mapping[str, State] | None = None,
    color: bool = False,
    width: int | None = None,
) -> str:
    """Return the recorded state of several stacks, by name."""
    lost = lost or {}
    if format == "text":
        return fit(stacks_text(cleaned(states), now, lost, color=color), width)
    if format == "markdown":
        return stacks_markdown(cleaned(states), now, lost)
    return serialize(stacks_document(states, lost), format)


def planned(plan: Plan, *, servers: Sequence[Server] = (), cost: Cost | None = None) -> Result:
    """Return the result of a run that ends with this plan."""
    return Result(
        stack=plan.stack,
        outcome=Outcome.UNCHANGED if plan.is_empty else Outcome.PLANNED,
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
        held=plan.held,
        outdated=plan.outdated,
        schedules=plan.schedules,
        renamed=plan.renamed,
        kept=plan.paid_until,
        cost=cost or plan.cost,
    )
