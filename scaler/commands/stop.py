"""`scaler stop`: remove these very servers."""

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
def stop(context: Context, names: tuple[str, ...], **how: Unpack[How]) -> int:
    """Remove exactly these servers: drain them, shut them down, delete them.

    The servers must run; others are not touched, and no new ones take their place.

    \b
    Examples:
      scaler stop prod-worker-2
      scaler stop prod-worker-2 prod-worker-5 --yes

    \b
    Exit codes: 0 gone, 1 error, 3 refused (protected, or below min), 4 not confirmed in time, 5 locked, 64 usage.
    """
    check_consent(context, "stop", how)
    project, spec = load(context)
    demand = Demand(remove=frozenset(names))
    return change(context, project, spec, lambda around: demand, cause=f"stop {' '.join(sorted(names))}", **how)
