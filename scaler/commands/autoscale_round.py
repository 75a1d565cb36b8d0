"""`scaler autoscale` once for several stacks: side by side, with one report and one exit code."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import click

from scaler.autoscale.tick import Tick, scales
from scaler.commands.autoscale_output import (
    exit_code_of,
    nothing_facts,
    nothing_result,
    nothing_sentence,
    result_of,
    tick_facts,
    tick_text,
)
from scaler.commands.autoscale_tick import Ticker
from scaler.commands.autoscale_watch import make_commons, make_places
from scaler.commands.context import Context, Output
from scaler.commands.document import dump
from scaler.commands.failure import as_markdown, as_text, error_facts, unexpected
from scaler.commands.printing import print_result
from scaler.commands.round import Round, worst
from scaler.commands.running import load_stack
from scaler.errors import RefusedError, ScalerError
from scaler.support.lanes import Lanes
from scaler.support.places import Places
from scaler.support.values import dataclass


@dataclass(frozen=True)
class _End:
    """How the tick of one stack ended: with an error, or well; without either, it had nothing to scale."""

    stack: str
    code: int
    tick: Tick | None = None
    error: ScalerError | None = None

    @property
    def outcome(self) -> str:
        if self.error:
            return "refused" if isinstance(self.error, RefusedError) else "failed"
        return str(self.tick.outcome) if self.tick else "unchanged"


def run_round(ticker: Ticker, stacks: Sequence[str]) -> int:
    """Decide for each stack and act, side by side; print one report, and return the worst exit code."""
    context = ticker.context
    commons = make_commons(context.clock)
    places = make_places(context.clock, commons)
    ticker = replace(ticker, commons=commons)
    ends: dict[str, _End] = {}

    def work(stack: str) -> None:
        ends[stack] = _end_of(ticker, stack, places)

    with Lanes(commons.engines.are_taken) as lanes:
        for stack in stacks:
            try:
                lanes.start(stack, partial(work, stack))
            except RuntimeError as error:
                ends[stack] = _failed(context, stack, unexpected(error), error)
        lanes.join()
    ordered = [ends[stack] for stack in stacks]
    _show(context, ordered)
    code = worst(end.code for end in ordered)
    context.ending.result = _round(ordered)
    return code


def _end_of(ticker: Ticker, stack: str, places: Places) -> _End:
    """Carry out one tick of a stack. Whatever goes wrong is the end of this stack's tick, and of no other."""
    context = ticker.context.only(stack)
    try:
        _, spec = load_stack(context)
        if not scales(spec):
            return _End(stack, 0)
        with places.taken(stack):
            tick = replace(ticker, context=context).tick(spec, context.clock.now())
        return _End(stack, exit_code_of(tick, ticker.wait), tick)
    except ScalerError as error:
        return _failed(context, stack, error, error)
    except Exception as error:
        return _failed(context, stack, unexpected(error), error)


def _failed(context: Context, stack: str, failure: ScalerError, cause: Exception) -> _End:
    if context.debug:
        traceback.print_exception(cause)
    return _End(stack, int(failure.exit_code), error=failure)


# ---------------------------------------------------------------------------------------------
# The report


def _outcome(ends: Sequence[_End]) -> str:
    """Return the outcome of the stack with the worst exit code."""
    code = worst(end.code for end in ends)
    return next((end.outcome for end in ends if end.code == code and end.outcome != "unchanged"), "unchanged")


def _round(ends: Sequence[_End]) -> Round:
    results = {end.stack: end.error or (result_of(end.tick) if end.tick else nothing_result(end.stack)) for end in ends}
    return Round(_outcome(ends), results)


def _show(context: Context, ends: Sequence[_End]) -> None:
    if context.output in (Output.JSON, Output.YAML):
        facts = {
            "outcome": _outcome(ends),
            "exit_code": worst(end.code for end in ends),
            "stacks": {end.stack: _facts(end) for end in ends},
        }
        click.echo(dump(facts, context.output))
        return
    color = context.colored(sys.stdout)
    head = "## {}" if context.output is Output.MARKDOWN else "== {} =="
    blocks = [f"{head.format(end.stack)}\n\n{_text(end, context.output, color)}" for end in ends]
    print_result("\n\n".join(blocks), context.output, color=color)


def _facts(end: _End) -> Mapping[str, object]:
    facts = tick_facts(end.tick) if end.tick else nothing_facts(end.stack)
    if end.error:
        facts = {"stack": end.stack, "outcome": end.outcome, "error": error_facts(end.error)}
    return {**facts, "exit_code": end.code}


def _text(end: _End, output: Output, color: bool) -> str:
    if end.error:
        return as_markdown(end.error) if output is Output.MARKDOWN else as_text(end.error)
    return tick_text(end.tick, output, color=color) if end.tick else nothing_sentence(end.stack)
