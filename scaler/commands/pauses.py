"""What `scaler pause` and `scaler resume` print."""

from __future__ import annotations

import click

from scaler.commands.context import Context, Output
from scaler.commands.document import dump
from scaler.errors import ExitCode
from scaler.model import Spec
from scaler.model.orders import Orders
from scaler.records.codec import pause_to_json
from scaler.support.text import one_line


def show_pause(context: Context, spec: Spec, orders: Orders) -> int:
    """Print whether autoscaling is paused, until when and why."""
    if context.output in (Output.JSON, Output.YAML):
        click.echo(dump({"stack": spec.stack, "pause": pause_to_json(orders.pause)}, context.output))
    else:
        click.echo(f"{spec.stack}: {one_line(str(orders.pause or 'autoscaling is not paused'))}")
    return ExitCode.OK
