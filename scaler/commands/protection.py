"""What makes `scaler protect` and `scaler unprotect`."""

from __future__ import annotations

import click

from scaler.commands.command import Command, common_options
from scaler.commands.completers import complete_server
from scaler.commands.context import Context
from scaler.commands.options import LockPolicy, lock_timeout_option
from scaler.commands.reports import report_options
from scaler.commands.running import load_stack, run, show
from scaler.converge import operate
from scaler.planning.names import as_words


def protection_command(name: str, *, protected: bool, text: str) -> click.Command:
    """Return the command `name`, which protects the named servers, or ends their protection."""

    @click.command(name, cls=Command, help=text)
    @click.argument("names", nargs=-1, required=True, metavar="NAME ...", shell_complete=complete_server)
    @lock_timeout_option
    @report_options
    @common_options
    def command(context: Context, names: tuple[str, ...], lock: LockPolicy) -> int:
        project, spec = load_stack(context)
        result = run(
            context,
            project,
            spec,
            lambda ports: operate.protect(spec, names, ports, protected=protected),
            cause=f"{name} {as_words(names)}",
            lock=lock,
        )
        return show(context, result)

    return command
