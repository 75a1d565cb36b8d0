"""`scaler replace`: new servers for the named ones."""

from __future__ import annotations

import click

from scaler.commands.changing import How, change, change_options, check, new_option
from scaler.commands.command import Command, common_options
from scaler.commands.completers import complete_server
from scaler.commands.context import Context
from scaler.commands.running import load_stack
from scaler.converge.demand import Demand
from scaler.planning.names import as_words


@click.command(cls=Command)
@click.argument("names", nargs=-1, required=True, metavar="NAME ...", shell_complete=complete_server)
@new_option
@change_options
@common_options
def replace(context: Context, names: tuple[str, ...], how: How) -> int:
    """Replace servers: create new ones under new names, then delete the old ones when the new ones are ready.

    Other servers are not changed.

    \b
    Examples:
      scaler replace prod-worker-2
      scaler replace prod-worker-2 prod-worker-5 --yes

    \b
    Exit codes: 0 replaced, 1 error, 3 refused (protected), 4 not confirmed in time, 5 locked, 64 usage.
    """
    check(context, "replace", how)
    project, spec = load_stack(context)
    demand = Demand(renew=frozenset(names))
    return change(context, project, spec, demand, how, cause=f"replace {as_words(names)}")
