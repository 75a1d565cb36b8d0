"""`scaler resume`: end the pause of autoscaling."""

from __future__ import annotations

import click

from scaler.commands.command import Command, common_options
from scaler.commands.context import Context
from scaler.commands.options import LockPolicy, lock_timeout_option
from scaler.commands.pauses import show_pause
from scaler.commands.reports import report_options
from scaler.commands.running import load_stack, run


@click.command(cls=Command)
@lock_timeout_option
@report_options
@common_options
def resume(context: Context, lock: LockPolicy) -> int:
    """End the pause of autoscaling, whether `scaler pause` or `scaler destroy` began it.

    The next tick decides again. A count that was changed by hand during the pause is kept for ten minutes more.

    \b
    Examples:
      scaler resume

    \b
    Exit codes: 0 not paused any more, 1 error, 3 refused, 5 locked, 64 usage, 69 recorded on this machine alone.
    """
    from scaler.converge import pausing

    project, spec = load_stack(context)
    orders = run(context, project, spec, lambda ports: pausing.resume(spec, ports), cause="resume", lock=lock)
    return show_pause(context, spec, orders)
