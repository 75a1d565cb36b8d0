"""What `scaler pause` and `scaler resume` print."""

from __future__ import annotations

import click

from scaler.commands.context import Context, Output
from scaler.commands.document import dump
from scaler.commands.printing import print_result
from scaler.commands.round import PlainResult
from scaler.errors import ExitCode
from scaler.model import Outcome, Spec
from scaler.model.orders import Orders
from scaler.output.table import markdown_text
from scaler.records.codec import pause_to_json
from scaler.support.text import one_line


def show_pause(context: Context, spec: Spec, orders: Orders) -> int:
    """Print whether autoscaling is paused, until when and why."""
    facts = {"stack": spec.stack, "pause": pause_to_json(orders.pause)}
    sentence = f"{spec.stack}: {one_line(str(orders.pause or 'autoscaling is not paused'))}"
    context.ending.result = PlainResult(
        stack=spec.stack, outcome=Outcome.CONVERGED, changed=False, facts=facts, markdown=markdown_text(sentence)
    )
    if context.output in (Output.JSON, Output.YAML):
        click.echo(dump(facts, context.output))
    else:
        print_result(sentence)
    return ExitCode.OK
