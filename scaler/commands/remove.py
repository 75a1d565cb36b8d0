"""`scaler remove`: remove exactly the named servers."""

from __future__ import annotations

import click

from scaler.commands.changing import How, change, change_options, check, new_option
from scaler.commands.command import Command, common_options
from scaler.commands.completers import complete_server
from scaler.commands.context import Context
from scaler.commands.running import load_stack
from scaler.converge.demand import Demand
from scaler.planning.names import as_words, natural


@click.command(cls=Command)
@click.argument("names", nargs=-1, required=True, metavar="NAME ...", shell_complete=complete_server)
@new_option
@change_options
@common_options
def remove(context: Context, names: tuple[str, ...], how: How) -> int:
    """Delete exactly these servers: drain them, shut them down, and delete them for good.

    The servers must be running. Other servers are not changed, and no new ones are created.

    \b
    Examples:
      scaler remove prod-worker-2
      scaler remove prod-worker-2 prod-worker-5 --yes

    \b
    Exit codes: 0 deleted, 1 error, 3 refused (protected, or below min), 4 not confirmed in time, 5 locked, 64 usage.
    """
    check(context, "remove", how)
    project, spec = load_stack(context)
    demand = Demand(remove=frozenset(names))
    called = ", ".join(sorted(set(names), key=natural))
    cause = f"remove {as_words(names)}"
    return change(context, project, spec, demand, how, cause=cause, question=f"Delete {called} for good?")
