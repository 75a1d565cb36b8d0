"""`scaler reboot`: reboot servers, and wait until they are ready again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import click

from scaler.commands.completers import complete_group, complete_server
from scaler.commands.context import Context, common_options
from scaler.commands.running import (
    load,
    lock_timeout_option,
    require_consent,
    run,
    show,
    steal_after_option,
    timeout_option,
)
from scaler.converge import operate
from scaler.errors import UsageError
from scaler.model import Result, Server


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME ...]", shell_complete=complete_server)
@click.option("--group", metavar="GROUP", shell_complete=complete_group, help="All servers of this group.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask; only needed where no servers are named.")
@click.option("--no-wait", is_flag=True, help="Do not wait until they are ready again.")
@timeout_option
@lock_timeout_option
@steal_after_option
@common_options
def reboot(
    context: Context,
    names: tuple[str, ...],
    group: str | None,
    yes: bool,
    no_wait: bool,
    timeout: timedelta,
    lock_timeout: timedelta,
    steal_after: timedelta | None,
) -> int:
    """Reboot the named servers, or all of a group, or all; and wait until they are ready again.

    A server that is starting or rebooting is rebooted once as soon as it runs. If the cloud's answer
    was lost, or it was busy, a server is asked to reboot again: it does so at least once.

    \b
    Examples:
      scaler reboot prod-worker-2
      scaler reboot --group worker
      scaler reboot --yes                all of the stack, without a question

    \b
    Exit codes: 0 ready again, 1 error, 4 not ready in time, 5 locked, 64 usage, such as a server that does not run.
    """
    if names and group:
        raise UsageError("Give names or --group, not both.")
    if not names:
        require_consent(context, yes, "reboot")
    project, spec = load(context)

    def use_case(around: Any) -> Result:
        approve = None if names or yes else _ask(spec.stack, around)
        return operate.reboot(
            spec, around, names=names, group=group, timeout=timeout, wait=not no_wait, approve=approve
        )

    what = " ".join(sorted(names)) or (f"--group {group}" if group else "all")
    cause = f"reboot {what}"
    result = run(context, project, spec, use_case, cause=cause, lock_timeout=lock_timeout, steal_after=steal_after)
    return show(context, result)


def _ask(stack: str, around: Any) -> Callable[[Sequence[Server]], bool]:
    def approve(servers: Sequence[Server]) -> bool:
        around.progress.stop()
        for server in servers:
            click.echo(f"  ~ {server.name}  {server.status}", err=True)
        return click.confirm(f"Reboot {len(servers)} servers of {stack}?", err=True)

    return approve
