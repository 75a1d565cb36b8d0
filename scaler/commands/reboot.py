"""`scaler reboot`: reboot servers, and wait until they are ready again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import click

from scaler.commands.command import Command, common_options
from scaler.commands.completers import complete_group, complete_server
from scaler.commands.context import Context
from scaler.commands.options import LockPolicy, lock_options, timeout_option
from scaler.commands.printing import print_note
from scaler.commands.reports import report_options
from scaler.commands.running import is_watched, load_stack, require_consent, run, show
from scaler.converge import operate
from scaler.errors import UsageError
from scaler.model import Result, Server
from scaler.output.folding import by_reason
from scaler.output.words import format_count
from scaler.planning.names import as_words


@click.command(cls=Command)
@click.argument("names", nargs=-1, metavar="[NAME ...]", shell_complete=complete_server)
@click.option("--group", metavar="GROUP", shell_complete=complete_group, help="Reboot all servers of this group.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask. Only needed when you name no servers.")
@click.option("--at-once", is_flag=True, help="Reboot all at the same time, and not at most a quarter of each group.")
@click.option("--no-wait", is_flag=True, help="Do not wait until the servers are ready again.")
@timeout_option
@lock_options
@report_options
@common_options
def reboot(
    context: Context,
    names: tuple[str, ...],
    group: str | None,
    yes: bool,
    at_once: bool,
    no_wait: bool,
    timeout: timedelta,
    lock: LockPolicy,
) -> int:
    """Reboot the named servers, all servers of a group, or all servers, and wait until they are ready again.

    Named servers are rebooted at once. Of a group, at most a quarter, and at least one server, is away at a time: the
    next ones go when those are ready again, and none if one does not come back. A reboot of a group or of all that was
    interrupted goes on with the servers that are left, by the same command or the next `scaler ensure`.

    A server that is starting or rebooting is rebooted once it runs. If the cloud is busy, or its answer is lost,
    the request is sent again: a server reboots at least once.

    \b
    Examples:
      scaler reboot prod-worker-2
      scaler reboot --group worker
      scaler reboot --yes                all servers of the stack, without a question
      scaler reboot --group worker --at-once

    \b
    Exit codes: 0 ready again, 1 error, 4 not ready in time, 5 locked, 64 usage, such as a server that does not run.
    """
    if names and group:
        raise UsageError("Names and --group exclude each other.", fix="Give names or --group.")
    if not names:
        require_consent(context, yes, "reboot")
    project, spec = load_stack(context)

    def use_case(ports: Any) -> Result:
        approve = None if names or yes else _ask(spec.stack, ports)
        announce = partial(_show_servers, ports) if is_watched(context) else None
        return operate.reboot(
            spec,
            ports,
            names=names,
            group=group,
            at_once=at_once,
            timeout=timeout,
            wait=not no_wait,
            approve=approve,
            announce=announce,
        )

    which = as_words(names) or (f"--group {group}" if group else "all")
    return show(context, run(context, project, spec, use_case, cause=f"reboot {which}", lock=lock, timeout=timeout))


def _ask(stack: str, ports: Any) -> Callable[[Sequence[Server]], bool]:
    """Return what shows the servers to a person and asks whether to go on."""

    def approve(servers: Sequence[Server]) -> bool:
        _show_servers(ports, servers)
        return click.confirm(f"Reboot {format_count(len(servers), 'server')} of {stack}?", err=True)

    return approve


def _show_servers(ports: Any, servers: Sequence[Server]) -> None:
    """Show which servers are rebooted: a line for each, or one for many of the same status."""
    ports.progress.stop()
    for names, status in by_reason({server.name: str(server.status) for server in servers}).items():
        print_note(f"  ~ reboot {names} ({status})")
