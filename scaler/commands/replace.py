"""`scaler replace`: new servers for these."""

from __future__ import annotations

from typing import Unpack

import click

from scaler.commands.changing import How, change, change_options, check_consent
from scaler.commands.completers import complete_server
from scaler.commands.context import Context, common_options
from scaler.commands.running import load
from scaler.converge.demand import Demand


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME ...", shell_complete=complete_server)
@change_options
@common_options
def replace(context: Context, names: tuple[str, ...], **how: Unpack[How]) -> int:
    """Replace servers: first new ones, under new names, and when they are ready the old ones go.

    Other servers are not touched.

    \b
    Examples:
      scaler replace prod-worker-2
      scaler replace prod-worker-2 prod-worker-5 --yes

    \b
    Exit codes: 0 replaced, 1 error, 3 refused (protected), 4 not confirmed in time, 5 locked, 64 usage.
    """
    check_consent(context, "replace", how)
    project, spec = load(context)
    demand = Demand(renew=frozenset(names))
    return change(context, project, spec, lambda around: demand, cause=f"replace {' '.join(sorted(names))}", **how)
