"""`scaler protect`: these servers stay."""

from __future__ import annotations

from datetime import timedelta

import click

from scaler.commands.completers import complete_server
from scaler.commands.context import Context, common_options
from scaler.commands.running import load, lock_timeout_option, run, show
from scaler.converge import operate


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME ...", shell_complete=complete_server)
@lock_timeout_option
@common_options
def protect(context: Context, names: tuple[str, ...], lock_timeout: timedelta) -> int:
    """Keep servers: they are never chosen for scale-down, and neither stopped nor replaced.

    The mark is kept in the stack's outputs: every machine knows of it, and it survives a lost state file.
    `scaler destroy` removes protected servers too.

    \b
    Examples:
      scaler protect prod-worker-1
      scaler protect prod-worker-1 prod-worker-2

    \b
    Exit codes: 0 marked, 1 error, 5 locked, 64 usage, such as a server that is not there.
    """
    project, spec = load(context)
    result = run(
        context,
        project,
        spec,
        lambda around: operate.protect(spec, names, around, protected=True),
        cause=f"protect {' '.join(sorted(names))}",
        lock_timeout=lock_timeout,
    )
    return show(context, result)
