"""What `scaler autoscale` prints of a decision and of the run that followed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from scaler.commands.context import Context, Output
from scaler.commands.document import dump
from scaler.commands.reports import keep_result
from scaler.model import GroupReport, Result, Spec
from scaler.output.sentences import health_remarks
from scaler.output.table import markdown_table
from scaler.support.text import one_line

if TYPE_CHECKING:
    from scaler.autoscale.tick import Tick


def show_nothing(context: Context, spec: Spec) -> None:
    """Print that no group follows its load; that is no error."""
    if context.output in (Output.JSON, Output.YAML):
        click.echo(dump({"stack": spec.stack, "outcome": "unchanged", "decisions": {}, "result": None}, context.output))
    else:
        click.echo(f"No group of {spec.stack} has an autoscale block. Nothing to do.")


def show_tick(context: Context, done: Tick) -> None:
    """Print the decisions, then the result of the run."""
    keep_result(done.result or _unchanged(done))
    match context.output:
        case Output.JSON | Output.YAML:
            click.echo(_document(done, context.output))
            return
        case Output.MARKDOWN:
            click.echo(_markdown(done))
        case _:
            click.echo(_text(done))
    if done.result:
        from scaler.output.render import render

        color = context.colored(sys.stdout)
        click.echo("\n" + render(done.result, context.output, color=color), color=color)


def _unchanged(done: Tick) -> Result:
    """The result of a decision that needed no run."""
    groups = {
        name: GroupReport(wanted=decision.count, before=decision.supply.supply, ready=decision.supply.ready)
        for name, decision in done.decisions.items()
    }
    return Result(
        stack=done.stack,
        outcome=done.outcome,
        groups=groups,
        servers=tuple(done.servers),
        requests=done.requests,
        held=done.held,
        unchecked=done.unchecked,
    )


def _document(done: Tick, output: Output) -> str:
    from scaler.autoscale.describe import decision_document
    from scaler.output.documents import health_document, result_document
    from scaler.records.codec import pause_to_json

    facts = {
        "stack": done.stack,
        "outcome": str(done.outcome),
        "pause": pause_to_json(done.pause),
        "decisions": {name: decision_document(decision) for name, decision in done.decisions.items()},
        "result": result_document(done.result) if done.result else None,
        **({} if done.result else health_document(done.held, done.unchecked)),
    }
    return dump(facts, output)


def _markdown(done: Tick) -> str:
    rows = [
        (name, str(decision.supply.current), str(decision.count), decision.reason)
        for name, decision in done.decisions.items()
    ]
    table = markdown_table(("group", "from", "to", "why"), rows)
    return f"{table}\n\nNothing is carried out: {one_line(str(done.pause))}" if done.pause else table


def _text(done: Tick) -> str:
    from scaler.autoscale.describe import decision_lines

    lines = [line for decision in done.decisions.values() for line in decision_lines(decision)]
    if not done.result:
        lines += [f"! {one_line(sentence)}" for sentence in health_remarks(done.unchecked, done.held)]
    return "\n".join([*lines, f"Nothing is carried out: {one_line(str(done.pause))}"] if done.pause else lines)
