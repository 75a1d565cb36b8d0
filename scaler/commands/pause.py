"""`scaler pause`: autoscaling leaves a stack alone for a while."""

from __future__ import annotations

from datetime import timedelta

import click

from scaler.commands.command import Command, common_options
from scaler.commands.context import Context
from scaler.commands.options import Duration, LockPolicy, lock_timeout_option
from scaler.commands.pauses import show_pause
from scaler.commands.reports import report_options
from scaler.commands.running import load_stack, run
from scaler.errors import UsageError


@click.command(cls=Command)
@click.option("--for", "length", type=Duration(), metavar="TIME", help="End the pause after this time, such as 1h.")
@click.option("--reason", default="", metavar="TEXT", help="Why; `scaler status` and the watch show it.")
@lock_timeout_option
@report_options
@common_options
def pause(context: Context, length: timedelta | None, reason: str, lock: LockPolicy) -> int:
    """Have autoscaling leave the stack alone: no server is created, deleted or repaired by it.

    The pause is kept in the stack's outputs, so that autoscaling on every machine with the same backend obeys it.
    It ends after --for, or with `scaler resume`. Commands by hand work as ever. `scaler destroy` pauses too.

    \b
    Examples:
      scaler pause --for 1h --reason "database migration"
      scaler resume

    \b
    Exit codes: 0 paused, 1 error, 3 refused, 5 locked, 64 usage, 69 recorded on this machine alone.
    """
    if length is not None and length <= timedelta(0):
        raise UsageError("--for must be more than 0.", fix="Give a time such as 1h.")
    from scaler.converge import pausing

    project, spec = load_stack(context)
    orders = run(
        context,
        project,
        spec,
        lambda ports: pausing.pause(spec, ports, length=length, reason=" ".join(reason.split())),
        cause="pause",
        lock=lock,
    )
    return show_pause(context, spec, orders)
