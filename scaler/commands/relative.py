"""What makes `scaler increase` and `scaler decrease`: a change to the number of servers that exist."""

from __future__ import annotations

import click

from scaler.commands.changing import How, change, change_options, check, new_option
from scaler.commands.command import common_options
from scaler.commands.completers import complete_group
from scaler.commands.context import Context
from scaler.commands.counts import CountingCommand, parse_by
from scaler.commands.running import load_stack
from scaler.converge.counts import known_group, only_group
from scaler.converge.demand import Demand


def relative_command(name: str, sign: int, text: str) -> click.Command:
    """Return the command `name`, which adds `sign` times its argument BY to a group's number of servers."""

    @click.command(name, cls=CountingCommand, help=text)
    @click.argument("by", default="1")
    @click.option(
        "--group", metavar="GROUP", shell_complete=complete_group, help="The group to change. Default: the only one."
    )
    @new_option
    @change_options
    @common_options
    def command(context: Context, by: str, group: str | None, how: How) -> int:
        number = parse_by(by)
        check(context, name, how)
        project, spec = load_stack(context)
        chosen = known_group(spec, group) if group else only_group(spec, fix="Say which with --group.")
        demand = Demand(by={chosen: sign * number})
        return change(context, project, spec, demand, how, cause=f"{name} {number} --group {chosen}")

    return command
