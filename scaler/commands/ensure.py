"""`scaler ensure`: make the wanted number of servers exist."""

from __future__ import annotations

import click

from scaler.commands.changing import How, change, change_options, check
from scaler.commands.command import common_options
from scaler.commands.completers import complete_count
from scaler.commands.context import Context
from scaler.commands.counts import CountingCommand, format_counts, parse_counts
from scaler.commands.options import allow_zero_option
from scaler.commands.running import load_stack
from scaler.converge.demand import Demand, order_by_itself


@click.command(cls=CountingCommand)
@click.argument("counts", nargs=-1, metavar="[N | GROUP=N ...]", shell_complete=complete_count)
@allow_zero_option
@change_options
@common_options
def ensure(context: Context, counts: tuple[str, ...], allow_zero: bool, how: How) -> int:
    """Make exactly the wanted number of healthy servers exist.

    Without numbers, the counts of the spec are wanted, and outdated servers of groups with `image_changes: roll` are
    replaced as by `scaler roll`, each wave within --timeout. Prints the plan and asks before it acts, unless you give
    --yes.

    \b
    Examples:
      scaler ensure 5                         five servers, in a stack with one group
      scaler ensure worker=5 web=2            a number for each group
      scaler ensure 5 --yes -o json           as a step of a pipeline
      scaler ensure 8 --yes --max-change 3    refuse if more than 3 servers would come or go

    \b
    Exit codes: 0 reached, 1 error, 3 refused, 4 not confirmed in time, 5 locked, 64 usage.
    """
    check(context, "ensure", how)
    project, spec = load_stack(context)
    wanted = Demand(parse_counts(spec, counts))
    return change(
        context,
        project,
        spec,
        wanted,
        how,
        cause=f"ensure {format_counts(wanted.counts or {})}",
        allow_zero=allow_zero or not how.yes,
        roll=None if counts else order_by_itself(spec),
    )
