"""`scaler unprotect`: these servers may go again."""

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
def unprotect(context: Context, names: tuple[str, ...], lock_timeout: timedelta) -> int:
    """Take the mark of `scaler protect` away.

    What the spec's `protect` names stays protected until it is taken out there.

    \b
    Examples:
      scaler unprotect prod-worker-1
      scaler unprotect prod-worker-1 prod-worker-2

    \b
    Exit codes: 0 done, 1 error, 5 locked, 64 usage, such as a server that the spec protects.
    """
    project, spec = load(context)
    result = run(
        context,
        project,
        spec,
        lambda around: operate.protect(spec, names, around, protected=False),
        cause=f"unprotect {' '.join(sorted(names))}",
        lock_timeout=lock_timeout,
    )
    return show(context, result)
