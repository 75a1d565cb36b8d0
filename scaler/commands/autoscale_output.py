"""What `scaler autoscale` prints of a decision and of the run that followed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from scaler.commands.context import Context, Output
from scaler.commands.document import dump
from scaler.commands.printing import print_result
from scaler.commands.running import EXIT_CODES
from scaler.errors import ExitCode
from scaler.model import GroupReport, Outcome, Result, Spec
from scaler.output.sentences import health_remarks
from scaler.output.table import markdown_table
from scaler.support.text import one_line

if TYPE_CHECKING:
    from scaler.autoscale.tick import Tick


def show_nothing(context: Context, spec: Spec) -> None:
    """Print that no group follows its load; that is no error."""
    context.ending.result = nothing_result(spec.stack)
    if context.output in (Output.JSON, Output.YAML):
        click.echo(dump(nothing_facts(spec.stack), context.output))
    else:
        print_result(nothing_sentence(spec.stack))


def nothing_result(stack: str) -> Result:
    """Return what the reports get of a stack without an `autoscale` block."""
    return Result(stack=stack, outcome=Outcome.UNCHANGED, groups={})


def nothing_facts(stack: str) -> dict[str, object]:
    """Return what programs get of a stack without an `autoscale` block."""
    return {"stack": stack, "outcome": "unchanged", "decisions": {}, "result": None}


def nothing_sentence(stack: str) -> str:
    """Return the same for people."""
    return f"No group of {stack} has an autoscale block. Nothing to do."


def show_tick(context: Context, done: Tick) -> None:
    """Print the decisions, then the result of the run."""
    context.ending.result = result_of(done)
    if context.output in (Output.JSON, Output.YAML):
        click.echo(dump(tick_facts(done), context.output))
        return
    color = context.colored(sys.stdout)
    print_result(tick_text(done, context.output, color=color), context.output, color=color)


def tick_text(done: Tick, output: Output, *, color: bool) -> str:
    """Return the decisions and the result of the run as text or Markdown."""
    text = _markdown(done) if output is Output.MARKDOWN else _text(done)
    if not done.result:
        return text
    from scaler.output.render import render

    return f"{text}\n\n{render(done.result, output, color=color)}"


def exit_code_of(done: Tick, wait: bool) -> int:
    """Return the exit code of one tick; `wait`: whether it was to wait for its servers."""
    if done.outcome is Outcome.UNCONFIRMED and not wait:
        return ExitCode.OK
    return EXIT_CODES[done.outcome]


def result_of(done: Tick) -> Result:
    """Return the result of the run that followed, or of a decision that needed none."""
    if done.result:
        return done.result
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


def tick_facts(done: Tick) -> dict[str, object]:
    """Return what programs get of a tick."""
    from scaler.autoscale.describe import decision_document
    from scaler.output.documents import health_document, result_document
    from scaler.records.codec import pause_to_json

    return {
        "stack": done.stack,
        "outcome": str(done.outcome),
        "pause": pause_to_json(done.pause),
        "decisions": {name: decision_document(decision) for name, decision in done.decisions.items()},
        "result": result_document(done.result) if done.result else None,
        **({} if done.result else health_document(done.held, done.unchecked)),
    }


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
