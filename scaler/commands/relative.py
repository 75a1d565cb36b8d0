"""What makes `scaler increase` and `scaler decrease`: a change to the number of servers that exist."""

from __future__ import annotations

from typing import TypeVar

import click

from scaler.commands.changing import How, change, change_options, check, new_option
from scaler.commands.command import common_options
from scaler.commands.completers import complete_group
from scaler.commands.context import Context
from scaler.commands.counts import CountingCommand, parse_by
from scaler.commands.running import load_stack
from scaler.converge.counts import known_group, only_group
from scaler.converge.demand import Demand

C = TypeVar("C")


def relative_command(name: str, sign: int, text: str) -> click.Command:
    """Return the command `name`, which adds `sign` times its argument BY to a group's number of servers."""

    allow_zero_option = click.option(
        "--allow-zero", is_flag=True, help="Remove all servers of the group if BY is more, without confirmation."
    )

    @click.command(name, cls=CountingCommand, help=text)
    @click.argument("by", default="1")
    @click.option(
        "--group", metavar="GROUP", shell_complete=complete_group, help="The group to change. Default: the only one."
    )
    @(allow_zero_option if sign < 0 else _as_it_is)
    @new_option
    @change_options
    @common_options
    def command(context: Context, by: str, group: str | None, how: How, allow_zero: bool = False) -> int:
        number = parse_by(by)
        check(context, name, how)
        project, spec = load_stack(context)
        chosen = known_group(spec, group) if group else only_group(spec, fix="Say which with --group.")
        demand = Demand(by={chosen: sign * number})
        cause = f"{name} {number} --group {chosen}"
        return change(context, project, spec, demand, how, cause=cause, allow_zero=allow_zero or not how.yes)

    return command


def _as_it_is(command: C) -> C:
    return command
